//! Making a partition's state anew from its two logs.

use alloc::vec::Vec;

use hulse_model::{Offset, Term};

use crate::record::{RecordError, SiblingRecord, SnapshotPart};
use crate::snapshot;
use crate::state::PartitionState;

/// Why a state cannot be made from the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// A whole snapshot is there and cannot be read.
    #[error("a snapshot cannot be read: {0}")]
    Snapshot(#[from] RecordError),
    /// The sibling log does not begin at 0 any more, and holds no whole snapshot that fits the
    /// entries.
    #[error("the sibling log begins at {start} and holds no usable snapshot")]
    NoSnapshot {
        /// Where it begins.
        start: Offset,
    },
}

/// Reads the sibling log, from its first record to its last, and gives the state to which the
/// entries from [`PartitionState::entries_applied`] on are then applied.
///
/// The snapshot that counts is the last whole one whose last entry the log of entries holds: one
/// may have become durable before entries that a crash then took away. Because every start of a
/// primary has a new term, the term at that offset tells. When [`Self::refused_snapshots`] is not
/// 0, the caller writes a new snapshot before it lets go of any part of the sibling log.
#[derive(Debug, Default)]
pub struct Recovery {
    state: PartitionState,
    collected: Option<Collected>,
    restored: bool,
    refused_snapshots: u64,
    missing_records: bool,
}

/// The parts of a snapshot so far, and the records between and after them, which belong on top.
#[derive(Debug)]
struct Collected {
    first: SnapshotPart,
    parts: u32,
    records: Vec<SiblingRecord>,
}

impl Recovery {
    /// A recovery that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record. `holds` answers whether the log of entries holds the entry of this
    /// offset with this term, or has held it and let go of it by retention.
    ///
    /// # Errors
    /// When the record completes a snapshot that cannot be read.
    pub fn apply(
        &mut self,
        record: SiblingRecord,
        holds: impl FnOnce(Term, Offset) -> bool,
    ) -> Result<(), RecoveryError> {
        let SiblingRecord::Snapshot(part) = record else {
            self.state.apply_record(&record);
            if let Some(collected) = &mut self.collected {
                collected.records.push(record);
            }
            return Ok(());
        };
        self.collect(part);
        let Some(whole) = self
            .collected
            .take_if(|collected| collected.parts == collected.first.parts)
        else {
            return Ok(());
        };
        let SnapshotPart {
            entries_applied,
            entries_term,
            state,
            ..
        } = whole.first;
        let fits = match entries_applied.0.checked_sub(1) {
            Some(last) => holds(entries_term, Offset(last)),
            None => true,
        };
        if !fits {
            self.refused_snapshots += 1;
            return Ok(());
        }
        self.state = snapshot::decode(&state, entries_applied, entries_term)?;
        self.restored = true;
        self.missing_records = false;
        for record in &whole.records {
            self.state.apply_record(record);
        }
        Ok(())
    }

    /// Adds a part to those collected, if it is the one that follows; the first part begins anew.
    fn collect(&mut self, part: SnapshotPart) {
        if part.part == 0 {
            self.collected = Some(Collected {
                first: part,
                parts: 1,
                records: Vec::new(),
            });
            return;
        }
        let follows = self.collected.as_mut().filter(|collected| {
            let first = &collected.first;
            (
                collected.parts,
                first.parts,
                first.entries_applied,
                first.entries_term,
            ) == (
                part.part,
                part.parts,
                part.entries_applied,
                part.entries_term,
            )
        });
        match follows {
            Some(collected) => {
                collected.first.state.extend_from_slice(&part.state);
                collected.parts += 1;
            }
            None => self.collected = None,
        }
    }

    /// Notes that records are missing here, because they are damaged. A snapshot of which a part
    /// is missing, or may be, counts for nothing; one that begins later makes up for everything.
    pub fn records_missing(&mut self) {
        self.collected = None;
        self.missing_records = true;
    }

    /// Whether the state lacks what damaged records held: acknowledgements, so that messages are
    /// delivered again, or names of producers and subscriptions.
    #[must_use]
    pub const fn lacks_records(&self) -> bool {
        self.missing_records
    }

    /// How many whole snapshots did not fit the entries.
    #[must_use]
    pub const fn refused_snapshots(&self) -> u64 {
        self.refused_snapshots
    }

    /// The state after the last record of a sibling log that begins at `sibling_start`. A snapshot
    /// that is not whole counts for nothing.
    ///
    /// # Errors
    /// When the sibling log's beginning is gone and no snapshot stands for it.
    pub fn finish(self, sibling_start: Offset) -> Result<PartitionState, RecoveryError> {
        if sibling_start > Offset::ZERO && !self.restored {
            return Err(RecoveryError::NoSnapshot {
                start: sibling_start,
            });
        }
        Ok(self.state)
    }
}
