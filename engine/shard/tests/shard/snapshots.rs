//! Goal: a snapshot stands for what came before it, and nothing goes before it is durable.
//! Method: ten thousand records bring one; then time passes, syncs are late, and starts are
//! compared.

use hulse_log::sim::Keep;
use hulse_log::{LogKind, partition_dir};
use hulse_model::Offset;
use hulse_model::limits::RETENTION_MS_DEFAULT;
use hulse_shard::{AckLevel, Command, PartitionStats, Reply, SeekTo, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, Told, key, subscribe, whole};

/// Entries that the partition holds: some segments full.
const ENTRIES: u64 = 200;

/// A partition with [`ENTRIES`] entries, a subscription `s` at the first, and so many records that
/// a snapshot is due.
fn much() -> (Rim, StreamKey) {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    for sequence in 0..ENTRIES {
        while rim.produce(p, sequence, 1, &[5; 1_000]) == hulse_shard::Handled::Held {
            rim.settle();
        }
        rim.settle();
    }
    let c = rim.attached(key(2, 1), "s", 0);
    for _ in 0..10_000 {
        rim.ask(c, Command::Seek(SeekTo::Earliest));
    }
    rim.settle();
    rim.told.clear();
    rim.drain();
    (rim, c)
}

/// The same with its snapshot, durable.
fn with_snapshot() -> (Rim, StreamKey) {
    let (mut rim, c) = much();
    rim.pass(50);
    assert_eq!(rim.pending.len(), 1, "the snapshot is being synced");
    rim.settle();
    (rim, c)
}

fn described(rim: &Rim) -> PartitionStats {
    rim.shard.describe(PARTITION).unwrap()
}

/// What the next start must find as it was.
fn lasting(rim: &Rim) -> impl PartialEq + std::fmt::Debug + use<> {
    let stats = described(rim);
    let subscriptions: Vec<_> = stats
        .subscriptions
        .into_iter()
        .map(|s| {
            (
                s.name,
                s.kind,
                s.mark,
                s.backlog_entries,
                s.acknowledged_ranges,
            )
        })
        .collect();
    (stats.log_start, stats.log_end, subscriptions)
}

/// Acknowledges entries, durably.
fn acknowledge(rim: &mut Rim, c: StreamKey, up_to: u64) {
    let up_to = whole(up_to);
    let id = rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.settle();
    assert_eq!(rim.reply(c), (id, Reply::Acked));
}

/// Sends entry `sequence` of producer `p` once more: it is recognised, with its id.
fn assert_recognised(rim: &mut Rim, sequence: u64) {
    let again = rim.opened_producer(key(90 + sequence, 1), "p");
    let _ = rim.produce(again, sequence, 1, &[5; 1_000]);
    rim.settle();
    let told = rim.told(again);
    let id = Some(Offset(sequence));
    assert!(
        matches!(&told[..], [Told::Receipt(it)] if it.duplicate && it.id.map(|id| id.1) == id),
        "{told:?}"
    );
}

/// Names of the files to be removed.
fn removals(rim: &Rim) -> Vec<String> {
    let removals = rim.pending.iter().filter_map(|pending| match pending {
        Pending::Remove(removal) => Some(removal.files().to_vec()),
        _ => None,
    });
    removals.flatten().collect()
}

