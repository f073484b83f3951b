//! Goal: a failed write or sync fences the partition for good: nobody is left waiting, nothing is
//! called stored, nothing is stored any more, and reading goes on. Method: faults of the disk.

use hulse_log::LogKind;
use hulse_log::sim::Fault;
use hulse_model::{Offset, Status};
use hulse_shard::{AckLevel, Command, Handled, Reply, SeekTo};

use crate::rim::{PARTITION, Rim, Told, key, producer, subscribe, whole};

/// A partition with three entries, the first acknowledged, and one unsynced batch, whose sync has
/// failed. Its producer and its consumer.
fn fenced(log: LogKind) -> (Rim, hulse_shard::StreamKey, hulse_shard::StreamKey) {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    let c = rim.attached(key(2, 1), "s", 2);
    assert_eq!(rim.delivered(c), [0, 1]);
    rim.told(p);
    let batch = rim.produce(p, 3, 2, b"unsynced");
    assert_eq!(batch, Handled::Done);
    let up_to = whole(0);
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.end_round();
    rim.disk.inject(Fault::Sync);
    rim.finish_syncs(log);
    let (id, refusal) = rim.refusal(c);
    assert_eq!((id, refusal.status), (ack, Status::StorageFailed));
    (rim, p, c)
}

#[test]
fn all_who_wait_are_told_that_nobody_knows() {
    for log in LogKind::ALL {
        let (mut rim, p, _) = fenced(log);
        let (id, refusal) = rim.refusal(p);
        assert!(id > 0);
        assert_eq!(refusal.status, Status::StorageFailed);
        assert_eq!(refusal.batch, Some((3, 2)));
        assert!(refusal.appended, "it may have been stored");
        // The other log's sync comes back to a partition that waits for nothing.
        rim.settle();
        assert!(rim.told(p).is_empty());
        assert_eq!(rim.shard.stats().fenced_partitions, 1);
        rim.assert_quiet();
    }
}

#[test]
fn nothing_more_is_taken_and_every_request_is_answered() {
    for log in LogKind::ALL {
        let (mut rim, p, c) = fenced(log);
        rim.settle();
        rim.told(p);
        let _ = rim.produce(p, 5, 1, b"more");
        let (_, refusal) = rim.refusal(p);
        assert_eq!(refusal.status, Status::StorageFailed);
        assert_eq!(refusal.batch, Some((5, 1)));
        assert!(!refusal.appended, "it has certainly not been stored");
        let up_to = whole(1);
        let ack = rim.ask(
            c,
            Command::AckCumulative {
                up_to,
                receipt: true,
            },
        );
        assert_eq!(rim.status(c), (ack, Status::StorageFailed));
        let seek = rim.ask(c, Command::Seek(SeekTo::Earliest));
        assert_eq!(rim.status(c), (seek, Status::StorageFailed));
        for (stream, command) in [(7, producer("q", None)), (8, subscribe("new", 1))] {
            let to = key(3, stream);
            let id = rim.ask_on(to, command);
            rim.settle();
            assert_eq!(rim.status(to), (id, Status::StorageFailed));
        }
        assert_eq!(
            rim.shard.stats().consumers,
            1,
            "a refused opening leaves no stream"
        );
        rim.assert_quiet();
    }
}

#[test]
fn reading_goes_on() {
    for log in LogKind::ALL {
        let (mut rim, _, c) = fenced(log);
        rim.settle();
        rim.told(c);
        rim.say(c, Command::Permits(10));
        let expected: &[u64] = match log {
            LogKind::Entries => &[2],
            // The entries behind it are synced all the same.
            LogKind::Sibling => &[2, 3],
        };
        assert_eq!(rim.delivered(c), expected);
        // Without a receipt it is kept as well as can be, and the stream lives on.
        let up_to = whole(1);
        rim.say(
            c,
            Command::AckCumulative {
                up_to,
                receipt: false,
            },
        );
        assert!(rim.told(c).is_empty());
        let close = rim.ask(c, Command::Close);
        assert_eq!(rim.reply(c), (close, Reply::Closed));
        // Another consumer takes the subscription over, though nothing can be recorded.
        let d = key(4, 1);
        rim.ask_on(d, subscribe("s", 10));
        rim.settle();
        let told = rim.told(d);
        assert!(
            matches!(&told[0], Told::Reply(_, Reply::Subscribed { created: false, mark, .. })
                if mark.offset == Offset(2)),
            "{told:?}"
        );
        assert_eq!(told.len(), 1 + expected.len());
    }
}

