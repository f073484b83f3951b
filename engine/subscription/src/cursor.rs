//! A subscription's cursor: which messages are acknowledged.
//!
//! A cursor is a mark, before which everything is acknowledged, and what is acknowledged above it:
//! whole entries as ranges of offsets, and for an entry of which only some messages are
//! acknowledged, the ranges of their indexes. No hole is ever forgotten, and memory grows with the
//! number of ranges, not of messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::limits::{ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX};
use hulse_model::{Offset, Position};

use crate::acknowledgements::{Acknowledgements, IndexRange, OffsetRange, PartialEntry};
use crate::index_ranges::IndexRanges;
use crate::offset_ranges::OffsetRanges;

/// Ranges after which [`Cursor::take_changes`] begins another record.
const CHANGES_RANGES_TARGET: usize = 65_536;

// A record of changes holds at most the target and one more batch with every other message
// acknowledged. No range takes more than two of the longest variable-length integers.
const _: () = assert!(
    (CHANGES_RANGES_TARGET + ENTRY_MESSAGES_MAX as usize / 2) * 40 < ENTRY_PAYLOAD_BYTES_MAX
);

/// Which messages of a partition one subscription has acknowledged.
///
/// Two cursors are equal when the same messages are acknowledged; what has not been taken by
/// [`Self::take_changes`] yet is no part of that.
///
/// Whoever acknowledges says how many messages the entry has, so that the last of them completes
/// it. Who does not know passes [`u32::MAX`]: then only a range up to [`u32::MAX`] reaches the
/// entry's end. A cursor cannot know where the log ends: the caller refuses what lies at or above
/// the high watermark.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    mark: Position,
    /// Whole acknowledged entries; all above the mark's entry.
    whole: OffsetRanges,
    /// Acknowledged messages of other entries; in the mark's entry, all above the mark's index.
    partial: BTreeMap<u64, IndexRanges>,
    changes: Changes,
}

/// What was acknowledged since the changes were last taken.
#[derive(Debug, Clone, Default)]
struct Changes {
    mark: bool,
    whole: OffsetRanges,
    partial: BTreeMap<u64, IndexRanges>,
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        (self.mark, &self.whole, &self.partial) == (other.mark, &other.whole, &other.partial)
    }
}

impl Eq for Cursor {}

impl Cursor {
    /// A cursor at `mark`: everything before it counts as acknowledged, nothing after it does.
    #[must_use]
    pub fn new(mark: Position) -> Self {
        Self {
            mark,
            ..Self::default()
        }
    }

    /// Every message before it is acknowledged. It rises, except by [`Self::set`].
    ///
    /// The message at the mark is not acknowledged, as far as the cursor knows: a mark set into an
    /// entry may lie past its last message.
    #[must_use]
    pub const fn mark(&self) -> Position {
        self.mark
    }

    /// Moves the mark to `position`, up or down, and forgets every acknowledgement above it: a
    /// seek. What was acknowledged and not taken yet is no longer to be recorded.
    pub fn set(&mut self, position: Position) {
        *self = Self::new(position);
    }

    /// Acknowledges everything up to message `last` of entry `offset`, which has `messages`
    /// messages. Returns whether anything changed.
    pub fn acknowledge_cumulative(&mut self, offset: Offset, last: u32, messages: u32) -> bool {
        let Some(next) = offset.0.checked_add(1) else {
            return false;
        };
        let to = if reaches_end(last, messages) {
            Position::at(Offset(next))
        } else {
            Position {
                offset,
                index: last + 1,
            }
        };
        let changed = self.raise(to);
        self.changes.mark |= changed;
        changed
    }

    /// Acknowledges messages `first` to `last`, both included, of entry `offset`, which has
    /// `messages` messages; 0 to [`u32::MAX`] is the whole entry. Returns whether anything
    /// changed. A range that holds no message of the entry changes nothing.
    pub fn acknowledge_range(
        &mut self,
        offset: Offset,
        first: u32,
        last: u32,
        messages: u32,
    ) -> bool {
        let outside = first > last || first >= messages.clamp(1, ENTRY_MESSAGES_MAX);
        if outside || offset.0 == u64::MAX || offset < self.mark.offset {
            return false;
        }
        let last = if reaches_end(last, messages) {
            u32::MAX
        } else {
            last
        };
        let mark = self.mark;
        let changed = self.insert(offset.0, first, last);
        self.changes.mark |= self.mark != mark;
        if changed && offset >= self.mark.offset {
            if self.whole.contains(offset.0) {
                self.changes.partial.remove(&offset.0);
                self.changes.whole.insert(offset.0, offset.0 + 1);
            } else {
                self.changes
                    .partial
                    .entry(offset.0)
                    .or_default()
                    .insert(first, last);
            }
        }
        changed
    }

