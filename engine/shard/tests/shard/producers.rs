//! Producers that retry until they are told that all is stored.

use std::collections::VecDeque;

use hulse_shard::{Reply, StreamKey};

use crate::checker::{Batch, Checker};
use crate::requests::Request;
use crate::world::World;

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum State {
    #[default]
    Away,
    Opening(StreamKey),
    Open(StreamKey),
    /// A batch was refused: the stream is given up.
    Broken(StreamKey),
}

/// A producer with a name of its own.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    number: usize,
    state: State,
    epoch: Option<u64>,
    /// Its last opening left the epoch to the broker.
    chosen: bool,
    next: u64,
    /// Batches without a receipt, in order.
    unstored: VecDeque<Batch>,
    /// How many of them were sent on the present stream.
    sent: usize,
    /// Batches below the first may have been lost with the power.
    skips: bool,
    makes_no_more: bool,
}

impl Producer {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    pub(crate) fn act(&mut self, world: &mut World) {
        match self.state {
            State::Away => self.open(world),
            State::Opening(stream) => {
                // Its first batch runs ahead of the answer.
                if self.sent == 0 && world.rng.once_in(2) {
                    self.produce(world, stream);
                }
            }
            State::Open(_) if world.rng.once_in(40) => self.open(world),
            State::Open(stream) if world.rng.once_in(60) => {
                world.send(stream, Request::Close);
                self.state = State::Away;
            }
            State::Open(stream) => {
                for _ in 0..1 + world.rng.below(4) {
                    self.produce(world, stream);
                }
            }
            State::Broken(stream) => {
                if world.rng.once_in(2) {
                    world.send(stream, Request::Close);
                }
                self.open(world);
            }
        }
    }

    /// Opens its name, and leaves what it has open to itself.
    fn open(&mut self, world: &mut World) {
        let stream = world.new_stream();
        let epoch = self.epoch.filter(|_| world.rng.once_in(2));
        let name = format!("p-{}", self.number);
        world.send(stream, Request::Open { name, epoch });
        self.chosen = epoch.is_none();
        self.state = State::Opening(stream);
        self.sent = 0;
    }

    fn produce(&mut self, world: &mut World, stream: StreamKey) {
        if self.sent == self.unstored.len() && !self.makes_no_more {
            let batch = self.make(world);
            self.unstored.push_back(batch);
        }
        if let Some(batch) = self.unstored.get(self.sent).cloned() {
            let skipped = self.sent == 0 && self.skips;
            world.send(stream, Request::Produce { batch, skipped });
            self.sent += 1;
        }
    }

    fn make(&mut self, world: &mut World) -> Batch {
        let rng = &mut world.rng;
        let messages = 1 + u32::try_from(rng.below(4)).unwrap();
        let bytes = match rng.below(40) {
            0 => 40_000,
            1..4 => 5_000,
            _ => rng.index(400),
        };
        let mut payload = format!("{}:{}:", self.number, self.next).into_bytes();
        payload.resize(payload.len() + bytes, b'.');
        let batch = Batch {
            producer: self.number,
            sequence: self.next,
            messages,
            payload,
        };
        self.next += u64::from(messages);
        batch
    }

    /// The batch is stored.
    pub(crate) fn stored(&mut self, sequence: u64) {
        if let Some(at) = self
            .unstored
            .iter()
            .position(|batch| batch.sequence == sequence)
        {
            self.unstored.remove(at);
            self.sent -= usize::from(at < self.sent);
        }
    }

    /// A batch of the stream was refused.
    pub(crate) fn refused(&mut self, stream: StreamKey) {
        if self.stream() == Some(stream) {
            self.state = State::Broken(stream);
        }
    }

    pub(crate) fn answered(&mut self, checker: &mut Checker, stream: StreamKey, reply: &Reply) {
        if self.state != State::Opening(stream) {
            return;
        }
        match reply {
            Reply::ProducerOpened { epoch, last, .. } => {
                self.state = State::Open(stream);
                checker.opened(self.number, *epoch, self.chosen);
                self.epoch = Some(*epoch);
                self.skips &= last.is_some();
                let newest = checker.newest(self.number);
                assert!(
                    last.map(|last| last.0) >= newest,
                    "{last:?} is older than {newest:?}"
                );
            }
            Reply::Refused(_) => {
                self.state = State::Away;
                self.epoch = None;
            }
            _ => {}
        }
    }

    fn stream(&self) -> Option<StreamKey> {
        match self.state {
            State::Away => None,
            State::Opening(stream) | State::Open(stream) | State::Broken(stream) => Some(stream),
        }
    }

    pub(crate) fn disconnected(&mut self, connection: u64) {
        if self
            .stream()
            .is_some_and(|stream| stream.connection == connection)
        {
            self.state = State::Away;
        }
    }

    pub(crate) fn restarted(&mut self, lost: bool) {
        self.skips |= lost;
    }

    pub(crate) fn stops_making_more(&mut self) {
        self.makes_no_more = true;
    }

    /// Whether all that it has made is stored.
    pub(crate) fn is_content(&self) -> bool {
        self.unstored.is_empty()
    }
}
