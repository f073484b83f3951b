//! Acknowledgements: they go to the cursor at once, and to the sibling log once a round.

use hulse_log::Disk;
use hulse_model::{Offset, Status};

use crate::command::{AckedMessages, StreamKey};
use crate::durable::Answer;
use crate::effect::{Refusal, Reply};
use crate::partition::Partition;

impl<D: Disk> Partition<D> {
    /// Acknowledges everything up to a message. `receipt` is the request to answer once it is
    /// durable, if the consumer wants to know.
    pub(crate) fn acknowledge_cumulative(
        &mut self,
        subscription: u64,
        up_to: AckedMessages,
        to: StreamKey,
        receipt: Option<u64>,
    ) -> Result<(), Refusal> {
        let messages = self.messages_of(up_to.offset)?;
        self.acknowledge(subscription, to, receipt, |cursor| {
            cursor.acknowledge_cumulative(up_to.offset, up_to.last, messages)
        })
    }

    /// Acknowledges single messages, all or, when one of them cannot be, none.
    pub(crate) fn acknowledge_individual(
        &mut self,
        subscription: u64,
        acked: &[AckedMessages],
        to: StreamKey,
        receipt: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut counts = Vec::with_capacity(acked.len());
        for one in acked {
            counts.push(match counts.last() {
                Some(&(offset, messages)) if offset == one.offset => (offset, messages),
                _ => (one.offset, self.messages_of(one.offset)?),
            });
        }
        self.acknowledge(subscription, to, receipt, |cursor| {
            let mut moved = false;
            for (one, (_, messages)) in acked.iter().zip(counts) {
                moved |= cursor.acknowledge_range(one.offset, one.first, one.last, messages);
            }
            moved
        })
    }

    fn acknowledge(
        &mut self,
        subscription: u64,
        to: StreamKey,
        receipt: Option<u64>,
        apply: impl FnOnce(&mut hulse_subscription::Cursor) -> bool,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.fenced() {
            return Err(refusal);
        }
        let Some(state) = self.state.subscription_mut(subscription) else {
            return Err(Refusal::new(
                Status::SubscriptionNotFound,
                "the subscription is deleted",
            ));
        };
        self.counters.acknowledgements += 1;
        let moved = apply(state.cursor_mut());
        if moved || receipt.is_some() {
            let answer = |correlation| Answer {
                to,
                correlation,
                reply: Reply::Acked,
            };
            self.sibling.cursor_moved(subscription, receipt.map(answer));
        }
        Ok(())
    }

    /// How many messages an entry has that may be acknowledged: a readable one. One that is no
    /// longer kept counts as a single message, since all of it is acknowledged.
    fn messages_of(&mut self, offset: Offset) -> Result<u32, Refusal> {
        if offset >= self.high_watermark() {
            return Err(Refusal::new(
                Status::InvalidArgument,
                format!("entry {offset} has not been delivered, so it cannot be acknowledged"),
            ));
        }
        if offset < self.store.entries.start() {
            return Ok(1);
        }
        if let Some((known, messages)) = self.counted
            && known == offset
        {
            return Ok(messages);
        }
        let mut reader = self.store.entries.cursor(offset);
        let end = offset.next();
        // A damaged entry counts as one message: acknowledging it passes over it as a whole.
        let messages = match self.store.entries.read(&mut reader, end) {
            Ok(Some(entry)) => entry.header.messages,
            Ok(None) | Err(_) => 1,
        };
        self.counted = Some((offset, messages));
        Ok(messages)
    }
}
