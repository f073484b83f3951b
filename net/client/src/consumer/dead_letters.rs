//! Messages that came too often: published elsewhere, and done with.

use std::sync::Arc;
use std::time::Duration;

use hulse_model::{MessageId, TopicName};
use hulse_wire::AckRange;
use tokio::sync::mpsc::{self, Permit};
use tokio::task::AbortHandle;

use crate::client::{ClientShared, topic_name};
use crate::consumer::acknowledging::Reach;
use crate::consumer::partition::{PartitionConsumer, Settings};
use crate::consumer::received::Received;
use crate::error::ClientError;
use crate::message::Message;
use crate::producer::{Producer, ProducerBuilder, SendHandle};

/// Messages that may wait to be published.
const WAITING_MAX: usize = 1_024;

/// How long a message that could not be published stays away at the least.
const FAILED_DELAY_MIN: Duration = Duration::from_secs(1);

/// What becomes of messages that are delivered again and again.
///
/// A message whose [redelivery count](Received::redelivery_count) is above the limit is not handed
/// out. The consumer publishes it, with its key and value, to another topic, and acknowledges it
/// once that has been acknowledged. So a message is never lost on the way, but it may stand there
/// more than once: at least once is what is guaranteed. What has not been published when the
/// consumer goes comes again to the next one.
///
/// It is [`Consumer::receive`](crate::Consumer::receive) that finds such messages: as long as nobody
/// receives, they wait with the others.
///
/// When it cannot be published, [`Consumer::receive`](crate::Consumer::receive) gives
/// [`ClientError::DeadLetter`] and goes on with the next message; the one that failed comes again
/// after the delay of negative acknowledgements, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPolicy {
    /// How often a message may be delivered again.
    pub max_redeliveries: u32,
    /// Where it is published; `<topic>-<subscription>-DLQ` when this is `None`.
    pub topic: Option<String>,
}

impl DeadLetterPolicy {
    /// A policy with the topic's usual name.
    #[must_use]
    pub const fn new(max_redeliveries: u32) -> Self {
        Self {
            max_redeliveries,
            topic: None,
        }
    }

    /// Its limit and its topic, if a consumer may have it.
    pub(super) fn checked(self, settings: &Settings) -> Result<(u32, TopicName), ClientError> {
        if !settings.kind.is_shared() {
            return Err(ClientError::invalid(
                "dead letters are for shared and key-shared subscriptions: the others keep an \
                 order, in which no message may be left out",
            ));
        }
        let topic = match self.topic {
            Some(topic) => topic_name(&topic)?,
            None => topic_name(&format!("{}-{}-DLQ", settings.topic, settings.subscription))?,
        };
        if topic == settings.topic {
            return Err(ClientError::invalid(
                "dead letters cannot go to the topic that they come from",
            ));
        }
        Ok((self.max_redeliveries, topic))
    }
}

/// The way to the topic of dead letters.
pub(super) struct DeadLetters {
    max_redeliveries: u32,
    queue: mpsc::Sender<Received>,
}

/// Room for one message.
pub(super) type Room<'a> = Permit<'a, Received>;

impl DeadLetters {
    /// Starts the task that publishes them.
    pub(super) fn start(
        max_redeliveries: u32,
        topic: &TopicName,
        client: Arc<ClientShared>,
        partitions: Vec<Arc<PartitionConsumer>>,
    ) -> (Self, AbortHandle) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let publisher = Publisher {
            topic: topic.to_string(),
            client,
            partitions,
            producer: None,
        };
        let task = tokio::spawn(publisher.run(waiting)).abort_handle();
        let letters = Self {
            max_redeliveries,
            queue,
        };
        (letters, task)
    }

    /// Whether a message came too often.
    pub(super) const fn takes(&self, message: &Received) -> bool {
        message.redelivery_count() > self.max_redeliveries
    }

    /// Waits until there is room for one.
    pub(super) async fn room(&self) -> Result<Room<'_>, ClientError> {
        let room = self.queue.reserve().await;
        room.map_err(|_| ClientError::Closed)
    }

    /// Room for one, if there is some.
    pub(super) fn room_now(&self) -> Option<Room<'_>> {
        self.queue.try_reserve().ok()
    }
}

/// What publishes dead letters.
struct Publisher {
    topic: String,
    client: Arc<ClientShared>,
    partitions: Vec<Arc<PartitionConsumer>>,
    /// Made when it is needed first, and again after a failure.
    producer: Option<Producer>,
}

impl Publisher {
    async fn run(mut self, mut waiting: mpsc::Receiver<Received>) {
        let mut letters = Vec::new();
        let mut sent = Vec::new();
        while waiting.recv_many(&mut letters, WAITING_MAX).await > 0 {
            let mut failure: Option<ClientError> = None;
            for letter in letters.drain(..) {
                let id = letter.message_id();
                // What has just failed need not be tried for each of many.
                let handle = match failure.take() {
                    Some(cause) => Err(cause),
                    None => self.send(&letter).await,
                };
                match handle {
                    Ok(handle) => sent.push((id, handle)),
                    Err(cause) => failure = Some(self.failed(id, cause)),
                }
            }
            for (id, handle) in sent.drain(..) {
                match handle.await {
                    Ok(_) => self.done(id),
                    Err(cause) => failure = Some(self.failed(id, cause)),
                }
            }
            if failure.is_some() {
                self.producer = None;
            }
        }
    }

    async fn send(&mut self, letter: &Received) -> Result<SendHandle, ClientError> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => {
                let builder = ProducerBuilder::new(Arc::clone(&self.client), &self.topic);
                none.insert(builder.build().await?)
            }
        };
        producer
            .send(Message {
                key: letter.key(),
                value: letter.value(),
                deliver_at_ms: None,
            })
            .await
    }

    /// It is stored: the message is done with.
    fn done(&self, id: MessageId) {
        if let Some((partition, range)) = self.place(id) {
            // It is kept until the broker has confirmed it. A consumer that has been closed leaves
            // the message to the next, which publishes it again.
            let _ = partition.acknowledge(range, Reach::Range, false);
        }
    }

    /// It is not stored, or nobody knows: it comes again later, and is tried again.
    fn failed(&self, id: MessageId, cause: ClientError) -> ClientError {
        let Some((partition, range)) = self.place(id) else {
            return cause;
        };
        let delay = partition.settings.negative_ack_delay.max(FAILED_DELAY_MIN);
        // As above.
        let _ = partition.negative(range, delay);
        let error = ClientError::DeadLetter {
            topic: self.topic.clone(),
            cause: Arc::new(cause.clone()),
        };
        partition.inbox.lock().trouble(partition.lane, error);
        partition.inbox.notify();
        cause
    }

    fn place(&self, id: MessageId) -> Option<(&Arc<PartitionConsumer>, AckRange)> {
        let mut partitions = self.partitions.iter();
        let partition = partitions.find(|partition| partition.partition == id.partition)?;
        Some((partition, range(id)))
    }
}

/// The messages that an id stands for: one, or with an index of -1 all of its entry.
pub(super) fn range(id: MessageId) -> AckRange {
    match u32::try_from(id.index) {
        Ok(index) => AckRange::message(id.offset, index),
        Err(_) => AckRange::entry(id.offset),
    }
}
