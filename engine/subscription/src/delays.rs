//! Entries that were read before they were due.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Range;

use hulse_model::Offset;

use crate::cursor::Cursor;
use crate::dispatcher::Blocked;

/// The entries of a subscription that were read and wait for their time, in memory that does not grow
/// with their number.
///
/// Those that are due first are remembered one by one, up to a limit. Of the others it is known only
/// in which **block** they lie: blocks are equally long stretches of offsets, of each of which the
/// earliest time at which something is due is kept. When that time has come the block is **read
/// again**, by the same way as what is new, and every entry of it is delivered or comes back here. When
/// there are too many blocks they become twice as long.
///
/// Entries of a block that are no business of this index any more (acknowledged, delivered, remembered
/// one by one) are passed over when it is read again: `elsewhere` says which the dispatcher has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delays {
    entries_max: usize,
    blocks_max: usize,
    /// The time, in milliseconds since 1970, as far as it was told.
    now_ms: u64,
    /// Remembered one by one.
    soonest: BTreeSet<(u64, Offset)>,
    /// The same by their offsets.
    due_of: BTreeMap<Offset, u64>,
    /// How many offsets a block has.
    block_entries: u64,
    /// The earliest time of each block, by the block's number, and the entry that is due then.
    blocks: BTreeMap<u64, (u64, Offset)>,
    /// The same by that time.
    blocks_by_due: BTreeSet<(u64, u64)>,
    /// What is being read again.
    again: Range<u64>,
    /// Whether what is to be read again goes before what is new. They take turns, so that neither
    /// holds up the other.
    again_first: bool,
}

impl Delays {
    pub(crate) fn new(entries_max: usize, blocks_max: usize) -> Self {
        Self {
            entries_max,
            blocks_max: blocks_max.max(1),
            now_ms: 0,
            soonest: BTreeSet::new(),
            due_of: BTreeMap::new(),
            block_entries: 1,
            blocks: BTreeMap::new(),
            blocks_by_due: BTreeSet::new(),
            again: 0..0,
            again_first: false,
        }
    }

    /// Tells the time. Returns whether something is due.
    pub(crate) fn advance(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        !self.again.is_empty() || self.next_due_ms().is_some_and(|due_ms| self.is_due(due_ms))
    }

    /// Whether the time has come.
    pub(crate) const fn is_due(&self, due_ms: u64) -> bool {
        due_ms <= self.now_ms
    }