    /// Acknowledges the entries from `first` up to, not including, `end`, and returns whether
    /// anything changed.
    pub fn acknowledge_entries(&mut self, first: Offset, end: Offset) -> bool {
        let mark = self.mark;
        let changed = self.insert_whole(first.0, end.0);
        self.changes.mark |= self.mark != mark;
        if changed && end > self.mark.offset {
            self.changes.whole.insert(first.0, end.0);
            remove_between(&mut self.changes.partial, first.0, end.0);
        }
        changed
    }

    /// Whether message `index` of entry `offset` is acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self, offset: Offset, index: u32) -> bool {
        (Position { offset, index }) < self.mark
            || self.whole.contains(offset.0)
            || self
                .partial
                .get(&offset.0)
                .is_some_and(|ranges| ranges.contains(index))
    }

    /// The acknowledged messages of entry `offset`, which has `messages` messages: the ranges that
    /// a consumer is to skip, rising and apart. Empty for most entries, which then costs no memory.
    #[must_use]
    pub fn acknowledged_in(&self, offset: Offset, messages: u32) -> Vec<IndexRange> {
        let Some(end) = messages.checked_sub(1) else {
            return Vec::new();
        };
        if offset < self.mark.offset || self.whole.contains(offset.0) {
            return Vec::from([IndexRange {
                first: 0,
                last: end,
            }]);
        }
        let mut ranges = Vec::new();
        if offset == self.mark.offset && self.mark.index > 0 {
            ranges.push(IndexRange {
                first: 0,
                last: (self.mark.index - 1).min(end),
            });
        }
        if let Some(partial) = self.partial.get(&offset.0) {
            let inside = partial.as_slice().iter().filter(|range| range.first <= end);
            ranges.extend(inside.map(|range| IndexRange {
                last: range.last.min(end),
                ..*range
            }));
        }
        ranges
    }

    /// The first entry at or after `from` that is not acknowledged as a whole. It may have no
    /// unacknowledged message left only when nobody has said how many it has.
    #[must_use]
    pub fn next_unacknowledged(&self, from: Offset) -> Offset {
        let from = from.max(self.mark.offset);
        self.whole.end_of(from.0).map_or(from, Offset)
    }

    /// How many entries below `end` are not acknowledged as a whole. `end` is the high watermark,
    /// below which every acknowledged entry lies.
    #[must_use]
    pub fn backlog(&self, end: Offset) -> u64 {
        end.0
            .saturating_sub(self.mark.offset.0)
            .saturating_sub(self.whole.entries())
    }

    /// How many ranges are held above the mark: of whole entries, and entries partly acknowledged.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.whole.len() + self.partial.len()
    }

    /// Whether something was acknowledged that [`Self::take_changes`] has not given yet.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes.mark || !self.changes.whole.is_empty() || !self.changes.partial.is_empty()
    }

    /// What was acknowledged since the last call, to be made durable: applied to a cursor that has
    /// had all earlier ones, it gives this cursor. So much at a time as fits into one record: to
    /// be called until it gives nothing.
    pub fn take_changes(&mut self) -> Option<Acknowledgements> {
        self.changes.forget_below(self.mark);
        if !self.has_changes() {
            return None;
        }
        self.changes.mark = false;
        let mut room = CHANGES_RANGES_TARGET;
        let mut taken = Acknowledgements {
            mark: self.mark,
            entries: Vec::new(),
            partial: Vec::new(),
        };
        while room > 0
            && let Some((first, end)) = self.changes.whole.pop_first()
        {
            taken.entries.push(OffsetRange {
                first: Offset(first),
                end: Offset(end),
            });
            room -= 1;
        }
        while room > 0
            && let Some((offset, ranges)) = self.changes.partial.pop_first()
        {
            room = room.saturating_sub(ranges.as_slice().len());
            taken.partial.push(PartialEntry {
                offset: Offset(offset),
                ranges: ranges.into_vec(),
            });
        }
        Some(taken)
    }

    /// Adds acknowledgements that are recorded already, from this cursor's own log or a primary's.
    /// What the cursor has already changes nothing.
    pub fn apply(&mut self, recorded: &Acknowledgements) {
        self.raise(recorded.mark);
        for range in &recorded.entries {
            self.insert_whole(range.first.0, range.end.0);
        }
        for entry in &recorded.partial {
            for range in &entry.ranges {
                self.insert(entry.offset.0, range.first, range.last);
            }
        }
    }

    /// Everything that is acknowledged.
    #[must_use]
    pub fn acknowledgements(&self) -> Acknowledgements {
        let entries = self.whole.iter();
        let partial = self.partial.iter();
        Acknowledgements {
            mark: self.mark,
            entries: entries
                .map(|(first, end)| OffsetRange {
                    first: Offset(first),
                    end: Offset(end),
                })
                .collect(),
            partial: partial
                .map(|(offset, ranges)| PartialEntry {
                    offset: Offset(*offset),
                    ranges: ranges.as_slice().to_vec(),
                })
                .collect(),
        }
    }

    /// Stops the process when the cursor is not in order. Costs time in proportion to its ranges.
    ///
    /// # Panics
    /// When something that is never false is false.
    pub fn check_invariants(&self) {
        let lowest = self.whole.iter().next();
        assert!(
            lowest.is_none_or(|(first, _)| first > self.mark.offset.0),
            "a whole entry at or below the mark"
        );
        for (offset, ranges) in &self.partial {
            assert!(
                *offset >= self.mark.offset.0,
                "a partly acknowledged entry below the mark"
            );
            assert!(
                !self.whole.contains(*offset),
                "an entry both whole and partly acknowledged"
            );
            assert!(
                !ranges.is_empty() && !ranges.is_whole(),
                "a partly acknowledged entry is not"
            );
            let first = ranges.as_slice()[0].first;
            let floor = if *offset == self.mark.offset.0 {
                self.mark.index
            } else {
                0
            };
            assert!(
                first > floor || *offset > self.mark.offset.0,
                "the mark's index stands in the way"
            );
        }
    }

    fn raise(&mut self, to: Position) -> bool {
        if to <= self.mark {
            return false;
        }
        self.mark = to;
        self.settle();
        true
    }

    fn insert_whole(&mut self, first: u64, end: u64) -> bool {
        let first = first.max(self.mark.offset.0);
        if !self.whole.insert(first, end) {
            return false;
        }
        remove_between(&mut self.partial, first, end);
        self.settle();
        true
    }

    fn insert(&mut self, offset: u64, first: u32, last: u32) -> bool {
        if offset < self.mark.offset.0 || self.whole.contains(offset) {
            return false;
        }
        // What the mark covers of its own entry need not be told again.
        let covered = if offset == self.mark.offset.0 {
            self.mark.index
        } else {
            0
        };
        if first <= covered && last == u32::MAX {
            return self.insert_whole(offset, offset + 1);
        }
        if last < covered {
            return false;
        }
        let ranges = self.partial.entry(offset).or_default();
        if !ranges.insert(first, last) {
            return false;
        }
        if ranges.is_whole() {
            self.partial.remove(&offset);
            return self.insert_whole(offset, offset + 1);
        }
        if offset == self.mark.offset.0 {
            self.settle();
        }
        true
    }

    /// Moves the mark over what is acknowledged at it, and lets go of what lies below it.
    fn settle(&mut self) {
        loop {
            let offset = self.mark.offset.0;
            self.whole.remove_below(offset);
            forget_below(&mut self.partial, self.mark);
            if let Some(end) = self.whole.end_of(offset) {
                self.mark = Position::at(Offset(end));
                continue;
            }
            let Some(ranges) = self.partial.get_mut(&offset) else {
                return;
            };
            let reached = ranges.pop_reaching(self.mark.index);
            if ranges.is_empty() {
                self.partial.remove(&offset);
            }
            match reached {
                Some(u32::MAX) => self.mark = Position::at(self.mark.offset.next()),
                Some(last) => self.mark.index = last + 1,
                None => return,
            }
        }
    }
}

