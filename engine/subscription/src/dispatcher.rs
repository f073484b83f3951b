//! Which entry goes to which consumer next.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use hulse_model::limits::{
    CONSUMER_PERMITS_MAX, CONSUMER_UNACKNOWLEDGED_MAX, DELAYED_BLOCKS_MAX, DELAYED_ENTRIES_MAX,
    ENTRY_MESSAGES_MAX, LOOK_AHEAD_MAX, SUBSCRIPTION_CONSUMERS_MAX,
    SUBSCRIPTION_UNACKNOWLEDGED_MAX,
};
use hulse_model::{Offset, Position, Utc};

use crate::acknowledgements::IndexRange;
use crate::cursor::Cursor;
use crate::exclusive::Exclusive;
use crate::failover::Failover;
use crate::key_shared::KeyShared;
use crate::key_slots::{KeySlot, SlotRange};
use crate::record::SubscriptionKind;
use crate::shared::Shared;

/// A consumer as the caller names it, unique within a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a consumer states when it is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim<'a> {
    /// Which consumers come first: 0 before 1 and so on. Of a Failover subscription the active one
    /// is one of the lowest number; of a Shared one those of a higher number are given entries only
    /// while none of a lower number can take any. The other kinds do not look at it.
    pub priority: u8,
    /// Its name, which orders the consumers of a Failover subscription, and says which keys of a
    /// Key_Shared one it gets.
    pub name: &'a str,
    /// Of a Key_Shared subscription: the slots that it wants. With none it gets its share.
    pub slots: &'a [SlotRange],
}

/// An entry to be read, and who is to get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Who. None while nobody can know, since the entry's key says who.
    pub consumer: Option<ConsumerId>,
    /// Which.
    pub offset: Offset,
}

/// An entry to be sent to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who gets it.
    pub consumer: ConsumerId,
    /// How many of its messages are not acknowledged: so many permits were used.
    pub messages: u32,
    /// How often it was delivered before.
    pub redelivery_count: u32,
    /// The messages that the consumer is to skip, because they are acknowledged: rising, apart.
    pub acknowledged: Vec<IndexRange>,
}

/// Why a consumer cannot be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// Another consumer, or this one, has the subscription.
    #[error("consumer {by} has the subscription")]
    Busy {
        /// Who has it.
        by: ConsumerId,
    },
    /// Another consumer has some of the slots that it wants.
    #[error("consumer {by} has some of the key ranges")]
    SlotsTaken {
        /// Who has them.
        by: ConsumerId,
    },
    /// Some consumers want slots of their own, and others their share of all.
    #[error("its consumers either all state their key ranges, or none does")]
    SlotsMixed,
    /// A range ends before it begins, or meets another of the same consumer.
    #[error("a key range ends before it begins, or meets another of the same consumer")]
    SlotsMalformed,
    /// There are as many consumers as there may be.
    #[error("the subscription has {SUBSCRIPTION_CONSUMERS_MAX} consumers, and no more may be")]
    TooMany,
}

/// Why permits were not added as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PermitsError {
    /// The consumer is not attached.
    #[error("consumer {consumer} is not attached")]
    NotAttached {
        /// Who asked.
        consumer: ConsumerId,
    },
    /// The sum is over the limit; the consumer now has as many as it may have.
    #[error("{asked} more permits than {outstanding} are over the limit of {CONSUMER_PERMITS_MAX}")]
    OverLimit {
        /// How many it had.
        outstanding: i64,
        /// How many it asked for.
        asked: u32,
    },
}

/// The sum of a consumer's permits and those that it asks for, which is at most
/// [`CONSUMER_PERMITS_MAX`].
///
/// # Errors
/// When it would be more; the sum is cut all the same.
pub(crate) fn add_permits(permits: &mut i64, messages: u32) -> Result<(), PermitsError> {
    let outstanding = *permits;
    let limit = i64::from(CONSUMER_PERMITS_MAX);
    let wanted = outstanding + i64::from(messages);
    *permits = wanted.min(limit);
    if wanted > limit {
        return Err(PermitsError::OverLimit {
            outstanding,
            asked: messages,
        });
    }
    Ok(())
}

