//! Goal: a partition that falls idle is marked flushed once, so that rot of its last round is known
//! for damage, and thousands that fall idle together do not hold up the rest. Method: time passes
//! tick by tick on a simulated disk, and the helper is as late as the test likes.

use hulse_log::sim::{Fault, Keep};
use hulse_log::{PartitionStore, partition_dir};
use hulse_model::{Offset, PartitionId};
use hulse_shard::AckLevel;

use crate::rim::{PARTITION, Pending, Rim, config, key, producer, spec};

/// Lets time pass in steps of a tick, and carries nothing out.
fn wait(rim: &mut Rim, ms: u64) {
    for _ in 0..ms / 50 {
        rim.pass(50);
    }
}

/// How many notes wait for a helper.
fn notes(rim: &Rim) -> usize {
    let note = |pending: &&Pending| matches!(pending, Pending::MarkFlushed(..));
    rim.pending.iter().filter(note).count()
}

/// How far the manifest says that the entries of a partition are durable.
fn marked_to(rim: &Rim, partition: PartitionId) -> Offset {
    let (_, report) = PartitionStore::open(&rim.disk.fork(), partition).unwrap();
    report.entries.marked_to
}

#[test]
fn rot_of_the_last_round_is_damage_after_idleness_and_a_torn_tail_before() {
    for idle in [true, false] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        for sequence in 0..3 {
            let payload = format!("payload number {sequence}");
            let _ = rim.produce(p, sequence, 1, payload.as_bytes());
            rim.settle();
        }
        wait(&mut rim, if idle { 1_100 } else { 900 });
        rim.settle();
        let disk = rim.disk.crashed(Keep::Nothing);
        let files = disk.contents();
        let last = b"payload number 2";
        let at = |bytes: &[u8]| bytes.windows(last.len()).position(|place| place == last);
        let hit = files.iter().find_map(|(path, bytes)| {
            let ours = path.starts_with(&format!("{}/entries-", partition_dir(PARTITION)));
            at(bytes).filter(|_| ours).map(|at| (path, at))
        });
        let (path, at) = hit.expect("a file holds it");
        disk.flip_bit(path, at, 0);
        let (after, recovered) = Rim::recovered(disk, AckLevel::Disk);
        let sentences: Vec<_> = recovered.unwrap().sentences().collect();
        let says = |text: &str| sentences.iter().any(|sentence| sentence.contains(text));
        let described = after.shard.describe(PARTITION).unwrap();
        assert_eq!(
            says("entries 2 to 3, without the last"),
            idle,
            "{sentences:?}"
        );
        assert_eq!(
            says("nothing proves that this had been durable"),
            !idle,
            "{sentences:?}"
        );
        assert!(!says("acknowledged"), "nobody knows that: {sentences:?}");
        assert_eq!(described.log_end, Offset(if idle { 3 } else { 2 }));
        let refused: &[_] = if idle { &[(Offset(2), Offset(3))] } else { &[] };
        assert_eq!(described.damaged, refused);
    }
}

#[test]
fn a_partition_is_marked_once_whenever_it_falls_idle() {
    for ack in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(ack);
        let p = rim.opened_producer(key(1, 1), "p");
        for round in 1..4 {
            // One that goes on is not idle, however little comes.
            for step in 0..4 {
                wait(&mut rim, 900);
                rim.settle();
                assert_eq!(marked_to(&rim, PARTITION), Offset((round - 1) * 4));
                rim.produced(p, (round - 1) * 4 + step..(round - 1) * 4 + step + 1);
            }
            // At `memory` the lazy sync comes first.
            wait(&mut rim, 1_050);
            rim.settle();
            wait(&mut rim, 1_050);
            rim.settle();
            assert_eq!(marked_to(&rim, PARTITION), Offset(round * 4), "{ack:?}");
            let operations = rim.disk.operations();
            wait(&mut rim, 5_000);
            rim.settle();
            assert_eq!(rim.disk.operations(), operations, "once is enough");
        }
    }
}

#[test]
fn nothing_is_marked_that_is_not_durable_yet() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"on its way");
    rim.end_round();
    wait(&mut rim, 3_000);
    assert_eq!(notes(&rim), 0, "the sync has not come back");
    rim.settle();
    wait(&mut rim, 50);
    assert_eq!(notes(&rim), 1);
    assert!(!rim.shard.is_quiet(), "a stop waits for the helper");
    rim.settle();
    assert!(rim.shard.is_quiet());
    assert_eq!(marked_to(&rim, PARTITION), Offset(1));
}

