//! Reading what may not be in memory: a core that touches a page of a map which is on the disk alone
//! stands still until the disk has brought it, with all its partitions.

use std::io;

use hulse_model::Offset;

use crate::disk::{Disk, DiskFile};
use crate::log::Log;
use crate::log::read::{ReadCursor, ReadError};
use crate::segment::DATA_START;
use crate::segments::Stage;

/// How far ahead of a cursor is looked, and brought into memory, at a time, in bytes.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// A cursor that has less than this ahead of it that was looked at looks anew, in bytes.
const AHEAD_BYTES_MIN: u64 = 1024 * 1024;
/// What was written at most so many bytes ago, in the life of this process, is in memory.
const RECENT_BYTES: u64 = 8 * 1024 * 1024;

/// A part of a segment that is not in memory. Send it to a helper thread and run it there; read on
/// when it has come back.
#[derive(Debug)]
pub struct WarmUp<D: Disk> {
    file: D::File,
    position: u64,
    bytes: u64,
    /// Bytes that follow, which the disk is to begin with.
    ahead: u64,
}

impl<D: Disk> WarmUp<D> {
    /// Reads the part, and has the disk begin with what follows it. Blocks for as long as the disk
    /// takes.
    ///
    /// # Errors
    /// Whatever the disk answers. Whoever reads the part from the map then waits for the disk, or
    /// learns that it has failed.
    pub fn run(&self) -> io::Result<()> {
        self.file.warm(self.position, self.bytes, self.ahead)
    }
}

impl<D: Disk> Log<D> {
    /// What has to be brought into memory before the cursor's entry is read with [`Log::read`];
    /// `None` when it is there, as far as samples tell. The cursor remembers what was looked at.
    ///
    /// # Errors
    /// When the segment cannot be opened.
    pub fn cold_ahead(
        &mut self,
        cursor: &mut ReadCursor,
        below: Offset,
    ) -> Result<Option<WarmUp<D>>, ReadError> {
        let offset = cursor.offset();
        if offset >= below.min(self.progress.written) || offset < self.start() {
            return Ok(None);
        }
        let Some((number, position)) = self.place_near(cursor, offset)? else {
            return Ok(None);
        };
        let Some(segment) = self.segments.get(number) else {
            return Ok(None);
        };
        let stage = segment.stage;
        let end = segment.contents.data_end.min(segment.bytes);
        if cursor.is_warm(number, (position + AHEAD_BYTES_MIN).min(end)) {
            return Ok(None);
        }
        let behind = end.saturating_sub(position);
        if stage == Stage::Active && behind <= RECENT_BYTES.min(self.progress.appended_bytes) {
            return Ok(None);
        }
        self.open_segment(number)?;
        let Some(file) = self.segments.file(number) else {
            return Ok(None);
        };
        let upto = (position + WINDOW_BYTES).min(end);
        let bytes = upto.saturating_sub(position);
        cursor.note_warm(number, upto);
        // What the disk has read ahead is in memory, but no processor has touched it. Where a
        // machine's memory is given to it as it is touched, as on many virtual machines, that takes
        // several times as long as to check and send it: so the helper reads all of a cold part.
        let read_ahead = cursor.read_ahead(number);
        if position >= read_ahead && file.is_resident(position, bytes) {
            return Ok(None);
        }
        let begins = upto.max(read_ahead);
        let ends = (upto + WINDOW_BYTES).min(end);
        let ahead = if begins >= ends || file.is_resident(begins, ends - begins) {
            0
        } else {
            cursor.note_read_ahead(number, ends);
            ends - upto
        };
        Ok(Some(WarmUp {
            file: file.clone(),
            position,
            bytes,
            ahead,
        }))
    }

    /// Where the cursor's entry stands, or the last point of the index before it. Touches no record.
    fn place_near(
        &mut self,
        cursor: &ReadCursor,
        offset: Offset,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        if let Some(place) = self.place_of(cursor) {
            return Ok(Some(place));
        }
        let Some(number) = self.segments.number_of(offset) else {
            return Ok(None);
        };
        self.open_segment(number)?;
        Ok(self.segments.get(number).map(|segment| {
            let point = segment.contents.point_before(offset);
            (
                number,
                point.map_or(DATA_START, |point| u64::from(point.position)),
            )
        }))
    }
}
