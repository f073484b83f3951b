//! Collects messages into batches. Pure: it knows no clock and no network.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hulse_model::batch::BatchError;
use hulse_model::delayed::{DUE_TIME_BYTES, begin_delayed};
use tokio::time::Instant;

use crate::message::Message;
use crate::producer::handle::{BatchReceipt, SendHandle};

/// When a batch is full, and how long it waits until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// The most messages of a batch.
    pub(crate) messages: u32,
    /// Payload bytes at which a batch is full. One larger message makes a batch of its own.
    pub(crate) bytes: usize,
    /// How long a message may wait for others.
    pub(crate) linger: Duration,
    /// Whether all messages of a batch have the same key.
    pub(crate) by_key: bool,
}

/// A batch that is complete: its bytes never change again.
#[derive(Debug, Clone)]
pub(crate) struct SealedBatch {
    /// The sequence number of its first message; they rise by one.
    pub(crate) sequence: u64,
    /// Number of messages.
    pub(crate) messages: u32,
    /// Whether numbers before it were left out on purpose.
    pub(crate) skipped: bool,
    /// The payload begins with the time at which the messages are due.
    pub(crate) delayed: bool,
    /// The payload.
    pub(crate) payload: Bytes,
    /// When its first message came.
    pub(crate) opened: Instant,
    /// What its handles wait for.
    pub(crate) receipt: Arc<BatchReceipt>,
}

#[derive(Debug)]
struct OpenBatch {
    payload: Vec<u8>,
    messages: u32,
    opened: Instant,
    receipt: Arc<BatchReceipt>,
    /// The key of all its messages, where that is kept.
    key: Option<Vec<u8>>,
    /// When all its messages are due, if they are delayed.
    deliver_at_ms: Option<u64>,
}

impl SealedBatch {
    /// Bytes that its messages take.
    pub(crate) const fn message_bytes(&self) -> usize {
        let before = if self.delayed { DUE_TIME_BYTES } else { 0 };
        self.payload.len() - before
    }
}

/// The batch that is being filled, and the numbering of messages.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: BatchLimits,
    partition: i32,
    next_sequence: u64,
    skip_next: bool,
    open: Option<OpenBatch>,
    /// Length of the last sealed payload: a good guess for the next.
    last_bytes: usize,
}

impl Batcher {
    /// A batcher whose first message gets `first_sequence`. `skipped` says that numbers before it
    /// were left out.
    pub(crate) const fn new(
        limits: BatchLimits,
        partition: i32,
        first_sequence: u64,
        skipped: bool,
    ) -> Self {
        Self {
            limits,
            partition,
            next_sequence: first_sequence,
            skip_next: skipped,
            open: None,
            last_bytes: 0,
        }
    }

    /// Whether a message that takes `bytes` goes into the open batch: it does not fill it over its
    /// limit, is due at the same time, and has the batch's key where that counts.
    pub(crate) fn has_room(&self, message: &Message<'_>, bytes: usize) -> bool {
        self.open.as_ref().is_none_or(|open| {
            let same_key = || open.key.as_deref() == message.key;
            open.payload.len() + bytes <= self.limits.bytes
                && open.deliver_at_ms == message.deliver_at_ms
                && (!self.limits.by_key || same_key())
        })
    }

