//! The shard: its partitions and streams, and the core's budgets.

use std::collections::BTreeMap;

use hulse_log::{Disk, Journal, JournalSizes};
use hulse_model::limits::{
    CONNECTION_DELIVERY_BYTES_MAX, CORE_OUTPUT_BYTES_MAX, CORE_UNSYNCED_BYTES_MAX,
};
use hulse_model::{PartitionId, Status};

use crate::command::{Clock, StreamKey};
use crate::consume::Seat;
use crate::effect::{Effect, Refusal, Reply};
use crate::held::Held;
use crate::outlets::{OutletLimits, Outlets};
use crate::partition::{Partition, PartitionSpec};
use crate::probes::Probes;
use crate::produce::OpenedProducer;
use crate::recovery::{OpenError, Recovered};
use crate::stats::{PartitionStats, ShardStats};
use crate::throttle::Throttle;

mod claims;
mod commits;
mod limits;
mod requests;
mod rounds;

use commits::Commits;
pub use commits::{BackgroundSynced, BackgroundSyncs};

/// What a shard is built with.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The core's number.
    pub core: usize,
    /// Bytes that may be appended and not yet synced, over all partitions of the core.
    pub unsynced_bytes_max: usize,
    /// Bytes that may be queued towards one connection before delivery to it stops.
    pub connection_output_bytes_max: usize,
    /// Bytes that may be queued towards all connections before delivery stops.
    pub core_output_bytes_max: usize,
    /// How large the core's journal may become.
    pub journal: JournalSizes,
    /// A random number, which no client may know: the journal's checksums begin with it.
    pub journal_secret: u64,
}

impl ShardConfig {
    /// The defaults for core number `core`.
    #[must_use]
    pub fn new(core: usize, journal_secret: u64) -> Self {
        Self {
            core,
            unsynced_bytes_max: CORE_UNSYNCED_BYTES_MAX,
            connection_output_bytes_max: CONNECTION_DELIVERY_BYTES_MAX,
            core_output_bytes_max: CORE_OUTPUT_BYTES_MAX,
            journal: JournalSizes::default(),
            journal_secret,
        }
    }
}

/// What a stream is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Producer {
        opened: OpenedProducer,
        /// The batch that was refused last and has not come again.
        refused: Option<RefusedBatch>,
    },
    Consumer(Seat),
    /// It waits until the holder of what it wants has answered.
    Claimant,
    /// A producer that waits for exclusive access.
    Waiting,
}

/// A batch that was refused. Those behind it on their way are refused too: were they stored, a
/// retry of this one would pass for a duplicate, and be called stored though it is nowhere.
#[derive(Debug, Clone, Copy)]
struct RefusedBatch {
    sequence: u64,
    /// Its producer may yet send it again.
    retryable: bool,
}

/// An open stream.
#[derive(Debug, Clone, Copy)]
struct Stream {
    partition: PartitionId,
    role: Role,
}

/// One core's partitions and streams. Owned by its core alone.
pub struct Shard<D: Disk> {
    config: ShardConfig,
    disk: D,
    partitions: BTreeMap<PartitionId, Partition<D>>,
    streams: BTreeMap<StreamKey, Stream>,
    outlets: Outlets,
    probes: Probes,
    /// Partitions to write at the end of the round.
    dirty: Vec<PartitionId>,
    commits: Commits<D>,
    /// Connections held back because the whole core has too much unsynced.
    held: Held,
    /// Connections held back because a rate is used up.
    throttle: Throttle,
    /// Bytes appended and not yet synced, over all partitions.
    unsynced_bytes: usize,
    marking: Marking,
    /// Why a file could not be opened before the last tick, if one could not: whatever can close is to
    /// close.
    unopened: Option<String>,
    /// When that was last written down.
    unopened_told_ms: u64,
    /// The time since 1970, in milliseconds, as it was told last.
    wall_ms: u64,
    stopping: bool,
}

/// The marking of idle partitions as flushed.
#[derive(Debug)]
struct Marking {
    /// A note is being made.
    under_way: bool,
    /// The partition that was marked last.
    last: PartitionId,
}

impl<D: Disk> Shard<D> {
    /// A shard without partitions, for the data directory that `disk` is.
    ///
    /// The journals that an earlier life has left must have been replayed: see
    /// [`hulse_log::replay`].
    #[must_use]
    pub fn new(disk: D, config: ShardConfig) -> Self {
        let limits = OutletLimits {
            connection_bytes: config.connection_output_bytes_max,
            core_bytes: config.core_output_bytes_max,
        };
        let core = u32::try_from(config.core).unwrap_or(u32::MAX);
        let secret = config.journal_secret;
        let journal = Journal::new(disk.clone(), core, secret, config.journal);
        let throttle = Throttle::new(config.core);
        Self {
            config,
            disk,
            commits: Commits::new(journal),
            partitions: BTreeMap::new(),
            streams: BTreeMap::new(),
            outlets: Outlets::new(limits),
            probes: Probes::default(),
            dirty: Vec::new(),
            held: Held::default(),
            throttle,
            unsynced_bytes: 0,
            marking: Marking {
                under_way: false,
                last: PartitionId(0),
            },
            unopened: None,
            unopened_told_ms: 0,
            wall_ms: 0,
            stopping: false,
        }
    }

