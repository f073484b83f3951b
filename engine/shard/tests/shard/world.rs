//! A core with its clients, where everything happens in an order that a seed draws: requests wait
//! in their connections, syncs and segments come back late, connections drain late, and the
//! machine stops at any moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hulse_log::sim::{Fault, Keep, SimDisk, SimRng};
use hulse_log::{PartitionStore, partition_dir, remove_leftovers};
use hulse_model::{Rate, Status};
use hulse_shard::{AckLevel, Handled, PartitionPolicies, RateLimit, Reply, ShardConfig, StreamKey};

use crate::checker::Checker;
use crate::consumers::Consumer;
use crate::producers::Producer;
use crate::requests::{Request, Sent};
use crate::rim::{PARTITION, Rim, Told, spec};

/// Producers of one world. Few are there from the start, and the names of the others come anew while
/// it lasts.
const PRODUCERS_MAX: usize = 9;

/// What a run may meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) ack: AckLevel,
    /// Power is lost, not only the process.
    pub(crate) power: bool,
    /// A sync fails now and then.
    pub(crate) failing_syncs: bool,
    /// The disk is full now and then.
    pub(crate) full_disk: bool,
    /// Now and then only few files may be open.
    pub(crate) few_files: bool,
    /// Rates and backlog quotas are set and taken back.
    pub(crate) quotas: bool,
    pub(crate) steps: u32,
}

pub(crate) struct World {
    pub(crate) rng: SimRng,
    pub(crate) rim: Rim,
    pub(crate) checker: Checker,
    weather: Weather,
    config: ShardConfig,
    term: u64,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    next_stream: u32,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// The subscriptions of requests to set them that have no answer yet.
    pub(crate) seeks: BTreeMap<(StreamKey, u64), usize>,
    /// The machine stops when the disk has done so much.
    stops_at: Option<u64>,
    fenced: bool,
    story: Story,
}

/// How much of everything has happened.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Story {
    pub(crate) receipts: u64,
    pub(crate) duplicates: u64,
    pub(crate) deliveries: u64,
    pub(crate) acked: u64,
    pub(crate) sought: u64,
    pub(crate) held: u64,
    pub(crate) starts: u64,
    pub(crate) full: u64,
    pub(crate) over_quota: u64,
    pub(crate) throttled: u64,
    pub(crate) unopened: u64,
    pub(crate) fenced: u64,
    pub(crate) rounds: u64,
    pub(crate) checkpoints: u64,
    pub(crate) evicted: u64,
}