/// Stops the process when a consumer has permits that nobody gave, or too many.
///
/// # Panics
/// When it has.
pub(crate) fn check_permits(permits: i64) {
    let lowest = -i64::from(ENTRY_MESSAGES_MAX);
    assert!(permits > lowest, "permits were used that nobody gave");
    assert!(
        permits <= i64::from(CONSUMER_PERMITS_MAX),
        "too many permits"
    );
}

/// The messages of entry `offset` that a consumer is to skip, and how many it is to get: none for
/// an entry of which everything is acknowledged.
pub(crate) fn what_is_left(
    cursor: &Cursor,
    offset: Offset,
    messages: u32,
) -> Option<(Vec<IndexRange>, u32)> {
    let acknowledged = cursor.acknowledged_in(offset, messages);
    let skipped: u32 = acknowledged
        .iter()
        .map(|range| range.last - range.first + 1)
        .sum();
    let left = messages - skipped;
    (left > 0).then_some((acknowledged, left))
}

/// Why nothing is delivered just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// No consumer is attached.
    NoConsumer,
    /// The consumer has not asked for more messages. Of several that have not, the first.
    NoPermits {
        /// Which consumer.
        consumer: ConsumerId,
        /// The entry that is next.
        next: Offset,
    },
    /// The consumer's connection takes nothing just now, or has not been told yet that the consumer
    /// is attached. Of several, the first.
    Paused {
        /// Which consumer.
        consumer: ConsumerId,
        /// The entry that is next.
        next: Offset,
    },
    /// The consumer holds as many unacknowledged messages as one consumer may. Of several, the
    /// first.
    ConsumerFull {
        /// Which consumer.
        consumer: ConsumerId,
        /// How many it holds.
        messages: u64,
        /// The entry that is next.
        next: Offset,
    },
    /// The consumers together hold as many unacknowledged messages as those of one subscription
    /// may.
    SubscriptionFull {
        /// Who holds the first of them.
        consumer: ConsumerId,
        /// How many they hold.
        messages: u64,
        /// The entry that is next.
        next: Offset,
    },
    /// Of a Key_Shared subscription: the next entry's slot has another owner than before, who gets it
    /// when the former one has acknowledged what it has of the slot.
    Draining {
        /// The former owner.
        consumer: ConsumerId,
        /// The first entry of the slot that it has.
        first: Offset,
        /// The new owner.
        to: ConsumerId,
        /// The entry that is next.
        next: Offset,
    },
    /// Of a Key_Shared subscription whose consumers state their ranges: none wants the next entry's
    /// slot.
    NoOwner {
        /// The slot.
        slot: u16,
        /// The entry that is next.
        next: Offset,
    },
    /// Everything that is due was delivered, and something that is not acknowledged waits for its
    /// time.
    Delayed {
        /// The entry that is due first.
        next: Offset,
        /// When, in milliseconds since 1970.
        due_ms: u64,
    },
    /// Another consumer is to become the active one, as soon as the present one has acknowledged
    /// what it was given.
    HandingOver {
        /// Who is active.
        from: ConsumerId,
        /// The first message that it has not acknowledged.
        first: Position,
    },
    /// Everything was delivered; a consumer has not acknowledged all of it.
    Unacknowledged {
        /// Which consumer.
        consumer: ConsumerId,
        /// The first message that is not acknowledged.
        first: Position,
    },
    /// Everything that can be read was delivered; what is not acknowledged cannot be read.
    Unreadable {
        /// The first message that is not acknowledged.
        first: Position,
    },
    /// Everything is acknowledged.
    CaughtUp {
        /// The entry that the subscription waits for.
        next: Offset,
    },
}

