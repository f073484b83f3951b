use hulse_model::entry::encode_entry;
use hulse_model::{EntryDraft, PayloadFormat, ProducerId, Term};

use super::*;

const SEAL: Seal = Seal {
    segment_id: 0x0102_0304_0506_0708,
    generation: 5,
};

fn record(payload: &[u8], offset: Offset, synced_before: Offset) -> Vec<u8> {
    let draft = EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: 1_700_000_000_000,
        producer: ProducerId(7),
        sequence: 41,
        messages: 3,
        payload,
        payload_crc: None,
    };
    let mut entry = Vec::new();
    let header = encode_entry(&draft, Term(2), offset, &mut entry);
    let local = LocalHeader::encode(SEAL, entry.len(), header.crc, synced_before);
    let mut bytes = local.to_vec();
    bytes.extend_from_slice(&entry);
    bytes.resize(record_bytes(entry.len()), 0);
    bytes
}

#[test]
fn the_local_header_does_not_change() {
    let bytes = LocalHeader::encode(SEAL, 61, 0x0a0b_0c0d, Offset(258));
    let golden = [61, 0, 0, 0, 0x96, 0x1a, 0x58, 0x67, 2, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes, golden, "{bytes:02x?}");
}

#[test]
fn a_record_reads_back_and_every_flipped_bit_is_found() {
    let bytes = record(b"abc", Offset(300), Offset(258));
    assert_eq!(bytes.len(), 16 + 56 + 3 + 5);
    let found = decode_record(SEAL, &bytes).unwrap();
    assert_eq!(found.local.synced_before, Offset(258));
    assert_eq!(found.local.record_bytes(), bytes.len() as u64);
    assert_eq!(found.entry.offset, Offset(300));
    for bit in 0..75 * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let fault = decode_record(SEAL, &bytes).unwrap_err();
        // The entry's own checksum is covered by the local one.
        let local = bit < 20 * 8;
        assert_eq!(fault == RecordFault::Local, local, "bit {bit}: {fault:?}");
        assert_eq!(
            matches!(fault, RecordFault::Entry(_)),
            !local,
            "bit {bit}: {fault:?}"
        );
    }
}

#[test]
fn no_other_segment_and_no_other_life_of_this_one_takes_it() {
    let bytes = record(b"abc", Offset(300), Offset(258));
    for seal in [
        Seal {
            generation: 4,
            ..SEAL
        },
        Seal {
            generation: 6,
            ..SEAL
        },
        Seal {
            segment_id: SEAL.segment_id + 1,
            ..SEAL
        },
    ] {
        assert_eq!(decode_record(seal, &bytes), Err(RecordFault::Local));
    }
}

#[test]
fn too_few_bytes_are_no_record() {
    let bytes = record(b"abcdefgh", Offset(300), Offset(258));
    for length in 0..bytes.len() {
        assert!(decode_record(SEAL, &bytes[..length]).is_err(), "{length}");
    }
    assert_eq!(decode_record(SEAL, &[0; 100]), Err(RecordFault::Blank));
    assert_eq!(decode_record(SEAL, &[]), Err(RecordFault::Blank));
}

#[test]
fn a_record_that_claims_to_know_the_future_is_none() {
    for (offset, synced_before) in [(5, 6), (OFFSET_LIMIT, 0), (5, OFFSET_LIMIT)] {
        let bytes = record(b"abc", Offset(offset), Offset(synced_before));
        assert!(
            decode_record(SEAL, &bytes).is_err(),
            "{offset} {synced_before}"
        );
    }
    assert!(decode_record(SEAL, &record(b"", Offset(5), Offset(5))).is_ok());
}
