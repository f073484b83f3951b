//! One partition on its core: its two logs, the state folded from them, and who waits for what.

use std::collections::BTreeMap;

use hulse_log::{AppendError, Disk, Log, LogKind, PartitionStore, PrepareError, is_out_of_files};
use hulse_model::{Offset, PartitionId, ProducerId, Status, Term, TopicName};
use hulse_subscription::{AccessTable, PartitionState};

use crate::command::StreamKey;
use crate::consume::Consumers;
use crate::counts::Counts;
use crate::effect::{Effect, Refusal};
use crate::expiry::Expiry;
use crate::held::Held;
use crate::leaving::Leaving;
use crate::policies::PartitionPolicies;
use crate::probes::Claimant;
use crate::quota::Quota;
use crate::readers::Readers;
use crate::receipts::Receipts;
use crate::seats::SeatChanges;
use crate::sibling::SiblingQueue;
use crate::stats::PartitionCounters;
use crate::upkeep::Upkeep;

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
    /// What the policies say; see [`crate::Shard::set_policies`].
    pub policies: PartitionPolicies,
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
    pub(crate) readers: Readers,
    pub(crate) upkeep: Upkeep,
    pub(crate) quota: Quota,
    pub(crate) expiry: Expiry,
    pub(crate) counters: PartitionCounters,
    /// Connections whose request was held back until a log of this partition takes it.
    pub(crate) held: Held,
    /// Why the last segment could not be prepared or opened, if it could not.
    pub(crate) no_room: Option<NoRoom>,
    /// Why a file could not be opened since the last tick, if one could not.
    pub(crate) unopened: Option<String>,
    /// Whether the partition is in the shard's list of those to write at the end of the round.
    pub(crate) dirty: bool,
    /// For each log: whether it waits for the core's commit in flight to end.
    pub(crate) waits: [bool; 2],
    /// How many messages the entries have that were delivered last.
    pub(crate) counts: Counts,
    /// The unsynced bytes that the core's sum holds for this partition.
    pub(crate) unsynced_counted: usize,
    /// Which streams' producers are open or wait to be alone.
    pub(crate) access: AccessTable<StreamKey>,
    /// The requests of those that wait.
    pub(crate) turns: BTreeMap<StreamKey, Claimant>,
    /// The streams that have producers open.
    pub(crate) openers: BTreeMap<ProducerId, StreamKey>,
    /// Streams that have come to their end and been told so; the shard is to close them.
    pub(crate) ended: Vec<StreamKey>,
    /// Subscriptions whose consumers are to be reported.
    pub(crate) seat_changes: SeatChanges,
    /// How far it is on its way to another core.
    pub(crate) leaving: Leaving,
    /// Nobody knows which home its manifest says on the disk, so no round of a journal may take
    /// anything of it: it would not be replayed under another one.
    pub(crate) homeless: bool,
}

/// A segment could not be prepared or opened.
#[derive(Debug)]
pub(crate) struct NoRoom {
    /// Until when (monotonic milliseconds) none is tried again, so that a full disk is not asked
    /// with each request.
    until_ms: u64,
    refusal: Refusal,
}