/// A connection's requests that the broker has not taken.
#[derive(Default)]
struct Connection {
    inbox: VecDeque<Sent>,
    held: bool,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = SimRng::new(seed);
        let small = rng.once_in(2);
        let config = ShardConfig {
            unsynced_bytes_max: if small { 8 * 1024 } else { 1 << 20 },
            connection_output_bytes_max: if small { 2 * 1024 } else { 64 * 1024 },
            core_output_bytes_max: if small { 4 * 1024 } else { 256 * 1024 },
            ..crate::rim::config()
        };
        let mut rim = Rim::empty(SimDisk::new(), config.clone());
        rim.all_answer = false;
        rim.open(spec(PARTITION, 1, weather.ack)).unwrap();
        Self {
            rng,
            rim,
            checker: Checker::default(),
            weather,
            config,
            term: 1,
            connections: BTreeMap::new(),
            next_connection: 1,
            next_stream: 1,
            producers: (0..3).map(Producer::new).collect(),
            consumers: (0..4).map(|at| Consumer::new(at / 2)).collect(),
            seeks: BTreeMap::new(),
            stops_at: None,
            fenced: false,
            story: Story::default(),
        }
    }

    /// Runs to the end of the story, and checks that everything comes to rest.
    pub(crate) fn run(mut self) -> Story {
        for _ in 0..self.weather.steps {
            self.step();
            if self.rng.once_in(60) {
                self.come_to_rest();
            }
        }
        self.come_to_rest();
        self.make_amends();
        self.finish()
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..30 => self.act_client(),
            30..65 => self.take_requests(),
            65..80 => self.finish_one(),
            80..88 => self.drain_some(),
            88..93 => {
                let ms = self.rng.below(400);
                self.rim.pass(ms);
            }
            93 if self.rng.once_in(2) => self.answer_probe(),
            93 => self.lose_connection(),
            94..96 => self.trouble(),
            96 if self.rng.once_in(3) => self.restart(),
            97 if self.rng.once_in(6) => {
                let more = self.rng.below(8);
                self.rim.disk.stop_after(more);
                self.stops_at = Some(self.rim.disk.operations() + more);
            }
            98 if self.rng.once_in(8) => self.stop_cleanly(),
            _ => self.rim.end_round(),
        }
        if self
            .stops_at
            .is_some_and(|at| self.rim.disk.operations() >= at)
        {
            self.restart();
        }
        self.hear();
    }

    /// A client that was asked says that it is there.
    fn answer_probe(&mut self) {
        if !self.rim.probed.is_empty() {
            let at = self.rng.index(self.rim.probed.len());
            let connection = self.rim.probed.remove(at);
            self.rim.answer(connection);
        }
    }

    /// A client does something.
    fn act_client(&mut self) {
        if self.producers.len() < PRODUCERS_MAX && self.rng.once_in(60) {
            self.producers.push(Producer::new(self.producers.len()));
        }
        if self.rng.once_in(2) {
            let at = self.rng.index(self.producers.len());
            let mut producer = std::mem::take(&mut self.producers[at]);
            producer.act(self);
            self.producers[at] = producer;
        } else {
            let at = self.rng.index(self.consumers.len());
            let mut consumer = std::mem::take(&mut self.consumers[at]);
            consumer.act(self);
            self.consumers[at] = consumer;
        }
    }

    /// A stream on a new connection, or on one that is there.
    pub(crate) fn new_stream(&mut self) -> StreamKey {
        let known: Vec<u64> = self.connections.keys().copied().collect();
        let connection = if known.is_empty() || self.rng.once_in(2) {
            self.next_connection += 1;
            self.connections
                .insert(self.next_connection, Connection::default());
            self.next_connection
        } else {
            known[self.rng.index(known.len())]
        };
        self.next_stream += 1;
        StreamKey {
            connection,
            stream: self.next_stream,
        }
    }

    /// Puts a request on its way, and returns its correlation id.
    pub(crate) fn send(&mut self, to: StreamKey, request: Request) -> u64 {
        let correlation = if request.asks() {
            self.rim.correlation()
        } else {
            0
        };
        let sent = Sent {
            to,
            correlation,
            request,
        };
        // A connection that is gone takes nothing.
        if let Some(connection) = self.connections.get_mut(&to.connection) {
            connection.inbox.push_back(sent);
        }
        correlation
    }

    /// The broker takes a burst of one connection's requests.
    fn take_requests(&mut self) {
        let ready = self.connections.iter();
        let ready =
            ready.filter(|(_, connection)| !connection.held && !connection.inbox.is_empty());
        let ready: Vec<u64> = ready.map(|(id, _)| *id).collect();
        if ready.is_empty() {
            return;
        }
        let id = ready[self.rng.index(ready.len())];
        for _ in 0..1 + self.rng.below(8) {
            let connection = self.connections.get_mut(&id).expect("it is ready");
            let Some(sent) = connection.inbox.pop_front() else {
                break;
            };
            let known = self.seeks.len();
            let handled = sent.take(&mut self.rim, &mut self.checker, &mut self.seeks);
            if self.seeks.len() > known {
                let subscription = self.seeks[&(sent.to, sent.correlation)];
                let position = self.checker.place(subscription);
                for consumer in &mut self.consumers {
                    consumer.sought(subscription, position);
                }
            }
            if handled == Handled::Held {
                let throttled = self.rim.shard.stats().throttled_connections;
                self.story.throttled += u64::from(throttled > 0);
                let connection = self.connections.get_mut(&id).expect("it is ready");
                connection.inbox.push_front(sent);
                connection.held = true;
                self.story.held += 1;
                self.rim.end_round();
                break;
            }
            self.hear();
            if !self.connections.contains_key(&id) {
                return;
            }
        }
        if !self.rng.once_in(4) {
            self.rim.end_round();
        }
    }

    fn finish_one(&mut self) {
        if !self.rim.pending.is_empty() {
            let at = self.rng.index(self.rim.pending.len());
            self.rim.finish(at);
        }
    }

    fn drain_some(&mut self) {
        let queued: Vec<u64> = self.rim.queued.keys().copied().collect();
        if queued.is_empty() {
            return;
        }
        let id = queued[self.rng.index(queued.len())];
        let left = self.rim.queued.get_mut(&id).expect("it was just listed");
        let bytes = self.rng.index(*left + 1);
        *left -= bytes;
        self.rim.act(|shard, _, fx| shard.sent(id, bytes, fx));
    }

    fn lose_connection(&mut self) {
        let known: Vec<u64> = self.connections.keys().copied().collect();
        if !known.is_empty() {
            let id = known[self.rng.index(known.len())];
            self.drop_connection(id);
        }
    }

    /// The connection is gone, for both sides.
    fn drop_connection(&mut self, id: u64) {
        self.rim.disconnect(id);
        self.connections.remove(&id);
        self.checker.disconnected(id);
        self.producers
            .iter_mut()
            .for_each(|producer| producer.disconnected(id));
        self.consumers
            .iter_mut()
            .for_each(|consumer| consumer.disconnected(id));
    }

    fn trouble(&mut self) {
        if self.weather.full_disk {
            let full = !self.rng.once_in(3);
            let free = self.rng.below(6_000);
            self.rim.disk.set_free_bytes(full.then_some(free));
        }
        if self.weather.failing_syncs && self.rng.once_in(4) {
            self.rim.disk.inject(Fault::Sync);
        }
        if self.weather.quotas {
            let policies = self.some_policies();
            self.set_policies(policies);
        }
        if self.weather.few_files {
            let few = self.rng.once_in(2);
            let most = self.rng.index(3);
            self.rim.disk.set_open_files_max(few.then_some(most));
            // Files close meanwhile, as far as nothing is on its way.
            self.rim.pass(50);
            self.rim.pass(1_050);
        }
    }

    /// Policies that hold somebody back now and then.
    fn some_policies(&mut self) -> PartitionPolicies {
        let mut policies = PartitionPolicies::default();
        if self.rng.once_in(2) {
            policies.effective.backlog_bytes = Some(200 + self.rng.below(4_000));
        }
        for _ in 0..self.rng.below(3) {
            let rate = Rate {
                bytes_per_s: self
                    .rng
                    .once_in(2)
                    .then_some(1_000 + self.rng.below(50_000)),
                messages_per_s: Some(5 + self.rng.below(200)),
            };
            let limit = RateLimit::new("public".parse().unwrap(), rate);
            policies.rates.push(Arc::new(limit));
        }
        policies
    }

    fn set_policies(&mut self, policies: PartitionPolicies) {
        self.rim
            .act(|shard, _, fx| shard.set_policies(PARTITION, policies, fx));
    }

    /// Clients hear what they were told.
    fn hear(&mut self) {
        if self
            .stops_at
            .is_some_and(|at| self.rim.disk.operations() >= at)
        {
            // What the shard says now, nobody hears.
            self.rim.told.clear();
            self.rim.resumed.clear();
            self.rim.evicted.clear();
            return;
        }
        for id in std::mem::take(&mut self.rim.evicted) {
            self.story.evicted += 1;
            self.drop_connection(id);
        }
        for id in std::mem::take(&mut self.rim.resumed) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.held = false;
            }
        }
        for (to, told) in std::mem::take(&mut self.rim.told) {
            if !self.connections.contains_key(&to.connection) {
                continue;
            }
            self.checker.told(to);
            match &told {
                // A consumer whose entry cannot be read connects anew.
                Told::Reply(0, Reply::Refused(refusal))
                    if self.weather.few_files && refusal.status == Status::OverLimit =>
                {
                    self.story.unopened += 1;
                    self.drop_connection(to.connection);
                }
                Told::Reply(0, reply) => panic!("{to:?} comes to its end: {reply:?}"),
                Told::Reply(id, reply) => self.hear_reply(to, *id, reply),
                Told::Receipt(receipt) => {
                    let (producer, sequence) = self.checker.receipt(to, receipt);
                    self.producers[producer].stored(sequence);
                    self.story.receipts += 1;
                    self.story.duplicates += u64::from(receipt.duplicate);
                }
                Told::Deliver(delivered) => {
                    self.story.deliveries += 1;
                    let of = |consumer: &&mut Consumer| consumer.stream() == Some(to);
                    let consumer = self.consumers.iter_mut().find(of);
                    // One that has sent its close listens no more.
                    if let Some(consumer) = consumer {
                        consumer.delivered(&mut self.checker, delivered);
                    }
                }
            }
        }
    }

    fn hear_reply(&mut self, to: StreamKey, id: u64, reply: &Reply) {
        if let Reply::Refused(refusal) = reply {
            self.fenced |= refusal.status == Status::StorageFailed;
            self.story.fenced += u64::from(refusal.status == Status::StorageFailed);
            self.story.unopened += u64::from(refusal.message.contains("limit of open files"));
            self.story.full += u64::from(refusal.status == Status::DiskFull);
            self.story.over_quota += u64::from(refusal.status == Status::BacklogQuota);
            if refusal.batch.is_some() {
                self.checker.batch_refused(to, id, refusal.status);
                self.producers.iter_mut().for_each(|p| p.refused(to));
                return;
            }
        }
        self.checker.answered(to, id);
        match reply {
            Reply::Closed => self.checker.told_closed(to),
            Reply::Acked => {
                self.checker.acked(to, id);
                self.story.acked += 1;
            }
            Reply::Done => self.story.sought += 1,
            _ => {}
        }
        // A seek that was refused may have been made all the same, or not.
        if let (Some(subscription), Reply::Refused(_)) = (self.seeks.remove(&(to, id)), reply) {
            self.checker.unsettled.insert(subscription);
        }
        for producer in &mut self.producers {
            producer.answered(&mut self.checker, to, reply);
        }
        for consumer in &mut self.consumers {
            consumer.answered(&mut self.checker, to, reply);
        }
    }

    /// The process ends at this moment, perhaps with the machine, and starts again.
    fn restart(&mut self) {
        let power = self.weather.power && self.rng.once_in(2);
        let keep = match self.rng.below(4) {
            0 => Keep::Nothing,
            1 if self.stops_at.is_none() => Keep::All,
            _ => Keep::Random(self.rng.next_u64()),
        };
        let disk = if power {
            self.rim.disk.crashed(keep)
        } else {
            self.rim.disk.fork()
        };
        let lost = power && self.weather.ack == AckLevel::Memory;
        self.start(disk, lost);
    }

    /// The broker is stopped and started again, and loses nothing at all.
    fn stop_cleanly(&mut self) {
        if self.stops_at.is_some() || self.fenced {
            return;
        }
        self.rim.disk.set_free_bytes(None);
        self.rim.disk.set_open_files_max(None);
        self.rim.act(|shard, clock, fx| shard.stop(clock, fx));
        self.rim.settle();
        self.hear();
        self.fenced |= self.rim.shard.stats().fenced_partitions > 0;
        if self.fenced {
            return self.restart();
        }
        assert!(self.rim.shard.is_quiet());
        assert_eq!(self.rim.shard.stats().unsynced_bytes, 0);
        self.rim.shard.close();
        let disk = self.rim.disk.crashed(Keep::Nothing);
        let (_, report) = PartitionStore::open(&disk.fork(), PARTITION).unwrap();
        let spoiled = self.weather.failing_syncs;
        assert!(report.is_clean() || spoiled, "{report:?}");
        self.start(disk, false);
    }

    fn start(&mut self, disk: SimDisk, lost: bool) {
        if self.rim.traced {
            eprintln!("the process starts again");
        }
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.drop_connection(id);
        }
        let seeks = std::mem::take(&mut self.seeks);
        let unsettled: BTreeSet<usize> = seeks.into_values().collect();
        self.checker.restarted(&disk, lost, &unsettled);
        // A start does so before it opens any partition.
        remove_leftovers(&disk).unwrap();
        self.term += 1;
        self.story.starts += 1;
        let stats = self.rim.shard.stats();
        self.story.rounds += stats.journal_rounds;
        self.story.checkpoints += stats.checkpoints;
        let clock = self.rim.clock;
        self.rim = Rim::empty(disk, self.config.clone());
        self.rim.all_answer = false;
        self.rim.clock = clock;
        let recovered = self
            .rim
            .open(spec(PARTITION, self.term, self.weather.ack))
            .unwrap();
        assert!(recovered.passed_over.is_empty(), "{recovered:?}");
        (self.stops_at, self.fenced) = (None, false);
        for producer in &mut self.producers {
            producer.restarted(lost);
        }
    }

    /// Lets everything that is under way come to its end, and checks that nothing was forgotten.
    fn come_to_rest(&mut self) {
        if self.stops_at.is_some() {
            self.restart();
        }
        self.rim.disk.set_free_bytes(None);
        self.rim.disk.set_open_files_max(None);
        self.set_policies(PartitionPolicies::default());
        let mut idle = 0;
        while idle < 30 {
            let before = self.rim.clock.monotonic_ms;
            idle += 1;
            self.rim.end_round();
            while !self.rim.pending.is_empty() {
                self.finish_one();
                idle = 0;
            }
            self.hear();
            let inboxes = self.connections.values();
            if inboxes.filter(|c| !c.held).any(|c| !c.inbox.is_empty()) {
                self.take_requests();
                idle = 0;
            }
            if self.rim.queued.values().any(|bytes| *bytes > 0) {
                self.rim.drain();
                idle = 0;
            }
            self.hear();
            self.rim.pass(100);
            if !self.rim.pending.is_empty() {
                idle = 0;
            }
            assert!(before < 1_000_000_000, "it does not come to rest");
        }
        self.check_rest();
        if self.fenced {
            self.restart();
        }
    }

    fn check_rest(&mut self) {
        let held = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.held);
        let held: Vec<_> = held.map(|(id, _)| id).collect();
        assert!(held.is_empty(), "held for ever: {held:?}");
        self.checker.all_answered();
        let stats = self.rim.shard.stats();
        assert_eq!(stats.claimants, 0, "a request waits for ever");
        assert_eq!(stats.output_bytes, 0);
        assert_eq!(stats.unsynced_bytes, 0, "the clock brings a sync at last");
        assert!(self.rim.shard.is_quiet(), "something is waited for");
        let described = self.rim.shard.describe(PARTITION).unwrap();
        self.fenced |= stats.fenced_partitions > 0;
        if self.fenced {
            return;
        }
        assert_eq!(described.high_watermark, described.log_end);
        for consumer in &self.consumers {
            consumer.check_rest(&self.checker, described.high_watermark.0);
        }
        let files = self.rim.disk.contents();
        let new = files
            .keys()
            .filter(|path| path.starts_with(&partition_dir(PARTITION)));
        assert_eq!(new.filter(|path| path.ends_with(".new")).count(), 0);
    }

    /// Everything that a producer wants stored is stored in the end.
    fn make_amends(&mut self) {
        self.weather.full_disk = false;
        self.weather.failing_syncs = false;
        self.weather.few_files = false;
        for at in 0..self.producers.len() {
            for _ in 0..200 {
                if self.producers[at].is_content() {
                    break;
                }
                let mut producer = std::mem::take(&mut self.producers[at]);
                producer.stops_making_more();
                producer.act(self);
                self.producers[at] = producer;
                self.come_to_rest();
            }
            assert!(self.producers[at].is_content(), "{:?}", self.producers[at]);
        }
    }

    /// A last start, and every entry is read from the first to the last.
    fn finish(mut self) -> Story {
        self.restart();
        let end = self.rim.shard.describe(PARTITION).unwrap().log_end.0;
        let mut reader = Consumer::new(usize::MAX);
        for _ in 0..1_000 {
            reader.read_on(&mut self);
            std::mem::swap(&mut reader, &mut self.consumers[0]);
            self.come_to_rest();
            std::mem::swap(&mut reader, &mut self.consumers[0]);
            if reader.reached() >= end {
                return self.story;
            }
        }
        panic!("the reader has come to {} of {end}", reader.reached());
    }
}
