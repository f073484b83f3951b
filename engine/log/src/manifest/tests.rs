use super::*;

fn manifest() -> Manifest {
    Manifest {
        partition: PartitionId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        topic: "orders".parse().unwrap(),
        home_generation: 4,
        entries: LogMark {
            flushed_to: Offset(258),
            generation: 2,
        },
        sibling: LogMark {
            flushed_to: Offset(7),
            generation: 0,
        },
        intent: Some(TruncateIntent {
            log: LogKind::Sibling,
            offset: Offset(5),
            term: Term(3),
        }),
    }
}

#[test]
fn the_layout_does_not_change() {
    let bytes = manifest().encode();
    let mut golden = Vec::new();
    golden.extend_from_slice(b"HULSEMAN");
    golden.extend_from_slice(&[1, 0, 0, 0, 34, 0, 0, 0]);
    golden.extend(0..16_u8);
    for value in [4_u64, 258, 2, 7, 0] {
        golden.extend_from_slice(&value.to_le_bytes());
    }
    golden.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(b"persistent://public/default/orders");
    golden.extend_from_slice(&[0x32, 0xfe, 0x0b, 0x09]);
    assert_eq!(bytes, golden, "{bytes:02x?}");
    assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    let without = Manifest {
        intent: None,
        ..manifest()
    };
    assert_eq!(Manifest::decode(&without.encode()), Ok(without));
}

#[test]
fn every_flipped_bit_and_every_other_length_is_refused() {
    let bytes = manifest().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::decode(&bytes).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..length]).is_err(), "{length}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Manifest::decode(&longer).is_err());
}

#[test]
fn another_version_names_both_even_when_the_rest_makes_no_sense() {
    let mut bytes = manifest().encode();
    bytes[8] = 9;
    let error = Manifest::decode(&bytes[..20]).unwrap_err();
    assert_eq!(error, ManifestError::Version { found: 9 });
    assert_eq!(
        error.to_string(),
        "it has version 9, and this program reads version 1"
    );
}

#[test]
fn fields_out_of_range_are_refused_though_the_checksum_is_right() {
    let mend = |change: fn(&mut Vec<u8>)| {
        let mut bytes = manifest().encode();
        bytes.truncate(bytes.len() - 4);
        change(&mut bytes);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Manifest::decode(&bytes)
    };
    let refused = |name| Err(ManifestError::Field(name));
    assert_eq!(
        mend(|bytes| bytes[47] = 0x40),
        refused("entries_flushed_to")
    );
    assert_eq!(mend(|bytes| bytes[72] = 3), refused("truncate_log"));
    assert_eq!(mend(|bytes| bytes[12] += 1), refused("topic_bytes"));
    assert!(matches!(
        mend(|bytes| bytes[96] = b'P'),
        Err(ManifestError::Topic(_))
    ));
    assert_eq!(mend(|bytes| bytes[96] = 0xff), refused("topic"));
}
