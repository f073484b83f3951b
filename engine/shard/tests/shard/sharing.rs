//! Goal: several consumers of one subscription get its entries as its type says, and what one had
//! that goes away is with the others in the same round.
//! Method: few consumers, entry by entry.

use hulse_model::{Offset, Status};
use hulse_shard::{AckLevel, Command, Reply, SeekTo, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Failover, KeyShared, Shared};

use crate::rim::{Rim, Told, key, subscribe_as, whole};

fn rim(entries: u64) -> Rim {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..entries);
    rim
}

/// A consumer of subscription `s`, named by its connection.
fn consumer(rim: &mut Rim, connection: u64, kind: SubscriptionKind, permits: u32) -> StreamKey {
    let name = format!("c{connection}");
    let command = subscribe_as(kind, "s", &name, permits);
    rim.attached_by(key(connection, 1), command)
}

fn acknowledge(rim: &mut Rim, stream: StreamKey, offsets: &[u64]) {
    let messages: Vec<_> = offsets.iter().map(|offset| whole(*offset)).collect();
    let messages = &messages[..];
    rim.ask(
        stream,
        Command::AckIndividual {
            messages,
            receipt: true,
        },
    );
    rim.settle();
}

/// The offsets and redelivery counts among what a stream was told.
fn counts(rim: &mut Rim, stream: StreamKey) -> Vec<(u64, u32)> {
    let told = rim.told(stream).into_iter();
    told.filter_map(|told| match told {
        Told::Deliver(it) => Some((it.header.offset.0, it.redelivery_count)),
        _ => None,
    })
    .collect()
}

/// What a stream was told of being active.
fn active(rim: &mut Rim, stream: StreamKey) -> Vec<bool> {
    let told = rim.told(stream).into_iter();
    told.filter_map(|told| match told {
        Told::Reply(0, Reply::Active(active)) => Some(active),
        _ => None,
    })
    .collect()
}

/// Why the subscription stands still, in words.
fn blocked(rim: &Rim) -> String {
    let stats = rim.shard.describe(crate::rim::PARTITION).unwrap();
    let blocked = stats.subscriptions[0].blocked.clone();
    blocked.map_or_else(String::new, |blocked| blocked.text)
}

#[test]
fn entries_go_in_turn_to_those_who_share() {
    let mut rim = rim(0);
    let [a, b] = [2, 3].map(|connection| consumer(&mut rim, connection, Shared, 3));
    let p = rim.opened_producer(key(1, 2), "q");
    rim.produced(p, 0..7);
    let (of_a, of_b) = (rim.delivered(a), rim.delivered(b));
    assert_eq!((&*of_a, &*of_b), (&[0, 2, 4][..], &[1, 3, 5][..]));
    assert_eq!(
        blocked(&rim),
        "entry 6 is next, and consumer c2 has no permits left"
    );
    rim.say(b, Command::Permits(1));
    assert_eq!(rim.delivered(b), [6], "whoever can take it");
}

#[test]
fn what_a_dead_consumer_had_is_with_the_others_in_the_same_round() {
    let mut rim = rim(6);
    let [a, b] = [2, 3].map(|connection| consumer(&mut rim, connection, Shared, 3));
    let (of_a, of_b) = (rim.delivered(a), rim.delivered(b));
    assert_eq!((&*of_a, &*of_b), (&[0, 1, 2][..], &[3, 4, 5][..]));
    acknowledge(&mut rim, a, &[1]);
    rim.say(b, Command::Permits(10));
    rim.disconnect(2);
    rim.end_round();
    assert_eq!(
        counts(&mut rim, b),
        [(0, 1), (2, 1)],
        "and not what is acknowledged"
    );
    // A dead one's acknowledgement that was on its way is no harm.
    rim.say(
        a,
        Command::AckIndividual {
            messages: &[whole(0)],
            receipt: false,
        },
    );
    acknowledge(&mut rim, b, &[0, 2, 3, 4, 5]);
    let c = consumer(&mut rim, 4, Shared, 10);
    assert_eq!(
        rim.delivered(c),
        [],
        "what was acknowledged does not come again"
    );
}

#[test]
fn what_is_asked_for_again_goes_to_anybody() {
    let mut rim = rim(2);
    let a = consumer(&mut rim, 2, Shared, 2);
    assert_eq!(rim.delivered(a), [0, 1]);
    let b = consumer(&mut rim, 3, Shared, 2);
    // Of what another has, and of what is not there, nothing.
    let nothing = [Offset(0), Offset(7)];
    rim.say(b, Command::Redeliver { entries: &nothing });
    assert_eq!(rim.delivered(b), []);
    let entries = [Offset(1)];
    rim.say(a, Command::Redeliver { entries: &entries });
    assert_eq!(counts(&mut rim, b), [(1, 1)]);
    rim.say(a, Command::Permits(2));
    rim.say(b, Command::Redeliver { entries: &[] });
    assert_eq!(
        counts(&mut rim, b),
        [(1, 2)],
        "its turn came before that of the other"
    );
    rim.say(b, Command::Redeliver { entries: &[] });
    assert_eq!(counts(&mut rim, a), [(1, 3)]);
}

