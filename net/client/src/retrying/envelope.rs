//! What stands before the value of a message in a retry topic. Pure.
//!
//! All integers are little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..8 | `magic` | `HULSRTRY`; a value that begins otherwise was put there by somebody else, and counts as not tried |
//! | 8..12 | `retries` | how often the message was put off, this time included |
//! | 12..16 | `reserved` | 0 |
//! | 16..24 | `term` | of the id under which it was stored first |
//! | 24..32 | `offset` | of that id |
//! | 32..36 | `partition` | of that id |
//! | 36..40 | `index` | of that id |

use hulse_model::{MessageId, Offset, Term};

/// Its length in bytes.
pub(super) const BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"HULSRTRY";

/// How often a message was put off, and its first id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) retries: u32,
    pub(super) original: MessageId,
}

impl Envelope {
    /// The envelope that a value begins with, if it has one.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (magic, rest) = value.get(..BYTES)?.split_first_chunk()?;
        let (retries, rest) = rest.split_first_chunk()?;
        let (reserved, rest) = rest.split_first_chunk::<4>()?;
        let (term, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (partition, index) = rest.split_first_chunk()?;
        let envelope = Self {
            retries: u32::from_le_bytes(*retries),
            original: MessageId {
                term: Term(u64::from_le_bytes(*term)),
                offset: Offset(u64::from_le_bytes(*offset)),
                partition: i32::from_le_bytes(*partition),
                index: i32::from_le_bytes(*index.first_chunk()?),
            },
        };
        (magic == MAGIC && reserved == &[0; 4]).then_some(envelope)
    }

    /// The value with the envelope before it.
    pub(super) fn around(&self, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(BYTES + value.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.retries.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.original.term.0.to_le_bytes());
        out.extend_from_slice(&self.original.offset.0.to_le_bytes());
        out.extend_from_slice(&self.original.partition.to_le_bytes());
        out.extend_from_slice(&self.original.index.to_le_bytes());
        out.extend_from_slice(value);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_reads_back_and_nothing_else_is_one() {
        let envelope = Envelope {
            retries: 3,
            original: "7:41:-1:5".parse().unwrap(),
        };
        let value = envelope.around(b"value");
        assert_eq!(&value[BYTES..], b"value");
        assert_eq!(Envelope::read(&value), Some(envelope));
        for length in 0..BYTES {
            assert_eq!(Envelope::read(&value[..length]), None);
        }
        let mut other = value.clone();
        other[0] ^= 1;
        assert_eq!(Envelope::read(&other), None);
        assert_eq!(Envelope::read(&envelope.around(b"")), Some(envelope));
    }
}
