//! Goal: partitions that each store a little share the syncs of their core's journal, and a broker
//! that is killed finds in it what it had acknowledged, also with another number of cores.
//!
//! Method: a producer on each of many topics sends one message at a time; the broker is killed with
//! SIGKILL in the middle and at the end. What every topic gives back is compared with what was sent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hulse_client::Client;
use hulse_tests::{Broker, Hulse, LIMIT, cores, metric, wait_until};
use tokio::runtime::Runtime;

const TOPICS: usize = 16;
const MESSAGES: u64 = 200;

fn message(topic: usize, number: u64) -> String {
    format!("message {number} of topic {topic}")
}

/// Sends all messages of one topic, each when the one before is acknowledged.
async fn send_all(client: Client, topic: usize, acknowledged: Arc<AtomicU64>) {
    let producer = client
        .producer(&format!("topic-{topic}"))
        .name("journal")
        .build()
        .await
        .unwrap();
    for number in 0..MESSAGES {
        producer
            .send_and_wait(message(topic, number).as_str())
            .await
            .unwrap();
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_the_journal_made_durable_survives_kills() {
    let mut broker = Broker::start(cores(1));
    for topic in 0..TOPICS {
        Hulse::to(&broker, &format!("topic create topic-{topic}")).done();
    }
    let runtime = Runtime::new().unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let client = runtime
        .block_on(Client::builder(&broker.server()).connect())
        .unwrap();
    let tasks: Vec<_> = (0..TOPICS)
        .map(|topic| runtime.spawn(send_all(client.clone(), topic, acknowledged.clone())))
        .collect();
    let all = MESSAGES * TOPICS as u64;
    wait_until("the middle is reached", LIMIT, || {
        (acknowledged.load(Ordering::SeqCst) >= all / 2).then_some(())
    });
    let rounds = metric(broker.admin(), "hulse_journal_rounds_total");
    broker.kill9();
    broker.restart(cores(2));
    runtime.block_on(async {
        for task in tasks {
            tokio::time::timeout(LIMIT, task).await.unwrap().unwrap();
        }
    });
    println!("{rounds} rounds of the journal before the first kill");
    assert!(rounds > 0, "no two partitions shared a sync");

    broker.kill9();
    let journals = broker.data().join("journals");
    assert!(
        fs::read_dir(&journals).unwrap().count() > 0,
        "a killed broker leaves its journals"
    );
    let data = broker.data().to_str().unwrap().to_owned();
    let _ = Hulse::new(["log", "verify", &data]).run().expect(0);
    broker.restart(cores(1));
    for topic in 0..TOPICS {
        let line = format!("consume topic-{topic} -s all --until-end");
        let found = Hulse::to(&broker, &line).done();
        let sent: Vec<String> = (0..MESSAGES).map(|number| message(topic, number)).collect();
        let found = String::from_utf8(found).unwrap();
        assert_eq!(found.lines().collect::<Vec<_>>(), sent, "topic {topic}");
    }
    broker.stop();
    assert_eq!(
        fs::read_dir(&journals).unwrap().count(),
        0,
        "a clean stop leaves no journal"
    );
}
