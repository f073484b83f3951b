//! The nouns of Hulse: names, identities, limits, status codes, and the byte layout of an entry.
//!
//! Everything else is built on this crate, so it depends on nothing that could do I/O, tell the
//! time or roll a die: it is `no_std`, has no unsafe code, and every function in it is pure.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod batch;
pub mod checksum;
pub mod delayed;
pub mod entry;
pub mod ids;
mod key_hash;
pub mod limits;
pub mod names;
pub mod policies;
pub mod status;
pub mod tenancy;
mod utc;

pub use entry::{Entry, EntryDraft, EntryError, EntryHeader, PayloadFormat};
pub use ids::{GroupId, MessageId, Offset, ParseIdError, PartitionId, Position, ProducerId, Term};
pub use key_hash::key_hash;
pub use names::{NameError, ProducerName, RoleName, SubscriptionName, TopicName};
pub use policies::{Effective, Policies, Policy, PolicyChange, PolicyError, Rate};
pub use status::{Fault, Status};
pub use tenancy::{NamespaceName, Permission, Scope, TenantName};
pub use utc::Utc;
