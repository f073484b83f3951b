//! The settings of a producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use hulse_model::ProducerName;
use hulse_model::limits::{ENTRY_MESSAGES_MAX, MESSAGE_BYTES_MAX};
use hulse_wire::Access;
use tokio::task::JoinSet;

use crate::attempts::Attempts;
use crate::client::{ClientShared, invalid_name, topic_name};
use crate::error::ClientError;
use crate::growth::may_grow;
use crate::partitions::Partitions;
use crate::producer::batcher::BatchLimits;
use crate::producer::budget::Budget;
use crate::producer::growth::grow;
use crate::producer::partition::{PartitionProducer, Settings};
use crate::producer::route::Router;
use crate::producer::shared::ProducerShared;
use crate::producer::supervisor::{open, supervise};
use crate::producer::{OwnPartitions, Producer};

const BATCH_MESSAGES: u32 = 1_000;
const BATCH_BYTES: usize = 128 * 1024;
const LINGER: Duration = Duration::from_millis(1);
const IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
const IN_FLIGHT_MESSAGES: usize = 200_000;

/// The settings of a [`Producer`].
#[must_use = "a builder does nothing until it is built"]
pub struct ProducerBuilder {
    client: Arc<ClientShared>,
    topic: String,
    name: Option<String>,
    initial_sequence: Option<u64>,
    limits: BatchLimits,
    in_flight_bytes: usize,
    in_flight_messages: usize,
    access: Access,
}