impl Blocked {
    /// The consumer that it is about, if it is about one.
    #[must_use]
    pub const fn consumer(&self) -> Option<ConsumerId> {
        match self {
            Self::NoPermits { consumer, .. }
            | Self::Paused { consumer, .. }
            | Self::ConsumerFull { consumer, .. }
            | Self::SubscriptionFull { consumer, .. }
            | Self::Unacknowledged { consumer, .. }
            | Self::Draining { consumer, .. }
            | Self::HandingOver { from: consumer, .. } => Some(*consumer),
            Self::NoConsumer
            | Self::NoOwner { .. }
            | Self::Delayed { .. }
            | Self::Unreadable { .. }
            | Self::CaughtUp { .. } => None,
        }
    }

    /// The reason as one word, for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoConsumer => "no-consumer",
            Self::NoPermits { .. } => "no-permits",
            Self::Paused { .. } => "paused",
            Self::ConsumerFull { .. } => "consumer-full",
            Self::SubscriptionFull { .. } => "subscription-full",
            Self::Draining { .. } => "draining",
            Self::NoOwner { .. } => "no-owner",
            Self::Delayed { .. } => "delayed",
            Self::HandingOver { .. } => "handing-over",
            Self::Unacknowledged { .. } => "unacknowledged",
            Self::Unreadable { .. } => "unreadable",
            Self::CaughtUp { .. } => "caught-up",
        }
    }

    /// The entry that it is about: the one that is next or, when all are delivered, the first one
    /// that is not acknowledged.
    #[must_use]
    pub const fn entry(&self) -> Option<Offset> {
        match self {
            Self::NoPermits { next, .. }
            | Self::Paused { next, .. }
            | Self::ConsumerFull { next, .. }
            | Self::SubscriptionFull { next, .. }
            | Self::Draining { next, .. }
            | Self::NoOwner { next, .. }
            | Self::Delayed { next, .. }
            | Self::CaughtUp { next } => Some(*next),
            Self::HandingOver { first, .. }
            | Self::Unacknowledged { first, .. }
            | Self::Unreadable { first } => Some(first.offset),
            Self::NoConsumer => None,
        }
    }

    /// When the entry that it is about is due, in milliseconds since 1970, if that is the reason.
    #[must_use]
    pub const fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Delayed { due_ms, .. } => Some(*due_ms),
            _ => None,
        }
    }

    /// The reason as a sentence, in which a consumer is called what `name` says.
    #[must_use]
    pub fn explain<N: fmt::Display>(&self, name: impl Fn(ConsumerId) -> N) -> String {
        match self {
            Self::NoConsumer => "no consumer is attached".into(),
            Self::NoPermits { consumer, next } => format!(
                "entry {next} is next, and consumer {} has no permits left",
                name(*consumer)
            ),
            Self::Paused { consumer, next } => format!(
                "entry {next} is next, and the connection of consumer {} takes no more for now",
                name(*consumer)
            ),
            Self::ConsumerFull {
                consumer,
                messages,
                next,
            } => format!(
                "entry {next} is next, and consumer {} holds {messages} unacknowledged messages; \
                 it gets more when fewer than half as many as one consumer may hold are left",
                name(*consumer)
            ),
            Self::SubscriptionFull {
                consumer,
                messages,
                next,
            } => format!(
                "entry {next} is next, and the consumers hold {messages} unacknowledged messages; \
                 they get more when fewer than half as many as those of one subscription may hold \
                 are left; consumer {} has the first",
                name(*consumer)
            ),
            Self::Draining {
                consumer,
                first,
                to,
                next,
            } => format!(
                "entry {next} is next, and its key goes to consumer {} when consumer {} has \
                 acknowledged what it has of the key, from entry {first} on",
                name(*to),
                name(*consumer)
            ),
            Self::NoOwner { slot, next } => format!(
                "entry {next} is next, and no consumer wants its key, which is in slot {slot}"
            ),
            Self::Delayed { next, due_ms } => format!(
                "everything that is due is delivered, and entry {next} is due at {}",
                Utc(*due_ms)
            ),
            Self::HandingOver { from, first } => format!(
                "another consumer becomes the active one when {} has acknowledged {first}",
                name(*from)
            ),
            Self::Unacknowledged { consumer, first } => format!(
                "everything is delivered, and consumer {} has not acknowledged {first}",
                name(*consumer)
            ),
            Self::Unreadable { first } => {
                format!("everything that can be read is delivered, and {first} cannot be")
            }
            Self::CaughtUp { next } => {
                format!("everything is acknowledged; entry {next} is not there yet")
            }
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain(|consumer| consumer))
    }
}

