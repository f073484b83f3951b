//! Consumers: attaching to a subscription, being delivered to, leaving.

use std::collections::BTreeMap;

use hulse_log::{Disk, ReadError, is_out_of_files};
use hulse_model::limits::{
    CONNECTION_DELIVERY_BYTES_MAX, CONSUMER_PERMITS_MAX, PARTITION_READERS_MAX,
};
use hulse_model::{Offset, Position, Status, SubscriptionName};
use hulse_subscription::{
    AttachError, Blocked, Claim, ConsumerId, DispatchLimits, Dispatcher, Next, Subscription,
    SubscriptionKind,
};

use crate::command::{Clock, SeekTo, StartFrom, StreamKey};
use crate::effect::{Effect, Refusal, Reply};
use crate::outlets::Outlets;
use crate::partition::{Partition, unopened};
use crate::probes::Obstacle;
use crate::readers::{Readers, find};
use crate::served::{Attached, Served, Warming};
use crate::sibling::Answer;
use crate::stats::{BlockedStats, ConsumerStats, SubscriptionStats};

/// Entries that are read in one go without being delivered, since they are not due, while all others on
/// the core wait.
const PUT_OFF_ENTRIES: usize = 256;

/// What a consumer asks for when it attaches.
#[derive(Debug)]
pub(crate) struct Subscribing {
    pub(crate) subscription: SubscriptionName,
    pub(crate) kind: SubscriptionKind,
    pub(crate) start: StartFrom,
    pub(crate) consumer: String,
    pub(crate) priority: u8,
    pub(crate) member: Option<u64>,
    pub(crate) permits: u32,
    pub(crate) durable: bool,
}

/// A consumer's place: its subscription, and its number within the subscription's dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) subscription: u64,
    pub(crate) consumer: ConsumerId,
}

/// The subscriptions of one partition that are served. They live no longer than the process: what
/// must survive is in the partition's state.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_subscription: BTreeMap<u64, Served>,
}

impl Consumers {
    /// The subscription of a consumer that is attached.
    fn of(&mut self, seat: Seat) -> Result<&mut Served, Refusal> {
        let served = self.by_subscription.get_mut(&seat.subscription);
        served
            .filter(|served| served.attached(seat.consumer).is_some())
            .ok_or_else(|| {
                Refusal::new(
                    Status::ProtocolViolation,
                    "the consumer is not attached to its subscription any more",
                )
            })
    }

    /// All subscriptions that have, or have had, a consumer, of those that are named.
    pub(crate) fn all(&mut self, only: Option<u64>) -> impl Iterator<Item = (u64, &mut Served)> {
        let (from, to) = only.map_or((0, u64::MAX), |id| (id, id));
        let all = self.by_subscription.range_mut(from..=to);
        all.map(|(id, served)| (*id, served))
    }

    /// The subscription, if it has, or has had, a consumer.
    pub(crate) fn served(&mut self, subscription: u64) -> Option<&mut Served> {
        self.by_subscription.get_mut(&subscription)
    }

    /// One of a subscription's consumers, if it has any.
    fn any_of(&self, subscription: u64) -> Option<&Attached> {
        self.by_subscription.get(&subscription)?.consumers().next()
    }

    /// What is being read ahead does not come back: the partition changes its core.
    pub(crate) fn forget_reading(&mut self) {
        self.by_subscription
            .values_mut()
            .for_each(Served::forget_reading);
    }

    /// Whether anybody is attached.
    pub(crate) fn are_attached(&self) -> bool {
        let mut served = self.by_subscription.values();
        served.any(Served::is_used)
    }
}

