//! The rim: it carries out what the shard wants done, as late as the test likes, and keeps what
//! clients are told.

use std::collections::BTreeMap;

use hulse_log::sim::{Keep, SimDisk};
use hulse_log::{
    ChangeHome, Disk, DiskFile, JournalSizes, JournalTicket, LogKind, MarkFlushed, Prepare,
    PrepareJournal, Removal, SyncTicket, WarmUp, partition_dir,
};
use hulse_model::{EntryHeader, PartitionId, Status, Term};
use hulse_shard::{
    AckLevel, AckedMessages, BackgroundSyncs, Clock, Command, Effect, Handled, OpenError,
    PartitionSpec, Receipt, Recovered, Refusal, Reply, Shard, ShardConfig, StartFrom, StreamKey,
};
use hulse_subscription::{Access, IndexRange, SubscriptionKind};

/// The partition of most tests.
pub(crate) const PARTITION: PartitionId = PartitionId(0x5ea1);

/// Bytes around each answer and delivery, as a rim that frames them would add.
const FRAME_BYTES: usize = 40;

/// Something that the shard wants done outside.
pub(crate) enum Pending {
    /// A sync.
    Sync(PartitionId, LogKind, SyncTicket<SimDisk>),
    /// A sync of the journal.
    Journal(JournalTicket<SimDisk>),
    /// A file of the journal.
    JournalFile(PrepareJournal<SimDisk>),
    /// Syncs that nobody waits for.
    Background(BackgroundSyncs<SimDisk>),
    /// A segment.
    Prepare(PartitionId, LogKind, Prepare<SimDisk>),
    /// A removal of segments.
    Remove(Removal<SimDisk>),
    /// A note of what is durable.
    MarkFlushed(PartitionId, MarkFlushed<SimDisk>),
    /// A note that a partition has another home.
    ChangeHome(PartitionId, ChangeHome<SimDisk>),
    /// A part of a log to be brought into memory.
    WarmUp(PartitionId, u64, WarmUp<SimDisk>),
    /// A subscription that lets others have their turn.
    GoOn(PartitionId, u64),
}

/// An entry that a consumer was sent.
#[derive(Clone)]
pub(crate) struct Delivered {
    pub(crate) header: EntryHeader,
    pub(crate) payload: Vec<u8>,
    pub(crate) redelivery_count: u32,
    pub(crate) acked: Vec<IndexRange>,
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (header, acked) = (&self.header, &self.acked);
        let (offset, messages) = (header.offset, header.messages);
        write!(f, "entry {offset} of {messages} messages without {acked:?}")
    }
}

/// Something that a client is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// An answer, or with 0 the stream's end.
    Reply(u64, Reply),
    /// A receipt.
    Receipt(Receipt),
    /// An entry.
    Deliver(Delivered),
}

/// One core without its executor.
pub(crate) struct Rim {
    pub(crate) disk: SimDisk,
    pub(crate) shard: Shard<SimDisk>,
    pub(crate) clock: Clock,
    pub(crate) pending: Vec<Pending>,
    /// What clients were told and no test has looked at yet, in order.
    pub(crate) told: Vec<(StreamKey, Told)>,
    /// Connections that may offer their held request again, in order.
    pub(crate) resumed: Vec<u64>,
    /// Connections that were asked whether they are there, in order.
    pub(crate) probed: Vec<u64>,
    /// Those that are asked answer at once.
    pub(crate) all_answer: bool,
    /// Connections that were closed since they did not answer, in order.
    pub(crate) evicted: Vec<u64>,
    /// Bytes queued towards each connection that have not left.
    pub(crate) queued: BTreeMap<u64, usize>,
    /// `HULSE_TRACE` asks for all that is said.
    pub(crate) traced: bool,
    /// Helpers that read ahead do not come back; what they are to read is kept.
    pub(crate) slow_helpers: Option<Vec<Pending>>,
    /// The machine's memory forgets what was read ahead before anybody reads it.
    pub(crate) forgets: bool,
    /// How often something was read ahead.
    pub(crate) warmed: usize,
    fx: Vec<Effect<SimDisk>>,
    pub(crate) correlation: u64,
}

/// The configuration of a core with a small journal.
pub(crate) fn config() -> ShardConfig {
    ShardConfig {
        journal: JournalSizes {
            file_bytes: 32 * 1024,
            files_max: 3,
            round_bytes_max: 12 * 1024,
        },
        ..ShardConfig::new(0, 0x5ec2_e700)
    }
}

