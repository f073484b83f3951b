//! REDELIVER: entries that a consumer wants delivered again.

use hulse_model::Offset;
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::list::list;
use crate::table::root;
use crate::violation::{Violation, check_count};

/// The most entries of one REDELIVER.
pub const REDELIVER_ENTRIES_MAX: usize = 2048;

list! {
    /// The offsets of entries.
    EntryOffsets, Offset, u64, 8, read, written
}

fn read(bytes: &[u8; 8]) -> Offset {
    Offset(u64::from_le_bytes(*bytes))
}

const fn written(offset: Offset) -> u64 {
    offset.0
}

/// REDELIVER: entries that the frame's consumer was delivered, and that are to be delivered again:
/// to any consumer of a shared subscription, to the one consumer of another together with everything
/// else that is not acknowledged, from the mark on. There is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeliver<'a> {
    /// The entries, at most [`REDELIVER_ENTRIES_MAX`]. None means everything that the consumer was
    /// delivered and has not acknowledged.
    pub entries: EntryOffsets<'a>,
}

impl<'a> Redeliver<'a> {
    fn check(&self) -> Result<(), Violation> {
        check_count("entries", self.entries.len(), REDELIVER_ENTRIES_MAX)
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let args = schema::RedeliverArgs {
            entries: self.entries.build(builder),
        };
        let table = schema::Redeliver::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Redeliver<'a>>(frame)?;
        let redeliver = Self {
            entries: EntryOffsets::from_vector(table.entries()),
        };
        redeliver
            .check()
            .map_err(|violation| frame.refused(violation))?;
        Ok(redeliver)
    }
}
