//! The entry: what a producer sent in one frame, as it is stored, shipped and delivered.
//!
//! An entry is one message or one batch. Its bytes are made once, when the primary appends it, and
//! are the same on every replica and in every consumer's hands; values that belong to one broker
//! alone stand outside, in the log's record around it. All integers are little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | `crc` | CRC-32 (IEEE) of bytes 4 to the entry's end |
//! | 4 | `version` | 1 |
//! | 5 | `format` | how the payload is to be read: see [`PayloadFormat`] |
//! | 6..8 | `flags` | 0; reserved |
//! | 8..16 | `term` | the term in which it was appended |
//! | 16..24 | `offset` | its offset in the partition |
//! | 24..32 | `appended_ms` | when the primary appended it, milliseconds since 1970 |
//! | 32..40 | `producer` | the producer's id in this partition; 0 for none |
//! | 40..48 | `sequence` | the producer's sequence number of the first message |
//! | 48..52 | `messages` | number of messages, at least 1 |
//! | 52..56 | `payload_bytes` | length of the payload |
//! | 56.. | `payload` | as the producer sent it |

use crate::checksum;
use crate::ids::{MessageId, Offset, ProducerId, Term};
use crate::limits::{ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX};

/// Length of an entry's header, in bytes.
pub const ENTRY_HEADER_BYTES: usize = 56;

/// The only version of the layout so far.
pub const ENTRY_VERSION: u8 = 1;

/// How the payload of an entry is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// A record of a sibling log; never delivered to consumers.
    Record = 0,
    /// Messages in the layout of [`crate::batch`].
    Messages = 1,
    /// The time at which they are due, and then messages: see [`crate::delayed`].
    Delayed = 2,
}

impl PayloadFormat {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Record),
            1 => Some(Self::Messages),
            2 => Some(Self::Delayed),
            _ => None,
        }
    }
}

/// What the appender of an entry states; the log adds the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryDraft<'a> {
    /// How the payload is to be read.
    pub format: PayloadFormat,
    /// When it is appended, milliseconds since 1970.
    pub appended_ms: u64,
    /// Its producer.
    pub producer: ProducerId,
    /// The producer's sequence number of its first message.
    pub sequence: u64,
    /// Number of messages, at least 1.
    pub messages: u32,
    /// The bytes, stored as they are.
    pub payload: &'a [u8],
    /// The payload's checksum, where it is known already: then the payload is not read for it.
    pub payload_crc: Option<u32>,
}

/// The fields of an entry's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// CRC-32 (IEEE) of everything after it.
    pub crc: u32,
    /// How the payload is to be read.
    pub format: PayloadFormat,
    /// The term in which it was appended.
    pub term: Term,
    /// Its offset in the partition.
    pub offset: Offset,
    /// When the primary appended it, milliseconds since 1970.
    pub appended_ms: u64,
    /// Its producer.
    pub producer: ProducerId,
    /// The producer's sequence number of its first message.
    pub sequence: u64,
    /// Number of messages.
    pub messages: u32,
    /// Length of the payload.
    pub payload_bytes: u32,
}

impl EntryHeader {
    /// Reads a header and checks that its fields are possible. The checksum is not looked at.
    ///
    /// # Errors
    /// When `bytes` is too short or a field is out of its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let Some(header) = bytes.first_chunk::<ENTRY_HEADER_BYTES>() else {
            return Err(EntryError::Truncated);
        };
        if header[4] != ENTRY_VERSION {
            return Err(EntryError::Version(header[4]));
        }
        let format = PayloadFormat::from_byte(header[5]).ok_or(EntryError::Format(header[5]))?;
        let decoded = Self {
            crc: u32_at(header, 0),
            format,
            term: Term(u64_at(header, 8)),
            offset: Offset(u64_at(header, 16)),
            appended_ms: u64_at(header, 24),
            producer: ProducerId(u64_at(header, 32)),
            sequence: u64_at(header, 40),
            messages: u32_at(header, 48),
            payload_bytes: u32_at(header, 52),
        };
        if header[6..8] != [0, 0]
            || decoded.messages == 0
            || decoded.messages > ENTRY_MESSAGES_MAX
            || decoded.payload_bytes as usize > ENTRY_PAYLOAD_BYTES_MAX
        {
            return Err(EntryError::Field);
        }
        Ok(decoded)
    }

    /// Length of the whole entry, in bytes.
    #[must_use]
    pub const fn entry_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.payload_bytes as usize
    }

    /// The producer's sequence number of the last message.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.sequence.saturating_add(self.messages as u64 - 1)
    }

    /// The checksum of the whole entry as stored, its own checksum included.
    #[must_use]
    pub fn stored_crc(&self) -> u32 {
        let own = crc32fast::hash(&self.crc.to_le_bytes());
        checksum::joined(own, self.crc, self.entry_bytes() - size_of::<u32>())
    }

    /// The id of message `index`, or of the whole entry for -1.
    #[must_use]
    pub const fn message_id(&self, partition: i32, index: i32) -> MessageId {
        MessageId {
            term: self.term,
            offset: self.offset,
            partition,
            index,
        }
    }
}

/// An entry in its stored form, checked: the length is the stated one and the checksum matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The decoded header.
    pub header: EntryHeader,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry that `bytes` holds, to the last byte, and checks its checksum.
    ///
    /// # Errors
    /// When the length, a field or the checksum is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let header = EntryHeader::decode(bytes)?;
        if bytes.len() != header.entry_bytes() {
            return Err(EntryError::Truncated);
        }
        let actual = crc32fast::hash(&bytes[4..]);
        if actual != header.crc {
            return Err(EntryError::Checksum {
                stored: header.crc,
                actual,
            });
        }
        Ok(Self {
            header,
            payload: &bytes[ENTRY_HEADER_BYTES..],
        })
    }
}

