//! Entries that are to come again: because the application said so, or because it has not said
//! anything for too long. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hulse_model::Offset;
use hulse_wire::{AckRange, REDELIVER_ENTRIES_MAX};
use tokio::time::Instant;

/// What is due within so long leaves together.
const TICK: Duration = Duration::from_millis(100);

/// Messages of one entry that are all due at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    last: u32,
    due: Instant,
    /// They were acknowledged negatively; otherwise they were handed out, and nothing was heard of
    /// them.
    negative: bool,
}

/// What of one partition is to come again, and when. Entries come again whole, so the first of its
/// messages to be due speaks for an entry.
#[derive(Debug)]
pub(crate) struct Redelivery {
    /// How long what was handed out may go without an acknowledgement.
    ack_timeout: Option<Duration>,
    /// What ticks are counted from.
    origin: Option<Instant>,
    /// The messages of each entry, rising and apart.
    entries: BTreeMap<Offset, Vec<Run>>,
    /// When each entry has messages that are due.
    due: BTreeSet<(Instant, Offset)>,
    /// Entries whose time has come.
    leaving: BTreeSet<Offset>,
}

impl Redelivery {
    /// Nothing is to come again.
    pub(crate) const fn new(ack_timeout: Option<Duration>) -> Self {
        Self {
            ack_timeout,
            origin: None,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// A message is handed out.
    pub(crate) fn handed_out(&mut self, offset: Offset, index: u32, now: Instant) {
        if let Some(timeout) = self.ack_timeout {
            let due = self.rounded(now, timeout);
            self.put(offset, index, index, due, false);
        }
    }

    /// The entry of these messages is to come again after `delay`, unless they are acknowledged
    /// before. Whoever names a whole entry need not know how many messages it has: if those are
    /// then acknowledged one by one, the broker is asked all the same, and passes it over.
    pub(crate) fn negative(&mut self, range: AckRange, delay: Duration, now: Instant) {
        let due = self.rounded(now, delay);
        self.put(range.offset, range.first_index, range.last_index, due, true);
    }

    /// Messages are acknowledged.
    pub(crate) fn acknowledged(&mut self, range: AckRange) {
        self.cut(range.offset, range.first_index, range.last_index);
    }

    /// Everything up to message `last` of an entry is acknowledged.
    pub(crate) fn acknowledged_up_to(&mut self, offset: Offset, last: u32) {
        while let Some((below, _)) = self.entries.first_key_value().filter(|it| *it.0 < offset) {
            let below = *below;
            self.remove(below);
        }
        self.cut(offset, 0, last);
    }

    /// Moves what is due to what leaves.
    pub(crate) fn take_due(&mut self, now: Instant) {
        while let Some((due, offset)) = self.due.first().copied()
            && due <= now
        {
            self.remove(offset);
            self.leaving.insert(offset);
        }
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The entries of the next REDELIVER, rising; `None` when there is nothing to send.
    pub(crate) fn next_frame(&mut self) -> Option<Vec<Offset>> {
        let count = self.leaving.len().min(REDELIVER_ENTRIES_MAX);
        let frame: Vec<Offset> = (0..count)
            .filter_map(|_| self.leaving.pop_first())
            .collect();
        (!frame.is_empty()).then_some(frame)
    }

    /// What the consumer held is given out anew, without having been asked for. Gives the entries
    /// that were to come again. What was only handed out is still counted when `keep_handed_out`
    /// says that it will not be handed out again.
    pub(crate) fn restart(&mut self, keep_handed_out: bool) -> Vec<Offset> {
        let negative = |runs: &Vec<Run>| runs.iter().any(|run| run.negative);
        let mut again = std::mem::take(&mut self.leaving);
        let entries = self.entries.iter();
        again.extend(
            entries
                .filter(|(_, runs)| negative(runs))
                .map(|(offset, _)| *offset),
        );
        if keep_handed_out {
            for offset in &again {
                self.remove(*offset);
            }
        } else {
            self.clear();
        }
        again.into_iter().collect()
    }

    /// Nothing is to come again.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.due.clear();
        self.leaving.clear();
    }

    /// The first tick that is not before `after` from now; this moment when there is no delay.
    fn rounded(&mut self, now: Instant, after: Duration) -> Instant {
        let origin = *self.origin.get_or_insert(now);
        if after.is_zero() {
            return now;
        }
        let due = now + after;
        let over = due.saturating_duration_since(origin).as_nanos() % TICK.as_nanos();
        match u64::try_from(TICK.as_nanos() - over) {
            Ok(rest) if over > 0 => due + Duration::from_nanos(rest),
            _ => due,
        }
    }

    fn put(&mut self, offset: Offset, first: u32, last: u32, due: Instant, negative: bool) {
        self.cut(offset, first, last);
        let runs = self.entries.entry(offset).or_default();
        let at = runs.partition_point(|run| run.last < first);
        // Messages of a batch are handed out one behind the other.
        match at.checked_sub(1).and_then(|before| runs.get_mut(before)) {
            Some(before)
                if before.last.checked_add(1) == Some(first)
                    && (before.due, before.negative) == (due, negative) =>
            {
                before.last = last;
            }
            _ => {
                let run = Run {
                    first,
                    last,
                    due,
                    negative,
                };
                runs.insert(at, run);
                self.due.insert((due, offset));
            }
        }
    }

    /// Forgets messages `first` to `last` of an entry.
    fn cut(&mut self, offset: Offset, first: u32, last: u32) {
        let Some(runs) = self.entries.get_mut(&offset) else {
            return;
        };
        let from = runs.partition_point(|run| run.last < first);
        let to = runs.partition_point(|run| run.first <= last);
        if from >= to {
            return;
        }
        let before = (runs[from].first < first).then(|| Run {
            last: first - 1,
            ..runs[from]
        });
        let behind = (runs[to - 1].last > last).then(|| Run {
            first: last + 1,
            ..runs[to - 1]
        });
        let rest: Vec<Run> = before.into_iter().chain(behind).collect();
        let gone: Vec<Run> = runs.splice(from..to, rest).collect();
        for run in gone {
            if !runs.iter().any(|other| other.due == run.due) {
                self.due.remove(&(run.due, offset));
            }
        }
        if runs.is_empty() {
            self.entries.remove(&offset);
        }
    }

    fn remove(&mut self, offset: Offset) {
        for run in self.entries.remove(&offset).unwrap_or_default() {
            self.due.remove(&(run.due, offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGES: u32 = 6;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn check(redelivery: &Redelivery) {
        let mut due = BTreeSet::new();
        for (offset, runs) in &redelivery.entries {
            assert!(!runs.is_empty());
            for run in runs {
                assert!(run.first <= run.last);
                due.insert((run.due, *offset));
            }
            for pair in runs.windows(2) {
                assert!(pair[0].last < pair[1].first, "{runs:?}");
            }
        }
        assert_eq!(due, redelivery.due);
    }

    #[derive(Debug, Clone)]
    enum Step {
        HandOut(u64, u32),
        Negative(u64, u32, u64),
        NegativeEntry(u64),
        Acknowledge(u64, u32, u32),
        AcknowledgeUpTo(u64, u32),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let entry = 0..5_u64;
        let index = 0..MESSAGES;
        prop_oneof![
            6 => (entry.clone(), index.clone()).prop_map(|(e, i)| Step::HandOut(e, i)),
            3 => (entry.clone(), index.clone(), prop::sample::select(vec![0, 1, 150, 2_000]))
                .prop_map(|(e, i, delay)| Step::Negative(e, i, delay)),
            1 => entry.clone().prop_map(Step::NegativeEntry),
            4 => (entry.clone(), index.clone(), index.clone())
                .prop_map(|(e, one, other)| Step::Acknowledge(e, one.min(other), one.max(other))),
            1 => (entry, index).prop_map(|(e, i)| Step::AcknowledgeUpTo(e, i)),
            4 => (0..900_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// The model keeps the due time of every message by itself.
        #[test]
        fn an_entry_leaves_when_the_first_of_its_messages_is_due_and_not_before(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let origin = Instant::now();
            let mut now = origin;
            let mut redelivery = Redelivery::new(Some(ms(1_000)));
            let mut model: BTreeMap<(u64, u32), Instant> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::HandOut(entry, index) => {
                        redelivery.handed_out(Offset(entry), index, now);
                        model.insert((entry, index), now + ms(1_000));
                    }
                    Step::Negative(entry, index, delay) => {
                        let range = AckRange::message(Offset(entry), index);
                        redelivery.negative(range, ms(delay), now);
                        model.insert((entry, index), now + ms(delay));
                    }
                    Step::NegativeEntry(entry) => {
                        redelivery.negative(AckRange::entry(Offset(entry)), ms(300), now);
                        // The entry's end is not known here, so what stands behind it stays.
                        model.extend((0..=MESSAGES).map(|index| ((entry, index), now + ms(300))));
                    }
                    Step::Acknowledge(entry, first, last) => {
                        redelivery.acknowledged(AckRange {
                            offset: Offset(entry),
                            first_index: first,
                            last_index: last,
                        });
                        model.retain(|(e, i), _| *e != entry || *i < first || *i > last);
                    }
                    Step::AcknowledgeUpTo(entry, last) => {
                        redelivery.acknowledged_up_to(Offset(entry), last);
                        model.retain(|place, _| *place > (entry, last));
                    }
                    Step::Wait(time) => now += ms(time),
                }
                redelivery.take_due(now);
                check(&redelivery);
                let left: BTreeSet<u64> = redelivery
                    .next_frame()
                    .unwrap_or_default()
                    .into_iter()
                    .map(|offset| offset.0)
                    .collect();
                prop_assert!(!redelivery.has_leaving());
                let due = |late: Duration| -> BTreeSet<u64> {
                    let due = model.iter().filter(|(_, at)| **at + late <= now);
                    due.map(|((entry, _), _)| *entry).collect()
                };
                prop_assert!(left.is_subset(&due(Duration::ZERO)), "too early: {left:?}");
                prop_assert!(left.is_superset(&due(TICK)), "too late: {left:?}");
                model.retain(|(entry, _), _| !left.contains(entry));
                let first = model.values().min().copied();
                match (redelivery.next_due(), first) {
                    (Some(next), Some(first)) => prop_assert!(first <= next && next <= first + TICK),
                    (next, first) => prop_assert_eq!(next, first),
                }
            }
        }
    }

    #[test]
    fn what_is_due_within_a_tick_leaves_together_and_what_has_no_delay_at_once() {
        let start = Instant::now();
        let mut redelivery = Redelivery::new(None);
        for entry in 0..50 {
            let now = start + ms(entry);
            redelivery.negative(AckRange::message(Offset(entry), 0), ms(1_000), now);
        }
        assert_eq!(
            redelivery
                .due
                .iter()
                .map(|(due, _)| due)
                .collect::<BTreeSet<_>>()
                .len(),
            2
        );
        redelivery.take_due(start + ms(1_099));
        assert_eq!(redelivery.next_frame(), Some(vec![Offset(0)]));
        redelivery.take_due(start + ms(1_100));
        assert_eq!(redelivery.next_frame().unwrap().len(), 49);
        redelivery.negative(
            AckRange::entry(Offset(3)),
            Duration::ZERO,
            start + ms(1_150),
        );
        redelivery.take_due(start + ms(1_150));
        assert_eq!(redelivery.next_frame(), Some(vec![Offset(3)]));
    }

    #[test]
    fn a_batch_that_is_handed_out_is_one_run() {
        let now = Instant::now();
        let mut redelivery = Redelivery::new(Some(ms(1_000)));
        for index in 0..1_000 {
            redelivery.handed_out(Offset(7), index, now);
        }
        assert_eq!(redelivery.entries[&Offset(7)].len(), 1);
        redelivery.acknowledged(AckRange::entry(Offset(7)));
        assert_eq!(redelivery.next_due(), None);
        let mut off = Redelivery::new(None);
        off.handed_out(Offset(7), 0, now);
        assert_eq!(off.next_due(), None);
    }

    #[test]
    fn many_entries_take_several_frames() {
        let now = Instant::now();
        let mut redelivery = Redelivery::new(None);
        for entry in 0..=REDELIVER_ENTRIES_MAX as u64 {
            redelivery.negative(AckRange::entry(Offset(entry)), Duration::ZERO, now);
        }
        redelivery.take_due(now);
        assert_eq!(
            redelivery.next_frame().unwrap().len(),
            REDELIVER_ENTRIES_MAX
        );
        assert_eq!(redelivery.next_frame().unwrap().len(), 1);
        assert_eq!(redelivery.next_frame(), None);
    }

    #[test]
    fn a_restart_tells_what_was_to_come_again_and_keeps_what_was_handed_out_if_asked() {
        let now = Instant::now();
        for keep in [true, false] {
            let mut redelivery = Redelivery::new(Some(ms(1_000)));
            redelivery.negative(AckRange::entry(Offset(9)), Duration::ZERO, now);
            redelivery.take_due(now);
            redelivery.handed_out(Offset(1), 0, now);
            redelivery.handed_out(Offset(2), 0, now);
            redelivery.negative(AckRange::message(Offset(2), 1), ms(60_000), now);
            assert_eq!(redelivery.restart(keep), [Offset(2), Offset(9)]);
            check(&redelivery);
            assert!(!redelivery.has_leaving());
            assert_eq!(redelivery.entries.contains_key(&Offset(1)), keep);
            assert!(!redelivery.entries.contains_key(&Offset(2)));
        }
    }
}
