//! Goal: whatever is held back for want of room goes on when there is room, and every counter
//! comes back to 0. Method: small budgets, and everything that can free a part of them.

use hulse_log::LogKind;
use hulse_log::sim::{Fault, SimDisk};
use hulse_model::{PartitionId, Status};
use hulse_shard::{AckLevel, Command, Handled, ShardConfig, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, key, producer, spec, subscribe};

/// A core whose budgets are small.
fn small(unsynced: usize, connection: usize, core: usize) -> ShardConfig {
    ShardConfig {
        unsynced_bytes_max: unsynced,
        connection_output_bytes_max: connection,
        core_output_bytes_max: core,
        ..crate::rim::config()
    }
}

/// A second partition.
const OTHER: PartitionId = PartitionId(0x07e2);

/// A core with two partitions and a producer on each.
fn two_producers(config: ShardConfig, ack: AckLevel) -> (Rim, StreamKey, StreamKey) {
    let mut rim = Rim::empty(SimDisk::new(), config);
    rim.open(spec(PARTITION, 1, ack)).unwrap();
    rim.open(spec(OTHER, 1, ack)).unwrap();
    let p = rim.opened_producer(key(1, 1), "p");
    let q = key(2, 1);
    let id = rim.correlation();
    rim.act(|shard, clock, fx| shard.handle_on(clock, OTHER, q, id, producer("q", None), fx));
    rim.settle();
    rim.told(q);
    if ack == AckLevel::Memory {
        rim.pass(2_000);
        rim.settle();
    }
    assert_eq!(rim.shard.stats().unsynced_bytes, 0);
    (rim, p, q)
}

#[test]
fn a_batch_held_for_the_core_goes_on_after_any_sync() {
    let (mut rim, p, q) = two_producers(small(1_000, 1 << 20, 1 << 20), AckLevel::Disk);
    assert_eq!(rim.produce(p, 0, 1, &[0; 1_000]), Handled::Done);
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Held);
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Held);
    rim.end_round();
    assert!(rim.resumed.is_empty());
    rim.finish_syncs(LogKind::Entries);
    assert_eq!(rim.resumed, [2], "told once");
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(q), [0]);
    rim.assert_quiet();
}

#[test]
fn bytes_that_will_never_be_synced_hold_nobody_back() {
    for fault in [Fault::Sync, Fault::Write] {
        let (mut rim, p, q) = two_producers(small(1_000, 1 << 20, 1 << 20), AckLevel::Disk);
        let _ = rim.produce(p, 0, 1, &[0; 1_000]);
        assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Held);
        rim.disk.inject(fault);
        rim.settle();
        assert_eq!(rim.status(p).1, Status::StorageFailed);
        assert_eq!(rim.resumed, [2], "{fault:?}");
        assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
        rim.settle();
        assert_eq!(rim.receipts(q), [0]);
        rim.assert_quiet();
    }
}

#[test]
fn bytes_of_a_deleted_partition_hold_nobody_back() {
    let (mut rim, p, q) = two_producers(small(1_000, 1 << 20, 1 << 20), AckLevel::Disk);
    let _ = rim.produce(p, 0, 1, &[0; 1_000]);
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Held);
    rim.end_round();
    assert!(rim.act(|shard, _, fx| shard.drop_partition(PARTITION, fx)));
    assert_eq!(rim.resumed, [2], "its sync will wake nobody");
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(q), [0]);
    rim.assert_quiet();
}

#[test]
fn at_memory_a_full_core_syncs_at_once() {
    let (mut rim, p, q) = two_producers(small(1_000, 1 << 20, 1 << 20), AckLevel::Memory);
    let _ = rim.produce(p, 0, 1, &[0; 1_000]);
    rim.end_round();
    assert!(rim.pending.is_empty(), "the clock would see to it");
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Held);
    rim.end_round();
    assert!(matches!(&rim.pending[..], [Pending::Background(_)]));
    rim.finish(0);
    assert_eq!(rim.resumed, [2]);
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
}