#[test]
fn openings_that_wait_for_the_sync_are_refused_and_leave_nothing_behind() {
    let mut rim = Rim::new(AckLevel::Disk);
    let (p, c) = (key(1, 1), key(2, 1));
    rim.ask_on(p, producer("p", None));
    rim.ask_on(c, subscribe("s", 10));
    assert_eq!(rim.produce(p, 0, 1, b"a"), Handled::Held);
    rim.end_round();
    rim.disk.inject(Fault::Sync);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(
        rim.resumed,
        [1],
        "the held batch may be offered again, and is then refused"
    );
    for stream in [p, c] {
        assert_eq!(rim.status(stream).1, Status::StorageFailed);
    }
    let stats = rim.shard.stats();
    assert_eq!((stats.producers, stats.consumers), (0, 0));
    // It may not have been made, so nobody is told that it exists: also not who comes later.
    rim.ask_on(c, subscribe("s", 10));
    rim.settle();
    assert_eq!(rim.status(c).1, Status::StorageFailed);
    rim.assert_quiet();
}

#[test]
fn a_subscription_whose_maker_has_gone_is_not_served_before_it_is_durable() {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.ask_on(key(1, 1), subscribe("s", 10));
    rim.end_round();
    rim.disconnect(1);
    rim.disk.inject(Fault::Sync);
    rim.finish_syncs(LogKind::Sibling);
    rim.ask_on(key(2, 1), subscribe("s", 10));
    rim.settle();
    assert_eq!(rim.status(key(2, 1)).1, Status::StorageFailed);
    rim.assert_quiet();
}

#[test]
fn a_failed_write_is_told_and_lets_the_held_go() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let q = rim.opened_producer(key(2, 1), "q");
    // The second waits for a segment that fits its batch.
    let _ = rim.produce(p, 0, 1, b"a");
    assert_eq!(rim.produce(q, 0, 1, &[1; 100_000]), Handled::Held);
    rim.disk.inject(Fault::Write);
    rim.end_round();
    let (_, refusal) = rim.refusal(p);
    assert_eq!(
        (refusal.status, refusal.appended),
        (Status::StorageFailed, true)
    );
    assert_eq!(rim.resumed, [2]);
    assert_eq!(rim.produce(q, 0, 1, &[1; 100_000]), Handled::Done);
    assert_eq!(rim.status(q).1, Status::StorageFailed);
    rim.settle();
    rim.assert_quiet();
}

#[test]
fn a_large_batch_whose_write_fails_is_refused_and_those_before_it_too() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let q = rim.opened_producer(key(2, 1), "q");
    let large = [1; 100_000];
    // Once, so that there is a segment that fits it.
    assert_eq!(rim.produce(q, 0, 1, &large), Handled::Held);
    rim.settle();
    assert_eq!(rim.produce(q, 0, 1, &large), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(q), [0]);
    let _ = rim.produce(p, 0, 1, b"a");
    rim.disk.inject(Fault::Write);
    let _ = rim.produce(q, 1, 1, &large);
    assert_eq!(rim.status(q).1, Status::StorageFailed);
    rim.end_round();
    let (_, refusal) = rim.refusal(p);
    assert_eq!(
        (refusal.status, refusal.appended),
        (Status::StorageFailed, true)
    );
    rim.settle();
    rim.assert_quiet();
}

#[test]
fn a_failed_lazy_sync_fences_what_was_acknowledged_at_memory() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"a");
    rim.end_round();
    assert_eq!(rim.receipts(p), [0]);
    rim.pass(2_000);
    rim.disk.inject(Fault::Sync);
    rim.settle();
    let _ = rim.produce(p, 1, 1, b"b");
    assert_eq!(rim.status(p).1, Status::StorageFailed);
    rim.assert_quiet();
    // The process is gone, and what it wrote is still in the page cache.
    let killed = rim.killed(AckLevel::Memory);
    assert_eq!(killed.shard.describe(PARTITION).unwrap().log_end, Offset(1));
}
