//! What clients ask: streams are opened, used, and closed.

use hulse_log::Disk;
use hulse_model::limits::CONNECTION_STREAMS_MAX;
use hulse_model::{PartitionId, Status};

use crate::command::{Clock, Command, Handled, StreamKey};
use crate::consume::Subscribing;
use crate::effect::{Effect, Refusal, Reply};
use crate::probes::{Claimant, Opening};
use crate::produce::{Batch, Producing};
use crate::shard::{RefusedBatch, Role, Shard, Stream};

impl<D: Disk> Shard<D> {
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
        if partition.is_frozen() {
            let text = "the partition is moving to another core; ask again";
            return Err(Refusal::new(Status::NotReady, text));
        }
        let opening = match command {
            Command::OpenProducer {
                name,
                epoch,
                access,
                access_epoch,
            } if opens => Opening::Producer(Producing {
                name,
                epoch,
                access,
                access_epoch,
            }),
            Command::Subscribe {
                subscription,
                kind,
                start,
                consumer,
                priority,
                member,
                permits,
                durable,
            } if opens => Opening::Consumer(Subscribing {
                subscription,
                kind,
                start,
                consumer,
                priority,
                member,
                permits,
                durable,
            }),
            Command::SeekSubscription {
                subscription,
                to: place,
            } => {
                partition.seek_named(clock, &subscription, place, to, correlation)?;
                self.touch(id);
                return Ok(());
            }
            Command::CreateSubscription { subscription, kind } => {
                partition.create_subscription(clock, &subscription, kind, to, correlation)?;
                self.touch(id);
                return Ok(());
            }
            Command::DeleteSubscription { subscription } => {
                partition.delete_subscription(clock, &subscription, to, correlation)?;
                self.touch(id);
                return Ok(());
            }
            _ => {
                return Err(Refusal::new(
                    Status::ProtocolViolation,
                    "the request needs an open stream, and the stream is not open",
                ));
            }
        };
        let claimant = Claimant {
            partition: id,
            to,
            correlation,
            opening,
        };
        self.claim(clock, claimant, true, fx)
    }

    /// Takes a request of an open stream.
    ///
    /// A refusal that no request waits for ends the stream, here as at the client. What comes for
    /// a stream that is not open, and asks for no answer, has crossed with its end and is dropped.
    pub fn handle(
        &mut self,
        clock: Clock,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) -> Handled {
        self.wall_ms = clock.wall_ms;
        let batch = match &command {
            Command::Produce {
                sequence, messages, ..
            } => Some((*sequence, *messages)),
            _ => None,
        };
        let outcome = match self.streams.get(&to).copied() {
            Some(stream) => self.handle_stream(clock, stream, to, correlation, command, fx),
            None if correlation == 0 && batch.is_none() => Ok(Handled::Done),
            None => {
                let text = format!("stream {} is not open", to.stream);
                Err(Refusal::new(Status::ProtocolViolation, text))
            }
        };
        if let Some((sequence, _)) = batch {
            self.note_refused(to, sequence, &outcome);
        }
        match outcome {
            Ok(handled) => handled,
            Err(mut refusal) => {
                refusal.batch = batch;
                if correlation == 0 {
                    self.close_stream(to);
                }
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
        stream: Stream,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<Handled, Refusal> {
        let id = stream.partition;
        if let Some(handled) = self.wait_for_move(stream, to, &command) {
            return Ok(handled);
        }
        if matches!(command, Command::Close) {
            self.close_stream(to);
            fx.push(Effect::Reply {
                to,
                correlation,
                reply: Reply::Closed,
            });
            return Ok(Handled::Done);
        }
        if matches!(command, Command::Produce { .. })
            && (self.holds_back(to.connection)? || self.throttles(id, to.connection, clock))
        {
            return Ok(Handled::Held);
        }
        let receipt = Some(correlation);
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
                    delayed,
                    payload,
                    payload_crc,
                },
                Role::Producer { opened, refused },
            ) => {
                let batch = Batch {
                    sequence,
                    messages,
                    skipped,
                    delayed,
                    payload,
                    payload_crc,
                };
                check_behind(refused, &batch)?;
                let stored = partition.counters.produced_entries;
                let handled = partition.produce(clock, opened, batch, to, correlation, fx);
                self.count_rates(id, (payload.len(), messages), stored, clock, fx);
                self.touch(id);
                self.count_unsynced(id);
                return handled;
            }
            (Command::Permits(more), Role::Consumer(seat)) => {
                partition.add_permits(seat, more)?;
                self.dispatch(id, Some(seat.subscription), fx);
            }
            (Command::Permits(more), Role::Claimant) => self.probes.add_permits(to, more),
            (Command::Redeliver { entries }, Role::Consumer(seat)) => {
                partition.redeliver(seat, entries)?;
                self.dispatch(id, Some(seat.subscription), fx);
            }
            (
                Command::AckCumulative {
                    up_to,
                    receipt: wanted,
                },
                Role::Consumer(seat),
            ) => {
                let receipt = receipt.filter(|_| wanted);
                partition.acknowledge_cumulative(clock, seat, up_to, to, receipt)?;
                self.touch(id);
            }
            (
                Command::AckIndividual {
                    messages,
                    receipt: wanted,
                },
                Role::Consumer(seat),
            ) => {
                let receipt = receipt.filter(|_| wanted);
                partition.acknowledge_individual(clock, seat, messages, to, receipt)?;
                self.touch(id);
            }
            (Command::Seek(place), Role::Consumer(seat)) => {
                partition.seek(clock, seat, place, to, correlation)?;
                self.touch(id);
            }
            (Command::GetLast, Role::Consumer(seat)) => {
                partition.tell_last(clock, seat, to, correlation)?;
                self.touch(id);
            }
            _ => {
                return Err(Refusal::new(
                    Status::ProtocolViolation,
                    "the request does not fit the stream: a producer cannot consume, nor a consumer produce",
                ));
            }
        }
        Ok(Handled::Done)
    }

    /// Remembers a batch that was refused, until it or one before it comes again, or its producer
    /// says that it has left it out.
    fn note_refused(&mut self, to: StreamKey, sequence: u64, outcome: &Result<Handled, Refusal>) {
        let role = self.streams.get_mut(&to).map(|stream| &mut stream.role);
        let Some(Role::Producer { refused, .. }) = role else {
            return;
        };
        match outcome {
            Ok(Handled::Held) => {}
            Ok(Handled::Done) => *refused = None,
            // This one was refused for the sake of another.
            Err(refusal) if refusal.status == Status::SequenceGap => {}
            Err(refusal) => {
                *refused = Some(RefusedBatch {
                    sequence,
                    retryable: refusal.status.retryable(),
                });
            }
        }
    }

    /// Whether a batch of the connection is held back for the sake of the whole core.
    fn holds_back(&mut self, connection: u64) -> Result<bool, Refusal> {
        if self.stopping {
            return Err(Refusal::new(Status::NotReady, "the broker is stopping"));
        }
        if self.unsynced_bytes < self.config.unsynced_bytes_max {
            return Ok(false);
        }
        if self.held.is_empty() {
            self.sync_everything_soon();
        }
        self.held.hold(connection);
        Ok(true)
    }

    /// The connection is gone: its producers and consumers leave, and what its consumers held goes
    /// to the others when the round ends, or to whoever comes next.
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
        self.probes.gone(connection);
        self.held.forget(connection);
        self.parked_held.forget(connection);
        self.throttle.forget(connection);
        if self.outlets.forget(connection) {
            // The others may be delivered to again, at the end of the round or with the next tick.
            for id in self.consumed_partitions() {
                self.touch(id);
            }
        }
    }

    /// The rim has told a stream that it has ended, because of something that the shard did not
    /// see: a request of it that could not be read.
    pub fn ended(&mut self, stream: StreamKey) {
        self.close_stream(stream);
    }

    /// Ends a stream whose client is not told anything more.
    fn close_stream(&mut self, key: StreamKey) {
        let Some(stream) = self.end_stream(key) else {
            return;
        };
        if let Some(partition) = self.partitions.get_mut(&stream.partition) {
            partition.receipts.forget(key);
            partition.sibling.forget(key);
            if let Role::Producer { .. } = stream.role {
                partition.held.forget(key.connection);
            }
        }
    }

    /// Ends a stream; the requests that it has not been answered yet still are.
    pub(super) fn end_stream(&mut self, key: StreamKey) -> Option<Stream> {
        let stream = self.streams.remove(&key)?;
        if let Some(partition) = self.partitions.get_mut(&stream.partition) {
            match stream.role {
                Role::Producer { opened, .. } => {
                    partition.close_producer(opened, key);
                    // Somebody may have waited to be alone.
                    self.touch(stream.partition);
                }
                Role::Waiting => partition.stop_waiting(key),
                Role::Consumer(seat) => {
                    partition.detach(seat);
                    // What it had goes to the others at the end of the round.
                    self.touch(stream.partition);
                }
                Role::Claimant => self.probes.forget(key),
            }
        }
        Some(stream)
    }
}

/// Refuses a batch that comes behind a refused one, unless its producer knows that and goes on
/// without it.
fn check_behind(refused: Option<RefusedBatch>, batch: &Batch<'_>) -> Result<(), Refusal> {
    let behind = |refused: &RefusedBatch| {
        batch.sequence > refused.sequence && (refused.retryable || !batch.skipped)
    };
    match refused.filter(behind) {
        None => Ok(()),
        Some(RefusedBatch { sequence, .. }) => Err(Refusal::new(
            Status::SequenceGap,
            format!(
                "the batch begins at sequence {}, and the one at {sequence} before it was refused",
                batch.sequence
            ),
        )),
    }
}
