//! What clients ask of a partition.

use hulse_model::{Offset, Position, ProducerName, SubscriptionName};
use hulse_subscription::{Access, SubscriptionKind};

/// The time, as an argument: this crate cannot tell it by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds of a clock that never goes back; for time-outs.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970; for what people and policies see.
    pub wall_ms: u64,
}

/// One producer or consumer: a stream of one connection. Connections are numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The core's number for the connection, never reused while the process lives.
    pub connection: u64,
    /// The client's number for the stream; 0 is the connection itself.
    pub stream: u32,
}

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest entry that is kept.
    Earliest,
    /// What comes after the newest.
    Latest,
    /// The message at this place, or the nearest that exists.
    Position(Position),
}

/// Where a subscription is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The oldest entry that is kept.
    Earliest,
    /// What comes after the newest.
    Latest,
    /// The message at this place, or the nearest that exists.
    Position(Position),
    /// The first entry appended at or after this time, milliseconds since 1970.
    Time(u64),
}

/// Messages of one entry that a consumer acknowledges: `first` to `last`, both included, of the
/// batch. `last` may be above the batch's end, which then is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckedMessages {
    /// The entry.
    pub offset: Offset,
    /// The first message within the batch.
    pub first: u32,
    /// The last message within the batch.
    pub last: u32,
}

/// A request of a stream. What it borrows from the frame is copied where it is kept.
#[derive(Debug, Clone)]
pub enum Command<'a> {
    /// Makes the stream a producer.
    OpenProducer {
        /// Its name; the rim has made one up if the client gave none.
        name: ProducerName,
        /// Which opening of this name it is; a higher one takes the name over, and none takes it
        /// over in any case.
        epoch: Option<u64>,
        /// Whether it publishes beside others or alone.
        access: Access,
        /// The access epoch that it was given when it was open before.
        access_epoch: Option<u64>,
    },
    /// A batch to store.
    Produce {
        /// The sequence number of its first message.
        sequence: u64,
        /// How many messages it holds.
        messages: u32,
        /// The producer says that it left numbers out before this one.
        skipped: bool,
        /// The batch begins with the time at which its messages are due.
        delayed: bool,
        /// The batch.
        payload: &'a [u8],
        /// Its checksum, if the rim knows it.
        payload_crc: Option<u32>,
    },
    /// Makes the stream the consumer of a subscription, which is created if it does not exist.
    Subscribe {
        /// The subscription's name.
        subscription: SubscriptionName,
        /// The subscription's type.
        kind: SubscriptionKind,
        /// Where it begins if it is new.
        start: StartFrom,
        /// The consumer's name, for people, and for the order within a Failover subscription.
        consumer: String,
        /// Its priority: 0 comes first.
        priority: u8,
        /// Of a Failover subscription: who it is on every partition, if it says so.
        member: Option<u64>,
        /// Messages that may be delivered at once.
        permits: u32,
        /// Whether the subscription outlives its consumers.
        durable: bool,
    },
    /// So many messages more may be delivered.
    Permits(u32),
    /// Everything up to and including message `last` of the entry is acknowledged.
    AckCumulative {
        /// The last message acknowledged; `first` is not looked at.
        up_to: AckedMessages,
        /// Whether an answer is wanted once it is durable.
        receipt: bool,
    },
    /// Single messages are acknowledged.
    AckIndividual {
        /// The messages.
        messages: &'a [AckedMessages],
        /// Whether an answer is wanted once it is durable.
        receipt: bool,
    },
    /// The consumer wants entries again that it was sent.
    Redeliver {
        /// Which; with an empty list all that are not acknowledged.
        entries: &'a [Offset],
    },
    /// A consumer asks for the newest message of its partition.
    GetLast,
    /// Sets the stream's own subscription.
    Seek(SeekTo),
    /// Sets a subscription by name, whether or not a consumer is attached.
    SeekSubscription {
        /// The subscription's name.
        subscription: SubscriptionName,
        /// Where to.
        to: SeekTo,
    },
    /// Makes a subscription at the oldest message that is kept, unless it exists. Answered when it
    /// is durable.
    CreateSubscription {
        /// The subscription's name.
        subscription: SubscriptionName,
        /// Its type.
        kind: SubscriptionKind,
    },
    /// Deletes a subscription that no consumer uses.
    DeleteSubscription {
        /// The subscription's name.
        subscription: SubscriptionName,
    },
    /// Ends the stream.
    Close,
}

/// Whether a request was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Handled {
    /// It was; its answer comes, or has come, as an effect.
    Done,
    /// A budget is used up. Nothing has happened: the same request is to be offered again after
    /// [`crate::Effect::Resume`] has come for its connection, and none of that connection before.
    Held,
}