/// The catalogue's word on a partition of a topic without partitions.
pub(crate) fn spec(id: PartitionId, term: u64, ack: AckLevel) -> PartitionSpec {
    PartitionSpec {
        id,
        topic: "tests".parse().unwrap(),
        index: -1,
        term: Term(term),
        ack,
        may_create: true,
        policies: hulse_shard::PartitionPolicies::default(),
    }
}

/// A stream of connection `connection`.
pub(crate) fn key(connection: u64, stream: u32) -> StreamKey {
    StreamKey { connection, stream }
}

/// The whole of one entry, acknowledged.
pub(crate) fn whole(offset: u64) -> AckedMessages {
    AckedMessages {
        offset: hulse_model::Offset(offset),
        first: 0,
        last: u32::MAX,
    }
}

/// A subscription to the entries from the oldest on.
pub(crate) fn subscribe(name: &str, permits: u32) -> Command<'static> {
    subscribe_as(SubscriptionKind::Exclusive, name, "tests", permits)
}

/// The same of another kind, for a consumer with a name.
pub(crate) fn subscribe_as(
    kind: SubscriptionKind,
    name: &str,
    consumer: &str,
    permits: u32,
) -> Command<'static> {
    Command::Subscribe {
        subscription: name.parse().unwrap(),
        kind,
        start: StartFrom::Earliest,
        consumer: consumer.to_owned(),
        priority: 0,
        member: None,
        permits,
        durable: true,
    }
}

/// The opening of a producer.
pub(crate) fn producer(name: &str, epoch: Option<u64>) -> Command<'static> {
    producer_with(name, epoch, Access::Shared, None)
}

/// The same with some access.
pub(crate) fn producer_with(
    name: &str,
    epoch: Option<u64>,
    access: Access,
    access_epoch: Option<u64>,
) -> Command<'static> {
    Command::OpenProducer {
        name: name.parse().unwrap(),
        epoch,
        access,
        access_epoch,
    }
}

impl Rim {
    /// A core without partitions.
    pub(crate) fn empty(disk: SimDisk, config: ShardConfig) -> Self {
        hulse_log::replay(&disk).unwrap();
        Self::on(disk, config)
    }

    /// Another core of the same process, without partitions.
    pub(crate) fn beside(&self, config: ShardConfig) -> Self {
        let mut other = Self::on(self.disk.clone(), config);
        other.clock = self.clock;
        other
    }

    fn on(disk: SimDisk, config: ShardConfig) -> Self {
        Self {
            shard: Shard::new(disk.clone(), config),
            disk,
            clock: Clock {
                monotonic_ms: 1_000_000,
                wall_ms: 1_700_000_000_000,
            },
            pending: Vec::new(),
            told: Vec::new(),
            resumed: Vec::new(),
            probed: Vec::new(),
            all_answer: true,
            evicted: Vec::new(),
            queued: BTreeMap::new(),
            traced: std::env::var_os("HULSE_TRACE").is_some(),
            slow_helpers: None,
            forgets: false,
            warmed: 0,
            fx: Vec::new(),
            correlation: 0,
        }
    }

    /// A core with [`PARTITION`] on a new disk.
    pub(crate) fn new(ack: AckLevel) -> Self {
        let mut rim = Self::empty(SimDisk::new(), config());
        rim.open(spec(PARTITION, 1, ack)).unwrap();
        rim
    }

    /// The core that finds `disk` after a restart, in the next term.
    pub(crate) fn restarted(disk: SimDisk, ack: AckLevel) -> Self {
        let (rim, recovered) = Self::recovered(disk, ack);
        recovered.unwrap();
        rim
    }

    /// The core that finds the files after the process was killed: the system has all that was
    /// written.
    pub(crate) fn killed(&self, ack: AckLevel) -> Self {
        Self::restarted(self.disk.fork(), ack)
    }

    /// The same, with what recovery says.
    pub(crate) fn recovered(disk: SimDisk, ack: AckLevel) -> (Self, Result<Recovered, OpenError>) {
        let replayed = disk.fork();
        hulse_log::replay(&replayed).unwrap();
        let found = hulse_log::PartitionStore::open(&replayed, PARTITION);
        let last = found.map_or(0, |(store, _)| {
            store.entries.last_term().max(store.sibling.last_term()).0
        });
        let mut rim = Self::empty(disk, config());
        let recovered = rim.open(spec(PARTITION, last + 1, ack));
        (rim, recovered)
    }

