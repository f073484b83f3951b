//! Consuming: SUBSCRIBE and SUBSCRIBED, ACTIVE, and PERMITS.

use alloc::string::ToString;

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_model::{Offset, Position, SubscriptionName, TopicName};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{TEXT_BYTES_MAX, Violation, check_partition, check_text, name};

/// How a subscription shares its messages among its consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SubscriptionType {
    /// One consumer at a time.
    Exclusive = 0,
    /// One consumer at a time; others wait to take over.
    Failover = 1,
    /// Every message goes to one of several consumers.
    Shared = 2,
    /// The same, and messages with the same key go to the same consumer.
    KeyShared = 3,
}

impl SubscriptionType {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Exclusive),
            1 => Some(Self::Failover),
            2 => Some(Self::Shared),
            3 => Some(Self::KeyShared),
            _ => None,
        }
    }

    /// Whether several consumers get messages at a time, so that none of them gets all, and what
    /// one gets is in no order with what others get.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::KeyShared)
    }
}

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartFrom {
    /// At the oldest message that there is.
    Earliest,
    /// After the newest one.
    Latest,
    /// At this message, which is the first that it gets; at the oldest or after the newest one, when
    /// it lies before or behind what there is.
    Position(Position),
}

impl StartFrom {
    const fn code(self) -> u8 {
        match self {
            Self::Earliest => 0,
            Self::Latest => 1,
            Self::Position(_) => 2,
        }
    }

    fn read(table: &schema::Subscribe<'_>) -> Result<Self, Violation> {
        match table.start().0 {
            0 => Ok(Self::Earliest),
            1 => Ok(Self::Latest),
            2 => Ok(Self::Position(Position {
                offset: Offset(table.start_offset()),
                index: table.start_index(),
            })),
            code => Err(Violation::OutOfRange {
                field: "start",
                value: i128::from(code),
            }),
        }
    }
}

/// SUBSCRIBE: opens the frame's stream as a consumer of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number within it; -1 for a topic without partitions.
    pub partition: i32,
    /// The subscription.
    pub subscription: SubscriptionName,
    /// How the subscription shares its messages.
    pub kind: SubscriptionType,
    /// Where it begins if it does not exist yet.
    pub start: StartFrom,
    /// The consumer's name for people; may be empty.
    pub consumer: &'a str,
    /// How many messages may be delivered to begin with.
    pub permits: u32,
    /// Of a failover subscription: the active consumer is one of the lowest number. Of a shared
    /// one: while consumers of a lower number have permits, those of a higher get nothing.
    pub priority: u8,
    /// Of a failover subscription: who the consumer is, the same number on all partitions and over
    /// every stream, and no other consumer's; 0 when it does not say.
    pub member: u64,
    /// Whether the subscription is kept when its consumers are gone. One that is not is known to the
    /// broker's process alone: nothing of it is written, it keeps nothing from being removed, and its
    /// name is of another kind than those of durable ones.
    pub durable: bool,
}

impl<'a> Subscribe<'a> {
    fn check(&self) -> Result<(), Violation> {
        check_partition(self.partition)?;
        check_permits(self.permits)?;
        check_text("consumer", self.consumer, TEXT_BYTES_MAX)
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let topic = builder.create_string(&self.topic.to_string());
        let subscription = builder.create_string(self.subscription.as_str());
        let consumer = builder.create_string(self.consumer);
        let place = match self.start {
            StartFrom::Position(position) => position,
            StartFrom::Earliest | StartFrom::Latest => Position::default(),
        };
        let args = schema::SubscribeArgs {
            topic: Some(topic),
            partition: self.partition,
            subscription: Some(subscription),
            kind: schema::SubscriptionType(self.kind as u8),
            start: schema::StartFrom(self.start.code()),
            consumer: Some(consumer),
            permits: self.permits,
            priority: self.priority,
            member: self.member,
            durable: self.durable,
            start_offset: place.offset.0,
            start_index: place.index,
        };
        let table = schema::Subscribe::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Subscribe<'a>>(frame)?;
        Self::read(&table).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::Subscribe<'a>) -> Result<Self, Violation> {
        let kind = table.kind().0;
        let subscribe = Self {
            topic: name("topic", table.topic())?,
            partition: table.partition(),
            subscription: name("subscription", table.subscription())?,
            kind: SubscriptionType::from_code(kind).ok_or(Violation::OutOfRange {
                field: "kind",
                value: i128::from(kind),
            })?,
            start: StartFrom::read(table)?,
            consumer: table.consumer().unwrap_or_default(),
            permits: table.permits(),
            priority: table.priority(),
            member: table.member(),
            durable: table.durable(),
        };
        subscribe.check()?;
        Ok(subscribe)
    }
}

/// SUBSCRIBED: the answer to SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// Everything before it is acknowledged.
    pub mark: Position,
    /// The oldest entry that there is.
    pub log_start: Offset,
    /// The offset after the newest entry that may be delivered.
    pub high_watermark: Offset,
    /// The subscription has just been created.
    pub created: bool,
}

impl Subscribed {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        let args = schema::SubscribedArgs {
            mark_offset: self.mark.offset.0,
            mark_index: self.mark.index,
            log_start: self.log_start.0,
            high_watermark: self.high_watermark.0,
            created: self.created,
        };
        let table = schema::Subscribed::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Subscribed<'_>>(frame)?;
        Ok(Self {
            mark: Position {
                offset: Offset(table.mark_offset()),
                index: table.mark_index(),
            },
            log_start: Offset(table.log_start()),
            high_watermark: Offset(table.high_watermark()),
            created: table.created(),
        })
    }
}

/// ACTIVE: which of a failover subscription's consumers gets the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// The frame's consumer is the one from now on; false when it no longer is, or not yet.
    pub active: bool,
}

impl Active {
    pub(crate) fn build(self, builder: &mut Builder) -> Result<(), Violation> {
        let args = schema::ActiveArgs {
            active: self.active,
        };
        let table = schema::Active::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Active<'_>>(frame)?;
        Ok(Self {
            active: table.active(),
        })
    }
}

/// PERMITS: so many messages more may be delivered on the frame's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permits {
    /// Number of messages.
    pub messages: u32,
}

impl Permits {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_permits(self.messages)?;
        let args = schema::PermitsArgs {
            messages: self.messages,
        };
        let table = schema::Permits::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Permits<'_>>(frame)?;
        check_permits(table.messages()).map_err(|violation| frame.refused(violation))?;
        Ok(Self {
            messages: table.messages(),
        })
    }
}

fn check_permits(messages: u32) -> Result<(), Violation> {
    if messages > CONSUMER_PERMITS_MAX {
        return Err(Violation::OutOfRange {
            field: "permits",
            value: i128::from(messages),
        });
    }
    Ok(())
}
