//! Consumers that acknowledge this and that.

use std::collections::BTreeMap;

use hulse_model::{Offset, Position, Status};
use hulse_shard::{Reply, SeekTo, StreamKey};

use crate::checker::Checker;
use crate::requests::Request;
use crate::rim::Delivered;
use crate::world::World;

#[derive(Debug, Default)]
enum State {
    #[default]
    Away,
    Opening(StreamKey),
    Attached(StreamKey),
}

/// A consumer of one subscription, for which others may compete.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    subscription: usize,
    state: State,
    /// Messages that it may still be sent.
    permits: i64,
    /// The entry that is next, or something behind it.
    expected: u64,
    /// Its subscription was set to this place since it asked to be attached.
    set_to: Option<Position>,
    /// What it was sent and has not acknowledged: the messages of each entry.
    received: BTreeMap<u64, u32>,
}

impl Consumer {
    pub(crate) fn new(subscription: usize) -> Self {
        Self {
            subscription,
            ..Self::default()
        }
    }

    pub(crate) fn act(&mut self, world: &mut World) {
        match self.state {
            State::Away => self.subscribe(world, 20),
            State::Opening(_) => {}
            State::Attached(stream) => match world.rng.below(100) {
                0..35 => {
                    let more = 1 + u32::try_from(world.rng.below(30)).unwrap();
                    self.permits += i64::from(more);
                    world.send(stream, Request::Permits(more));
                }
                35..60 => self.acknowledge_cumulative(world, stream),
                60..90 => self.acknowledge_individually(world, stream),
                90..92 => self.seek(world, stream, false),
                92 => {
                    let admin = world.new_stream();
                    let admin = StreamKey { stream: 0, ..admin };
                    self.seek(world, admin, true);
                }
                93..96 => {
                    world.send(stream, Request::Close);
                    self.state = State::Away;
                }
                _ => {}
            },
        }
    }

    fn subscribe(&mut self, world: &mut World, permits_max: u64) {
        let stream = world.new_stream();
        let permits = u32::try_from(world.rng.below(permits_max)).unwrap();
        let latest = self.subscription == 1 && world.rng.once_in(2);
        self.permits = permits.into();
        self.received.clear();
        self.set_to = None;
        self.state = State::Opening(stream);
        let subscription = self.subscription;
        world.send(
            stream,
            Request::Subscribe {
                subscription,
                permits,
                latest,
            },
        );
    }

    fn acknowledge_cumulative(&mut self, world: &mut World, stream: StreamKey) {
        let Some((offset, messages)) = self.any(world) else {
            return;
        };
        let last = match world.rng.below(4) {
            0 => u32::try_from(world.rng.below(messages.into())).unwrap(),
            _ => messages - 1,
        };
        self.received
            .retain(|known, _| *known > offset || (*known == offset && last + 1 < messages));
        let (subscription, receipt) = (self.subscription, world.rng.once_in(2));
        let request = Request::Cumulative {
            subscription,
            offset,
            last,
            receipt,
        };
        world.send(stream, request);
    }

    fn acknowledge_individually(&mut self, world: &mut World, stream: StreamKey) {
        let mut messages = Vec::new();
        for _ in 0..1 + world.rng.below(3) {
            let Some((offset, count)) = self.any(world) else {
                break;
            };
            if world.rng.once_in(3) {
                messages.push((
                    offset,
                    u32::try_from(world.rng.below(count.into())).unwrap(),
                ));
            } else {
                messages.extend((0..count).map(|index| (offset, index)));
                self.received.remove(&offset);
            }
        }
        if messages.is_empty() {
            return;
        }
        let (subscription, receipt) = (self.subscription, !world.rng.once_in(3));
        let request = Request::Individual {
            subscription,
            messages,
            receipt,
        };
        world.send(stream, request);
    }

