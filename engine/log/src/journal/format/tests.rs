use super::*;

const SEAL: u64 = 0x5ea1;

fn chunk(number: u32) -> Chunk {
    Chunk {
        partition: PartitionId(0x11 << 100 | u128::from(number)),
        kind: LogKind::Sibling,
        base: Offset(5),
        end: Offset(9),
        generation: 2,
        home_generation: 3,
        position: 96,
        bytes: 4,
    }
}

fn round() -> Vec<u8> {
    let chunks = [chunk(1), chunk(2)];
    let table: Vec<u8> = chunks.iter().flat_map(Chunk::encode).collect();
    let body = b"onetwo2.";
    let header = RoundHeader {
        sequence: 7,
        synced_before: 6,
        retired_before: 3,
        body_crc: body_crc(SEAL, body),
    };
    let mut bytes = encode_round(SEAL, &header, &table, body.len());
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_round_comes_back_as_it_was_written() {
    let bytes = round();
    let head = decode_round(SEAL, &bytes).unwrap();
    assert_eq!(head.chunks, [chunk(1), chunk(2)]);
    assert_eq!(
        (
            head.header.sequence,
            head.header.synced_before,
            head.header.retired_before
        ),
        (7, 6, 3)
    );
    assert_eq!(&bytes[head.body_at..][..head.body_bytes], b"onetwo2.");
    assert_eq!(head.room(), BLOCK_BYTES);
}

#[test]
fn no_bit_of_a_rounds_head_can_change_unnoticed() {
    let bytes = round();
    let head = decode_round(SEAL, &bytes).unwrap();
    for bit in 0..head.body_at * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode_round(SEAL, &changed), None, "bit {bit}");
    }
    assert_eq!(decode_round(SEAL + 1, &bytes), None, "another file's round");
    for length in 0..bytes.len() {
        assert_eq!(decode_round(SEAL, &bytes[..length]), None, "{length} bytes");
    }
}

#[test]
fn a_files_header_says_its_version() {
    let bytes = encode_file_header(3, 9, SEAL);
    assert_eq!(decode_file_header(&bytes), FileHeader::Valid { seal: SEAL });
    assert_eq!(decode_file_header(&bytes[..39]), FileHeader::Invalid);
    let mut other = bytes;
    J_VERSION.put(&mut other, &9_u32.to_le_bytes());
    assert_eq!(decode_file_header(&other), FileHeader::Invalid);
    let crc = crc32fast::hash(&other[..J_CRC.at]);
    J_CRC.put(&mut other, &crc.to_le_bytes());
    assert_eq!(decode_file_header(&other), FileHeader::Version { found: 9 });
}