    /// The disk that a loss of power leaves when the system has written out all of the other log,
    /// and nothing of this one that was not synced.
    pub(crate) fn crashed_without(&self, kind: LogKind) -> SimDisk {
        let disk = self.disk.fork();
        let kept = match kind {
            LogKind::Entries => "sibling",
            LogKind::Sibling => "entries",
        };
        let kept = format!("{}/{kept}-", partition_dir(PARTITION));
        for (path, _) in self.disk.contents() {
            if path.starts_with(&kept) {
                disk.open(&path).unwrap().sync_data().unwrap();
            }
        }
        disk.crashed(Keep::Nothing)
    }

    /// Opens a partition.
    pub(crate) fn open(&mut self, spec: PartitionSpec) -> Result<Recovered, OpenError> {
        self.act(|shard, clock, fx| shard.open_partition(spec, clock, fx))
    }

    /// Has the shard do something, and takes what follows.
    pub(crate) fn act<R>(
        &mut self,
        act: impl FnOnce(&mut Shard<SimDisk>, Clock, &mut Vec<Effect<SimDisk>>) -> R,
    ) -> R {
        let mut fx = std::mem::take(&mut self.fx);
        let result = act(&mut self.shard, self.clock, &mut fx);
        for effect in fx.drain(..) {
            self.take(effect);
        }
        self.fx = fx;
        if self.all_answer {
            for connection in std::mem::take(&mut self.probed) {
                self.answer(connection);
            }
        }
        result
    }

    /// A connection says something.
    pub(crate) fn answer(&mut self, connection: u64) {
        self.act(|shard, clock, fx| shard.heard(clock, connection, fx));
    }

    fn take(&mut self, effect: Effect<SimDisk>) {
        match effect {
            Effect::Reply {
                to,
                correlation,
                reply,
            } => self.tell(to, FRAME_BYTES, 0, Told::Reply(correlation, reply)),
            Effect::Receipt { to, receipt } => {
                self.tell(to, FRAME_BYTES, 0, Told::Receipt(receipt));
            }
            Effect::Deliver {
                to,
                redelivery_count,
                acked,
                entry,
            } => {
                let delivered = Delivered {
                    header: entry.header,
                    payload: entry.payload().to_vec(),
                    redelivery_count,
                    acked,
                };
                let counted = entry.bytes().len();
                self.tell(to, FRAME_BYTES, counted, Told::Deliver(delivered));
            }
            Effect::Sync {
                partition,
                log,
                ticket,
            } => self.pending.push(Pending::Sync(partition, log, ticket)),
            Effect::Prepare {
                partition,
                log,
                work,
            } => self.pending.push(Pending::Prepare(partition, log, work)),
            Effect::SyncJournal { ticket } => self.pending.push(Pending::Journal(ticket)),
            Effect::PrepareJournal { work } => self.pending.push(Pending::JournalFile(work)),
            Effect::SyncInBackground { work } => self.pending.push(Pending::Background(work)),
            Effect::Remove { work, .. } => self.pending.push(Pending::Remove(work)),
            Effect::MarkFlushed { partition, work } => {
                self.pending.push(Pending::MarkFlushed(partition, work));
            }
            Effect::ChangeHome { partition, work } => {
                self.pending.push(Pending::ChangeHome(partition, work));
            }
            Effect::WarmUp {
                partition,
                subscription,
                work,
            } => {
                let queue = self.slow_helpers.as_mut().unwrap_or(&mut self.pending);
                queue.push(Pending::WarmUp(partition, subscription, work));
            }
            Effect::GoOn {
                partition,
                subscription,
            } => self.pending.push(Pending::GoOn(partition, subscription)),
            Effect::Probe { connection } => self.probed.push(connection),
            Effect::Evict { connection } => {
                self.queued.remove(&connection);
                self.evicted.push(connection);
            }
            Effect::Resume { connection } => self.resumed.push(connection),
        }
    }

    /// Queues something for a client. The shard has counted `counted` of its bytes already.
    fn tell(&mut self, to: StreamKey, bytes: usize, counted: usize, told: Told) {
        if self.traced {
            eprintln!("  -> {}:{} {told:?}", to.connection, to.stream);
        }
        self.shard.queued(to.connection, bytes);
        *self.queued.entry(to.connection).or_default() += bytes + counted;
        self.told.push((to, told));
    }

    /// A correlation id that no request has had.
    pub(crate) fn correlation(&mut self) -> u64 {
        self.correlation += 1;
        self.correlation
    }

