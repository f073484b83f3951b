//! Finding out that a topic has grown.
//!
//! The broker is asked from time to time, once for all producers and consumers of a topic that one
//! client has: `docs/protocol.md` says within what time a client finds new partitions.

use std::time::Duration;

use hulse_model::TopicName;
use tokio::time::{Instant, sleep};

use crate::client::ClientShared;
use crate::lookup::Places;

/// How often each of them looks.
const INTERVAL: Duration = Duration::from_millis(1_500);
/// How old an answer may be that another one got.
const AGE_MAX: Duration = Duration::from_millis(1_000);

/// Whether what is known as `topic` may grow: the whole of a topic with partitions.
pub(crate) fn may_grow(topic: &TopicName, places: &Places) -> bool {
    let numbered = places.all().iter().all(|place| place.partition >= 0);
    numbered && places.topic() == topic
}

/// Waits until the topic has more than `partitions` partitions, and gives their places.
pub(crate) async fn grown(client: &ClientShared, topic: &TopicName, partitions: usize) -> Places {
    // Clients that were started together do not ask together.
    let mut pause = INTERVAL.mul_f64(rand::random_range(0.5..1.0));
    loop {
        sleep(pause).await;
        pause = INTERVAL;
        let deadline = Instant::now() + client.operation_timeout;
        let asked = client.lookup.recent(&client.pool, topic, AGE_MAX, deadline);
        // What fails now is asked again; what it fails for, others tell.
        if let Ok(places) = asked.await
            && places.all().len() > partitions
        {
            return places;
        }
    }
}
