//! Of which partitions a consumer gets the messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use hulse_wire::SubscriptionType;
use tokio::sync::watch;

/// The partitions that a consumer gets the messages of, and whoever waits for a change.
#[derive(Debug, Clone)]
pub(crate) struct ActivePartitions(Arc<watch::Sender<BTreeSet<i32>>>);

impl ActivePartitions {
    /// A consumer of these partitions: of a failover subscription none is its own until the broker
    /// says so, of others all are from the start.
    pub(crate) fn new(kind: SubscriptionType, partitions: &[i32]) -> Self {
        let active = match kind {
            SubscriptionType::Failover => BTreeSet::new(),
            _ => partitions.iter().copied().collect(),
        };
        Self(Arc::new(watch::Sender::new(active)))
    }

    /// A partition that the topic has not had before.
    pub(crate) fn add(&self, kind: SubscriptionType, partition: i32) {
        if kind != SubscriptionType::Failover {
            self.set(partition, true);
        }
    }

    fn set(&self, partition: i32, active: bool) {
        self.0.send_if_modified(|partitions| {
            if active {
                partitions.insert(partition)
            } else {
                partitions.remove(&partition)
            }
        });
    }

    /// Their numbers, rising.
    pub(crate) fn get(&self) -> Vec<i32> {
        self.0.borrow().iter().copied().collect()
    }

    /// Their numbers, once they are others than `known`, which may be in any order.
    pub(crate) async fn other_than(&self, known: &[i32]) -> Vec<i32> {
        let known: BTreeSet<i32> = known.iter().copied().collect();
        let mut receiver = self.0.subscribe();
        // It fails when the sender is gone, which is held here.
        let changed = receiver.wait_for(|partitions| *partitions != known).await;
        changed.map_or_else(
            |_| Vec::new(),
            |partitions| partitions.iter().copied().collect(),
        )
    }
}

/// Whether one partition's messages come to this consumer.
#[derive(Debug)]
pub(crate) struct Activity {
    pub(crate) all: ActivePartitions,
    pub(crate) partition: i32,
    /// Of other types than failover it never changes.
    pub(crate) changes: bool,
}

impl Activity {
    /// The broker says so; or there is no stream, over which nothing can come.
    pub(crate) fn set(&self, active: bool) {
        if self.changes {
            self.all.set(self.partition, active);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_to_whoever_waits_and_to_whoever_comes_too_late() {
        let active = ActivePartitions::new(SubscriptionType::Failover, &[0, 1]);
        assert!(active.get().is_empty());
        let waiting = tokio::spawn({
            let active = active.clone();
            async move { active.other_than(&[]).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        active.set(1, true);
        assert_eq!(waiting.await.unwrap(), [1]);
        assert_eq!(active.other_than(&[]).await, [1], "it had changed before");
        active.set(0, true);
        assert_eq!(active.other_than(&[1]).await, [0, 1]);
        active.set(1, false);
        assert_eq!(active.other_than(&[1, 0]).await, [0]);
    }

    #[test]
    fn of_other_types_all_partitions_are_active() {
        let active = ActivePartitions::new(SubscriptionType::Shared, &[0, 1]);
        assert_eq!(active.get(), [0, 1]);
    }
}
