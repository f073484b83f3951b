//! Checksums of bytes that stand behind one another, without reading them again.
//!
//! CRC-32 is linear: the checksum of two runs of bytes follows from the checksums of each and the
//! length of the second. A large payload is read once on its way in and once on its way out,
//! though a frame's checksum covers it and an entry's does too.

/// Below this many bytes it costs no more to read them than to join two checksums.
pub const JOINED_BYTES_MIN: usize = 16 * 1024;

/// The checksum of two runs of bytes behind one another, from the checksum of each and the length
/// of the second.
#[must_use]
pub fn joined(first: u32, second: u32, second_bytes: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(first);
    let second = crc32fast::Hasher::new_with_initial_len(second, second_bytes as u64);
    crc.combine(&second);
    crc.finalize()
}

/// The checksum of the second of two runs of bytes, from that of both, that of the first, and the
/// length of the second.
#[must_use]
pub fn of_second(both: u32, first: u32, second_bytes: usize) -> u32 {
    if second_bytes == 0 {
        return crc32fast::hash(&[]);
    }
    // What the first contributes to both is taken away by adding it once more.
    joined(first, both, second_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn checksums_follow_from_each_other() {
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|at| (at * 31).to_le_bytes()[1])
            .collect();
        for at in [0, 1, 7, 56, 4_096, 99_999, 100_000] {
            let (first, second) = bytes.split_at(at);
            let crc = |bytes| crc32fast::hash(bytes);
            let both = crc(&bytes);
            assert_eq!(joined(crc(first), crc(second), second.len()), both, "{at}");
            assert_eq!(
                of_second(both, crc(first), second.len()),
                crc(second),
                "{at}"
            );
        }
    }
}
