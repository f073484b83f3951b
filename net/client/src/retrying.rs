//! Messages that are tried again later, by way of a topic of their own.

mod envelope;

use std::time::Duration;

use hulse_model::MessageId;
use tokio::sync::Mutex;

use crate::client::Client;
use crate::consumer::{AckHandle, Consumer, ConsumerBuilder, Received};
use crate::error::ClientError;
use crate::message::Message;
use crate::producer::Producer;
use envelope::Envelope;

/// How often a message is tried again, and where it waits until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a message may be tried again. The next time it goes to the topic of dead letters.
    pub max_retries: u32,
    /// Where messages wait to be tried again; `<topic>-<subscription>-RETRY` when this is `None`.
    pub retry_topic: Option<String>,
    /// Where they go in the end; `<topic>-<subscription>-DLQ` when this is `None`.
    pub dead_letter_topic: Option<String>,
}

impl RetryPolicy {
    /// A policy with the topics' usual names.
    #[must_use]
    pub const fn new(max_retries: u32) -> Self {
        Self {
            max_retries,
            retry_topic: None,
            dead_letter_topic: None,
        }
    }
}

/// What became of a message that was to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconsumed {
    /// It is tried again.
    Later,
    /// It was tried too often, and is a dead letter.
    DeadLetter,
}

/// A message, and how often it was tried before.
#[derive(Debug, Clone)]
pub struct Attempt {
    received: Received,
    /// What stands before the value of a message that was tried before.
    envelope: Option<Envelope>,
    from_retry_topic: bool,
}

impl Attempt {
    /// The value, as it was sent first.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        let value = self.received.value();
        let before = self.envelope.map_or(0, |_| envelope::BYTES);
        &value[before..]
    }

    /// The key, if the message has one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.received.key()
    }

    /// How often [`RetryingConsumer::reconsume_later`] has put it off.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.envelope.map_or(0, |envelope| envelope.retries)
    }

    /// The id under which it was stored first.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        let original = self.envelope.map(|envelope| envelope.original);
        original.unwrap_or_else(|| self.received.message_id())
    }

    /// The message as it came: of one that was tried before, from the retry topic.
    #[must_use]
    pub const fn received(&self) -> &Received {
        &self.received
    }
}

/// A consumer of a topic and of the topic where its messages wait to be tried again.
///
/// ```no_run
/// # use std::time::Duration;
/// # use hulse_client::{RetryPolicy, SubscriptionType};
/// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
/// # fn deal_with(value: &[u8]) -> bool { value.is_empty() }
/// let consumer = client
///     .consumer("orders", "billing")
///     .subscription_type(SubscriptionType::Shared)
///     .build_retrying(RetryPolicy::new(5))
///     .await?;
/// loop {
///     let order = consumer.receive().await?;
///     if deal_with(order.value()) {
///         consumer.acknowledge(&order)?;
///     } else {
///         consumer.reconsume_later(&order, Duration::from_secs(60)).await?;
///     }
/// }
/// # }
/// ```
///
/// # What it guarantees
/// A message that is put off is published to the retry topic with a time at which it is due, and
/// acknowledged with a receipt once that copy is stored. So it is never lost on the way; when the program
/// or the broker dies between the two, it is tried once more than it should be. It has left the order of its
/// key, as every message with a time has.
///
/// # How tries are counted
/// Messages have no properties. Before the value of a message in the retry topic stand 40 bytes: how often it was
/// put off, and the id under which it was stored first. This consumer takes them off again, and dead
/// letters are without them; whoever else reads a retry topic sees them. A value may be so much shorter than
/// the largest.
#[must_use = "a consumer that is dropped is closed"]
#[derive(Debug)]
pub struct RetryingConsumer {
    main: Consumer,
    retries: Consumer,
    max_retries: u32,
    retry: Outlet,
    dead_letters: Outlet,
}

/// A topic that messages are published to.
#[derive(Debug)]
struct Outlet {
    client: Client,
    topic: String,
    /// Made when it is needed first, and again after a failure.
    producer: Mutex<Option<Producer>>,
}

impl Outlet {
    /// Publishes a message, and waits until it is stored.
    async fn publish(&self, message: Message<'_>) -> Result<(), ClientError> {
        let mut slot = self.producer.lock().await;
        let producer = match &mut *slot {
            Some(producer) => producer,
            none => none.insert(self.client.producer(&self.topic).build().await?),
        };
        let sent = producer.send(message).await;
        drop(slot);
        let stored = match sent {
            Ok(handle) => handle.await.map(|_| ()),
            Err(cause) => Err(cause),
        };
        // A copy that was stored before, by a try whose answer was lost, is as good.
        let stored = match stored {
            Err(ClientError::IdForgotten { .. }) => Ok(()),
            stored => stored,
        };
        if let Err(ClientError::ProducerFailed { .. } | ClientError::Closed) = stored {
            *self.producer.lock().await = None;
        }
        stored
    }
}

