//! Consumers: attaching to a subscription, being delivered to, leaving.

use std::collections::BTreeMap;

use hulse_log::{Disk, ReadCursor, ReadError, is_out_of_files};
use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_model::{Offset, Position, Status, SubscriptionName};
use hulse_subscription::{Blocked, ConsumerId, Dispatcher, Subscription, SubscriptionKind};

use crate::command::{Clock, SeekTo, StartFrom, StreamKey};
use crate::effect::{Effect, Refusal, Reply};
use crate::outlets::Outlets;
use crate::partition::{Partition, unopened};
use crate::sibling::Answer;
use crate::stats::{ConsumerStats, SubscriptionStats};

/// What a consumer asks for when it attaches.
#[derive(Debug)]
pub(crate) struct Subscribing {
    pub(crate) subscription: SubscriptionName,
    pub(crate) kind: SubscriptionKind,
    pub(crate) start: StartFrom,
    pub(crate) consumer: String,
    pub(crate) permits: u32,
}

/// A consumer that is attached to a subscription.
#[derive(Debug)]
struct Attached {
    stream: StreamKey,
    name: String,
}

/// A subscription that has, or has had, a consumer in the life of this process.
#[derive(Debug)]
struct Served {
    dispatcher: Dispatcher,
    /// Where in the log the next entry is read, so that reading on needs no search.
    reader: Option<ReadCursor>,
    warming: Warming,
    attached: Option<Attached>,
}

/// Whether what is read next is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warming {
    /// It is, or has not been looked at.
    No,
    /// A helper brings it there.
    UnderWay,
    /// A helper has brought it there: it is read now, whatever became of it since.
    Done,
}

impl Served {
    fn stream(&self) -> Option<StreamKey> {
        self.attached.as_ref().map(|attached| attached.stream)
    }
}

/// The subscriptions of one partition that are served. They live no longer than the process: what
/// must survive is in the partition's state.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_subscription: BTreeMap<u64, Served>,
}

impl Consumers {
    /// The subscription, if this stream is its consumer.
    fn of(&mut self, subscription: u64, stream: StreamKey) -> Result<&mut Served, Refusal> {
        let served = self.by_subscription.get_mut(&subscription);
        served
            .filter(|served| served.stream() == Some(stream))
            .ok_or_else(|| {
                Refusal::new(
                    Status::ProtocolViolation,
                    "the consumer is not attached to its subscription any more",
                )
            })
    }

    fn attached(&self, subscription: u64) -> Option<&Attached> {
        self.by_subscription.get(&subscription)?.attached.as_ref()
    }

    /// Whether anybody is attached.
    pub(crate) fn are_attached(&self) -> bool {
        let mut served = self.by_subscription.values();
        served.any(|served| served.attached.is_some())
    }
}

/// The one consumer that a subscription has today; its number within the dispatcher.
const THE_CONSUMER: ConsumerId = ConsumerId(1);

