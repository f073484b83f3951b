//! Goal: small writes of several partitions become durable by one sync, and nothing that goes
//! wrong with the journal costs more than speed.
//! Method: three partitions of one core, each with a producer; syncs, journal files and
//! checkpoints come back when the test likes.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{JOURNALS_DIR, LogKind};
use hulse_model::{PartitionId, Status};
use hulse_shard::{AckLevel, Handled, Recovered, StreamKey};

use crate::rim::{Pending, Rim, config, key, producer, spec};

const PARTITIONS: u64 = 3;

fn id(number: u64) -> PartitionId {
    PartitionId(0x1000 + u128::from(number))
}

/// A core with three partitions and a producer on each, and a journal with one file.
struct Bed {
    rim: Rim,
    producers: Vec<StreamKey>,
    sequence: u64,
}

impl Bed {
    fn new() -> Self {
        let mut bed = Self::without_journal();
        // The first commit of several logs asks for a file.
        bed.produce_all(b"first");
        bed.rim.settle();
        bed.rim.told.clear();
        let files = bed.rim.disk.contents();
        assert!(files.keys().any(|path| path.starts_with(JOURNALS_DIR)));
        bed
    }

    fn without_journal() -> Self {
        let mut rim = Rim::empty(SimDisk::new(), config());
        let mut producers = Vec::new();
        for number in 0..PARTITIONS {
            rim.open(spec(id(number), 1, AckLevel::Disk)).unwrap();
            let to = key(1 + number, 1);
            let correlation = rim.correlation();
            rim.act(|shard, clock, fx| {
                shard.handle_on(clock, id(number), to, correlation, producer("p", None), fx);
            });
            rim.settle();
            producers.push(to);
        }
        rim.told.clear();
        Self {
            rim,
            producers,
            sequence: 0,
        }
    }

    /// Each producer sends one batch, and the round ends after the last.
    fn produce_all(&mut self, payload: &[u8]) {
        for to in self.producers.clone() {
            let handled = self.rim.produce(to, self.sequence, 1, payload);
            assert_eq!(handled, Handled::Done);
        }
        self.sequence += 1;
        self.rim.end_round();
    }

    fn syncs(&self) -> (usize, usize) {
        let count = |wanted: fn(&Pending) -> bool| {
            let pending = self.rim.pending.iter();
            pending.filter(|p| wanted(p)).count()
        };
        (
            count(|p| matches!(p, Pending::Sync(..))),
            count(|p| matches!(p, Pending::Journal(_))),
        )
    }

    fn finish(&mut self, wanted: fn(&Pending) -> bool) {
        let at = self.rim.pending.iter().position(wanted);
        self.rim.finish(at.expect("it is pending"));
    }

    fn receipts(&mut self) -> Vec<usize> {
        let producers = self.producers.clone();
        let count = |to: &StreamKey| self.rim.receipts(*to).len();
        producers.iter().map(count).collect()
    }
}

/// Opens the three partitions again, and says where their logs end.
fn ends(disk: SimDisk) -> Vec<u64> {
    let mut rim = Rim::empty(disk, config());
    (0..PARTITIONS)
        .map(|number| {
            let recovered: Recovered = rim.open(spec(id(number), 2, AckLevel::Disk)).unwrap();
            let logs = recovered.logs.unwrap();
            assert!(logs.entries.damaged.is_empty() && logs.sibling.damaged.is_empty());
            logs.entries.end.0
        })
        .collect()
}

#[test]
fn one_sync_makes_several_partitions_durable() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    assert_eq!(bed.syncs(), (0, 1));
    assert_eq!(bed.receipts(), [0, 0, 0], "nothing is durable yet");
    bed.finish(|p| matches!(p, Pending::Journal(_)));
    assert_eq!(bed.receipts(), [1, 1, 1]);
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [2, 2, 2]);
    assert_eq!(bed.rim.shard.stats().journal_rounds, 1);
}

#[test]
fn one_partition_syncs_its_own_file() {
    let mut bed = Bed::new();
    let _ = bed.rim.produce(bed.producers[1], bed.sequence, 1, b"alone");
    bed.rim.end_round();
    assert_eq!(bed.syncs(), (1, 0));
    bed.rim.settle();
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [1, 2, 1]);
}

