//! Consumers: messages out, acknowledgements back.

mod acknowledging;
mod acks;
mod activity;
mod auto_commit;
mod builder;
mod dead_letters;
mod delivery;
mod growth;
mod handle;
mod inbox;
mod last;
mod partition;
mod receive;
mod received;
mod redelivery;
mod seen;
mod shared;
mod stream;
mod supervisor;
mod turn;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hulse_model::{MessageId, Offset, Position};
use hulse_wire::{AckRange, SubscriptionType};
use tokio::time::{Instant, timeout_at};

use crate::attempts::Attempts;
use crate::client::ClientShared;
use crate::error::ClientError;
use crate::partitions::Partitions;
use acknowledging::Reach;
use activity::ActivePartitions;
use auto_commit::AutoCommit;
pub use builder::ConsumerBuilder;
pub use dead_letters::DeadLetterPolicy;
use dead_letters::{DeadLetters, range};
pub use handle::AckHandle;
use partition::PartitionConsumer;
pub use received::Received;
use shared::SharedInbox;

/// Where a subscription is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The oldest message that there is, on every partition.
    Earliest,
    /// Behind the newest message, on every partition.
    Latest,
    /// Before this message, on its partition alone. An index of -1 means the entry's first one.
    Position(MessageId),
    /// Before the first message that was stored at or after this time, on every partition:
    /// milliseconds since 1970.
    Time(u64),
}

impl SeekTo {
    /// The same for one partition; `None` when that one stays where it is.
    pub(crate) fn on(self, partition: i32) -> Option<hulse_wire::SeekTo> {
        Some(match self {
            Self::Earliest => hulse_wire::SeekTo::Earliest,
            Self::Latest => hulse_wire::SeekTo::Latest,
            Self::Time(ms) => hulse_wire::SeekTo::Time(ms),
            Self::Position(id) if id.partition == partition => {
                let index = u32::try_from(id.index).unwrap_or(0);
                hulse_wire::SeekTo::Position(Position {
                    offset: id.offset,
                    index,
                })
            }
            Self::Position(_) => return None,
        })
    }
}

/// Where one partition of a subscription stood when its consumer was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMarks {
    /// The partition; -1 for a topic without partitions.
    pub partition: i32,
    /// Everything before it was acknowledged.
    pub mark: Position,
    /// The oldest entry that there was.
    pub log_start: Offset,
    /// The offset behind the newest entry that could be delivered.
    pub high_watermark: Offset,
    /// The subscription was created by this consumer.
    pub created: bool,
}

/// Receives the messages of a subscription.
///
/// ```no_run
/// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
/// let consumer = client.consumer("orders", "billing").build().await?;
/// loop {
///     let message = consumer.receive().await?;
///     println!("{}: {} bytes", message.message_id(), message.value().len());
///     consumer.acknowledge(&message.message_id())?;
/// }
/// # }
/// ```
///
/// # What arrives, and how often
/// Of an exclusive or failover subscription, messages of one partition come in order; of several
/// partitions, as they arrive. Of a shared subscription each consumer gets a part of them, in any
/// order. What is not acknowledged comes again: to the subscription's other consumers when this one
/// goes, and to any of them, this one too, when it is
/// [wanted again](Self::negative_acknowledge). Over lost connections the consumer of an exclusive
/// subscription hands a message out once only: see [`ConsumerBuilder::skip_seen`].
///
/// # Failover
/// One consumer at a time is the active one of a partition, and gets its messages; the others wait
/// to take over: see [`active_partitions`](Self::active_partitions). When it is not active any
/// more, what it has been sent is dropped here, since it comes to another. To acknowledge what it
/// has handed out before moves nothing from then on: with a receipt it fails with
/// [`ClientError::NotActive`], without one nothing is said.
///
/// # Acknowledging
/// An acknowledgement goes out with the next write of its connection, together with all others
/// that were made meanwhile. It is kept until the broker has confirmed it, and sent again after a
/// lost connection. A message is certain not to come again once the receipt is there
/// ([`acknowledge_with_receipt`](Self::acknowledge_with_receipt)).
///
/// # Failure
/// A lost connection is opened again for as long as it takes. While that lasts,
/// [`receive`](Self::receive) gives the cause once per operation time-out of the client, and may be
/// called again. Other errors are told there too; each says what it means.
#[must_use = "a consumer that is dropped is closed"]
pub struct Consumer {
    partitions: OwnPartitions,
    inbox: Arc<SharedInbox>,
    client: Arc<ClientShared>,
    active: ActivePartitions,
    dead_letters: Option<DeadLetters>,
    auto_commit: Option<Arc<AutoCommit>>,
    kind: SubscriptionType,
    durable: bool,
    negative_ack_delay: Duration,
    /// Whether acknowledgements are waited for.
    ack_timeout: bool,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("partitions", &self.partitions.len())
            .finish_non_exhaustive()
    }
}