impl<D: Disk> Partition<D> {
    /// Attaches a consumer to its subscription, which is made if it does not exist. Returns the
    /// consumer's place. The answer goes once the subscription is durable.
    pub(crate) fn subscribe(
        &mut self,
        clock: Clock,
        wanted: &Subscribing,
        to: StreamKey,
        correlation: u64,
    ) -> Result<Seat, Obstacle> {
        let kind = wanted.kind;
        let name = &wanted.subscription;
        let permits = wanted.permits;
        if permits > CONSUMER_PERMITS_MAX {
            let text = format!("{permits} permits are over the limit of {CONSUMER_PERMITS_MAX}");
            return Err(Refusal::new(Status::InvalidArgument, text).into());
        }
        let known = match wanted.durable {
            true => self.state.subscription_id(name),
            false => self.readers.id(name),
        };
        if let Some(obstacle) = known.and_then(|id| self.refused_consumer(id, kind)) {
            return Err(obstacle);
        }
        let (high_watermark, log_start) = (self.high_watermark(), self.store.entries.start());
        let refused_record = match wanted.durable {
            true => self.refused_record(clock.monotonic_ms),
            false => None,
        };
        let change = known.and_then(|id| self.state.plan_set_kind(id, kind));
        let (id, created) = match (known, &refused_record) {
            (Some(id), None) => {
                if change.is_some() {
                    // Nobody is attached: whoever comes is dispatched to by the new type's rules.
                    self.consumers.by_subscription.remove(&id);
                    self.store_record(clock, change, Offset::ZERO, Vec::new());
                }
                (id, false)
            }
            (Some(_), Some(refusal)) if change.is_some() => return Err(refusal.clone().into()),
            // Reading needs no record, unless the subscription itself may yet be forgotten.
            (Some(id), Some(_)) if !self.sibling.makes(id) => (id, false),
            (_, Some(refusal)) => return Err(refusal.clone().into()),
            (None, None) => (self.make_subscription(clock, wanted)?, true),
        };
        let served = self.consumers.by_subscription.entry(id);
        let served = served.or_insert_with(|| {
            let number = u32::try_from(self.spec.index).unwrap_or(0);
            Served::new(Dispatcher::new(kind, number, DispatchLimits::default()))
        });
        let subscription = find(&self.state, &self.readers, id).expect("it is there");
        let claim = Claim {
            priority: wanted.priority,
            name: &wanted.consumer,
            member: wanted.member,
            slots: &[],
        };
        let consumer = served
            .attach(to, claim, subscription.cursor())
            .map_err(|error| {
                let refusal = refused_claim(name, error);
                let by = match error {
                    AttachError::Busy { by } | AttachError::SlotsTaken { by } => served.stream(by),
                    _ => None,
                };
                refusal.held_by(by)
            })?;
        let given = served.dispatcher.permits(consumer, permits);
        given.expect("the permits are within their limit");
        let mark = find(&self.state, &self.readers, id)
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
        if refused_record.is_some() || !wanted.durable {
            // Reading goes on when nothing can be written any more.
            self.sibling.push_due(answer);
        } else {
            self.store_record(clock, None, Offset::ZERO, vec![answer]);
        }
        Ok(Seat {
            subscription: id,
            consumer,
        })
    }

    /// Makes the subscription that a consumer asks for, and gives its id.
    fn make_subscription(&mut self, clock: Clock, wanted: &Subscribing) -> Result<u64, Refusal> {
        let (name, kind) = (&wanted.subscription, wanted.kind);
        let (high_watermark, log_start) = (self.high_watermark(), self.store.entries.start());
        let position = match wanted.start {
            StartFrom::Earliest => Position::at(log_start),
            StartFrom::Latest => Position::at(high_watermark),
            StartFrom::Position(position) => {
                let (first, end) = (log_start, high_watermark.max(log_start));
                self.existing(position.clamp(Position::at(first), Position::at(end)))
            }
        };
        if !wanted.durable {
            return self.readers.make(name, kind, position).ok_or_else(|| {
                let text = format!(
                    "the partition has {PARTITION_READERS_MAX} readers, and no more may be"
                );
                Refusal::new(Status::OverLimit, text)
            });
        }
        let planned = self.state.plan_create(name, kind, position);
        let record = planned.map_err(|e| Refusal::new(Status::OverLimit, e.to_string()))?;
        self.store_record(clock, Some(record), Offset::ZERO, Vec::new());
        // It may begin behind all others.
        self.quota.forget();
        let id = self.state.subscription_id(name);
        Ok(id.expect("it has just been made"))
    }

    /// Why a known subscription takes no consumer of this kind, if it does not.
    fn refused_consumer(&self, id: u64, kind: SubscriptionKind) -> Option<Obstacle> {
        let subscription = find(&self.state, &self.readers, id)?;
        let attached = self.consumers.any_of(id)?;
        let (name, is) = (subscription.name(), subscription.kind());
        let text = if is != kind {
            let (is, wanted) = (kind_name(is), kind_name(kind));
            format!("subscription {name} is {is}, not {wanted}")
        } else if is == SubscriptionKind::Exclusive {
            format!(
                "subscription {name} is exclusive and has the consumer {}",
                attached.name
            )
        } else {
            return None;
        };
        let refusal = Refusal::new(Status::ConsumerBusy, text);
        Some(refusal.held_by(Some(attached.stream)))
    }

    /// Lets a consumer be sent more.
    pub(crate) fn add_permits(&mut self, seat: Seat, more: u32) -> Result<(), Refusal> {
        let served = self.consumers.of(seat)?;
        served
            .dispatcher
            .permits(seat.consumer, more)
            .map_err(|e| Refusal::new(Status::InvalidArgument, e.to_string()))
    }

