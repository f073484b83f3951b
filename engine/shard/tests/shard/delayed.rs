//! Goal: an entry with a time goes out at that time, not before and not twice, whatever happens
//! meanwhile, and holds up nothing else.
//! Method: few entries and virtual time; many entries where the index has to fold them.

use hulse_model::batch::Message;
use hulse_model::delayed::begin_delayed;
use hulse_model::limits::DELAYED_ENTRIES_MAX;
use hulse_model::{PayloadFormat, Status};
use hulse_shard::{AckLevel, BlockedStats, Command, Handled, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Exclusive, Failover, KeyShared, Shared};

use crate::rim::{PARTITION, Rim, Told, key, subscribe_as, whole};

/// A payload of one message that is due at a time.
fn payload(due_ms: u64, message_key: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    begin_delayed(due_ms, &mut payload);
    let message = Message {
        key: Some(message_key.as_bytes()),
        value: b"later",
    };
    message.encode(&mut payload).unwrap();
    payload
}

fn batch(sequence: u64, delayed: bool, payload: &[u8]) -> Command<'_> {
    Command::Produce {
        sequence,
        messages: 1,
        skipped: false,
        delayed,
        payload,
        payload_crc: None,
    }
}

/// Produces one message that is due in so many milliseconds; none: one without a time.
fn produce(rim: &mut Rim, to: StreamKey, sequence: u64, in_ms: Option<u64>) {
    produce_keyed(rim, to, sequence, in_ms, "k");
}

fn produce_keyed(rim: &mut Rim, to: StreamKey, sequence: u64, in_ms: Option<u64>, key: &str) {
    let now_ms = rim.clock.wall_ms;
    let mut bytes = payload(now_ms + in_ms.unwrap_or(0), key);
    if in_ms.is_none() {
        bytes.drain(..8);
    }
    rim.ask(to, batch(sequence, in_ms.is_some(), &bytes));
    rim.settle();
}

fn consumer(rim: &mut Rim, connection: u64, kind: SubscriptionKind, permits: u32) -> StreamKey {
    let name = format!("c{connection}");
    let command = subscribe_as(kind, "s", &name, permits);
    rim.attached_by(key(connection, 1), command)
}

fn acknowledge(rim: &mut Rim, stream: StreamKey, offsets: &[u64]) {
    let messages: Vec<_> = offsets.iter().map(|offset| whole(*offset)).collect();
    let messages = &messages[..];
    let receipt = true;
    rim.ask(stream, Command::AckIndividual { messages, receipt });
    rim.settle();
}

/// Lets time pass, and what follows from it happen.
fn pass(rim: &mut Rim, ms: u64) {
    rim.pass(ms);
    rim.settle();
}

fn blocked(rim: &Rim) -> Option<BlockedStats> {
    let stats = rim.shard.describe(PARTITION).unwrap();
    stats.subscriptions[0].blocked.clone()
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

#[test]
fn an_entry_goes_out_at_its_time_and_the_others_before_it() {
    for kind in [Shared, KeyShared] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = consumer(&mut rim, 2, kind, 10);
        produce(&mut rim, p, 0, Some(500));
        produce(&mut rim, p, 1, None);
        produce(&mut rim, p, 2, Some(200));
        assert_eq!(rim.delivered(c), [1], "{kind:?}");
        acknowledge(&mut rim, c, &[1]);
        let due_ms = rim.clock.wall_ms + 200;
        let why = blocked(&rim).unwrap();
        assert_eq!((why.reason, why.due_ms), ("delayed", Some(due_ms)));
        assert_eq!(why.entry.map(|entry| entry.0), Some(2));
        pass(&mut rim, 199);
        assert_eq!(rim.delivered(c), []);
        pass(&mut rim, 1);
        assert_eq!(rim.delivered(c), [2], "{kind:?}");
        pass(&mut rim, 300);
        assert_eq!(rim.delivered(c), [0], "{kind:?}");
        acknowledge(&mut rim, c, &[0, 2]);
        assert_eq!(blocked(&rim).unwrap().reason, "caught-up");
        pass(&mut rim, 10_000);
        assert_eq!(rim.delivered(c), [], "once");
    }
}

#[test]
fn what_keeps_the_order_of_its_partition_looks_at_no_times() {
    for kind in [Exclusive, Failover] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = consumer(&mut rim, 2, kind, 10);
        produce(&mut rim, p, 0, Some(500));
        produce(&mut rim, p, 1, None);
        assert_eq!(rim.delivered(c), [0, 1], "{kind:?}");
    }
}

#[test]
fn what_waits_uses_no_permits_and_what_is_due_waits_for_them() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = consumer(&mut rim, 2, Shared, 1);
    for sequence in 0..5 {
        produce(&mut rim, p, sequence, Some(100));
    }
    produce(&mut rim, p, 5, None);
    assert_eq!(rim.delivered(c), [5]);
    pass(&mut rim, 100);
    assert_eq!(rim.delivered(c), []);
    assert_eq!(blocked(&rim).unwrap().reason, "no-permits");
    rim.say(c, Command::Permits(3));
    assert_eq!(rim.delivered(c), [0, 1, 2]);
    rim.say(c, Command::Permits(3));
    assert_eq!(rim.delivered(c), [3, 4]);
}

