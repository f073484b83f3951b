//! SEEK: moves a subscription to another place.

use alloc::string::ToString;

use hulse_model::{Offset, Position, SubscriptionName, TopicName};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{Violation, check_partition, name};

/// Where a subscription is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeekTo {
    /// The oldest message that there is.
    Earliest,
    /// After the newest one.
    Latest,
    /// Before this message.
    Position(Position),
    /// Before the first message that was appended at or after this time, in milliseconds since
    /// 1970.
    Time(u64),
}

/// A subscription of one partition, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRef {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number within it; -1 for a topic without partitions.
    pub partition: i32,
    /// The subscription.
    pub subscription: SubscriptionName,
}

/// SEEK. The answer is DONE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seek {
    /// Where to.
    pub to: SeekTo,
    /// Whose: `None` on a consumer's stream, which has a subscription already; the subscription on
    /// stream 0.
    pub subscription: Option<SubscriptionRef>,
}

impl Seek {
    pub(crate) fn build(&self, builder: &mut Builder, stream: u32) -> Result<(), Violation> {
        if stream == 0 && self.subscription.is_none() {
            return Err(Violation::Missing {
                field: "subscription",
            });
        }
        let (to, position, time_ms) = match self.to {
            SeekTo::Earliest => (schema::SeekTo::Earliest, Position::default(), 0),
            SeekTo::Latest => (schema::SeekTo::Latest, Position::default(), 0),
            SeekTo::Position(position) => (schema::SeekTo::Offset, position, 0),
            SeekTo::Time(time_ms) => (schema::SeekTo::Time, Position::default(), time_ms),
        };
        let mut args = schema::SeekArgs {
            to,
            offset: position.offset.0,
            index: position.index,
            time_ms,
            ..schema::SeekArgs::default()
        };
        if let Some(named) = &self.subscription {
            check_partition(named.partition)?;
            args.topic = Some(builder.create_string(&named.topic.to_string()));
            args.partition = named.partition;
            args.subscription = Some(builder.create_string(named.subscription.as_str()));
        }
        let table = schema::Seek::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Seek<'_>>(frame)?;
        Self::read(&table, frame.stream).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::Seek<'_>, stream: u32) -> Result<Self, Violation> {
        let to = match table.to() {
            schema::SeekTo::Earliest => SeekTo::Earliest,
            schema::SeekTo::Latest => SeekTo::Latest,
            schema::SeekTo::Offset => SeekTo::Position(Position {
                offset: Offset(table.offset()),
                index: table.index(),
            }),
            schema::SeekTo::Time => SeekTo::Time(table.time_ms()),
            unknown => {
                let value = i128::from(unknown.0);
                return Err(Violation::OutOfRange { field: "to", value });
            }
        };
        let named = stream == 0 || table.topic().is_some() || table.subscription().is_some();
        let subscription = if named {
            Some(SubscriptionRef::read(table)?)
        } else {
            None
        };
        Ok(Self { to, subscription })
    }
}

impl SubscriptionRef {
    fn read(table: &schema::Seek<'_>) -> Result<Self, Violation> {
        check_partition(table.partition())?;
        Ok(Self {
            topic: name("topic", table.topic())?,
            partition: table.partition(),
            subscription: name("subscription", table.subscription())?,
        })
    }
}
