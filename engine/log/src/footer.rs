//! The footer of a sealed segment: a sparse index, the terms, and a trailer that proves both.
//!
//! A footer is written only when every record of its segment is durable. A valid one is therefore
//! a proof of that, and a segment that has one need not be read when its log is opened.

use hulse_model::limits::SEGMENT_TERMS_MAX;
use hulse_model::{Offset, Term};

use crate::field::Field;
use crate::segment::{DATA_START, Layout, OFFSET_LIMIT, Seal, SegmentHeader};

/// Length of one point of the sparse index, in bytes.
pub(crate) const POINT_BYTES: usize = 16;
/// Length of one row of the term table, in bytes.
pub(crate) const TERM_BYTES: usize = 16;
/// Length of the trailer, in bytes.
pub(crate) const TRAILER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"HULSEEND";

const P_OFFSET: Field = Field::first("relative_offset", 4);
const P_POSITION: Field = P_OFFSET.then("position", 4);
const P_TIME: Field = P_POSITION.then("appended_ms", 8);

/// The fields of an index point.
pub(crate) const POINT_FIELDS: &[Field] = &[P_OFFSET, P_POSITION, P_TIME];

const T_TERM: Field = Field::first("term", 8);
const T_FIRST: Field = T_TERM.then("first_offset", 8);

/// The fields of a row of the term table.
pub(crate) const TERM_FIELDS: &[Field] = &[T_TERM, T_FIRST];

const F_MAGIC: Field = Field::first("magic", 8);
const F_FIRST: Field = F_MAGIC.then("first_offset", 8);
const F_END: Field = F_FIRST.then("end_offset", 8);
const F_MIN: Field = F_END.then("appended_ms_min", 8);
const F_MAX: Field = F_MIN.then("appended_ms_max", 8);
const F_DATA_END: Field = F_MAX.then("data_end", 4);
const F_POINTS: Field = F_DATA_END.then("points", 4);
const F_TERMS: Field = F_POINTS.then("terms", 4);
const F_RESERVED: Field = F_TERMS.then("reserved", 8);
const F_CRC: Field = F_RESERVED.then("crc", 4);

/// The fields of the trailer.
pub(crate) const TRAILER_FIELDS: &[Field] = &[
    F_MAGIC, F_FIRST, F_END, F_MIN, F_MAX, F_DATA_END, F_POINTS, F_TERMS, F_RESERVED, F_CRC,
];

const _: () = assert!(P_TIME.end() == POINT_BYTES);
const _: () = assert!(T_FIRST.end() == TERM_BYTES);
const _: () = assert!(F_CRC.end() == TRAILER_BYTES);

/// A point of a segment's sparse index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexPoint {
    /// The entry's offset less the segment's first.
    pub(crate) relative: u32,
    /// Where its record begins in the file.
    pub(crate) position: u32,
    /// The latest time of this entry and all before it in the segment, milliseconds since 1970.
    pub(crate) max_ms: u64,
}

/// What a segment holds: kept while it is written, rebuilt by a scan, stated by a footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Offset of the first entry; where one would go when there is none.
    pub(crate) first: Offset,
    /// One past the last entry.
    pub(crate) end: Offset,
    /// Position after the last record.
    pub(crate) data_end: u64,
    /// Earliest time of an entry, or `u64::MAX` without one.
    pub(crate) min_ms: u64,
    /// Latest time of an entry, or 0 without one.
    pub(crate) max_ms: u64,
    pub(crate) terms: Vec<(Term, Offset)>,
    pub(crate) points: Vec<IndexPoint>,
    next_point_at: u64,
}

impl Contents {
    /// Of a segment whose first entry will be `first`.
    pub(crate) const fn starting(first: Offset) -> Self {
        Self {
            first,
            end: first,
            data_end: DATA_START,
            min_ms: u64::MAX,
            max_ms: 0,
            terms: Vec::new(),
            points: Vec::new(),
            next_point_at: DATA_START,
        }
    }

    /// Takes in the record that stands at `position`.
    pub(crate) fn add(
        &mut self,
        layout: Layout,
        entry: &hulse_model::EntryHeader,
        position: u64,
        record_bytes: u64,
    ) {
        let after_gap = entry.offset != self.end;
        self.min_ms = self.min_ms.min(entry.appended_ms);
        self.max_ms = self.max_ms.max(entry.appended_ms);
        if self
            .terms
            .last()
            .is_none_or(|(term, _)| *term != entry.term)
        {
            self.terms.push((entry.term, entry.offset));
        }
        // A walk from a point to an entry never crosses a gap: the entry after one has a point.
        if position >= self.next_point_at || after_gap {
            let relative = u32::try_from(entry.offset.0 - self.first.0);
            let point = IndexPoint {
                relative: relative.expect("a segment has fewer entries than bytes"),
                position: u32::try_from(position).expect("a segment is smaller than 4 GiB"),
                max_ms: self.max_ms,
            };
            self.points.push(point);
            self.next_point_at = position + layout.index_step();
        }
        self.end = entry.offset.next();
        self.data_end = position + record_bytes;
    }

    /// The last point at or before `offset`.
    pub(crate) fn point_before(&self, offset: Offset) -> Option<IndexPoint> {
        let relative = offset.0.checked_sub(self.first.0)?;
        let after = self
            .points
            .partition_point(|point| u64::from(point.relative) <= relative);
        self.points.get(after.checked_sub(1)?).copied()
    }

    /// Whether the tables fit into the footer. They do, unless the segment is damaged.
    pub(crate) fn fits_footer(&self, layout: Layout) -> bool {
        self.first < self.end
            && self.points.len() as u64 <= layout.points_max()
            && self.terms.len() <= SEGMENT_TERMS_MAX
    }

