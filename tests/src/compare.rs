//! Comparing long streams of bytes.

use std::io::{BufReader, Read};

const CHUNK_BYTES: usize = 1 << 20;

/// Asserts that two streams give the same bytes.
///
/// # Panics
/// When they differ; the message says where, and what is there.
pub fn assert_same(expected: impl Read, found: impl Read) {
    let mut expected = BufReader::with_capacity(CHUNK_BYTES, expected);
    let mut found = BufReader::with_capacity(CHUNK_BYTES, found);
    let (mut wanted, mut got) = (Vec::new(), Vec::new());
    let mut position = 0;
    loop {
        fill(&mut expected, &mut wanted);
        fill(&mut found, &mut got);
        if wanted != got {
            let same = wanted.iter().zip(&got).take_while(|(a, b)| a == b).count();
            let near = |bytes: &[u8]| {
                let from = same.saturating_sub(40);
                let to = (same + 40).min(bytes.len());
                bytes[from..to].escape_ascii().to_string()
            };
            let at = position + same;
            panic!(
                "byte {at} differs: expected ...{}..., got ...{}...",
                near(&wanted),
                near(&got)
            );
        }
        if wanted.is_empty() {
            return;
        }
        position += wanted.len();
    }
}

/// The next chunk; a shorter one only at the end.
fn fill(source: &mut impl Read, chunk: &mut Vec<u8>) {
    chunk.clear();
    let limit = u64::try_from(CHUNK_BYTES).expect("it is small");
    source.take(limit).read_to_end(chunk).expect("readable");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_the_same_whatever_its_length() {
        for bytes in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            let text = vec![7; bytes];
            assert_same(&text[..], &text[..]);
        }
    }

    #[test]
    #[should_panic(expected = "byte 1048577 differs: expected ...")]
    fn a_difference_is_found_and_named() {
        let one = vec![7; CHUNK_BYTES + 3];
        let mut other = one.clone();
        other[CHUNK_BYTES + 1] = 8;
        assert_same(&one[..], &other[..]);
    }

    #[test]
    #[should_panic(expected = "byte 5 differs")]
    fn a_missing_end_is_a_difference() {
        assert_same(&b"123456"[..], &b"12345"[..]);
    }
}