    /// When something is due next.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.first().map(|(due_ms, _)| due_ms)
    }

    /// The entry that is due first, of those of which that is known, and when.
    pub(crate) fn first(&self) -> Option<(u64, Offset)> {
        let of_block = |(_, number): &(u64, u64)| self.blocks.get(number).copied();
        let block = self.blocks_by_due.first().and_then(of_block);
        self.soonest.first().copied().into_iter().chain(block).min()
    }

    /// Whether the entry is remembered by itself.
    pub(crate) fn has(&self, offset: Offset) -> bool {
        self.due_of.contains_key(&offset)
    }

    /// An entry that is due, if one of those is that are remembered one by one.
    pub(crate) fn due(&self, cursor: &Cursor) -> Option<Offset> {
        let due = self.soonest.iter();
        let due = due.take_while(|(due_ms, _)| self.is_due(*due_ms));
        due.map(|(_, offset)| *offset)
            .find(|offset| cursor.next_unacknowledged(*offset) == *offset)
    }

    /// The entry that is to be read next: `new` if it is there, or one that is read again. The
    /// dispatcher has read everything below `read`.
    pub(crate) fn candidate(
        &self,
        cursor: &Cursor,
        new: Option<Offset>,
        read: Offset,
        elsewhere: impl Fn(Offset) -> bool,
    ) -> Option<Offset> {
        let again = || {
            let due = self.due_blocks().map(|number| self.stretch(number, read));
            let mut stretches = core::iter::once(self.again.clone()).chain(due);
            stretches.find_map(|stretch| self.first_in(stretch, cursor, &elsewhere))
        };
        match new {
            Some(new) if !self.again_first => Some(new),
            new => again().or(new),
        }
    }

    /// Goes on in what is to be read again, up to the next entry that is wanted. To be called before
    /// [`Self::candidate`], which gives the same without it, only more slowly.
    pub(crate) fn settle(
        &mut self,
        cursor: &Cursor,
        read: Offset,
        elsewhere: impl Fn(Offset) -> bool,
    ) {
        loop {
            if let Some(next) = self.first_in(self.again.clone(), cursor, &elsewhere) {
                self.again.start = next.0;
                return;
            }
            self.again = 0..0;
            let Some(number) = self.due_blocks().next() else {
                return;
            };
            self.again = self.stretch(number, read);
            self.forget_block(number);
        }
    }

    /// What is to be said of a subscription to which nothing can be delivered: that it waits for a time,
    /// if it does.
    pub(crate) fn blocks(
        &self,
        cursor: &Cursor,
        read: Offset,
        elsewhere: impl Fn(Offset) -> bool,
    ) -> Option<Blocked> {
        let open = |offset: Offset| cursor.next_unacknowledged(offset) == offset;
        let one = self.soonest.iter().find(|(_, offset)| open(*offset));
        let in_block = |(due_ms, number): &(u64, u64)| {
            let any = self.first_in(self.stretch(*number, read), cursor, &elsewhere)?;
            let (_, earliest) = self.blocks[number];
            let is_there = open(earliest) && !elsewhere(earliest) && !self.has(earliest);
            Some((*due_ms, if is_there { earliest } else { any }))
        };
        let in_block = self.blocks_by_due.iter().find_map(in_block);
        let (due_ms, next) = one.copied().into_iter().chain(in_block).min()?;
        Some(Blocked::Delayed { next, due_ms })
    }

    /// Entry `offset` was read, having been named: it is delivered, or comes back.
    pub(crate) fn passed(&mut self, offset: Offset) {
        self.forget(offset);
        if self.again.start == offset.0 && !self.again.is_empty() {
            self.again.start += 1;
            self.again_first = false;
        } else {
            self.again_first = !self.again.is_empty();
        }
    }

    /// Remembers an entry that is not due.
    pub(crate) fn put(&mut self, offset: Offset, due_ms: u64) {
        self.soonest.insert((due_ms, offset));
        self.due_of.insert(offset, due_ms);
        if self.soonest.len() > self.entries_max
            && let Some((due_ms, offset)) = self.soonest.pop_last()
        {
            self.due_of.remove(&offset);
            self.put_into_block(offset, due_ms);
        }
    }

    /// Forgets an entry that is remembered by itself: it has gone another way.
    pub(crate) fn forget(&mut self, offset: Offset) {
        if let Some(due_ms) = self.due_of.remove(&offset) {
            self.soonest.remove(&(due_ms, offset));
        }
    }

    /// Forgets what lies below `end`.
    pub(crate) fn forget_below(&mut self, end: Offset) {
        while let Some((offset, _)) = self.due_of.first_key_value()
            && *offset < end
        {
            let offset = *offset;
            self.forget(offset);
        }
        while let Some((number, _)) = self.blocks.first_key_value()
            && (*number + 1).saturating_mul(self.block_entries) <= end.0
        {
            let number = *number;
            self.forget_block(number);
        }
        self.again.start = self.again.start.max(end.0);
    }

    /// Forgets everything but the time.
    pub(crate) fn clear(&mut self) {
        let now_ms = self.now_ms;
        *self = Self::new(self.entries_max, self.blocks_max);
        self.now_ms = now_ms;
    }

    fn put_into_block(&mut self, offset: Offset, due_ms: u64) {
        if self.blocks.is_empty() {
            self.block_entries = 1;
        }
        self.put_earliest(offset.0 / self.block_entries, (due_ms, offset));
        while self.blocks.len() > self.blocks_max {
            self.block_entries *= 2;
            self.blocks_by_due.clear();
            for (number, earliest) in core::mem::take(&mut self.blocks) {
                self.put_earliest(number / 2, earliest);
            }
        }
    }

    fn put_earliest(&mut self, number: u64, earliest: (u64, Offset)) {
        let before = self.blocks.get(&number).copied();
        if before.is_none_or(|before| earliest < before) {
            self.forget_block(number);
            self.blocks.insert(number, earliest);
            self.blocks_by_due.insert((earliest.0, number));
        }
    }

    fn forget_block(&mut self, number: u64) {
        if let Some((due_ms, _)) = self.blocks.remove(&number) {
            self.blocks_by_due.remove(&(due_ms, number));
        }
    }

    /// The blocks of which something is due, the one that was due first in front.
    fn due_blocks(&self) -> impl Iterator<Item = u64> {
        let due = |(due_ms, _): &&(u64, u64)| self.is_due(*due_ms);
        let due = self.blocks_by_due.iter().take_while(due);
        due.map(|(_, number)| *number)
    }

    /// The offsets of a block, as far as they lie below `read`.
    fn stretch(&self, number: u64, read: Offset) -> Range<u64> {
        let first = number.saturating_mul(self.block_entries);
        first..first.saturating_add(self.block_entries).min(read.0)
    }

    /// The first entry of a stretch that nobody has and that is not acknowledged.
    fn first_in(
        &self,
        stretch: Range<u64>,
        cursor: &Cursor,
        elsewhere: &impl Fn(Offset) -> bool,
    ) -> Option<Offset> {
        let mut next = cursor.next_unacknowledged(Offset(stretch.start));
        while next.0 < stretch.end {
            if !self.has(next) && !elsewhere(next) {
                return Some(next);
            }
            next = cursor.next_unacknowledged(next.next());
        }
        None
    }

    pub(crate) fn check_invariants(&self, read: Offset) {
        assert!(self.soonest.len() <= self.entries_max, "too many entries");
        assert!(self.blocks.len() <= self.blocks_max, "too many blocks");
        assert_eq!(self.soonest.len(), self.due_of.len());
        for (due_ms, offset) in &self.soonest {
            assert_eq!(self.due_of.get(offset), Some(due_ms));
            assert!(*offset < read, "an entry that waits and was not read");
        }
        assert_eq!(self.blocks.len(), self.blocks_by_due.len());
        for (due_ms, number) in &self.blocks_by_due {
            let (earliest, offset) = self.blocks[number];
            assert_eq!(earliest, *due_ms);
            assert_eq!(offset.0 / self.block_entries, *number);
            assert!(offset < read, "a block that was not read");
        }
    }
}

#[cfg(test)]
mod tests;
