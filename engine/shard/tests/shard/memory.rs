//! Goal: at `memory` an acknowledgement survives the end of the process, syncs come by the clock,
//! and a loss of power leaves no cursor beyond the log's end. Method: the disk forgets one log and
//! keeps the other.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{Disk, DiskFile, LogKind};
use hulse_model::{Offset, Position};
use hulse_shard::{AckLevel, AckedMessages, Command, Reply};

use crate::rim::{PARTITION, Pending, Rim, key, producer, subscribe, whole};

#[test]
fn a_lazy_sync_comes_within_a_second_and_then_nothing_is_unsynced() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.pass(5_000);
    rim.settle();
    rim.pass(50);
    rim.produced(p, 0..1);
    assert_eq!(rim.receipts(p), [0]);
    let mut waited = 0;
    while rim.pending.is_empty() {
        rim.pass(50);
        waited += 50;
        assert!(waited <= 1_000, "the clock brings no sync");
    }
    assert!(waited >= 500, "a sync after {waited} ms is not lazy");
    rim.settle();
    assert_eq!(rim.shard.stats().unsynced_bytes, 0);
    rim.assert_quiet();
    let after = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Memory);
    assert_eq!(after.shard.describe(PARTITION).unwrap().log_end, Offset(1));
}

#[test]
fn at_disk_the_clock_brings_no_sync() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..1);
    let syncs = rim.shard.stats().syncs;
    for _ in 0..100 {
        rim.pass(50);
        let sync = |pending: &Pending| matches!(pending, Pending::Sync(..));
        assert!(!rim.pending.iter().any(sync));
    }
    assert_eq!(rim.shard.stats().syncs, syncs);
}

#[test]
fn acknowledgements_survive_the_end_of_the_process() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..4);
    let c = rim.attached(key(2, 1), "s", 9);
    let messages = [whole(0), whole(2)];
    let messages = &messages[..];
    let ack = rim.ask(
        c,
        Command::AckIndividual {
            messages,
            receipt: true,
        },
    );
    rim.end_round();
    assert_eq!(
        rim.replies(c),
        [(ack, Reply::Acked)],
        "no sync is waited for"
    );
    let mut rim = rim.killed(AckLevel::Memory);
    let c = rim.attached(key(2, 1), "s", 9);
    assert_eq!(rim.delivered(c), [1, 3]);
}

/// Two synced entries, and four unsynced ones of three messages each that are partly acknowledged.
fn beyond() -> Rim {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..2);
    rim.pass(2_000);
    rim.settle();
    for batch in 0..4 {
        let _ = rim.produce(p, 2 + batch * 3, 3, b"lost");
    }
    rim.settle();
    rim
}

#[test]
fn a_cursor_beyond_the_end_is_set_back_before_anything_is_appended() {
    let part = |offset, first, last| AckedMessages {
        offset: Offset(offset),
        first,
        last,
    };
    // What is acknowledged, and what of the entries that were synced is left to deliver.
    let cases: [(&[AckedMessages], &[u64]); 4] = [
        (&[whole(0), whole(1), whole(2), whole(3)], &[]),
        (&[whole(1), whole(4)], &[0]),
        (&[whole(0), whole(3)], &[1]),
        (&[whole(1), part(5, 1, 1)], &[0]),
    ];
    for (acked, left) in cases {
        let mut rim = beyond();
        let c = rim.attached(key(2, 1), "s", 100);
        rim.ask(
            c,
            Command::AckIndividual {
                messages: acked,
                receipt: true,
            },
        );
        rim.settle();
        let mut rim = Rim::restarted(rim.crashed_without(LogKind::Entries), AckLevel::Memory);
        let described = rim.shard.describe(PARTITION).unwrap();
        assert_eq!(described.log_end, Offset(2), "the entries are lost");
        assert!(described.subscriptions[0].mark <= Position::at(Offset(2)));
        // Power goes again at once, and then once more when new entries stand in their places:
        // these are synced, and whatever else was not is gone.
        rim = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Memory);
        let p = rim.opened_producer(key(1, 1), "p");
        rim.produced(p, 2..8);
        for (path, _) in rim.disk.contents() {
            if path.contains("/entries-") {
                rim.disk.open(&path).unwrap().sync_data().unwrap();
            }
        }
        rim = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Memory);
        let c = rim.attached(key(2, 1), "s", 100);
        let expected: Vec<_> = left.iter().copied().chain(2..8).collect();
        assert_eq!(rim.delivered(c), expected, "{acked:?}");
    }
}

