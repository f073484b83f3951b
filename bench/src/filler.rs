//! Bytes to write: fixed, and such that nothing on the way can make them fewer.

/// `bytes` bytes without a pattern, the same at every call. A file system that compresses, or
/// keeps no zeros, must not make one side of a comparison cheaper.
#[must_use]
pub fn filler(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_many_as_asked_the_same_each_time_and_all_values_occur() {
        assert!(filler(0).is_empty());
        assert_eq!(filler(13), filler(16)[..13]);
        let bytes = filler(64 * 1024);
        assert_eq!(bytes.len(), 64 * 1024);
        let mut times = [0_u32; 256];
        for byte in bytes {
            times[usize::from(byte)] += 1;
        }
        assert!(
            times.iter().all(|times| (128..512).contains(times)),
            "{times:?}"
        );
    }
}
