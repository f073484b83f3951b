//! Goal: several consumers of one subscription get its entries as its type says, and what one had
//! that goes away is with the others in the same round.
//! Method: few consumers, entry by entry.

use hulse_model::{Offset, Status};
use hulse_shard::{AckLevel, Command, Reply, StreamKey};
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
