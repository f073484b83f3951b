//! How far a partition goes: GET_LAST and LAST.

use hulse_model::{Offset, Position, Term};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::Violation;

/// The newest message of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMessage {
    /// The term of its entry.
    pub term: Term,
    /// The offset of its entry.
    pub offset: Offset,
    /// Its index within the entry.
    pub index: u32,
}

/// LAST: the answer to GET_LAST, which has no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// The newest message that may be delivered; `None` when nothing is kept.
    pub last: Option<LastMessage>,
    /// Everything before it is acknowledged by the frame's subscription.
    pub mark: Position,
    /// The offset after the newest entry that may be delivered.
    pub high_watermark: Offset,
}

impl Last {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        let args = schema::LastArgs {
            has_last: self.last.is_some(),
            term: self.last.map_or(0, |last| last.term.0),
            offset: self.last.map_or(0, |last| last.offset.0),
            index: self.last.map_or(0, |last| last.index),
            mark_offset: self.mark.offset.0,
            mark_index: self.mark.index,
            high_watermark: self.high_watermark.0,
        };
        let table = schema::Last::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'_>) -> Result<Self, FrameError> {
        let table = root::<schema::Last<'_>>(frame)?;
        let last = table.has_last().then(|| LastMessage {
            term: Term(table.term()),
            offset: Offset(table.offset()),
            index: table.index(),
        });
        Ok(Self {
            last,
            mark: Position {
                offset: Offset(table.mark_offset()),
                index: table.mark_index(),
            },
            high_watermark: Offset(table.high_watermark()),
        })
    }
}
