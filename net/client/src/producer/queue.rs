//! The batches that have no receipt yet, in order, so that they can be sent again. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::producer::batcher::SealedBatch;

/// What a receipt or a refusal for some sequence number is about.
#[derive(Debug)]
pub(crate) enum Settled {
    /// This batch, which is taken out of the queue.
    Batch(SealedBatch),
    /// A batch that was settled before, through an earlier connection.
    Stale,
    /// Nothing that was ever sent: the broker is not in its right mind.
    Unknown,
}

/// Batches in the order of their sequence numbers. The first `sent` of them are on the way over
/// the present connection.
#[derive(Debug, Default)]
pub(crate) struct ResendQueue {
    batches: VecDeque<SealedBatch>,
    sent: usize,
}

impl ResendQueue {
    /// Adds a batch behind all others.
    ///
    /// # Panics
    /// When its numbers do not rise: that would break deduplication.
    pub(crate) fn push(&mut self, batch: SealedBatch) {
        if let Some(last) = self.batches.back() {
            assert!(
                batch.sequence >= last.sequence + u64::from(last.messages),
                "sequence numbers rise from batch to batch"
            );
        }
        self.batches.push_back(batch);
    }

    /// Adds the batch that a batcher gave, if it gave one.
    pub(crate) fn extend(&mut self, batch: Option<SealedBatch>) {
        if let Some(batch) = batch {
            self.push(batch);
        }
    }

    /// The next batch to be sent, which counts as sent from now on; `None` when all are, or
    /// `in_flight_max` are on the way.
    pub(crate) fn next_unsent(&mut self, in_flight_max: usize) -> Option<&SealedBatch> {
        if self.sent >= in_flight_max || self.sent >= self.batches.len() {
            return None;
        }
        self.sent += 1;
        self.batches.get(self.sent - 1)
    }

    /// Forgets what has been sent: the connection is gone, and all of it is sent again.
    pub(crate) const fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Takes out the batch that a receipt is for.
    pub(crate) fn settle(&mut self, sequence: u64, messages: u32) -> Settled {
        let at = match self
            .batches
            .binary_search_by_key(&sequence, |batch| batch.sequence)
        {
            Ok(at) => at,
            // What lies before everything that is open has been settled; a number between two
            // batches or behind them all belongs to nothing that was sent.
            Err(0) => return Settled::Stale,
            Err(_) => return Settled::Unknown,
        };
        if at >= self.sent
            || self
                .batches
                .get(at)
                .is_none_or(|batch| batch.messages != messages)
        {
            return Settled::Unknown;
        }
        self.sent -= 1;
        match self.batches.remove(at) {
            Some(batch) => Settled::Batch(batch),
            None => Settled::Unknown,
        }
    }

    /// Says of the first batch behind `sequence` that numbers before it are left out; false when
    /// there is none yet.
    pub(crate) fn skip_before(&mut self, sequence: u64) -> bool {
        match self
            .batches
            .iter_mut()
            .find(|batch| batch.sequence > sequence)
        {
            Some(batch) => {
                batch.skipped = true;
                true
            }
            None => false,
        }
    }

    /// Whether every batch has its receipt.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether there are batches that are not on the way.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.batches.len()
    }

    /// Whether there are batches on the way.
    pub(crate) const fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// When the oldest batch was opened.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.opened)
    }

    /// All batches, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SealedBatch> {
        self.batches.iter()
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<SealedBatch> {
        self.sent = 0;
        self.batches.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::handle::BatchReceipt;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn batch(sequence: u64, messages: u32) -> SealedBatch {
        SealedBatch {
            sequence,
            messages,
            skipped: false,
            delayed: false,
            payload: Bytes::copy_from_slice(&sequence.to_le_bytes()),
            opened: Instant::now(),
            receipt: Arc::new(BatchReceipt::new(sequence, -1)),
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u32),
        Send,
        /// A receipt for the n-th of those on the way.
        Receipt(usize),
        Reconnect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..5_u32).prop_map(Step::Push),
            Just(Step::Send),
            (0..4_usize).prop_map(Step::Receipt),
            Just(Step::Reconnect),
        ]
    }

    proptest! {
        #[test]
        fn after_a_reconnect_exactly_what_has_no_receipt_is_sent_again_in_order(
            steps in prop::collection::vec(step(), 0..200),
            in_flight_max in 1..6_usize,
        ) {
            let mut queue = ResendQueue::default();
            let mut next = 0;
            // The model: what has no receipt, and what of it is on the way.
            let mut open: Vec<(u64, u32)> = Vec::new();
            let mut on_the_way = 0;
            for step in steps {
                match step {
                    Step::Push(messages) => {
                        queue.push(batch(next, messages));
                        open.push((next, messages));
                        next += u64::from(messages);
                    }
                    Step::Send => {
                        let sent = queue.next_unsent(in_flight_max).map(|batch| batch.sequence);
                        if on_the_way < in_flight_max && on_the_way < open.len() {
                            prop_assert_eq!(sent, Some(open[on_the_way].0));
                            on_the_way += 1;
                        } else {
                            prop_assert_eq!(sent, None);
                        }
                    }
                    Step::Receipt(n) if n < on_the_way => {
                        let (sequence, messages) = open.remove(n);
                        on_the_way -= 1;
                        match queue.settle(sequence, messages) {
                            Settled::Batch(batch) => prop_assert_eq!(batch.sequence, sequence),
                            other => prop_assert!(false, "{other:?}"),
                        }
                    }
                    Step::Receipt(n) => {
                        if let Some((sequence, messages)) = open.get(n) {
                            let settled = queue.settle(*sequence, *messages);
                            prop_assert!(matches!(settled, Settled::Unknown), "not sent yet");
                        }
                    }
                    Step::Reconnect => {
                        queue.rewind();
                        on_the_way = 0;
                    }
                }
            }
            queue.rewind();
            let mut resent = Vec::new();
            while let Some(batch) = queue.next_unsent(usize::MAX) {
                prop_assert_eq!(&batch.payload[..], &batch.sequence.to_le_bytes()[..]);
                resent.push((batch.sequence, batch.messages));
            }
            prop_assert_eq!(resent, open);
        }
    }

    #[test]
    fn receipts_for_what_is_not_there_are_told_apart() {
        let mut queue = ResendQueue::default();
        queue.push(batch(10, 5));
        queue.push(batch(15, 5));
        assert!(queue.next_unsent(1).is_some());
        assert!(
            queue.next_unsent(1).is_none(),
            "no more than allowed at a time"
        );
        assert!(matches!(queue.settle(3, 1), Settled::Stale));
        assert!(matches!(queue.settle(12, 1), Settled::Unknown));
        assert!(matches!(queue.settle(10, 4), Settled::Unknown));
        assert!(matches!(queue.settle(15, 5), Settled::Unknown));
        assert!(matches!(queue.settle(99, 1), Settled::Unknown));
        assert!(matches!(queue.settle(10, 5), Settled::Batch(_)));
    }

    #[test]
    fn the_batch_behind_one_that_was_refused_says_so() {
        let mut queue = ResendQueue::default();
        queue.push(batch(0, 2));
        queue.push(batch(2, 2));
        queue.push(batch(4, 2));
        assert!(queue.skip_before(0));
        let skipped: Vec<bool> = queue.iter().map(|batch| batch.skipped).collect();
        assert_eq!(skipped, [false, true, false]);
        assert!(!queue.skip_before(4));
    }
}
