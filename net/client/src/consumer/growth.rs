//! The task that takes up the partitions that a topic gets while it is consumed from.

use std::sync::Arc;

use hulse_wire::StartFrom;

use crate::attempts::Attempts;
use crate::client::ClientShared;
use crate::consumer::activity::{ActivePartitions, Activity};
use crate::consumer::partition::{PartitionConsumer, Settings};
use crate::consumer::shared::SharedInbox;
use crate::consumer::supervisor::{open, supervise};
use crate::growth::grown;
use crate::lookup::Places;
use crate::partitions::Partitions;

/// What is needed to add a partition to a consumer.
pub(super) struct Growing {
    pub(super) client: Arc<ClientShared>,
    pub(super) settings: Settings,
    pub(super) inbox: Arc<SharedInbox>,
    pub(super) active: ActivePartitions,
    pub(super) partitions: Arc<Partitions<PartitionConsumer>>,
}

impl Growing {
    /// Subscribes to new partitions, until the consumer is closed.
    pub(super) async fn run(mut self) {
        // Whatever is in them came after the consumer, so a subscription that begins at the newest
        // message misses nothing either.
        self.settings.start = StartFrom::Earliest;
        loop {
            let known = self.partitions.len();
            let places = grown(&self.client, &self.settings.topic, known).await;
            for place in &places.all()[known..] {
                if !self.add(&places, place.partition) {
                    return;
                }
            }
        }
    }

    /// Adds a partition; false when the consumer is closed.
    fn add(&self, places: &Places, number: i32) -> bool {
        let kind = self.settings.kind;
        let lane = self.inbox.lock().add(number);
        self.active.add(kind, number);
        let partition = Arc::new(PartitionConsumer::new(
            Arc::clone(&self.client),
            self.settings.clone(),
            places.clone(),
            number,
            lane,
            Arc::clone(&self.inbox),
            Activity {
                all: self.active.clone(),
                partition: number,
                changes: kind == hulse_wire::SubscriptionType::Failover,
            },
        ));
        // It is listed before anything comes from it: the permits that are due then go to it.
        let task = tokio::spawn({
            let partition = Arc::clone(&partition);
            async move {
                match open(&partition, Attempts::endless(), false).await {
                    Ok(()) => supervise(partition).await,
                    Err(cause) => partition.fail(&cause),
                }
            }
        });
        self.partitions.add(partition, task.abort_handle())
    }
}
