//! The task that takes up the partitions that a topic gets while it is produced to.

use std::sync::Arc;

use crate::attempts::Attempts;
use crate::client::ClientShared;
use crate::growth::grown;
use crate::partitions::Partitions;
use crate::producer::partition::{PartitionProducer, Settings};
use crate::producer::shared::ProducerShared;
use crate::producer::supervisor::{open, supervise};

/// Opens the producer on new partitions, until it has failed or is closed. Messages go to a
/// partition once it is open.
pub(super) async fn grow(
    client: Arc<ClientShared>,
    settings: Settings,
    shared: Arc<ProducerShared>,
    partitions: Arc<Partitions<PartitionProducer>>,
) {
    loop {
        let known = partitions.len();
        let places = grown(&client, &settings.topic, known).await;
        for place in &places.all()[known..] {
            if shared.failed().is_some() {
                return;
            }
            let partition = Arc::new(PartitionProducer::new(
                Arc::clone(&client),
                settings.clone(),
                places.clone(),
                place.partition,
                Arc::clone(&shared),
            ));
            partition.take_up();
            let attempts = Attempts::new(client.operation_timeout);
            if open(&partition, attempts, false).await.is_err() {
                // It is found again at the next look.
                break;
            }
            let task = tokio::spawn(supervise(Arc::clone(&partition)));
            if !partitions.add(partition, task.abort_handle()) {
                return;
            }
        }
    }
}