/// How one consumer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerState {
    /// How many more messages it may be sent; below zero by less than one entry's messages.
    pub permits: i64,
    /// Messages that it was sent and that are not acknowledged, where they are counted: not of an
    /// Exclusive or a Failover subscription.
    pub unacknowledged: Option<u64>,
    /// Whether entries go to it: of a Failover subscription, to one of them only.
    pub active: bool,
}

/// How much a Shared or Key_Shared subscription may have out, or set aside, before no more is
/// delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchLimits {
    /// Unacknowledged messages with one consumer.
    pub consumer: u64,
    /// Unacknowledged messages with all consumers.
    pub subscription: u64,
    /// Entries of a Key_Shared subscription that were read, and wait for one consumer while others
    /// are given what comes behind them.
    pub look_ahead: usize,
    /// Entries that were read before they were due and are remembered one by one.
    pub delayed_entries: usize,
    /// Blocks in which the others are remembered.
    pub delayed_blocks: usize,
}

impl Default for DispatchLimits {
    fn default() -> Self {
        Self {
            consumer: CONSUMER_UNACKNOWLEDGED_MAX,
            subscription: SUBSCRIPTION_UNACKNOWLEDGED_MAX,
            look_ahead: LOOK_AHEAD_MAX,
            delayed_entries: DELAYED_ENTRIES_MAX,
            delayed_blocks: DELAYED_BLOCKS_MAX,
        }
    }
}

/// The dispatcher of one subscription, by its kind: a state machine that decides which entry is
/// read next and who gets it. It is made when the first consumer comes; a broker that starts
/// anew has none.
///
/// What is acknowledged is in the subscription's [`Cursor`], which every call is given: one and
/// the same at each, and never behind what it was at the call before unless [`Self::seek`] told
/// so. After anything happened (an acknowledgement, permits, new entries, a consumer), the caller
/// asks [`Self::next`] until it gives nothing: there are no wake-ups to lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dispatcher {
    /// One consumer.
    Exclusive(Exclusive),
    /// One consumer at a time, and others that stand by.
    Failover(Box<Failover>),
    /// Entries in turn to all consumers.
    Shared(Box<Shared>),
    /// The entries of a key to one consumer at a time.
    KeyShared(Box<KeyShared>),
}

/// The same call of whichever kind it is.
macro_rules! of_kind {
    ($dispatcher:expr, $it:ident => $call:expr) => {
        match $dispatcher {
            Dispatcher::Exclusive($it) => $call,
            Dispatcher::Failover($it) => $call,
            Dispatcher::Shared($it) => $call,
            Dispatcher::KeyShared($it) => $call,
        }
    };
}

impl Dispatcher {
    /// A dispatcher for a subscription of `kind`, without consumers, on the partition with this
    /// number (0 for a topic without partitions). The limits hold for Shared and Key_Shared.
    #[must_use]
    pub fn new(kind: SubscriptionKind, partition: u32, limits: DispatchLimits) -> Self {
        match kind {
            SubscriptionKind::Exclusive => Self::Exclusive(Exclusive::default()),
            SubscriptionKind::Failover => Self::Failover(Box::new(Failover::new(partition))),
            SubscriptionKind::Shared => Self::Shared(Box::new(Shared::new(limits))),
            SubscriptionKind::KeyShared => Self::KeyShared(Box::new(KeyShared::new(limits))),
        }
    }