#[test]
fn at_memory_a_log_with_much_unsynced_does_not_wait_for_the_clock() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    let payload = vec![3; 1_000_000];
    let mut sequence = 0;
    let mut synced = 0;
    while sequence < 40 {
        match rim.produce(p, sequence, 1, &payload) {
            Handled::Done => sequence += 1,
            Handled::Held => {
                rim.end_round();
                assert!(!rim.pending.is_empty(), "held, and nothing is under way");
                synced += 1;
                rim.settle();
                assert_eq!(std::mem::take(&mut rim.resumed), [1]);
            }
        }
        rim.end_round();
    }
    assert!(synced > 0);
    rim.settle();
    assert!(rim.shard.stats().unsynced_bytes < 4 * 1024 * 1024 + 10_000);
}

/// A core with 20 entries of 1000 bytes and a subscription `s` with a consumer on each partition.
fn two_consumers(config: ShardConfig) -> (Rim, StreamKey, StreamKey) {
    let (mut rim, p, q) = two_producers(config, AckLevel::Disk);
    for sequence in 0..20 {
        for stream in [p, q] {
            while rim.produce(stream, sequence, 1, &[0; 1_000]) == Handled::Held {
                rim.settle();
            }
        }
    }
    rim.settle();
    rim.told.clear();
    rim.drain();
    let d = key(4, 1);
    let id = rim.correlation();
    rim.act(|shard, clock, fx| shard.handle_on(clock, OTHER, d, id, subscribe("s", 0), fx));
    let c = rim.attached(key(3, 1), "s", 0);
    rim.told.clear();
    rim.drain();
    (rim, c, d)
}

/// Has so many bytes leave towards a connection.
fn send(rim: &mut Rim, connection: u64, bytes: usize) {
    let queued = rim.queued.get_mut(&connection).unwrap();
    *queued -= bytes;
    rim.act(|shard, _, fx| shard.sent(connection, bytes, fx));
}

#[test]
fn a_slow_connection_is_delivered_to_as_it_drains_and_holds_nobody_back() {
    let (mut rim, c, d) = two_consumers(small(1 << 20, 5_000, 1 << 20));
    rim.say(c, Command::Permits(1_000));
    rim.say(c, Command::Permits(1));
    assert_eq!(rim.delivered(c).len(), 5, "until the connection is full");
    rim.say(d, Command::Permits(3));
    assert_eq!(rim.delivered(d).len(), 3);
    send(&mut rim, 3, 1_100);
    assert_eq!(rim.delivered(c).len(), 0, "not with every frame");
    let left = rim.queued[&3] - 2_500;
    send(&mut rim, 3, left);
    assert_eq!(rim.delivered(c), [5, 6, 7]);
    rim.drain();
    assert_eq!(rim.delivered(c), (8..20).collect::<Vec<_>>());
    rim.assert_quiet();
}

#[test]
fn a_full_core_delivers_to_everybody_when_it_drains() {
    // Each connection alone stays far below its own limit.
    let (mut rim, c, d) = two_consumers(small(1 << 20, 1 << 20, 6_000));
    rim.say(c, Command::Permits(1_000));
    assert_eq!(rim.delivered(c).len(), 6);
    rim.say(d, Command::Permits(1_000));
    assert_eq!(rim.delivered(d).len(), 0, "the core is full");
    // Nothing is queued towards the second, so only the first's draining can wake it.
    let all = rim.queued[&3];
    send(&mut rim, 3, all);
    assert!(!rim.delivered(c).is_empty() || !rim.delivered(d).is_empty());
    rim.told.clear();
    rim.drain();
    let described = |rim: &Rim, id| {
        rim.shard.describe(id).unwrap().subscriptions[0]
            .blocked
            .as_ref()
            .map(|blocked| blocked.text.clone())
    };
    for id in [PARTITION, OTHER] {
        let blocked = described(&rim, id).unwrap();
        assert!(blocked.starts_with("everything is delivered"), "{blocked}");
    }
    rim.assert_quiet();
}

#[test]
fn a_full_core_delivers_to_the_others_when_a_connection_goes() {
    let (mut rim, c, d) = two_consumers(small(1 << 20, 1 << 20, 6_000));
    rim.say(c, Command::Permits(1_000));
    rim.say(d, Command::Permits(3));
    assert_eq!(rim.delivered(d).len(), 0, "the core is full");
    rim.disconnect(3);
    rim.pass(50);
    assert_eq!(rim.delivered(d), [0, 1, 2]);
    rim.disconnect(4);
    rim.assert_quiet();
}
