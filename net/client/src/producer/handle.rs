//! What a caller holds while its message is on the way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hulse_model::{MessageId, Offset, Term};

use crate::completion::{Completion, WakerSlot};
use crate::error::ClientError;

/// Where a batch was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) term: Term,
    pub(crate) offset: Offset,
    /// False for a duplicate so old that the broker has forgotten its id.
    pub(crate) id_known: bool,
}

/// What the handles of one batch share.
#[derive(Debug)]
pub(crate) struct BatchReceipt {
    sequence: u64,
    partition: i32,
    completion: Completion<Result<Stored, ClientError>>,
}

impl BatchReceipt {
    pub(crate) fn new(sequence: u64, partition: i32) -> Self {
        Self {
            sequence,
            partition,
            completion: Completion::default(),
        }
    }

    /// The sequence number of the batch's first message.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Ends the waiting.
    pub(crate) fn complete(&self, outcome: Result<Stored, ClientError>) {
        self.completion.complete(outcome);
    }

    /// Whether the batch is stored, once that is known.
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        slot: &mut WakerSlot,
    ) -> Poll<Result<(), ClientError>> {
        self.completion
            .poll(cx, slot)
            .map(|outcome| outcome.as_ref().map(|_| ()).map_err(Clone::clone))
    }

    fn id(
        &self,
        outcome: &Result<Stored, ClientError>,
        index: u32,
    ) -> Result<MessageId, ClientError> {
        let stored = outcome.as_ref().map_err(Clone::clone)?;
        if !stored.id_known {
            return Err(ClientError::IdForgotten {
                sequence: self.sequence + u64::from(index),
            });
        }
        let index = i32::try_from(index).expect("an entry holds fewer messages");
        Ok(MessageId {
            term: stored.term,
            offset: stored.offset,
            partition: self.partition,
            index,
        })
    }
}

/// A message on its way. It is a future: the id under which the message is stored, once it is
/// stored as the topic's acknowledgement level asks for.
///
/// A message that is sent again after a lost connection keeps its id. To drop the handle is
/// allowed; the message is sent all the same.
///
/// # Errors
/// The reason why the message is not stored, or why it is not known whether it is: see
/// [`crate::Producer`].
#[derive(Debug)]
#[must_use = "the message may still fail; await the handle or drop it on purpose"]
pub struct SendHandle {
    receipt: Arc<BatchReceipt>,
    index: u32,
    slot: WakerSlot,
}

impl SendHandle {
    pub(crate) fn new(receipt: Arc<BatchReceipt>, index: u32) -> Self {
        Self {
            receipt,
            index,
            slot: WakerSlot::default(),
        }
    }

    /// The sequence number of the message, by which a retry is recognised.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.receipt.sequence + u64::from(self.index)
    }

    /// The outcome if it is known already; never waits.
    #[must_use]
    pub fn try_id(&self) -> Option<Result<MessageId, ClientError>> {
        self.receipt
            .completion
            .get()
            .map(|outcome| self.receipt.id(outcome, self.index))
    }
}

impl Future for SendHandle {
    type Output = Result<MessageId, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            receipt,
            index,
            slot,
        } = self.get_mut();
        receipt
            .completion
            .poll(cx, slot)
            .map(|outcome| receipt.id(outcome, *index))
    }
}
