use crate::disk::Fill;
use hulse_model::entry::encode_entry;
use hulse_model::{EntryDraft, PartitionId, PayloadFormat, ProducerId};

use super::*;
use crate::record::{RECORD_HEADER_BYTES, record_bytes};
use crate::segment::{Layout, LogKind};

const BEFORE: Before = Before {
    end: Some(Offset(100)),
    last_term: Term(0),
    cut: None,
};

fn header() -> SegmentHeader {
    let layout = Layout { capacity: 16_384 };
    SegmentHeader::new(
        LogKind::Entries,
        PartitionId(1),
        Offset(90),
        0,
        layout,
        Fill::Written,
    )
}

/// A segment under construction.
struct Segment {
    bytes: Vec<u8>,
    at: usize,
}

impl Segment {
    fn new(first: u64) -> Self {
        let mut bytes = vec![0; 16_384];
        bytes[..96].copy_from_slice(&header().encode());
        bytes[96..112].copy_from_slice(&header().encode_opening(Offset(first)));
        Self { bytes, at: 112 }
    }

    /// Puts a record after the last one, and says where.
    fn put(&mut self, offset: u64, term: u64, synced_before: u64, payload: &[u8]) -> usize {
        let draft = EntryDraft {
            format: PayloadFormat::Messages,
            appended_ms: offset,
            producer: ProducerId(0),
            sequence: 0,
            messages: 1,
            payload,
            payload_crc: None,
        };
        let mut entry = Vec::new();
        let stored = encode_entry(&draft, Term(term), Offset(offset), &mut entry);
        let synced_before = Offset(synced_before);
        let local = LocalHeader::encode(header().seal, entry.len(), stored.crc, synced_before);
        let at = self.at;
        self.bytes[at..at + RECORD_HEADER_BYTES].copy_from_slice(&local);
        let entry_at = at + RECORD_HEADER_BYTES;
        self.bytes[entry_at..entry_at + entry.len()].copy_from_slice(&entry);
        self.at += record_bytes(entry.len());
        at
    }

    fn scan(&self, before: Before) -> Scan {
        scan(&header(), &self.bytes, before)
    }
}

fn bad(scan: &Scan) -> Vec<(u64, u64)> {
    scan.bad
        .iter()
        .map(|bad| (bad.first.0, bad.end.0))
        .collect()
}

#[test]
fn whole_records_are_taken_in() {
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"a");
    segment.put(101, 1, 100, b"bb");
    segment.put(102, 3, 101, b"ccc");
    let found = segment.scan(BEFORE);
    assert_eq!(
        (found.contents.first, found.contents.end),
        (Offset(100), Offset(103))
    );
    assert_eq!(
        (found.entries, found.proven, found.last_term),
        (3, Offset(101), Term(3))
    );
    assert_eq!(found.contents.data_end, segment.at as u64);
    assert!(found.bad.is_empty() && found.tail.is_none());
    assert!(!found.is_blank());
}

#[test]
fn zeros_are_blank_and_an_opening_is_not() {
    let mut segment = Segment::new(100);
    assert!(!segment.scan(BEFORE).is_blank());
    assert_eq!(segment.scan(BEFORE).contents.end, Offset(100));
    segment.bytes[96..].fill(0);
    assert!(segment.scan(BEFORE).is_blank());
}

#[test]
fn a_damaged_entry_is_passed_by_its_length_and_a_damaged_local_header_by_looking() {
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"a");
    let second = segment.put(101, 1, 100, &[7; 300]);
    segment.put(102, 1, 101, b"c");
    for at in [second, second + 17, second + 100] {
        segment.bytes[at] ^= 1;
        let found = segment.scan(BEFORE);
        assert_eq!(bad(&found), [(101, 102)]);
        assert_eq!(found.bad[0].position, second as u64);
        assert_eq!((found.entries, found.contents.end), (2, Offset(103)));
        segment.bytes[at] ^= 1;
    }
}