#[test]
fn nobody_acknowledges_for_others_what_they_have() {
    let mut rim = rim(2);
    for kind in [Shared, KeyShared] {
        let c = consumer(&mut rim, 2, kind, 2);
        let ack = rim.ask(
            c,
            Command::AckCumulative {
                up_to: whole(1),
                receipt: true,
            },
        );
        rim.delivered(key(9, 9));
        let told = rim.replies(c);
        let [(id, Reply::Refused(refusal))] = &told[..] else {
            panic!("a refusal, not {told:?}");
        };
        assert_eq!((*id, refusal.status), (ack, Status::InvalidArgument));
        rim.disconnect(2);
        let delete = Command::DeleteSubscription {
            subscription: "s".parse().unwrap(),
        };
        rim.ask_on(key(8, 0), delete);
        rim.settle();
        rim.told.clear();
    }
}

#[test]
fn one_is_active_and_the_next_takes_over() {
    let mut rim = rim(3);
    // The first by name is to be active: c3 waits for c2 to be done.
    let b = consumer(&mut rim, 3, Failover, 9);
    assert_eq!(active(&mut rim, b), [true]);
    let a = consumer(&mut rim, 2, Failover, 9);
    assert_eq!(active(&mut rim, a), [false]);
    assert_eq!(
        blocked(&rim),
        "another consumer becomes the active one when c3 has acknowledged 0.0"
    );
    acknowledge(&mut rim, b, &[0, 1, 2]);
    assert_eq!(active(&mut rim, b), [false]);
    let p = rim.opened_producer(key(1, 2), "q");
    rim.produced(p, 0..2);
    let told = rim.told(a);
    assert!(
        matches!(told[0], Told::Reply(0, Reply::Active(true))),
        "told before it gets anything: {told:?}"
    );
    assert_eq!(told.len(), 3);
    rim.disconnect(2);
    rim.end_round();
    assert_eq!(counts(&mut rim, b), [(3, 1), (4, 1)], "in the same round");
}

#[test]
fn an_active_consumer_that_acknowledges_nothing_is_replaced_in_time() {
    let mut rim = rim(2);
    let b = consumer(&mut rim, 3, Failover, 9);
    assert_eq!(rim.delivered(b), [0, 1]);
    let a = consumer(&mut rim, 2, Failover, 9);
    assert_eq!(active(&mut rim, a), [false]);
    rim.pass(100);
    rim.pass(999);
    assert_eq!(rim.delivered(a), []);
    rim.pass(1);
    rim.settle();
    assert_eq!(counts(&mut rim, a), [(0, 1), (1, 1)]);
    assert_eq!(active(&mut rim, b), [false]);
}

#[test]
fn the_next_active_consumer_is_told_so_before_it_gets_what_came_meanwhile() {
    let mut rim = rim(1);
    let b = consumer(&mut rim, 3, Failover, 9);
    let a = consumer(&mut rim, 2, Failover, 9);
    let p = rim.opened_producer(key(1, 2), "q");
    rim.produced(p, 0..1);
    assert_eq!(rim.delivered(a), [], "it waits for the other one");
    acknowledge(&mut rim, b, &[0]);
    let told = rim.told(a);
    let [Told::Reply(0, Reply::Active(true)), Told::Deliver(entry)] = &told[..] else {
        panic!("that it is active, and the entry: {told:?}");
    };
    assert_eq!(entry.header.offset, Offset(1));
}

/// A consumer of subscription `s` that says who it is.
fn member(rim: &mut Rim, connection: u64, member: u64) -> StreamKey {
    let mut command = subscribe_as(Failover, "s", &format!("c{connection}"), 9);
    if let Command::Subscribe { member: who, .. } = &mut command {
        *who = Some(member);
    }
    rim.attached_by(key(connection, 1), command)
}

/// Acknowledges everything up to an entry, and says what the answer was.
fn acknowledge_up_to(rim: &mut Rim, stream: StreamKey, offset: u64) -> Result<(), Status> {
    let up_to = whole(offset);
    let receipt = true;
    let id = rim.ask(stream, Command::AckCumulative { up_to, receipt });
    rim.settle();
    let told = rim.told(stream).into_iter();
    let mut answers = told.filter_map(|told| match told {
        Told::Reply(to, Reply::Acked) if to == id => Some(Ok(())),
        Told::Reply(to, Reply::Refused(refusal)) if to == id => Some(Err(refusal.status)),
        _ => None,
    });
    answers.next().expect("it is answered")
}

fn mark(rim: &Rim) -> u64 {
    let stats = rim.shard.describe(crate::rim::PARTITION).unwrap();
    stats.subscriptions[0].mark.offset.0
}

