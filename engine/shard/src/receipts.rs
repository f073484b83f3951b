//! Receipts that wait for the high watermark.

use std::collections::VecDeque;

use hulse_model::Offset;

use crate::command::StreamKey;
use crate::effect::Receipt;

/// A receipt that may go once everything below `above` is stored at the partition's level.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    above: Offset,
    to: StreamKey,
    correlation: u64,
    receipt: Receipt,
}

/// The receipts of one partition that are not yet due, in the order in which they will be.
///
/// Receipts of one producer leave in the order of its batches: a new batch waits for its own
/// offset, and a duplicate waits behind whatever its producer is owed already.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    queue: VecDeque<Waiting>,
}

impl Receipts {
    /// Adds the receipt of a batch at the log's end.
    pub(crate) fn push(
        &mut self,
        offset: Offset,
        to: StreamKey,
        correlation: u64,
        receipt: Receipt,
    ) {
        self.insert(Waiting {
            above: offset.next(),
            to,
            correlation,
            receipt,
        });
    }

    /// Adds the receipt of a duplicate: due when its original and everything that this stream sent
    /// before is.
    pub(crate) fn push_duplicate(
        &mut self,
        above: Offset,
        to: StreamKey,
        correlation: u64,
        receipt: Receipt,
    ) {
        let last = self
            .queue
            .iter()
            .rev()
            .find(|w| w.to == to)
            .map(|w| w.above);
        let above = last.map_or(above, |last| last.max(above));
        self.insert(Waiting {
            above,
            to,
            correlation,
            receipt,
        });
    }

    fn insert(&mut self, waiting: Waiting) {
        let mut at = self.queue.len();
        while at > 0 && self.queue[at - 1].above > waiting.above {
            at -= 1;
        }
        self.queue.insert(at, waiting);
    }

    /// Takes the next receipt that is due at this high watermark.
    pub(crate) fn due(&mut self, high_watermark: Offset) -> Option<(StreamKey, Receipt)> {
        let first = self.queue.front()?;
        if first.above > high_watermark {
            return None;
        }
        self.queue.pop_front().map(|w| (w.to, w.receipt))
    }

    /// Drops what is owed to streams for which `gone` is true: nobody is there to be told.
    pub(crate) fn forget(&mut self, gone: impl Fn(StreamKey) -> bool) {
        self.queue.retain(|w| !gone(w.to));
    }

    /// Takes everything, due or not: when the log has failed.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (StreamKey, u64, Receipt)> + '_ {
        self.queue
            .drain(..)
            .map(|w| (w.to, w.correlation, w.receipt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::Term;

    fn receipt(sequence: u64) -> Receipt {
        Receipt {
            sequence,
            messages: 1,
            duplicate: false,
            id: Some((Term(1), Offset(sequence))),
        }
    }

    #[test]
    fn receipts_leave_in_order_and_not_before_the_high_watermark() {
        let stream = StreamKey {
            connection: 1,
            stream: 1,
        };
        let other = StreamKey {
            connection: 2,
            stream: 1,
        };
        let mut receipts = Receipts::default();
        receipts.push(Offset(4), stream, 9, receipt(4));
        receipts.push(Offset(5), stream, 9, receipt(5));
        receipts.push_duplicate(Offset(2), stream, 9, receipt(2));
        receipts.push_duplicate(Offset(3), other, 9, receipt(3));
        assert_eq!(receipts.due(Offset(2)).map(|r| r.1.sequence), None);
        assert_eq!(receipts.due(Offset(4)).map(|r| r.1.sequence), Some(3));
        assert_eq!(receipts.due(Offset(4)).map(|r| r.1.sequence), None);
        let rest: Vec<_> = std::iter::from_fn(|| receipts.due(Offset(6)))
            .map(|r| r.1.sequence)
            .collect();
        assert_eq!(
            rest,
            [4, 5, 2],
            "a stream's receipts keep the order in which it sent"
        );
        receipts.push(Offset(6), stream, 9, receipt(6));
        receipts.forget(|key| key.connection == 1);
        assert!(receipts.due(Offset(u64::MAX)).is_none());
    }
}