#[test]
fn what_arrives_during_a_commit_shares_the_next() {
    let mut bed = Bed::new();
    let (first, sequence) = (bed.producers[0], bed.sequence);
    let _ = bed.rim.produce(first, sequence, 1, b"alone");
    bed.rim.end_round();
    assert_eq!(bed.syncs(), (1, 0));
    for to in bed.producers.clone() {
        let sequence = sequence + u64::from(to == first);
        let _ = bed.rim.produce(to, sequence, 1, b"together");
        bed.rim.end_round();
    }
    assert_eq!(bed.syncs(), (1, 0), "they wait for the one in flight");
    bed.finish(|p| matches!(p, Pending::Sync(..)));
    assert_eq!(bed.syncs(), (0, 1), "and share one round");
    bed.finish(|p| matches!(p, Pending::Journal(_)));
    assert_eq!(bed.receipts(), [2, 1, 1]);
}

#[test]
fn much_does_not_wait_for_others() {
    let mut bed = Bed::new();
    let much = vec![7; 2 * hulse_model::limits::JOURNAL_CHUNK_BYTES_MAX];
    let (first, sequence) = (bed.producers[0], bed.sequence);
    assert_eq!(bed.rim.produce(first, sequence, 1, &much), Handled::Held);
    bed.rim.settle();
    for to in &bed.producers[1..] {
        let _ = bed.rim.produce(*to, sequence, 1, b"little");
    }
    bed.rim.end_round();
    assert_eq!(bed.syncs(), (0, 1));
    assert_eq!(bed.rim.produce(first, sequence, 1, &much), Handled::Done);
    bed.rim.end_round();
    assert_eq!(bed.syncs(), (1, 1), "its own file is synced at once");
    bed.finish(|p| matches!(p, Pending::Sync(..)));
    assert_eq!(bed.receipts(), [1, 0, 0]);
}

#[test]
fn without_a_journal_file_every_log_syncs_its_own() {
    let mut bed = Bed::without_journal();
    bed.rim.disk.set_free_bytes(Some(0));
    for _ in 0..3 {
        bed.produce_all(b"no room for a journal");
        assert_eq!(bed.syncs(), (3, 0));
        bed.rim.settle();
        assert_eq!(bed.receipts(), [1, 1, 1]);
        bed.rim.pass(1_100);
    }
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [3, 3, 3]);
}

#[test]
fn a_journal_that_fills_costs_speed_alone() {
    let mut bed = Bed::new();
    let mut own = 0;
    // No checkpoint is allowed to come to its end.
    for _ in 0..60 {
        bed.produce_all(&[3; 100]);
        own += bed.syncs().0;
        while let Some(at) = bed
            .rim
            .pending
            .iter()
            .position(|p| !matches!(p, Pending::Background(_)))
        {
            bed.rim.finish(at);
        }
    }
    assert!(own > 0, "the journal has become full");
    assert_eq!(bed.receipts(), [60, 60, 60]);
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [61, 61, 61]);
}

#[test]
fn a_checkpoint_after_a_while_frees_the_journal() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    bed.rim.settle();
    assert!(bed.rim.shard.stats().journal_bytes > 0);
    bed.rim.pass(4_900);
    assert!(bed.rim.pending.is_empty(), "not yet");
    bed.rim.pass(200);
    let work = |p: &Pending| matches!(p, Pending::Background(_));
    assert!(bed.rim.pending.iter().any(work));
    // Meanwhile more arrives, and is in the journal when the checkpoint ends.
    bed.produce_all(b"third");
    bed.finish(|p| matches!(p, Pending::Journal(_)));
    bed.finish(|p| matches!(p, Pending::Background(_)));
    let left = bed.rim.shard.stats().journal_bytes;
    assert_eq!(left, 4096, "what came after its begin");
    let disk = bed.rim.disk.crashed(Keep::Nothing);
    assert_eq!(ends(disk), [3, 3, 3]);
    // Another one follows for what came later.
    bed.rim.pass(5_100);
    bed.rim.settle();
    assert_eq!(bed.rim.shard.stats().checkpoints, 2);
    let mut disk = bed.rim.disk.crashed(Keep::Nothing);
    for path in disk.contents().into_keys() {
        if path.starts_with(JOURNALS_DIR) {
            disk.set_content(&path, &[]);
        }
    }
    disk = disk.fork();
    assert_eq!(ends(disk), [3, 3, 3], "the segments have it all");
}

