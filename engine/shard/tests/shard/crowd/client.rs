//! Consumers that come, ask, acknowledge, stall and go, as it occurs to them.

use std::collections::BTreeMap;

use hulse_model::Offset;
use hulse_shard::{AckedMessages, Command, StartFrom, StreamKey};
use hulse_subscription::SubscriptionKind::Failover;

use crate::crowd::world::{KINDS, World};
use crate::rim::Delivered;

/// Permits of one that can always take something.
const PLENTY: u32 = 900_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Opening(StreamKey),
    Attached(StreamKey),
}

/// One consumer, through all of its comings and goings.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    pub(super) subscription: usize,
    priority: u8,
    /// It takes whatever it can be given, and acknowledges it.
    pub(super) always_ready: bool,
    state: State,
    /// What it was sent and has not acknowledged, perhaps long ago: the messages of each entry.
    has: BTreeMap<u64, u32>,
    /// Of a failover subscription: what it was sent in earlier turns, and not since.
    stale: BTreeMap<u64, u32>,
    /// Messages that it asked for and was not sent.
    awaited: i64,
}

impl Client {
    pub(super) fn new(number: usize, priority: u8, always_ready: bool) -> Self {
        Self {
            number,
            subscription: number % KINDS.len(),
            priority,
            always_ready,
            state: State::Away,
            has: BTreeMap::new(),
            stale: BTreeMap::new(),
            awaited: 0,
        }
    }

    /// Its stream, if it was told that it is attached.
    pub(super) fn attached(&self) -> Option<StreamKey> {
        match self.state {
            State::Attached(stream) => Some(stream),
            State::Away | State::Opening(_) => None,
        }
    }

    pub(super) fn stream(&self) -> Option<StreamKey> {
        match self.state {
            State::Attached(stream) | State::Opening(stream) => Some(stream),
            State::Away => None,
        }
    }

    pub(super) fn is_told(&mut self, stream: StreamKey) {
        if self.state == State::Opening(stream) {
            self.state = State::Attached(stream);
        }
    }

    pub(super) fn is_sent(&mut self, delivered: &Delivered) {
        let header = &delivered.header;
        self.stale.remove(&header.offset.0);
        self.has.insert(header.offset.0, header.messages);
        self.awaited -= i64::from(header.messages);
    }

    /// Another consumer is the active one, or it comes over another stream: what it has is old.
    pub(super) fn ends_turn(&mut self) {
        self.stale.append(&mut self.has);
    }

    /// The process has ended. Whoever is active first may acknowledge what it was sent before.
    pub(super) fn forgets(&mut self) {
        if KINDS[self.subscription] == Failover {
            self.has.clear();
            self.stale.clear();
        }
    }

    /// It is not attached any more, for whatever reason.
    pub(super) fn is_gone(&mut self) {
        self.state = State::Away;
    }

    pub(super) fn act(&mut self, world: &mut World) {
        let stream = match self.state {
            State::Away if world.rng.once_in(3) => return self.come(world),
            State::Away | State::Opening(_) => return,
            State::Attached(stream) => stream,
        };
        if self.always_ready {
            return self.acknowledge_all(world);
        }
        match world.rng.below(100) {
            0..25 => self.ask(world, stream),
            25..45 => {
                for _ in 0..1 + world.rng.below(8) {
                    self.acknowledge_entry(world, stream);
                }
            }
            45..58 => self.acknowledge_some(world, stream),
            58..64 if KINDS[self.subscription] == Failover => {
                self.acknowledge_up_to(world, stream);
            }
            58..64 => self.acknowledge_all(world),
            64..71 => self.ask_again(world, stream),
            71..76 => world.dam(stream.connection),
            76..80 => {
                self.state = State::Away;
                world.close(stream);
            }
            80..83 => world.vanish(stream.connection),
            _ => {}
        }
    }

    pub(super) fn come(&mut self, world: &mut World) {
        if self.state != State::Away {
            return;
        }
        let stream = world.new_stream(self.always_ready);
        let permits = match self.always_ready {
            true => PLENTY,
            false => u32::try_from(world.rng.below(20)).unwrap(),
        };
        if KINDS[self.subscription] == Failover {
            self.ends_turn();
        }
        if world.rng.once_in(2) {
            self.has.clear();
        }
        self.awaited = permits.into();
        self.state = State::Opening(stream);
        let name = format!("c{:03}", self.number);
        let account = &mut world.account;
        let claim = (name.clone(), self.priority);
        account.comes(self.subscription, stream, claim, permits, self.always_ready);
        let command = Command::Subscribe {
            subscription: format!("s{}", self.subscription).parse().unwrap(),
            kind: KINDS[self.subscription],
            start: StartFrom::Earliest,
            consumer: name,
            durable: true,
            priority: self.priority,
            member: None,
            permits,
        };
        world.rim.ask_on(stream, command);
    }

    fn ask(&mut self, world: &mut World, stream: StreamKey) {
        let more = match world.rng.below(10) {
            0..4 if world.weather.heavy => 100_000,
            0 => 30_000,
            1..4 => 50,
            _ => 1 + u32::try_from(world.rng.below(10)).unwrap(),
        };
        if self.awaited < 200_000 {
            self.give(world, stream, more);
        }
    }