    /// The consumer has gone: what it was sent and has not acknowledged goes to the others, or to
    /// the next.
    pub(crate) fn detach(&mut self, seat: Seat) {
        let Ok(served) = self.consumers.of(seat) else {
            return;
        };
        match find(&self.state, &self.readers, seat.subscription) {
            Some(subscription) => served.detach(seat.consumer, subscription.cursor()),
            None => {
                self.consumers.by_subscription.remove(&seat.subscription);
                return;
            }
        }
        if Readers::owns(seat.subscription) && !served.is_used() {
            self.consumers.by_subscription.remove(&seat.subscription);
            self.readers.remove(seat.subscription);
        }
    }

    /// A consumer wants entries again: these, or with an empty list all that it has.
    pub(crate) fn redeliver(&mut self, seat: Seat, entries: &[Offset]) -> Result<(), Refusal> {
        let served = self.consumers.of(seat)?;
        if let Some(subscription) = find(&self.state, &self.readers, seat.subscription) {
            let cursor = subscription.cursor();
            served.dispatcher.redeliver(seat.consumer, cursor, entries);
        }
        Ok(())
    }

    /// Lets time pass for the consumers. Returns whether something may be delivered now.
    pub(crate) fn tick_consumers(&mut self, clock: Clock) -> bool {
        let mut changed = false;
        for (id, served) in &mut self.consumers.by_subscription {
            if let Some(subscription) = find(&self.state, &self.readers, *id) {
                let cursor = subscription.cursor();
                changed |= served.dispatcher.tick(cursor, clock.monotonic_ms);
                changed |= served.is_used() && served.dispatcher.advance(clock.wall_ms);
            }
        }
        changed
    }

    /// Delivers what can be delivered, to one subscription or to all. A stream whose next entry is
    /// damaged is told so, and has ended.
    pub(crate) fn dispatch(
        &mut self,
        wall_ms: u64,
        only: Option<u64>,
        outlets: &mut Outlets,
        fx: &mut Vec<Effect<D>>,
    ) {
        self.deliver(wall_ms, only, outlets, fx);
        self.note_seats(only);
    }

