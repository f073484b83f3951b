//! The data directory that is damaged, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hulse_client::{Client, MessageId};
use hulse_tests::{Broker, Hulse, LIMIT, Random, Stored, cores, message, read_json};
use rand::RngExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How the broker that wrote the files has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By SIGKILL: nothing proves that its last round was synced.
    Killed,
    /// By SIGTERM.
    Stopped,
}

/// The subscription of `orders` that is half acknowledged.
pub(crate) const SUBSCRIPTION: &str = "half";
/// The producer of `orders`.
pub(crate) const PRODUCER: &str = "shop";

/// A data directory and what is in it.
pub(crate) struct Scene {
    dir: TempDir,
    pub(crate) end: End,
    /// What is stored, by topic, in the order of ids.
    pub(crate) topics: BTreeMap<&'static str, Vec<Stored>>,
    /// The topics by their partitions' ids.
    pub(crate) partitions: BTreeMap<String, &'static str>,
    /// What the subscription has not acknowledged.
    pub(crate) left: BTreeSet<MessageId>,
    /// The producer's newest sequence number.
    pub(crate) last_sequence: u64,
}

impl Scene {
    pub(crate) fn new(random: &mut Random, end: End) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut broker = Broker::start_on(&data, cores(2));
        for create in ["parts --partitions 2", "quiet --ack memory", "orders"] {
            Hulse::to(&broker, &format!("topic create {create}")).done();
        }
        let runtime = Runtime::new().unwrap();
        runtime.block_on(produce(&broker));
        let acknowledged = runtime.block_on(acknowledge(&broker, random));
        // Later entries prove that everything before them was durable. Of the very last round of
        // writes nothing does after a kill, so that rot in it cannot be told from a torn tail.
        for (topic, lines) in [("parts", "one\ntwo\nthree\nfour\n"), ("quiet", "end\n")] {
            Hulse::to(&broker, &format!("produce {topic}"))
                .input(lines.as_bytes())
                .done();
        }
        let last_sequence = runtime.block_on(produce_the_end(&broker));
        let mut topics = BTreeMap::new();
        let mut partitions = BTreeMap::new();
        for topic in ["orders", "parts", "quiet"] {
            let consume = format!("consume {topic} -s witness --until-end --json --ack none");
            let mut stored = read_json(&Hulse::to(&broker, &consume).done());
            stored.sort_by_key(|stored| (stored.id.partition, stored.id));
            assert!(stored.len() >= 5, "{topic}");
            topics.insert(topic, stored);
            let described = broker.describe(topic).unwrap();
            partitions.extend(described.partitions.into_iter().map(|p| (p.id, topic)));
        }
        match end {
            End::Killed => broker.kill9(),
            End::Stopped => assert_eq!(broker.stop().code(), Some(0)),
        }
        let orders = topics["orders"].iter().map(|stored| stored.id);
        let left = orders.filter(|id| !acknowledged.contains(id)).collect();
        Self {
            dir,
            end,
            topics,
            partitions,
            left,
            last_sequence,
        }
    }

    /// A copy of the files.
    pub(crate) fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&self.dir.path().join("data"), copy.path());
        copy
    }
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Enough entries for several segments, and a few in the other topics.
async fn produce(broker: &Broker) {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    for (topic, producer, messages) in [
        ("orders", PRODUCER, 1_000),
        ("parts", "parts", 60),
        ("quiet", "quiet", 60),
    ] {
        let builder = client.producer(topic).name(producer).batch_messages(7);
        let producer = builder.build().await.unwrap();
        for number in 0..messages {
            let value = message::value(&producer.name(), number);
            drop(producer.send(&value).await.unwrap());
        }
        producer.close().await.unwrap();
    }
}

/// Two rounds more, by the same producer. Gives its newest sequence number.
async fn produce_the_end(broker: &Broker) -> u64 {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let producer = client.producer("orders").name(PRODUCER);
    let producer = producer.build().await.unwrap();
    let last = producer.last_sequence().unwrap();
    for number in [last + 1, last + 2] {
        let value = message::value(PRODUCER, number);
        producer.send_and_wait(&value).await.unwrap();
    }
    producer.close().await.unwrap();
    last + 2
}

/// Acknowledges here and there, with receipts, in many rounds.
async fn acknowledge(broker: &Broker, random: &mut Random) -> BTreeSet<MessageId> {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let consumer = client.consumer("orders", SUBSCRIPTION);
    let consumer = consumer.build().await.unwrap();
    let mut acknowledged = BTreeSet::new();
    for _ in 0..600 {
        let received = timeout(LIMIT, consumer.receive()).await;
        let id = received.expect("a message").unwrap().message_id();
        if random.random_bool(0.6) {
            consumer.acknowledge_with_receipt(&id).await.unwrap();
            acknowledged.insert(id);
        }
    }
    consumer.close().await.unwrap();
    acknowledged
}