#[test]
fn a_partition_whose_cursors_cannot_be_set_back_durably_is_not_served() {
    let mut rim = beyond();
    let c = rim.attached(key(2, 1), "s", 100);
    let up_to = whole(5);
    rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.settle();
    let disk = rim.crashed_without(LogKind::Entries);
    // Recovery syncs the logs first; the last sync is that of the cursors.
    let syncs = |disk: &SimDisk| {
        let before = disk.operations();
        let (_, recovered) = Rim::recovered(disk.clone(), AckLevel::Memory);
        (disk.operations() - before, recovered)
    };
    let (all, recovered) = syncs(&disk.fork());
    recovered.unwrap();
    let stopped = disk.fork();
    stopped.stop_after(all - 1);
    let (_, recovered) = Rim::recovered(stopped.clone(), AckLevel::Memory);
    let error = recovered.unwrap_err().to_string();
    assert!(error.contains("cannot be set back"), "{error}");
    let (rim, recovered) = Rim::recovered(stopped.crashed(Keep::Random(7)), AckLevel::Memory);
    recovered.unwrap();
    let described = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(described.subscriptions[0].mark, Position::at(Offset(2)));
    disk.inject(Fault::Write);
    assert!(Rim::recovered(disk, AckLevel::Memory).1.is_err());
}

#[test]
fn both_logs_are_synced_by_the_clock() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..1);
    rim.attached(key(2, 1), "s", 9);
    rim.pass(2_000);
    let before = LogKind::ALL.map(|log| durable(&rim, log));
    assert!(
        matches!(&rim.pending[..], [Pending::Background(_)]),
        "one job of a helper"
    );
    rim.finish(0);
    let after = LogKind::ALL.map(|log| durable(&rim, log));
    assert!(
        before[0] < after[0] && before[1] < after[1],
        "{before:?} {after:?}"
    );
    assert_eq!(rim.shard.stats().unsynced_bytes, 0);
}

/// How many entries of a log a loss of power leaves.
fn durable(rim: &Rim, log: LogKind) -> u64 {
    let disk = rim.disk.crashed(Keep::Nothing);
    let (store, _) = hulse_log::PartitionStore::open(&disk, PARTITION).unwrap();
    store.log(log).end().0
}

#[test]
fn many_partitions_are_synced_in_the_background_a_few_at_a_time() {
    let mut rim = Rim::empty(SimDisk::new(), crate::rim::config());
    let partitions = 60;
    for number in 0..partitions {
        let id = hulse_model::PartitionId(0x2000 + u128::from(number));
        rim.open(crate::rim::spec(id, 1, AckLevel::Memory)).unwrap();
        let to = key(1 + number, 1);
        let requests = [
            (to, producer("p", None)),
            (key(1 + number, 2), subscribe("s", 9)),
        ];
        for (to, request) in requests {
            let correlation = rim.correlation();
            rim.act(|shard, clock, fx| shard.handle_on(clock, id, to, correlation, request, fx));
            rim.settle();
        }
        let _ = rim.produce(to, 0, 1, b"a");
    }
    rim.pass(2_000);
    let mut jobs = 0;
    while !rim.pending.is_empty() {
        assert!(
            matches!(&rim.pending[..], [Pending::Background(_)]),
            "one at a time"
        );
        rim.finish(0);
        jobs += 1;
    }
    assert_eq!(rim.shard.stats().unsynced_bytes, 0);
    assert!(jobs >= 2 * partitions / 16, "{jobs} jobs");
}
