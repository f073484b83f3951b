//! The configuration manager: what the brokers of a cluster agree on, and where it is kept.
//!
//! - [`store`]: the small interface of a store (get, compare and set, watch) and its rules.
//! - [`embedded`]: the store of a single broker, one durable file beside its data.
//! - [`memory`]: a store without a disk, for tests.
//! - [`records`]: what is stored: tenants, namespaces, topics, groups, brokers, tombstones.
//! - [`catalog`]: the operations on those records, every step safe to be interrupted.
//!
//! Nothing here is on the path of a message. It is used from the control thread alone.
#![forbid(unsafe_code)]

pub mod catalog;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod embedded;
pub mod ids;
pub mod memory;
pub mod records;
pub mod store;
mod watchers;

pub use catalog::Catalog;
pub use embedded::EmbeddedStore;
pub use ids::{CountingIds, Ids, RandomIds};
pub use memory::MemoryStore;
pub use store::{
    CasOutcome, Event, ManyOutcome, Store, StoreError, StoreId, Swap, Version, Versioned,
};