#[test]
fn a_log_syncs_no_own_file_while_its_checkpoint_is_in_flight() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    bed.rim.settle();
    bed.rim.pass(5_100);
    assert_eq!(bed.rim.pending.len(), 1, "a checkpoint");
    let (first, sequence) = (bed.producers[0], bed.sequence);
    let _ = bed.rim.produce(first, sequence, 1, b"alone");
    bed.rim.end_round();
    assert_eq!(
        bed.syncs(),
        (0, 0),
        "one of two syncs would not hear of lost pages"
    );
    bed.finish(|p| matches!(p, Pending::Background(_)));
    assert_eq!(bed.syncs(), (1, 0));
    bed.rim.settle();
    assert_eq!(bed.receipts(), [2, 1, 1]);
}

#[test]
fn a_failed_sync_of_the_journal_fences_its_round_and_no_other() {
    let mut bed = Bed::new();
    let sequence = bed.sequence;
    for to in &bed.producers[..2] {
        let _ = bed.rim.produce(*to, sequence, 1, b"lost?");
    }
    bed.rim.end_round();
    bed.rim.disk.inject(Fault::Sync);
    bed.finish(|p| matches!(p, Pending::Journal(_)));
    for number in 0..2 {
        let to = bed.producers[number];
        let (_, refusal) = bed.rim.refusal(to);
        assert_eq!(refusal.status, Status::StorageFailed);
        assert!(refusal.appended, "nobody knows");
    }
    let third = bed.producers[2];
    let _ = bed.rim.produce(third, sequence, 1, b"goes on");
    bed.rim.settle();
    assert_eq!(bed.rim.receipts(third), [1]);
    assert_eq!(bed.rim.shard.stats().fenced_partitions, 2);
    // What the journal held before is still replayed.
    let ends = ends(bed.rim.disk.crashed(Keep::Nothing));
    assert!(ends[0] >= 1 && ends[1] >= 1 && ends[2] == 2, "{ends:?}");
}

#[test]
fn a_failed_checkpoint_keeps_the_rounds_for_the_next_start() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    bed.rim.settle();
    bed.rim.pass(5_100);
    bed.rim.disk.inject(Fault::Sync);
    bed.finish(|p| matches!(p, Pending::Background(_)));
    assert_eq!(bed.rim.shard.stats().fenced_partitions, 1);
    assert!(bed.rim.shard.stats().journal_bytes > 0);
    bed.rim.settle();
    bed.rim.act(|shard, clock, fx| shard.stop(clock, fx));
    bed.rim.settle();
    bed.rim.shard.close();
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [2, 2, 2]);
}

#[test]
fn a_partition_may_be_deleted_while_its_round_is_in_flight() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    bed.rim
        .act(|shard, _, fx| assert!(shard.drop_partition(id(1), fx)));
    bed.rim.settle();
    let told = bed.receipts();
    assert_eq!((told[0], told[2]), (1, 1));
    bed.rim.pass(5_100);
    bed.rim.settle();
    assert!(bed.rim.shard.is_quiet());
    assert_eq!(bed.rim.shard.stats().journal_bytes, 0);
}

#[test]
fn a_clean_stop_leaves_no_journal() {
    let mut bed = Bed::new();
    bed.produce_all(b"second");
    bed.rim.settle();
    bed.rim.act(|shard, clock, fx| shard.stop(clock, fx));
    bed.rim.settle();
    assert!(bed.rim.shard.is_quiet());
    bed.rim.shard.close();
    let files = bed.rim.disk.contents();
    assert!(!files.keys().any(|path| path.starts_with(JOURNALS_DIR)));
    assert_eq!(ends(bed.rim.disk.crashed(Keep::Nothing)), [2, 2, 2]);
}

#[test]
fn the_logs_of_one_partition_share_a_round_as_well() {
    let mut bed = Bed::new();
    let to = key(9, 1);
    let correlation = bed.rim.correlation();
    let (first, sequence) = (bed.producers[0], bed.sequence);
    let _ = bed.rim.produce(first, sequence, 1, b"entry");
    bed.rim.act(|shard, clock, fx| {
        let opening = producer("another", None);
        shard.handle_on(clock, id(0), to, correlation, opening, fx);
    });
    bed.rim.end_round();
    assert_eq!(bed.syncs(), (0, 1));
    let sync = |p: &Pending| matches!(p, Pending::Sync(_, LogKind::Sibling, _));
    assert!(!bed.rim.pending.iter().any(sync));
    bed.rim.settle();
    assert_eq!(bed.rim.replies(to).len(), 1);
}
