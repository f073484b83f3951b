//! The entries of a log that are known to be damaged.

use hulse_model::Offset;

use crate::report::DamagedRange;

/// Damaged ranges in rising order, without overlap.
#[derive(Debug, Default)]
pub(crate) struct Damage(Vec<DamagedRange>);

impl Damage {
    pub(crate) fn new(ranges: Vec<DamagedRange>) -> Self {
        let mut damage = Self::default();
        for range in ranges {
            damage.add(range);
        }
        damage
    }

    pub(crate) fn ranges(&self) -> &[DamagedRange] {
        &self.0
    }

    /// The range that holds `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<&DamagedRange> {
        let after = self.0.partition_point(|range| range.first <= offset);
        self.0[..after]
            .last()
            .filter(|range| range.contains(offset))
    }

    /// Adds what of `range` is not known yet.
    pub(crate) fn add(&mut self, mut range: DamagedRange) {
        if let Some(known) = self.at(range.first) {
            range.first = known.end;
        }
        let at = self.0.partition_point(|known| known.first < range.first);
        if let Some(next) = self.0.get(at) {
            range.end = range.end.min(next.first);
        }
        if range.first < range.end {
            self.0.insert(at, range);
        }
    }

    /// Forgets what lies below `start`.
    pub(crate) fn forget_below(&mut self, start: Offset) {
        self.0.retain(|range| range.end > start);
        if let Some(first) = self.0.first_mut() {
            first.first = first.first.max(start);
        }
    }
}