#[test]
fn a_start_from_a_snapshot_is_the_same_as_one_from_the_whole_log() {
    let (mut rim, c) = much();
    acknowledge(&mut rim, c, 6);
    let messages = [whole(9), whole(11), whole(12)];
    let messages = &messages[..];
    rim.ask(
        c,
        Command::AckIndividual {
            messages,
            receipt: true,
        },
    );
    rim.settle();
    let (from_all, all) = Rim::recovered(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    rim.pass(50);
    rim.settle();
    let (mut from_snapshot, snapshot) =
        Rim::recovered(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    let (all, snapshot) = (all.unwrap(), snapshot.unwrap());
    assert_eq!(all.entries_folded, ENTRIES);
    assert_eq!(snapshot.entries_folded, 0, "the snapshot has folded them");
    assert_eq!(lasting(&from_all), lasting(&rim));
    assert_eq!(lasting(&from_snapshot), lasting(&rim));
    assert_recognised(&mut from_snapshot, ENTRIES - 1);
    assert_recognised(&mut from_snapshot, ENTRIES - 150);
}

#[test]
fn a_snapshot_that_is_not_whole_counts_for_nothing() {
    let (mut rim, _) = much();
    rim.pass(50);
    assert_eq!(rim.pending.len(), 1);
    // The machine dies while the snapshot is on its way, with any part of it on the disk.
    for seed in 0..20 {
        let disk = rim.disk.crashed(Keep::Random(seed));
        let (mut after, recovered) = Rim::recovered(disk, AckLevel::Disk);
        let folded = recovered.unwrap().entries_folded;
        assert!(folded == 0 || folded == ENTRIES, "{folded}");
        assert_eq!(lasting(&after), lasting(&rim));
        assert_recognised(&mut after, ENTRIES - 1);
    }
}

#[test]
fn records_before_a_durable_snapshot_go_and_nothing_is_forgotten() {
    let (mut rim, c) = with_snapshot();
    acknowledge(&mut rim, c, 4);
    let segments = described(&rim).segments;
    rim.pass(10_000);
    let gone = removals(&rim);
    assert!(!gone.is_empty(), "ten thousand records are superfluous");
    let sibling = |name: &String| name.starts_with("sibling-");
    assert!(gone.iter().all(sibling), "the entries are young: {gone:?}");
    assert!(described(&rim).segments < segments);
    // A crash before, between and after the removals.
    for removed in [false, true] {
        if removed {
            rim.settle();
        }
        for seed in 0..5 {
            let disk = rim.disk.crashed(Keep::Random(seed));
            let (mut after, recovered) = Rim::recovered(disk, AckLevel::Disk);
            recovered.unwrap();
            assert_eq!(lasting(&after), lasting(&rim));
            assert_recognised(&mut after, ENTRIES - 1);
        }
    }
    let (_, recovered) = Rim::recovered(rim.disk.fork(), AckLevel::Disk);
    assert!(recovered.unwrap().records_folded < 10_000);
}

#[test]
fn nothing_goes_before_the_snapshot_is_durable() {
    let (mut rim, _) = much();
    rim.pass(10_000);
    assert_eq!(rim.pending.len(), 1, "the snapshot's sync");
    for _ in 0..3 {
        rim.pass(10_000);
        assert_eq!(removals(&rim), [] as [String; 0]);
    }
    rim.finish_syncs(LogKind::Sibling);
    rim.pass(10_000);
    assert!(!removals(&rim).is_empty());
}

#[test]
fn a_snapshot_whose_last_entry_is_damaged_still_stands_for_the_state() {
    let (rim, _) = much();
    // The last entry that the snapshot covers is the only one of its term.
    let mut rim = rim.killed(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, ENTRIES, 1, b"the only one of its term");
    rim.settle();
    rim.pass(50);
    rim.settle();
    rim.pass(10_000);
    assert!(!removals(&rim).is_empty(), "only the snapshot is left");
    rim.settle();
    let mut rim = rim.killed(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, ENTRIES + 1, 1, b"and one behind it");
    rim.settle();
    for (path, bytes) in rim.disk.contents() {
        let wanted = b"the only one of its term";
        if let Some(at) = bytes.windows(wanted.len()).position(|it| it == wanted) {
            rim.disk.flip_bit(&path, at, 0);
        }
    }
    let (mut after, recovered) = Rim::recovered(rim.disk.fork(), AckLevel::Disk);
    recovered.unwrap();
    let damaged = described(&after).damaged;
    assert_eq!(damaged, [(Offset(ENTRIES), Offset(ENTRIES + 1))]);
    assert_eq!(lasting(&after), lasting(&rim));
    assert_recognised(&mut after, ENTRIES);
    assert_recognised(&mut after, ENTRIES - 3);
}

#[test]
fn a_term_that_the_logs_have_seen_is_refused() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..1);
    for (term, fits) in [(0, false), (1, false), (2, true)] {
        let mut again = Rim::empty(rim.disk.fork(), crate::rim::config());
        let opened = again.open(crate::rim::spec(PARTITION, term, AckLevel::Disk));
        assert_eq!(opened.is_ok(), fits, "term {term}");
    }
}

#[test]
fn without_a_snapshot_nothing_goes() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    for sequence in 0..50 {
        while rim.produce(p, sequence, 1, &[5; 1_000]) == hulse_shard::Handled::Held {
            rim.settle();
        }
    }
    rim.settle();
    rim.pass(RETENTION_MS_DEFAULT * 2);
    assert!(rim.pending.is_empty());
}

