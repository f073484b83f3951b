//! ACK: messages that a consumer is done with.

use hulse_model::Offset;
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::list::list;
use crate::table::root;
use crate::violation::{Violation, check_count};

/// The most ranges of one ACK or one DELIVER.
pub const ACK_RANGES_MAX: usize = 2048;

/// Messages `first_index` to `last_index`, both included, of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckRange {
    /// The entry.
    pub offset: Offset,
    /// The first message within the entry's batch, from 0.
    pub first_index: u32,
    /// The last message within the entry's batch; [`AckRange::LAST`] for the entry's last one.
    pub last_index: u32,
}

impl AckRange {
    /// A `last_index` that means the entry's last message, whichever that is.
    pub const LAST: u32 = u32::MAX;

    /// All messages of one entry.
    #[must_use]
    pub const fn entry(offset: Offset) -> Self {
        Self {
            offset,
            first_index: 0,
            last_index: Self::LAST,
        }
    }

    /// One message of one entry.
    #[must_use]
    pub const fn message(offset: Offset, index: u32) -> Self {
        Self {
            offset,
            first_index: index,
            last_index: index,
        }
    }

    fn read(bytes: &[u8; 16]) -> Self {
        let stored = schema::AckRange(*bytes);
        Self {
            offset: Offset(stored.offset()),
            first_index: stored.first_index(),
            last_index: stored.last_index(),
        }
    }

    fn written(self) -> schema::AckRange {
        schema::AckRange::new(self.offset.0, self.first_index, self.last_index)
    }
}

list! {
    /// Ranges of messages.
    AckRanges, AckRange, schema::AckRange, 16, AckRange::read, AckRange::written
}

/// Whether an acknowledgement speaks of single messages or of all up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AckKind {
    /// The messages of the ranges.
    Individual = 0,
    /// Every message up to the last one of the only range, that one included.
    Cumulative = 1,
}

/// ACK. With a correlation id above 0 an ACKED answers when the acknowledgement is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// How the ranges are to be read.
    pub kind: AckKind,
    /// 1 to [`ACK_RANGES_MAX`] ranges; exactly one for [`AckKind::Cumulative`].
    pub ranges: AckRanges<'a>,
}

impl<'a> Ack<'a> {
    fn check(&self) -> Result<(), Violation> {
        if self.ranges.is_empty() {
            return Err(Violation::Missing { field: "ranges" });
        }
        let limit = match self.kind {
            AckKind::Individual => ACK_RANGES_MAX,
            AckKind::Cumulative => 1,
        };
        check_ranges("ranges", &self.ranges, limit)
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let args = schema::AckArgs {
            kind: schema::AckKind(self.kind as u8),
            ranges: self.ranges.build(builder),
        };
        let table = schema::Ack::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Ack<'a>>(frame)?;
        Self::read(&table).map_err(|violation| frame.refused(violation))
    }

    fn read(table: &schema::Ack<'a>) -> Result<Self, Violation> {
        let kind = match table.kind().0 {
            0 => AckKind::Individual,
            1 => AckKind::Cumulative,
            code => {
                return Err(Violation::OutOfRange {
                    field: "kind",
                    value: i128::from(code),
                });
            }
        };
        let ack = Self {
            kind,
            ranges: AckRanges::from_vector(table.ranges()),
        };
        ack.check()?;
        Ok(ack)
    }
}

/// Checks the number of ranges, and that each begins before it ends.
pub(crate) fn check_ranges(
    field: &'static str,
    ranges: &AckRanges<'_>,
    limit: usize,
) -> Result<(), Violation> {
    check_count(field, ranges.len(), limit)?;
    match ranges
        .iter()
        .find(|range| range.first_index > range.last_index)
    {
        Some(range) => {
            let value = i128::from(range.first_index);
            Err(Violation::OutOfRange {
                field: "first_index",
                value,
            })
        }
        None => Ok(()),
    }
}