    /// The footer's bytes: from the end of the records' room to the copy of the header.
    pub(crate) fn encode_footer(&self, header: &SegmentHeader) -> Vec<u8> {
        let layout = header.layout;
        assert!(
            self.fits_footer(layout),
            "a footer is written for whole segments alone"
        );
        let count = |length: usize| {
            u32::try_from(length)
                .expect("a table has few rows")
                .to_le_bytes()
        };
        let bytes = usize::try_from(layout.header_copy_at() - layout.data_end());
        let mut footer = vec![0; bytes.expect("a footer is small")];
        let mut at = 0;
        for point in &self.points {
            let row = &mut footer[at..at + POINT_BYTES];
            P_OFFSET.put(row, &point.relative.to_le_bytes());
            P_POSITION.put(row, &point.position.to_le_bytes());
            P_TIME.put(row, &point.max_ms.to_le_bytes());
            at += POINT_BYTES;
        }
        for (term, first) in &self.terms {
            let row = &mut footer[at..at + TERM_BYTES];
            T_TERM.put(row, &term.0.to_le_bytes());
            T_FIRST.put(row, &first.0.to_le_bytes());
            at += TERM_BYTES;
        }
        let trailer_at = footer.len() - TRAILER_BYTES;
        let (tables, trailer) = footer.split_at_mut(trailer_at);
        F_MAGIC.put(trailer, MAGIC);
        F_FIRST.put(trailer, &self.first.0.to_le_bytes());
        F_END.put(trailer, &self.end.0.to_le_bytes());
        F_MIN.put(trailer, &self.min_ms.to_le_bytes());
        F_MAX.put(trailer, &self.max_ms.to_le_bytes());
        let data_end = u32::try_from(self.data_end).expect("a segment is smaller than 4 GiB");
        F_DATA_END.put(trailer, &data_end.to_le_bytes());
        F_POINTS.put(trailer, &count(self.points.len()));
        F_TERMS.put(trailer, &count(self.terms.len()));
        let crc = footer_crc(header.seal, &tables[..at], trailer);
        F_CRC.put(trailer, &crc.to_le_bytes());
        footer
    }
}

/// What stands where a footer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FooterState {
    /// None was written.
    Absent,
    /// Bytes that are no footer of this segment: torn by a crash, or rotten.
    Invalid,
    /// A footer.
    Valid(Contents),
}

/// Reads the footer of the segment with `header` from the bytes between the end of the records'
/// room and the copy of the header.
pub(crate) fn decode_footer(header: &SegmentHeader, footer: &[u8]) -> FooterState {
    if crate::scan::is_zero(footer) {
        return FooterState::Absent;
    }
    decode(header, footer).map_or(FooterState::Invalid, FooterState::Valid)
}

fn decode(header: &SegmentHeader, footer: &[u8]) -> Option<Contents> {
    let (tables, trailer) = footer.split_at_checked(footer.len().checked_sub(TRAILER_BYTES)?)?;
    let points = u64::from(F_POINTS.u32(trailer));
    let terms = F_TERMS.u32(trailer) as usize;
    if F_MAGIC.of(trailer) != MAGIC
        || points > header.layout.points_max()
        || terms > SEGMENT_TERMS_MAX
    {
        return None;
    }
    let points_bytes = usize::try_from(points).ok()? * POINT_BYTES;
    let tables = tables.get(..points_bytes + terms * TERM_BYTES)?;
    if footer_crc(header.seal, tables, trailer) != F_CRC.u32(trailer) {
        return None;
    }
    let (points, terms) = tables.split_at(points_bytes);
    let contents = Contents {
        first: Offset(F_FIRST.u64(trailer)),
        end: Offset(F_END.u64(trailer)),
        data_end: u64::from(F_DATA_END.u32(trailer)),
        min_ms: F_MIN.u64(trailer),
        max_ms: F_MAX.u64(trailer),
        terms: terms.chunks_exact(TERM_BYTES).map(term_row).collect(),
        points: points.chunks_exact(POINT_BYTES).map(point_row).collect(),
        next_point_at: u64::MAX,
    };
    plausible(header, &contents).then_some(contents)
}

/// Whether a footer whose checksum is right says something possible, so that what is built on it
/// holds whatever the file says.
fn plausible(header: &SegmentHeader, contents: &Contents) -> bool {
    let positions = DATA_START..=header.layout.data_end();
    let entries = contents.end.0.wrapping_sub(contents.first.0);
    contents.first >= header.base
        && contents.first < contents.end
        && contents.end.0 < OFFSET_LIMIT
        && entries <= header.layout.capacity
        && positions.contains(&contents.data_end)
        && contents
            .points
            .first()
            .is_some_and(|point| point.relative == 0)
        && contents.points.iter().all(|point| {
            u64::from(point.relative) < entries && positions.contains(&u64::from(point.position))
        })
        && contents
            .points
            .is_sorted_by(|a, b| a.relative < b.relative && a.position < b.position)
        && contents
            .terms
            .first()
            .is_some_and(|(_, first)| *first == contents.first)
        && contents
            .terms
            .iter()
            .all(|(_, first)| *first < contents.end)
        && contents.terms.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1)
}

fn point_row(row: &[u8]) -> IndexPoint {
    IndexPoint {
        relative: P_OFFSET.u32(row),
        position: P_POSITION.u32(row),
        max_ms: P_TIME.u64(row),
    }
}

fn term_row(row: &[u8]) -> (Term, Offset) {
    (Term(T_TERM.u64(row)), Offset(T_FIRST.u64(row)))
}

fn footer_crc(seal: Seal, tables: &[u8], trailer: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seal.bytes());
    crc.update(tables);
    crc.update(&trailer[..F_CRC.at]);
    crc.finalize()
}

#[cfg(test)]
mod tests;
