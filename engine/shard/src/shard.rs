//! The shard: finds the partition that a request is for, and keeps the core's budgets.

use std::collections::BTreeMap;
use std::io;

use hulse_log::{Disk, PrepareError, Prepared, SyncTicket};
use hulse_model::limits::{CONNECTION_STREAMS_MAX, CORE_UNSYNCED_BYTES_MAX};
use hulse_model::{PartitionId, Status};

use crate::command::{Clock, Command, Handled, StreamKey};
use crate::effect::{Effect, Refusal, Reply};
use crate::outlets::Outlets;
use crate::partition::{Partition, PartitionSpec};
use crate::produce::{Batch, OpenedProducer};
use crate::recovery::{OpenError, Recovered};
use crate::stats::{PartitionStats, ShardStats};
use hulse_log::LogKind;

/// How long the disk is taken for full before a segment is tried again, in milliseconds.
const DISK_FULL_RETRY_MS: u64 = 1_000;

/// What a shard is built with.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The core's number.
    pub core: usize,
    /// Bytes that may be appended and not yet synced, over all partitions of the core.
    pub unsynced_bytes_max: usize,
}

impl ShardConfig {
    /// The defaults for core number `core`.
    #[must_use]
    pub const fn new(core: usize) -> Self {
        Self {
            core,
            unsynced_bytes_max: CORE_UNSYNCED_BYTES_MAX,
        }
    }
}

/// What a stream is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Producer(OpenedProducer),
    Consumer { subscription: u64 },
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
    /// Partitions to write at the end of the round.
    dirty: Vec<PartitionId>,
    /// Connections held back because the whole core has too much unsynced.
    held: Vec<u64>,
    /// Bytes appended and not yet synced, over all partitions.
    unsynced_bytes: usize,
    syncs: u64,
    stopping: bool,
}