    /// Sends a request that opens a stream of [`PARTITION`] or names it, and returns its
    /// correlation id.
    pub(crate) fn ask_on(&mut self, to: StreamKey, command: Command<'_>) -> u64 {
        let id = self.correlation();
        self.act(|shard, clock, fx| shard.handle_on(clock, PARTITION, to, id, command, fx));
        id
    }

    /// Sends a request of a stream, which is taken, and returns its correlation id.
    pub(crate) fn ask(&mut self, to: StreamKey, command: Command<'_>) -> u64 {
        let id = self.correlation();
        let handled = self.act(|shard, clock, fx| shard.handle(clock, to, id, command, fx));
        assert_eq!(handled, Handled::Done, "the request is taken");
        id
    }

    /// Sends a request of a stream that asks for no answer.
    pub(crate) fn say(&mut self, to: StreamKey, command: Command<'_>) {
        let handled = self.act(|shard, clock, fx| shard.handle(clock, to, 0, command, fx));
        assert_eq!(handled, Handled::Done, "the request is taken");
    }

    /// Sends a batch of `messages` messages.
    pub(crate) fn produce(
        &mut self,
        to: StreamKey,
        sequence: u64,
        messages: u32,
        payload: &[u8],
    ) -> Handled {
        let id = self.correlation();
        let batch = Command::Produce {
            sequence,
            messages,
            skipped: false,
            delayed: false,
            payload,
            payload_crc: None,
        };
        self.act(|shard, clock, fx| shard.handle(clock, to, id, batch, fx))
    }

    /// Ends the round.
    pub(crate) fn end_round(&mut self) {
        self.act(|shard, clock, fx| shard.end_round(clock, fx));
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.clock.monotonic_ms += ms;
        self.clock.wall_ms += ms;
        self.act(|shard, clock, fx| shard.tick(clock, fx));
    }

    /// Carries out one of the pending things.
    pub(crate) fn finish(&mut self, index: usize) {
        match self.pending.remove(index) {
            Pending::Sync(id, log, ticket) => {
                let result = ticket.run();
                self.act(|shard, clock, fx| shard.synced(clock, id, log, ticket, result, fx));
            }
            Pending::Journal(ticket) => {
                let result = ticket.file().sync_data();
                self.act(|shard, clock, fx| shard.journal_synced(clock, ticket, &result, fx));
            }
            Pending::JournalFile(work) => {
                let prepared = work.run();
                self.act(|shard, clock, _| shard.journal_prepared(clock, prepared));
            }
            Pending::Background(work) => {
                let done = work.run();
                self.act(|shard, clock, fx| shard.synced_in_background(clock, done, fx));
            }
            Pending::Prepare(id, log, work) => {
                let prepared = work.run();
                self.act(|shard, clock, fx| shard.prepared(clock, id, log, prepared, fx));
            }
            // What could not be removed is removed by the next start.
            Pending::Remove(work) => drop(work.run()),
            Pending::MarkFlushed(id, work) => {
                let result = work.run();
                self.act(|shard, _, _| shard.marked_flushed(id, result));
            }
            Pending::ChangeHome(id, work) => {
                let result = work.run();
                self.act(|shard, clock, fx| shard.home_changed(clock, id, result, fx));
            }
            Pending::GoOn(id, subscription) => {
                self.act(|shard, _, fx| shard.go_on(id, subscription, fx));
            }
            Pending::WarmUp(id, subscription, work) => {
                let result = work.run();
                if self.forgets {
                    self.disk.cool();
                }
                self.warmed += 1;
                self.act(|shard, _, fx| shard.warmed(id, subscription, &result, fx));
            }
        }
    }

    /// Carries out the pending syncs of one log.
    pub(crate) fn finish_syncs(&mut self, kind: LogKind) {
        let wanted = |p: &Pending| matches!(p, Pending::Sync(_, log, _) if *log == kind);
        let index = self.pending.iter().position(wanted);
        self.finish(index.expect("a sync of this log is in flight"));
    }

    /// Ends the round and carries out everything, and what follows from it.
    pub(crate) fn settle(&mut self) {
        self.end_round();
        let mut turns = 0;
        while !self.pending.is_empty() {
            self.finish(0);
            turns += 1;
            assert!(turns < 10_000, "the shard does not come to rest");
        }
    }

    /// The slow helpers come back.
    pub(crate) fn hurry_helpers(&mut self) {
        self.pending
            .extend(self.slow_helpers.take().unwrap_or_default());
        self.settle();
    }

