//! A core with one partition and crowds of consumers of each type that shares, where everything
//! happens in an order that a seed draws.

use std::collections::{BTreeMap, BTreeSet};

use hulse_log::sim::{Keep, SimDisk, SimRng};
use hulse_model::batch::Message;
use hulse_shard::{AckLevel, Command, Handled, Reply, ShardConfig, StreamKey, SubscriptionStats};
use hulse_subscription::SubscriptionKind::{self, Failover, KeyShared, Shared};

use crate::crowd::account::Account;
use crate::crowd::client::Client;
use crate::crowd::faults::Faults;
use crate::rim::{PARTITION, Rim, Told, producer, spec};

/// The type of each subscription.
pub(super) const KINDS: [SubscriptionKind; 3] = [Failover, Shared, KeyShared];

/// What a run may meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) ack: AckLevel,
    /// Power is lost, not only the process.
    pub(super) power: bool,
    /// Connections take little. Otherwise some consumers of the Shared subscription can always take
    /// something.
    pub(super) narrow: bool,
    /// Batches are so large that the limits of unacknowledged messages are met.
    pub(super) heavy: bool,
    pub(super) clients: usize,
    pub(super) steps: u32,
}

/// How much of everything has happened.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Story {
    pub(super) stored: u64,
    pub(super) deliveries: u64,
    pub(super) again: u64,
    pub(super) receipts: u64,
    pub(super) changes: u64,
    pub(super) starts: u64,
    /// Why subscriptions stood still whenever somebody looked, one number for each of [`REASONS`].
    pub(super) reasons: [u64; REASONS.len()],
}

/// Reasons why a subscription stands still, as the shard words them.
pub(super) const REASONS: [&str; 9] = [
    "no consumer is attached",
    "has no permits left",
    "takes no more for now",
    "more when fewer than half as many as one consumer",
    "more when fewer than half as many as those of one subscription",
    "and its key goes to",
    "another consumer becomes the active one",
    "everything is delivered",
    "everything is acknowledged",
];

