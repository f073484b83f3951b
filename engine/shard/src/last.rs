//! How far a partition goes, as its consumers ask.

use hulse_log::Disk;
use hulse_model::Offset;

use crate::command::{Clock, StreamKey};
use crate::consume::{Seat, unreadable};
use crate::effect::{LastMessage, Refusal, Reply};
use crate::partition::Partition;
use crate::readers::find;
use crate::sibling::Answer;

impl<D: Disk> Partition<D> {
    /// Tells a consumer the newest message that may be delivered, and where its subscription stands. The
    /// answer goes once that is durable.
    pub(crate) fn tell_last(
        &mut self,
        clock: Clock,
        seat: Seat,
        to: StreamKey,
        correlation: u64,
    ) -> Result<(), Refusal> {
        let high_watermark = self.high_watermark();
        let mark = find(&self.state, &self.readers, seat.subscription)
            .map(|it| it.cursor().mark())
            .unwrap_or_default();
        let answer = Answer {
            to,
            correlation,
            reply: Reply::Last {
                last: self.last_message(high_watermark)?,
                mark,
                high_watermark,
            },
        };
        if self.refused_record(clock.monotonic_ms).is_some() {
            // Reading goes on when nothing can be written any more.
            self.sibling.push_due(answer);
        } else {
            self.store_record(clock, None, Offset::ZERO, vec![answer]);
        }
        Ok(())
    }

    fn last_message(&mut self, high_watermark: Offset) -> Result<Option<LastMessage>, Refusal> {
        let log = &mut self.store.entries;
        if high_watermark <= log.start() {
            return Ok(None);
        }
        let offset = Offset(high_watermark.0 - 1);
        let mut reader = log.cursor(offset);
        let entry = log.read(&mut reader, high_watermark);
        let entry = entry.map_err(|error| unreadable(&error, offset))?;
        Ok(entry.map(|entry| LastMessage {
            term: entry.header.term,
            offset,
            index: entry.header.messages - 1,
        }))
    }
}