impl<D: Disk> Shard<D> {
    /// A shard without partitions, for the data directory that `disk` is.
    #[must_use]
    pub fn new(disk: D, config: ShardConfig) -> Self {
        Self {
            config,
            disk,
            partitions: BTreeMap::new(),
            streams: BTreeMap::new(),
            outlets: Outlets::default(),
            dirty: Vec::new(),
            held: Vec::new(),
            unsynced_bytes: 0,
            syncs: 0,
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
    ) -> Result<Recovered, Box<OpenError>> {
        let id = spec.id;
        if self.partitions.contains_key(&id) {
            return Ok(Recovered::default());
        }
        let (mut partition, recovered) =
            Partition::open(&self.disk, spec, clock).map_err(Box::new)?;
        partition.want_segments(fx);
        self.partitions.insert(id, partition);
        Ok(recovered)
    }

    /// Closes a partition whose topic is deleted and tells its streams so. Its files are the
    /// caller's to remove. False when this core does not have it.
    pub fn drop_partition(&mut self, id: PartitionId, fx: &mut Vec<Effect<D>>) -> bool {
        let Some(mut partition) = self.partitions.remove(&id) else {
            return false;
        };
        self.unsynced_bytes -= partition.unsynced_counted;
        let refusal = Refusal::new(
            Status::TopicNotFound,
            format!("{} has been deleted", partition.spec.topic),
        );
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
        true
    }

    /// Whether this core has the partition.
    #[must_use]
    pub fn has(&self, id: PartitionId) -> bool {
        self.partitions.contains_key(&id)
    }

    /// Takes a request that opens a stream, or that names a partition instead of a stream.
    pub fn handle_on(
        &mut self,
        clock: Clock,
        id: PartitionId,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) {
        if let Err(refusal) = self.open_stream(clock, id, to, correlation, command, fx) {
            fx.push(Effect::Reply {
                to,
                correlation,
                reply: Reply::Refused(refusal),
            });
        }
    }

    fn open_stream(
        &mut self,
        clock: Clock,
        id: PartitionId,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::new(Status::NotReady, "the broker is stopping"));
        }
        if self.streams.contains_key(&to) {
            let text = format!("stream {} is open already", to.stream);
            return Err(Refusal::new(Status::ProtocolViolation, text));
        }
        let all = StreamKey { stream: 0, ..to }..=StreamKey {
            stream: u32::MAX,
            ..to
        };
        let opens = to.stream != 0;
        if opens && self.streams.range(all).count() >= CONNECTION_STREAMS_MAX {
            let text = format!("a connection has at most {CONNECTION_STREAMS_MAX} streams");
            return Err(Refusal::new(Status::OverLimit, text));
        }
        let Some(partition) = self.partitions.get_mut(&id) else {
            let text = "this core does not have the partition; look the topic up again";
            return Err(Refusal::new(Status::NotPrimary, text));
        };
        let role = match command {
            Command::OpenProducer { name, epoch } if opens => Some(Role::Producer(
                partition.open_producer(clock, &name, epoch, to, correlation)?,
            )),
            Command::Subscribe {
                subscription,
                kind,
                start,
                consumer,
                permits,
            } if opens => {
                let wanted = crate::consume::Subscribing {
                    subscription,
                    kind,
                    start,
                    consumer,
                    permits,
                };
                let id = partition.subscribe(clock, wanted, to, correlation)?;
                Some(Role::Consumer { subscription: id })
            }
            Command::SeekSubscription {
                subscription,
                to: place,
            } => {
                partition.seek_named(clock, &subscription, place, to, correlation)?;
                None
            }
            Command::DeleteSubscription { subscription } => {
                partition.delete_subscription(clock, &subscription, to, correlation)?;
                None
            }
            _ => {
                return Err(Refusal::new(
                    Status::ProtocolViolation,
                    "the request needs an open stream, and the stream is not open",
                ));
            }
        };
        if let Some(role) = role {
            self.streams.insert(
                to,
                Stream {
                    partition: id,
                    role,
                },
            );
        }
        self.touch(id);
        self.dispatch(id, fx);
        Ok(())
    }

    /// Takes a request of an open stream.
    pub fn handle(
        &mut self,
        clock: Clock,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) -> Handled {
        let batch = match &command {
            Command::Produce {
                sequence, messages, ..
            } => Some((*sequence, *messages)),
            _ => None,
        };
        match self.handle_stream(clock, to, correlation, command, fx) {
            Ok(handled) => handled,
            Err(mut refusal) => {
                refusal.batch = batch;
                fx.push(Effect::Reply {
                    to,
                    correlation,
                    reply: Reply::Refused(refusal),
                });
                Handled::Done
            }
        }
    }

    fn handle_stream(
        &mut self,
        clock: Clock,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<Handled, Refusal> {
        let Some(stream) = self.streams.get(&to).copied() else {
            let text = format!("stream {} is not open", to.stream);
            return Err(Refusal::new(Status::ProtocolViolation, text));
        };
        let id = stream.partition;
        if matches!(command, Command::Produce { .. }) {
            if self.stopping {
                return Err(Refusal::new(Status::NotReady, "the broker is stopping"));
            }
            if self.unsynced_bytes >= self.config.unsynced_bytes_max {
                if !self.held.contains(&to.connection) {
                    self.held.push(to.connection);
                }
                return Ok(Handled::Held);
            }
        }
        let partition = self
            .partitions
            .get_mut(&id)
            .expect("a stream's partition is open");
        match (command, stream.role) {
            (
                Command::Produce {
                    sequence,
                    messages,
                    skipped,
                    payload,
                },
                Role::Producer(producer),
            ) => {
                let batch = Batch {
                    sequence,
                    messages,
                    skipped,
                    payload,
                };
                let handled = partition.produce(clock, producer, batch, to, correlation, fx)?;
                self.touch(id);
                self.count_unsynced(id);
                return Ok(handled);
            }
            (Command::Permits(more), Role::Consumer { subscription }) => {
                partition.add_permits(subscription, to, more)?;
            }
            (Command::AckCumulative { up_to, receipt }, Role::Consumer { subscription }) => {
                let receipt = receipt.then_some(correlation);
                partition.acknowledge_cumulative(subscription, up_to, to, receipt)?;
                self.touch(id);
                return Ok(Handled::Done);
            }
            (Command::AckIndividual { messages, receipt }, Role::Consumer { subscription }) => {
                let receipt = receipt.then_some(correlation);
                partition.acknowledge_individual(subscription, messages, to, receipt)?;
                self.touch(id);
                return Ok(Handled::Done);
            }
            (Command::Seek(place), Role::Consumer { subscription }) => {
                partition.seek(clock, subscription, place, to, correlation)?;
                self.touch(id);
            }
            (Command::Close, _) => {
                self.close_stream(to);
                fx.push(Effect::Reply {
                    to,
                    correlation,
                    reply: Reply::Closed,
                });
            }
            _ => {
                return Err(Refusal::new(
                    Status::ProtocolViolation,
                    "the request does not fit the stream: a producer cannot consume, nor a consumer produce",
                ));
            }
        }
        self.dispatch(id, fx);
        Ok(Handled::Done)
    }

    /// The connection is gone: its producers and consumers leave, and what its consumers held goes
    /// to whoever comes next.
    pub fn disconnected(&mut self, connection: u64) {
        let all = StreamKey {
            connection,
            stream: 0,
        }..=StreamKey {
            connection,
            stream: u32::MAX,
        };
        let streams: Vec<StreamKey> = self.streams.range(all).map(|(key, _)| *key).collect();
        for stream in streams {
            self.close_stream(stream);
        }
        self.outlets.forget(connection);
        self.held.retain(|held| *held != connection);
    }

    fn close_stream(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.remove(&key) else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(&stream.partition) else {
            return;
        };
        match stream.role {
            Role::Producer(producer) => {
                partition
                    .state
                    .producers_mut()
                    .closed(producer.id, producer.epoch);
                partition.held.retain(|held| *held != key.connection);
            }
            Role::Consumer { subscription } => partition.detach(subscription, key),
        }
        partition.receipts.forget(|to| to == key);
        partition.sibling.forget(|to| to == key);
    }

    /// Bytes have left towards a connection.
    pub fn sent(&mut self, connection: u64, bytes: usize, fx: &mut Vec<Effect<D>>) {
        if !self.outlets.sent(connection, bytes) {
            return;
        }
        let all = StreamKey {
            connection,
            stream: 0,
        }..=StreamKey {
            connection,
            stream: u32::MAX,
        };
        let mut partitions: Vec<_> = self.streams.range(all).map(|(_, s)| s.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            self.dispatch(partition, fx);
        }
    }

    /// Notes bytes of answers that the rim has queued towards a connection; deliveries are noted
    /// here by themselves.
    pub fn queued(&mut self, connection: u64, bytes: usize) {
        self.outlets.queue(connection, bytes);
    }

    /// Ends a burst of requests: writes what they have staged, begins the syncs that can begin.
    pub fn end_round(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            partition.dirty = false;
            let before = fx.len();
            partition.end_round(clock, fx);
            self.count_syncs(before, fx);
            self.count_unsynced(id);
            self.dispatch(id, fx);
        }
    }

    fn count_syncs(&mut self, before: usize, fx: &[Effect<D>]) {
        let begun = fx[before..]
            .iter()
            .filter(|e| matches!(e, Effect::Sync { .. }))
            .count();
        self.syncs += begun as u64;
    }

    /// A sync has ended; the next begins at once if there is more to sync.
    pub fn synced(
        &mut self,
        clock: Clock,
        id: PartitionId,
        log: LogKind,
        ticket: SyncTicket<D>,
        result: io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        partition.synced(log, ticket, result, fx);
        self.count_unsynced(id);
        fx.extend(
            self.held
                .drain(..)
                .map(|connection| Effect::Resume { connection }),
        );
        self.touch(id);
        self.end_round(clock, fx);
    }

    /// A segment is prepared, or could not be.
    pub fn prepared(
        &mut self,
        clock: Clock,
        id: PartitionId,
        log: LogKind,
        prepared: Prepared<D>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let target = match log {
            LogKind::Entries => &mut partition.store.entries,
            LogKind::Sibling => &mut partition.store.sibling,
        };
        match target.segment_prepared(prepared) {
            Ok(()) => partition.disk_full_until_ms = None,
            Err(PrepareError::Full { .. }) => {
                tracing::warn!(partition = %id, "the disk is full: no room for another segment");
                partition.disk_full_until_ms = Some(clock.monotonic_ms + DISK_FULL_RETRY_MS);
            }
            Err(error) => {
                tracing::error!(partition = %id, %error, "a segment could not be prepared");
                partition.disk_full_until_ms = Some(clock.monotonic_ms + DISK_FULL_RETRY_MS);
            }
        }
        partition.resume_held(fx);
        self.touch(id);
        self.end_round(clock, fx);
    }

    /// Lets time pass: snapshots, retention, lazy syncs. Call it a few times a second.
    pub fn tick(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        let mut rounds = Vec::new();
        for (id, partition) in &mut self.partitions {
            if partition.tick(clock, fx) {
                rounds.push(*id);
            }
        }
        for id in rounds {
            self.touch(id);
        }
        self.end_round(clock, fx);
    }

    /// Takes no more writes, and begins the last syncs.
    pub fn stop(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.stopping = true;
        let ids: Vec<_> = self.partitions.keys().copied().collect();
        for id in ids {
            let partition = self.partitions.get_mut(&id).expect("its key was just read");
            partition.resume_held(fx);
            partition.upkeep.sync_everything();
            self.touch(id);
        }
        fx.extend(
            self.held
                .drain(..)
                .map(|connection| Effect::Resume { connection }),
        );
        self.end_round(clock, fx);
    }

    /// Whether nothing is unsynced or waited for any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.partitions.values().all(Partition::is_quiet)
    }

    /// Marks every partition as cleanly closed. Blocks; call it when [`Self::is_quiet`] holds.
    pub fn close(&mut self) {
        for (id, partition) in std::mem::take(&mut self.partitions) {
            if partition.fenced().is_some() {
                continue;
            }
            if let Err(error) = partition.store.close_clean() {
                tracing::warn!(partition = %id, %error, "the partition was not marked as clean");
            }
        }
    }

    /// The core's counters.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let mut stats = ShardStats {
            syncs: self.syncs,
            ..ShardStats::default()
        };
        for stream in self.streams.values() {
            match stream.role {
                Role::Producer(_) => stats.producers += 1,
                Role::Consumer { .. } => stats.consumers += 1,
            }
        }
        stats.output_bytes = self.outlets.total() as u64;
        for partition in self.partitions.values() {
            partition.add_to(&mut stats);
        }
        stats
    }

    /// One partition in detail, if this core has it.
    #[must_use]
    pub fn describe(&self, id: PartitionId) -> Option<PartitionStats> {
        let producer = |s: &&Stream| s.partition == id && matches!(s.role, Role::Producer(_));
        let producers = self.streams.values().filter(producer).count();
        Some(self.partitions.get(&id)?.describe(producers))
    }

    /// Brings the core's sum of unsynced bytes up to date with one partition.
    fn count_unsynced(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            let now = partition.unsynced_bytes();
            let before = std::mem::replace(&mut partition.unsynced_counted, now);
            self.unsynced_bytes = self.unsynced_bytes - before + now;
        }
    }

    /// Puts a partition on the list of those to write at the end of the round.
    fn touch(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id)
            && !partition.dirty
        {
            partition.dirty = true;
            self.dirty.push(id);
        }
    }

    fn dispatch(&mut self, id: PartitionId, fx: &mut Vec<Effect<D>>) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        for ended in partition.dispatch(&mut self.outlets, fx) {
            self.streams.remove(&ended);
        }
    }
}