    /// Adds a message. The caller has made sure of [`Self::has_room`].
    ///
    /// # Errors
    /// When the message is over a limit; nothing has changed then.
    pub(crate) fn push(
        &mut self,
        message: &Message<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Result<SendHandle, BatchError> {
        if let Some(open) = &mut self.open {
            message.encoded().encode(&mut open.payload)?;
            let index = open.messages;
            open.messages += 1;
            self.next_sequence += 1;
            return Ok(SendHandle::new(Arc::clone(&open.receipt), index));
        }
        let encoded = message.encoded();
        let guess = if self.last_bytes > self.limits.bytes / 2 {
            self.limits.bytes
        } else {
            self.last_bytes
        };
        let mut payload = Vec::with_capacity(guess.max(DUE_TIME_BYTES + encoded.encoded_bytes()));
        if let Some(due_ms) = message.deliver_at_ms {
            begin_delayed(due_ms, &mut payload);
        }
        encoded.encode(&mut payload)?;
        let receipt = Arc::new(BatchReceipt::new(self.next_sequence, self.partition));
        let handle = SendHandle::new(Arc::clone(&receipt), 0);
        self.open = Some(OpenBatch {
            payload,
            messages: 1,
            opened: now(),
            receipt,
            key: encoded
                .key
                .filter(|_| self.limits.by_key)
                .map(<[u8]>::to_vec),
            deliver_at_ms: message.deliver_at_ms,
        });
        self.next_sequence += 1;
        Ok(handle)
    }

    /// Whether the open batch is full: at once, when messages are not to wait for others.
    pub(crate) fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.messages >= self.limits.messages
                || open.payload.len() >= self.limits.bytes
                || self.limits.linger.is_zero()
        })
    }

    /// Whether there is no message that waits for others.
    pub(crate) const fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// When the open batch got its first message.
    pub(crate) fn opened(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.opened)
    }

    /// When the open batch has waited for long enough.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open
            .as_ref()
            .map(|open| open.opened + self.limits.linger)
    }

    /// Ends the open batch, if there is one.
    pub(crate) fn seal(&mut self) -> Option<SealedBatch> {
        let open = self.open.take()?;
        self.last_bytes = open.payload.len();
        Some(SealedBatch {
            sequence: open.receipt.sequence(),
            messages: open.messages,
            skipped: std::mem::take(&mut self.skip_next),
            delayed: open.deliver_at_ms.is_some(),
            payload: Bytes::from(open.payload),
            opened: open.opened,
            receipt: open.receipt,
        })
    }

    /// Says that numbers before the next batch are left out.
    pub(crate) const fn skip(&mut self) {
        self.skip_next = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::batch::Messages;
    use proptest::prelude::*;

    const LIMITS: BatchLimits = BatchLimits {
        messages: 7,
        bytes: 200,
        linger: Duration::from_millis(1),
        by_key: false,
    };

    /// Drives a batcher as a producer does; gives the sealed batches.
    fn batches(values: &[Vec<u8>], first: u64) -> Vec<SealedBatch> {
        let now = Instant::now();
        let mut batcher = Batcher::new(LIMITS, -1, first, false);
        let mut sealed = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let message = Message::new(value);
            if !batcher.has_room(&message, message.encoded().encoded_bytes()) {
                sealed.extend(batcher.seal());
            }
            let handle = batcher.push(&message, || now).unwrap();
            assert_eq!(handle.sequence(), first + at as u64);
            if batcher.is_full() {
                sealed.extend(batcher.seal());
            }
        }
        sealed.extend(batcher.seal());
        sealed
    }

    proptest! {
        #[test]
        fn every_message_is_in_one_batch_in_order_and_numbered_without_gaps(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
            first in 0..1_000_000_u64,
        ) {
            let mut next = first;
            let mut seen = Vec::new();
            for batch in batches(&values, first) {
                prop_assert_eq!(batch.sequence, next);
                prop_assert!(batch.messages >= 1 && batch.messages <= LIMITS.messages);
                prop_assert!(batch.payload.len() <= LIMITS.bytes || batch.messages == 1);
                let read: Vec<_> =
                    Messages::new(&batch.payload).map(|m| m.unwrap().value.to_vec()).collect();
                prop_assert_eq!(read.len(), batch.messages as usize);
                seen.extend(read);
                next += u64::from(batch.messages);
            }
            prop_assert_eq!(seen, values);
        }
    }

    #[test]
    fn a_batch_by_key_holds_one_key() {
        let limits = BatchLimits {
            by_key: true,
            ..LIMITS
        };
        let mut batcher = Batcher::new(limits, -1, 0, false);
        let keys = [
            Some("a"),
            Some("a"),
            Some("b"),
            None,
            None,
            Some(""),
            Some("a"),
        ];
        let mut sealed = Vec::new();
        for key in keys {
            let message = key.map_or(Message::new("x"), |key| Message::keyed(key, "x"));
            if !batcher.has_room(&message, message.encoded().encoded_bytes()) {
                sealed.extend(batcher.seal());
            }
            drop(batcher.push(&message, Instant::now).unwrap());
        }
        sealed.extend(batcher.seal());
        let counts: Vec<_> = sealed.iter().map(|batch| batch.messages).collect();
        assert_eq!(counts, [2, 1, 2, 1, 1]);
        for batch in sealed {
            let keys = Messages::new(&batch.payload).map(|message| message.unwrap().key);
            let keys: std::collections::BTreeSet<_> = keys.collect();
            assert_eq!(keys.len(), 1);
        }
    }

    #[test]
    fn a_batch_holds_messages_of_one_time() {
        let mut batcher = Batcher::new(LIMITS, -1, 0, false);
        let mut sealed = Vec::new();
        let mut bytes = 0;
        for deliver_at_ms in [None, Some(5), Some(5), Some(6), None, None] {
            let message = Message {
                deliver_at_ms,
                ..Message::new("x")
            };
            bytes += message.encoded().encoded_bytes();
            if !batcher.has_room(&message, message.encoded().encoded_bytes()) {
                sealed.extend(batcher.seal());
            }
            drop(batcher.push(&message, Instant::now).unwrap());
        }
        sealed.extend(batcher.seal());
        let found: Vec<_> = sealed
            .iter()
            .map(|batch| {
                let format = match batch.delayed {
                    true => hulse_model::PayloadFormat::Delayed,
                    false => hulse_model::PayloadFormat::Messages,
                };
                let messages = format.messages(&batch.payload).unwrap();
                assert_eq!(
                    messages.map(Result::unwrap).count(),
                    batch.messages as usize
                );
                (batch.messages, format.due_ms(&batch.payload))
            })
            .collect();
        assert_eq!(found, [(1, None), (2, Some(5)), (1, Some(6)), (2, None)]);
        let of_all: usize = sealed.iter().map(SealedBatch::message_bytes).sum();
        assert_eq!(of_all, bytes, "what was taken of the budget is given back");
    }

    #[test]
    fn a_message_over_the_limit_changes_nothing() {
        let mut batcher = Batcher::new(LIMITS, -1, 5, false);
        let large = vec![0; hulse_model::limits::MESSAGE_BYTES_MAX + 1];
        assert!(batcher.push(&Message::new(&large), Instant::now).is_err());
        assert!(batcher.is_empty());
        let handle = batcher.push(&Message::new("x"), Instant::now).unwrap();
        assert_eq!(handle.sequence(), 5);
        assert!(batcher.push(&Message::new(&large), Instant::now).is_err());
        assert_eq!(batcher.seal().unwrap().messages, 1);
    }

    #[test]
    fn what_was_left_out_is_said_by_the_next_batch_alone() {
        let mut batcher = Batcher::new(LIMITS, -1, 0, true);
        let skipped: Vec<bool> = (0..3)
            .map(|_| {
                drop(batcher.push(&Message::new("x"), Instant::now).unwrap());
                batcher.seal().unwrap().skipped
            })
            .collect();
        assert_eq!(skipped, [true, false, false]);
    }

    #[test]
    fn a_batch_is_due_when_its_first_message_has_lingered() {
        let now = Instant::now();
        let mut batcher = Batcher::new(LIMITS, -1, 0, false);
        assert_eq!(batcher.due(), None);
        for (value, second) in [("x", 0), ("y", 1)] {
            let came = now + Duration::from_secs(second);
            drop(batcher.push(&Message::new(value), || came).unwrap());
        }
        assert_eq!(batcher.due(), Some(now + LIMITS.linger));
    }
}