#[test]
fn a_mark_that_fails_is_tried_again_when_something_has_come() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..1);
    rim.disk.inject(Fault::Sync);
    wait(&mut rim, 1_100);
    assert_eq!(notes(&rim), 1);
    rim.settle();
    wait(&mut rim, 5_000);
    assert_eq!((notes(&rim), marked_to(&rim, PARTITION)), (0, Offset(0)));
    assert_eq!(rim.shard.stats().fenced_partitions, 0, "nothing is lost");
    rim.produced(p, 1..2);
    wait(&mut rim, 1_100);
    rim.settle();
    assert_eq!(marked_to(&rim, PARTITION), Offset(2));
}

/// Partitions of a test with many.
fn ids() -> impl Iterator<Item = PartitionId> {
    (1..=40).map(PartitionId)
}

/// A core with many partitions, in term `term`.
fn many(rim: &mut Rim, term: u64) {
    for id in ids() {
        rim.open(spec(id, term, AckLevel::Disk)).unwrap();
    }
}

/// Has a producer opened on a partition, which leaves a record in its sibling log.
fn touch(rim: &mut Rim, id: PartitionId, stream: u32) {
    let correlation = rim.correlation();
    rim.act(|shard, clock, fx| {
        let command = producer(&format!("p{stream}"), None);
        shard.handle_on(clock, id, key(1, stream), correlation, command, fx);
    });
    rim.settle();
}

#[test]
fn many_that_fall_idle_are_marked_one_after_the_other_and_in_turn() {
    let mut rim = Rim::empty(hulse_log::sim::SimDisk::new(), config());
    many(&mut rim, 1);
    for (stream, id) in (1..).zip(ids()) {
        touch(&mut rim, id, stream);
    }
    let mut order = Vec::new();
    wait(&mut rim, 950);
    assert_eq!(notes(&rim), 0);
    for turn in 0..39 {
        wait(&mut rim, 200);
        let [Pending::MarkFlushed(id, _)] = &rim.pending[..] else {
            panic!("one at a time")
        };
        order.push(*id);
        rim.finish(0);
        if turn == 20 {
            // The first is idle again long before the last has had its turn.
            touch(&mut rim, PartitionId(1), 1_000);
        }
    }
    wait(&mut rim, 200);
    let last = match &rim.pending[..] {
        [Pending::MarkFlushed(id, _)] => *id,
        _ => panic!("one at a time"),
    };
    order.push(last);
    rim.finish(0);
    assert_eq!(order, ids().collect::<Vec<_>>());
    wait(&mut rim, 1_100);
    assert!(matches!(
        &rim.pending[..],
        [Pending::MarkFlushed(PartitionId(1), _)]
    ));
}

#[test]
fn a_start_after_a_clean_stop_marks_nothing() {
    let mut rim = Rim::empty(hulse_log::sim::SimDisk::new(), config());
    many(&mut rim, 1);
    for (stream, id) in (1..).zip(ids()) {
        touch(&mut rim, id, stream);
    }
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    rim.settle();
    rim.shard.close();
    let mut rim = Rim::empty(rim.disk.crashed(Keep::Nothing), config());
    many(&mut rim, 2);
    wait(&mut rim, 5_000);
    assert_eq!(notes(&rim), 0);
}

#[test]
fn a_partition_that_goes_while_it_is_marked_holds_up_no_other() {
    let mut rim = Rim::empty(hulse_log::sim::SimDisk::new(), config());
    many(&mut rim, 1);
    for (stream, id) in (1..).zip(ids().take(2)) {
        touch(&mut rim, id, stream);
    }
    wait(&mut rim, 1_100);
    assert!(matches!(
        &rim.pending[..],
        [Pending::MarkFlushed(PartitionId(1), _)]
    ));
    rim.act(|shard, _, fx| shard.drop_partition(PartitionId(1), fx));
    wait(&mut rim, 200);
    assert_eq!(notes(&rim), 1, "the helper is still at it");
    rim.finish(0);
    wait(&mut rim, 100);
    assert!(matches!(
        &rim.pending[..],
        [Pending::MarkFlushed(PartitionId(2), _)]
    ));
    rim.finish(0);
    assert!(rim.shard.is_quiet());
}
