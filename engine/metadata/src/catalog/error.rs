//! Why an operation of the catalog was refused, and what a client is told.

use hulse_model::limits::TOPIC_PARTITIONS_MAX;
use hulse_model::{NameError, Status, TopicName};

use crate::records::{Incarnation, RecordError};
use crate::store::StoreError;

/// What can stop any operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The store did not do it; nothing was changed by this step.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whether the step was done is not known. The operation may be asked for again.
    #[error("the metadata store did not say whether it is done: {reason}")]
    Indeterminate {
        /// Why that is not known.
        reason: String,
    },
    /// What is stored cannot be read.
    #[error("under the key {key}: {source}")]
    Record {
        /// Where it is stored.
        key: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// Others changed the same record all the time.
    #[error("{key} is being changed by too many at once")]
    Contended {
        /// The record's key.
        key: String,
    },
    /// The broker has not been registered, or by another process of the same name since.
    #[error("broker {broker} is not registered")]
    NotRegistered {
        /// The broker.
        broker: String,
    },
}

impl CatalogError {
    /// What a client is told.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Store(error) => error.status(),
            Self::Indeterminate { .. } | Self::Contended { .. } | Self::NotRegistered { .. } => {
                Status::NotReady
            }
            Self::Record { .. } => Status::DataCorrupted,
        }
    }
}

/// Why a broker was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The catalog could not do it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A name that cannot be used.
    #[error("{name:?} cannot name a {what}: {reason}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The pair in the store is neither the one on the broker's disk nor its intent: another
    /// process registered under this name, or the broker's disk is not the one that it had.
    #[error(
        "broker {broker} was last registered as {registered}, which is neither the life that the \
         file INCARNATION in its data directory says nor the one that it intends"
    )]
    Incarnation {
        /// The broker.
        broker: String,
        /// The pair in the store; `none` when it is not there.
        registered: Registered,
    },
    /// The intent's number is not the next one.
    #[error("broker {broker} intends to be {intent}, where number {expected} is due")]
    Intent {
        /// The broker.
        broker: String,
        /// The intended pair.
        intent: Incarnation,
        /// The number due.
        expected: u64,
    },
    /// Topics have been placed by the region that the broker stood in before.
    #[error(
        "broker {broker} stood in region {registered} and its topics are placed there; start it \
         with that region, or on an empty data directory"
    )]
    Region {
        /// The broker.
        broker: String,
        /// Its region so far.
        registered: String,
    },
    /// The embedded store serves one broker.
    #[error(
        "this metadata store belongs to broker {registered}; start with that name, or share a \
         witness or etcd among brokers"
    )]
    Peer {
        /// The broker that it belongs to.
        registered: String,
    },
}

/// A pair in the store, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered(pub Option<Incarnation>);

impl std::fmt::Display for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(incarnation) => incarnation.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl RegisterError {
    /// What a client would be told.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Catalog(error) => error.status(),
            Self::Name { .. } => Status::InvalidName,
            Self::Incarnation { .. }
            | Self::Intent { .. }
            | Self::Region { .. }
            | Self::Peer { .. } => Status::InvalidArgument,
        }
    }
}

/// Why something was not done with a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The catalog could not do it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no such topic, and it is not made by use.
    #[error("topic {topic} does not exist")]
    NotFound {
        /// The name asked for.
        topic: TopicName,
    },
    /// There is no such tenant or namespace, so the topic cannot be used.
    #[error(
        "topic {topic} does not exist, nor does its namespace; `hulse namespace create {0}` makes \
         that, and `hulse tenant create {1}` its tenant if it is not there",
        topic.in_namespace(), topic.tenant()
    )]
    NotFoundNorNamespace {
        /// The name asked for.
        topic: TopicName,
    },
    /// There is no such tenant or namespace to create a topic in.
    #[error(
        "namespace {tenant}/{namespace} does not exist; `hulse namespace create \
         {tenant}/{namespace}` makes it, and `hulse tenant create {tenant}` its tenant if that is \
         not there"
    )]
    NamespaceNotFound {
        /// The tenant.
        tenant: String,
        /// The namespace, without its tenant.
        namespace: String,
    },
    /// There is one of this name.
    #[error("topic {topic} exists already")]
    Exists {
        /// The name.
        topic: TopicName,
    },
    /// A name that the topic or one of its partitions cannot have.
    #[error("{topic} cannot be a topic: {source}")]
    Name {
        /// The name.
        topic: TopicName,
        /// What is wrong with it.
        source: NameError,
    },
    /// The name of one partition where a whole topic is meant.
    #[error("{topic} names a single partition, not a topic")]
    PartitionName {
        /// The name.
        topic: TopicName,
    },
    /// No partitions, or too many.
    #[error("a topic has 1 to {TOPIC_PARTITIONS_MAX} partitions, not {partitions}")]
    Partitions {
        /// How many were asked for.
        partitions: u32,
    },
    /// A region without a broker.
    #[error("no broker stands in region {region:?}")]
    UnknownRegion {
        /// The region.
        region: String,
    },
    /// A list of regions that no topic can have.
    #[error("regions {regions:?}: {reason}")]
    Regions {
        /// The regions asked for.
        regions: Vec<String>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// Fewer replicas than regions, or none.
    #[error("{replicas} replicas cannot be placed in {regions} regions")]
    Replicas {
        /// The replicas asked for.
        replicas: u32,
        /// In how many regions.
        regions: usize,
    },
    /// More replicas than there are brokers to hold them.
    #[error("{replicas} replicas need as many brokers, and {brokers} can hold one in {regions:?}")]
    NotEnoughBrokers {
        /// The replicas asked for.
        replicas: u32,
        /// The regions asked for.
        regions: Vec<String>,
        /// How many brokers stand there.
        brokers: usize,
    },
    /// A minimum that the in-sync set cannot have.
    #[error("min-isr must be 1 to {replicas}, the number of replicas, not {min_isr}")]
    MinIsr {
        /// The minimum asked for.
        min_isr: u32,
        /// The replicas.
        replicas: u32,
    },
}

impl TopicError {
    /// What a client is told.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Catalog(error) => error.status(),
            Self::NotFound { .. } | Self::NotFoundNorNamespace { .. } => Status::TopicNotFound,
            Self::NamespaceNotFound { .. } => Status::NamespaceNotFound,
            Self::Exists { .. } => Status::TopicExists,
            Self::Name { .. } | Self::PartitionName { .. } => Status::InvalidName,
            Self::NotEnoughBrokers { .. } => Status::NotEnoughReplicas,
            Self::Partitions { .. }
            | Self::UnknownRegion { .. }
            | Self::Regions { .. }
            | Self::Replicas { .. }
            | Self::MinIsr { .. } => Status::InvalidArgument,
        }
    }
}

impl From<StoreError> for TopicError {
    fn from(error: StoreError) -> Self {
        Self::Catalog(error.into())
    }
}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Catalog(error.into())
    }
}