#[test]
fn old_entries_go_when_every_subscription_has_acknowledged_them() {
    let (mut rim, c) = with_snapshot();
    rim.pass(10_000);
    rim.settle();
    assert_eq!(described(&rim).log_start, Offset(0), "they are young");
    rim.pass(RETENTION_MS_DEFAULT + 1);
    assert_eq!(removals(&rim), [] as [String; 0], "they are wanted");
    acknowledge(&mut rim, c, ENTRIES - 1);
    let slow = rim.attached(key(5, 1), "slow", 0);
    acknowledge(&mut rim, slow, 29);
    rim.pass(10_000);
    assert!(!removals(&rim).is_empty());
    rim.settle();
    let start = described(&rim).log_start;
    assert!(
        start > Offset(0) && start <= Offset(30),
        "{start} is wanted by the slow one"
    );
    rim.say(slow, Command::Permits(1_000));
    assert_eq!(rim.delivered(slow), (30..ENTRIES).collect::<Vec<_>>());
    acknowledge(&mut rim, slow, ENTRIES - 1);
    rim.pass(10_000);
    rim.settle();
    let start = described(&rim).log_start;
    assert!(start > Offset(30), "nobody wants them any more");
    // A new subscription begins where the log does, and a seek finds its first entry.
    let new = rim.attached(key(6, 1), "new", 1_000);
    assert_eq!(rim.delivered(new), (start.0..ENTRIES).collect::<Vec<_>>());
    rim.ask(new, Command::Seek(SeekTo::Time(0)));
    rim.settle();
    assert_eq!(described(&rim).subscriptions[2].mark.offset, start);
    // Nothing of the state went with the entries.
    let mut after = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    assert_eq!(lasting(&after), lasting(&rim));
    assert_recognised(&mut after, ENTRIES - 1);
    assert_recognised(&mut after, 1);
}

#[test]
fn a_mark_below_the_start_is_delivered_from_the_start() {
    let (mut rim, c) = with_snapshot();
    acknowledge(&mut rim, c, ENTRIES - 1);
    let consumer = rim.attached(key(5, 1), "t", 0);
    acknowledge(&mut rim, consumer, ENTRIES - 1);
    rim.pass(RETENTION_MS_DEFAULT + 1);
    rim.settle();
    let start = described(&rim).log_start;
    assert!(start > Offset(0));
    let id = rim.ask(
        consumer,
        Command::AckCumulative {
            up_to: whole(0),
            receipt: true,
        },
    );
    rim.settle();
    assert_eq!(
        rim.reply(consumer),
        (id, Reply::Acked),
        "what is gone was acknowledged"
    );
    rim.ask_on(key(6, 1), subscribe("u", 1));
    rim.settle();
    let delivered = rim.delivered(key(6, 1));
    assert_eq!(delivered, [start.0]);
}

#[test]
fn a_damaged_snapshot_is_not_relied_on() {
    let (mut rim, c) = with_snapshot();
    let p = key(1, 1);
    for sequence in ENTRIES..ENTRIES * 2 {
        while rim.produce(p, sequence, 1, &[5; 1_000]) == hulse_shard::Handled::Held {
            rim.settle();
        }
    }
    rim.settle();
    // More names than one part of a snapshot has bytes for, and records until it is due.
    for name in 0..1_200 {
        let subscription = format!("{name}-{}", "n".repeat(240)).parse().unwrap();
        let command = Command::Subscribe {
            subscription,
            kind: hulse_subscription::SubscriptionKind::Exclusive,
            start: hulse_shard::StartFrom::Latest,
            consumer: String::new(),
            priority: 0,
            member: None,
            permits: 0,
            durable: true,
        };
        rim.ask_on(key(7, 1), command);
        rim.disconnect(7);
    }
    for _ in 0..10_000 {
        rim.ask(c, Command::Seek(SeekTo::Latest));
    }
    rim.settle();
    rim.told.clear();
    rim.drain();
    rim.pass(50);
    rim.settle();
    // The first part of that snapshot rots; the second stays whole.
    let first_of_two = [1, 6, 0, 0, 0, 0, 2, 0, 0, 0];
    let sibling = format!("{}/sibling-", partition_dir(PARTITION));
    let mut found = 0;
    for (path, bytes) in rim.disk.contents() {
        let at = bytes
            .windows(first_of_two.len())
            .position(|bytes| bytes == first_of_two);
        if let Some(at) = at.filter(|_| path.starts_with(&sibling)) {
            rim.disk.flip_bit(&path, at + 100, 0);
            found += 1;
        }
    }
    assert_eq!(found, 1, "one snapshot of two parts");
    acknowledge(&mut rim, c, 0);
    let mut after = Rim::restarted(rim.disk.fork(), AckLevel::Disk);
    for _ in 0..3 {
        after.pass(RETENTION_MS_DEFAULT + 1);
        after.settle();
    }
    assert!(
        described(&after).log_start > Offset(ENTRIES),
        "old entries went"
    );
    // Their numbers and ids are remembered all the same: another snapshot stands for them.
    let mut last = Rim::restarted(after.disk.fork(), AckLevel::Disk);
    assert_recognised(&mut last, ENTRIES + 50);
    assert_recognised(&mut last, ENTRIES - 50);
}
