//! What a client says on one connection, frame by frame.

use std::rc::Rc;

use hulse_model::limits::{CONNECTION_INFLIGHT_MAX, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use hulse_model::{Offset, PartitionId, ProducerName, Status, TopicName};
use hulse_shard::{AckedMessages, Command, Handled, Refusal, SeekTo, StartFrom, StreamKey};
use hulse_subscription::{Access, SubscriptionKind};
use hulse_wire::{
    Ack, AckKind, Admin, Frame, FrameError, Hello, OpenProducer, PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN, Reply, Request, Seek, Subscribe, SubscriptionRef, SubscriptionType,
    Welcome,
};

use crate::connection::{Connection, Phase};
use crate::core::{Core, add};
use crate::messages::{Ask, NewTopic, Question};

/// Questions of one connection to the control thread that may be unanswered at once.
const QUESTIONS_MAX: usize = 256;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// It was taken.
    Taken,
    /// It is to be offered again when the connection's reading task is woken.
    Held,
    /// The connection is to be closed, once what is queued has been sent.
    Closed,
}

/// The session of one connection. Owned by its reading task.
pub(crate) struct Session {
    core: Rc<Core>,
    connection: Rc<Connection>,
    /// Acknowledged messages of the frame at hand, kept for its memory.
    acked: Vec<AckedMessages>,
}

impl Session {
    pub(crate) fn new(core: Rc<Core>, connection: Rc<Connection>) -> Self {
        Self {
            core,
            connection,
            acked: Vec::new(),
        }
    }

    /// Takes a frame.
    pub(crate) fn take(&mut self, frame: &Frame<'_>) -> Outcome {
        let (stream, correlation) = (frame.stream, frame.correlation);
        let request = match Request::decode(frame) {
            Ok(request) => request,
            Err(error) if error.is_fatal() => return self.break_off(stream, correlation, &error),
            Err(error) => {
                let refusal = Refusal::new(error.status(), error.to_string());
                self.refuse(stream, correlation, &refusal);
                return Outcome::Taken;
            }
        };
        if self.connection.phase.get() == Phase::Greeting {
            return match request {
                Request::Hello(hello) => self.greet(correlation, &hello),
                _ => self.violation(stream, correlation, "the first frame must be HELLO"),
            };
        }
        let to = StreamKey {
            connection: self.connection.id,
            stream,
        };
        match request {
            Request::Hello(_) => {
                self.violation(stream, correlation, "HELLO comes once, at the beginning")
            }
            Request::Ping => self.reply(0, correlation, &Reply::Pong),
            Request::Lookup(lookup) => {
                let create_missing = lookup.create_missing;
                self.ask(
                    correlation,
                    Question::Locate {
                        topic: lookup.topic,
                        create_missing,
                    },
                )
            }
            Request::Admin(admin) => self.ask(correlation, question(admin)),
            Request::OpenProducer(open) => self.open_producer(to, correlation, open),
            Request::Subscribe(subscribe) => self.subscribe(to, correlation, subscribe),
            Request::Produce(produce) => {
                let command = Command::Produce {
                    sequence: produce.sequence,
                    messages: produce.messages,
                    skipped: produce.skipped,
                    delayed: produce.delayed,
                    payload: produce.payload,
                    payload_crc: frame.payload_crc,
                };
                self.handle(to, correlation, command)
            }
            Request::GetLast => self.handle(to, correlation, Command::GetLast),
            Request::Close => self.handle(to, correlation, Command::Close),
            Request::Permits(permits) => {
                self.handle(to, correlation, Command::Permits(permits.messages))
            }
            Request::Ack(ack) => self.acknowledge(to, correlation, &ack),
            Request::Redeliver(redeliver) => {
                let entries: Vec<Offset> = redeliver.entries.iter().collect();
                let entries = &entries[..];
                self.handle(to, correlation, Command::Redeliver { entries })
            }
            Request::Seek(seek) => self.seek(to, correlation, seek),
        }
    }

    /// Ends the connection over bytes that are no frame, or a frame that may not come.
    pub(crate) fn break_off(&self, stream: u32, correlation: u64, error: &FrameError) -> Outcome {
        add(&self.core.counters.frames_malformed, 1);
        tracing::debug!(peer = %self.connection.peer, %error, "a connection is closed over a frame");
        self.refuse(
            stream,
            correlation,
            &Refusal::new(error.status(), error.to_string()),
        );
        Outcome::Closed
    }

    fn violation(&self, stream: u32, correlation: u64, text: &str) -> Outcome {
        add(&self.core.counters.frames_malformed, 1);
        self.refuse(
            stream,
            correlation,
            &Refusal::new(Status::ProtocolViolation, text),
        );
        Outcome::Closed
    }

