//! The operations on the records: what a broker and its administrators do with tenants, topics,
//! groups and brokers.
//!
//! Every operation is a sequence of compare-and-sets, and may be interrupted between any two of
//! them; whoever comes next completes it or is not hindered by it:
//! - A **topic** is created by one change, which carries the ids of its partitions. Before it, its
//!   placement is made ready if it is new: the list of group ids first, then the groups, then the
//!   mark that all are there.
//! - A topic is deleted by one change as well, to [`Deleting`](crate::records::TopicState), which
//!   cannot be taken back. Then a tombstone is written for every partition, then the record goes.
//!   So no tombstone ever names a partition that is in use, and no partition is forgotten.
//!
//! The catalog keeps nothing that it could not read again, except counts of partitions per group,
//! which only decide where the next one goes.

mod brokers;
mod deletion;
mod error;
mod install;
mod loads;
mod placing;
mod policies;
mod read;
mod seed;
mod tenancy;
mod tenancy_error;
mod topics;

use std::sync::Arc;
use std::sync::Mutex;

use hulse_model::TopicName;

use crate::ids::{Ids, RandomIds};
use crate::records::{AckLevel, TopicRecord};
use crate::store::Store;
use loads::Loads;

pub use brokers::Registration;
pub use error::{CatalogError, RegisterError, Registered, TopicError};
pub use install::{Installed, Reign, Reinstallation};
pub use placing::{core_of, groups_of_placement};
pub use policies::Levels;
pub use tenancy::{NamespaceView, TenantView};
pub use tenancy_error::TenancyError;

/// How often a change is tried again after another one came first. Each refusal means that someone
/// else got on, so only a storm reaches this.
pub(crate) const ATTEMPTS_MAX: usize = 32;

/// How a topic is made that nobody described: the answer to its first use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDefaults {
    /// How many brokers hold each partition.
    pub replicas: u32,
    /// The regions that hold it; empty for the region of this broker.
    pub regions: Vec<String>,
    /// What an acknowledgement means.
    pub ack: AckLevel,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self {
            replicas: 1,
            regions: Vec::new(),
            ack: AckLevel::Disk,
        }
    }
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, which may not look like that of a partition.
    pub name: TopicName,
    /// How many partitions; `None` makes a topic without numbered partitions, which has one.
    pub partitions: Option<u32>,
    /// How many brokers hold each partition; `None` for the default.
    pub replicas: Option<u32>,
    /// The regions that hold it, the preferred one for the primary first; empty for the default.
    pub regions: Vec<String>,
    /// What an acknowledgement means; `None` for the default.
    pub ack: Option<AckLevel>,
    /// How many replicas must be in sync to take a write; `None`: 1 of up to two replicas, 2 of
    /// more.
    pub min_isr: Option<u32>,
}

impl TopicSpec {
    /// A topic of one unnumbered partition that takes every default.
    #[must_use]
    pub fn plain(name: TopicName) -> Self {
        Self {
            name,
            partitions: None,
            replicas: None,
            regions: Vec::new(),
            ack: None,
            min_isr: None,
        }
    }
}

/// What a topic's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// The topic.
    pub topic: TopicRecord,
    /// The number of the partition, when the name is that of a single one of a partitioned topic.
    pub partition: Option<u32>,
}

/// The records of a cluster, seen from one broker. It lives on the control thread as long as the
/// broker; its methods may run side by side.
pub struct Catalog<S> {
    store: S,
    ids: Arc<dyn Ids>,
    broker: String,
    defaults: TopicDefaults,
    loads: Mutex<Loads>,
}

impl<S: Store> Catalog<S> {
    /// The catalog in `store`, for the broker of this name. Ids are random.
    #[must_use]
    pub fn new(store: S, broker: &str, defaults: TopicDefaults) -> Self {
        Self::with_ids(store, broker, defaults, Arc::new(RandomIds))
    }

    /// The same with another source of ids.
    #[must_use]
    pub fn with_ids(store: S, broker: &str, defaults: TopicDefaults, ids: Arc<dyn Ids>) -> Self {
        let broker = broker.to_owned();
        Self {
            store,
            ids,
            broker,
            defaults,
            loads: Mutex::default(),
        }
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The name of the broker that this catalog serves.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }
}

impl<S> std::fmt::Debug for Catalog<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}
