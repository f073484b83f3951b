use crate::disk::Fill;
use hulse_model::entry::ENTRY_HEADER_BYTES;
use hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX;

use super::*;
use crate::record::record_bytes;

fn header() -> SegmentHeader {
    let layout = Layout { capacity: 65_536 };
    let partition = PartitionId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    SegmentHeader::new(
        LogKind::Sibling,
        partition,
        Offset(258),
        3,
        layout,
        Fill::Written,
    )
}

#[test]
fn the_header_does_not_change() {
    let bytes = header().encode();
    let mut golden = Vec::new();
    golden.extend_from_slice(b"HULSESEG");
    golden.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    golden.extend_from_slice(&[0x71, 0x61, 0x29, 0xa9, 0x8d, 0x97, 0xa5, 0x7f]);
    golden.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[
        0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0,
    ]);
    golden.extend_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0; 28]);
    golden.extend_from_slice(&[0x23, 0xd3, 0x1e, 0xda]);
    assert_eq!(bytes[..], golden, "{bytes:02x?}");
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
}

#[test]
fn the_opening_does_not_change() {
    let bytes = header().encode_opening(Offset(300));
    let golden = [
        0x2c, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0xd5, 0x0e, 0x88,
    ];
    assert_eq!(bytes, golden, "{bytes:02x?}");
    assert_eq!(header().decode_opening(&bytes), Some(Offset(300)));
    assert_eq!(
        header().decode_opening(&header().encode_opening(Offset(257))),
        None
    );
}

#[test]
fn every_flipped_bit_of_a_header_is_found() {
    let (bytes, opening) = (header().encode(), header().encode_opening(Offset(300)));
    for bit in 0..SEGMENT_HEADER_BYTES * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
    }
    for bit in 0..OPENING_BYTES * 8 {
        let mut opening = opening;
        opening[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(header().decode_opening(&opening), None, "bit {bit}");
    }
}

#[test]
fn another_version_is_told_from_rot() {
    let mut bytes = header().encode();
    bytes[8] = 2;
    assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Checksum));
    let crc = crc32fast::hash(&bytes[..92]);
    bytes[92..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(
        SegmentHeader::decode(&bytes),
        Err(HeaderFault::Version { found: 2 })
    );
}

#[test]
fn names_order_as_their_offsets_do_and_read_back() {
    assert_eq!(
        LogKind::Entries.segment_name(Offset(42)),
        "entries-00000000000000000042.seg"
    );
    for kind in LogKind::ALL {
        for base in [0, 1, 99, 1_000_000_007] {
            assert_eq!(
                kind.base_of(&kind.segment_name(Offset(base))),
                Some(Offset(base))
            );
        }
    }
    for name in [
        "sibling-00000000000000000042.seg",
        "entries-42.seg",
        "entries-00000000000000000042.seg.new",
        "entries-0000000000000000004x.seg",
        "entries-99999999999999999999.seg",
        "entries-+0000000000000000042.seg",
        "MANIFEST",
    ] {
        assert_eq!(LogKind::Entries.base_of(name), None, "{name}");
    }
}

#[test]
fn every_layout_has_room_for_its_tables_and_the_largest_entry_has_a_segment() {
    let mut capacity = SEGMENT_BYTES_MIN;
    while capacity <= SEGMENT_BYTES_MAX {
        let layout = Layout { capacity };
        // More than nine tenths are for records.
        assert!(layout.room() * 10 > capacity * 9, "{capacity}");
        assert!(layout.room().div_ceil(layout.index_step()) <= layout.points_max());
        capacity *= 2;
    }
    let largest = record_bytes(ENTRY_HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX) as u64;
    let layout = Layout::for_room(SEGMENT_BYTES_MIN, largest).unwrap();
    assert!(layout.room() >= largest && layout.capacity <= SEGMENT_BYTES_MAX);
    assert_eq!(
        Layout::for_room(1, 1),
        Some(Layout {
            capacity: SEGMENT_BYTES_MIN
        })
    );
    assert_eq!(
        Layout::for_room(u64::MAX, 1),
        Some(Layout {
            capacity: SEGMENT_BYTES_MAX
        })
    );
    assert_eq!(Layout::for_room(1, SEGMENT_BYTES_MAX), None);
}