    fn greet(&self, correlation: u64, hello: &Hello<'_>) -> Outcome {
        let Some(version) = hello.common_version() else {
            let text = format!(
                "this broker speaks protocol versions {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}, \
                 the client {} to {}",
                hello.version_min, hello.version_max
            );
            self.refuse(
                0,
                correlation,
                &Refusal::new(Status::UnsupportedVersion, text),
            );
            return Outcome::Closed;
        };
        let beacons = hello.agreed_beacons();
        let (interval_ms, timeout_ms) = (beacons.interval_ms, beacons.timeout_ms);
        self.connection.phase.set(Phase::Open {
            interval_ms,
            timeout_ms,
        });
        self.connection.greeted.set(true);
        let mut shard = self.core.shard.borrow_mut();
        shard.greeted(self.connection.id, timeout_ms);
        drop(shard);
        let greeting = &self.core.counters.greeting;
        greeting.set(greeting.get() - 1);
        let fits = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let welcome = Welcome {
            version,
            broker: &self.core.broker,
            region: &self.core.region,
            beacons,
            message_bytes_max: fits(MESSAGE_BYTES_MAX),
            frame_bytes_max: fits(FRAME_BYTES_MAX),
            inflight_max: fits(CONNECTION_INFLIGHT_MAX),
        };
        self.reply(0, correlation, &Reply::Welcome(welcome))
    }

    fn open_producer(&self, to: StreamKey, correlation: u64, open: OpenProducer) -> Outcome {
        let Some(partition) = self.partition(to, correlation, open.topic, open.partition) else {
            return Outcome::Taken;
        };
        let name = open.name.unwrap_or_else(|| self.made_up_name(to));
        let command = Command::OpenProducer {
            name,
            epoch: open.epoch,
            access: match open.access {
                hulse_wire::Access::Shared => Access::Shared,
                hulse_wire::Access::Exclusive => Access::Exclusive,
                hulse_wire::Access::Wait => Access::Wait,
                hulse_wire::Access::Fencing => Access::Fencing,
            },
            access_epoch: open.access_epoch,
        };
        self.handle_on(partition, to, correlation, command)
    }

    /// A name for a producer that has none: no other producer has it, nor will have.
    fn made_up_name(&self, to: StreamKey) -> ProducerName {
        let random: u64 = rand::random();
        let text = format!(
            "{}-{}-{}-{random:016x}",
            self.core.index, to.connection, to.stream
        );
        text.parse().expect("digits and dashes make a name")
    }

    fn subscribe(&self, to: StreamKey, correlation: u64, subscribe: Subscribe<'_>) -> Outcome {
        let consumer = match subscribe.consumer {
            "" => self.connection.peer.to_string(),
            name => name.to_owned(),
        };
        let Some(partition) = self.partition(to, correlation, subscribe.topic, subscribe.partition)
        else {
            return Outcome::Taken;
        };
        let command = Command::Subscribe {
            subscription: subscribe.subscription,
            kind: match subscribe.kind {
                SubscriptionType::Exclusive => SubscriptionKind::Exclusive,
                SubscriptionType::Failover => SubscriptionKind::Failover,
                SubscriptionType::Shared => SubscriptionKind::Shared,
                SubscriptionType::KeyShared => SubscriptionKind::KeyShared,
            },
            start: match subscribe.start {
                hulse_wire::StartFrom::Earliest => StartFrom::Earliest,
                hulse_wire::StartFrom::Latest => StartFrom::Latest,
                hulse_wire::StartFrom::Position(position) => StartFrom::Position(position),
            },
            consumer,
            priority: subscribe.priority,
            member: (subscribe.member != 0).then_some(subscribe.member),
            permits: subscribe.permits,
            durable: subscribe.durable,
        };
        self.handle_on(partition, to, correlation, command)
    }

    fn acknowledge(&mut self, to: StreamKey, correlation: u64, ack: &Ack<'_>) -> Outcome {
        let mut acked = std::mem::take(&mut self.acked);
        acked.clear();
        acked.extend(ack.ranges.iter().map(|range| AckedMessages {
            offset: range.offset,
            first: range.first_index,
            last: range.last_index,
        }));
        let receipt = correlation != 0;
        let outcome = match (ack.kind, acked.first()) {
            (AckKind::Cumulative, Some(up_to)) => self.handle(
                to,
                correlation,
                Command::AckCumulative {
                    up_to: *up_to,
                    receipt,
                },
            ),
            _ => {
                let command = Command::AckIndividual {
                    messages: &acked,
                    receipt,
                };
                self.handle(to, correlation, command)
            }
        };
        self.acked = acked;
        outcome
    }

