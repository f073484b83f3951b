//! Topics, subscriptions and the broker's state.

mod tenancy;

use std::sync::Arc;

use hulse_model::TopicName;
use hulse_model::{Status, SubscriptionName};
use hulse_wire::json::{BrokerStatus, SubscriptionList, TopicDescription, TopicList};
use hulse_wire::{AckLevel, CreateTopic, Reply, Request, Seek, SubscriptionRef};
use serde::de::DeserializeOwned;

use crate::attempts::Attempts;
use crate::client::{ClientShared, subscription_name, topic_name};
use crate::connection::Answer;
use crate::consumer::SeekTo;
use crate::error::ClientError;

/// What a new topic is to be like. What is left at 0 or empty is the broker's default.
///
/// ```
/// use hulse_client::{AckLevel, TopicSpec};
///
/// let spec = TopicSpec { partitions: 4, ack: AckLevel::Memory, ..TopicSpec::default() };
/// assert_eq!(spec.replicas, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Number of partitions; 0 for a topic without partitions.
    pub partitions: u32,
    /// Number of copies of each.
    pub replicas: u32,
    /// Names of the regions that hold them.
    pub regions: Vec<String>,
    /// What an acknowledgement means.
    pub ack: AckLevel,
    /// The fewest members that the in-sync set may shrink to.
    pub min_isr: u32,
}

impl Default for TopicSpec {
    fn default() -> Self {
        Self {
            partitions: 0,
            replicas: 0,
            regions: Vec::new(),
            ack: AckLevel::Default,
            min_isr: 0,
        }
    }
}

/// Administration. Any of the client's servers carries it out.
///
/// ```no_run
/// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
/// use hulse_client::TopicSpec;
///
/// let admin = client.admin();
/// admin.create_topic("orders", &TopicSpec { partitions: 4, ..TopicSpec::default() }).await?;
/// for name in admin.list_topics().await?.topics {
///     println!("{name}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Every call fails with what the broker refuses for good, with an answer that is no JSON of the
/// expected kind ([`ClientError::Corrupt`]), or with the last cause when the client's operation
/// time-out is over.
#[derive(Clone)]
pub struct Admin {
    client: Arc<ClientShared>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// What one request came to.
struct Outcome {
    answer: Result<Answer, ClientError>,
    /// An earlier attempt ended without an answer, so it may have been carried out.
    repeated: bool,
}

impl Admin {
    pub(crate) const fn new(client: Arc<ClientShared>) -> Self {
        Self { client }
    }

    /// Creates a topic and describes it.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_EXISTS` when there is one of this name.
    pub async fn create_topic(
        &self,
        topic: &str,
        spec: &TopicSpec,
    ) -> Result<TopicDescription, ClientError> {
        let request = hulse_wire::Admin::CreateTopic(CreateTopic {
            topic: topic_name(topic)?,
            partitions: spec.partitions,
            replicas: spec.replicas,
            regions: spec.regions.iter().map(String::as_str).collect(),
            ack: spec.ack,
            min_isr: spec.min_isr,
        });
        let outcome = self.ask(Request::Admin(request)).await;
        match outcome.answer {
            Ok(answer) => json(&answer),
            // The attempt whose answer was lost has most likely created it.
            Err(error) if outcome.repeated && error.status() == Some(Status::TopicExists) => {
                self.describe_topic(topic).await
            }
            Err(error) => Err(error),
        }
    }

    /// Names all topics.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_topics(&self) -> Result<TopicList, ClientError> {
        self.read(hulse_wire::Admin::ListTopics).await
    }

    /// Describes a topic, its partitions and their subscriptions.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_NOT_FOUND`.
    pub async fn describe_topic(&self, topic: &str) -> Result<TopicDescription, ClientError> {
        self.read(hulse_wire::Admin::DescribeTopic {
            topic: topic_name(topic)?,
        })
        .await
    }

