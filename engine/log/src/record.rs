//! The record: an entry with the few bytes that belong to this replica alone.
//!
//! The local header carries the length, how far the log was durable when the record was made, and
//! a checksum that ties the entry's own checksum to this segment.

use hulse_model::entry::{ENTRY_HEADER_BYTES, Entry};
use hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX;
use hulse_model::{EntryHeader, Offset};

use crate::field::Field;
use crate::report::DamageReason;
use crate::segment::{OFFSET_LIMIT, Seal};

/// Length of a record's local header, in bytes.
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
/// Records begin at multiples of this many bytes.
pub(crate) const RECORD_ALIGNMENT: usize = 8;
/// The local header and the entry's checksum: what the local checksum needs.
pub(crate) const RECORD_HEAD_BYTES: usize = RECORD_HEADER_BYTES + 4;
/// The smallest record there can be.
pub(crate) const RECORD_BYTES_MIN: u64 = (RECORD_HEADER_BYTES + ENTRY_HEADER_BYTES) as u64;

const F_LENGTH: Field = Field::first("length", 4);
const F_CRC: Field = F_LENGTH.then("local_crc", 4);
const F_SYNCED: Field = F_CRC.then("synced_before", 8);

/// The fields of a record's local header.
pub(crate) const RECORD_FIELDS: &[Field] = &[F_LENGTH, F_CRC, F_SYNCED];

const _: () = assert!(F_SYNCED.end() == RECORD_HEADER_BYTES);
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT));

/// Bytes that the record of an entry of `entry_bytes` bytes takes, its padding included.
pub(crate) const fn record_bytes(entry_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + entry_bytes).next_multiple_of(RECORD_ALIGNMENT)
}

/// A local header whose checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalHeader {
    pub(crate) entry_bytes: usize,
    pub(crate) synced_before: Offset,
}

impl LocalHeader {
    /// Writes the local header of an entry with checksum `entry_crc`.
    pub(crate) fn encode(
        seal: Seal,
        entry_bytes: usize,
        entry_crc: u32,
        synced_before: Offset,
    ) -> [u8; RECORD_HEADER_BYTES] {
        let length = u32::try_from(entry_bytes).expect("an entry is smaller than its segment");
        let mut bytes = [0; RECORD_HEADER_BYTES];
        F_LENGTH.put(&mut bytes, &length.to_le_bytes());
        F_CRC.put(
            &mut bytes,
            &local_crc(seal, length, entry_crc, synced_before.0).to_le_bytes(),
        );
        F_SYNCED.put(&mut bytes, &synced_before.0.to_le_bytes());
        bytes
    }

    /// Reads the local header at the start of `bytes`, which go on with the entry.
    pub(crate) fn decode(seal: Seal, bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<RECORD_HEAD_BYTES>()?;
        let length = F_LENGTH.u32(head);
        let entry_bytes = length as usize;
        // The cheap test first: it fails nearly everywhere when recovery looks at every eighth
        // byte.
        if !(ENTRY_HEADER_BYTES..=ENTRY_HEADER_BYTES + ENTRY_PAYLOAD_BYTES_MAX)
            .contains(&entry_bytes)
        {
            return None;
        }
        let entry_crc = Field::first("crc", 4).u32(&head[RECORD_HEADER_BYTES..]);
        let synced_before = F_SYNCED.u64(head);
        if local_crc(seal, length, entry_crc, synced_before) != F_CRC.u32(head)
            || synced_before >= OFFSET_LIMIT
        {
            return None;
        }
        Some(Self {
            entry_bytes,
            synced_before: Offset(synced_before),
        })
    }

    /// Bytes of the whole record.
    pub(crate) const fn record_bytes(self) -> u64 {
        record_bytes(self.entry_bytes) as u64
    }
}

/// A record that is whole and unharmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) local: LocalHeader,
    pub(crate) entry: EntryHeader,
}

/// Why no record stands somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// Nothing was ever written here.
    Blank,
    /// The local header is wrong, or too few bytes follow it.
    Local,
    /// The local header is right and the entry is not.
    Entry(LocalHeader),
}

impl RecordFault {
    pub(crate) const fn reason(self) -> DamageReason {
        match self {
            Self::Blank => DamageReason::Missing,
            Self::Local => DamageReason::LocalChecksum,
            Self::Entry(_) => DamageReason::EntryChecksum,
        }
    }
}

/// Reads and checks the record at the start of `bytes`.
pub(crate) fn decode_record(seal: Seal, bytes: &[u8]) -> Result<Record, RecordFault> {
    let Some(local) = LocalHeader::decode(seal, bytes) else {
        let head = &bytes[..bytes.len().min(RECORD_HEADER_BYTES)];
        let blank = head.iter().all(|byte| *byte == 0);
        return Err(if blank {
            RecordFault::Blank
        } else {
            RecordFault::Local
        });
    };
    let entry = bytes
        .get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + local.entry_bytes)
        .ok_or(RecordFault::Local)?;
    let entry = Entry::decode(entry)
        .map_err(|_| RecordFault::Entry(local))?
        .header;
    // A record cannot know of anything durable beyond itself.
    if entry.offset.0 >= OFFSET_LIMIT || local.synced_before > entry.offset {
        return Err(RecordFault::Entry(local));
    }
    Ok(Record { local, entry })
}

fn local_crc(seal: Seal, length: u32, entry_crc: u32, synced_before: u64) -> u32 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&seal.bytes());
    bytes[16..20].copy_from_slice(&length.to_le_bytes());
    bytes[20..24].copy_from_slice(&entry_crc.to_le_bytes());
    bytes[24..].copy_from_slice(&synced_before.to_le_bytes());
    crc32fast::hash(&bytes)
}

#[cfg(test)]
mod tests;