    /// Has everything that is queued leave.
    pub(crate) fn drain(&mut self) {
        let mut turns = 0;
        while let Some((&connection, _)) = self.queued.iter().find(|(_, bytes)| **bytes > 0) {
            let bytes = self.queued.remove(&connection).unwrap();
            self.act(|shard, _, fx| shard.sent(connection, bytes, fx));
            turns += 1;
            assert!(turns < 10_000, "delivery does not come to rest");
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&mut self, connection: u64) {
        self.shard.disconnected(connection);
        self.queued.remove(&connection);
        self.told.retain(|(to, _)| to.connection != connection);
    }

    /// What a stream was told since this was asked last.
    pub(crate) fn told(&mut self, stream: StreamKey) -> Vec<Told> {
        let (told, rest) = std::mem::take(&mut self.told)
            .into_iter()
            .partition(|(to, _)| *to == stream);
        self.told = rest;
        let told: Vec<(StreamKey, Told)> = told;
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// The answers among what a stream was told.
    pub(crate) fn replies(&mut self, stream: StreamKey) -> Vec<(u64, Reply)> {
        let told = self.told(stream).into_iter();
        told.filter_map(|told| match told {
            Told::Reply(id, reply) => Some((id, reply)),
            _ => None,
        })
        .collect()
    }

    /// The single answer among what a stream was told.
    pub(crate) fn reply(&mut self, stream: StreamKey) -> (u64, Reply) {
        let replies = self.replies(stream);
        assert_eq!(replies.len(), 1, "one answer: {replies:?}");
        replies.into_iter().next().unwrap()
    }

    /// The single refusal among what a stream was told.
    pub(crate) fn refusal(&mut self, stream: StreamKey) -> (u64, Refusal) {
        match self.reply(stream) {
            (id, Reply::Refused(refusal)) => (id, refusal),
            other => panic!("a refusal, not {other:?}"),
        }
    }

    /// The status of it.
    pub(crate) fn status(&mut self, stream: StreamKey) -> (u64, Status) {
        let (id, refusal) = self.refusal(stream);
        (id, refusal.status)
    }

    /// The offsets in the receipts among what a stream was told.
    pub(crate) fn receipts(&mut self, stream: StreamKey) -> Vec<u64> {
        let told = self.told(stream).into_iter();
        told.filter_map(|told| match told {
            Told::Receipt(receipt) => Some(receipt.id.map_or(u64::MAX, |(_, offset)| offset.0)),
            _ => None,
        })
        .collect()
    }

    /// The offsets delivered among what a stream was told.
    pub(crate) fn delivered(&mut self, stream: StreamKey) -> Vec<u64> {
        let told = self.told(stream).into_iter();
        told.filter_map(|told| match told {
            Told::Deliver(delivered) => Some(delivered.header.offset.0),
            _ => None,
        })
        .collect()
    }

    /// Opens a producer, settled.
    pub(crate) fn opened_producer(&mut self, to: StreamKey, name: &str) -> StreamKey {
        self.ask_on(to, producer(name, None));
        self.settle();
        let (_, reply) = self.reply(to);
        assert!(matches!(reply, Reply::ProducerOpened { .. }), "{reply:?}");
        to
    }

    /// Attaches a consumer, settled, without looking at what it is delivered.
    pub(crate) fn attached(&mut self, to: StreamKey, name: &str, permits: u32) -> StreamKey {
        self.attached_by(to, subscribe(name, permits))
    }

    /// The same by a request of the test's own.
    pub(crate) fn attached_by(&mut self, to: StreamKey, subscribe: Command<'_>) -> StreamKey {
        let id = self.ask_on(to, subscribe);
        self.settle();
        let found = self.told.iter().position(|(at, told)| {
            *at == to && matches!(told, Told::Reply(it, Reply::Subscribed { .. }) if *it == id)
        });
        self.told.remove(found.expect("it is attached"));
        to
    }

    /// Produces single messages of this many bytes, settled.
    pub(crate) fn produced(&mut self, to: StreamKey, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            assert_eq!(self.produce(to, sequence, 1, &[7; 100]), Handled::Done);
        }
        self.settle();
    }

    /// Nothing is unsynced or waited for, and when all has left nothing is queued.
    pub(crate) fn assert_quiet(&mut self) {
        self.drain();
        assert!(self.shard.is_quiet(), "something is waited for");
        let stats = self.shard.stats();
        assert_eq!((stats.unsynced_bytes, stats.output_bytes), (0, 0));
    }
}