    /// Deletes a topic with everything that it holds.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_NOT_FOUND`.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        let request = hulse_wire::Admin::DeleteTopic {
            topic: topic_name(topic)?,
        };
        done(
            self.ask(Request::Admin(request)).await,
            Status::TopicNotFound,
        )
    }

    /// Describes the broker.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn status(&self) -> Result<BrokerStatus, ClientError> {
        self.read(hulse_wire::Admin::Status).await
    }

    /// Describes the subscriptions of a topic.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_NOT_FOUND`.
    pub async fn list_subscriptions(&self, topic: &str) -> Result<SubscriptionList, ClientError> {
        self.read(hulse_wire::Admin::ListSubscriptions {
            topic: topic_name(topic)?,
        })
        .await
    }

    /// Deletes a subscription from every partition of a topic.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_NOT_FOUND`, `SUBSCRIPTION_NOT_FOUND`; `CONSUMER_BUSY` while it has a
    /// consumer.
    pub async fn delete_subscription(
        &self,
        topic: &str,
        subscription: &str,
    ) -> Result<(), ClientError> {
        let request = hulse_wire::Admin::DeleteSubscription {
            topic: topic_name(topic)?,
            subscription: subscription_name(subscription)?,
        };
        done(
            self.ask(Request::Admin(request)).await,
            Status::SubscriptionNotFound,
        )
    }

    /// Moves a subscription, on every partition or on the one that a position names.
    ///
    /// # Errors
    /// See [`Admin`]; `TOPIC_NOT_FOUND`, `SUBSCRIPTION_NOT_FOUND`.
    pub async fn seek_subscription(
        &self,
        topic: &str,
        subscription: &str,
        to: SeekTo,
    ) -> Result<(), ClientError> {
        let topic = topic_name(topic)?;
        let subscription = subscription_name(subscription)?;
        let mut attempts = Attempts::new(self.client.operation_timeout);
        loop {
            match self.try_seek(&topic, &subscription, to, &attempts).await {
                Ok(()) => return Ok(()),
                Err(cause) => attempts.pause(cause).await?,
            }
        }
    }

    /// Moves the subscription on every partition, each at its owner.
    async fn try_seek(
        &self,
        topic: &TopicName,
        subscription: &SubscriptionName,
        to: SeekTo,
        attempts: &Attempts,
    ) -> Result<(), ClientError> {
        let deadline = attempts.answer_by(self.client.operation_timeout);
        let client = &self.client;
        let places = client
            .lookup
            .ask(&client.pool, topic, false, deadline)
            .await?;
        let mut moved = false;
        for place in places.all() {
            let Some(to) = to.on(place.partition) else {
                continue;
            };
            let named = SubscriptionRef {
                topic: places.topic().clone(),
                partition: place.partition,
                subscription: subscription.clone(),
            };
            let request = Request::Seek(Seek {
                to,
                subscription: Some(named),
            });
            let connection = client.pool.get(&place.address).await?;
            let answer = connection.request(0, &request, deadline).await?;
            if !matches!(answer.reply()?, Reply::Done) {
                return Err(answer.unexpected());
            }
            moved = true;
        }
        if moved {
            Ok(())
        } else {
            Err(ClientError::invalid("the topic has no such partition"))
        }
    }

    /// Asks for something that changes nothing, so that it may be asked any number of times.
    async fn read<T: DeserializeOwned>(
        &self,
        request: hulse_wire::Admin<'_>,
    ) -> Result<T, ClientError> {
        json(&self.ask(Request::Admin(request)).await.answer?)
    }

    async fn ask(&self, request: Request<'_>) -> Outcome {
        let mut attempts = Attempts::new(self.client.operation_timeout);
        let mut repeated = false;
        loop {
            let deadline = attempts.answer_by(self.client.operation_timeout);
            let answer = match self.client.pool.any().await {
                Ok(connection) => connection.request(0, &request, deadline).await,
                Err(error) => Err(error),
            };
            let Err(cause) = answer else {
                return Outcome { answer, repeated };
            };
            repeated |= cause.is_ambiguous();
            if let Err(cause) = attempts.pause(cause).await {
                return Outcome {
                    answer: Err(cause),
                    repeated,
                };
            }
        }
    }
}

/// Reads the JSON of an answer.
fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    match answer.reply()? {
        Reply::AdminDone(done) => {
            serde_json::from_slice(done.json).map_err(|error| answer.invalid(&error))
        }
        _ => Err(answer.unexpected()),
    }
}

/// A deletion is done when it was carried out, or an earlier attempt has left nothing to delete.
fn done(outcome: Outcome, gone: Status) -> Result<(), ClientError> {
    match outcome.answer {
        Ok(answer) => match answer.reply()? {
            Reply::AdminDone(_) | Reply::Done => Ok(()),
            _ => Err(answer.unexpected()),
        },
        Err(error) if outcome.repeated && error.status() == Some(gone) => Ok(()),
        Err(error) => Err(error),
    }
}