#[test]
fn a_restart_forgets_no_time_and_no_acknowledgement() {
    for kind in [Shared, KeyShared] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = consumer(&mut rim, 2, kind, 10);
        produce(&mut rim, p, 0, Some(1_000));
        produce(&mut rim, p, 1, Some(300));
        produce(&mut rim, p, 2, None);
        pass(&mut rim, 300);
        assert_eq!(rim.delivered(c), [2, 1]);
        acknowledge(&mut rim, c, &[1]);
        let clock = rim.clock;
        let mut rim = rim.killed(AckLevel::Disk);
        rim.clock = clock;
        let c = consumer(&mut rim, 2, kind, 10);
        assert_eq!(rim.delivered(c), [2], "{kind:?}");
        pass(&mut rim, 699);
        assert_eq!(rim.delivered(c), []);
        pass(&mut rim, 1);
        assert_eq!(rim.delivered(c), [0]);
        // What came due while no broker was there goes out at once.
        let mut rim = rim.killed(AckLevel::Disk);
        rim.clock.wall_ms = clock.wall_ms + 5_000;
        let c = consumer(&mut rim, 2, kind, 10);
        assert_eq!(rim.delivered(c), [0, 2], "{kind:?}");
    }
}

#[test]
fn after_its_time_an_entry_is_like_any_other() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let a = consumer(&mut rim, 2, Shared, 10);
    produce(&mut rim, p, 0, Some(100));
    pass(&mut rim, 100);
    assert_eq!(counts(&mut rim, a), [(0, 0)]);
    rim.say(a, Command::Redeliver { entries: &[] });
    assert_eq!(counts(&mut rim, a), [(0, 1)]);
    let b = consumer(&mut rim, 3, Shared, 10);
    rim.disconnect(2);
    rim.end_round();
    assert_eq!(counts(&mut rim, b), [(0, 2)]);
    // Even by a clock that was set back.
    rim.clock.wall_ms -= 1_000;
    rim.say(b, Command::Redeliver { entries: &[] });
    assert_eq!(counts(&mut rim, b), [(0, 3)]);
}

#[test]
fn what_is_acknowledged_before_its_time_is_not_delivered() {
    for kind in [Shared, KeyShared] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = consumer(&mut rim, 2, kind, 10);
        for sequence in 0..3 {
            produce(&mut rim, p, sequence, Some(100));
        }
        acknowledge(&mut rim, c, &[1]);
        pass(&mut rim, 200);
        assert_eq!(rim.delivered(c), [0, 2], "{kind:?}");
    }
}

#[test]
fn keys_stay_with_their_consumers() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let [a, b] = [2, 3].map(|connection| consumer(&mut rim, connection, KeyShared, 100));
    let keys: Vec<String> = (0..20).map(|number| format!("key-{number}")).collect();
    for (sequence, name) in (0..).zip(&keys) {
        produce_keyed(&mut rim, p, 2 * sequence, Some(100), name);
        produce_keyed(&mut rim, p, 2 * sequence + 1, None, name);
    }
    let at_once = [rim.delivered(a), rim.delivered(b)];
    pass(&mut rim, 100);
    let later = [rim.delivered(a), rim.delivered(b)];
    let keys_of = |offsets: &[u64]| offsets.iter().map(|it| it / 2).collect::<Vec<_>>();
    for (now, then) in at_once.iter().zip(&later) {
        assert!(!now.is_empty());
        assert_eq!(keys_of(now), keys_of(then), "a key has one consumer");
    }
}

/// More than are remembered one by one, due in no order, and read in more than one go.
#[test]
fn more_than_are_remembered_go_out_at_their_times() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    let entries = DELAYED_ENTRIES_MAX as u64 + 5_000;
    let start_ms = rim.clock.wall_ms;
    let due_ms = |offset: u64| start_ms + 1_000 + offset * 7_919 % entries;
    for sequence in 0..entries {
        let bytes = payload(due_ms(sequence), "k");
        let id = rim.correlation();
        let handled = rim.act(|shard, clock, fx| {
            let command = batch(sequence, true, &bytes);
            shard.handle(clock, p, id, command, fx)
        });
        assert_eq!(handled, Handled::Done);
        if sequence % 100 == 0 {
            rim.settle();
        }
    }
    rim.settle();
    let c = consumer(&mut rim, 2, Shared, 100_000);
    let mut given = vec![false; usize::try_from(entries).unwrap()];
    let mut acknowledged = 0;
    while acknowledged < entries {
        rim.pass(50);
        rim.settle();
        rim.drain();
        rim.settle();
        let now_ms = rim.clock.wall_ms;
        let delivered = rim.delivered(c);
        for offset in &delivered {
            let before = std::mem::replace(&mut given[usize::try_from(*offset).unwrap()], true);
            assert!(!before, "entry {offset} twice");
            let late_ms = now_ms.checked_sub(due_ms(*offset));
            assert!(late_ms.is_some_and(|late| late <= 50), "entry {offset}");
        }
        acknowledge(&mut rim, c, &delivered);
        acknowledged += delivered.len() as u64;
        assert!(now_ms < start_ms + 2_000 + entries, "{acknowledged} only");
    }
    assert_eq!(blocked(&rim).unwrap().reason, "caught-up");
}

#[test]
fn a_batch_without_room_for_its_time_is_refused() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.ask(p, batch(0, true, &[0; 7]));
    assert_eq!(rim.status(p).1, Status::InvalidArgument);
    produce(&mut rim, p, 0, Some(0));
    let c = consumer(&mut rim, 2, Shared, 1);
    let told = rim.told(c).into_iter();
    let formats = told.filter_map(|told| match told {
        Told::Deliver(it) => Some(it.header.format),
        _ => None,
    });
    assert_eq!(formats.collect::<Vec<_>>(), [PayloadFormat::Delayed]);
}
