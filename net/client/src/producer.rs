//! Producers: messages in, message ids back.

mod batcher;
mod budget;
mod builder;
mod growth;
mod handle;
mod partition;
mod queue;
mod route;
mod shared;
mod stream;
mod supervisor;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hulse_model::MessageId;
use hulse_model::batch::BatchError;
use hulse_model::limits::{KEY_BYTES_MAX, MESSAGE_BYTES_MAX};
use tokio::time::Instant;

use crate::client::ClientShared;
use crate::completion::WakerSlot;
use crate::error::ClientError;
use crate::message::Message;
use crate::partitions::Partitions;
pub use builder::ProducerBuilder;
pub use handle::SendHandle;
use partition::{PartitionProducer, Pushed};
use route::Router;
use shared::ProducerShared;

/// Bytes of messages after which a caller that never waits lets others on its thread run: what it
/// has sent until then leaves with one system call.
const YIELD_BYTES: usize = 64 * 1024;
/// The same in messages, however small they are.
const YIELD_MESSAGES: usize = 64;

/// Sends messages to a topic.
///
/// # Sending in two stages
/// [`send`](Self::send) waits only until there is room and gives a [`SendHandle`]; the handle
/// waits until the message is stored. A program that wants throughput sends on and looks at its
/// handles later, or drops them and calls [`flush`](Self::flush).
///
/// ```no_run
/// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
/// let producer = client.producer("orders").name("shop-7").build().await?;
/// let mut handles = Vec::new();
/// for order in ["one", "two", "three"] {
///     handles.push(producer.send(order).await?);
/// }
/// for handle in handles {
///     println!("{}", handle.await?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Order and repetition
/// Messages of one partition are stored in the order in which they were sent, each once: every
/// message has a sequence number, and after a lost connection everything without a receipt is
/// sent again, byte for byte, under the same numbers. What had been stored keeps its id. A
/// producer with a [name](ProducerBuilder::name) of its own goes on with this after a restart of
/// the program: see [`last_sequence`](Self::last_sequence).
///
/// On a topic with partitions each partition numbers for itself. A message goes to the partition
/// that it names ([`Message::to_partition`]); one with a key to the one that the key's hash says
/// (MurmurHash3, as Pulsar's clients have it); others go in turn, batch by batch.
///
/// When the topic grows, the new partitions are used as soon as they are found, within a few
/// seconds. Most keys have another partition from then on.
///
/// # Failure
/// A batch that the broker refuses for good, and has certainly not stored, fails alone. When a
/// message waits for its receipt for longer than the client's operation time-out, or it cannot be
/// known whether a batch is stored, the producer gives up: everything that waits fails with
/// [`ClientError::ProducerFailed`], and so does every later `send`. Build it again then; with a
/// name, it goes on behind the last stored message.
///
/// # Closing
/// [`close`](Self::close) sends what is left and waits for it. A producer that is dropped drops
/// what has not been sent; handles that are left fail with [`ClientError::Closed`].
#[must_use = "a producer that is dropped is closed"]
pub struct Producer {
    partitions: OwnPartitions,
    shared: Arc<ProducerShared>,
    router: Router,
    client: Arc<ClientShared>,
    /// Bytes of messages since the last time that other tasks were let run.
    unyielded_bytes: AtomicUsize,
    /// They are enough, and the last of them completed a batch.
    yield_due: AtomicBool,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("name", &self.name())
            .field("partitions", &self.partitions())
            .finish_non_exhaustive()
    }
}

/// The partitions of a producer; dropped, they end.
struct OwnPartitions(Arc<Partitions<PartitionProducer>>);

impl std::ops::Deref for OwnPartitions {
    type Target = Partitions<PartitionProducer>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for OwnPartitions {
    fn drop(&mut self) {
        for partition in self.0.abort() {
            partition.fail(ClientError::Closed);
        }
    }
}

impl Producer {
    /// The producer's name: the one that was asked for, or the one that the broker gave (of the
    /// first partition, when there are several).
    #[must_use]
    pub fn name(&self) -> String {
        self.partitions
            .now()
            .first()
            .map_or_else(String::new, |partition| partition.name())
    }

    /// Number of partitions that it sends to. It rises when the topic grows.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The highest sequence number that was stored under this producer's name when it was built;
    /// `None` when there was none. The first message after that gets the next number, unless
    /// [`ProducerBuilder::initial_sequence`] says otherwise.
    ///
    /// On a topic with partitions this is the highest of all; see
    /// [`last_sequences`](Self::last_sequences).
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        self.partitions
            .now()
            .iter()
            .filter_map(|partition| partition.last_sequence())
            .max()
    }

    /// The same for every partition: its number (-1 for a topic without partitions) and its
    /// highest sequence number.
    #[must_use]
    pub fn last_sequences(&self) -> Vec<(i32, Option<u64>)> {
        self.partitions
            .now()
            .iter()
            .map(|one| (one.partition, one.last_sequence()))
            .collect()
    }

