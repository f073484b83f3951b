//! The newest ids of one producer, so that a retry gets its original one.

use alloc::collections::VecDeque;

use hulse_model::limits::PRODUCER_RECENT_IDS;
use hulse_model::{EntryHeader, Offset, Term};

use super::{Check, Original};

/// Entries that follow each other in the log and in their sequences, of one term and with the
/// same number of messages each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The sequence number of the first entry's first message.
    pub(crate) sequence: u64,
    /// The first entry.
    pub(crate) offset: u64,
    /// The term of all.
    pub(crate) term: Term,
    /// Messages of each entry, at least 1.
    pub(crate) messages: u32,
    /// How many entries, at least 1.
    pub(crate) entries: u32,
}

impl Run {
    /// The sequence number after the last message's.
    pub(crate) fn end(&self) -> u64 {
        self.sequence
            .saturating_add(u64::from(self.messages) * u64::from(self.entries))
    }

    /// Whether the entry of `header` goes on where the run ends.
    fn continues(&self, header: &EntryHeader) -> bool {
        self.term == header.term
            && self.messages == header.messages
            && self.end() == header.sequence
            && self.offset.checked_add(u64::from(self.entries)) == Some(header.offset.0)
    }
}

/// The newest [`PRODUCER_RECENT_IDS`] entries of one producer, as rising runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecentIds {
    runs: VecDeque<Run>,
    entries: usize,
}

impl RecentIds {
    /// Adds an entry; its sequences lie above all of the others'.
    pub(crate) fn push(&mut self, header: &EntryHeader) {
        match self.runs.back_mut() {
            Some(run) if run.continues(header) => run.entries += 1,
            _ => self.runs.push_back(Run {
                sequence: header.sequence,
                offset: header.offset.0,
                term: header.term,
                messages: header.messages,
                entries: 1,
            }),
        }
        self.entries += 1;
        if self.entries > PRODUCER_RECENT_IDS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        self.entries -= 1;
        run.entries -= 1;
        run.sequence = run.sequence.saturating_add(u64::from(run.messages));
        run.offset += 1;
        if run.entries == 0 {
            self.runs.pop_front();
        }
    }

    /// Judges the batch `sequence..end`, which ends at or below `last`, the last stored one.
    pub(super) fn look_up(&self, sequence: u64, end: u64, messages: u32, last: u64) -> Check {
        let after = self.runs.partition_point(|run| run.sequence <= sequence);
        let Some(run) = after.checked_sub(1).and_then(|at| self.runs.get(at)) else {
            return Check::Duplicate { original: None };
        };
        if messages == run.messages && end <= run.end() {
            let before = sequence - run.sequence;
            if before.is_multiple_of(u64::from(messages)) {
                let offset = Offset(run.offset + before / u64::from(messages));
                let original = Original {
                    term: run.term,
                    offset,
                    messages,
                };
                return Check::Duplicate {
                    original: Some(original),
                };
            }
        }
        // The batches were cut differently. All messages are stored if no run that they touch
        // ends before the next one begins.
        let mut stored = run.end();
        for next in self.runs.range(after..) {
            if next.sequence != stored || stored >= end {
                break;
            }
            stored = next.end();
        }
        if sequence < stored && end <= stored {
            Check::Duplicate { original: None }
        } else {
            Check::Overlap { last }
        }
    }

    /// The runs, rising.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = &Run> {
        self.runs.iter()
    }

    /// Adds a run read from a snapshot; false when it does not lie above the others.
    pub(crate) fn restore(&mut self, run: Run) -> bool {
        let rising = self.runs.back().is_none_or(|before| {
            before.end() <= run.sequence
                && before.offset.saturating_add(u64::from(before.entries)) <= run.offset
        });
        let entries = self.entries.saturating_add(run.entries as usize);
        let possible = run.messages > 0
            && run.entries > 0
            && run.offset.checked_add(u64::from(run.entries)).is_some()
            && run
                .sequence
                .checked_add(u64::from(run.messages) * u64::from(run.entries))
                .is_some();
        if !rising || !possible || entries > PRODUCER_RECENT_IDS {
            return false;
        }
        self.entries = entries;
        self.runs.push_back(run);
        true
    }
}
