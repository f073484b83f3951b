//! Goal: whoever has what another wants keeps it while it is alive, and not for long when it is not;
//! nobody who waits is forgotten, and nothing is left of who goes.
//! Method: connections that answer, or say nothing, while time passes in small steps.

use hulse_model::Status;
use hulse_model::limits::{CLAIMANTS_MAX, PROBE_MS_MIN};
use hulse_shard::{AckLevel, Command, Reply, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Exclusive, Shared};

use crate::rim::{PARTITION, Rim, key, producer, subscribe, subscribe_as};

/// A core whose clients say nothing unless the test says so, three entries, and their only consumer
/// on connection 2.
fn rim() -> Rim {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.all_answer = false;
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    let holder = rim.attached(key(2, 1), "s", 9);
    assert_eq!(rim.delivered(holder), [0, 1, 2]);
    rim
}

/// Lets so much time pass as a core does.
fn pass(rim: &mut Rim, ms: u64) {
    for _ in 0..ms / 50 {
        rim.pass(50);
    }
    rim.settle();
}

/// A second consumer's request.
fn claim(rim: &mut Rim, connection: u64) -> StreamKey {
    let to = key(connection, 1);
    rim.ask_on(to, subscribe("s", 9));
    rim.settle();
    to
}

fn subscribed(rim: &mut Rim, stream: StreamKey) -> bool {
    let told = rim.replies(stream);
    told.iter()
        .any(|(_, reply)| matches!(reply, Reply::Subscribed { .. }))
}

fn assert_nothing_waits(rim: &Rim) {
    assert_eq!(rim.shard.stats().claimants, 0);
}

#[test]
fn a_holder_that_answers_keeps_what_it_has() {
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    assert_eq!(rim.probed, [2]);
    pass(&mut rim, 150);
    assert!(rim.told(second).is_empty(), "the holder may still answer");
    rim.answer(2);
    assert_eq!(rim.status(second).1, Status::ConsumerBusy);
    pass(&mut rim, 1_000);
    assert!(rim.evicted.is_empty());
    assert_nothing_waits(&rim);
    // The next one asks anew.
    claim(&mut rim, 4);
    assert_eq!(rim.probed, [2, 2]);
}

#[test]
fn a_silent_holder_is_held_for_dead_long_before_its_time_out() {
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    pass(&mut rim, 150);
    assert!(rim.evicted.is_empty());
    pass(&mut rim, 50);
    assert_eq!(rim.evicted, [2]);
    let told = rim.told(second);
    let counts = told.iter().filter_map(|told| match told {
        crate::rim::Told::Deliver(it) => Some((it.header.offset.0, it.redelivery_count)),
        _ => None,
    });
    let counts: Vec<_> = counts.collect();
    assert_eq!(
        counts,
        [(0, 1), (1, 1), (2, 1)],
        "it gets what the other had"
    );
    assert_nothing_waits(&rim);
    rim.assert_quiet();
}

#[test]
fn the_patience_follows_from_the_time_out_agreed() {
    for (time_out_ms, bound) in [(200, PROBE_MS_MIN), (5_000, 1_000), (60_000, 12_000)] {
        let mut rim = Rim::new(AckLevel::Disk);
        rim.all_answer = false;
        rim.act(|shard, _, _| shard.greeted(2, time_out_ms));
        rim.attached(key(2, 1), "s", 9);
        let second = claim(&mut rim, 3);
        pass(&mut rim, bound - 50);
        assert!(rim.evicted.is_empty(), "{time_out_ms}");
        pass(&mut rim, 50);
        assert_eq!(rim.evicted, [2], "{time_out_ms}");
        assert!(subscribed(&mut rim, second));
    }
}

#[test]
fn a_core_that_stood_still_does_not_count_the_time() {
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    rim.pass(5_000);
    assert!(rim.evicted.is_empty(), "the answer may have come meanwhile");
    rim.answer(2);
    assert_eq!(rim.status(second).1, Status::ConsumerBusy);
}

#[test]
fn the_answer_and_the_end_of_the_holder_race() {
    // It answers, and is gone in the same round.
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    rim.answer(2);
    rim.disconnect(2);
    rim.settle();
    assert_eq!(rim.status(second).1, Status::ConsumerBusy);
    assert_nothing_waits(&rim);
    let second = claim(&mut rim, 3);
    assert_eq!(rim.delivered(second), [0, 1, 2]);
    // It is gone, and what it said before is read.
    let mut rim = self::rim();
    let second = claim(&mut rim, 3);
    rim.disconnect(2);
    rim.answer(2);
    rim.settle();
    assert!(subscribed(&mut rim, second));
    // It is held for dead, and what it said too late is read.
    let mut rim = self::rim();
    let second = claim(&mut rim, 3);
    pass(&mut rim, 200);
    rim.answer(2);
    assert_eq!(rim.evicted, [2]);
    assert!(subscribed(&mut rim, second));
    assert_nothing_waits(&rim);
}

#[test]
fn a_holder_that_lets_go_lets_the_next_in_when_it_answers() {
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    rim.ask(key(2, 1), Command::Close);
    rim.answer(2);
    rim.settle();
    assert!(subscribed(&mut rim, second));
    assert!(rim.evicted.is_empty());
}

