//! How often the entries above a cursor's mark have been delivered in vain.

use alloc::vec::Vec;

use hulse_model::Offset;

/// Steps kept at the most. A subscription that comes by more of them, because consumer after
/// consumer dies at another place without acknowledging anything, loses the highest ones first.
const STEPS_MAX: usize = 64;

/// Up to, not including, `end`, and from where the step before ends, entries have been delivered
/// `count` times without being acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    end: u64,
    count: u32,
}

/// Redelivery counts for deliveries in order: each session of a consumer delivers a stretch that
/// begins at the mark, so the counts fall step by step from the mark upwards.
///
/// Whether an entry has been acknowledged since is the cursor's business: such an entry is not
/// delivered again, so nobody asks for its count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Redeliveries {
    /// Rising ends, falling counts.
    steps: Vec<Step>,
}

impl Redeliveries {
    /// A session ended that had delivered everything below `read` and had it not acknowledged.
    pub(crate) fn session_ended(&mut self, read: Offset) {
        let at = self.steps.partition_point(|step| step.end < read.0);
        let delivered = match self.steps.get(at) {
            Some(step) if step.end == read.0 => at + 1,
            above => {
                let count = above.map_or(0, |step| step.count);
                self.steps.insert(at, Step { end: read.0, count });
                at + 1
            }
        };
        for step in &mut self.steps[..delivered] {
            step.count = step.count.saturating_add(1);
        }
        if self.steps.len() > STEPS_MAX {
            // The highest two become one with the lower count, so that a count is never too high:
            // a client may put a message aside for it.
            self.steps.remove(self.steps.len() - 2);
        }
    }

    /// How often entry `offset` was delivered before.
    pub(crate) fn count(&self, offset: Offset) -> u32 {
        let at = self.steps.partition_point(|step| step.end <= offset.0);
        self.steps.get(at).map_or(0, |step| step.count)
    }

    /// Lets go of what lies below the mark.
    pub(crate) fn forget_below(&mut self, mark: Offset) {
        let gone = self.steps.partition_point(|step| step.end <= mark.0);
        self.steps.drain(..gone);
    }

    pub(crate) fn clear(&mut self) {
        self.steps = Vec::new();
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.steps.len() <= STEPS_MAX,
            "too many steps of redelivery counts"
        );
        for pair in self.steps.windows(2) {
            assert!(
                pair[0].end < pair[1].end && pair[0].count > pair[1].count,
                "redelivery counts that do not fall step by step"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against one counter per entry.
        #[test]
        fn counts_are_those_of_single_entries(
            sessions in prop::collection::vec(1..30_u64, 0..40), mark in 0..30_u64
        ) {
            let mut redeliveries = Redeliveries::default();
            let mut model = [0_u32; 30];
            for read in sessions {
                redeliveries.session_ended(Offset(read));
                model.iter_mut().take(usize::try_from(read).unwrap()).for_each(|count| *count += 1);
                redeliveries.check_invariants();
            }
            redeliveries.forget_below(Offset(mark));
            for (offset, count) in (0..).zip(model) {
                if offset >= mark {
                    prop_assert_eq!(redeliveries.count(Offset(offset)), count);
                }
            }
        }
    }

    #[test]
    fn steps_are_bounded_and_counts_are_never_too_high() {
        let mut redeliveries = Redeliveries::default();
        for read in (1..=1_000).rev() {
            redeliveries.session_ended(Offset(read));
            redeliveries.check_invariants();
        }
        // Entry k was delivered by the sessions that read past it.
        assert_eq!(redeliveries.count(Offset(0)), 1_000);
        for offset in 0..1_000 {
            let delivered = u32::try_from(1_000 - offset).unwrap();
            assert!(
                redeliveries.count(Offset(offset)) <= delivered,
                "entry {offset}"
            );
        }
    }
}