/// A payload may hold a whole segment, this one included: nothing in it is taken for a record.
#[test]
fn records_inside_a_payload_are_not_taken_for_records() {
    let mut inner = Segment::new(100);
    inner.put(100, 1, 100, b"inner");
    inner.put(101, 1, 100, b"inner");
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"inner");
    segment.put(101, 1, 100, b"inner");
    let copy = inner.bytes[..inner.at].to_vec();
    let third = segment.put(102, 1, 100, &copy);
    segment.put(103, 1, 102, b"after");
    let healthy = segment.scan(BEFORE);
    assert_eq!((healthy.entries, healthy.contents.end), (4, Offset(104)));
    // The length is lost, so that recovery looks at every eighth byte of the payload.
    segment.bytes[third + 1] ^= 1;
    let found = segment.scan(BEFORE);
    assert_eq!(bad(&found), [(102, 103)]);
    assert_eq!(found.entries, 3);
}

#[test]
fn a_torn_record_with_nothing_after_it_is_a_tail() {
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"a");
    let second = segment.put(101, 1, 100, &[7; 300]);
    segment.bytes[second + 64..].fill(0);
    let found = segment.scan(BEFORE);
    assert_eq!(found.tail, Some(DamageReason::EntryChecksum));
    assert_eq!(
        (found.contents.end, found.contents.data_end),
        (Offset(101), second as u64)
    );
    // The other way round: the beginning is lost and the rest is there.
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"a");
    let second = segment.put(101, 1, 100, &[7; 300]);
    segment.bytes[second..second + 64].fill(0);
    let found = segment.scan(BEFORE);
    assert_eq!(found.tail, Some(DamageReason::LocalChecksum));
    assert_eq!(found.contents.end, Offset(101));
}

#[test]
fn a_valid_local_header_proves_though_its_entry_is_bad() {
    let mut segment = Segment::new(100);
    segment.put(100, 1, 100, b"a");
    segment.put(101, 1, 100, b"b");
    let third = segment.put(102, 1, 102, b"c");
    segment.bytes[third + 60] ^= 1;
    let found = segment.scan(BEFORE);
    assert_eq!(
        (found.contents.end, found.proven),
        (Offset(102), Offset(102))
    );
}

#[test]
fn offsets_and_terms_only_rise() {
    for (offset, term) in [(100, 2), (99, 2), (103, 1), (5_000, 2)] {
        let mut segment = Segment::new(100);
        segment.put(100, 1, 100, b"a");
        segment.put(101, 2, 100, b"b");
        segment.put(102, 2, 100, b"c");
        segment.put(offset, term, 99, b"d");
        let found = segment.scan(BEFORE);
        assert_eq!(
            (found.entries, found.contents.end),
            (3, Offset(103)),
            "{offset} {term}"
        );
        assert!(found.tail.is_some());
    }
}

#[test]
fn a_cut_hides_what_lies_at_it_and_after() {
    let mut segment = Segment::new(100);
    for offset in 100..110 {
        segment.put(offset, 1, 100, b"a");
    }
    let found = segment.scan(Before {
        cut: Some(Offset(104)),
        ..BEFORE
    });
    assert_eq!((found.entries, found.contents.end), (4, Offset(104)));
    assert!(found.bad.is_empty());
}

#[test]
fn without_an_opening_the_first_record_says_where_the_segment_begins() {
    let mut segment = Segment::new(100);
    let first = segment.put(100, 1, 100, b"a");
    segment.put(101, 1, 100, b"b");
    segment.bytes[96..112].fill(0);
    let none = Before {
        end: None,
        ..BEFORE
    };
    assert_eq!(segment.scan(none).contents.first, Offset(100));
    assert_eq!(segment.scan(BEFORE).contents.first, Offset(100));
    // Without both it is the end of what lies before, or else the least that there can be.
    segment.bytes[first + 30] ^= 1;
    assert_eq!(bad(&segment.scan(BEFORE)), [(100, 101)]);
    let found = segment.scan(none);
    assert_eq!(found.contents.first, Offset(90));
    assert_eq!(
        found.contents.end,
        Offset(90),
        "ten entries do not fit into that space"
    );
}
