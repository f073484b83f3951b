//! Receipts that wait for the high watermark.

use std::collections::{BTreeMap, VecDeque};

use hulse_model::Offset;

use crate::command::StreamKey;
use crate::effect::Receipt;

/// A receipt that may go once everything below `above` is stored at the partition's level.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    above: Offset,
    correlation: u64,
    receipt: Receipt,
}

/// The receipts of one partition that are not yet due, by the stream that is owed them.
///
/// Receipts of one stream leave in the order of its batches: each waits for its own offset, and
/// behind those that its stream is owed already.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    owed: BTreeMap<StreamKey, VecDeque<Waiting>>,
}

impl Receipts {
    /// Adds the receipt of a batch that has everything below `above` stored before it is due, and
    /// everything that its stream was owed before.
    pub(crate) fn push(
        &mut self,
        above: Offset,
        to: StreamKey,
        correlation: u64,
        receipt: Receipt,
    ) {
        self.owed.entry(to).or_default().push_back(Waiting {
            above,
            correlation,
            receipt,
        });
    }

    /// Takes what is due at this high watermark.
    pub(crate) fn release(
        &mut self,
        high_watermark: Offset,
        mut give: impl FnMut(StreamKey, Receipt),
    ) {
        self.owed.retain(|to, owed| {
            while let Some(first) = owed.front()
                && first.above <= high_watermark
            {
                give(*to, first.receipt);
                owed.pop_front();
            }
            !owed.is_empty()
        });
    }

    /// Whether nobody is owed anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Drops what is owed to a stream that is gone: nobody is there to be told.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.owed.remove(&stream);
    }

    /// Takes everything, due or not: when the log has failed.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (StreamKey, u64, Receipt)> + use<> {
        let owed = std::mem::take(&mut self.owed).into_iter();
        owed.flat_map(|(to, owed)| {
            owed.into_iter()
                .map(move |w| (to, w.correlation, w.receipt))
        })
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

    fn released(receipts: &mut Receipts, high_watermark: u64) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        receipts.release(Offset(high_watermark), |to, receipt| {
            due.push((to.connection, receipt.sequence));
        });
        due
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
        receipts.push(Offset(5), stream, 9, receipt(4));
        receipts.push(Offset(6), stream, 9, receipt(5));
        receipts.push(Offset(3), stream, 9, receipt(2));
        receipts.push(Offset(4), other, 9, receipt(3));
        assert_eq!(released(&mut receipts, 3), []);
        assert_eq!(released(&mut receipts, 4), [(2, 3)]);
        assert_eq!(released(&mut receipts, 5), [(1, 4)]);
        assert_eq!(
            released(&mut receipts, 6),
            [(1, 5), (1, 2)],
            "a stream's receipts keep the order in which it sent"
        );
        assert!(receipts.owed.is_empty());
        receipts.push(Offset(7), stream, 9, receipt(6));
        receipts.push(Offset(8), other, 8, receipt(7));
        receipts.forget(stream);
        let rest: Vec<_> = receipts
            .drain()
            .map(|(to, id, r)| (to, id, r.sequence))
            .collect();
        assert_eq!(rest, [(other, 8, 7)]);
        assert_eq!(released(&mut receipts, u64::MAX), []);
    }
}