impl std::fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("topic", &self.topic)
            .field("name", &self.name)
            .field("initial_sequence", &self.initial_sequence)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ProducerBuilder {
    pub(crate) fn new(client: Arc<ClientShared>, topic: &str) -> Self {
        Self {
            client,
            topic: topic.to_owned(),
            name: None,
            initial_sequence: None,
            limits: BatchLimits {
                messages: BATCH_MESSAGES,
                bytes: BATCH_BYTES,
                linger: LINGER,
                by_key: false,
            },
            in_flight_bytes: IN_FLIGHT_BYTES,
            in_flight_messages: IN_FLIGHT_MESSAGES,
            access: Access::Shared,
        }
    }

    /// The name by which the broker recognises messages that it has stored already, also after a
    /// restart of this program. One producer has it at a time: the newest takes over, and the one
    /// before fails with `PRODUCER_FENCED`. Without a name the broker gives one that nobody else
    /// has.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The sequence number of the first message, on every partition; those of the next ones rise
    /// by one. A number that is stored already makes the message a repetition, which is not stored
    /// again. Unless set, the numbers go on behind the highest stored one.
    pub const fn initial_sequence(mut self, sequence: u64) -> Self {
        self.initial_sequence = Some(sequence);
        self
    }

    /// The most messages of a batch: 1 to 65,536; 1,000 unless set.
    pub const fn batch_messages(mut self, messages: u32) -> Self {
        self.limits.messages = messages;
        self
    }

    /// Bytes at which a batch is full: up to 5 MiB; 128 KiB unless set. A larger message goes in a
    /// batch of its own.
    pub const fn batch_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Whether a batch holds messages of one key alone; off unless set. A key-shared subscription needs
    /// it: a batch goes to one consumer as a whole, which is the one of its first message's key.
    /// Messages of other keys end the batch, so keys that change with every message make small ones.
    pub const fn batch_by_key(mut self, by_key: bool) -> Self {
        self.limits.by_key = by_key;
        self
    }

    /// How long a message may wait for others while batches are on the way; 1 ms unless set. When
    /// nothing is on the way a message goes out at once, so that a single one never waits. With
    /// zero, every message is a batch of its own.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.limits.linger = linger;
        self
    }

    /// Bytes that may wait for their receipts, over all partitions: 16 MiB unless set. Beyond it
    /// [`Producer::send`] waits.
    pub const fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// Messages that may wait for their receipts, over all partitions: 200,000 unless set. Beyond
    /// it [`Producer::send`] waits.
    pub const fn max_in_flight_messages(mut self, messages: usize) -> Self {
        self.in_flight_messages = messages;
        self
    }

    /// Whether it publishes beside others, which is so unless set, or alone.
    ///
    /// - [`Access::Exclusive`]: [`build`](Self::build) fails at once with `PRODUCER_BUSY` when there is
    ///   another producer.
    /// - [`Access::Wait`]: [`build`](Self::build) is done when it is alone, however long that takes;
    ///   those who wait come in the order in which they began.
    /// - [`Access::Fencing`]: whoever is there, or waits, fails with `PRODUCER_FENCED`.
    ///
    /// The broker remembers who had exclusive access last: a producer that another one came after, while
    /// its connection was lost or the broker was away, fails with `PRODUCER_FENCED` when it is back, and
    /// stores nothing more. While one is alone, building a shared one is tried until the client's
    /// operation time-out is over.
    ///
    /// Access is granted for each partition by itself; the partitions are opened one after the other in
    /// their order, so that two that wait never wait for each other, and all of them or none.
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Opens the producer on every partition of the topic, which is created if it does not exist
    /// and the broker's policy allows it.
    ///
    /// # Errors
    /// A setting or a name that is not legal; what the broker refuses for good; the last cause
    /// when the client's operation time-out is over.
    pub async fn build(self) -> Result<Producer, ClientError> {
        let settings = self.settings()?;
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
        let budget = Budget::new(self.in_flight_bytes, self.in_flight_messages);
        let shared = Arc::new(ProducerShared::new(budget));
        let mut list = Vec::new();
        let mut opening = JoinSet::new();
        for place in places.all() {
            let partition = Arc::new(PartitionProducer::new(
                Arc::clone(&client),
                settings.clone(),
                places.clone(),
                place.partition,
                Arc::clone(&shared),
            ));
            list.push(Arc::clone(&partition));
            let attempts = Attempts::new(client.operation_timeout);
            if settings.access != Access::Shared {
                // In their order, so that no two producers each have what the other waits for.
                open(&partition, attempts, false).await?;
                continue;
            }
            opening.spawn(async move { open(&partition, attempts, false).await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.map_err(|_| ClientError::Closed)??;
        }
        let router = Router::new(list.len(), rand::random::<u16>().into());
        let partitions = Arc::new(Partitions::default());
        for partition in list {
            let task = tokio::spawn(supervise(Arc::clone(&partition)));
            partitions.add(partition, task.abort_handle());
        }
        if may_grow(&settings.topic, &places) {
            let task = tokio::spawn(grow(
                Arc::clone(&client),
                settings,
                Arc::clone(&shared),
                Arc::clone(&partitions),
            ));
            partitions.add_task(task.abort_handle());
        }
        Ok(Producer {
            partitions: OwnPartitions(partitions),
            shared,
            router,
            client,
            unyielded_bytes: AtomicUsize::new(0),
            yield_due: AtomicBool::new(false),
        })
    }

    fn settings(&self) -> Result<Settings, ClientError> {
        let name = match &self.name {
            Some(name) => Some(
                name.parse::<ProducerName>()
                    .map_err(|source| invalid_name("producer", name, source))?,
            ),
            None => None,
        };
        let limits = self.limits;
        if limits.messages == 0 || limits.messages > ENTRY_MESSAGES_MAX {
            let what = format!("a batch may have 1 to {ENTRY_MESSAGES_MAX} messages");
            return Err(ClientError::InvalidArgument { what });
        }
        if limits.bytes == 0 || limits.bytes > MESSAGE_BYTES_MAX {
            let what = format!("a batch may have 1 to {MESSAGE_BYTES_MAX} bytes");
            return Err(ClientError::InvalidArgument { what });
        }
        if self.in_flight_bytes == 0 || self.in_flight_messages == 0 {
            return Err(ClientError::invalid(
                "something must be allowed to be on the way",
            ));
        }
        let topic = topic_name(&self.topic)?;
        Ok(Settings {
            topic,
            name,
            initial_sequence: self.initial_sequence,
            limits,
            access: self.access,
        })
    }
}
