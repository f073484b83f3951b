//! Reading entries, in order, from anywhere.

use std::io;

use hulse_model::{Entry, EntryHeader, Offset};

use crate::disk::{Disk, DiskFile};
use crate::log::Log;
use crate::record::{LocalHeader, RECORD_HEAD_BYTES, RECORD_HEADER_BYTES};
use crate::report::{DamageReason, DamagedRange};
use crate::scan::{Before, scan};
use crate::segment::DATA_START;
use crate::segments::Stage;

/// A place in a log where reading goes on. It remembers where in the files that is, so that
/// reading in order never searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCursor {
    offset: Offset,
    hint: Option<Hint>,
    /// A segment, and how far in it what lies before is in memory.
    warm: Option<(u64, u64)>,
    /// A segment, and how far in it the disk was asked to read ahead.
    read_ahead: Option<(u64, u64)>,
}

/// Where the record of a cursor's offset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hint {
    epoch: u64,
    segment: u64,
    position: u64,
}

impl ReadCursor {
    /// The offset of the entry that is read next.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Whether a segment is known to be in memory up to `end`.
    pub(super) fn is_warm(&self, segment: u64, end: u64) -> bool {
        self.warm
            .is_some_and(|(warm, upto)| warm == segment && upto >= end)
    }

    /// Notes that it is.
    pub(super) const fn note_warm(&mut self, segment: u64, upto: u64) {
        self.warm = Some((segment, upto));
    }

    /// How far in a segment the disk was asked to read ahead; 0 when it was not.
    pub(super) fn read_ahead(&self, segment: u64) -> u64 {
        self.read_ahead
            .filter(|(ahead, _)| *ahead == segment)
            .map_or(0, |(_, upto)| upto)
    }

    /// Notes that it was asked to.
    pub(super) const fn note_read_ahead(&mut self, segment: u64, upto: u64) {
        self.read_ahead = Some((segment, upto));
    }
}

/// An entry that was read and checked. It owns its bytes, and they stay readable when the log
/// drops the segment.
#[derive(Debug, Clone)]
pub struct StoredEntry<D: Disk> {
    /// The entry's header.
    pub header: EntryHeader,
    slice: <D::File as DiskFile>::Slice,
}

impl<D: Disk> StoredEntry<D> {
    /// The whole entry, header and payload, as it is stored and sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.slice.as_ref()
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[hulse_model::entry::ENTRY_HEADER_BYTES..]
    }

    /// The bytes themselves, to be sent later.
    #[must_use]
    pub fn into_slice(self) -> <D::File as DiskFile>::Slice {
        self.slice
    }
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Entries from the cursor's on are damaged. What lies at `end` and after can be read.
    #[error("entries {first} to {end}, without the last, are damaged")]
    Damaged {
        /// The first damaged entry.
        first: Offset,
        /// One past the last damaged entry.
        end: Offset,
    },
    /// The entry is no longer kept.
    #[error("the log begins at {start}")]
    BelowStart {
        /// The first entry that is kept.
        start: Offset,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
}

impl<D: Disk> Log<D> {
    /// A cursor that reads the entry at `offset` next.
    #[must_use]
    pub const fn cursor(&self, offset: Offset) -> ReadCursor {
        ReadCursor {
            offset,
            hint: None,
            warm: None,
            read_ahead: None,
        }
    }

    /// Reads the cursor's entry and moves the cursor on, when the entry lies below `below` and is
    /// written (flushed, when the log is poisoned). Both checksums are verified.
    ///
    /// # Errors
    /// See [`ReadError`]; the cursor has not moved then.
    pub fn read(
        &mut self,
        cursor: &mut ReadCursor,
        below: Offset,
    ) -> Result<Option<StoredEntry<D>>, ReadError> {
        let readable = if self.poison.is_some() {
            self.progress.flushed
        } else {
            self.progress.written
        };
        let offset = cursor.offset;
        if offset >= below.min(readable) {
            return Ok(None);
        }
        if offset < self.start() {
            return Err(ReadError::BelowStart {
                start: self.start(),
            });
        }
        self.refuse_damaged(offset)?;
        let place = match self.place_of(cursor) {
            Some(place) => Some(place),
            None => self.find(offset)?,
        };
        let read = match place {
            Some((number, position)) => self.read_at(number, position, offset)?,
            None => None,
        };
        let Some((entry, hint)) = read else {
            // Something is wrong between the last index point and here: look at all of it.
            self.inspect(offset)?;
            self.refuse_damaged(offset)?;
            return Err(ReadError::Damaged {
                first: offset,
                end: offset.next(),
            });
        };
        cursor.offset = offset.next();
        cursor.hint = Some(hint);
        Ok(Some(entry))
    }

