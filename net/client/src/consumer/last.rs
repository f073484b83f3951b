//! How far the topic goes.

use std::collections::BTreeMap;

use bytes::Bytes;
use hulse_model::{MessageId, Position};
use hulse_wire::{Last, Request};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::attempts::Attempts;
use crate::consumer::Consumer;
use crate::consumer::partition::PartitionConsumer;
use crate::error::ClientError;

/// Requests for the last message that have no answer yet.
pub(super) type LastAsked = BTreeMap<u64, oneshot::Sender<Result<Last, ClientError>>>;

impl Consumer {
    /// The newest message of each partition that has one, in the order of the partitions, as the brokers
    /// know it now.
    ///
    /// # Errors
    /// What a broker refuses; the last cause when the client's operation time-out is over.
    pub async fn last_message_ids(&self) -> Result<Vec<MessageId>, ClientError> {
        let mut ids = Vec::new();
        for partition in &self.partitions.list {
            let last = self.last_of(partition).await?;
            ids.extend(last.last.map(|last| MessageId {
                term: last.term,
                offset: last.offset,
                partition: partition.partition,
                index: i32::try_from(last.index).unwrap_or(i32::MAX),
            }));
        }
        Ok(ids)
    }

    /// Whether there is a message behind the newest that this consumer was handed, or, of a partition of which
    /// it was handed none, behind the subscription's mark: here already, or at the broker. Of a shared
    /// subscription it may come to another consumer; a [delayed](crate::Message::deliver_at) one counts
    /// before it is due.
    ///
    /// # Errors
    /// As [`last_message_ids`](Self::last_message_ids).
    pub async fn has_message_available(&self) -> Result<bool, ClientError> {
        if self.inbox.lock().has_items() {
            return Ok(true);
        }
        for partition in &self.partitions.list {
            let handed_out = self.inbox.lock().handed_out(partition.lane);
            let last = self.last_of(partition).await?;
            let next = match handed_out {
                Some(newest) => Position {
                    offset: newest.offset,
                    index: newest.index + 1,
                },
                None => last.mark,
            };
            let is_behind = |it: hulse_wire::LastMessage| {
                let at = Position {
                    offset: it.offset,
                    index: it.index,
                };
                at >= next
            };
            if last.last.is_some_and(is_behind) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks until there is an answer.
    async fn last_of(&self, partition: &PartitionConsumer) -> Result<Last, ClientError> {
        let mut attempts = Attempts::new(self.client.operation_timeout);
        loop {
            let deadline = attempts.answer_by(self.client.operation_timeout);
            let after = self.client.operation_timeout;
            let cause = match partition.ask_last() {
                Ok(answer) => match timeout_at(deadline, answer).await {
                    Ok(Ok(Ok(last))) => return Ok(last),
                    Ok(Ok(Err(refused))) => refused,
                    Ok(Err(_)) => partition
                        .last_cause()
                        .unwrap_or(ClientError::Timeout { after }),
                    Err(_) => ClientError::Timeout { after },
                },
                Err(cause) => cause,
            };
            attempts.pause(cause).await?;
        }
    }
}

impl PartitionConsumer {
    /// Asks the broker for the last message. The answer comes over the channel, which is closed when
    /// the stream is lost.
    fn ask_last(&self) -> Result<oneshot::Receiver<Result<Last, ClientError>>, ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let after = self.client.operation_timeout;
        let Some(link) = &state.link else {
            let cause = state.last_cause.clone();
            return Err(cause.unwrap_or(ClientError::Timeout { after }));
        };
        let correlation = link.slot.connection().correlation();
        link.slot
            .send(correlation, &Request::GetLast, &Bytes::new())?;
        let (done, answer) = oneshot::channel();
        state.last_asked.insert(correlation, done);
        Ok(answer)
    }
}
