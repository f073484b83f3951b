//! What recovery and verification found, for people and for the layers above.

use hulse_model::Offset;

use crate::segment::LogKind;

/// What is wrong with a place of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DamageReason {
    /// An entry's own checksum is wrong: its header or its payload has changed.
    EntryChecksum,
    /// A record's local header is wrong, or the entry's checksum that it covers.
    LocalChecksum,
    /// Entries that are proved to have been there are not.
    Missing,
    /// A segment's header, in both its copies, or its length.
    Header,
    /// A segment's footer, which holds its index. No entry is lost by that.
    Index,
}

impl std::fmt::Display for DamageReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EntryChecksum => "entry checksum",
            Self::LocalChecksum => "local checksum",
            Self::Missing => "missing",
            Self::Header => "header",
            Self::Index => "index",
        })
    }
}

/// Entries that cannot be read, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// The first entry concerned.
    pub first: Offset,
    /// One past the last entry concerned.
    pub end: Offset,
    /// Name of the segment's file.
    pub segment: String,
    /// Where in the file the damage begins, in bytes.
    pub position: u64,
    /// What is wrong there.
    pub reason: DamageReason,
}

impl DamagedRange {
    /// Whether `offset` is one of the entries concerned.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        (self.first..self.end).contains(&offset)
    }
}

/// What stood after the last whole entry and was never proved durable: as a rule a write that a
/// crash cut off. Rot of the very last round looks the same, unless a mark proves the round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the segment's file.
    pub segment: String,
    /// Where in the file it begins, in bytes.
    pub position: u64,
    /// The first entry that is not whole: the log's end after recovery.
    pub offset: Offset,
    /// What is wrong with it.
    pub reason: DamageReason,
    /// Whole entries that stand after it in the files. They were not durable, or not provably,
    /// and go with it.
    pub entries_after: u64,
}

/// What recovery found in one log, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecovery {
    /// Which log.
    pub log: LogKind,
    /// Its first entry.
    pub start: Offset,
    /// One past its last entry.
    pub end: Offset,
    /// What the manifest said was durable.
    pub marked_to: Offset,
    /// What was proved to have been durable before the start.
    pub flushed_to: Offset,
    /// Number of its segments.
    pub segments: usize,
    /// How many of them had to be read in full.
    pub segments_scanned: usize,
    /// Length of those, in bytes.
    pub bytes_scanned: u64,
    /// Entries that are proved to have been durable and cannot be read.
    pub damaged: Vec<DamagedRange>,
    /// The torn tail that was cut off.
    pub torn_tail: Option<TornTail>,
    /// A truncation that had been begun and was finished: the offset it cut at.
    pub truncation_finished: Option<Offset>,
    /// Files that were no longer needed and were removed.
    pub files_removed: Vec<String>,
}

/// What recovery found in a partition, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The log of entries.
    pub entries: LogRecovery,
    /// The sibling log.
    pub sibling: LogRecovery,
}

impl RecoveryReport {
    /// Whether the files are as a clean stop leaves them.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [&self.entries, &self.sibling].into_iter().all(|log| {
            log.damaged.is_empty()
                && log.torn_tail.is_none()
                && log.truncation_finished.is_none()
                && log.marked_to == log.end
        })
    }
}
