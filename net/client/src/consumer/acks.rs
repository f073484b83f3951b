//! Acknowledgements on their way: gathered into few frames, kept until the broker has confirmed
//! them, and sent again after a lost connection. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use hulse_model::Offset;
use hulse_wire::{ACK_RANGES_MAX, AckKind, AckRange};
use tokio::time::Instant;

use crate::completion::Completion;
use crate::error::ClientError;

/// Frames without a confirmation at which the next acknowledgements wait, so that they share one.
const UNCONFIRMED_MAX: usize = 16;

/// What those wait for who want a receipt.
pub(crate) type AckReceipt = Arc<Completion<Result<(), ClientError>>>;

/// One ACK that has no confirmation yet.
#[derive(Debug)]
pub(crate) struct AckFrame {
    pub(crate) kind: AckKind,
    pub(crate) ranges: Vec<AckRange>,
    /// When its first acknowledgement came.
    since: Instant,
    /// Its correlation id on the present stream; `None` while it has not been sent there.
    correlation: Option<u64>,
    receipt: Option<AckReceipt>,
}

/// The acknowledgements of one partition, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct AckQueue {
    /// The last message of the newest cumulative acknowledgement.
    cumulative: Option<(Offset, u32)>,
    individual: Vec<AckRange>,
    since: Option<Instant>,
    receipt: Option<AckReceipt>,
    frames: VecDeque<AckFrame>,
}

impl AckQueue {
    /// Acknowledges the messages of one range.
    pub(crate) fn individual(&mut self, range: AckRange, now: impl FnOnce() -> Instant) {
        self.since.get_or_insert_with(now);
        if let Some(last) = self.individual.last_mut()
            && last.offset == range.offset
            && range.first_index <= last.last_index.saturating_add(1)
            && range.first_index >= last.first_index
        {
            last.last_index = last.last_index.max(range.last_index);
            return;
        }
        self.individual.push(range);
    }

    /// Acknowledges everything up to message `last_index` of an entry.
    pub(crate) fn cumulative(
        &mut self,
        offset: Offset,
        last_index: u32,
        now: impl FnOnce() -> Instant,
    ) {
        self.since.get_or_insert_with(now);
        let upto = (offset, last_index);
        if self.cumulative.is_none_or(|known| known < upto) {
            self.cumulative = Some(upto);
            self.individual
                .retain(|range| (range.offset, range.last_index) > upto);
        }
    }

    /// The receipt of what has been acknowledged and not been made a frame of yet: of the
    /// acknowledgement that the caller has just made.
    pub(crate) fn receipt(&mut self) -> AckReceipt {
        Arc::clone(self.receipt.get_or_insert_default())
    }

    /// The receipts of everything that has no confirmation yet.
    pub(crate) fn all_receipts(&mut self) -> Vec<AckReceipt> {
        self.gather();
        let receipt = |frame: &mut AckFrame| Arc::clone(frame.receipt.get_or_insert_default());
        self.frames.iter_mut().map(receipt).collect()
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.since.is_some() || self.frames.iter().any(|frame| frame.correlation.is_none())
    }

