//! Goal: a topic that grows while it is used loses and repeats nothing: producers and consumers find
//! the new partitions by themselves, and subscriptions whose consumers are away have them too.
//!
//! Method: clients of this process that produce and consume all the while; growths of a broker that
//! is killed with SIGKILL at random moments.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hulse_client::{Client, Consumer, Message, MessageId, StartFrom, SubscriptionType, TopicSpec};
use hulse_tests::{Broker, Hulse, LIMIT, cores, random};
use rand::RngExt;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

/// How soon clients find new partitions, as `docs/protocol.md` has it.
const FOUND_WITHIN: Duration = Duration::from_secs(4);

/// How long a client of this process may be silent: longer than a busy machine keeps it waiting.
const PATIENT: Duration = Duration::from_secs(30);

async fn connect(broker: &Broker) -> Client {
    let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
    client.connect().await.unwrap()
}

async fn create(client: &Client, partitions: u32) {
    let spec = TopicSpec {
        partitions,
        ..TopicSpec::default()
    };
    client.admin().create_topic("jobs", &spec).await.unwrap();
}

/// Receives until all the values have come, each once. Gives their ids.
async fn receive_all(consumer: &Consumer, sent: u64) -> BTreeMap<u64, MessageId> {
    let mut ids = BTreeMap::new();
    while (ids.len() as u64) < sent {
        let received = timeout(LIMIT, consumer.receive()).await;
        let received = received
            .unwrap_or_else(|_| panic!("{} of {sent} came", ids.len()))
            .unwrap();
        let value = String::from_utf8_lossy(received.value()).parse().unwrap();
        let before = ids.insert(value, received.message_id());
        assert_eq!(before, None, "message {value} came twice");
        consumer
            .acknowledge_with_receipt(&received.message_id())
            .await
            .unwrap();
    }
    ids
}

#[test]
fn whoever_is_connected_finds_new_partitions_and_misses_nothing() {
    let broker = Broker::start(cores(2));
    Runtime::new().unwrap().block_on(async {
        let client = connect(&broker).await;
        create(&client, 2).await;
        let other = connect(&broker).await;
        let away = || {
            let consumer = other.consumer("jobs", "away").start(StartFrom::Latest);
            consumer.subscription_type(SubscriptionType::Shared).build()
        };
        away().await.unwrap().close().await.unwrap();
        let alone = client.consumer("jobs", "alone").build().await.unwrap();
        let shared = other
            .consumer("jobs", "shared")
            .start(StartFrom::Latest)
            .subscription_type(SubscriptionType::Shared);
        let shared = shared.build().await.unwrap();
        assert_eq!(shared.active_partitions(), [0, 1]);
        let producer = client.producer("jobs").name("p").batch_messages(4);
        let producer = Arc::new(producer.build().await.unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn({
            let (producer, over) = (Arc::clone(&producer), Arc::clone(&over));
            async move {
                let mut sent = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    // Messages without a key, and with one.
                    let value = sent.to_string();
                    let message = match sent % 2 {
                        0 => Message::new(&value),
                        _ => Message::keyed(&value, &value),
                    };
                    drop(producer.send(message).await.unwrap());
                    sent += 1;
                    sleep(Duration::from_micros(200)).await;
                }
                producer.flush().await.unwrap();
                sent
            }
        });
        Hulse::to(&broker, "topic grow jobs --partitions 6").done();
        let grown = Instant::now();
        while [
            producer.partitions(),
            alone.partitions(),
            shared.partitions(),
        ] != [6; 3]
        {
            assert!(
                grown.elapsed() < FOUND_WITHIN + LIMIT,
                "they are never found"
            );
            sleep(Duration::from_millis(5)).await;
        }
        println!("found within {} ms", grown.elapsed().as_millis());
        assert!(grown.elapsed() < FOUND_WITHIN, "{:?}", grown.elapsed());
        let chosen = producer.send(Message::new("4000000000").to_partition(5));
        assert_eq!(chosen.await.unwrap().await.unwrap().partition, 5);
        let wrong = producer.send(Message::new("x").to_partition(6)).await;
        assert!(wrong.unwrap_err().to_string().contains("no partition 6"));
        sleep(Duration::from_millis(500)).await;
        over.store(true, Ordering::Relaxed);
        let sent = sending.await.unwrap() + 1;
        let ids = receive_all(&alone, sent).await;
        for partition in 0..6 {
            let of_it = ids.values().filter(|id| id.partition == partition);
            assert!(of_it.count() > 20, "partition {partition} is used");
        }
        assert_eq!(receive_all(&shared, sent).await, ids);
        assert_eq!(shared.active_partitions(), [0, 1, 2, 3, 4, 5]);
        // It was away all the time, and begins at the newest message where it is not known.
        assert_eq!(receive_all(&away().await.unwrap(), sent).await, ids);
    });
}

#[test]
fn what_cannot_grow_says_why() {
    let broker = Broker::start(1);
    Hulse::to(&broker, "topic create jobs --partitions 4").done();
    Hulse::to(&broker, "topic create single").done();
    let refused = |line: &str, words: &[&str]| Hulse::to(&broker, line).run().refused(1, words);
    refused(
        "topic grow jobs --partitions 3",
        &["has 4 partitions", "cannot be made smaller"],
    );
    refused("topic grow single --partitions 4", &["without partitions"]);
    refused("topic grow nothing --partitions 4", &["TOPIC_NOT_FOUND"]);
    let done = Hulse::to(&broker, "topic grow jobs --partitions 4").done();
    let name = "persistent://public/default/jobs";
    assert_eq!(
        String::from_utf8(done).unwrap(),
        format!("{name} has 4 partitions\n"),
        "as many as it has: nothing to do"
    );
}

#[test]
fn a_broker_killed_while_a_topic_grows_has_all_new_partitions_or_none() {
    const ROUNDS: u32 = 12;
    let mut random = random("a_broker_killed_while_a_topic_grows");
    let mut broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let client = connect(&broker).await;
        create(&client, 1).await;
        let consumer = client.consumer("jobs", "work").build().await.unwrap();
        consumer.close().await.unwrap();
    });
    let mut known = 1;
    let mut interrupted = 0;
    for round in 1..=ROUNDS {
        let wanted = known + 2;
        let grow = Hulse::to(&broker, &format!("topic grow jobs --partitions {wanted}"));
        let growing = grow.start();
        std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
        broker.kill9();
        drop(growing);
        broker.restart(cores(1 + round as usize % 2));
        let topic = broker.describe("jobs").unwrap();
        let has = topic.partitions.len();
        assert!(has == known || has == wanted, "{has} of {known} and 2");
        interrupted += usize::from(has == known);
        known = has;
        for partition in &topic.partitions {
            assert_eq!(partition.poisoned, None);
            let subscriptions = partition.subscriptions.iter().map(|it| it.name.as_str());
            assert_eq!(subscriptions.collect::<Vec<_>>(), ["work"]);
        }
    }
    println!("{interrupted} of {ROUNDS} were not begun");
    runtime.block_on(async {
        let client = connect(&broker).await;
        let producer = client.producer("jobs").build().await.unwrap();
        assert_eq!(producer.partitions(), known);
        let consumer = client.consumer("jobs", "work").build().await.unwrap();
        for partition in 0..known {
            let value = partition.to_string();
            let message = Message::new(&value).to_partition(u32::try_from(partition).unwrap());
            drop(producer.send(message).await.unwrap());
        }
        receive_all(&consumer, known as u64).await;
    });
}
