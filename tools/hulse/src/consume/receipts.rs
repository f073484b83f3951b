//! Acknowledging what has been written.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hulse_client::{AckHandle, ClientError, Consumer, MessageId};
use tokio::time::{Instant, sleep_until};

/// What is acknowledged, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledging {
    /// What has been written, at once.
    WhatIsWritten,
    /// What has been written, this often.
    Every(Duration),
    /// Nothing.
    Nothing,
}

/// The acknowledgements of one consumer.
#[derive(Debug)]
pub(crate) struct Receipts<'a> {
    consumer: &'a Consumer,
    how: Acknowledging,
    /// The last message of each partition that is written and not acknowledged.
    written: BTreeMap<i32, MessageId>,
    /// When these are acknowledged at the latest.
    due: Option<Instant>,
    /// Acknowledgements whose receipts have not come.
    waiting: VecDeque<AckHandle>,
}

impl<'a> Receipts<'a> {
    /// Nothing is acknowledged yet.
    pub(crate) const fn new(consumer: &'a Consumer, how: Acknowledging) -> Self {
        Self {
            consumer,
            how,
            written: BTreeMap::new(),
            due: None,
            waiting: VecDeque::new(),
        }
    }

    /// These messages, the last of their partitions, and all before them have been written.
    pub(crate) fn written(&mut self, last: BTreeMap<i32, MessageId>) {
        match self.how {
            Acknowledging::Nothing => return,
            Acknowledging::WhatIsWritten => self.written.extend(last),
            Acknowledging::Every(interval) => {
                self.written.extend(last);
                self.due.get_or_insert_with(|| Instant::now() + interval);
                return;
            }
        }
        self.acknowledge();
    }

    /// Acknowledges everything that has been written.
    pub(crate) fn acknowledge(&mut self) {
        self.due = None;
        for id in std::mem::take(&mut self.written).values() {
            self.waiting
                .push_back(self.consumer.acknowledge_cumulative_with_receipt(id));
        }
    }

    /// Whether everything that has been written is acknowledged with a receipt.
    pub(crate) fn settled(&self) -> bool {
        self.written.is_empty() && self.waiting.is_empty()
    }

    /// Waits until the next receipt has come, or something is due, which is then acknowledged.
    /// Never ends when nothing is awaited. To drop the future loses nothing.
    ///
    /// # Errors
    /// Why an acknowledgement is not durable.
    pub(crate) async fn next(&mut self) -> Result<(), ClientError> {
        let due = self.due;
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let receipt = async {
            match self.waiting.front_mut() {
                Some(receipt) => receipt.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = receipt => {
                self.waiting.pop_front();
                received
            }
            () = due => {
                self.acknowledge();
                Ok(())
            }
        }
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
