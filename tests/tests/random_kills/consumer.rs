//! A consumer that dies now and then, and its successor under the same subscription.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hulse_client::{Consumer, MessageId};
use hulse_tests::{LIMIT, Random};
use rand::RngExt;
use tokio::time::timeout;

use crate::scene::Scene;

/// The subscription of these consumers.
pub(crate) const SUBSCRIPTION: &str = "workers";

/// What the consumers of one topic have received.
pub(crate) struct Consumed {
    pub(crate) topic: &'static str,
    /// Every message that one of them was given.
    pub(crate) received: BTreeSet<MessageId>,
    /// Those of which the receipt for the acknowledgement came.
    pub(crate) receipted: BTreeSet<MessageId>,
}

/// How often it is looked whether the scene stops, while nothing comes.
const LOOK: Duration = Duration::from_millis(50);
/// Messages that are taken at a time.
const TAKEN: usize = 200;

/// Receives until the scene stops.
pub(crate) async fn run(scene: Arc<Scene>, topic: &'static str, mut random: Random) -> Consumed {
    let (received, receipted) = (BTreeSet::new(), BTreeSet::new());
    let mut consumed = Consumed {
        topic,
        received,
        receipted,
    };
    while !scene.is_stopping() {
        let client = scene.client().await;
        let consumer = client
            .consumer(topic, SUBSCRIPTION)
            .build()
            .await
            .expect("subscribed");
        // What has its receipt by now is not for this one.
        let past = consumed.receipted.clone();
        let life = random.random_range(1..4_000);
        let mut taken = 0;
        while taken < life && !scene.is_stopping() {
            let Ok(messages) = timeout(LOOK, consumer.receive_many(TAKEN)).await else {
                continue;
            };
            let ids: Vec<_> = messages
                .expect("messages")
                .iter()
                .map(|message| message.message_id())
                .collect();
            for id in &ids {
                assert!(
                    !past.contains(id),
                    "{id} of {topic} came again after its receipt"
                );
            }
            taken += ids.len();
            consumed.received.extend(&ids);
            // Now and then it dies before it sees the receipts.
            if !acknowledge(&consumer, ids, &mut random, &mut consumed.receipted).await {
                break;
            }
        }
    }
    consumed
}

/// Acknowledges most of what came, so that holes stay between. False when
/// the receipts are not waited for.
async fn acknowledge(
    consumer: &Consumer,
    ids: Vec<MessageId>,
    random: &mut Random,
    receipted: &mut BTreeSet<MessageId>,
) -> bool {
    let mut chosen = ids;
    chosen.retain(|_| random.random_bool(0.9));
    let receipts: Vec<_> = chosen
        .iter()
        .map(|id| consumer.acknowledge_with_receipt(id))
        .collect();
    if random.random_bool(0.1) {
        return false;
    }
    for (id, receipt) in chosen.into_iter().zip(receipts) {
        timeout(LIMIT, receipt)
            .await
            .expect("a receipt in time")
            .expect("a receipt");
        receipted.insert(id);
    }
    true
}
