//! What a partition remembers beside its entries, and who is handed which entry next.
//!
//! Two halves, both pure state machines that read no clock, no file and no socket:
//!
//! - **What is durable** is a fold over the partition's two logs: the
//!   headers of its entries and the [`SiblingRecord`]s of its sibling log. [`PartitionState`] is
//!   that fold; it holds one [`Cursor`] per subscription and the [`ProducerTable`] by which a
//!   retried publish is recognised. [`Recovery`] makes it anew from the two logs.
//! - **What is not**: a [`Dispatcher`] per subscription with consumers decides which entry is
//!   delivered next and to whom. It is forgotten with its broker's process, and nothing is lost.
//!
//! # How a change is made
//!
//! A change that needs a record is planned without changing anything (`plan_…` gives the record),
//! appended to the sibling log by the caller, and applied by
//! [`PartitionState::apply_record`], the same function that a recovery or a secondary uses.
//! Acknowledgements are the exception, because there are so many: they go to the cursor at once,
//! and once per round [`Subscription::take_changes`] gives the record that covers the new ones.
//! An answer to a client that rests on the state is sent only when the sibling log is durable up
//! to the end that it had when the state was read: what the state holds may still be on its way.
//!
//! A partition's values are owned by the core that owns the partition, and live as long as it does.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod access;
pub mod acknowledgements;
mod bytes;
pub mod cursor;
mod delays;
pub mod dispatcher;
pub mod exclusive;
pub mod failover;
mod index_ranges;
pub mod key_shared;
pub mod key_slots;
mod offset_ranges;
mod out;
pub mod producers;
pub mod record;
pub mod recovery;
mod redeliveries;
pub mod shared;
pub mod snapshot;
pub mod state;
mod turns;

pub use access::{Access, AccessEpoch, AccessError, AccessTable, Admission, Asked};
pub use acknowledgements::{Acknowledgements, IndexRange, OffsetRange, PartialEntry};
pub use cursor::Cursor;
pub use dispatcher::{
    AttachError, Blocked, Claim, ConsumerId, ConsumerState, Delivery, DispatchLimits, Dispatcher,
    Next, PermitsError,
};
pub use exclusive::Exclusive;
pub use failover::{Failover, HAND_OVER_MS};
pub use key_shared::KeyShared;
pub use key_slots::{KeySlot, SLOTS, SlotRange};
pub use producers::{
    Check, LastStored, OpenProducer, OpenProducerError, Original, Producer, ProducerTable,
};
pub use record::{RecordError, SiblingRecord, SnapshotPart, SubscriptionKind};
pub use recovery::{Recovery, RecoveryError};
pub use shared::Shared;
pub use snapshot::{SinceSnapshot, snapshot_due};
pub use state::{CreateSubscriptionError, PartitionState, Subscription};