    fn deliver(
        &mut self,
        wall_ms: u64,
        only: Option<u64>,
        outlets: &mut Outlets,
        fx: &mut Vec<Effect<D>>,
    ) {
        let end = self.high_watermark();
        let log = &mut self.store.entries;
        let (from, to) = only.map_or((0, u64::MAX), |id| (id, id));
        for (id, served) in self.consumers.by_subscription.range_mut(from..=to) {
            let Some(subscription) = find(&self.state, &self.readers, *id) else {
                continue;
            };
            if served.is_waiting() || !served.is_used() {
                continue;
            }
            served.dispatcher.advance(wall_ms);
            let (mut put_off, mut put_off_bytes) = (0, 0);
            let cursor = subscription.cursor();
            let gates = |stream| self.sibling.gates(stream);
            served.go_on(|stream| !gates(stream) && outlets.open(stream.connection));
            for (to, active) in served.announcements(cursor, |stream| !gates(stream)) {
                fx.push(Effect::Reply {
                    to,
                    correlation: 0,
                    reply: Reply::Active(active),
                });
            }
            while let Some(Next { consumer, offset }) = served.dispatcher.next(cursor, end) {
                if let Some(consumer) = consumer
                    && let Some(to) = served.stream(consumer)
                    && (gates(to) || !outlets.open(to.connection))
                {
                    served.pause(consumer);
                    continue;
                }
                let (reader, warming) = served.reader(log, offset);
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
                        served.dispatcher.skip(start);
                        continue;
                    }
                    Err(error) => {
                        let refusal = unreadable(&error, offset);
                        if matches!(error, ReadError::Io { .. }) {
                            self.unopened = Some(refusal.message.clone());
                        }
                        // Whoever would have got it, or while nobody can know, one of them.
                        let mut all = served.consumers().map(|attached| attached.stream);
                        let named = consumer.and_then(|consumer| served.stream(consumer));
                        if let Some(to) = named.or_else(|| all.next()) {
                            let reply = Reply::Refused(refusal);
                            fx.push(Effect::Reply {
                                to,
                                correlation: 0,
                                reply,
                            });
                            self.ended.push(to);
                        }
                        break;
                    }
                };
                if let Some(due_ms) = entry.header.format.due_ms(entry.payload())
                    && served.dispatcher.delay(cursor, offset, due_ms)
                {
                    put_off += 1;
                    put_off_bytes += entry.bytes().len();
                    if put_off >= PUT_OFF_ENTRIES || put_off_bytes >= CONNECTION_DELIVERY_BYTES_MAX
                    {
                        served.rest();
                        fx.push(Effect::GoOn {
                            partition: self.spec.id,
                            subscription: *id,
                        });
                        break;
                    }
                    continue;
                }
                let messages = entry.header.messages;
                self.counts.note(offset, messages);
                let slot = served.slot_of(&entry);
                let delivery = served.dispatcher.delivered(cursor, offset, messages, slot);
                let Some(delivery) = delivery else {
                    continue;
                };
                let Some(to) = served.delivered(delivery.consumer, delivery.messages) else {
                    continue;
                };
                let bytes = entry.bytes().len();
                outlets.queue(to.connection, bytes);
                // Who gets an entry by its key is known only now.
                if consumer.is_none() && !outlets.open(to.connection) {
                    served.pause(delivery.consumer);
                }
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

    /// Others had their turn.
    pub(crate) fn rested(&mut self, subscription: u64) {
        if let Some(served) = self.consumers.served(subscription) {
            served.rested();
        }
    }

    /// What a subscription waited for is in memory.
    pub(crate) fn warmed(&mut self, subscription: u64) {
        if let Some(served) = self.consumers.served(subscription) {
            served.warmed();
        }
    }

    /// Sets the subscription of a consumer.
    pub(crate) fn seek(
        &mut self,
        clock: Clock,
        seat: Seat,
        place: SeekTo,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        self.consumers.of(seat)?.pause(seat.consumer);
        self.set_cursor(clock, seat.subscription, place, to, correlation)
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
        if !Readers::owns(subscription)
            && let Some(refusal) = self.refused_record(clock.monotonic_ms)
        {
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
        self.quota.forget();
        let record = self.state.plan_seek(subscription, position);
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Done,
        };
        if let Some(reader) = self.readers.get_mut(subscription) {
            reader.cursor_mut().set(position);
            self.sibling.push_due(answer);
        } else {
            self.store_record(clock, record, Offset::ZERO, vec![answer]);
        }
        if let Some(served) = self.consumers.served(subscription) {
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
        if self.consumers.any_of(id).is_some() {
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
            let cursor = subscription.cursor();
            let blocked = match served {
                Some(served) => served.dispatcher.blocked(cursor, end),
                None => Some(Blocked::NoConsumer),
            };
            let name_of = |consumer| {
                let attached = served.and_then(|served| served.attached(consumer));
                attached.map_or_else(String::new, |attached| attached.name.clone())
            };
            SubscriptionStats {
                name: subscription.name().to_string(),
                kind: kind_name(subscription.kind()),
                durable: !Readers::owns(subscription.id()),
                mark: cursor.mark(),
                backlog_entries: cursor.backlog(end),
                backlog_bytes: self.backlog_bytes(cursor.mark().offset),
                holds_back: self.holds_back(cursor.mark().offset, subscription),
                acknowledged_ranges: cursor.ranges(),
                consumers: served.map(consumers_of).unwrap_or_default(),
                blocked: blocked.map(|blocked| BlockedStats {
                    reason: blocked.reason(),
                    consumer: blocked.consumer().map(name_of),
                    entry: blocked.entry(),
                    due_ms: blocked.due_ms(),
                    text: blocked.explain(name_of),
                }),
            }
        };
        let all = self.state.subscriptions().chain(self.readers.iter());
        all.map(describe).collect()
    }
}

/// The consumers as `topic describe` shows them.
fn consumers_of(served: &Served) -> Vec<ConsumerStats> {
    let stats = |attached: &Attached| {
        let state = served.dispatcher.state(attached.consumer)?;
        Some(ConsumerStats {
            name: attached.name.clone(),
            priority: attached.priority,
            active: state.active,
            permits: state.permits,
            unacknowledged: state.unacknowledged,
            delivered_messages: attached.delivered_messages,
        })
    };
    served.consumers().filter_map(stats).collect()
}

/// What a consumer is told that its subscription does not take.
fn refused_claim(name: &SubscriptionName, error: AttachError) -> Refusal {
    let status = match error {
        AttachError::Busy { .. } | AttachError::SlotsTaken { .. } | AttachError::SlotsMixed => {
            Status::ConsumerBusy
        }
        AttachError::SlotsMalformed => Status::InvalidArgument,
        AttachError::TooMany => Status::OverLimit,
    };
    Refusal::new(status, format!("subscription {name}: {error}"))
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
pub(crate) fn unreadable(error: &ReadError, offset: Offset) -> Refusal {
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