    /// Takes a message. Waits only while the limits of what is on the way are reached
    /// ([`ProducerBuilder::max_in_flight_bytes`], [`ProducerBuilder::max_in_flight_messages`]).
    ///
    /// When the future is dropped before it is ready, the message has not been taken.
    ///
    /// # Errors
    /// [`ClientError::MessageTooLarge`]; the reason why the producer has failed or was closed.
    pub async fn send<'m>(
        &self,
        message: impl Into<Message<'m>>,
    ) -> Result<SendHandle, ClientError> {
        let message = message.into();
        let bytes = check(&message)?;
        // A caller that never has to wait would keep everything else on its thread from running.
        if self.yield_due.load(Ordering::Relaxed) {
            self.yield_due.store(false, Ordering::Relaxed);
            self.unyielded_bytes.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        if self.shared.budget.take(bytes).await.is_err() {
            return Err(self.shared.failed().unwrap_or(ClientError::Closed));
        }
        let pushed = self.push(&message, bytes);
        if pushed.is_err() {
            self.shared.budget.give_back(1, bytes);
        }
        pushed
    }

    fn push(&self, message: &Message<'_>, bytes: usize) -> Result<SendHandle, ClientError> {
        let partitions = self.partitions.now();
        let count = partitions.len();
        let mut may_turn = message.key.is_none() && message.partition.is_none() && count > 1;
        loop {
            let at = match message.partition {
                None => self.router.route(message.key, count),
                Some(partition) => place(&partitions, partition)?,
            };
            match partitions[at].push(message, bytes, may_turn)? {
                Pushed::Queued { handle, sealed } => {
                    let bytes = bytes.max(YIELD_BYTES / YIELD_MESSAGES);
                    // Callers on several threads may lose a count to each other: it need not be
                    // exact.
                    let unyielded = self.unyielded_bytes.load(Ordering::Relaxed) + bytes;
                    self.unyielded_bytes.store(unyielded, Ordering::Relaxed);
                    if sealed {
                        self.router.turned(at, count);
                        if unyielded >= YIELD_BYTES {
                            self.yield_due.store(true, Ordering::Relaxed);
                        }
                    }
                    return Ok(handle);
                }
                Pushed::Turned => {
                    self.router.turned(at, count);
                    may_turn = false;
                }
            }
        }
    }

    /// Sends a message and waits until it is stored.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`SendHandle`].
    pub async fn send_and_wait<'m>(
        &self,
        message: impl Into<Message<'m>>,
    ) -> Result<MessageId, ClientError> {
        self.send(message).await?.await
    }

    /// Sends what has been taken so far without waiting for more, and waits until all of it is
    /// stored.
    ///
    /// # Errors
    /// The first failure among the messages that had no receipt yet.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let receipts: Vec<_> = self
            .partitions
            .now()
            .iter()
            .flat_map(|partition| partition.seal())
            .collect();
        let mut outcome = Ok(());
        for receipt in receipts {
            let mut slot = WakerSlot::default();
            let stored = poll_fn(|cx| receipt.poll(cx, &mut slot)).await;
            outcome = outcome.and(stored);
        }
        outcome
    }

    /// Takes no more messages, waits until everything is stored, and closes the producer on the
    /// broker. Further calls do nothing.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). The producer is closed all the same.
    pub async fn close(&self) -> Result<(), ClientError> {
        self.shared.budget.close();
        let flushed = self.flush().await;
        let deadline = Instant::now() + self.client.operation_timeout;
        for partition in self.partitions.end() {
            if let Some(slot) = partition.unlink() {
                // Everything is stored; a broker that is gone has no stream to close.
                let _ = slot.close(deadline).await;
            }
            partition.fail(ClientError::Closed);
        }
        flushed
    }
}

/// Where a partition stands among those that there are.
fn place(partitions: &[Arc<PartitionProducer>], number: u32) -> Result<usize, ClientError> {
    let has = |it: &Arc<PartitionProducer>| i64::from(it.partition) == i64::from(number);
    partitions.iter().position(has).ok_or_else(|| {
        ClientError::invalid(format!("the topic has no partition {number}, or not yet"))
    })
}

/// The bytes that a message takes in a batch.
fn check(message: &Message<'_>) -> Result<usize, ClientError> {
    let too_large = |source| Err(ClientError::MessageTooLarge { source });
    let key_bytes = message.key.map_or(0, <[u8]>::len);
    if message.value.len() > MESSAGE_BYTES_MAX {
        return too_large(BatchError::ValueTooLarge {
            bytes: message.value.len(),
        });
    }
    if key_bytes > KEY_BYTES_MAX {
        return too_large(BatchError::KeyTooLarge { bytes: key_bytes });
    }
    Ok(message.encoded().encoded_bytes())
}