    fn seek(&self, to: StreamKey, correlation: u64, seek: Seek) -> Outcome {
        let place = match seek.to {
            hulse_wire::SeekTo::Earliest => SeekTo::Earliest,
            hulse_wire::SeekTo::Latest => SeekTo::Latest,
            hulse_wire::SeekTo::Position(position) => SeekTo::Position(position),
            hulse_wire::SeekTo::Time(ms) => SeekTo::Time(ms),
        };
        let Some(SubscriptionRef {
            topic,
            partition,
            subscription,
        }) = seek.subscription
        else {
            return self.handle(to, correlation, Command::Seek(place));
        };
        let Some(partition) = self.partition(to, correlation, topic, partition) else {
            return Outcome::Taken;
        };
        let command = Command::SeekSubscription {
            subscription,
            to: place,
        };
        self.handle_on(partition, to, correlation, command)
    }

    /// The partition of this core that a request names; otherwise the request is refused.
    fn partition(
        &self,
        to: StreamKey,
        correlation: u64,
        topic: TopicName,
        number: i32,
    ) -> Option<PartitionId> {
        let key = (topic, number);
        let known = self.core.names.borrow().get(&key).copied();
        if known.is_none() {
            let (topic, number) = key;
            let text = match number {
                -1 => format!("{topic} is not on this core; look it up"),
                _ => format!("partition {number} of {topic} is not on this core; look it up"),
            };
            self.refuse(
                to.stream,
                correlation,
                &Refusal::new(Status::NotPrimary, text),
            );
        }
        known
    }

    fn handle_on(
        &self,
        partition: PartitionId,
        to: StreamKey,
        correlation: u64,
        command: Command<'_>,
    ) -> Outcome {
        let clock = self.core.clocks.now();
        self.core.with_shard(|shard, fx| {
            shard.handle_on(clock, partition, to, correlation, command, fx);
        });
        Outcome::Taken
    }

    fn handle(&self, to: StreamKey, correlation: u64, command: Command<'_>) -> Outcome {
        let clock = self.core.clocks.now();
        let handled = self
            .core
            .with_shard(|shard, fx| shard.handle(clock, to, correlation, command, fx));
        match handled {
            Handled::Done => Outcome::Taken,
            Handled::Held => Outcome::Held,
        }
    }

    fn ask(&self, correlation: u64, question: Question) -> Outcome {
        if self.connection.asked.get() >= QUESTIONS_MAX {
            return Outcome::Held;
        }
        let ask = Ask {
            core: self.core.index,
            connection: self.connection.id,
            correlation,
            question,
        };
        match self.core.control.try_send(ask) {
            Ok(()) => self.connection.asked.set(self.connection.asked.get() + 1),
            Err(flume::TrySendError::Full(_)) => {
                let text = "the broker has too many look-ups and administrative requests under way";
                self.refuse(0, correlation, &Refusal::new(Status::OverLimit, text));
            }
            Err(flume::TrySendError::Disconnected(_)) => {
                let text = "the broker is stopping";
                self.refuse(0, correlation, &Refusal::new(Status::NotReady, text));
            }
        }
        Outcome::Taken
    }

    fn reply(&self, stream: u32, correlation: u64, reply: &Reply<'_>) -> Outcome {
        let bytes = self
            .connection
            .outbox
            .borrow_mut()
            .reply(stream, correlation, reply);
        self.queued(bytes);
        Outcome::Taken
    }

    fn refuse(&self, stream: u32, correlation: u64, refusal: &Refusal) {
        let to = StreamKey {
            connection: self.connection.id,
            stream,
        };
        let bytes = self
            .connection
            .outbox
            .borrow_mut()
            .refuse(to, correlation, refusal);
        self.queued(bytes);
    }

    fn queued(&self, bytes: usize) {
        self.core
            .shard
            .borrow_mut()
            .queued(self.connection.id, bytes);
        self.core.flush(Some(&self.connection));
    }
}

/// An administrative request, in a form that owns what it needs.
fn question(admin: Admin<'_>) -> Question {
    match admin {
        Admin::CreateTopic(create) => Question::CreateTopic(NewTopic {
            topic: create.topic,
            partitions: create.partitions,
            replicas: create.replicas,
            regions: create.regions.into_iter().map(str::to_owned).collect(),
            ack: create.ack,
            min_isr: create.min_isr,
        }),
        Admin::ListTopics => Question::ListTopics,
        Admin::DescribeTopic { topic } => Question::DescribeTopic { topic },
        Admin::GrowTopic { topic, partitions } => Question::GrowTopic { topic, partitions },
        Admin::DeleteTopic { topic } => Question::DeleteTopic { topic },
        Admin::Status => Question::Status,
        Admin::ListSubscriptions { topic } => Question::ListSubscriptions { topic },
        Admin::MoveGroup { group, core } => Question::MoveGroup {
            group,
            core: usize::try_from(core).unwrap_or(usize::MAX),
        },
        Admin::DeleteSubscription {
            topic,
            subscription,
        } => Question::DeleteSubscription {
            topic,
            subscription,
        },
        Admin::Tenancy(tenancy) => Question::Tenancy(tenancy),
    }
}
