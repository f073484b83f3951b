//! How long the syncs of one core took, for the metrics.

use std::cell::RefCell;

/// Buckets: the n-th holds durations of up to 2^n microseconds.
const BUCKETS: usize = 32;

/// A histogram by powers of two: two instructions a sync, and exact enough to see a disk turn slow.
#[derive(Debug, Default)]
pub(crate) struct SyncTimes {
    counts: RefCell<[u64; BUCKETS]>,
}

impl SyncTimes {
    pub(crate) fn record(&self, us: u64) {
        let bucket = (u64::BITS - us.saturating_sub(1).leading_zeros()) as usize;
        self.counts.borrow_mut()[bucket.min(BUCKETS - 1)] += 1;
    }

    /// The bounds, in microseconds, below which half, 99 in 100, 999 in 1000, and all of the syncs
    /// since the start stayed; 0 when there was none.
    pub(crate) fn percentiles(&self) -> [u64; 4] {
        let counts = self.counts.borrow();
        let total: u64 = counts.iter().sum();
        let bound = |wanted: u64| {
            let mut seen = 0;
            let reaches = |(_, count): &(usize, &u64)| {
                seen += **count;
                total > 0 && seen >= wanted.max(1)
            };
            counts
                .iter()
                .enumerate()
                .find(reaches)
                .map_or(0, |(bucket, _)| 1 << bucket)
        };
        let share = |of_thousand: u64| bound((total * of_thousand).div_ceil(1000));
        [share(500), share(990), share(999), share(1000)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_bounds() {
        let times = SyncTimes::default();
        assert_eq!(times.percentiles(), [0; 4]);
        for _ in 0..98 {
            times.record(100);
        }
        times.record(1_000);
        times.record(30_000);
        assert_eq!(times.percentiles(), [128, 1024, 32_768, 32_768]);
        times.record(0);
        times.record(u64::MAX);
        assert_eq!(times.percentiles()[3], 1 << (BUCKETS - 1));
    }
}
