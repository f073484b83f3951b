//! Acknowledgements: they go to the cursor at once, and to the sibling log once a round.

use hulse_log::{Disk, ReadError};
use hulse_model::{Offset, Position, Status};
use hulse_subscription::{Cursor, IndexRange, Subscription, SubscriptionKind};

use crate::command::{AckedMessages, Clock, StreamKey};
use crate::consume::Seat;
use crate::effect::{Refusal, Reply};
use crate::partition::Partition;
use crate::readers::find;
use crate::sibling::Answer;

impl<D: Disk> Partition<D> {
    /// Acknowledges everything up to a message. `receipt` is the request to answer once it is
    /// durable, if the consumer wants to know.
    pub(crate) fn acknowledge_cumulative(
        &mut self,
        clock: Clock,
        seat: Seat,
        up_to: AckedMessages,
        to: StreamKey,
        receipt: Option<u64>,
    ) -> Result<(), Refusal> {
        self.check_delivered(up_to.offset)?;
        let subscription = seat.subscription;
        let kind = find(&self.state, &self.readers, subscription).map(Subscription::kind);
        if let Some(SubscriptionKind::Shared | SubscriptionKind::KeyShared) = kind {
            let text = "a consumer that shares its subscription cannot acknowledge everything up to a \
                        message, since others have some of it: acknowledge single messages";
            return Err(Refusal::new(Status::InvalidArgument, text));
        }
        let messages = self.messages_of(up_to.offset);
        if !self.counts_for(seat, up_to.offset) {
            let last = up_to.last.min(messages - 1);
            let done = Position {
                offset: up_to.offset,
                index: last,
            };
            let mark = self.cursor(subscription).map(Cursor::mark);
            return if mark.is_some_and(|mark| mark > done) {
                self.acknowledge(clock, subscription, to, receipt, |_| false)
            } else {
                not_active(seat, up_to.offset, receipt)
            };
        }
        self.acknowledge(clock, subscription, to, receipt, |cursor| {
            cursor.acknowledge_cumulative(up_to.offset, up_to.last, messages)
        })
    }

    /// Acknowledges single messages, all or, when one of them cannot be, none.
    ///
    /// Of a Failover subscription those that another consumer gets are left out, and then refused.
    pub(crate) fn acknowledge_individual(
        &mut self,
        clock: Clock,
        seat: Seat,
        acked: &[AckedMessages],
        to: StreamKey,
        receipt: Option<u64>,
    ) -> Result<(), Refusal> {
        for one in acked {
            self.check_delivered(one.offset)?;
        }
        let subscription = seat.subscription;
        let mut counts: Vec<(Offset, u32)> = Vec::with_capacity(acked.len());
        for one in acked {
            counts.push(match counts.last() {
                Some(&(offset, messages)) if offset == one.offset => (offset, messages),
                _ => (one.offset, self.messages_of(one.offset)),
            });
        }
        let late = |one: &AckedMessages| !self.counts_for(seat, one.offset);
        let late: Vec<bool> = acked.iter().map(late).collect();
        let mut refused = None;
        for ((one, late), (_, messages)) in acked.iter().zip(&late).zip(&counts) {
            if *late && !self.is_acknowledged(subscription, one, *messages) {
                refused.get_or_insert(one.offset);
            }
        }
        // What is left is kept all the same; that it is durable, nobody is told then.
        let receipt_of_all = receipt.filter(|_| refused.is_none());
        self.acknowledge(clock, subscription, to, receipt_of_all, |cursor| {
            let mut moved = false;
            for ((one, late), (_, messages)) in acked.iter().zip(late).zip(counts) {
                if !late {
                    moved |= cursor.acknowledge_range(one.offset, one.first, one.last, messages);
                }
            }
            moved
        })?;
        if let Some(state) = find(&self.state, &self.readers, subscription)
            && let Some(served) = self.consumers.served(subscription)
        {
            for one in acked {
                served.dispatcher.acknowledged(state.cursor(), one.offset);
            }
        }
        refused.map_or(Ok(()), |offset| not_active(seat, offset, receipt))
    }