/// The partitions of a consumer; dropped, they end.
struct OwnPartitions(Arc<Partitions<PartitionConsumer>>);

impl std::ops::Deref for OwnPartitions {
    type Target = Partitions<PartitionConsumer>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for OwnPartitions {
    fn drop(&mut self) {
        for partition in self.0.abort() {
            partition.fail(&ClientError::Closed);
        }
    }
}

impl Consumer {
    /// Where every partition of the subscription stood when the consumer was built, in the order
    /// of their numbers. Its high watermarks say what there was to receive at that moment.
    #[must_use]
    pub fn marks(&self) -> Vec<PartitionMarks> {
        let marks = |partition: &Arc<PartitionConsumer>| {
            let subscribed = partition.marks()?;
            Some(PartitionMarks {
                partition: partition.partition,
                mark: subscribed.mark,
                log_start: subscribed.log_start,
                high_watermark: subscribed.high_watermark,
                created: subscribed.created,
            })
        };
        self.partitions.now().iter().filter_map(marks).collect()
    }

    /// Number of partitions that it receives from. It rises when the topic grows.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions whose messages come to this consumer, rising: of a failover subscription those
    /// whose active consumer it is, of any other all of them. A topic without partitions has the
    /// partition -1.
    #[must_use]
    pub fn active_partitions(&self) -> Vec<i32> {
        self.active.get()
    }

    /// Whether the messages of at least one partition come to this consumer.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.active_partitions().is_empty()
    }

    /// Waits until the active partitions are others than `known`, and gives them. A change between
    /// two calls is not missed:
    ///
    /// ```no_run
    /// # async fn example(consumer: hulse_client::Consumer) {
    /// let mut active = consumer.active_partitions();
    /// loop {
    ///     println!("the messages of these partitions come here: {active:?}");
    ///     active = consumer.active_changed(&active).await;
    /// }
    /// # }
    /// ```
    pub async fn active_changed(&self, known: &[i32]) -> Vec<i32> {
        self.active.other_than(known).await
    }

    /// Acknowledges one message, or with an index of -1 all messages of its entry, without waiting
    /// for a receipt.
    ///
    /// # Errors
    /// When the id is not of this consumer's topic, or the consumer is closed.
    pub fn acknowledge(&self, id: &MessageId) -> Result<(), ClientError> {
        self.ack(id, Reach::Range, false).map(|_| ())
    }