    fn give(&mut self, world: &mut World, stream: StreamKey, more: u32) {
        self.awaited += i64::from(more);
        world.account.permits(stream, more);
        if !world.faults.no_permits(self.number) {
            world.rim.say(stream, Command::Permits(more));
        }
    }

    fn any(&self, world: &mut World) -> Option<(u64, u32)> {
        let at = (!self.has.is_empty()).then(|| world.rng.index(self.has.len()))?;
        let found = self.has.iter().nth(at)?;
        Some((*found.0, *found.1))
    }

    fn acknowledge_entry(&mut self, world: &mut World, stream: StreamKey) {
        if let Some((offset, _)) = self.any(world) {
            self.has.remove(&offset);
            self.acknowledge(world, stream, vec![(offset, 0, u32::MAX)]);
        }
    }

    /// Single messages of one entry.
    fn acknowledge_some(&mut self, world: &mut World, stream: StreamKey) {
        let Some((offset, messages)) = self.any(world) else {
            return;
        };
        let mut acked = Vec::new();
        for _ in 0..1 + world.rng.below(3) {
            let first = u32::try_from(world.rng.below(messages.into())).unwrap();
            let more = u32::try_from(world.rng.below((messages - first).into())).unwrap();
            let last = if world.rng.once_in(2) {
                first
            } else {
                first + more
            };
            acked.push((offset, first, last));
        }
        self.acknowledge(world, stream, acked);
    }

    fn acknowledge(&self, world: &mut World, to: StreamKey, acked: Vec<(u64, u32, u32)>) {
        let one = |(offset, first, last): &(u64, u32, u32)| AckedMessages {
            offset: Offset(*offset),
            first: *first,
            last: *last,
        };
        let messages: Vec<_> = acked.iter().map(one).collect();
        let receipt = world.rng.once_in(2);
        let told = !world.faults.no_acknowledgements(self.number);
        let command = Command::AckIndividual {
            messages: &messages,
            receipt,
        };
        let request = told.then(|| match receipt {
            true => world.rim.ask(to, command),
            false => {
                world.rim.say(to, command);
                0
            }
        });
        world
            .account
            .acknowledged(to, acked, request.filter(|id| *id > 0));
    }

    /// Everything up to a message that it was sent in an earlier turn.
    fn acknowledge_late(&mut self, world: &mut World, stream: StreamKey, offset: u64) {
        let messages = self.stale.remove(&offset).expect("it had it");
        let up_to = AckedMessages {
            offset: Offset(offset),
            first: 0,
            last: messages - 1,
        };
        let receipt = true;
        let command = match world.rng.once_in(2) {
            true => Command::AckCumulative { up_to, receipt },
            false => Command::AckIndividual {
                messages: &[up_to],
                receipt,
            },
        };
        let id = world.rim.ask(stream, command);
        world.account.acknowledged_late(stream, id);
    }

    fn acknowledge_up_to(&mut self, world: &mut World, stream: StreamKey) {
        if let Some((&offset, _)) = self.stale.last_key_value()
            && world.rng.once_in(2)
        {
            return self.acknowledge_late(world, stream, offset);
        }
        let Some((offset, messages)) = self.any(world) else {
            return;
        };
        let last = match world.rng.below(3) {
            0 => u32::try_from(world.rng.below(messages.into())).unwrap(),
            _ => messages - 1,
        };
        self.has.retain(|other, _| *other >= offset);
        let up_to = AckedMessages {
            offset: Offset(offset),
            first: 0,
            last,
        };
        let receipt = true;
        let id = world
            .rim
            .ask(stream, Command::AckCumulative { up_to, receipt });
        world
            .account
            .acknowledged_up_to(stream, (offset, last), Some(id));
    }

    fn acknowledge_all(&mut self, world: &mut World) {
        if let Some(stream) = self.attached()
            && !self.has.is_empty()
        {
            let has = std::mem::take(&mut self.has).into_keys();
            let acked = has.map(|offset| (offset, 0, u32::MAX)).collect();
            self.acknowledge(world, stream, acked);
        }
    }

    fn ask_again(&mut self, world: &mut World, stream: StreamKey) {
        let mut entries = Vec::new();
        if !world.rng.once_in(4) {
            for _ in 0..1 + world.rng.below(4) {
                // Others may have it, or nobody.
                entries.extend(self.any(world).map(|(offset, _)| offset));
                entries.push(world.rng.below(400));
            }
        }
        world.account.asks_again(stream, &entries);
        if KINDS[self.subscription] == Failover {
            // It gives up all that it has, and may be replaced at once.
            self.has.clear();
        }
        let entries: Vec<_> = entries.into_iter().map(Offset).collect();
        world
            .rim
            .say(stream, Command::Redeliver { entries: &entries });
    }

    /// Does what one does that works as it should.
    pub(super) fn work(&mut self, world: &mut World) {
        self.acknowledge_all(world);
        if let Some(stream) = self.attached()
            && let Ok(more @ 1..) = u32::try_from(100 - self.awaited)
        {
            self.give(world, stream, more);
        }
    }
}