#[test]
fn an_acknowledgement_from_an_earlier_turn_moves_nothing() {
    let mut rim = rim(4);
    let b = consumer(&mut rim, 3, Failover, 9);
    assert_eq!(rim.delivered(b), [0, 1, 2, 3]);
    let a = consumer(&mut rim, 2, Failover, 2);
    rim.pass(100);
    rim.pass(1_000);
    rim.settle();
    assert_eq!(
        rim.delivered(a),
        [0, 1],
        "it has taken over, from the mark on"
    );
    assert_eq!(acknowledge_up_to(&mut rim, b, 3), Err(Status::NotActive));
    let messages = &[whole(0), whole(2)][..];
    let receipt = false;
    rim.say(b, Command::AckIndividual { messages, receipt });
    rim.settle();
    assert_eq!(mark(&rim), 0);
    assert!(
        rim.told(b).is_empty(),
        "who wants no receipt is told nothing"
    );
    assert_eq!(acknowledge_up_to(&mut rim, a, 0), Ok(()));
    assert_eq!(mark(&rim), 1);
    assert_eq!(
        acknowledge_up_to(&mut rim, b, 0),
        Ok(()),
        "it is acknowledged"
    );
    // The other one is back, and is given again what it was given long ago.
    rim.disconnect(2);
    rim.end_round();
    assert_eq!(rim.delivered(b), [1, 2, 3]);
    assert_eq!(acknowledge_up_to(&mut rim, b, 3), Ok(()));
    assert_eq!(mark(&rim), 4);
}

#[test]
fn what_a_consumer_was_given_in_this_turn_alone_it_may_acknowledge() {
    let mut rim = rim(4);
    let b = consumer(&mut rim, 3, Failover, 9);
    assert_eq!(rim.delivered(b), [0, 1, 2, 3]);
    let a = consumer(&mut rim, 2, Failover, 0);
    rim.pass(100);
    rim.pass(1_000);
    rim.settle();
    rim.told.clear();
    rim.disconnect(2);
    rim.say(b, Command::Redeliver { entries: &[] });
    rim.end_round();
    // It is active again and has permits for some of them.
    assert_eq!(rim.delivered(b), [0, 1, 2, 3]);
    let to = SeekTo::Earliest;
    rim.ask(b, Command::Seek(to));
    rim.settle();
    rim.told.clear();
    assert_eq!(acknowledge_up_to(&mut rim, b, 3), Err(Status::NotActive));
    rim.say(b, Command::Permits(2));
    rim.settle();
    assert_eq!(mark(&rim), 0, "what is to come again is not taken away");
    let _ = a;
}

#[test]
fn a_lost_connection_does_not_end_the_turn_of_a_consumer_that_says_who_it_is() {
    let mut rim = rim(3);
    let first = member(&mut rim, 2, 7);
    assert_eq!(rim.delivered(first), [0, 1, 2]);
    // The broker holds the lost stream for living when it comes back.
    let again = member(&mut rim, 3, 7);
    assert_eq!(active(&mut rim, first), [false], "at once");
    assert_eq!(acknowledge_up_to(&mut rim, again, 1), Ok(()));
    rim.disconnect(3);
    rim.disconnect(2);
    rim.end_round();
    let other = member(&mut rim, 4, 8);
    assert_eq!(rim.delivered(other), [2]);
    let late = member(&mut rim, 5, 7);
    assert_eq!(acknowledge_up_to(&mut rim, late, 2), Err(Status::NotActive));
}

#[test]
fn the_preferred_consumer_is_active_and_an_older_preference_is_passed_over() {
    let mut rim = rim(0);
    let [a, b, c] = [2, 3, 4].map(|it| member(&mut rim, it, it));
    let prefer = |rim: &mut Rim, member: u64, generation: u64| {
        let name = "s".parse().unwrap();
        let partition = crate::rim::PARTITION;
        rim.act(|shard, _, fx| shard.prefer(partition, &name, member, generation, fx));
        rim.settle();
    };
    rim.told.clear();
    prefer(&mut rim, 4, 5);
    assert_eq!(active(&mut rim, c), [true]);
    assert_eq!(active(&mut rim, a), [false]);
    prefer(&mut rim, 3, 4);
    assert_eq!(active(&mut rim, b), [], "that was said before");
    // Whoever comes disturbs nobody.
    let d = member(&mut rim, 9, 9);
    assert_eq!(active(&mut rim, d), [false]);
    assert_eq!(active(&mut rim, c), []);
    // It goes: another takes over in the same round, without a word from anybody.
    rim.disconnect(4);
    rim.end_round();
    let now = [a, b, d].map(|it| active(&mut rim, it));
    assert_eq!(now.iter().flatten().filter(|it| **it).count(), 1, "{now:?}");
    prefer(&mut rim, 3, 6);
    let then = active(&mut rim, b);
    assert!(now[1] == [true] || then == [true], "{now:?} {then:?}");
}
