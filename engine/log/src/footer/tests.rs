use crate::disk::Fill;
use hulse_model::{EntryHeader, PartitionId, PayloadFormat, ProducerId};

use super::*;
use crate::segment::LogKind;

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

fn entry(offset: u64, term: u64, ms: u64) -> EntryHeader {
    EntryHeader {
        crc: 0,
        format: PayloadFormat::Messages,
        term: Term(term),
        offset: Offset(offset),
        appended_ms: ms,
        producer: ProducerId(0),
        sequence: 0,
        messages: 1,
        payload_bytes: 0,
    }
}

fn contents() -> Contents {
    let mut contents = Contents::starting(Offset(100));
    for (offset, term, ms, position) in [
        (100, 1, 50, 112),
        (101, 1, 70, 600),
        (102, 2, 60, 1_200),
        (103, 2, 65, 2_800),
    ] {
        contents.add(header().layout, &entry(offset, term, ms), position, 400);
    }
    contents
}

#[test]
fn what_is_added_is_indexed_at_the_step() {
    let contents = contents();
    assert_eq!((contents.first, contents.end), (Offset(100), Offset(104)));
    assert_eq!(
        (contents.min_ms, contents.max_ms, contents.data_end),
        (50, 70, 3_200)
    );
    assert_eq!(
        contents.terms,
        [(Term(1), Offset(100)), (Term(2), Offset(102))]
    );
    let points: Vec<_> = contents
        .points
        .iter()
        .map(|point| (point.relative, point.position, point.max_ms))
        .collect();
    // The step of 16 points over the room is 931 bytes; times are the latest so far.
    assert_eq!(points, [(0, 112, 50), (2, 1_200, 70), (3, 2_800, 70)]);
    assert_eq!(contents.point_before(Offset(99)), None);
    assert_eq!(contents.point_before(Offset(101)).unwrap().position, 112);
    assert_eq!(contents.point_before(Offset(102)).unwrap().position, 1_200);
    assert_eq!(contents.point_before(Offset(900)).unwrap().position, 2_800);
}

#[test]
fn the_footer_does_not_change() {
    let footer = contents().encode_footer(&header());
    assert_eq!(footer.len(), 16 * 16 + 64 * 16 + 64);
    let mut golden = vec![0; footer.len()];
    let tables: &[u8] = &[
        0, 0, 0, 0, 112, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, // first point
        2, 0, 0, 0, 0xb0, 4, 0, 0, 70, 0, 0, 0, 0, 0, 0, 0, // second point
        3, 0, 0, 0, 0xf0, 10, 0, 0, 70, 0, 0, 0, 0, 0, 0, 0, // third point
        1, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, // first term
        2, 0, 0, 0, 0, 0, 0, 0, 102, 0, 0, 0, 0, 0, 0, 0, // second term
    ];
    golden[..tables.len()].copy_from_slice(tables);
    let trailer: &[u8] = &[
        b'H', b'U', b'L', b'S', b'E', b'E', b'N', b'D', // magic
        100, 0, 0, 0, 0, 0, 0, 0, 104, 0, 0, 0, 0, 0, 0, 0, // first and end
        50, 0, 0, 0, 0, 0, 0, 0, 70, 0, 0, 0, 0, 0, 0, 0, // earliest and latest
        0x80, 12, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, // data end, points, terms
        0, 0, 0, 0, 0, 0, 0, 0, // reserved
        0x31, 0x95, 0x9f, 0xd3, // checksum
    ];
    let at = golden.len() - TRAILER_BYTES;
    golden[at..].copy_from_slice(trailer);
    assert_eq!(footer, golden, "{:02x?}", &footer[at..]);
}

#[test]
fn a_footer_reads_back_and_every_flipped_bit_that_counts_is_found() {
    let footer = contents().encode_footer(&header());
    let FooterState::Valid(found) = decode_footer(&header(), &footer) else {
        panic!("not valid")
    };
    assert_eq!(found.points, contents().points);
    assert_eq!(found.terms, contents().terms);
    assert_eq!((found.first, found.end), (Offset(100), Offset(104)));
    let tables = 3 * POINT_BYTES + 2 * TERM_BYTES;
    for byte in (0..tables).chain(footer.len() - TRAILER_BYTES..footer.len()) {
        let mut footer = footer.clone();
        footer[byte] ^= 0x10;
        assert_eq!(
            decode_footer(&header(), &footer),
            FooterState::Invalid,
            "byte {byte}"
        );
    }
    assert_eq!(
        decode_footer(&header(), &vec![0; footer.len()]),
        FooterState::Absent
    );
    assert_eq!(decode_footer(&header(), &[]), FooterState::Absent);
    assert_eq!(decode_footer(&header(), &footer[1..]), FooterState::Invalid);
    let other = SegmentHeader::new(
        LogKind::Entries,
        PartitionId(1),
        Offset(90),
        1,
        header().layout,
        Fill::Written,
    );
    assert_eq!(decode_footer(&other, &footer), FooterState::Invalid);
}

#[test]
fn a_footer_that_says_the_impossible_is_none() {
    let mut wrong: Vec<(&str, Contents)> = Vec::new();
    let mut add = |what, change: fn(&mut Contents)| {
        let mut contents = contents();
        change(&mut contents);
        wrong.push((what, contents));
    };
    add("begins below its base", |contents| {
        contents.first = Offset(89)
    });
    add("ends beyond all offsets", |contents| {
        contents.end = Offset(OFFSET_LIMIT)
    });
    add("has more entries than bytes", |contents| {
        contents.end = Offset(50_000)
    });
    add("ends in its footer", |contents| contents.data_end = 16_000);
    add("has no point", |contents| contents.points.clear());
    add("has points that fall", |contents| {
        contents.points.swap(0, 1)
    });
    add("has a point outside", |contents| {
        contents.points[2].position = 16_000
    });
    add("has no term", |contents| contents.terms.clear());
    add("has terms that fall", |contents| {
        contents.terms[1].0 = Term(1)
    });
    for (what, contents) in wrong {
        let footer = contents.encode_footer(&header());
        assert_eq!(
            decode_footer(&header(), &footer),
            FooterState::Invalid,
            "{what}"
        );
    }
}
