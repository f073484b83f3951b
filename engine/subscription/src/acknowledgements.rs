//! A set of acknowledged messages in the form in which it is stored and shipped.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 8 | `mark_offset` | every message before (`mark_offset`, `mark_index`) is acknowledged |
//! | 4 | `mark_index` | |
//! | varint | `entries` | number of ranges of whole entries that follow, rising |
//! | varint, varint each | `gap`, `length` | unacknowledged entries since the range before, or since `mark_offset`; entries in the range; both at least 1 |
//! | varint | `partial` | number of partly acknowledged entries that follow, rising |
//! | varint, varint each | `gap`, `ranges` | offset, counted from `mark_offset` or from the entry after the one before; number of ranges of messages, at least 1 |
//! | varint, varint each | `gap`, `length` | messages since the range before (at least 1), or since message 0; messages in the range, at least 1 |
//!
//! Integers of fixed length are little-endian. A varint has seven bits per byte, the lowest first;
//! the top bit says that more follow.

use alloc::vec::Vec;

use hulse_model::{Offset, Position};

use crate::bytes::{Reader, put_count, put_varint};
use crate::record::RecordError;

/// The entries from `first` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first entry.
    pub first: Offset,
    /// The entry after the last.
    pub end: Offset,
}

/// Messages `first` to `last` of one entry, both included. A `last` of [`u32::MAX`] means the
/// entry's last message, however many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRange {
    /// The first message.
    pub first: u32,
    /// The last message.
    pub last: u32,
}

/// An entry of which some messages are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialEntry {
    pub(crate) offset: Offset,
    pub(crate) ranges: Vec<IndexRange>,
}

impl PartialEntry {
    /// The entry.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The acknowledged messages: rising, with at least one message between two ranges.
    #[must_use]
    pub fn ranges(&self) -> &[IndexRange] {
        &self.ranges
    }
}

/// A mark, and what is acknowledged above it. Made by a [`crate::Cursor`] or by decoding, so it is
/// always in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgements {
    pub(crate) mark: Position,
    pub(crate) entries: Vec<OffsetRange>,
    pub(crate) partial: Vec<PartialEntry>,
}

impl Acknowledgements {
    /// Every message before it is acknowledged.
    #[must_use]
    pub const fn mark(&self) -> Position {
        self.mark
    }

    /// Whole acknowledged entries above the mark.
    #[must_use]
    pub fn entries(&self) -> &[OffsetRange] {
        &self.entries
    }