#[test]
fn nothing_is_left_of_a_claimant_that_goes() {
    let mut rim = rim();
    claim(&mut rim, 3);
    rim.disconnect(3);
    assert_nothing_waits(&rim);
    pass(&mut rim, 1_000);
    assert!(rim.evicted.is_empty(), "nobody wants what it has any more");
    // It closes the stream that it is not told of yet.
    let fourth = claim(&mut rim, 4);
    let close = rim.ask(fourth, Command::Close);
    assert_eq!(rim.reply(fourth), (close, Reply::Closed));
    assert_nothing_waits(&rim);
    // It goes when its waiting is over and its request is not tried again yet.
    claim(&mut rim, 5);
    rim.disconnect(2);
    rim.disconnect(5);
    assert_nothing_waits(&rim);
    rim.settle();
    let sixth = claim(&mut rim, 6);
    assert!(subscribed(&mut rim, sixth));
    rim.assert_quiet();
}

#[test]
fn of_several_that_wait_the_first_gets_it_and_is_asked_for_the_others() {
    let mut rim = rim();
    let [third, fourth] = [3, 4].map(|connection| claim(&mut rim, connection));
    assert_eq!(rim.probed, [2], "one question is enough");
    pass(&mut rim, 200);
    assert_eq!((&rim.probed[..], &rim.evicted[..]), (&[2, 3][..], &[2][..]));
    assert!(subscribed(&mut rim, third));
    assert!(rim.told(fourth).is_empty());
    rim.answer(3);
    assert_eq!(rim.status(fourth).1, Status::ConsumerBusy);
    assert_nothing_waits(&rim);
}

#[test]
fn no_more_than_so_many_wait() {
    let mut rim = rim();
    for stream in 0..u32::try_from(CLAIMANTS_MAX).unwrap() {
        rim.ask_on(key(3, stream + 1), subscribe("s", 1));
    }
    assert!(rim.told.iter().all(|(to, _)| to.connection != 3));
    let one_more = claim(&mut rim, 4);
    assert_eq!(rim.status(one_more).1, Status::ConsumerBusy);
    assert_eq!(rim.shard.stats().claimants, CLAIMANTS_MAX as u64);
    rim.disconnect(3);
    assert_nothing_waits(&rim);
}

#[test]
fn who_holds_it_itself_is_not_asked() {
    let mut rim = rim();
    let again = key(2, 2);
    rim.ask_on(again, subscribe("s", 9));
    assert_eq!(rim.status(again).1, Status::ConsumerBusy);
    assert!(rim.probed.is_empty());
}

#[test]
fn a_stream_that_waits_takes_permits_and_nothing_else() {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.all_answer = false;
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    rim.attached(key(2, 1), "s", 9);
    let second = key(3, 1);
    rim.ask_on(second, subscribe("s", 1));
    rim.say(second, Command::Permits(1));
    rim.ask_on(second, subscribe("s", 1));
    assert_eq!(rim.status(second).1, Status::ProtocolViolation);
    let redeliver = Command::Redeliver { entries: &[] };
    rim.ask(second, redeliver);
    assert_eq!(rim.status(second).1, Status::ProtocolViolation);
    pass(&mut rim, 200);
    assert_eq!(rim.delivered(second), [0, 1]);
}

#[test]
fn a_silent_opening_of_a_producer_s_name_gives_way_and_another_does_not() {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.all_answer = false;
    let old = rim.opened_producer(key(2, 1), "p");
    rim.produced(old, 0..1);
    let again = key(3, 1);
    rim.ask_on(again, producer("p", Some(0)));
    assert_eq!(rim.probed, [2]);
    rim.answer(2);
    assert_eq!(rim.status(again).1, Status::ProducerBusy);
    rim.ask_on(again, producer("p", Some(0)));
    pass(&mut rim, 200);
    let (_, reply) = rim.reply(again);
    assert!(
        matches!(reply, Reply::ProducerOpened { epoch: 0, .. }),
        "{reply:?}"
    );
    let _ = rim.produce(again, 1, 1, b"on");
    rim.settle();
    assert_eq!(rim.receipts(again), [1]);
}

#[test]
fn a_deleted_topic_and_a_stopping_core_answer_who_waits() {
    let mut rim = rim();
    let second = claim(&mut rim, 3);
    assert!(rim.act(|shard, _, fx| shard.drop_partition(PARTITION, fx)));
    assert_eq!(rim.status(second).1, Status::TopicNotFound);
    assert_nothing_waits(&rim);
    let mut rim = self::rim();
    let second = claim(&mut rim, 3);
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    assert_nothing_waits(&rim);
    assert_eq!(rim.status(second).1, Status::NotReady);
}

#[test]
fn a_type_that_does_not_fit_is_refused_for_the_sake_of_who_is_alive() {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.all_answer = false;
    let shared = |name| subscribe_as(Shared, "s", name, 9);
    rim.attached_by(key(2, 1), shared("a"));
    rim.attached_by(key(3, 1), shared("b"));
    let kind: SubscriptionKind = Exclusive;
    let other = key(4, 1);
    rim.ask_on(other, subscribe_as(kind, "s", "c", 9));
    assert_eq!(rim.probed, [2]);
    // The first is dead, and the second is not.
    pass(&mut rim, 200);
    assert_eq!((&rim.evicted[..], &rim.probed[..]), (&[2][..], &[2, 3][..]));
    rim.answer(3);
    let (_, refusal) = rim.refusal(other);
    assert_eq!(refusal.status, Status::ConsumerBusy);
    assert_eq!(refusal.message, "subscription s is shared, not exclusive");
}