    /// Opens a partition, which recovers its logs and folds its state; or makes it, when it is new.
    /// Blocks for as long as that takes.
    ///
    /// # Errors
    /// When its files are missing, of another version, or cannot be read or made.
    pub fn open_partition(
        &mut self,
        spec: PartitionSpec,
        clock: Clock,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<Recovered, OpenError> {
        let id = spec.id;
        if self.partitions.contains_key(&id) {
            return Ok(Recovered::default());
        }
        let (mut partition, recovered) = Partition::open(&self.disk, spec, clock)?;
        partition.want_segments(clock.monotonic_ms, fx);
        self.partitions.insert(id, partition);
        Ok(recovered)
    }

    /// Closes a partition whose topic is deleted, refuses what waits for it, and tells its streams
    /// so. Its files are the caller's to remove. False when this core does not have it.
    pub fn drop_partition(&mut self, id: PartitionId, fx: &mut Vec<Effect<D>>) -> bool {
        let Some(mut partition) = self.partitions.remove(&id) else {
            return false;
        };
        self.unsynced_bytes -= partition.unsynced_counted;
        let refusal = Refusal::new(
            Status::TopicNotFound,
            format!("{} has been deleted", partition.spec.topic),
        );
        partition.refuse_waiting(&refusal, fx);
        for ended in std::mem::take(&mut partition.ended) {
            self.streams.remove(&ended);
        }
        self.refuse_claimants(id, &refusal, fx);
        self.streams.retain(|to, stream| {
            if stream.partition == id {
                let reply = Reply::Refused(refusal.clone());
                fx.push(Effect::Reply {
                    to: *to,
                    correlation: 0,
                    reply,
                });
            }
            stream.partition != id
        });
        partition.resume_held(fx);
        // Its sync, if one is in flight, wakes nobody any more.
        self.resume_held(fx);
        true
    }

    /// Whether this core has the partition.
    #[must_use]
    pub fn has(&self, id: PartitionId) -> bool {
        self.partitions.contains_key(&id)
    }

    /// Whether nothing is unsynced or waited for any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.marking.under_way
            && self.commits.is_quiet()
            && self.partitions.values().all(Partition::is_quiet)
    }

    /// Marks every partition as cleanly closed. Blocks; call it when [`Self::is_quiet`] holds.
    /// Nothing is served afterwards.
    pub fn close(&mut self) {
        self.stopping = true;
        self.streams.clear();
        let mut clean = true;
        for (id, partition) in std::mem::take(&mut self.partitions) {
            if partition.fenced().is_some() {
                clean = false;
                continue;
            }
            if let Err(error) = partition.store.close_clean() {
                tracing::warn!(partition = %id, %error, "the partition was not marked as clean");
                clean = false;
            }
        }
        // What a partition could not sync may be in the journal alone.
        if clean && let Err(error) = self.commits.remove_journal() {
            tracing::warn!(%error, "the journal was not removed; the next start replays it");
        }
        self.unsynced_bytes = 0;
    }

    /// The core's counters.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let mut stats = ShardStats {
            syncs: self.commits.syncs,
            journal_rounds: self.commits.rounds,
            journal_bytes: self.commits.journal.unretired_bytes(),
            checkpoints: self.commits.checkpoints,
            ..ShardStats::default()
        };
        for stream in self.streams.values() {
            match stream.role {
                Role::Producer { .. } => stats.producers += 1,
                Role::Consumer(_) => stats.consumers += 1,
                Role::Claimant | Role::Waiting => {}
            }
        }
        stats.claimants = self.probes.waiting() as u64;
        stats.output_bytes = self.outlets.total() as u64;
        let throttled: usize = self.throttle.waiting().map(|(_, held)| held).sum();
        stats.throttled_connections = throttled as u64;
        for partition in self.partitions.values() {
            partition.add_to(&mut stats);
        }
        stats
    }

    /// One partition in detail, if this core has it.
    #[must_use]
    pub fn describe(&self, id: PartitionId) -> Option<PartitionStats> {
        let producer = |s: &&Stream| s.partition == id && matches!(s.role, Role::Producer { .. });
        let producers = self.streams.values().filter(producer).count();
        Some(self.partitions.get(&id)?.describe(producers))
    }
}
