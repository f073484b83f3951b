//! A set of message indexes within one entry, kept as ranges that never touch.

use alloc::vec::Vec;

use crate::acknowledgements::IndexRange;

/// Indexes of messages, as ranges with both ends included, rising, with at least one index between
/// two of them. The index [`u32::MAX`] stands for the entry's end.
///
/// A batch is at most 65,536 messages, so a sorted vector is small and quick enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexRanges {
    ranges: Vec<IndexRange>,
}

impl IndexRanges {
    /// Adds `first..=last`; whether that changed anything.
    pub(crate) fn insert(&mut self, first: u32, last: u32) -> bool {
        debug_assert!(first <= last);
        let from = self
            .ranges
            .partition_point(|range| range.last.saturating_add(1) < first);
        let touching =
            self.ranges[from..].partition_point(|range| range.first <= last.saturating_add(1));
        if touching == 0 {
            self.ranges.insert(from, IndexRange { first, last });
            return true;
        }
        let merged = IndexRange {
            first: first.min(self.ranges[from].first),
            last: last.max(self.ranges[from + touching - 1].last),
        };
        if touching == 1 && merged == self.ranges[from] {
            return false;
        }
        self.ranges[from] = merged;
        self.ranges.drain(from + 1..from + touching);
        true
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        let at = self.ranges.partition_point(|range| range.last < index);
        self.ranges
            .get(at)
            .is_some_and(|range| range.first <= index)
    }

    /// Whether the set holds the whole entry.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(
            self.ranges[..],
            [IndexRange {
                first: 0,
                last: u32::MAX
            }]
        )
    }

    /// Takes out what lies below `index`.
    pub(crate) fn remove_below(&mut self, index: u32) {
        let gone = self.ranges.partition_point(|range| range.last < index);
        self.ranges.drain(..gone);
        if let Some(range) = self.ranges.first_mut() {
            range.first = range.first.max(index);
        }
    }

    /// Takes out the lowest range if it begins at `index` or below, and returns its last index.
    pub(crate) fn pop_reaching(&mut self, index: u32) -> Option<u32> {
        let range = *self.ranges.first().filter(|range| range.first <= index)?;
        self.ranges.remove(0);
        Some(range.last)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, rising.
    pub(crate) fn as_slice(&self) -> &[IndexRange] {
        &self.ranges
    }

    pub(crate) fn into_vec(self) -> Vec<IndexRange> {
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        /// Against a set of single indexes, at both ends of the range of an index.
        #[test]
        fn ranges_hold_what_a_plain_set_holds(
            steps in prop::collection::vec((0..40_u32, 0..8_u32, any::<bool>()), 0..60),
            base in prop::sample::select(alloc::vec![0, u32::MAX - 47]),
        ) {
            let mut ranges = IndexRanges::default();
            let mut model = BTreeSet::new();
            for (first, more, below) in steps {
                let (first, last) = (base + first, base + first + more);
                if below && more == 0 {
                    ranges.remove_below(first);
                    model.retain(|index| *index >= first);
                } else {
                    let before = model.len();
                    model.extend(first..=last);
                    prop_assert_eq!(ranges.insert(first, last), model.len() > before);
                }
                let listed: BTreeSet<_> =
                    ranges.as_slice().iter().flat_map(|range| range.first..=range.last).collect();
                prop_assert_eq!(&listed, &model);
                let holes = model.iter()
                    .filter(|index| index.checked_add(1).is_none_or(|next| !model.contains(&next)))
                    .count();
                prop_assert_eq!(ranges.as_slice().len(), holes);
                for index in base..=base + 47 {
                    prop_assert_eq!(ranges.contains(index), model.contains(&index));
                }
            }
        }
    }
}
