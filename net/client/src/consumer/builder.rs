//! The settings of a consumer.

use std::sync::Arc;
use std::time::Duration;

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_wire::{StartFrom, SubscriptionType};
use tokio::task::JoinSet;

use crate::attempts::Attempts;
use crate::client::{Client, ClientShared, subscription_name, topic_name};
use crate::consumer::activity::{ActivePartitions, Activity};
use crate::consumer::auto_commit::AutoCommit;
use crate::consumer::dead_letters::{DeadLetterPolicy, DeadLetters};
use crate::consumer::growth::Growing;
use crate::consumer::inbox::Inbox;
use crate::consumer::partition::{PartitionConsumer, Settings};
use crate::consumer::seen::SkipSeen;
use crate::consumer::shared::SharedInbox;
use crate::consumer::supervisor::{open, supervise};
use crate::consumer::window::QueueLimits;
use crate::consumer::{Consumer, OwnPartitions};
use crate::error::ClientError;
use crate::growth::may_grow;
use crate::partitions::Partitions;
use crate::retrying::{RetryPolicy, RetryingConsumer};

const QUEUE_MESSAGES: u32 = 50_000;
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// As in Pulsar's clients.
const NEGATIVE_ACK_DELAY: Duration = Duration::from_secs(60);
const ACK_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest of either: what is to be remembered for longer is better published again.
const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The settings of a [`Consumer`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ConsumerBuilder {
    client: Arc<ClientShared>,
    topic: String,
    subscription: String,
    kind: SubscriptionType,
    start: StartFrom,
    durable: bool,
    name: String,
    queue: QueueLimits,
    skip_seen: Option<bool>,
    priority: u8,
    negative_ack_delay: Duration,
    ack_timeout: Option<Duration>,
    dead_letter: Option<DeadLetterPolicy>,
    auto_commit: Option<(Duration, usize)>,
}

impl std::fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("topic", &self.topic)
            .field("subscription", &self.subscription)
            .field("kind", &self.kind)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Arc<ClientShared>, topic: &str, subscription: &str) -> Self {
        Self {
            client,
            topic: topic.to_owned(),
            subscription: subscription.to_owned(),
            kind: SubscriptionType::Exclusive,
            start: StartFrom::Earliest,
            durable: true,
            name: String::new(),
            queue: QueueLimits {
                messages: QUEUE_MESSAGES,
                bytes: QUEUE_BYTES,
            },
            skip_seen: None,
            priority: 0,
            negative_ack_delay: NEGATIVE_ACK_DELAY,
            ack_timeout: None,
            dead_letter: None,
            auto_commit: None,
        }
    }

    /// How the subscription shares its messages among its consumers; exclusive unless set.
    pub const fn subscription_type(mut self, kind: SubscriptionType) -> Self {
        self.kind = kind;
        self
    }

    /// Where the subscription begins if it does not exist yet: at the oldest message unless set.
    /// One that exists goes on where it is.
    pub const fn start(mut self, start: StartFrom) -> Self {
        self.start = start;
        self
    }

    /// Whether the broker keeps the subscription, which it does unless told otherwise.
    ///
    /// One that is not kept is known to the broker's process alone, ends with its last consumer, and
    /// holds back nothing that retention removes. Its name has nothing to do with the names of those
    /// that are kept. When the connection is lost, or the broker restarts, the consumer begins anew
    /// behind the last message that it handed out, whatever was acknowledged; it cannot be moved. A
    /// [`Reader`](crate::Reader) is such a consumer that acknowledges nothing.
    pub const fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The consumer's name, for people: up to 255 bytes without control characters.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How many messages of each partition the broker may send ahead of the application: 1 to
    /// 1,000,000; 50,000 unless set. A batch is sent whole, so that one batch more may wait.
    pub const fn receive_queue(mut self, messages: u32) -> Self {
        self.queue.messages = messages;
        self
    }

    /// How many bytes of each partition may wait for the application: 16 MiB unless set. The
    /// number of messages that the broker may send follows from their average size, so this is
    /// what is aimed at, not a hard limit.
    pub const fn receive_queue_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// Whether a message that this consumer has handed out is kept back when it comes again: after
    /// a lost connection, after another consumer had it, or because an entry before it was wanted
    /// again. On unless set, for an exclusive subscription; off for the others. What was
    /// [acknowledged negatively](Consumer::negative_acknowledge) or not in
    /// [time](Self::ack_timeout) is handed out again all the same, and a [seek](Consumer::seek)
    /// makes all messages new.
    ///
    /// Of an exclusive or a failover subscription it costs nothing. The messages of the others come
    /// in no order, so each is remembered: a bit for an entry, for as long as the consumer lives.
    ///
    /// Messages that were handed out and are not acknowledged can still be acknowledged after a
    /// lost connection, so nothing is lost by it while the program lives; a new consumer gets them
    /// again.
    pub const fn skip_seen(mut self, skip: bool) -> Self {
        self.skip_seen = Some(skip);
        self
    }

    /// Which consumers come first: 0, which is the default, before 1, and so on. The active
    /// consumer of a failover subscription is one of the lowest number; of a shared subscription,
    /// consumers get nothing while others with a lower number have room. An exclusive subscription
    /// does not look at it.
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// How long after its [negative acknowledgement](Consumer::negative_acknowledge) a message
    /// comes again, at the least: up to 7 days; 60 s unless set. At zero it is asked for at once.
    pub const fn negative_ack_delay(mut self, delay: Duration) -> Self {
        self.negative_ack_delay = delay;
        self
    }

    /// How long a message that was handed out may go without an acknowledgement, positive or
    /// negative, before it comes again: 1 s to 7 days; for ever unless set. The whole entry comes,
    /// with all its messages that are not acknowledged.
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = Some(timeout);
        self
    }

    /// Publishes messages that came too often to another topic, and has done with them: see
    /// [`DeadLetterPolicy`]. Of shared subscriptions only.
    pub fn dead_letter(mut self, policy: DeadLetterPolicy) -> Self {
        self.dead_letter = Some(policy);
        self
    }

    /// Acknowledges by itself what the application has done with, which is everything that it was handed
    /// before it asked for more: every `interval`, as soon as these are `count` messages, and when the
    /// consumer is [closed](Consumer::close), then with what it was handed last. On an exclusive or
    /// failover subscription up to the last message of each partition, on the others each by itself. What
    /// is not acknowledged when the program dies comes again, so a message may be dealt with twice.
    ///
    /// [`Consumer::not_done`] takes a message out, and so does a negative acknowledgement, which exclusive
    /// and failover subscriptions do not have then: they are [moved](Consumer::seek) back. One task at a
    /// time receives: when another asks for more, everything that any of them was handed counts as done.
    pub const fn auto_commit(mut self, interval: Duration, count: usize) -> Self {
        self.auto_commit = Some((interval, count));
        self
    }

    /// Builds a consumer whose messages can be put off and tried again later. Of shared and key-shared
    /// subscriptions only.
    ///
    /// # Errors
    /// As [`build`](Self::build); and when dead letters or automatic acknowledgements are asked for as
    /// well, since the policy says what becomes of a message.
    pub async fn build_retrying(
        self,
        policy: RetryPolicy,
    ) -> Result<RetryingConsumer, ClientError> {
        let client = Client::of(Arc::clone(&self.client));
        RetryingConsumer::build(client, self, policy).await
    }

    /// The full names of its topic and subscription, if its messages can be tried again.
    pub(crate) fn checked_for_retries(&self) -> Result<(String, String), ClientError> {
        if !self.kind.is_shared() {
            return Err(ClientError::invalid(
                "messages are put off on shared and key-shared subscriptions: the others keep an order, \
                 in which no message may be left out",
            ));
        }
        if self.dead_letter.is_some() || self.auto_commit.is_some() {
            return Err(ClientError::invalid(
                "a consumer with retries has dead letters by its own policy, and its messages are \
                 acknowledged by the application",
            ));
        }
        let topic = topic_name(&self.topic)?;
        let subscription = subscription_name(&self.subscription)?;
        Ok((topic.to_string(), subscription.to_string()))
    }

    /// The same settings for another topic, from its first message on.
    pub(crate) fn of_topic(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self.start = StartFrom::Earliest;
        self
    }

    /// Subscribes to every partition of the topic, which is created if it does not exist and the
    /// broker's policy allows it. While another consumer has an exclusive subscription this is
    /// tried again until the client's operation time-out: a consumer that died is noticed within
    /// about a second.
    ///
    /// # Errors
    /// A setting or a name that is not legal; what the broker refuses for good; the last cause
    /// when the client's operation time-out is over.
    pub async fn build(self) -> Result<Consumer, ClientError> {
        if self.queue.messages == 0 || self.queue.messages > CONSUMER_PERMITS_MAX {
            let what = format!("the receive queue may hold 1 to {CONSUMER_PERMITS_MAX} messages");
            return Err(ClientError::InvalidArgument { what });
        }
        if self.queue.bytes == 0 {
            return Err(ClientError::invalid(
                "the receive queue must hold at least 1 byte",
            ));
        }
        if self.negative_ack_delay > DELAY_MAX {
            return Err(ClientError::invalid(
                "the delay of negative acknowledgements may be 7 days at the most",
            ));
        }
        if let Some(timeout) = self.ack_timeout
            && !(ACK_TIMEOUT_MIN..=DELAY_MAX).contains(&timeout)
        {
            return Err(ClientError::invalid(
                "the acknowledgement time-out must be 1 second to 7 days",
            ));
        }
        if let Some((interval, count)) = self.auto_commit
            && (interval.is_zero() || interval > DELAY_MAX || count == 0)
        {
            return Err(ClientError::invalid(
                "the interval of automatic acknowledgements must be above 0, and 7 days at the most, \
                 and their count at least 1",
            ));
        }
        let in_order = !self.kind.is_shared();
        let exclusive = self.kind == SubscriptionType::Exclusive;
        let skip_seen = match self.skip_seen.unwrap_or(exclusive) {
            true if in_order => SkipSeen::InOrder,
            true => SkipSeen::AnyOrder,
            false => SkipSeen::Nothing,
        };
        let settings = Settings {
            topic: topic_name(&self.topic)?,
            subscription: subscription_name(&self.subscription)?,
            kind: self.kind,
            start: self.start,
            durable: self.durable,
            consumer: self.name,
            priority: self.priority,
            member: rand::random_range(1..=u64::MAX),
            skip_seen,
            negative_ack_delay: self.negative_ack_delay,
            ack_timeout: self.ack_timeout,
        };
        let dead_letter = match self.dead_letter {
            Some(policy) => Some(policy.checked(&settings)?),
            None => None,
        };
        let client = self.client;
        let mut attempts = Attempts::new(client.operation_timeout);
        let places = loop {
            let deadline = attempts.answer_by(client.operation_timeout);
            match client
                .lookup
                .ask(&client.pool, &settings.topic, true, deadline)
                .await
            {
                Ok(places) => break places,
                Err(cause) => attempts.pause(cause).await?,
            }
        };
        let numbers: Vec<i32> = places.all().iter().map(|place| place.partition).collect();
        if matches!(settings.start, StartFrom::Position(_)) && numbers.len() > 1 {
            return Err(ClientError::invalid(
                "a place is one of a single partition: name the partition, or begin at either end",
            ));
        }
        let active = ActivePartitions::new(settings.kind, &numbers);
        let inbox = Arc::new(SharedInbox::new(Inbox::new(
            &numbers, self.queue, skip_seen,
        )));
        let mut list = Vec::new();
        let mut opening = JoinSet::new();
        for (lane, number) in numbers.into_iter().enumerate() {
            let partition = Arc::new(PartitionConsumer::new(
                Arc::clone(&client),
                settings.clone(),
                places.clone(),
                number,
                lane,
                Arc::clone(&inbox),
                Activity {
                    all: active.clone(),
                    partition: number,
                    changes: settings.kind == SubscriptionType::Failover,
                },
            ));
            list.push(Arc::clone(&partition));
            let attempts = Attempts::new(client.operation_timeout);
            opening.spawn(async move { open(&partition, attempts, false).await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.map_err(|_| ClientError::Closed)??;
        }
        let partitions = Arc::new(Partitions::default());
        for partition in list {
            let task = tokio::spawn(supervise(Arc::clone(&partition)));
            partitions.add(partition, task.abort_handle());
        }
        if may_grow(&settings.topic, &places) {
            let growing = Growing {
                client: Arc::clone(&client),
                settings: settings.clone(),
                inbox: Arc::clone(&inbox),
                active: active.clone(),
                partitions: Arc::clone(&partitions),
            };
            partitions.add_task(tokio::spawn(growing.run()).abort_handle());
        }
        let dead_letters = dead_letter.map(|(max_redeliveries, topic)| {
            let (dead_letters, task) = DeadLetters::start(
                max_redeliveries,
                &topic,
                Arc::clone(&client),
                Arc::clone(&partitions),
            );
            partitions.add_task(task);
            dead_letters
        });
        let auto_commit = self.auto_commit.map(|when| {
            let (commit, task) = AutoCommit::start(when, in_order, Arc::clone(&partitions));
            partitions.add_task(task);
            commit
        });
        Ok(Consumer {
            partitions: OwnPartitions(partitions),
            inbox,
            client,
            active,
            dead_letters,
            auto_commit,
            kind: settings.kind,
            durable: settings.durable,
            negative_ack_delay: settings.negative_ack_delay,
            ack_timeout: settings.ack_timeout.is_some(),
        })
    }
}