    /// Whether [`Self::delivered`] wants to know an entry's key.
    #[must_use]
    pub const fn wants_keys(&self) -> bool {
        matches!(self, Self::KeyShared(_))
    }

    /// Adds a consumer, without permits. Its id was never used in this dispatcher.
    ///
    /// # Errors
    /// When the subscription's kind or its present consumers exclude this one.
    pub fn attach(
        &mut self,
        consumer: ConsumerId,
        claim: Claim<'_>,
        cursor: &Cursor,
    ) -> Result<(), AttachError> {
        match self {
            Self::Exclusive(exclusive) => exclusive.attach(consumer),
            Self::Failover(failover) => failover.attach(consumer, claim, cursor),
            Self::Shared(shared) => shared.attach(consumer, claim.priority),
            Self::KeyShared(shared) => shared.attach(consumer, claim),
        }
    }

    /// Removes a consumer: what it was given and has not acknowledged is delivered again. Returns
    /// whether it was there.
    pub fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        of_kind!(self, it => it.detach(consumer, cursor))
    }

    /// Lets a consumer be sent `messages` messages more.
    ///
    /// # Errors
    /// When the consumer is not attached, or would have more than [`CONSUMER_PERMITS_MAX`]; then
    /// it has just as many.
    pub fn permits(&mut self, consumer: ConsumerId, messages: u32) -> Result<(), PermitsError> {
        of_kind!(self, it => it.permits(consumer, messages))
    }

    /// Gives a consumer nothing, or lets it be given something again: its connection takes no more
    /// for now.
    pub fn pause(&mut self, consumer: ConsumerId, paused: bool) {
        of_kind!(self, it => it.pause(consumer, paused));
    }

    /// The entry to be read next, below the high watermark `end`, if a consumer can take it, and
    /// which consumer. The caller reads it and calls [`Self::delivered`], or [`Self::skip`] when it
    /// cannot be read, or [`Self::pause`] when the consumer cannot take it after all.
    #[must_use]
    pub fn next(&mut self, cursor: &Cursor, end: Offset) -> Option<Next> {
        of_kind!(self, it => it.next(cursor, end))
    }

    /// Hands out entry `offset`, which [`Self::next`] named and which has `messages` messages. Its
    /// slot is the one of its first message's key, and looked at only where [`Self::wants_keys`]
    /// says so. None when it is not to be sent: every message of it is acknowledged, whoever gets its
    /// key takes nothing now, or something happened since it was named. In each case [`Self::next`]
    /// says how to go on.
    ///
    /// # Panics
    /// When the entry has no messages or more than any entry may have.
    pub fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
        slot: KeySlot,
    ) -> Option<Delivery> {
        assert!(
            (1..=ENTRY_MESSAGES_MAX).contains(&messages),
            "an entry of {messages} messages"
        );
        match self {
            Self::Exclusive(exclusive) => exclusive.delivered(cursor, offset, messages),
            Self::Failover(failover) => failover.delivered(cursor, offset, messages),
            Self::Shared(shared) => shared.delivered(cursor, offset, messages),
            Self::KeyShared(shared) => shared.delivered(cursor, offset, messages, slot),
        }
    }

    /// Puts off entry `offset`, which [`Self::next`] named and which is due at `due_ms`, in milliseconds
    /// since 1970. False when it is to be delivered now: its time has come, it has been delivered before,
    /// or the subscription keeps the order of its partition and looks at no times.
    pub fn delay(&mut self, cursor: &Cursor, offset: Offset, due_ms: u64) -> bool {
        match self {
            Self::Exclusive(_) | Self::Failover(_) => false,
            Self::Shared(shared) => shared.delay(cursor, offset, due_ms),
            Self::KeyShared(shared) => shared.delay(cursor, offset, due_ms),
        }
    }

    /// Tells the time, in milliseconds since 1970. Returns whether something is due that was put off:
    /// then [`Self::next`] is to be asked. Nothing that was put off goes out before it is told here that
    /// its time has come.
    pub fn advance(&mut self, wall_ms: u64) -> bool {
        match self {
            Self::Exclusive(_) | Self::Failover(_) => false,
            Self::Shared(shared) => shared.advance(wall_ms),
            Self::KeyShared(shared) => shared.advance(wall_ms),
        }
    }

    /// Messages of entry `offset` were acknowledged, by whichever consumer: the cursor has them.
    pub fn acknowledged(&mut self, cursor: &Cursor, offset: Offset) {
        match self {
            // They look at the cursor alone.
            Self::Exclusive(_) | Self::Failover(_) => {}
            Self::Shared(shared) => shared.acknowledged(cursor, offset),
            Self::KeyShared(shared) => shared.acknowledged(cursor, offset),
        }
    }

    /// The cursor's mark has risen past entries that nobody acknowledged one by one: they expired.
    pub fn expired(&mut self, cursor: &Cursor) {
        match self {
            // They look at the cursor alone.
            Self::Exclusive(_) | Self::Failover(_) => {}
            Self::Shared(shared) => shared.expired(cursor),
            Self::KeyShared(shared) => shared.expired(cursor),
        }
    }

    /// A consumer wants entries delivered again that it was given: these, or with an empty list all
    /// that are not acknowledged. What it was not given, or is acknowledged, is passed over.
    ///
    /// Where entries go to one consumer in order, all that are not acknowledged are delivered again,
    /// from the mark on.
    pub fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor, entries: &[Offset]) {
        match self {
            Self::Exclusive(exclusive) => exclusive.redeliver(consumer, cursor),
            Self::Failover(failover) => failover.redeliver(consumer, cursor),
            Self::Shared(shared) => shared.redeliver(consumer, cursor, entries),
            Self::KeyShared(shared) => shared.redeliver(consumer, cursor, entries),
        }
    }

    /// Goes on behind entries that cannot be read, up to, not including, `end`: they are damaged,
    /// or the log does not hold them any more. They stay unacknowledged.
    pub fn skip(&mut self, end: Offset) {
        of_kind!(self, it => it.skip(end));
    }

    /// The cursor has been set to another position: reading goes on there.
    pub fn seek(&mut self) {
        of_kind!(self, it => it.seek());
    }

    /// Lets time pass. Returns whether something changed: then [`Self::next`] is to be asked.
    pub fn tick(&mut self, cursor: &Cursor, now_ms: u64) -> bool {
        match self {
            Self::Failover(failover) => failover.tick(cursor, now_ms),
            Self::Exclusive(_) | Self::Shared(_) | Self::KeyShared(_) => false,
        }
    }

    /// Who is to be told that it is the active consumer of a Failover subscription now, or is no
    /// longer: everyone who has not been told what is true. Called with `true` for those who can be
    /// told now; the others are named again. Asked before
    /// [`Self::next`], so that nobody is given an entry before it is told.
    pub fn announce(
        &mut self,
        cursor: &Cursor,
        can_be_told: impl Fn(ConsumerId) -> bool,
    ) -> Vec<(ConsumerId, bool)> {
        match self {
            Self::Failover(failover) => failover.announce(cursor, can_be_told),
            Self::Exclusive(_) | Self::Shared(_) | Self::KeyShared(_) => Vec::new(),
        }
    }

    /// How a consumer stands, if it is attached.
    #[must_use]
    pub fn state(&self, consumer: ConsumerId) -> Option<ConsumerState> {
        of_kind!(self, it => it.state(consumer))
    }

    /// Why nothing is delivered below the high watermark `end`; none when something can be.
    #[must_use]
    pub fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        of_kind!(self, it => it.blocked(cursor, end))
    }

    /// Stops the process when the dispatcher is not in order.
    ///
    /// # Panics
    /// When something that is never false is false.
    pub fn check_invariants(&self) {
        of_kind!(self, it => it.check_invariants());
    }
}
