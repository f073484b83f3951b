//! Which entry goes to which consumer next.

use alloc::vec::Vec;
use core::fmt;

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_model::{Offset, Position};

use crate::acknowledgements::IndexRange;
use crate::cursor::Cursor;
use crate::exclusive::Exclusive;
use crate::record::SubscriptionKind;

/// A consumer as the caller names it, unique within a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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

/// Why nothing is delivered just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// No consumer is attached.
    NoConsumer,
    /// The consumer has not asked for more messages.
    NoPermits {
        /// Which consumer.
        consumer: ConsumerId,
        /// The entry that is next.
        next: Offset,
    },
    /// Everything was delivered; the consumer has not acknowledged all of it.
    Unacknowledged {
        /// Which consumer.
        consumer: ConsumerId,
        /// The first message that is not acknowledged.
        first: Position,
    },
    /// Everything is acknowledged.
    CaughtUp {
        /// The entry that the subscription waits for.
        next: Offset,
    },
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConsumer => f.write_str("no consumer is attached"),
            Self::NoPermits { consumer, next } => {
                write!(
                    f,
                    "entry {next} is next, and consumer {consumer} has no permits left"
                )
            }
            Self::Unacknowledged { consumer, first } => write!(
                f,
                "everything is delivered, and consumer {consumer} has not acknowledged {first}"
            ),
            Self::CaughtUp { next } => {
                write!(
                    f,
                    "everything is acknowledged; entry {next} is not there yet"
                )
            }
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
}

impl Dispatcher {
    /// A dispatcher for a subscription of `kind`, without consumers. None for a kind that cannot
    /// be served yet.
    #[must_use]
    pub fn new(kind: SubscriptionKind) -> Option<Self> {
        match kind {
            SubscriptionKind::Exclusive => Some(Self::Exclusive(Exclusive::default())),
            SubscriptionKind::Failover | SubscriptionKind::Shared | SubscriptionKind::KeyShared => {
                None
            }
        }
    }

    /// Adds a consumer, without permits.
    ///
    /// # Errors
    /// When the subscription's kind or its present consumer excludes this one.
    pub fn attach(&mut self, consumer: ConsumerId) -> Result<(), AttachError> {
        match self {
            Self::Exclusive(exclusive) => exclusive.attach(consumer),
        }
    }

    /// Removes a consumer: what it was given and has not acknowledged is delivered again. Returns
    /// whether it was there.
    pub fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        match self {
            Self::Exclusive(exclusive) => exclusive.detach(consumer, cursor),
        }
    }

    /// Lets a consumer be sent `messages` messages more.
    ///
    /// # Errors
    /// When the consumer is not attached, or would have more than [`CONSUMER_PERMITS_MAX`]; then
    /// it has just as many.
    pub fn permits(&mut self, consumer: ConsumerId, messages: u32) -> Result<(), PermitsError> {
        match self {
            Self::Exclusive(exclusive) => exclusive.permits(consumer, messages),
        }
    }

    /// The entry to be read next, below the high watermark `end`, if a consumer can take it. The
    /// caller reads it and calls [`Self::delivered`], or [`Self::skip`] when it cannot be read.
    #[must_use]
    pub fn next(&self, cursor: &Cursor, end: Offset) -> Option<Offset> {
        match self {
            Self::Exclusive(exclusive) => exclusive.next(cursor, end),
        }
    }

    /// Hands out entry `offset`, which [`Self::next`] named and which has `messages` messages.
    /// None when it is not to be sent: every message of it is acknowledged, or something happened
    /// since it was named. In either case [`Self::next`] says how to go on.
    pub fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
    ) -> Option<Delivery> {
        match self {
            Self::Exclusive(exclusive) => exclusive.delivered(cursor, offset, messages),
        }
    }

    /// Goes on behind entries that cannot be read, up to, not including, `end`: they are damaged,
    /// or the log does not hold them any more. They stay unacknowledged.
    pub fn skip(&mut self, end: Offset) {
        match self {
            Self::Exclusive(exclusive) => exclusive.skip(end),
        }
    }

    /// The cursor has been set to another position: reading goes on there.
    pub fn seek(&mut self) {
        match self {
            Self::Exclusive(exclusive) => exclusive.seek(),
        }
    }

    /// The consumers that are attached.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerId> {
        match self {
            Self::Exclusive(exclusive) => exclusive.consumer().into_iter(),
        }
    }

    /// Why nothing is delivered below the high watermark `end`; none when something can be.
    #[must_use]
    pub fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        match self {
            Self::Exclusive(exclusive) => exclusive.blocked(cursor, end),
        }
    }

    /// Stops the process when the dispatcher is not in order.
    ///
    /// # Panics
    /// When something that is never false is false.
    pub fn check_invariants(&self) {
        match self {
            Self::Exclusive(exclusive) => exclusive.check_invariants(),
        }
    }
}