    /// The first entry that was appended at `ms` (milliseconds since 1970) or later; the end of
    /// the written entries when there is none.
    ///
    /// # Errors
    /// When the disk fails. Damaged entries are passed over.
    pub fn find_time(&mut self, ms: u64) -> Result<Offset, ReadError> {
        let Some(number) = self.segments.number_at_time(ms) else {
            return Ok(self.progress.written);
        };
        self.open_segment(number)?;
        let Some(segment) = self.segments.get(number) else {
            return Ok(self.progress.written);
        };
        // The points carry the latest time so far, so the entry lies after the last point that is
        // still earlier.
        let contents = &segment.contents;
        let earlier = contents.points.partition_point(|point| point.max_ms < ms);
        let from = earlier
            .checked_sub(1)
            .and_then(|at| contents.points.get(at))
            .map_or(contents.first, |point| {
                contents.first.plus(u64::from(point.relative))
            });
        let mut cursor = self.cursor(from.max(self.start()));
        loop {
            match self.read(&mut cursor, self.progress.written) {
                Ok(Some(entry)) if entry.header.appended_ms >= ms => {
                    return Ok(entry.header.offset);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(cursor.offset),
                Err(ReadError::Damaged { end, .. }) => cursor = self.cursor(end),
                Err(ReadError::BelowStart { start }) => cursor = self.cursor(start),
                Err(error @ ReadError::Io { .. }) => return Err(error),
            }
        }
    }

    fn refuse_damaged(&self, offset: Offset) -> Result<(), ReadError> {
        match self.damage.at(offset) {
            Some(range) => Err(ReadError::Damaged {
                first: offset,
                end: range.end,
            }),
            None => Ok(()),
        }
    }

    /// Where the cursor's entry stands, if it remembers.
    pub(super) fn place_of(&self, cursor: &ReadCursor) -> Option<(u64, u64)> {
        let hint = cursor.hint.filter(|hint| hint.epoch == self.epoch)?;
        self.follow(hint, cursor.offset)
    }

    /// The place that a hint means: in its segment, or at the start of the next one.
    fn follow(&self, hint: Hint, offset: Offset) -> Option<(u64, u64)> {
        let segment = self.segments.get(hint.segment)?;
        if offset < segment.contents.end {
            return Some((hint.segment, hint.position));
        }
        let next = self.segments.get(hint.segment + 1)?;
        (next.contents.first == offset).then_some((hint.segment + 1, DATA_START))
    }

    /// Searches the place of an entry: the segment, its index, and the records from there on.
    fn find(&mut self, offset: Offset) -> Result<Option<(u64, u64)>, ReadError> {
        let Some(number) = self.segments.number_of(offset) else {
            return Ok(None);
        };
        self.open_segment(number)?;
        let Some(segment) = self.segments.get(number) else {
            return Ok(None);
        };
        let Some(file) = self.segments.file(number) else {
            return Ok(None);
        };
        let contents = &segment.contents;
        if offset >= contents.end {
            return Ok(None);
        }
        let (mut at, mut position) = match contents.point_before(offset) {
            Some(point) => (
                contents.first.plus(u64::from(point.relative)),
                u64::from(point.position),
            ),
            None => (contents.first, DATA_START),
        };
        while at < offset {
            if position + RECORD_HEAD_BYTES as u64 > contents.data_end {
                return Ok(None);
            }
            let head = slice(file, position, RECORD_HEAD_BYTES)?;
            let Some(local) = LocalHeader::decode(segment.header.seal, head.as_ref()) else {
                return Ok(None);
            };
            position += local.record_bytes();
            at = at.next();
        }
        Ok(Some((number, position)))
    }

    /// Reads and checks the record of entry `offset` at a place. `None` when it is damaged.
    fn read_at(
        &mut self,
        number: u64,
        position: u64,
        offset: Offset,
    ) -> Result<Option<(StoredEntry<D>, Hint)>, ReadError> {
        self.open_segment(number)?;
        let Some(segment) = self.segments.get(number) else {
            return Ok(None);
        };
        let Some(file) = self.segments.file(number) else {
            return Ok(None);
        };
        let data_end = segment.contents.data_end;
        if position + RECORD_HEAD_BYTES as u64 > data_end {
            return Ok(None);
        }
        let head = slice(file, position, RECORD_HEAD_BYTES)?;
        let Some(local) = LocalHeader::decode(segment.header.seal, head.as_ref()) else {
            return Ok(None);
        };
        let next = position + local.record_bytes();
        if next > data_end {
            return Ok(None);
        }
        let bytes = slice(
            file,
            position + RECORD_HEADER_BYTES as u64,
            local.entry_bytes,
        )?;
        let header = match Entry::decode(bytes.as_ref()) {
            Ok(entry) if entry.header.offset == offset => entry.header,
            Ok(_) | Err(_) => return Ok(None),
        };
        let hint = Hint {
            epoch: self.epoch,
            segment: number,
            position: next,
        };
        Ok(Some((
            StoredEntry {
                header,
                slice: bytes,
            },
            hint,
        )))
    }

    /// Reads the whole segment of a damaged entry, notes all that is damaged in it, and makes an
    /// index that leads past it.
    fn inspect(&mut self, offset: Offset) -> Result<(), ReadError> {
        let Some(number) = self.segments.number_of(offset) else {
            return Ok(());
        };
        self.open_segment(number)?;
        let Some(segment) = self.segments.get(number) else {
            return Ok(());
        };
        let Some(file) = self.segments.file(number) else {
            return Ok(());
        };
        // What is staged stands in the contents and not yet in the file.
        let readable = self.progress.written.min(segment.end);
        let length = usize::try_from(segment.contents.data_end.min(segment.bytes));
        let bytes = slice(file, 0, length.unwrap_or_default())?;
        let before = Before {
            end: Some(segment.contents.first),
            last_term: hulse_model::Term(0),
            cut: Some(readable),
        };
        let found = scan(&segment.header, bytes.as_ref(), before);
        let name = segment.name.clone();
        let tail = (found.contents.end < readable).then(|| DamagedRange {
            first: found.contents.end,
            end: readable,
            segment: name.clone(),
            position: found.contents.data_end,
            reason: found.tail.unwrap_or(DamageReason::Missing),
        });
        let ranges = found.bad.into_iter().map(|bad| DamagedRange {
            first: bad.first,
            end: bad.end,
            segment: name.clone(),
            position: bad.position,
            reason: bad.reason,
        });
        for range in ranges.chain(tail) {
            self.damage.add(range);
        }
        if let Some(segment) = self.segments.get_mut(number) {
            // Records that are staged, or come later, keep the points that they have.
            let kept = segment
                .contents
                .points
                .iter()
                .filter(|point| u64::from(point.position) >= found.contents.data_end);
            let points = found.contents.points.iter().chain(kept).copied().collect();
            segment.contents.points = points;
            if segment.stage == Stage::Sealed {
                segment.stage = Stage::Damaged;
            }
        }
        Ok(())
    }

    pub(super) fn open_segment(&mut self, number: u64) -> Result<(), ReadError> {
        self.uses.all += 1;
        self.uses.reads += 1;
        self.segments
            .open(&self.home.disk, &self.home.dir, number)
            .map_err(|source| {
                let name = self
                    .segments
                    .get(number)
                    .map_or("", |segment| segment.name.as_str());
                ReadError::Io {
                    path: format!("{}/{name}", self.home.dir),
                    source,
                }
            })
    }
}

fn slice<F: DiskFile>(file: &F, position: u64, bytes: usize) -> Result<F::Slice, ReadError> {
    file.slice(position, bytes).map_err(|source| ReadError::Io {
        path: file.path().to_owned(),
        source,
    })
}
