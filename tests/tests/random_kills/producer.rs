//! A producer that dies now and then and comes back under its name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hulse_client::{MessageId, SendHandle};
use hulse_tests::Random;
use hulse_tests::message::value;
use rand::RngExt;

use crate::scene::Scene;

/// What one producer has sent.
pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) producer: String,
    /// By number: the id of what was acknowledged, `None` for what was on its way when the producer
    /// died.
    pub(crate) messages: Vec<Option<MessageId>>,
}

/// Messages that may be on their way. Few, so that a kill finds some and the test ends soon.
const IN_FLIGHT: usize = 300;
const BATCH: u32 = 20;

/// Sends until the scene stops.
pub(crate) async fn run(
    scene: Arc<Scene>,
    topic: &'static str,
    producer: String,
    mut random: Random,
) -> Sent {
    let mut sent = Sent {
        topic,
        producer,
        messages: Vec::new(),
    };
    loop {
        let client = scene.client().await;
        let builder = client.producer(topic).name(&sent.producer);
        let builder = builder
            .batch_messages(BATCH)
            .max_in_flight_messages(IN_FLIGHT);
        let alive = builder.build().await.expect("the producer is opened");
        let mut waiting = VecDeque::new();
        let life = random.random_range(1..6_000);
        for _ in 0..life {
            if scene.is_stopping() {
                break;
            }
            let number = sent.messages.len() as u64;
            sent.messages.push(None);
            let handle = alive.send(&value(&sent.producer, number)).await;
            waiting.push_back((number, handle.expect("the message is taken")));
            collect(&scene, &mut sent, &mut waiting);
        }
        if scene.is_stopping() {
            for (number, handle) in waiting {
                let id = handle.await.expect("the message is stored in the end");
                note(&scene, &mut sent, number, id);
            }
            alive.close().await.expect("everything is stored");
            return sent;
        }
        // It dies with messages on their way: which of them are stored is not known.
        drop(alive);
        drop(client);
        collect(&scene, &mut sent, &mut waiting);
    }
}

/// Notes the receipts that are there.
fn collect(scene: &Scene, sent: &mut Sent, waiting: &mut VecDeque<(u64, SendHandle)>) {
    while let Some(Ok(id)) = waiting.front().and_then(|(_, handle)| handle.try_id()) {
        let (number, _) = waiting.pop_front().expect("it was looked at");
        note(scene, sent, number, id);
    }
}

fn note(scene: &Scene, sent: &mut Sent, number: u64, id: MessageId) {
    let at = usize::try_from(number).expect("it counts a vector's elements");
    sent.messages[at] = Some(id);
    scene.acked.fetch_add(1, Ordering::SeqCst);
}
