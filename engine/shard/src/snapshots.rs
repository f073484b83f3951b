//! Where the snapshots of the state lie in a sibling log that is read back.

use hulse_model::{Offset, Term};
use hulse_subscription::{SiblingRecord, SnapshotPart};

/// Finds whole snapshots among the records, by the same rule as [`hulse_subscription::Recovery`]:
/// all parts, in order, of one snapshot, and none of them damaged.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    begun: Option<Begun>,
}

/// A snapshot of which some parts have come.
#[derive(Debug)]
struct Begun {
    snapshot: Snapshot,
    /// The part that is next.
    next: u32,
    parts: u32,
    term: Term,
}

/// A whole snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The offset of its first part.
    pub(crate) first: Offset,
    /// The offset after the last entry that it covers.
    pub(crate) entries_applied: Offset,
    /// The length of its records, in bytes.
    pub(crate) bytes: u64,
}

impl Snapshots {
    /// Takes the next record, which lies at `offset`, and gives the snapshot that it completes.
    pub(crate) fn take(
        &mut self,
        record: &SiblingRecord,
        offset: Offset,
        bytes: usize,
    ) -> Option<Snapshot> {
        let SiblingRecord::Snapshot(part) = record else {
            return None;
        };
        if part.part == 0 {
            self.begun = Some(Begun {
                snapshot: Snapshot {
                    first: offset,
                    entries_applied: part.entries_applied,
                    bytes: 0,
                },
                next: 0,
                parts: part.parts,
                term: part.entries_term,
            });
        }
        let begun = self.begun.take_if(|begun| !begun.is_followed_by(part));
        if begun.is_some() {
            return None;
        }
        let begun = self.begun.as_mut()?;
        begun.next += 1;
        begun.snapshot.bytes += bytes as u64;
        let whole = self.begun.take_if(|begun| begun.next == begun.parts)?;
        Some(whole.snapshot)
    }

    /// Notes that records are missing here: what was begun has no end.
    pub(crate) fn records_missing(&mut self) {
        self.begun = None;
    }
}

impl Begun {
    fn is_followed_by(&self, part: &SnapshotPart) -> bool {
        self.next == part.part
            && self.parts == part.parts
            && self.snapshot.entries_applied == part.entries_applied
            && self.term == part.entries_term
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: u32, parts: u32, applied: u64) -> SiblingRecord {
        SiblingRecord::Snapshot(SnapshotPart {
            part,
            parts,
            entries_applied: Offset(applied),
            entries_term: Term(1),
            state: Vec::new(),
        })
    }

    #[test]
    fn only_whole_snapshots_are_found() {
        let mut snapshots = Snapshots::default();
        let other = SiblingRecord::SubscriptionDeleted { id: 1 };
        assert_eq!(snapshots.take(&part(0, 2, 7), Offset(3), 10), None);
        assert_eq!(snapshots.take(&other, Offset(4), 99), None);
        let found = Snapshot {
            first: Offset(3),
            entries_applied: Offset(7),
            bytes: 21,
        };
        assert_eq!(snapshots.take(&part(1, 2, 7), Offset(5), 11), Some(found));
        // The first part of this one is damaged: the rest belongs to nothing.
        snapshots.records_missing();
        assert_eq!(snapshots.take(&part(1, 2, 9), Offset(7), 10), None);
        // This one is cut short by another that is whole.
        assert_eq!(snapshots.take(&part(0, 3, 9), Offset(8), 10), None);
        assert_eq!(snapshots.take(&part(2, 3, 9), Offset(9), 10), None);
        assert_eq!(snapshots.take(&part(1, 3, 9), Offset(10), 10), None);
        assert!(snapshots.take(&part(0, 1, 9), Offset(11), 10).is_some());
        // Two snapshots with the middle damaged: the parts do not make one.
        assert_eq!(snapshots.take(&part(0, 2, 9), Offset(12), 10), None);
        assert_eq!(snapshots.take(&part(1, 2, 10), Offset(14), 10), None);
    }
}