    /// Since when the oldest acknowledgement waits for its confirmation.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.frames.front().map(|frame| frame.since).or(self.since)
    }

    /// The next frame to send, which gets the correlation id that `correlation` gives. `None` when
    /// there is nothing, or so much is on the way that more is better gathered.
    pub(crate) fn next(&mut self, correlation: impl FnOnce() -> u64) -> Option<(u64, &AckFrame)> {
        let sent = self
            .frames
            .iter()
            .filter(|frame| frame.correlation.is_some())
            .count();
        if sent >= UNCONFIRMED_MAX {
            return None;
        }
        if sent == self.frames.len() {
            self.gather();
        }
        // What has been sent always stands before what has not.
        let frame = self.frames.get_mut(sent)?;
        let id = correlation();
        frame.correlation = Some(id);
        Some((id, frame))
    }

    /// Makes frames of what has gathered.
    fn gather(&mut self) {
        let Some(since) = self.since.take() else {
            return;
        };
        // Every frame of a group carries the receipt; the last one to be confirmed completes it.
        let receipt = self.receipt.take();
        let mut frame = |kind, ranges| {
            let receipt = receipt.clone();
            self.frames.push_back(AckFrame {
                kind,
                ranges,
                since,
                correlation: None,
                receipt,
            });
        };
        if let Some((offset, last_index)) = self.cumulative.take() {
            frame(
                AckKind::Cumulative,
                vec![AckRange {
                    offset,
                    first_index: 0,
                    last_index,
                }],
            );
        }
        let individual = std::mem::take(&mut self.individual);
        for ranges in individual.chunks(ACK_RANGES_MAX) {
            frame(AckKind::Individual, ranges.to_vec());
        }
    }

    /// A frame is confirmed. Gives the receipt that is thereby complete, if one is; an id that is
    /// not known belongs to an earlier stream.
    pub(crate) fn confirmed(&mut self, correlation: u64) -> Option<AckReceipt> {
        let receipt = self.remove(correlation)?.receipt?;
        let shares = |frame: &AckFrame| {
            frame
                .receipt
                .as_ref()
                .is_some_and(|other| Arc::ptr_eq(other, &receipt))
        };
        (!self.frames.iter().any(shares)).then_some(receipt)
    }

    /// A frame is refused for good. Gives its receipt, if somebody waits for it.
    pub(crate) fn refused(&mut self, correlation: u64) -> Option<AckReceipt> {
        self.remove(correlation)?.receipt
    }

    fn remove(&mut self, correlation: u64) -> Option<AckFrame> {
        let at = self
            .frames
            .iter()
            .position(|frame| frame.correlation == Some(correlation))?;
        self.frames.remove(at)
    }

    /// The connection is gone: everything without a confirmation is sent again.
    pub(crate) fn rewind(&mut self) {
        for frame in &mut self.frames {
            frame.correlation = None;
        }
    }

    /// Gives the receipts that are waited for, and counts the waiting anew: the acknowledgements
    /// themselves are still to be sent.
    pub(crate) fn give_up_receipts(&mut self, now: Instant) -> Vec<AckReceipt> {
        let mut waiting = Vec::new();
        for frame in &mut self.frames {
            frame.since = now;
            waiting.extend(frame.receipt.take());
        }
        waiting.extend(self.receipt.take());
        if self.since.is_some() {
            self.since = Some(now);
        }
        waiting
    }

    /// Forgets what has not been sent, and gives the receipts of that which are waited for. What
    /// is on its way is answered.
    pub(crate) fn clear_unsent(&mut self) -> Vec<AckReceipt> {
        let mut waiting: Vec<_> = self.receipt.take().into_iter().collect();
        self.cumulative = None;
        self.individual.clear();
        self.since = None;
        self.frames.retain_mut(|frame| {
            if frame.correlation.is_none() {
                waiting.extend(frame.receipt.take());
            }
            frame.correlation.is_some()
        });
        waiting
    }

    /// Forgets everything, and gives the receipts that are still waited for.
    pub(crate) fn clear(&mut self) -> Vec<AckReceipt> {
        let mut waiting: Vec<_> = self
            .frames
            .drain(..)
            .filter_map(|frame| frame.receipt)
            .collect();
        waiting.extend(self.receipt.take());
        *self = Self::default();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(offset: u64, first_index: u32, last_index: u32) -> AckRange {
        AckRange {
            offset: Offset(offset),
            first_index,
            last_index,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Individual(u64, u32),
        Cumulative(u64),
        Send,
        Confirm,
        Reconnect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..12_u64, 0..6_u32).prop_map(|(offset, index)| Step::Individual(offset, index)),
            1 => (0..12_u64).prop_map(Step::Cumulative),
            2 => Just(Step::Send),
            2 => Just(Step::Confirm),
            1 => Just(Step::Reconnect),
        ]
    }

    /// The broker's side: what an ACK acknowledges, of entries with six messages each.
    fn apply(acked: &mut BTreeSet<(u64, u32)>, kind: AckKind, ranges: &[AckRange]) {
        for range in ranges {
            if kind == AckKind::Cumulative {
                acked.extend((0..range.offset.0).flat_map(|o| (0..6).map(move |i| (o, i))));
            }
            let last = range.last_index.min(5);
            acked.extend((range.first_index..=last).map(|index| (range.offset.0, index)));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_lost_on_the_way_everything_is_acknowledged_in_the_end(
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let now = Instant::now;
            let mut queue = AckQueue::default();
            let mut wanted = BTreeSet::new();
            let mut acked = BTreeSet::new();
            // Frames that are on the way; a reconnect loses them.
            let mut on_the_way: Vec<(u64, AckKind, Vec<AckRange>)> = Vec::new();
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Individual(offset, index) => {
                        queue.individual(AckRange::message(Offset(offset), index), now);
                        wanted.insert((offset, index));
                    }
                    Step::Cumulative(offset) => {
                        queue.cumulative(Offset(offset), AckRange::LAST, now);
                        apply(&mut wanted, AckKind::Cumulative, &[AckRange::entry(Offset(offset))]);
                    }
                    Step::Send => {
                        next += 1;
                        if let Some((id, frame)) = queue.next(|| next) {
                            on_the_way.push((id, frame.kind, frame.ranges.clone()));
                        }
                    }
                    Step::Confirm if !on_the_way.is_empty() => {
                        let (id, kind, ranges) = on_the_way.remove(0);
                        apply(&mut acked, kind, &ranges);
                        queue.confirmed(id);
                    }
                    Step::Confirm => {}
                    Step::Reconnect => {
                        on_the_way.clear();
                        queue.rewind();
                    }
                }
            }
            for (id, kind, ranges) in on_the_way {
                apply(&mut acked, kind, &ranges);
                queue.confirmed(id);
            }
            while queue.has_unsent() {
                next += 1;
                let (id, kind, ranges) = {
                    let (id, frame) = queue.next(|| next).expect("few are on the way");
                    (id, frame.kind, frame.ranges.clone())
                };
                apply(&mut acked, kind, &ranges);
                queue.confirmed(id);
            }
            prop_assert_eq!(acked, wanted);
            prop_assert!(queue.oldest().is_none());
        }
    }

    #[test]
    fn neighbours_share_a_range_and_one_frame() {
        let mut queue = AckQueue::default();
        for index in 0..1_000 {
            queue.individual(AckRange::message(Offset(7), index), Instant::now);
        }
        queue.individual(AckRange::message(Offset(8), 3), Instant::now);
        let (_, frame) = queue.next(|| 1).unwrap();
        assert_eq!(frame.ranges, [range(7, 0, 999), range(8, 3, 3)]);
        assert!(queue.next(|| 2).is_none());
    }

    #[test]
    fn a_cumulative_acknowledgement_swallows_what_lies_below() {
        let mut queue = AckQueue::default();
        queue.individual(AckRange::message(Offset(1), 0), Instant::now);
        queue.individual(AckRange::message(Offset(9), 0), Instant::now);
        queue.cumulative(Offset(5), 2, Instant::now);
        queue.cumulative(Offset(4), 2, Instant::now);
        let (_, first) = queue.next(|| 1).unwrap();
        assert_eq!(
            (first.kind, &first.ranges[..]),
            (AckKind::Cumulative, &[range(5, 0, 2)][..])
        );
        let (_, second) = queue.next(|| 2).unwrap();
        assert_eq!(
            (second.kind, &second.ranges[..]),
            (AckKind::Individual, &[range(9, 0, 0)][..])
        );
    }

    #[test]
    fn a_receipt_is_complete_when_every_frame_of_its_group_is_confirmed() {
        let mut queue = AckQueue::default();
        queue.individual(AckRange::entry(Offset(9)), Instant::now);
        queue.cumulative(Offset(5), AckRange::LAST, Instant::now);
        let receipt = queue.receipt();
        assert!(queue.next(|| 1).is_some() && queue.next(|| 2).is_some());
        assert!(queue.confirmed(2).is_none());
        assert!(queue.confirmed(77).is_none(), "an id of an earlier stream");
        assert!(Arc::ptr_eq(&queue.confirmed(1).unwrap(), &receipt));
        assert!(queue.all_receipts().is_empty());
    }

    #[test]
    fn many_ranges_are_split_and_many_frames_are_held_back() {
        let mut queue = AckQueue::default();
        for offset in 0..ACK_RANGES_MAX as u64 + 1 {
            queue.individual(AckRange::entry(Offset(offset)), Instant::now);
        }
        assert_eq!(queue.next(|| 1).unwrap().1.ranges.len(), ACK_RANGES_MAX);
        assert_eq!(queue.next(|| 2).unwrap().1.ranges.len(), 1);
        for id in 3..=UNCONFIRMED_MAX as u64 {
            queue.individual(AckRange::entry(Offset(1)), Instant::now);
            assert!(queue.next(|| id).is_some());
        }
        queue.individual(AckRange::entry(Offset(1)), Instant::now);
        assert!(queue.next(|| 99).is_none(), "it waits for a confirmation");
        queue.confirmed(1);
        assert!(queue.next(|| 99).is_some());
    }
}