/// How long no segment is prepared after one that could not be, in milliseconds.
const NO_ROOM_RETRY_MS: u64 = 1_000;

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

    /// The refusal of a request that needs another segment, while none can be prepared.
    pub(crate) fn refused_room(&self, now_ms: u64) -> Option<&Refusal> {
        let no_room = self.no_room.as_ref()?;
        (now_ms < no_room.until_ms).then_some(&no_room.refusal)
    }

    /// The refusal of a request that needs a record in the sibling log, if it cannot have one.
    pub(crate) fn refused_record(&self, now_ms: u64) -> Option<Refusal> {
        self.fenced().or_else(|| {
            let stuck = self.sibling.wants_room();
            self.refused_room(now_ms).filter(|_| stuck).cloned()
        })
    }

    /// Whether records wait for a segment, and one may be tried again.
    pub(crate) fn is_retry_due(&self, now_ms: u64) -> bool {
        self.sibling.wants_room()
            && self
                .no_room
                .as_ref()
                .is_some_and(|at| now_ms >= at.until_ms)
    }

    /// Takes the outcome of preparing a segment.
    pub(crate) fn prepared(
        &mut self,
        kind: LogKind,
        outcome: Result<(), PrepareError>,
        now_ms: u64,
        fx: &mut Vec<Effect<D>>,
    ) {
        match outcome {
            Ok(()) => self.no_room = None,
            Err(error) => {
                let (partition, topic) = (self.spec.id, &self.spec.topic);
                let cause = error.to_string();
                let refusal = match error {
                    PrepareError::Full { .. } => Refusal::new(
                        Status::DiskFull,
                        format!("the disk has no room for another segment of {topic}"),
                    ),
                    PrepareError::Io { path, source } if is_out_of_files(&source) => {
                        unopened(&format!("{path}: {source}"), true)
                    }
                    PrepareError::Io { source, .. } => Refusal::new(
                        Status::StorageFailed,
                        format!("no segment of {topic} could be prepared: {source}"),
                    ),
                };
                // It is tried every second for as long as it fails, which is said once.
                let said = self
                    .no_room
                    .as_ref()
                    .is_some_and(|at| at.refusal == refusal);
                if said {
                    tracing::debug!(%partition, ?kind, cause, "a segment could not be prepared");
                } else {
                    tracing::warn!(%partition, ?kind, cause, "a segment could not be prepared");
                }
                self.no_room = Some(NoRoom {
                    until_ms: now_ms.saturating_add(NO_ROOM_RETRY_MS),
                    refusal,
                });
            }
        }
        self.resume_held(fx);
    }

    /// Notes that a segment could not be opened for an append, and gives the refusal of what was to
    /// be appended.
    pub(crate) fn unopened(&mut self, error: &AppendError, now_ms: u64) -> Refusal {
        let out_of_files = matches!(
            error,
            AppendError::Unopened {
                out_of_files: true,
                ..
            }
        );
        let refusal = unopened(&error.to_string(), out_of_files);
        self.unopened = Some(refusal.message.clone());
        if self.refused_room(now_ms).is_none() {
            self.no_room = Some(NoRoom {
                until_ms: now_ms.saturating_add(NO_ROOM_RETRY_MS),
                refusal: refusal.clone(),
            });
        }
        refusal
    }

    /// Bytes of both logs that are appended and not yet synced. What a failed log will never sync
    /// is no part of it: nobody waits for that any more.
    pub(crate) fn unsynced_bytes(&self) -> usize {
        let unsynced = |log: &Log<D>| match log.poisoned() {
            Some(_) => 0,
            None => log.unsynced_bytes(),
        };
        unsynced(&self.store.entries) + unsynced(&self.store.sibling)
    }

    /// Asks for the next segment of each log that wants one.
    pub(crate) fn want_segments(&mut self, now_ms: u64, fx: &mut Vec<Effect<D>>) {
        // Whoever waits for a frozen partition is not to wait for a segment that is spare.
        let spare = self.is_frozen() && !self.sibling.wants_room();
        if spare || self.refused_room(now_ms).is_some() {
            return;
        }
        let partition = self.spec.id;
        for log in LogKind::ALL {
            if let Some(work) = self.store.log_mut(log).segment_wanted() {
                fx.push(Effect::Prepare {
                    partition,
                    log,
                    work,
                });
            }
        }
    }

    /// Lets the held connections try again.
    pub(crate) fn resume_held(&mut self, fx: &mut Vec<Effect<D>>) {
        let resume = |connection| Effect::Resume { connection };
        fx.extend(self.held.drain().map(resume));
    }
}

/// The refusal of what needs a file that cannot be opened. It may be tried again at any time.
pub(crate) fn unopened(reason: &str, out_of_files: bool) -> Refusal {
    let remedy = if out_of_files {
        "; the limit of open files is reached: raise it with `ulimit -n 65536`, or LimitNOFILE=65536 \
         in a systemd unit"
    } else {
        ""
    };
    let text = format!("a file of the partition cannot be opened: {reason}{remedy}");
    Refusal::new(Status::OverLimit, text)
}