/// Writes the entry that `draft` becomes at (`term`, `offset`) to the end of `out`, and returns
/// its header. The payload is copied once.
///
/// # Panics
/// As [`encode_entry_header`].
pub fn encode_entry(
    draft: &EntryDraft<'_>,
    term: Term,
    offset: Offset,
    out: &mut alloc::vec::Vec<u8>,
) -> EntryHeader {
    let (header, bytes) = encode_entry_header(draft, term, offset);
    out.extend_from_slice(&bytes);
    out.extend_from_slice(draft.payload);
    header
}

/// The header of the entry that `draft` becomes at (`term`, `offset`), and its bytes, which the
/// payload follows.
///
/// # Panics
/// When the draft has no messages, or its payload or message count is over the limit: the caller
/// checks what a client sent.
#[must_use]
pub fn encode_entry_header(
    draft: &EntryDraft<'_>,
    term: Term,
    offset: Offset,
) -> (EntryHeader, [u8; ENTRY_HEADER_BYTES]) {
    assert!(draft.messages >= 1 && draft.messages <= ENTRY_MESSAGES_MAX);
    assert!(draft.payload.len() <= ENTRY_PAYLOAD_BYTES_MAX);
    let payload_bytes = u32::try_from(draft.payload.len()).expect("the limit fits into 32 bits");
    let mut header = EntryHeader {
        crc: 0,
        format: draft.format,
        term,
        offset,
        appended_ms: draft.appended_ms,
        producer: draft.producer,
        sequence: draft.sequence,
        messages: draft.messages,
        payload_bytes,
    };
    let mut bytes = [0; ENTRY_HEADER_BYTES];
    bytes[4] = ENTRY_VERSION;
    bytes[5] = draft.format as u8;
    bytes[8..16].copy_from_slice(&term.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&offset.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&draft.appended_ms.to_le_bytes());
    bytes[32..40].copy_from_slice(&draft.producer.0.to_le_bytes());
    bytes[40..48].copy_from_slice(&draft.sequence.to_le_bytes());
    bytes[48..52].copy_from_slice(&draft.messages.to_le_bytes());
    bytes[52..56].copy_from_slice(&payload_bytes.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[4..]);
    header.crc = match draft.payload_crc {
        Some(payload_crc) => {
            debug_assert_eq!(payload_crc, crc32fast::hash(draft.payload));
            checksum::joined(crc.finalize(), payload_crc, draft.payload.len())
        }
        None => {
            crc.update(draft.payload);
            crc.finalize()
        }
    };
    bytes[0..4].copy_from_slice(&header.crc.to_le_bytes());
    (header, bytes)
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Too few or too many bytes for what the header states.
    #[error("the entry's length is not the stated one")]
    Truncated,
    /// A version that this program does not know.
    #[error("entry version {0} is not known")]
    Version(u8),
    /// A payload format that this program does not know.
    #[error("payload format {0} is not known")]
    Format(u8),
    /// A field is out of its range.
    #[error("a field of the entry's header is out of range")]
    Field,
    /// The bytes are not the ones that were written.
    #[error("the entry's checksum is {actual:08x}, stored is {stored:08x}")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        actual: u32,
    },
}

/// The little-endian u32 at `at`.
fn u32_at(bytes: &[u8; ENTRY_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The little-endian u64 at `at`.
fn u64_at(bytes: &[u8; ENTRY_HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn draft(payload: &[u8]) -> EntryDraft<'_> {
        EntryDraft {
            format: PayloadFormat::Messages,
            appended_ms: 1_700_000_000_123,
            producer: ProducerId(7),
            sequence: 41,
            messages: 3,
            payload,
            payload_crc: None,
        }
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let mut bytes = Vec::new();
        let header = encode_entry(&draft(b"hello"), Term(2), Offset(5), &mut bytes);
        let entry = Entry::decode(&bytes).unwrap();
        assert_eq!(entry.header, header);
        assert_eq!(entry.payload, b"hello");
        assert_eq!(header.last_sequence(), 43);
        assert_eq!(header.entry_bytes(), bytes.len());
        assert_eq!(header.stored_crc(), crc32fast::hash(&bytes));
    }

    #[test]
    fn a_known_checksum_makes_the_same_entry() {
        let (mut read, mut known) = (Vec::new(), Vec::new());
        let draft = draft(b"hello");
        encode_entry(&draft, Term(2), Offset(5), &mut read);
        let draft = EntryDraft {
            payload_crc: Some(crc32fast::hash(b"hello")),
            ..draft
        };
        encode_entry(&draft, Term(2), Offset(5), &mut known);
        assert_eq!(read, known);
    }

    #[test]
    fn the_layout_does_not_change() {
        let mut bytes = Vec::new();
        encode_entry(&draft(b"\xff"), Term(2), Offset(5), &mut bytes);
        let golden: &[u8] = &[
            0xeb, 0xf2, 0x61, 0x06, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
            0x7b, 0x68, 0xe5, 0xcf, 0x8b, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0,
            3, 0, 0, 0, 1, 0, 0, 0, 0xff,
        ];
        assert_eq!(bytes, golden, "{bytes:02x?}");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        encode_entry(&draft(b"abc"), Term(1), Offset(0), &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(Entry::decode(&bytes).is_ok());
    }

    #[test]
    fn any_other_length_is_refused() {
        let mut bytes = Vec::new();
        encode_entry(&draft(b"abc"), Term(1), Offset(0), &mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(Entry::decode(&bytes[..length]), Err(EntryError::Truncated));
        }
        bytes.push(0);
        assert_eq!(Entry::decode(&bytes), Err(EntryError::Truncated));
    }
}