impl From<&Acknowledgements> for Cursor {
    fn from(recorded: &Acknowledgements) -> Self {
        let mut cursor = Self::new(recorded.mark);
        cursor.apply(recorded);
        cursor
    }
}

impl Changes {
    fn forget_below(&mut self, mark: Position) {
        self.whole.remove_below(mark.offset.0);
        forget_below(&mut self.partial, mark);
    }
}

/// Takes out of `partial` what lies below `mark`.
fn forget_below(partial: &mut BTreeMap<u64, IndexRanges>, mark: Position) {
    while let Some((&offset, ranges)) = partial.iter_mut().next()
        && offset <= mark.offset.0
    {
        if offset == mark.offset.0 {
            ranges.remove_below(mark.index);
            if !ranges.is_empty() {
                return;
            }
        }
        partial.remove(&offset);
    }
}

/// Takes `first..end` out of `partial`.
fn remove_between(partial: &mut BTreeMap<u64, IndexRanges>, first: u64, end: u64) {
    while let Some((&offset, _)) = partial.range(first..end).next() {
        partial.remove(&offset);
    }
}

/// Whether message `last` is the last one of an entry that has `messages`, or past it.
fn reaches_end(last: u32, messages: u32) -> bool {
    last >= messages.clamp(1, ENTRY_MESSAGES_MAX) - 1
}
