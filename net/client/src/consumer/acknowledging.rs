//! What the application says of messages: that it is done with them, or wants them again.

use std::time::Duration;

use hulse_model::Offset;
use hulse_wire::AckRange;
use tokio::time::Instant;

use crate::consumer::acks::AckReceipt;
use crate::consumer::partition::{PartitionConsumer, State};
use crate::error::ClientError;

/// How far an acknowledgement reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The messages of a range.
    Range,
    /// Everything up to the range's last message.
    UpTo,
}

impl PartitionConsumer {
    /// Acknowledges; with a receipt if somebody wants to wait for it.
    pub(crate) fn acknowledge(
        &self,
        range: AckRange,
        reach: Reach,
        receipt: bool,
    ) -> Result<Option<AckReceipt>, ClientError> {
        self.acknowledge_with(receipt, |state| {
            if state.turn.is_over(range.offset) {
                return false;
            }
            match reach {
                Reach::Range => state.acknowledge(range),
                Reach::UpTo => state.acknowledge_up_to(range.offset, range.last_index),
            }
            true
        })
    }

    /// Acknowledges the messages of several ranges, which share one receipt.
    pub(crate) fn acknowledge_all(&self, ranges: &[AckRange]) -> Result<AckReceipt, ClientError> {
        let receipt = self.acknowledge_with(true, |state| {
            let mut all = true;
            for range in ranges {
                if state.turn.is_over(range.offset) {
                    all = false;
                } else {
                    state.acknowledge(*range);
                }
            }
            all
        });
        receipt.and_then(|receipt| receipt.ok_or(ClientError::Closed))
    }

    /// `acknowledge` says whether it could: what another consumer gets now moves nothing, which is
    /// an error for those alone who want to know that it is done.
    fn acknowledge_with(
        &self,
        receipt: bool,
        acknowledge: impl FnOnce(&mut State) -> bool,
    ) -> Result<Option<AckReceipt>, ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let all = acknowledge(&mut state);
        let receipt = match (receipt, all) {
            (true, true) => Ok(Some(state.acks.receipt())),
            (true, false) => Err(ClientError::NotActive {
                partition: self.partition,
            }),
            (false, _) => Ok(None),
        };
        self.mark(&mut state);
        self.arm(&mut state);
        receipt
    }

    /// The receipts of all acknowledgements that are not confirmed yet.
    pub(crate) fn open_receipts(&self) -> Vec<AckReceipt> {
        let mut state = self.state();
        let receipts = state.acks.all_receipts();
        self.mark(&mut state);
        receipts
    }

    /// The entry of these messages is to come again after `delay`.
    pub(crate) fn negative(&self, range: AckRange, delay: Duration) -> Result<(), ClientError> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        state.redelivery.negative(range, delay, now);
        state.redelivery.take_due(now);
        self.mark(&mut state);
        self.arm(&mut state);
        Ok(())
    }

    /// A message is handed out, and its acknowledgement is waited for from now on.
    pub(crate) fn handed_out(&self, offset: Offset, index: u32, now: Instant) {
        let mut state = self.state();
        state.redelivery.handed_out(offset, index, now);
        self.arm(&mut state);
    }
}

impl State {
    fn acknowledge(&mut self, range: AckRange) {
        self.acks.individual(range, Instant::now);
        self.redelivery.acknowledged(range);
    }

    fn acknowledge_up_to(&mut self, offset: Offset, last: u32) {
        self.acks.cumulative(offset, last, Instant::now);
        self.redelivery.acknowledged_up_to(offset, last);
    }
}