    /// Whether a consumer's acknowledgement of messages of this entry counts: what comes from an
    /// earlier turn of an active consumer moves nothing.
    fn counts_for(&mut self, seat: Seat, offset: Offset) -> bool {
        let served = self.consumers.served(seat.subscription);
        served.is_none_or(|it| it.dispatcher.takes_acknowledgement(seat.consumer, offset))
    }

    /// Whether these messages are acknowledged already.
    fn is_acknowledged(&self, subscription: u64, one: &AckedMessages, messages: u32) -> bool {
        let last = one.last.min(messages - 1);
        let covers = |range: &IndexRange| range.first <= one.first && last <= range.last;
        self.cursor(subscription).is_some_and(|cursor| {
            one.offset < cursor.mark().offset
                || cursor
                    .acknowledged_in(one.offset, messages)
                    .iter()
                    .any(covers)
        })
    }

    fn cursor(&self, subscription: u64) -> Option<&Cursor> {
        Some(self.state.subscription(subscription)?.cursor())
    }

    fn acknowledge(
        &mut self,
        clock: Clock,
        subscription: u64,
        to: StreamKey,
        receipt: Option<u64>,
        apply: impl FnOnce(&mut Cursor) -> bool,
    ) -> Result<(), Refusal> {
        if let Some(reader) = self.readers.get_mut(subscription) {
            self.counters.acknowledgements += 1;
            apply(reader.cursor_mut());
            // Nothing of it is written, so the changes are not kept for a record.
            while reader.take_changes().is_some() {}
            if let Some(correlation) = receipt {
                let reply = Reply::Acked;
                self.sibling.push_due(Answer {
                    to,
                    correlation,
                    reply,
                });
            }
            return Ok(());
        }
        // Without a receipt an acknowledgement is kept as well as can be: in memory, if need be.
        if receipt.is_some()
            && let Some(refusal) = self.refused_record(clock.monotonic_ms)
        {
            return Err(refusal);
        }
        let fenced = self.fenced().is_some();
        let Some(state) = self.state.subscription_mut(subscription) else {
            let text = "the subscription is deleted";
            return Err(Refusal::new(Status::SubscriptionNotFound, text));
        };
        self.counters.acknowledgements += 1;
        let moved = apply(state.cursor_mut());
        if !fenced && (moved || receipt.is_some()) {
            let answer = |correlation| Answer {
                to,
                correlation,
                reply: Reply::Acked,
            };
            self.sibling.cursor_moved(subscription, receipt.map(answer));
        }
        Ok(())
    }

    /// Refuses the acknowledgement of what nobody can have been sent.
    fn check_delivered(&self, offset: Offset) -> Result<(), Refusal> {
        if offset < self.high_watermark() {
            return Ok(());
        }
        Err(Refusal::new(
            Status::InvalidArgument,
            format!("entry {offset} has not been delivered, so it cannot be acknowledged"),
        ))
    }

    /// How many messages a readable entry has. One that is no longer kept, or is damaged, counts
    /// as a single message, so that it is passed over as a whole. When the disk fails to tell, the
    /// number is [`u32::MAX`], of which a part is never taken for the whole.
    pub(crate) fn messages_of(&mut self, offset: Offset) -> u32 {
        if let Some(messages) = self.counts.get(offset) {
            return messages;
        }
        let mut reader = self.store.entries.cursor(offset);
        let messages = match self.store.entries.read(&mut reader, offset.next()) {
            Ok(Some(entry)) => entry.header.messages,
            Err(ReadError::Damaged { .. } | ReadError::BelowStart { .. }) => 1,
            Ok(None) | Err(ReadError::Io { .. }) => return u32::MAX,
        };
        self.counts.note(offset, messages);
        messages
    }
}

/// An acknowledgement that moves nothing: whoever wants a receipt is told so, others have no answer.
fn not_active(seat: Seat, offset: Offset, receipt: Option<u64>) -> Result<(), Refusal> {
    let Some(_) = receipt else {
        return Ok(());
    };
    Err(Refusal::new(
        Status::NotActive,
        format!(
            "consumer {} was not given entry {offset} since it last became the active one, so its \
             acknowledgement moves nothing, and the entry goes to the consumer that is active",
            seat.consumer
        ),
    ))
}
