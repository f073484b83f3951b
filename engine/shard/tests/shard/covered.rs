//! Which messages of a partition are acknowledged, in the plainest form there is.

use std::collections::BTreeSet;

use hulse_model::{Offset, Position};

/// A position before which everything is acknowledged, and single messages behind it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Covered {
    pub(crate) before: Position,
    single: BTreeSet<(u64, u32)>,
}

impl Covered {
    pub(crate) fn from(position: Position) -> Self {
        Self {
            before: position,
            single: BTreeSet::new(),
        }
    }

    pub(crate) fn add(&mut self, offset: u64, index: u32) {
        self.single.insert((offset, index));
    }

    pub(crate) fn add_up_to(&mut self, offset: u64, last: u32) {
        let behind = Position {
            offset: Offset(offset),
            index: last + 1,
        };
        self.before = self.before.max(behind);
    }

    pub(crate) fn has(&self, offset: u64, index: u32) -> bool {
        let position = Position {
            offset: Offset(offset),
            index,
        };
        position < self.before || self.single.contains(&(offset, index))
    }

    /// Whether all of an entry is, of which nobody may know how many messages it has.
    pub(crate) fn has_entry(&self, offset: u64, messages: Option<&u32>) -> bool {
        let whole = |messages: &u32| (0..*messages).all(|index| self.has(offset, index));
        offset < self.before.offset.0 || messages.is_some_and(whole)
    }

    /// Everything in `other` too.
    pub(crate) fn join(&mut self, other: &Self) {
        self.before = self.before.max(other.before);
        self.single.extend(&other.single);
    }

    /// Forgets what lies at `end` and after.
    pub(crate) fn cut(&mut self, end: Offset) {
        self.before = self.before.min(Position::at(end));
        self.single.retain(|(offset, _)| *offset < end.0);
    }
}
