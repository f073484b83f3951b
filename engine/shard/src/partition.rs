//! One partition on its core: its two logs, the state folded from them, and who waits for what.

use hulse_log::{Disk, PartitionStore};
use hulse_model::{Offset, PartitionId, Status, Term, TopicName};
use hulse_subscription::PartitionState;

use crate::consume::Consumers;
use crate::durable::SiblingQueue;
use crate::effect::{Effect, Refusal};
use crate::receipts::Receipts;
use crate::stats::PartitionCounters;
use crate::upkeep::Upkeep;
use hulse_log::LogKind;

/// What an acknowledgement of this partition means. It belongs to the partition's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckLevel {
    /// Synced.
    Disk,
    /// Out of the process: safe from its death, not from a loss of power.
    Memory,
}

/// What the catalogue says about a partition that this core owns.
#[derive(Debug, Clone)]
pub struct PartitionSpec {
    /// Its random identity, which names its files.
    pub id: PartitionId,
    /// The topic.
    pub topic: TopicName,
    /// Its number within the topic; -1 when the topic has no partitions.
    pub index: i32,
    /// The term in which this broker is its primary.
    pub term: Term,
    /// What an acknowledgement means.
    pub ack: AckLevel,
    /// The files may not exist yet. False when the catalogue knows that they were made: then their
    /// absence is damage, never a reason to begin anew.
    pub may_create: bool,
}

/// One partition. Owned by its core's shard from its opening until the core stops or the topic is
/// deleted.
pub(crate) struct Partition<D: Disk> {
    pub(crate) spec: PartitionSpec,
    pub(crate) store: PartitionStore<D>,
    pub(crate) state: PartitionState,
    pub(crate) receipts: Receipts,
    pub(crate) sibling: SiblingQueue,
    pub(crate) consumers: Consumers,
    pub(crate) upkeep: Upkeep,
    pub(crate) counters: PartitionCounters,
    /// Connections whose request was held back for want of room in a log of this partition.
    pub(crate) held: Vec<u64>,
    /// Until when (monotonic milliseconds) the disk is taken for full, so that each request does
    /// not try it again.
    pub(crate) disk_full_until_ms: Option<u64>,
    /// Whether the partition is in the shard's list of those to write at the end of the round.
    pub(crate) dirty: bool,
    /// The entry whose messages were counted last for an acknowledgement, and their number.
    pub(crate) counted: Option<(Offset, u32)>,
    /// The unsynced bytes that the core's sum holds for this partition.
    pub(crate) unsynced_counted: usize,
}

impl<D: Disk> Partition<D> {
    /// The offset after the newest entry that is stored at the partition's level: what may be
    /// acknowledged and read.
    pub(crate) fn high_watermark(&self) -> Offset {
        match self.spec.ack {
            AckLevel::Disk => self.store.entries.flushed(),
            AckLevel::Memory => self.store.entries.written(),
        }
    }

    /// The end of the sibling log's part that is stored at the partition's level.
    pub(crate) fn sibling_watermark(&self) -> Offset {
        match self.spec.ack {
            AckLevel::Disk => self.store.sibling.flushed(),
            AckLevel::Memory => self.store.sibling.written(),
        }
    }

    /// Why the partition takes no writes, if it does not.
    pub(crate) fn fenced(&self) -> Option<Refusal> {
        let why = self
            .store
            .entries
            .poisoned()
            .or_else(|| self.store.sibling.poisoned())?;
        let topic = &self.spec.topic;
        Some(Refusal::new(
            Status::StorageFailed,
            format!(
                "{topic} takes no more writes since a write or sync of its files failed: {why}"
            ),
        ))
    }

    /// The refusal of a request while the disk is full, if it is.
    pub(crate) fn disk_full(&mut self, now_ms: u64) -> Option<Refusal> {
        let until = self.disk_full_until_ms?;
        if now_ms >= until {
            self.disk_full_until_ms = None;
            return None;
        }
        Some(Refusal::new(
            Status::DiskFull,
            format!(
                "the disk has no room for another segment of {}",
                self.spec.topic
            ),
        ))
    }

    /// Asks for the next segment of each log that wants one.
    pub(crate) fn want_segments(&mut self, fx: &mut Vec<Effect<D>>) {
        let partition = self.spec.id;
        for (log, kind) in [
            (&mut self.store.entries, LogKind::Entries),
            (&mut self.store.sibling, LogKind::Sibling),
        ] {
            if let Some(work) = log.segment_wanted() {
                fx.push(Effect::Prepare {
                    partition,
                    log: kind,
                    work,
                });
            }
        }
    }

    /// Lets the held connections try again.
    pub(crate) fn resume_held(&mut self, fx: &mut Vec<Effect<D>>) {
        fx.extend(
            self.held
                .drain(..)
                .map(|connection| Effect::Resume { connection }),
        );
    }
}
