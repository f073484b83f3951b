//! What comes over the stream of a partition's producer.

use std::sync::Arc;

use hulse_model::Status;
use hulse_wire::{ErrorReply, Receipt, Reply};

use crate::connection::{IncomingFrame, StreamHandler};
use crate::error::ClientError;
use crate::producer::handle::Stored;
use crate::producer::partition::{Outcomes, PartitionProducer, State};
use crate::producer::queue::Settled;

/// The handler of one stream of a partition's producer. What comes from a stream that is not the
/// present one is not looked at.
pub(super) struct ProducerStream {
    pub(super) owner: Arc<PartitionProducer>,
    pub(super) generation: u64,
}

impl StreamHandler for ProducerStream {
    fn on_frame(&self, frame: &IncomingFrame) -> Result<(), String> {
        let owner = &self.owner;
        let reply = frame.reply().map_err(|error| error.to_string())?;
        if let Reply::Moving(moving) = &reply {
            owner.client.dial_ahead(moving.address);
            return Ok(());
        }
        let mut outcomes = Outcomes::default();
        let mut guard = owner.state();
        let ends = matches!(reply, Reply::Error(_)) && frame.correlation() == 0;
        if guard.generation == self.generation
            && frame.correlation() == 0
            && let Some(turn) = guard.turn.take()
        {
            // Nothing else is said to a stream that waits. Whoever waited may have given up.
            match reply {
                Reply::ProducerOpened(opened) => drop(turn.send(Ok(opened))),
                Reply::Error(error) => drop(turn.send(Err(ClientError::refused(&error)))),
                _ => return Err(format!("{} on a stream that waits", frame.kind())),
            }
            return Ok(());
        }
        if guard.generation != self.generation || (guard.link.is_none() && !ends) {
            return Ok(());
        }
        let mut over = None;
        match reply {
            Reply::Receipts(list) => {
                owner.on_receipts(&mut guard, list.receipts.iter(), &mut outcomes)?;
            }
            Reply::Error(error) if frame.correlation() == 0 => {
                let cause = ClientError::refused(&error);
                if let Some(link) = guard.link.take() {
                    link.slot.ended_by_broker();
                }
                if cause.is_retryable() {
                    guard.lose(cause);
                    owner.wake.notify_one();
                } else {
                    over = Some(cause);
                }
            }
            Reply::Error(error) => {
                over = owner.on_refusal(&mut guard, &error, &mut outcomes).err();
            }
            // The answer to a request that nobody waits for any more.
            _ if frame.correlation() > 0 => {}
            _ => return Err(format!("{} on a producer's stream", frame.kind())),
        }
        drop(guard);
        outcomes.publish(&owner.shared);
        if let Some(cause) = over {
            owner.fail(cause);
        }
        Ok(())
    }

    fn on_lost(&self, cause: &ClientError) {
        let mut state = self.owner.state();
        if state.generation != self.generation {
            return;
        }
        if let Some(turn) = state.turn.take() {
            drop(turn.send(Err(cause.clone())));
        } else if state.link.is_some() {
            state.lose(cause.clone());
            self.owner.wake.notify_one();
        }
    }

    fn write_pending(&self) {}
}

impl PartitionProducer {
    fn on_receipts(
        &self,
        state: &mut State,
        receipts: impl Iterator<Item = Receipt>,
        outcomes: &mut Outcomes,
    ) -> Result<(), String> {
        for receipt in receipts {
            match state.queue.settle(receipt.sequence, receipt.messages) {
                Settled::Batch(batch) => outcomes.add(batch, Ok(stored(&receipt))),
                Settled::Stale => {}
                Settled::Unknown => {
                    let sequence = receipt.sequence;
                    return Err(format!(
                        "a receipt for sequence {sequence}, which was not sent"
                    ));
                }
            }
        }
        self.pump(state);
        self.arm(state);
        Ok(())
    }

    /// A batch was refused. An error when the producer cannot go on.
    fn on_refusal(
        &self,
        state: &mut State,
        error: &ErrorReply<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<(), ClientError> {
        let cause = ClientError::refused(error);
        if cause.is_retryable() {
            // What follows the batch is refused too, since it would leave a gap: everything is
            // sent again over a new stream.
            state.lose(cause);
            self.wake.notify_one();
            return Ok(());
        }
        let over = error.status == Status::ProducerFenced || error.status == Status::SequenceGap;
        if over || error.appended {
            return Err(cause);
        }
        let Settled::Batch(batch) = state.queue.settle(error.sequence, error.messages) else {
            return Err(cause);
        };
        // The batch is certainly not stored, so its numbers may be left out.
        if !state.queue.skip_before(batch.sequence)
            && let Some(batcher) = &mut state.batcher
        {
            batcher.skip();
        }
        outcomes.add(batch, Err(cause.clone()));
        if state.queue.has_sent() {
            // The batches behind it went out without that word, and are refused for the gap.
            state.lose(cause);
            self.wake.notify_one();
        } else {
            self.pump(state);
            self.arm(state);
        }
        Ok(())
    }
}

fn stored(receipt: &Receipt) -> Stored {
    let (term, offset) = receipt.id.unwrap_or_default();
    Stored {
        term,
        offset,
        id_known: receipt.id.is_some(),
    }
}