impl RetryingConsumer {
    /// Subscribes to both topics.
    pub(crate) async fn build(
        client: Client,
        builder: ConsumerBuilder,
        policy: RetryPolicy,
    ) -> Result<Self, ClientError> {
        let (topic, subscription) = builder.checked_for_retries()?;
        let usual = |end: &str| format!("{topic}-{subscription}-{end}");
        let retry_topic = policy.retry_topic.unwrap_or_else(|| usual("RETRY"));
        let dead_letters = policy.dead_letter_topic.unwrap_or_else(|| usual("DLQ"));
        if retry_topic == dead_letters || [&retry_topic, &dead_letters].contains(&&topic) {
            return Err(ClientError::invalid(
                "the topic, its retry topic and its topic of dead letters are three",
            ));
        }
        let of_retries = builder.clone().of_topic(&retry_topic);
        let outlet = |topic: String| Outlet {
            client: client.clone(),
            topic,
            producer: Mutex::new(None),
        };
        Ok(Self {
            main: builder.build().await?,
            retries: of_retries.build().await?,
            max_retries: policy.max_retries,
            retry: outlet(retry_topic),
            dead_letters: outlet(dead_letters),
        })
    }

    /// The next message of either topic. Waits until there is one; to drop the future loses none.
    ///
    /// # Errors
    /// As [`Consumer::receive`].
    pub async fn receive(&self) -> Result<Attempt, ClientError> {
        let (received, from_retry_topic) = tokio::select! {
            received = self.main.receive() => (received?, false),
            received = self.retries.receive() => (received?, true),
        };
        let envelope = Some(received.value())
            .filter(|_| from_retry_topic)
            .and_then(Envelope::read);
        Ok(Attempt {
            received,
            envelope,
            from_retry_topic,
        })
    }

    /// Acknowledges a message, without waiting for a receipt.
    ///
    /// # Errors
    /// As [`Consumer::acknowledge`].
    pub fn acknowledge(&self, attempt: &Attempt) -> Result<(), ClientError> {
        self.source(attempt)
            .acknowledge(&attempt.received.message_id())
    }

    /// Acknowledges a message. The handle waits until that is durable.
    pub fn acknowledge_with_receipt(&self, attempt: &Attempt) -> AckHandle {
        self.source(attempt)
            .acknowledge_with_receipt(&attempt.received.message_id())
    }

    /// Has a message come again by the broker's redelivery, which is not counted as a try: see
    /// [`Consumer::negative_acknowledge`].
    ///
    /// # Errors
    /// As [`Consumer::negative_acknowledge`].
    pub fn negative_acknowledge(&self, attempt: &Attempt) -> Result<(), ClientError> {
        self.source(attempt)
            .negative_acknowledge(&attempt.received.message_id())
    }

    /// Puts a message off: it comes again after `delay`, to any consumer of the subscription that has
    /// retries. When it was put off as often as it may, it becomes a dead letter. Returns when the copy is
    /// stored and the message is acknowledged with a receipt.
    ///
    /// # Errors
    /// Why the copy is not stored, or the message is not acknowledged. The message is then still this
    /// consumer's: try again, or acknowledge it negatively.
    pub async fn reconsume_later(
        &self,
        attempt: &Attempt,
        delay: Duration,
    ) -> Result<Reconsumed, ClientError> {
        let message = |value| Message {
            key: attempt.key(),
            value,
            deliver_at_ms: None,
        };
        let outcome = if attempt.retries() >= self.max_retries {
            self.dead_letters.publish(message(attempt.value())).await?;
            Reconsumed::DeadLetter
        } else {
            let envelope = Envelope {
                retries: attempt.retries() + 1,
                original: attempt.message_id(),
            };
            let value = envelope.around(attempt.value());
            let later = message(&value).deliver_after(delay);
            self.retry.publish(later).await?;
            Reconsumed::Later
        };
        self.acknowledge_with_receipt(attempt).await?;
        Ok(outcome)
    }

    /// Waits until every acknowledgement is durable, and closes the consumer.
    ///
    /// # Errors
    /// As [`Consumer::close`].
    pub async fn close(&self) -> Result<(), ClientError> {
        let main = self.main.close().await;
        let retries = self.retries.close().await;
        main.and(retries)
    }

    /// The consumer that a message came from.
    const fn source(&self, attempt: &Attempt) -> &Consumer {
        if attempt.from_retry_topic {
            &self.retries
        } else {
            &self.main
        }
    }
}