pub(super) struct World {
    pub(super) rng: SimRng,
    pub(super) rim: Rim,
    pub(super) account: Account,
    pub(super) faults: Faults,
    pub(super) weather: Weather,
    config: ShardConfig,
    term: u64,
    clients: Vec<Client>,
    next_connection: u64,
    /// Connections that the clients have, and how many streams were opened on each.
    connections: BTreeMap<u64, u32>,
    /// Connections that take nothing.
    dammed: BTreeSet<u64>,
    /// Connections that are gone, of which the broker has not heard.
    dead: Vec<u64>,
    producing: Option<(StreamKey, u64)>,
    batches: u64,
    /// The producer may not be heard before it is told so.
    held: bool,
    story: Story,
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather, faults: Faults) -> Self {
        let mut rng = SimRng::new(seed);
        let mut config = crate::rim::config();
        if weather.narrow {
            config.connection_output_bytes_max = 1024 << rng.below(4);
            config.core_output_bytes_max = 256 * 1024;
            config.unsynced_bytes_max = 16 * 1024;
        }
        let mut rim = Rim::empty(SimDisk::new(), config.clone());
        rim.open(spec(PARTITION, 1, weather.ack)).unwrap();
        let client = |number: usize| {
            // Some of the shared subscription are always ready, and a third of all come second.
            let place = number / KINDS.len();
            let shared = KINDS[number % KINDS.len()] == Shared;
            let always_ready = !weather.narrow && shared && place < 4;
            let priority = u8::from(!always_ready && place.is_multiple_of(3));
            Client::new(number, priority, always_ready)
        };
        let mut world = Self {
            rng,
            rim,
            account: Account::new(&KINDS),
            faults,
            weather,
            config,
            term: 1,
            clients: (0..weather.clients).map(client).collect(),
            next_connection: 1,
            connections: BTreeMap::new(),
            dammed: BTreeSet::new(),
            dead: Vec::new(),
            producing: None,
            batches: 0,
            held: false,
            story: Story::default(),
        };
        world.open();
        world
    }

    /// Runs to the end of the story, and checks that everything is through in the end.
    pub(super) fn run(mut self) -> Story {
        for _ in 0..self.weather.steps {
            self.step();
            self.hear();
            match self.rng.below(120) {
                0..2 => self.come_to_rest(),
                2..12 => self.glance(),
                _ => {}
            }
        }
        self.come_to_rest();
        self.finish();
        self.story.deliveries = self.account.deliveries;
        self.story.again = self.account.again;
        self.story.receipts = self.account.receipts;
        self.story
    }

    /// Lets those come that are always ready, before anybody is given anything.
    fn open(&mut self) {
        self.each_client(|client, world| {
            if client.always_ready {
                client.come(world);
            }
        });
        self.come_to_rest();
    }

    fn each_client(&mut self, mut each: impl FnMut(&mut Client, &mut Self)) {
        for at in 0..self.clients.len() {
            self.one_client(at, &mut each);
        }
    }

    fn one_client(&mut self, at: usize, each: &mut impl FnMut(&mut Client, &mut Self)) {
        let absent = Client::new(at, 0, false);
        let mut client = std::mem::replace(&mut self.clients[at], absent);
        each(&mut client, self);
        self.clients[at] = client;
        self.hear();
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..58 => {
                let at = self.rng.index(self.clients.len());
                self.one_client(at, &mut |client, world| client.act(world));
                self.bury();
            }
            58..63 => self.produce(),
            63..78 => self.finish_one(),
            78..86 => self.drain_some(),
            86..89 => {
                let ms = self.rng.below(400);
                self.rim.pass(ms);
            }
            89..91 if !self.dead.is_empty() => {
                let at = self.rng.index(self.dead.len());
                let connection = self.dead.swap_remove(at);
                self.disconnect(connection);
            }
            91..93 if !self.dammed.is_empty() => {
                let at = self.rng.index(self.dammed.len());
                let connection = *self.dammed.iter().nth(at).expect("there are so many");
                self.dammed.remove(&connection);
            }
            93 if self.rng.once_in(5) => self.restart(),
            _ => self.rim.end_round(),
        }
    }

    /// A stream on a new connection, or on one that others have too.
    pub(super) fn new_stream(&mut self, alone: bool) -> StreamKey {
        let known = self.connections.len();
        let shared = !alone && known > 0 && self.rng.once_in(5);
        let connection = if shared {
            let at = self.rng.index(known);
            *self.connections.keys().nth(at).expect("there are so many")
        } else {
            self.next_connection += 1;
            self.next_connection
        };
        if alone {
            return StreamKey {
                connection,
                stream: 1,
            };
        }
        let streams = self.connections.entry(connection).or_default();
        *streams += 1;
        StreamKey {
            connection,
            stream: *streams,
        }
    }

    /// The connection takes nothing for a while.
    pub(super) fn dam(&mut self, connection: u64) {
        self.dammed.insert(connection);
    }

    pub(super) fn close(&mut self, stream: StreamKey) {
        self.account.gone(stream);
        self.rim.ask(stream, Command::Close);
    }

    /// The connection is gone. The broker hears of it at once, or later.
    pub(super) fn vanish(&mut self, connection: u64) {
        if self.connections.remove(&connection).is_some() {
            self.dammed.insert(connection);
            self.dead.push(connection);
        }
    }

    /// Tells the clients of connections that are gone, and perhaps the broker.
    fn bury(&mut self) {
        for client in &mut self.clients {
            let connection = client.stream().map(|stream| stream.connection);
            if connection.is_some_and(|it| self.dead.contains(&it)) {
                client.is_gone();
            }
        }
        if self.rng.once_in(2)
            && let Some(connection) = self.dead.pop()
        {
            self.disconnect(connection);
        }
    }

    fn disconnect(&mut self, connection: u64) {
        self.dammed.remove(&connection);
        let of = |it: &&StreamKey| it.connection == connection;
        let all = self.account.subscriptions.iter();
        let all = all.flat_map(|it| it.sessions.keys().filter(of).copied());
        for stream in all.collect::<Vec<_>>() {
            self.account.gone(stream);
        }
        if self.faults.no_disconnect(connection) {
            self.rim.told.retain(|(to, _)| to.connection != connection);
        } else {
            self.rim.disconnect(connection);
        }
    }

    fn produce(&mut self) {
        if self.held {
            return;
        }
        let (stream, mut sequence) = match self.producing {
            Some(producing) => producing,
            None => {
                self.next_connection += 1;
                let connection = self.next_connection;
                let stream = StreamKey {
                    connection,
                    stream: 1,
                };
                let name = format!("p-{}-{connection}", self.term);
                self.rim.ask_on(stream, producer(&name, None));
                (stream, 0)
            }
        };
        for _ in 0..1 + self.rng.below(5) {
            let (messages, payload) = self.batch();
            let handled = self.rim.produce(stream, sequence, messages, &payload);
            if handled == Handled::Held {
                self.held = true;
                self.rim.end_round();
                break;
            }
            self.account.produced(stream, payload);
            self.batches += 1;
            sequence += u64::from(messages);
        }
        self.producing = Some((stream, sequence));
    }

    fn batch(&mut self) -> (u32, Vec<u8>) {
        let rng = &mut self.rng;
        let key = format!("k{}", rng.below(20));
        let key = (!rng.once_in(5)).then_some(key.as_bytes());
        let messages = match rng.below(3) {
            0 => 1,
            _ => 1 + rng.below(8),
        };
        let mut payload = Vec::new();
        for message in 0..messages {
            let mut value = format!("{}.{message}", self.batches).into_bytes();
            value.resize(value.len() + rng.index(60), b'.');
            let value = &value;
            Message { key, value }.encode(&mut payload).unwrap();
        }
        // The broker looks at the first message alone.
        let huge = self.weather.narrow && rng.once_in(if self.weather.heavy { 3 } else { 30 });
        let messages = if huge { 20_000 } else { messages };
        (u32::try_from(messages).unwrap(), payload)
    }

    fn finish_one(&mut self) {
        if !self.rim.pending.is_empty() {
            let at = self.rng.index(self.rim.pending.len());
            self.rim.finish(at);
        }
    }

    fn drain_some(&mut self) {
        let takes = |(connection, _): &(&u64, &usize)| !self.dammed.contains(connection);
        let queued: Vec<u64> = self
            .rim
            .queued
            .iter()
            .filter(takes)
            .map(|it| *it.0)
            .collect();
        if !queued.is_empty() {
            let id = queued[self.rng.index(queued.len())];
            let bytes = self.rng.index(self.rim.queued[&id] + 1);
            self.drain(id, bytes);
        }
    }

    fn drain(&mut self, connection: u64, bytes: usize) {
        if let Some(queued) = self.rim.queued.get_mut(&connection) {
            *queued -= bytes;
        }
        if !self.faults.no_sent(connection) {
            self.rim
                .act(|shard, _, fx| shard.sent(connection, bytes, fx));
        }
        self.hear();
    }

    /// Everybody hears what was said.
    fn hear(&mut self) {
        while !self.rim.told.is_empty() {
            for (to, told) in std::mem::take(&mut self.rim.told) {
                match &told {
                    Told::Receipt(receipt) => {
                        self.account.stored(to, receipt);
                        self.story.stored += 1;
                    }
                    Told::Reply(id, reply) => {
                        self.account.told(to, *id, reply);
                        self.story.changes += u64::from(matches!(reply, Reply::Active(true)));
                        if let Reply::Active(false) = reply {
                            let of = |it: &&mut Client| it.attached() == Some(to);
                            if let Some(client) = self.clients.iter_mut().find(of) {
                                client.ends_turn();
                            }
                        }
                        if let Reply::Subscribed { .. } = reply {
                            self.clients.iter_mut().for_each(|it| it.is_told(to));
                        }
                    }
                    Told::Deliver(delivered) => {
                        let all = self.account.others(to);
                        let to = self.faults.instead(to, all);
                        self.account.delivered(to, delivered);
                        let of = |it: &&mut Client| it.attached() == Some(to);
                        if let Some(client) = self.clients.iter_mut().find(of) {
                            client.is_sent(delivered);
                        }
                    }
                }
            }
            // What goes to those that are always ready leaves at once.
            let ready = self.clients.iter().filter(|it| it.always_ready);
            let ready: Vec<_> = ready.filter_map(Client::stream).collect();
            for stream in ready {
                let queued = self.rim.queued.get(&stream.connection).copied();
                if let Some(bytes) = queued.filter(|bytes| *bytes > 0) {
                    self.drain(stream.connection, bytes);
                }
            }
        }
        self.held &= self.rim.resumed.is_empty();
        self.rim.resumed.clear();
    }

    /// The process ends at this moment, perhaps with the machine, and starts again.
    fn restart(&mut self) {
        self.faults.note_disk(&self.rim.disk);
        let power = self.weather.power && self.rng.once_in(2);
        let keep = match self.rng.below(3) {
            0 => Keep::Nothing,
            1 => Keep::All,
            _ => Keep::Random(self.rng.next_u64()),
        };
        let disk = if power {
            self.rim.disk.crashed(keep)
        } else {
            self.rim.disk.fork()
        };
        let disk = self.faults.old_disk().unwrap_or(disk);
        let clock = self.rim.clock;
        hulse_log::remove_leftovers(&disk).unwrap();
        self.rim = Rim::empty(disk, self.config.clone());
        self.rim.clock = clock;
        self.term += 1;
        self.rim
            .open(spec(PARTITION, self.term, self.weather.ack))
            .unwrap();
        self.account.restarted();
        self.clients.iter_mut().for_each(Client::is_gone);
        self.clients.iter_mut().for_each(Client::forgets);
        self.connections.clear();
        self.dammed.clear();
        self.dead.clear();
        (self.producing, self.held) = (None, false);
        self.story.starts += 1;
        self.open();
    }

    /// Lets everything that is under way come to its end, except what stalls, and checks what has to
    /// be true then.
    fn come_to_rest(&mut self) {
        let mut idle = 0;
        let mut turns = 0;
        while idle < 14 {
            idle += 1;
            turns += 1;
            assert!(turns < 10_000, "it does not come to rest");
            self.rim.end_round();
            while !self.rim.pending.is_empty() {
                self.finish_one();
                idle = 0;
            }
            self.hear();
            for (connection, bytes) in self.rim.queued.clone() {
                if bytes > 0 && !self.dammed.contains(&connection) {
                    self.drain(connection, bytes);
                    idle = 0;
                }
            }
            self.rim.pass(100);
            self.hear();
            if !self.rim.pending.is_empty() {
                idle = 0;
            }
        }
        self.check_rest();
    }

    fn check_rest(&mut self) {
        let queued = &self.rim.queued;
        let all: usize = queued.values().sum();
        let core_is_open = all < self.config.core_output_bytes_max / 4 * 3;
        let is_open =
            |connection| core_is_open && queued.get(&connection).is_none_or(|it| *it == 0);
        let stats = self.rim.shard.describe(PARTITION).unwrap();
        for it in &stats.subscriptions {
            let account = &mut self.account.subscriptions[number(it)];
            let end = stats.high_watermark.0;
            account.check_mark(it, end);
            account.check_nothing_waits(end, is_open);
            if !self.faults.any() {
                account.check_rest(it, end);
            }
            self.story.note(it);
        }
    }

    /// Somebody looks, at any moment.
    fn glance(&mut self) {
        let stats = self.rim.shard.describe(PARTITION).unwrap();
        for it in &stats.subscriptions {
            let account = &self.account.subscriptions[number(it)];
            if !self.faults.any() {
                account.check_glance(it, stats.high_watermark.0);
            }
            self.story.note(it);
        }
    }

    /// All stall no more, and acknowledge what they get: then everything is given out and
    /// acknowledged, in a number of rounds that the log's length bounds.
    fn finish(&mut self) {
        for connection in std::mem::take(&mut self.dead) {
            self.disconnect(connection);
        }
        self.dammed.clear();
        self.hear();
        self.each_client(|client, world| client.come(world));
        self.come_to_rest();
        let end = self.rim.shard.describe(PARTITION).unwrap().high_watermark.0;
        for _ in 0..end + 10 {
            self.each_client(Client::work);
            self.come_to_rest();
            let stats = self.rim.shard.describe(PARTITION).unwrap();
            let through = |it| self.account.subscriptions[number(it)].is_through(it, end);
            let through = stats.subscriptions.iter().all(through);
            if through && stats.subscriptions.len() == KINDS.len() {
                return;
            }
        }
        let stats = self.rim.shard.describe(PARTITION).unwrap();
        panic!(
            "something of {end} entries is never acknowledged: {:?}",
            stats.subscriptions
        );
    }
}

impl Story {
    fn note(&mut self, stats: &SubscriptionStats) {
        let reason = stats.blocked.as_ref().map_or("", |blocked| &*blocked.text);
        for (count, known) in self.reasons.iter_mut().zip(REASONS) {
            *count += u64::from(reason.contains(known));
        }
    }
}

/// Which subscription it is.
fn number(stats: &SubscriptionStats) -> usize {
    stats.name.trim_start_matches('s').parse().unwrap()
}