    /// Partly acknowledged entries at or above the mark.
    #[must_use]
    pub fn partial(&self) -> &[PartialEntry] {
        &self.partial
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_position(out, self.mark);
        put_count(out, self.entries.len());
        let mut before = self.mark.offset.0;
        for range in &self.entries {
            put_varint(out, range.first.0 - before);
            put_varint(out, range.end.0 - range.first.0);
            before = range.end.0;
        }
        put_count(out, self.partial.len());
        let mut before = self.mark.offset.0;
        for entry in &self.partial {
            put_varint(out, entry.offset.0 - before);
            before = entry.offset.0 + 1;
            put_count(out, entry.ranges.len());
            let mut index = 0;
            for range in &entry.ranges {
                put_varint(out, u64::from(range.first) - index);
                index = u64::from(range.last) + 1;
                put_varint(out, index - u64::from(range.first));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mark = position(reader)?;
        let mut entries = Vec::new();
        let mut before = mark.offset.0;
        for _ in 0..reader.count(2)? {
            let (first, end) = range(reader, before)?;
            if first == before {
                return Err(RecordError::Field("a range of entries"));
            }
            entries.push(OffsetRange {
                first: Offset(first),
                end: Offset(end),
            });
            before = end;
        }
        let mut partial = Vec::new();
        let mut before = mark.offset.0;
        for _ in 0..reader.count(4)? {
            let offset = before
                .checked_add(reader.varint()?)
                .filter(|offset| *offset < u64::MAX)
                .ok_or(RecordError::Field(
                    "the offset of a partly acknowledged entry",
                ))?;
            partial.push(PartialEntry {
                offset: Offset(offset),
                ranges: index_ranges(reader)?,
            });
            before = offset + 1;
        }
        Ok(Self {
            mark,
            entries,
            partial,
        })
    }
}

fn index_ranges(reader: &mut Reader<'_>) -> Result<Vec<IndexRange>, RecordError> {
    let count = reader.count(2)?;
    if count == 0 {
        return Err(RecordError::Field(
            "the ranges of a partly acknowledged entry",
        ));
    }
    let mut ranges = Vec::new();
    let mut before = 0;
    for place in 0..count {
        let (first, end) = range(reader, before)?;
        let (Ok(first_index), Ok(last)) = (u32::try_from(first), u32::try_from(end - 1)) else {
            return Err(RecordError::Field("a range of messages"));
        };
        if place > 0 && first == before {
            return Err(RecordError::Field("a range of messages"));
        }
        ranges.push(IndexRange {
            first: first_index,
            last,
        });
        before = end;
    }
    Ok(ranges)
}

/// A gap since `before` and a length, as a half-open range.
fn range(reader: &mut Reader<'_>, before: u64) -> Result<(u64, u64), RecordError> {
    let gap = reader.varint()?;
    let length = reader.varint()?;
    let first = before.checked_add(gap);
    let end = first.and_then(|first| first.checked_add(length));
    match (first, end) {
        (Some(first), Some(end)) if length > 0 => Ok((first, end)),
        _ => Err(RecordError::Field("a range")),
    }
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.offset.0.to_le_bytes());
    out.extend_from_slice(&position.index.to_le_bytes());
}

pub(crate) fn position(reader: &mut Reader<'_>) -> Result<Position, RecordError> {
    Ok(Position {
        offset: Offset(reader.u64()?),
        index: reader.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(offset: u64, rest: &[u64]) -> Result<Acknowledgements, RecordError> {
        let mut bytes = Vec::new();
        put_position(&mut bytes, Position::at(Offset(offset)));
        rest.iter().for_each(|value| put_varint(&mut bytes, *value));
        let mut reader = Reader::new(&bytes);
        let decoded = Acknowledgements::decode(&mut reader)?;
        reader.finish().map(|()| decoded)
    }

    #[test]
    fn ranges_at_the_very_ends_are_read_and_those_past_them_refused() {
        let range = |first, end| OffsetRange {
            first: Offset(first),
            end: Offset(end),
        };
        let decoded = decode(u64::MAX - 3, &[1, 1, 2, 0]).unwrap();
        assert_eq!(decoded.entries(), [range(u64::MAX - 2, u64::MAX)]);
        assert!(
            decode(u64::MAX - 3, &[1, 1, 3, 0]).is_err(),
            "entries past the last offset"
        );
        assert!(
            decode(u64::MAX - 3, &[1, u64::MAX, 1, 0]).is_err(),
            "a gap past the last offset"
        );

        let decoded = decode(u64::MAX - 3, &[0, 1, 2, 1, 3, (1 << 32) - 3]).unwrap();
        assert_eq!(decoded.partial()[0].offset(), Offset(u64::MAX - 1));
        assert_eq!(
            decoded.partial()[0].ranges(),
            [IndexRange {
                first: 3,
                last: u32::MAX
            }]
        );
        assert!(
            decode(u64::MAX - 3, &[0, 1, 3, 1, 3, 1]).is_err(),
            "no entry's offset"
        );
        assert!(
            decode(0, &[0, 1, 2, 1, 3, (1 << 32) - 2]).is_err(),
            "past the last index"
        );
    }

    #[test]
    fn ranges_that_touch_or_are_empty_are_refused() {
        assert!(
            decode(5, &[1, 0, 1, 0]).is_err(),
            "entries that touch the mark"
        );
        assert!(
            decode(5, &[2, 1, 1, 0, 1, 0]).is_err(),
            "entries that touch those before"
        );
        assert!(decode(5, &[1, 1, 0, 0]).is_err(), "no entries");
        assert!(
            decode(5, &[0, 1, 0, 0, 0]).is_err(),
            "a partly acknowledged entry without any"
        );
        assert!(
            decode(5, &[0, 1, 0, 2, 0, 1, 0, 1]).is_err(),
            "messages that touch"
        );
        assert!(decode(5, &[0, 1, 0, 1, 0, 0]).is_err(), "no messages");
        assert!(decode(5, &[0, 1, 0, 2, 0, 1, 1, 1]).is_ok());
        assert!(
            decode(5, &[u64::MAX]).is_err(),
            "a count that cannot be true"
        );
    }
}
