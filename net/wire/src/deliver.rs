//! DELIVER: one entry on its way to a consumer.

use alloc::borrow::Cow;

use hulse_schema as schema;

use crate::ack::{ACK_RANGES_MAX, AckRange, AckRanges, check_ranges};
use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::Violation;

/// DELIVER: the entry's bytes as stored, header and checksum included, are the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// How often the entry was delivered to this subscription before.
    pub redelivery_count: u32,
    /// Messages of this entry that the consumer skips, because they are acknowledged already: at
    /// most [`ACK_RANGES_MAX`] ranges. [`Deliver::skip_lists`] serves an entry with more.
    pub acked: AckRanges<'a>,
    /// The entry (see `hulse_model::entry`). Its own checksum is the consumer's to check.
    pub entry: &'a [u8],
}

impl<'a> Deliver<'a> {
    /// The lists of messages to skip that deliver an entry whose messages `acked` are acknowledged:
    /// one list, `acked` itself, unless it is longer than a frame may carry. Then the entry goes out
    /// once for each list, and each skips, besides what is acknowledged, all that belongs to the
    /// other parts, so that no message is handed out twice.
    ///
    /// The ranges must be of one entry, rising and apart.
    pub fn skip_lists(acked: &'a [AckRange]) -> impl Iterator<Item = Cow<'a, [AckRange]>> {
        // Two ranges are kept for what lies before and behind the part.
        const PART: usize = ACK_RANGES_MAX - 2;
        let whole = acked.len() <= ACK_RANGES_MAX;
        let parts = if whole { 1 } else { acked.len().div_ceil(PART) };
        (0..parts).map(move |part| {
            if whole {
                return Cow::Borrowed(acked);
            }
            let (first, end) = (part * PART, acked.len().min((part + 1) * PART));
            let before = acked[first];
            let before = (part > 0 && before.first_index > 0).then(|| AckRange {
                first_index: 0,
                last_index: before.first_index - 1,
                ..before
            });
            let behind = acked.get(end).map(|next| AckRange {
                last_index: AckRange::LAST,
                ..*next
            });
            Cow::Owned(
                before
                    .into_iter()
                    .chain(acked[first..end].iter().copied())
                    .chain(behind)
                    .collect(),
            )
        })
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_ranges("acked", &self.acked, ACK_RANGES_MAX)?;
        let args = schema::DeliverArgs {
            redelivery_count: self.redelivery_count,
            acked: self.acked.build(builder),
        };
        let table = schema::Deliver::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Deliver<'a>>(frame)?;
        let acked = AckRanges::from_vector(table.acked());
        check_ranges("acked", &acked, ACK_RANGES_MAX)
            .map_err(|violation| frame.refused(violation))?;
        Ok(Self {
            redelivery_count: table.redelivery_count(),
            acked,
            entry: frame.payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use hulse_model::Offset;

    /// Which of `messages` messages a consumer is handed over all deliveries, and how often.
    fn handed_out(acked: &[AckRange], messages: u32) -> Vec<u32> {
        let mut times = alloc::vec![0; messages as usize];
        for list in Deliver::skip_lists(acked) {
            assert!(list.len() <= ACK_RANGES_MAX);
            let mut skipped = alloc::vec![false; messages as usize];
            for range in list.iter() {
                let last = range.last_index.min(messages - 1);
                for index in range.first_index..=last {
                    skipped[index as usize] = true;
                }
            }
            for (times, skipped) in times.iter_mut().zip(skipped) {
                *times += u32::from(!skipped);
            }
        }
        times
    }

    #[test]
    fn an_entry_with_any_number_of_holes_is_handed_out_once() {
        let offset = Offset(7);
        for (holes, first) in [
            (0, 0),
            (1, 0),
            (2048, 1),
            (2049, 0),
            (2049, 1),
            (5000, 0),
            (32_000, 1),
        ] {
            let acked: Vec<_> = (0..holes)
                .map(|hole| AckRange::message(offset, first + 2 * hole))
                .collect();
            let messages = 65_536;
            let times = handed_out(&acked, messages);
            for index in 0..messages {
                let acknowledged = acked
                    .binary_search_by_key(&index, |r| r.first_index)
                    .is_ok();
                assert_eq!(
                    times[index as usize],
                    u32::from(!acknowledged),
                    "{holes} {index}"
                );
            }
        }
    }
}
