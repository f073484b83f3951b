//! The files of a stopped broker, read from outside and damaged on purpose.
//!
//! This knows of the format what `docs/log-format.md` says of records, and nothing of the code that
//! writes them.

use std::fs;
use std::path::{Path, PathBuf};

use hulse_model::EntryHeader;

/// Where the first record begins: behind the header and the opening.
const DATA_START: usize = 96 + 16;
/// Length of a record's own header, before the entry.
const RECORD_HEADER_BYTES: usize = 16;
const RECORD_ALIGNMENT: usize = 8;

/// One entry in a segment's file.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// Where its bytes begin.
    pub position: usize,
    /// Its fields.
    pub header: EntryHeader,
    /// The values of its messages.
    pub values: Vec<Vec<u8>>,
}

/// The largest segment of entries in a partition's directory.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn largest(partition_dir: &Path) -> PathBuf {
    let listed = fs::read_dir(partition_dir).expect("the partition's directory");
    let paths = listed.map(|entry| entry.expect("a file").path());
    let used_bytes = |path: &PathBuf| {
        let last = entries(path).pop();
        last.map_or(0, |entry| entry.position + entry.header.entry_bytes())
    };
    let segments = paths.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("entries-") && name.ends_with(".seg")
    });
    segments.max_by_key(used_bytes).expect("a segment")
}

/// The entries of a segment that is whole.
///
/// # Panics
/// When the file cannot be read.
#[must_use]
pub fn entries(path: &Path) -> Vec<StoredEntry> {
    let bytes = fs::read(path).expect("the segment");
    let mut found = Vec::new();
    let mut at = DATA_START;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_le_bytes(*length) as usize;
        let position = at + RECORD_HEADER_BYTES;
        let Some(entry) = bytes
            .get(position..position + length)
            .filter(|_| length > 0)
        else {
            break;
        };
        // Behind the last record there are zeros or, in a sealed segment, the footer.
        let Ok(header) = EntryHeader::decode(entry) else {
            break;
        };
        let payload = &entry[length - header.payload_bytes as usize..];
        let messages = header.format.messages(payload).expect("messages");
        let values = messages.map(|message| message.expect("a message").value.to_vec());
        let values = values.collect();
        found.push(StoredEntry {
            position,
            header,
            values,
        });
        at = (position + length).next_multiple_of(RECORD_ALIGNMENT);
    }
    found
}

/// Flips one bit in the middle of an entry.
///
/// # Panics
/// When the file cannot be written.
pub fn flip_a_bit(path: &Path, entry: &StoredEntry) {
    let mut bytes = fs::read(path).expect("the segment");
    bytes[entry.position + entry.header.entry_bytes() / 2] ^= 1 << 3;
    fs::write(path, bytes).expect("the segment");
}
