//! The client: where everything begins.

use std::sync::Arc;
use std::time::Duration;

use hulse_model::limits::{BEACON_TIMEOUT_RANGE_MS, HANDSHAKE_TIMEOUT_MS};
use hulse_model::{NameError, SubscriptionName, TopicName};

use crate::address::parse_servers;
use crate::admin::Admin;
use crate::connection::Greeting;
use crate::consumer::ConsumerBuilder;
use crate::error::ClientError;
use crate::lookup::Lookup;
use crate::pool::Pool;
use crate::producer::ProducerBuilder;
use crate::reader::ReaderBuilder;

/// How long an operation may take, when nothing else is asked for.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client, its producers and its consumers share.
pub(crate) struct ClientShared {
    pub(crate) pool: Pool,
    pub(crate) lookup: Lookup,
    pub(crate) operation_timeout: Duration,
}

impl ClientShared {
    /// A partition is about to be served at `address`: dials it, so that the connection is there when
    /// the partition is. When that fails, whoever needs the connection tries again and says why.
    pub(crate) fn dial_ahead(self: &Arc<Self>, address: &str) {
        let (client, address) = (Arc::clone(self), address.to_owned());
        tokio::spawn(async move { client.pool.get(&address).await.is_ok() });
    }
}

/// A client of Hulse. It is cheap to clone; the clones share their connections, one to each core
/// of a broker that is needed.
///
/// Its connections are served by tasks of the tokio runtime that [`ClientBuilder::connect`] was
/// called on. They send a beacon whenever nothing else was sent for a while, whatever your own
/// tasks do, **as long as the runtime can run them**: on a current-thread runtime a task that
/// blocks stops the beacons too, and the broker takes the client for dead after a second (see
/// [`ClientBuilder::beacon_timeout`]).
///
/// The connections are closed when the client and everything made from it is dropped.
///
/// ```no_run
/// # async fn example() -> Result<(), hulse_client::ClientError> {
/// use hulse_client::{Client, StartFrom};
///
/// let client = Client::builder("hulse://127.0.0.1:6650").connect().await?;
///
/// let producer = client.producer("orders").build().await?;
/// let id = producer.send_and_wait("hello").await?;
/// println!("stored as {id}");
///
/// let consumer = client.consumer("orders", "billing").start(StartFrom::Earliest).build().await?;
/// let message = consumer.receive().await?;
/// println!("{:?}", message.value());
/// consumer.acknowledge_with_receipt(&message.message_id()).await?;
///
/// producer.close().await?;
/// consumer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientShared>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Another handle of a client.
    pub(crate) const fn of(shared: Arc<ClientShared>) -> Self {
        Self { shared }
    }

    /// Begins a client of the given servers: `hulse://host:port`, several separated by commas. The
    /// scheme and the port (6650) may be left out. Any of them is asked where a topic lives.
    pub fn builder(servers: &str) -> ClientBuilder {
        ClientBuilder {
            servers: servers.to_owned(),
            name: concat!("hulse-client ", env!("CARGO_PKG_VERSION")).to_owned(),
            operation_timeout: OPERATION_TIMEOUT,
            beacon_timeout: None,
        }
    }

    /// Begins a producer for a topic: `orders` or `persistent://tenant/namespace/orders`. One
    /// partition of a topic is named `orders-partition-3`.
    pub fn producer(&self, topic: &str) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.shared), topic)
    }

    /// Begins a consumer of a topic under the name of a subscription.
    pub fn consumer(&self, topic: &str, subscription: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.shared), topic, subscription)
    }

    /// Begins a reader of a topic, which needs no subscription.
    pub fn reader(&self, topic: &str) -> ReaderBuilder {
        ReaderBuilder::new(Arc::clone(&self.shared), topic)
    }

    /// Topics, subscriptions and the broker's state.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.shared))
    }

    /// Closes every connection. Producers and consumers that are still open fail with
    /// [`ClientError::Closed`]: close them before.
    pub async fn close(self) {
        self.shared.pool.close().await;
    }
}

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is connected"]
pub struct ClientBuilder {
    servers: String,
    name: String,
    operation_timeout: Duration,
    beacon_timeout: Option<Duration>,
}

impl ClientBuilder {
    /// The program's name and version, for the broker's logs. Up to 255 bytes without control
    /// characters.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How long an operation is tried again, over lost connections and refusals that pass, before
    /// it fails with the last cause. 30 s unless set.
    pub const fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// How long either side of a connection may be silent before the other takes it for dead:
    /// 200 ms to 60 s. 1 s unless set. A beacon is sent ten times as often, so a program whose
    /// runtime may be blocked for longer sets a longer time.
    pub const fn beacon_timeout(mut self, timeout: Duration) -> Self {
        self.beacon_timeout = Some(timeout);
        self
    }

    /// Connects to the first of the servers that answers.
    ///
    /// Each server is tried once: a program that starts while no broker runs learns so at once.
    /// From then on, lost connections are opened again without a word.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when none answers; what a broker said when it refuses; an
    /// address or a setting that is not legal.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let servers = parse_servers(&self.servers)?;
        if self.operation_timeout.is_zero() {
            return Err(ClientError::invalid(
                "the operation time-out must be above 0",
            ));
        }
        if let Some(timeout) = self.beacon_timeout {
            let (min, max) = BEACON_TIMEOUT_RANGE_MS;
            let range = u128::from(min)..=u128::from(max);
            if !range.contains(&timeout.as_millis()) {
                let what = format!("the beacon time-out must be {min} to {max} ms");
                return Err(ClientError::InvalidArgument { what });
            }
        }
        let greeting = Greeting {
            client: self.name,
            beacon_timeout: self.beacon_timeout,
            timeout: self
                .operation_timeout
                .min(Duration::from_millis(HANDSHAKE_TIMEOUT_MS)),
        };
        let pool = Pool::new(servers, greeting);
        pool.any().await?;
        Ok(Client {
            shared: Arc::new(ClientShared {
                pool,
                lookup: Lookup::default(),
                operation_timeout: self.operation_timeout,
            }),
        })
    }
}

/// Reads a topic's name.
pub(crate) fn topic_name(text: &str) -> Result<TopicName, ClientError> {
    text.parse()
        .map_err(|source| invalid_name("topic", text, source))
}

/// Reads a subscription's name.
pub(crate) fn subscription_name(text: &str) -> Result<SubscriptionName, ClientError> {
    text.parse()
        .map_err(|source| invalid_name("subscription", text, source))
}

pub(crate) fn invalid_name(what: &'static str, name: &str, source: NameError) -> ClientError {
    ClientError::InvalidName {
        what,
        name: name.to_owned(),
        source,
    }
}
