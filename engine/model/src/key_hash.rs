//! The hash of a message's key.

/// The hash by which a key's partition, and its slot on a key-shared subscription, are found: the one
/// that Pulsar's clients know as `Murmur3_32Hash`, so that both kinds of clients mean the same.
///
/// MurmurHash3 x86 32 with seed 0 (Appleby, 2011), without the top bit.
#[must_use]
pub fn key_hash(key: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = 0_u32;
    for word in words {
        hash ^= scramble(u32::from_le_bytes(*word));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    if !rest.is_empty() {
        let tail = rest
            .iter()
            .rev()
            .fold(0_u32, |tail, byte| tail << 8 | u32::from(*byte));
        hash ^= scramble(tail);
    }
    // The algorithm takes the length modulo 2^32; a key is far shorter.
    hash ^= u32::try_from(key.len()).unwrap_or(u32::MAX);
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    hash & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_murmur3_without_its_top_bit() {
        let cases: &[(&str, u32)] = &[
            ("", 0),
            ("hello", 0x248b_fa47),
            ("hello, world", 0x149b_bb7f),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ];
        for (key, hash) in cases {
            assert_eq!(key_hash(key.as_bytes()), *hash, "{key}");
        }
        assert!((0..1000_u32).all(|n| key_hash(&n.to_le_bytes()) < 1 << 31));
    }
}