    fn any(&self, world: &mut World) -> Option<(u64, u32)> {
        if self.received.is_empty() {
            return None;
        }
        let at = world.rng.index(self.received.len());
        self.received
            .iter()
            .nth(at)
            .map(|(offset, messages)| (*offset, *messages))
    }

    fn seek(&mut self, world: &mut World, stream: StreamKey, by_name: bool) {
        let to = match world.rng.below(4) {
            0 => SeekTo::Earliest,
            1 => SeekTo::Latest,
            2 => SeekTo::Time(world.rim.clock.wall_ms - world.rng.below(60_000)),
            _ => SeekTo::Position(Position {
                offset: Offset(world.rng.below(200)),
                index: u32::try_from(world.rng.below(6)).unwrap(),
            }),
        };
        let request = Request::Seek {
            subscription: self.subscription,
            to,
            by_name,
        };
        world.send(stream, request);
    }

    pub(crate) fn stream(&self) -> Option<StreamKey> {
        match self.state {
            State::Attached(stream) => Some(stream),
            State::Away | State::Opening(_) => None,
        }
    }

    pub(crate) fn delivered(&mut self, checker: &mut Checker, delivered: &Delivered) {
        let new = checker.delivered(self.subscription, self.expected, delivered);
        let offset = delivered.header.offset.0;
        self.expected = offset + 1;
        self.permits -= i64::from(new);
        self.received.insert(offset, delivered.header.messages);
    }

    pub(crate) fn answered(&mut self, checker: &mut Checker, stream: StreamKey, reply: &Reply) {
        let State::Opening(opening) = self.state else {
            return;
        };
        if opening != stream {
            return;
        }
        match reply {
            Reply::Subscribed {
                mark,
                created,
                high_watermark,
                ..
            } => {
                assert!(
                    *mark <= Position::at(*high_watermark),
                    "a mark beyond the end"
                );
                let place = self.set_to.take();
                match place {
                    Some(_) => checker.subscribed_and_set(self.subscription),
                    None => checker.subscribed(self.subscription, *mark, *created),
                }
                self.expected = place.unwrap_or(*mark).offset.0;
                self.state = State::Attached(stream);
            }
            Reply::Refused(refusal) => {
                let busy = [
                    Status::ConsumerBusy,
                    Status::DiskFull,
                    // The partition is changing its core, or the broker was stopped while the
                    // request waited for its turn.
                    Status::NotReady,
                    // The request waited while the partition changed its core.
                    Status::NotPrimary,
                    Status::OverLimit,
                    Status::StorageFailed,
                ];
                assert!(busy.contains(&refusal.status), "{refusal:?}");
                self.state = State::Away;
            }
            _ => {}
        }
    }

    /// The subscription was set to another place.
    pub(crate) fn sought(&mut self, subscription: usize, position: Position) {
        if self.subscription == subscription {
            self.expected = position.offset.0;
            self.set_to = Some(position);
            self.received.clear();
        }
    }

    pub(crate) fn disconnected(&mut self, connection: u64) {
        if let State::Attached(stream) | State::Opening(stream) = self.state
            && stream.connection == connection
        {
            self.state = State::Away;
        }
    }

    /// Everything below `end` was delivered, or there are no permits for it.
    pub(crate) fn check_rest(&self, checker: &Checker, end: u64) {
        if self.stream().is_some() && self.permits > 0 {
            assert!(
                checker.nothing_left(self.subscription, self.expected, end),
                "{self:?} has permits, and entries up to {end} were forgotten"
            );
        }
    }

    /// Reads with as many permits as it takes.
    pub(crate) fn read_on(&mut self, world: &mut World) {
        match self.state {
            State::Away => self.subscribe(world, 20),
            State::Opening(_) => {}
            State::Attached(stream) => {
                self.permits += 50;
                world.send(stream, Request::Permits(50));
            }
        }
    }

    /// The entry after the last that it was sent.
    pub(crate) fn reached(&self) -> u64 {
        self.expected
    }
}
