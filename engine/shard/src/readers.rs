//! Subscriptions that are not durable: they end with their last consumer, and nothing of them is
//! written. Readers use them.
//!
//! They keep nothing from being removed: one that lags behind retention goes on at the oldest entry
//! that is left.

use std::collections::BTreeMap;

use hulse_model::limits::PARTITION_READERS_MAX;
use hulse_model::{Position, SubscriptionName};
use hulse_subscription::{PartitionState, Subscription, SubscriptionKind};

/// Their ids have this bit, those of durable subscriptions never do.
const ID_BIT: u64 = 1 << 63;

/// The subscriptions of one partition that are not durable. Their names are apart from those of
/// durable ones.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    by_id: BTreeMap<u64, Subscription>,
    ids: BTreeMap<SubscriptionName, u64>,
    /// How many there have been.
    made: u64,
}

impl Readers {
    /// Whether a subscription is one of these.
    pub(crate) const fn owns(id: u64) -> bool {
        id & ID_BIT != 0
    }

    pub(crate) fn id(&self, name: &SubscriptionName) -> Option<u64> {
        self.ids.get(name).copied()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Subscription> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Subscription> {
        self.by_id.get_mut(&id)
    }

    /// Makes one, unless there are too many.
    pub(crate) fn make(
        &mut self,
        name: &SubscriptionName,
        kind: SubscriptionKind,
        position: Position,
    ) -> Option<u64> {
        if self.by_id.len() >= PARTITION_READERS_MAX {
            return None;
        }
        self.made += 1;
        let id = self.made | ID_BIT;
        let reader = Subscription::passing(id, name.clone(), kind, position);
        self.ids.insert(name.clone(), id);
        self.by_id.insert(id, reader);
        Some(id)
    }

    /// Its last consumer is gone.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(reader) = self.by_id.remove(&id) {
            self.ids.remove(reader.name());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.by_id.values()
    }
}

/// A subscription of a partition, durable or not.
pub(crate) fn find<'a>(
    state: &'a PartitionState,
    readers: &'a Readers,
    id: u64,
) -> Option<&'a Subscription> {
    if Readers::owns(id) {
        readers.get(id)
    } else {
        state.subscription(id)
    }
}
