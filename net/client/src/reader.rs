//! Readers: a topic from some place on, without a subscription that is kept.

use std::sync::Arc;

use hulse_model::{MessageId, Position};
use hulse_wire::StartFrom;

use crate::client::ClientShared;
use crate::consumer::{Consumer, ConsumerBuilder, PartitionMarks, Received};
use crate::error::ClientError;

/// The settings of a [`Reader`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ReaderBuilder {
    consumer: ConsumerBuilder,
}

impl ReaderBuilder {
    pub(crate) fn new(client: Arc<ClientShared>, topic: &str) -> Self {
        let subscription = format!("reader-{:016x}", rand::random::<u64>());
        let consumer = ConsumerBuilder::new(client, topic, &subscription);
        Self {
            consumer: consumer.durable(false),
        }
    }

    /// Where it begins; at the oldest message unless set. A place within one partition is for a topic
    /// without partitions, or for one partition by its name.
    pub fn start(mut self, start: StartFrom) -> Self {
        self.consumer = self.consumer.start(start);
        self
    }

    /// It begins with this message.
    pub fn start_at(self, id: &MessageId) -> Self {
        // An id of an entry as a whole begins with its first message.
        let index = u32::try_from(id.index).unwrap_or(0);
        self.start(StartFrom::Position(Position {
            offset: id.offset,
            index,
        }))
    }

    /// Its name for people.
    pub fn name(mut self, name: &str) -> Self {
        self.consumer = self.consumer.name(name);
        self
    }

    /// How many messages are sent ahead: see [`ConsumerBuilder::receive_queue`].
    pub fn receive_queue(mut self, messages: u32) -> Self {
        self.consumer = self.consumer.receive_queue(messages);
        self
    }

    /// Opens the reader on every partition of the topic.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::build`].
    pub async fn build(self) -> Result<Reader, ClientError> {
        let consumer = self.consumer.build().await?;
        Ok(Reader { consumer })
    }
}

/// Reads a topic, and acknowledges nothing.
///
/// The broker keeps nothing of it: where it is, it knows itself. When its connection is lost, or the
/// broker restarts, it goes on behind the last message that it gave. It keeps no message from being
/// removed; when it lags behind retention, it goes on with the oldest message that is left.
///
/// ```no_run
/// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
/// let reader = client.reader("orders").build().await?;
/// loop {
///     let message = reader.read().await?;
///     println!("{:?}", message.value());
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a reader that is dropped is closed"]
pub struct Reader {
    consumer: Consumer,
}

impl Reader {
    /// The next message. Waits until there is one; to drop the future loses none.
    ///
    /// # Errors
    /// As [`Consumer::receive`]. What is damaged is not gone past: build another reader behind it.
    pub async fn read(&self) -> Result<Received, ClientError> {
        self.consumer.receive().await
    }

    /// Waits for a message and takes with it what else is there, up to `max` (at least one).
    ///
    /// # Errors
    /// As [`read`](Self::read), and only when there is no message before the error.
    pub async fn read_many(&self, max: usize) -> Result<Vec<Received>, ClientError> {
        self.consumer.receive_many(max).await
    }

    /// Where it began, and how far the partitions went then.
    #[must_use]
    pub fn marks(&self) -> Vec<PartitionMarks> {
        self.consumer.marks()
    }

    /// Closes it.
    ///
    /// # Errors
    /// As [`Consumer::close`].
    pub async fn close(&self) -> Result<(), ClientError> {
        self.consumer.close().await
    }
}
