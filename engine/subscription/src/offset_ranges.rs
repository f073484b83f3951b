//! A set of offsets, kept as ranges that never touch.

use alloc::collections::BTreeMap;

/// Offsets, as ranges from a key up to, not including, its value. Two ranges always have at least
/// one offset between them, so the set takes memory for its holes and not for its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetRanges {
    ranges: BTreeMap<u64, u64>,
    /// How many offsets the set holds.
    entries: u64,
}

impl OffsetRanges {
    /// Adds `first..end`; whether that changed anything.
    pub(crate) fn insert(&mut self, first: u64, end: u64) -> bool {
        if first >= end {
            return false;
        }
        let (mut start, mut stop) = (first, end);
        if let Some((&before_first, &before_end)) = self.ranges.range(..=first).next_back()
            && before_end >= first
        {
            if before_end >= end {
                return false;
            }
            start = before_first;
        }
        while let Some((&next_first, &next_end)) = self.ranges.range(start..).next()
            && next_first <= stop
        {
            self.ranges.remove(&next_first);
            self.entries -= next_end - next_first;
            stop = stop.max(next_end);
        }
        self.ranges.insert(start, stop);
        self.entries += stop - start;
        true
    }

    /// The end of the range that holds `offset`, if one does.
    pub(crate) fn end_of(&self, offset: u64) -> Option<u64> {
        let (_, &end) = self.ranges.range(..=offset).next_back()?;
        (end > offset).then_some(end)
    }

    pub(crate) fn contains(&self, offset: u64) -> bool {
        self.end_of(offset).is_some()
    }

    /// Takes out what lies below `offset`.
    pub(crate) fn remove_below(&mut self, offset: u64) {
        while let Some((&first, &end)) = self.ranges.first_key_value()
            && first < offset
        {
            self.ranges.pop_first();
            self.entries -= end - first;
            if end > offset {
                self.ranges.insert(offset, end);
                self.entries += end - offset;
            }
        }
    }

    /// Takes out the lowest range.
    pub(crate) fn pop_first(&mut self) -> Option<(u64, u64)> {
        let (first, end) = self.ranges.pop_first()?;
        self.entries -= end - first;
        Some((first, end))
    }

    /// How many offsets the set holds.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// How many ranges the set has.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        /// Against a set of single offsets.
        #[test]
        fn ranges_hold_what_a_plain_set_holds(
            steps in prop::collection::vec((0..40_u64, 0..8_u64, any::<bool>()), 0..60)
        ) {
            let mut ranges = OffsetRanges::default();
            let mut model = BTreeSet::new();
            for (first, length, below) in steps {
                if below && length == 0 {
                    ranges.remove_below(first);
                    model.retain(|offset| *offset >= first);
                } else {
                    let before = model.len();
                    model.extend(first..first + length);
                    prop_assert_eq!(ranges.insert(first, first + length), model.len() > before);
                }
                prop_assert_eq!(ranges.entries(), model.len() as u64);
                let listed: BTreeSet<_> = ranges.iter().flat_map(|(first, end)| first..end).collect();
                prop_assert_eq!(&listed, &model);
                let holes = model.iter().filter(|offset| !model.contains(&(**offset + 1))).count();
                prop_assert_eq!(ranges.len(), holes);
                for offset in 0..50 {
                    prop_assert_eq!(ranges.contains(offset), model.contains(&offset));
                }
            }
        }
    }
}
