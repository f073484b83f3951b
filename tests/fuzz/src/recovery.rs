//! Seeds for recovery: an input is a list of changes to the files of a small, sound partition, and
//! every kind of change is here once for each file, at its beginning and further in.

use crate::Seed;

/// The kinds of changes that [`hulse_log::fuzz_recovery`] knows: eight bytes written over others,
/// a run of bytes, cutting short, lengthening, removing, another name, and fields of a segment's
/// header, of a record and of the manifest with their checksums mended.
const KINDS: [&str; 9] = [
    "eight-bytes",
    "run",
    "cut",
    "lengthen",
    "remove",
    "rename",
    "segment-header",
    "record",
    "manifest",
];

/// How many files a change may choose from, at the least.
const FILES: u8 = 5;

/// Where a change is made: in a header, and beyond one.
const PLACES: [u16; 2] = [9, 1031];

/// The seeds.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = vec![Seed {
        name: "nothing".into(),
        bytes: Vec::new(),
    }];
    let mut all = Vec::new();
    for (kind, word) in (0_u8..).zip(KINDS) {
        for file in 0..FILES {
            for place in PLACES {
                let bytes = change(kind, file, place);
                all.extend_from_slice(&bytes);
                seeds.push(Seed {
                    name: format!("{word}-{file}-{place}"),
                    bytes,
                });
            }
        }
    }
    seeds.push(Seed {
        name: "everything".into(),
        bytes: all,
    });
    seeds
}

/// One change with all the bytes that its kind reads.
fn change(kind: u8, file: u8, place: u16) -> Vec<u8> {
    let mut bytes = vec![kind, file];
    bytes.extend_from_slice(&place.to_le_bytes());
    let more: &[u8] = match kind {
        0 | 5 | 8 => &[1, 0, 0, 0, 0, 0, 0, 0],
        1 => &[4, 0, 0xff, 0xff, 0xff, 0xff],
        6 => &[2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        7 => &[140, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        _ => &[],
    };
    bytes.extend_from_slice(more);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_holds() {
        let seeds = seeds();
        assert_eq!(
            seeds.len(),
            2 + KINDS.len() * usize::from(FILES) * PLACES.len()
        );
        for seed in seeds {
            hulse_log::fuzz_recovery(&seed.bytes);
        }
    }
}