    /// Acknowledges everything of the id's partition up to this message, which is included; with
    /// an index of -1 up to the end of its entry. Without waiting for a receipt.
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge); and on a shared or key-shared subscription, where what
    /// lies before a message is not all this consumer's.
    pub fn acknowledge_cumulative(&self, id: &MessageId) -> Result<(), ClientError> {
        self.ack(id, Reach::UpTo, false).map(|_| ())
    }

    /// As [`acknowledge`](Self::acknowledge). The handle waits until it is durable.
    pub fn acknowledge_with_receipt(&self, id: &MessageId) -> AckHandle {
        self.ack_handle(id, Reach::Range)
    }

    /// As [`acknowledge_cumulative`](Self::acknowledge_cumulative). The handle waits until it is
    /// durable.
    pub fn acknowledge_cumulative_with_receipt(&self, id: &MessageId) -> AckHandle {
        self.ack_handle(id, Reach::UpTo)
    }

    /// As [`acknowledge`](Self::acknowledge), for many messages. The handles, one for each partition
    /// that they come from, wait until all of them are durable.
    pub fn acknowledge_all_with_receipt<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i MessageId>,
    ) -> Vec<AckHandle> {
        let mut ranges: BTreeMap<i32, Vec<AckRange>> = BTreeMap::new();
        for id in ids {
            ranges.entry(id.partition).or_default().push(range(*id));
        }
        let acknowledge = |(number, ranges): (i32, Vec<AckRange>)| {
            let partition = self.partition(number);
            AckHandle::new(partition.and_then(|it| it.acknowledge_all(&ranges)))
        };
        ranges.into_iter().map(acknowledge).collect()
    }

    /// Says that a message could not be dealt with and is to come again, after
    /// [`ConsumerBuilder::negative_ack_delay`]. To acknowledge it until then takes that back.
    ///
    /// The broker delivers entries: the message's whole batch comes again, without the messages of
    /// it that are acknowledged, and with a higher [`Received::redelivery_count`]. Of a shared
    /// subscription it comes to any of the consumers. An exclusive or failover subscription keeps
    /// its order: the broker delivers again everything that is not acknowledged, in order. With [`ConsumerBuilder::skip_seen`], which an exclusive subscription has, only
    /// the entries that were wanted again are then handed out again; without it all of it is.
    ///
    /// When the connection is lost meanwhile, the message comes again with everything else that is
    /// not acknowledged, and the delay is over.
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge).
    pub fn negative_acknowledge(&self, id: &MessageId) -> Result<(), ClientError> {
        let partition = self.partition(id.partition)?;
        if let Some(commit) = &self.auto_commit {
            if !self.kind.is_shared() {
                return Err(ClientError::invalid(
                    "a consumer that acknowledges by itself, in order, has no negative \
                     acknowledgements: move it back with seek",
                ));
            }
            commit.not_done(*id);
        }
        partition.negative(range(*id), self.negative_ack_delay)
    }

    /// Says that a message that was handed out is not done with, so that a consumer with
    /// [`ConsumerBuilder::auto_commit`] does not acknowledge it by itself, nor, on an exclusive or failover
    /// subscription, anything behind it until it is [moved](Self::seek).
    pub fn not_done(&self, id: &MessageId) {
        if let Some(commit) = &self.auto_commit {
            commit.not_done(*id);
        }
    }

    /// Acknowledges now what a consumer with [`ConsumerBuilder::auto_commit`] would acknowledge when its
    /// interval is over.
    pub fn commit(&self) {
        if let Some(commit) = &self.auto_commit {
            commit.commit();
        }
    }

    fn ack_handle(&self, id: &MessageId, reach: Reach) -> AckHandle {
        let receipt = self.ack(id, reach, true);
        AckHandle::new(receipt.and_then(|receipt| receipt.ok_or(ClientError::Closed)))
    }

    fn ack(
        &self,
        id: &MessageId,
        reach: Reach,
        receipt: bool,
    ) -> Result<Option<acks::AckReceipt>, ClientError> {
        if reach == Reach::UpTo && self.kind.is_shared() {
            return Err(ClientError::invalid(
                "messages of a shared subscription are acknowledged one by one: what lies before \
                 one is not all this consumer's",
            ));
        }
        let partition = self.partition(id.partition)?;
        partition.acknowledge(range(*id), reach, receipt)
    }

    fn partition(&self, number: i32) -> Result<Arc<PartitionConsumer>, ClientError> {
        self.partitions
            .now()
            .iter()
            .find(|partition| partition.partition == number)
            .map(Arc::clone)
            .ok_or_else(|| ClientError::invalid(format!("this consumer has no partition {number}")))
    }

    /// Moves the subscription: what is received afterwards begins there. What was received before
    /// and is not acknowledged is forgotten here; acknowledgements that were made are sent first.
    ///
    /// It also leads past damaged entries: see [`ClientError::DataCorrupted`].
    ///
    /// # Errors
    /// What the broker refuses; the last cause when the client's operation time-out is over.
    pub async fn seek(&self, to: SeekTo) -> Result<(), ClientError> {
        if !self.durable {
            return Err(ClientError::invalid(
                "a subscription that is not kept cannot be moved: build another one where it is to begin",
            ));
        }
        if let SeekTo::Position(id) = to {
            self.partition(id.partition)?;
        }
        if let Some(commit) = &self.auto_commit {
            commit.commit();
            commit.clear();
        }
        for partition in self.partitions.all() {
            if let Some(to) = to.on(partition.partition) {
                self.seek_one(&partition, to).await?;
            }
        }
        Ok(())
    }

    async fn seek_one(
        &self,
        partition: &PartitionConsumer,
        to: hulse_wire::SeekTo,
    ) -> Result<(), ClientError> {
        let mut attempts = Attempts::new(self.client.operation_timeout);
        loop {
            let deadline = attempts.answer_by(self.client.operation_timeout);
            // An acknowledgement that came after the move would undo a part of it.
            confirm(partition, deadline).await?;
            let answer = match partition.begin_seek(to) {
                Ok(answer) => timeout_at(deadline, answer).await,
                Err(cause) => {
                    attempts.pause(self.passing(cause)).await?;
                    continue;
                }
            };
            let after = self.client.operation_timeout;
            let cause = match answer {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(refused))) => refused,
                Ok(Err(_)) => self.passing(
                    partition
                        .last_cause()
                        .unwrap_or(ClientError::Timeout { after }),
                ),
                Err(_) => ClientError::Timeout { after },
            };
            attempts.pause(cause).await?;
        }
    }

    /// While there is no stream because entries are damaged, one is being opened: to wait for it
    /// is worth while.
    fn passing(&self, cause: ClientError) -> ClientError {
        match cause {
            ClientError::DataCorrupted { .. } => ClientError::Timeout {
                after: self.client.operation_timeout,
            },
            cause => cause,
        }
    }

    /// Waits until every acknowledgement made so far is durable.
    ///
    /// # Errors
    /// As [`AckHandle`].
    pub async fn flush(&self) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.client.operation_timeout;
        let mut outcome = Ok(());
        for partition in self.partitions.all() {
            outcome = outcome.and(confirm(&partition, deadline).await);
        }
        outcome
    }

    /// Waits until every acknowledgement is durable, and closes the consumer on the broker, which
    /// gives what is not acknowledged to the next. Further calls do nothing.
    ///
    /// # Errors
    /// As [`AckHandle`]. The consumer is closed all the same.
    pub async fn close(&self) -> Result<(), ClientError> {
        if let Some(commit) = &self.auto_commit {
            commit.asked();
            commit.commit();
        }
        let flushed = self.flush().await;
        let deadline = Instant::now() + self.client.operation_timeout;
        for partition in self.partitions.end() {
            if let Some(slot) = partition.unlink() {
                // A broker that is gone has no stream to close.
                let _ = slot.close(deadline).await;
            }
            partition.fail(&ClientError::Closed);
        }
        self.inbox.lock().close(ClientError::Closed);
        self.inbox.notify();
        flushed
    }
}

/// Waits for the receipts of all acknowledgements of a partition.
async fn confirm(partition: &PartitionConsumer, deadline: Instant) -> Result<(), ClientError> {
    let started = Instant::now();
    for receipt in partition.open_receipts() {
        match timeout_at(deadline, AckHandle::new(Ok(receipt))).await {
            Ok(confirmed) => confirmed?,
            Err(_) => {
                return Err(ClientError::Timeout {
                    after: started.elapsed(),
                });
            }
        }
    }
    Ok(())
}
