//! Acknowledging what has been written.

use std::collections::{BTreeMap, VecDeque};

use hulse_client::{AckHandle, ClientError, Consumer, MessageId};

use super::batch::Batch;

/// What is acknowledged, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledging {
    /// What has been written, at once.
    WhatIsWritten,
    /// What has been written, by the consumer itself.
    ByItself,
    /// Nothing.
    Nothing,
}

/// Messages that are written and not acknowledged.
#[derive(Debug)]
enum Unacknowledged {
    /// The last one of each partition; all before it are meant as well.
    UpTo(BTreeMap<i32, MessageId>),
    /// Each.
    Each(Vec<MessageId>),
}

impl Unacknowledged {
    fn is_empty(&self) -> bool {
        match self {
            Self::UpTo(last) => last.is_empty(),
            Self::Each(ids) => ids.is_empty(),
        }
    }

    /// The first `messages` of a batch have been written.
    fn add(&mut self, batch: &Batch, messages: usize) {
        match self {
            Self::UpTo(last) => last.extend(batch.last_ids(messages)),
            Self::Each(ids) => ids.extend(batch.ids(messages)),
        }
    }

    /// Acknowledges them all.
    fn acknowledge(&mut self, consumer: &Consumer) -> Vec<AckHandle> {
        match self {
            Self::UpTo(last) => std::mem::take(last)
                .values()
                .map(|id| consumer.acknowledge_cumulative_with_receipt(id))
                .collect(),
            Self::Each(ids) => consumer.acknowledge_all_with_receipt(&std::mem::take(ids)),
        }
    }
}

/// The acknowledgements of one consumer.
#[derive(Debug)]
pub(crate) struct Receipts<'a> {
    consumer: &'a Consumer,
    how: Acknowledging,
    written: Unacknowledged,
    /// Acknowledgements whose receipts have not come.
    waiting: VecDeque<AckHandle>,
}

impl<'a> Receipts<'a> {
    /// Nothing is acknowledged yet. Messages that come in order are acknowledged up to the last
    /// one, others one by one.
    pub(crate) const fn new(consumer: &'a Consumer, how: Acknowledging, in_order: bool) -> Self {
        Self {
            consumer,
            how,
            written: if in_order {
                Unacknowledged::UpTo(BTreeMap::new())
            } else {
                Unacknowledged::Each(Vec::new())
            },
            waiting: VecDeque::new(),
        }
    }

    /// The first `messages` of a batch have been written.
    pub(crate) fn written(&mut self, batch: &Batch, messages: usize) {
        match self.how {
            Acknowledging::WhatIsWritten if messages > 0 => {
                self.written.add(batch, messages);
                self.acknowledge();
            }
            Acknowledging::ByItself => batch
                .rest(messages)
                .for_each(|id| self.consumer.not_done(&id)),
            Acknowledging::WhatIsWritten | Acknowledging::Nothing => {}
        }
    }

    /// Acknowledges everything that has been written.
    pub(crate) fn acknowledge(&mut self) {
        self.consumer.commit();
        self.waiting.extend(self.written.acknowledge(self.consumer));
    }

    /// Whether everything that has been written is acknowledged with a receipt.
    pub(crate) fn settled(&self) -> bool {
        self.written.is_empty() && self.waiting.is_empty()
    }

    /// Waits until the next receipt has come. Never ends when nothing is awaited. To drop the future
    /// loses nothing.
    ///
    /// # Errors
    /// Why an acknowledgement is not durable.
    pub(crate) async fn next(&mut self) -> Result<(), ClientError> {
        let received = match self.waiting.front_mut() {
            Some(receipt) => receipt.await,
            None => std::future::pending().await,
        };
        self.waiting.pop_front();
        received
    }

    /// Acknowledges what is left and waits for every receipt.
    ///
    /// # Errors
    /// Why the first acknowledgement is not durable that is not.
    pub(crate) async fn finish(&mut self) -> Result<(), ClientError> {
        self.acknowledge();
        let mut outcome = Ok(());
        while let Some(receipt) = self.waiting.front_mut() {
            let received = receipt.await;
            self.waiting.pop_front();
            outcome = outcome.and(received);
        }
        outcome
    }
}