impl<D: Disk> Partition<D> {
    /// Attaches a consumer to its subscription, which is made if it does not exist. Returns the
    /// subscription's id. The answer goes once the subscription is durable.
    pub(crate) fn subscribe(
        &mut self,
        clock: Clock,
        wanted: Subscribing,
        to: StreamKey,
        correlation: u64,
    ) -> Result<u64, Refusal> {
        let kind = wanted.kind;
        let dispatcher = Dispatcher::new(kind).ok_or_else(|| {
            Refusal::new(
                Status::NotAvailableYet,
                format!("{kind:?} subscriptions are not available yet; use exclusive"),
            )
        })?;
        let name = &wanted.subscription;
        let permits = wanted.permits;
        if permits > CONSUMER_PERMITS_MAX {
            return Err(Refusal::new(
                Status::InvalidArgument,
                format!("{permits} permits are over the limit of {CONSUMER_PERMITS_MAX}"),
            ));
        }
        let known = self.state.subscription_id(name);
        if let Some(refusal) = known.and_then(|id| self.refused_consumer(id, kind)) {
            return Err(refusal);
        }
        let (high_watermark, log_start) = (self.high_watermark(), self.store.entries.start());
        let refused_record = self.refused_record(clock.monotonic_ms);
        let (id, created) = match (known, &refused_record) {
            (Some(id), None) => (id, false),
            // Reading needs no record, unless the subscription itself may yet be forgotten.
            (Some(id), Some(_)) if !self.sibling.makes(id) => (id, false),
            (_, Some(refusal)) => return Err(refusal.clone()),
            (None, None) => {
                let from = match wanted.start {
                    StartFrom::Earliest => log_start,
                    StartFrom::Latest => high_watermark,
                };
                let planned = self.state.plan_create(name, kind, Position::at(from));
                let record = planned.map_err(|e| Refusal::new(Status::OverLimit, e.to_string()))?;
                self.store_record(clock, Some(record), Offset::ZERO, Vec::new());
                let id = self.state.subscription_id(name);
                (id.expect("it has just been made"), true)
            }
        };
        let served = self.consumers.by_subscription.entry(id);
        let served = served.or_insert(Served {
            dispatcher,
            reader: None,
            warming: Warming::No,
            attached: None,
        });
        let attached = served.dispatcher.attach(THE_CONSUMER);
        attached.expect("nobody is attached");
        let given = served.dispatcher.permits(THE_CONSUMER, permits);
        given.expect("the permits are within their limit");
        served.attached = Some(Attached {
            stream: to,
            name: wanted.consumer,
        });
        let mark = self
            .state
            .subscription(id)
            .map_or(Position::at(log_start), |s| s.cursor().mark());
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Subscribed {
                mark,
                log_start,
                high_watermark,
                created,
            },
        };
        if refused_record.is_some() {
            // Reading goes on when nothing can be written any more.
            self.sibling.push_due(answer);
        } else {
            self.store_record(clock, None, Offset::ZERO, vec![answer]);
        }
        Ok(id)
    }

    /// Why a known subscription takes no consumer of this kind, if it does not.
    fn refused_consumer(&self, id: u64, kind: SubscriptionKind) -> Option<Refusal> {
        let subscription = self.state.subscription(id)?;
        let (name, is) = (subscription.name(), subscription.kind());
        let text = if is != kind {
            let (is, wanted) = (kind_name(is), kind_name(kind));
            format!("subscription {name} is {is}, not {wanted}")
        } else {
            let attached = self.consumers.attached(id)?;
            format!(
                "subscription {name} is exclusive and has the consumer {}",
                attached.name
            )
        };
        Some(Refusal::new(Status::ConsumerBusy, text))
    }

    /// Lets a consumer be sent more.
    pub(crate) fn add_permits(
        &mut self,
        subscription: u64,
        to: StreamKey,
        more: u32,
    ) -> Result<(), Refusal> {
        let served = self.consumers.of(subscription, to)?;
        served
            .dispatcher
            .permits(THE_CONSUMER, more)
            .map_err(|e| Refusal::new(Status::InvalidArgument, e.to_string()))
    }

    /// The consumer has gone: what it was sent and has not acknowledged goes to the next.
    pub(crate) fn detach(&mut self, subscription: u64, stream: StreamKey) {
        let Ok(served) = self.consumers.of(subscription, stream) else {
            return;
        };
        served.attached = None;
        match self.state.subscription(subscription) {
            Some(state) => {
                served.dispatcher.detach(THE_CONSUMER, state.cursor());
            }
            None => {
                self.consumers.by_subscription.remove(&subscription);
            }
        }
    }

    /// Delivers what can be delivered, to one subscription or to all. A stream whose next entry is
    /// damaged is told so, and has ended.
    pub(crate) fn dispatch(
        &mut self,
        only: Option<u64>,
        outlets: &mut Outlets,
        fx: &mut Vec<Effect<D>>,
    ) {
        let end = self.high_watermark();
        let log = &mut self.store.entries;
        let (from, to) = only.map_or((0, u64::MAX), |id| (id, id));
        for (id, served) in self.consumers.by_subscription.range_mut(from..=to) {
            let Served {
                dispatcher,
                reader,
                warming,
                attached: Some(attached),
            } = served
            else {
                continue;
            };
            if *warming == Warming::UnderWay {
                continue;
            }
            let to = attached.stream;
            let Some(subscription) = self.state.subscription(*id) else {
                continue;
            };
            if self.sibling.gates(to) {
                continue;
            }
            let cursor = subscription.cursor();
            while let Some(offset) = dispatcher.next(cursor, end)
                && outlets.open(to.connection)
            {
                let reader = reader.get_or_insert_with(|| log.cursor(offset));
                if reader.offset() != offset {
                    *reader = log.cursor(offset);
                }
                // An error here comes again when the entry is read.
                if let Ok(Some(work)) = log.cold_ahead(reader, end)
                    && *warming != Warming::Done
                {
                    *warming = Warming::UnderWay;
                    fx.push(Effect::WarmUp {
                        partition: self.spec.id,
                        subscription: *id,
                        work,
                    });
                    break;
                }
                *warming = Warming::No;
                let entry = match log.read(reader, end) {
                    Ok(Some(entry)) => entry,
                    Ok(None) => break,
                    Err(ReadError::BelowStart { start }) => {
                        dispatcher.skip(start);
                        continue;
                    }
                    Err(error) => {
                        let refusal = unreadable(&error, offset);
                        if matches!(error, ReadError::Io { .. }) {
                            self.unopened = Some(refusal.message.clone());
                        }
                        let reply = Reply::Refused(refusal);
                        fx.push(Effect::Reply {
                            to,
                            correlation: 0,
                            reply,
                        });
                        self.ended.push(to);
                        break;
                    }
                };
                let messages = entry.header.messages;
                self.counts.note(offset, messages);
                let Some(delivery) = dispatcher.delivered(cursor, offset, messages) else {
                    continue;
                };
                let bytes = entry.bytes().len();
                outlets.queue(to.connection, bytes);
                self.counters.delivered(delivery.messages, bytes);
                fx.push(Effect::Deliver {
                    to,
                    redelivery_count: delivery.redelivery_count,
                    acked: delivery.acknowledged,
                    entry,
                });
            }
        }
    }

    /// What a subscription waited for is in memory.
    pub(crate) fn warmed(&mut self, subscription: u64) {
        if let Some(served) = self.consumers.by_subscription.get_mut(&subscription) {
            served.warming = Warming::Done;
        }
    }

    /// Sets the subscription of a consumer.
    pub(crate) fn seek(
        &mut self,
        clock: Clock,
        subscription: u64,
        place: SeekTo,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        self.consumers.of(subscription, to)?;
        self.set_cursor(clock, subscription, place, to, correlation)
    }

    /// Sets a subscription by its name.
    pub(crate) fn seek_named(
        &mut self,
        clock: Clock,
        name: &SubscriptionName,
        place: SeekTo,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        let id = self.known(name)?;
        self.set_cursor(clock, id, place, to, correlation)
    }

    fn set_cursor(
        &mut self,
        clock: Clock,
        subscription: u64,
        place: SeekTo,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.refused_record(clock.monotonic_ms) {
            return Err(refusal);
        }
        let (first, end) = (self.store.entries.start(), self.high_watermark());
        // A log whose readable part retention has taken away has no place but its start.
        let end = end.max(first);
        let position = match place {
            SeekTo::Earliest => Position::at(first),
            SeekTo::Latest => Position::at(end),
            SeekTo::Position(position) => {
                self.existing(position.clamp(Position::at(first), Position::at(end)))
            }
            SeekTo::Time(ms) => {
                let found = self.store.entries.find_time(ms);
                let found = found.map_err(|error| unreadable(&error, first))?;
                Position::at(found.clamp(first, end))
            }
        };
        let record = self.state.plan_seek(subscription, position);
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Done,
        };
        self.store_record(clock, record, Offset::ZERO, vec![answer]);
        if let Some(served) = self.consumers.by_subscription.get_mut(&subscription) {
            served.dispatcher.seek();
        }
        Ok(())
    }

    /// The position itself, or the next entry's beginning when its entry has no such message.
    fn existing(&mut self, position: Position) -> Position {
        let readable = position.index > 0 && position.offset < self.high_watermark();
        if readable && position.index >= self.messages_of(position.offset) {
            Position::at(position.offset.next())
        } else {
            position
        }
    }

    /// Deletes a subscription that no consumer uses.
    pub(crate) fn delete_subscription(
        &mut self,
        clock: Clock,
        name: &SubscriptionName,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        let id = self.known(name)?;
        if self.consumers.attached(id).is_some() {
            let text = format!("subscription {name} has a consumer; stop it first");
            return Err(Refusal::new(Status::ConsumerBusy, text));
        }
        if let Some(refusal) = self.refused_record(clock.monotonic_ms) {
            return Err(refusal);
        }
        let record = self.state.plan_delete(id);
        self.consumers.by_subscription.remove(&id);
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Done,
        };
        self.store_record(clock, record, Offset::ZERO, vec![answer]);
        Ok(())
    }

    fn known(&self, name: &SubscriptionName) -> Result<u64, Refusal> {
        self.state.subscription_id(name).ok_or_else(|| {
            Refusal::new(
                Status::SubscriptionNotFound,
                format!("{} has no subscription {name}", self.spec.topic),
            )
        })
    }

    /// The subscriptions as `topic describe` shows them.
    pub(crate) fn describe_subscriptions(&self) -> Vec<SubscriptionStats> {
        let end = self.high_watermark();
        let describe = |subscription: &Subscription| {
            let served = self.consumers.by_subscription.get(&subscription.id());
            let attached = served.and_then(|served| served.attached.as_ref());
            let cursor = subscription.cursor();
            let blocked = match served {
                Some(served) => served.dispatcher.blocked(cursor, end),
                None => Some(Blocked::NoConsumer),
            };
            SubscriptionStats {
                name: subscription.name().to_string(),
                kind: kind_name(subscription.kind()),
                mark: cursor.mark(),
                backlog_entries: cursor.backlog(end),
                acknowledged_ranges: cursor.ranges(),
                consumers: attached
                    .iter()
                    .map(|a| ConsumerStats {
                        name: a.name.clone(),
                    })
                    .collect(),
                blocked: blocked.map(|blocked| blocked.to_string()),
            }
        };
        self.state.subscriptions().map(describe).collect()
    }
}

/// The type of a subscription, as the command line writes it.
const fn kind_name(kind: SubscriptionKind) -> &'static str {
    match kind {
        SubscriptionKind::Exclusive => "exclusive",
        SubscriptionKind::Failover => "failover",
        SubscriptionKind::Shared => "shared",
        SubscriptionKind::KeyShared => "key-shared",
    }
}

/// What a consumer is told whose next entry cannot be read.
fn unreadable(error: &ReadError, offset: Offset) -> Refusal {
    if let ReadError::Io { source, .. } = error
        && is_out_of_files(source)
    {
        return unopened(&error.to_string(), true);
    }
    let damaged = match error {
        ReadError::Damaged { first, end } => Some((*first, *end)),
        _ => None,
    };
    let status = if damaged.is_some() {
        Status::DataCorrupted
    } else {
        Status::StorageFailed
    };
    let text =
        format!("entry {offset} cannot be read: {error}; seek behind it to go on without it");
    Refusal {
        damaged,
        ..Refusal::new(status, text)
    }
}
