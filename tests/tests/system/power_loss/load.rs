//! Producers and consumers that run until the broker has lost its disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hulse_client::{Client, ClientError, Consumer, SendHandle};
use hulse_tests::message::value;
use hulse_tests::{LIMIT, Random};
use rand::RngExt;
use tokio::time::timeout;

use super::ledger::{Consumed, Produced};

/// The subscription of the consumers.
pub(super) const SUBSCRIPTION: &str = "workers";

/// Messages of one producer that may be on their way.
const IN_FLIGHT: usize = 300;
const BATCH: u32 = 20;
/// Messages that are taken at a time.
const TAKEN: usize = 200;
/// How often it is looked whether the round ends, while nothing comes.
const LOOK: Duration = Duration::from_millis(50);

/// What the tasks of one round share.
pub(crate) struct Scene {
    server: String,
    acknowledged: AtomicU64,
    stopping: AtomicBool,
}

impl Scene {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            acknowledged: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Messages that producers have receipts for.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Ends the round: nothing more is to come.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) async fn client(&self) -> Client {
        let client = Client::builder(&self.server).operation_timeout(LIMIT / 4);
        client.connect().await.expect("the broker lives")
    }
}

/// Goes on behind what is stored under the producer's name, until it is refused. Gives why.
pub(super) async fn produce(scene: Arc<Scene>, mut told: Produced) -> (Produced, ClientError) {
    let client = scene.client().await;
    let builder = client.producer(told.topic).name(&told.name);
    let builder = builder
        .batch_messages(BATCH)
        .max_in_flight_messages(IN_FLIGHT);
    let producer = match builder.build().await {
        Ok(producer) => producer,
        // The power went before it had begun.
        Err(error) => return (told, error),
    };
    told.goes_on_behind(producer.last_sequence());
    let mut waiting = VecDeque::new();
    loop {
        let number = told.next();
        match producer.send(&value(&told.name, number)).await {
            Ok(handle) => waiting.push_back((number, handle)),
            Err(error) => {
                while let Some((number, handle)) = waiting.pop_front() {
                    if let Ok(id) = handle.await {
                        told.acknowledged(number, id);
                    }
                }
                return (told, error);
            }
        }
        collect(&scene, &mut told, &mut waiting);
    }
}

/// Notes the receipts that are there.
fn collect(scene: &Scene, told: &mut Produced, waiting: &mut VecDeque<(u64, SendHandle)>) {
    while let Some(Ok(id)) = waiting.front().and_then(|(_, handle)| handle.try_id()) {
        let (number, _) = waiting.pop_front().expect("it was looked at");
        told.acknowledged(number, id);
        scene.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// Receives and acknowledges most of what comes, with receipts, until the round ends.
pub(super) async fn consume(scene: Arc<Scene>, mut told: Consumed, mut random: Random) -> Consumed {
    let client = scene.client().await;
    let builder = client.consumer(told.topic, SUBSCRIPTION);
    let Ok(consumer) = builder.build().await else {
        return told;
    };
    while !scene.is_stopping() {
        match timeout(LOOK, consumer.receive_many(TAKEN)).await {
            Err(_) => {}
            // The disk has failed under it.
            Ok(Err(_)) => break,
            Ok(Ok(messages)) => {
                let ids = messages.iter().map(|message| message.message_id());
                acknowledge(&scene, &consumer, ids.collect(), &mut told, &mut random).await;
            }
        }
    }
    told
}

/// Acknowledges most of what came, so that holes stay between, and waits for the receipts.
async fn acknowledge(
    scene: &Scene,
    consumer: &Consumer,
    ids: Vec<hulse_client::MessageId>,
    told: &mut Consumed,
    random: &mut Random,
) {
    let mut waiting = Vec::new();
    for id in ids {
        told.received(id);
        if random.random_bool(0.9) {
            told.asked(id);
            waiting.push((id, consumer.acknowledge_with_receipt(&id)));
        }
    }
    for (id, mut receipt) in waiting {
        loop {
            match timeout(LOOK, &mut receipt).await {
                Ok(Ok(())) => told.receipted(id),
                Ok(Err(_)) => {}
                Err(_) if scene.is_stopping() => return,
                Err(_) => continue,
            }
            break;
        }
    }
}
