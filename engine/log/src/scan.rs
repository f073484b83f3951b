//! Reading a segment record by record, past whatever is wrong in it.

use hulse_model::{Offset, Term};

use crate::footer::Contents;
use crate::record::{
    LocalHeader, RECORD_ALIGNMENT, RECORD_BYTES_MIN, Record, RecordFault, decode_record,
};
use crate::report::DamageReason;
use crate::segment::{DATA_START, SEGMENT_HEADER_BYTES, SegmentHeader};

/// A place in a segment where an entry should be and none is, with whole entries after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) position: u64,
    pub(crate) first: Offset,
    pub(crate) end: Offset,
    pub(crate) reason: DamageReason,
}

/// What a segment's bytes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The opening's offset, when the opening is valid.
    pub(crate) opening: Option<Offset>,
    pub(crate) contents: Contents,
    /// Number of whole entries.
    pub(crate) entries: u64,
    pub(crate) bad: Vec<Bad>,
    /// What is wrong after the last whole entry, when something was written there.
    pub(crate) tail: Option<DamageReason>,
    /// The largest durable end that a valid local header states.
    pub(crate) proven: Offset,
    pub(crate) last_term: Term,
}

impl Scan {
    /// Whether nothing was ever written after the segment was made.
    pub(crate) const fn is_blank(&self) -> bool {
        self.opening.is_none() && self.entries == 0 && self.tail.is_none()
    }
}

/// What is known of the log before a segment, and how far it is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// Where the log ended, if there is anything before.
    pub(crate) end: Option<Offset>,
    pub(crate) last_term: Term,
    /// Entries from here on are taken for absent: a truncation to this offset was begun.
    pub(crate) cut: Option<Offset>,
}

/// Reads the segment in `bytes`, which may be shorter than its header says.
pub(crate) fn scan(header: &SegmentHeader, bytes: &[u8], before: Before) -> Scan {
    let room =
        usize::try_from(header.layout.data_end()).map_or(bytes.len(), |end| end.min(bytes.len()));
    let opening = bytes
        .get(SEGMENT_HEADER_BYTES..)
        .and_then(|rest| header.decode_opening(rest));
    let mut reader = Reader {
        header,
        bytes: &bytes[..room],
        proven: Offset::ZERO,
        last_term: before.last_term,
        cut: before.cut,
    };
    let start = DATA_START;
    let least = before.end.map_or(header.base, |end| end.max(header.base));
    // Without an opening the first whole record says where the segment begins.
    let first = opening.unwrap_or_else(|| match reader.record(start) {
        Ok(record) if record.entry.offset >= least => record.entry.offset,
        _ => least,
    });
    let mut found = Scan {
        opening,
        contents: Contents::starting(first),
        entries: 0,
        bad: Vec::new(),
        tail: None,
        proven: Offset::ZERO,
        last_term: before.last_term,
    };
    let mut at = start;
    loop {
        let expected = found.contents.end;
        let fault = match reader.next(at, expected) {
            Ok(record) => {
                found.entries += 1;
                let bytes = record.local.record_bytes();
                found.contents.add(header.layout, &record.entry, at, bytes);
                at += bytes;
                continue;
            }
            Err(fault) => fault,
        };
        if !reader.written_after(at) {
            break;
        }
        let Some((position, record)) = reader.resume(at, expected, fault) else {
            // Zeros and then something else: whatever it is, it is no record.
            found.tail = Some(match fault {
                RecordFault::Blank => DamageReason::LocalChecksum,
                fault => fault.reason(),
            });
            break;
        };
        found.bad.push(Bad {
            position: at,
            first: expected,
            end: record.entry.offset,
            reason: fault.reason(),
        });
        found.entries += 1;
        let bytes = record.local.record_bytes();
        found
            .contents
            .add(header.layout, &record.entry, position, bytes);
        at = position + bytes;
    }
    found.proven = reader.proven;
    found.last_term = reader.last_term;
    found
}

struct Reader<'a> {
    header: &'a SegmentHeader,
    bytes: &'a [u8],
    proven: Offset,
    last_term: Term,
    cut: Option<Offset>,
}

impl Reader<'_> {
    fn at(&self, position: u64) -> &[u8] {
        usize::try_from(position)
            .ok()
            .and_then(|at| self.bytes.get(at..))
            .unwrap_or_default()
    }

    fn record(&self, position: u64) -> Result<Record, RecordFault> {
        decode_record(self.header.seal, self.at(position))
    }

    /// The record at `position`, when it is whole and the next one of the log.
    fn next(&mut self, position: u64, expected: Offset) -> Result<Record, RecordFault> {
        let record = self.record(position)?;
        self.accept(&record, expected, expected)
            .then_some(record)
            .ok_or(RecordFault::Entry(record.local))
    }

    /// Takes a whole record in, unless it does not belong between these offsets.
    fn accept(&mut self, record: &Record, least: Offset, most: Offset) -> bool {
        let entry = &record.entry;
        let fits = (least..=most).contains(&entry.offset)
            && entry.term >= self.last_term
            && self.cut.is_none_or(|cut| entry.offset < cut);
        if fits {
            self.last_term = entry.term;
            self.proven = self.proven.max(record.local.synced_before);
        }
        fits
    }

    /// The next whole record after the bad one at `from`, looked for at every place where one
    /// can begin.
    fn resume(&mut self, from: u64, expected: Offset, fault: RecordFault) -> Option<(u64, Record)> {
        let least = expected.next();
        // So many records fit between, at the most.
        let most = |position: u64| expected.plus((position - from) / RECORD_BYTES_MIN + 1);
        let mut position = from + self.known_bytes(from, expected, fault);
        while position < self.bytes.len() as u64 {
            let step = match self.record(position) {
                Ok(record) if self.accept(&record, least, most(position)) => {
                    return Some((position, record));
                }
                Ok(record) => record.local.record_bytes(),
                Err(fault) => self.known_bytes(position, most(position), fault),
            };
            position += step;
        }
        None
    }

    /// How far to go on from a bad record. A valid local header still says how long its record
    /// is, and what was durable before it.
    fn known_bytes(&mut self, position: u64, highest: Offset, fault: RecordFault) -> u64 {
        if let RecordFault::Entry(local) = fault
            && self.fits(position, local)
        {
            if local.synced_before <= highest {
                self.proven = self.proven.max(local.synced_before);
            }
            return local.record_bytes();
        }
        RECORD_ALIGNMENT as u64
    }

    fn fits(&self, position: u64, local: LocalHeader) -> bool {
        position + local.record_bytes() <= self.bytes.len() as u64
    }

    fn written_after(&self, position: u64) -> bool {
        !is_zero(self.at(position))
    }
}

/// Whether nothing stands in `bytes`.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests;
