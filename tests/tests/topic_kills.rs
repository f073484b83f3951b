//! Goal: topics that are created and deleted while the broker is killed are there or gone, as their
//! owner was told, with all of their files or none.
//!
//! Method: a client creates topics, sends a message to each and deletes some of them, as fast as it
//! is let, while the broker is killed with SIGKILL at random moments. In the end the list of topics
//! and the directories are compared with the answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hulse_client::{Client, ClientError, TopicSpec};
use hulse_tests::{Broker, Hulse, LIMIT, Random, cores, is_long, random, wait_until};
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;

/// What the owner of a topic was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It is there, and holds one message.
    Exists,
    /// It is gone.
    Gone,
    /// Nothing, since the connection was lost: it may be there or not.
    Nothing,
}

#[derive(Default)]
struct Shared {
    answers: AtomicU64,
    stopping: AtomicBool,
}

/// Creates and deletes topics until it is stopped. Gives what it was told of each, and the number
/// of its partitions.
async fn churn(
    client: Client,
    shared: Arc<Shared>,
    mut random: Random,
) -> BTreeMap<String, (Told, usize)> {
    let mut topics = BTreeMap::new();
    for number in 0.. {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let topic = format!("topic-{number}");
        let partitions = random.random_range(0..4);
        let count = usize::try_from(partitions).unwrap().max(1);
        let spec = TopicSpec {
            partitions,
            ..TopicSpec::default()
        };
        let mut told = told(
            client.admin().create_topic(&topic, &spec).await,
            Told::Exists,
        );
        if told == Told::Exists {
            let producer = client.producer(&topic).build().await.unwrap();
            producer.send_and_wait("kept").await.unwrap();
        }
        shared.answers.fetch_add(1, Ordering::SeqCst);
        if random.random_bool(0.5) {
            told = self::told(client.admin().delete_topic(&topic).await, Told::Gone);
            shared.answers.fetch_add(1, Ordering::SeqCst);
        }
        topics.insert(topic, (told, count));
    }
    topics
}

/// What an answer says; an operation that was cut off may have been carried out or not.
fn told<T>(answer: Result<T, ClientError>, done: Told) -> Told {
    match answer {
        Ok(_) => done,
        Err(error) => {
            println!("{error}");
            Told::Nothing
        }
    }
}

#[test]
fn topics_are_there_or_gone_as_was_told() {
    let mut random = random("topics_are_there_or_gone_as_was_told");
    let kills = if is_long() || cfg!(feature = "system") {
        100
    } else {
        12
    };
    let mut broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    let shared = Arc::new(Shared::default());
    let seed = Random::seed_from_u64(random.random());
    let client = runtime
        .block_on(Client::builder(&broker.server()).connect())
        .unwrap();
    let task = runtime.spawn(churn(client, Arc::clone(&shared), seed));
    for kill in 0..kills {
        let answers = || shared.answers.load(Ordering::SeqCst);
        let target = answers() + random.random_range(0..20);
        wait_until("topics are made", LIMIT, || {
            assert!(!task.is_finished(), "the client has ended before its time");
            (answers() >= target).then_some(())
        });
        broker.kill9();
        broker.restart(cores(1 + kill % 2));
    }
    shared.stopping.store(true, Ordering::SeqCst);
    let topics =
        runtime.block_on(async { tokio::time::timeout(LIMIT, task).await.unwrap().unwrap() });

    broker.kill9();
    broker.restart(cores(2));
    let mut expected_dirs = BTreeSet::new();
    let mut unknown = 0;
    for (topic, (told, partitions)) in &topics {
        let described = broker.describe(topic);
        unknown += usize::from(*told == Told::Nothing);
        assert!(
            *told != Told::Exists || described.is_some(),
            "{topic} was created and is lost"
        );
        assert!(
            *told != Told::Gone || described.is_none(),
            "{topic} was deleted and is back"
        );
        let Some(described) = described else { continue };
        assert_eq!(described.partitions.len(), *partitions, "{topic}");
        for partition in &described.partitions {
            assert_eq!(partition.poisoned, None, "{topic}");
            assert!(
                expected_dirs.insert(partition.id.clone()),
                "{topic}: {}",
                partition.id
            );
        }
        let held: u64 = described
            .partitions
            .iter()
            .map(|one| one.high_watermark)
            .sum();
        assert!(
            held == 1 || *told != Told::Exists,
            "{topic} holds {held} messages"
        );
    }
    // What is left of deleted topics is removed by and by.
    let dirs = || -> BTreeSet<String> {
        let listed = std::fs::read_dir(broker.data().join("partitions")).unwrap();
        listed
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    wait_until("the directories are those of the topics", LIMIT, || {
        (dirs() == expected_dirs).then_some(())
    });
    println!(
        "{kills} kills, {} topics, {unknown} without an answer",
        topics.len()
    );
    broker.kill9();
    let data = broker.data().display().to_string();
    let _ = Hulse::new(["log", "verify", &data]).run().expect(0);
}

#[test]
fn a_topic_can_be_deleted_while_its_segments_are_being_made() {
    let broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::builder(&broker.server()).connect().await.unwrap();
        for number in 0..60 {
            let topic = format!("short-{number}");
            let producer = client.producer(&topic).build().await.unwrap();
            // More than half of the first segments: a helper begins to make the next.
            for _ in 0..=number % 4 {
                producer.send_and_wait(&"x".repeat(10_000)).await.unwrap();
            }
            client.admin().delete_topic(&topic).await.unwrap();
        }
    });
    let partitions = broker.data().join("partitions");
    wait_until("no files are left", LIMIT, || {
        std::fs::read_dir(&partitions)
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
}
