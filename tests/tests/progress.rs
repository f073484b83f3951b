//! Goal: a consumer that acknowledges by itself acknowledges what the application has done with, and
//! nothing else; a message that is put off comes again at its time, as often as it may, and then is a
//! dead letter. Over the death of programs and brokers nothing is lost.
//!
//! Method: consumers in this process, dropped like those of a program that dies, and brokers that are
//! killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use hulse_client::{
    Attempt, Client, ClientError, Consumer, Reconsumed, RetryPolicy, RetryingConsumer,
    SubscriptionType,
};
use hulse_tests::{Broker, Hulse, LIMIT, wait_until};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Longer than any test takes: only a count, or closing, acknowledges.
const NEVER: Duration = Duration::from_secs(60 * 60);
const MANY: usize = 1_000_000;

/// How long a client may be silent: longer than a busy machine keeps it waiting.
const PATIENT: Duration = Duration::from_secs(30);

async fn connect(broker: &Broker) -> Client {
    let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
    client.connect().await.unwrap()
}

/// Sends numbers, each as an entry of its own.
async fn send(client: &Client, messages: u32) {
    let producer = client.producer("jobs").linger(Duration::ZERO);
    let producer = producer.build().await.unwrap();
    for number in 0..messages {
        drop(producer.send(&number.to_string()).await.unwrap());
    }
    producer.close().await.unwrap();
}

async fn consumer(
    client: &Client,
    kind: SubscriptionType,
    interval: Duration,
    count: usize,
) -> Consumer {
    let consumer = client.consumer("jobs", "work").subscription_type(kind);
    let consumer = consumer.auto_commit(interval, count);
    consumer.build().await.unwrap()
}

/// Receives so many messages.
async fn take(consumer: &Consumer, messages: u32) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..messages {
        let received = timeout(LIMIT, consumer.receive()).await;
        let received = received.expect("there are more").unwrap();
        values.push(String::from_utf8(received.value().to_vec()).unwrap());
    }
    values
}

/// How many entries the subscription has not acknowledged.
fn backlog(broker: &Broker, topic: &str) -> u64 {
    let subscriptions = broker.partition(topic).subscriptions;
    subscriptions.iter().map(|it| it.backlog_entries).sum()
}

/// The subscription's mark.
fn acknowledged(broker: &Broker) -> String {
    broker.partition("jobs").subscriptions[0].mark.clone()
}

#[test]
fn what_is_done_with_is_acknowledged_at_the_count_the_interval_and_the_end() {
    for kind in [SubscriptionType::Exclusive, SubscriptionType::Shared] {
        let runtime = Runtime::new().unwrap();
        let broker = Broker::start(1);
        let reaches = |mark: &str| {
            wait_until(mark, LIMIT, || {
                (acknowledged(&broker) == mark).then_some(())
            });
        };
        runtime.block_on(async {
            let client = connect(&broker).await;
            send(&client, 20).await;
            // The fifth is in the application's hands when it asks for the sixth, and four are done.
            let by_count = consumer(&client, kind, NEVER, 4).await;
            take(&by_count, 5).await;
            reaches("4.0");
            // Its program dies: what was in its hands comes again.
            drop(by_count);
            let by_interval = consumer(&client, kind, Duration::from_millis(20), MANY).await;
            assert_eq!(take(&by_interval, 3).await, ["4", "5", "6"]);
            reaches("6.0");
            drop(by_interval);
            let at_the_end = consumer(&client, kind, NEVER, MANY).await;
            assert_eq!(take(&at_the_end, 4).await, ["6", "7", "8", "9"]);
            assert_eq!(acknowledged(&broker), "6.0");
            at_the_end.close().await.unwrap();
            assert_eq!(acknowledged(&broker), "10.0");
            let left_out = consumer(&client, kind, NEVER, MANY).await;
            let received = left_out.receive().await.unwrap();
            assert_eq!(received.value(), b"10");
            left_out.not_done(&received.message_id());
            take(&left_out, 3).await;
            left_out.close().await.unwrap();
            assert_eq!(acknowledged(&broker), "10.0");
            let rest = consumer(&client, kind, NEVER, MANY).await;
            let expected = match kind {
                SubscriptionType::Shared => ["10", "14"],
                _ => ["10", "11"],
            };
            assert_eq!(take(&rest, 2).await, expected);
            let negative = rest.negative_acknowledge(&received.message_id());
            let in_order = kind == SubscriptionType::Exclusive;
            assert_eq!(
                matches!(negative, Err(ClientError::InvalidArgument { .. })),
                in_order
            );
        });
    }
}

#[test]
fn how_far_the_topic_goes_is_told() {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    Hulse::to(&broker, "topic create jobs --partitions 2").done();
    let sent = runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = client.consumer("jobs", "work").build().await.unwrap();
        assert_eq!(consumer.last_message_ids().await.unwrap(), []);
        assert!(!consumer.has_message_available().await.unwrap());
        let producer = client.producer("jobs-partition-1").build().await.unwrap();
        let mut sent = Vec::new();
        for number in 0..3 {
            let id = producer.send_and_wait(&number.to_string()).await.unwrap();
            sent.push(id);
        }
        for id in &sent {
            assert!(consumer.has_message_available().await.unwrap());
            let received = timeout(LIMIT, consumer.receive()).await.unwrap().unwrap();
            assert_eq!(received.message_id().offset, id.offset);
        }
        assert!(!consumer.has_message_available().await.unwrap());
        let last = consumer.last_message_ids().await.unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!((last[0].partition, last[0].offset), (1, sent[2].offset));
        let first = last[0];
        consumer
            .acknowledge_cumulative_with_receipt(&first)
            .await
            .unwrap();
        sent
    });
    broker.kill9();
    broker.restart(1);
    runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = client.consumer("jobs", "work").build().await.unwrap();
        // Nothing was handed out here, and the mark says that all is done with.
        assert!(!consumer.has_message_available().await.unwrap());
        let last = consumer.last_message_ids().await.unwrap();
        assert_eq!(
            (last[0].term, last[0].offset),
            (sent[2].term, sent[2].offset)
        );
    });
}

async fn retrying(client: &Client, max_retries: u32) -> RetryingConsumer {
    let consumer = client.consumer("jobs", "work");
    let consumer = consumer.subscription_type(SubscriptionType::Shared);
    let retrying = consumer.build_retrying(RetryPolicy::new(max_retries)).await;
    retrying.unwrap()
}

async fn next(consumer: &RetryingConsumer) -> Attempt {
    let received = timeout(LIMIT, consumer.receive()).await;
    received.expect("there are more").unwrap()
}

#[test]
fn a_message_is_tried_as_often_as_it_may_and_then_is_a_dead_letter() {
    const DELAY: Duration = Duration::from_millis(700);
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    Hulse::to(&broker, "produce jobs --key-separator :")
        .input(b"k:bad\nk:good\n")
        .done();
    let (first, put_off) = runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = retrying(&client, 2).await;
        let bad = next(&consumer).await;
        assert_eq!((bad.value(), bad.retries()), (&b"bad"[..], 0));
        let put_off = Instant::now();
        let outcome = consumer.reconsume_later(&bad, DELAY).await.unwrap();
        assert_eq!(outcome, Reconsumed::Later);
        let good = next(&consumer).await;
        assert_eq!(good.value(), b"good", "nothing waits for it");
        consumer.acknowledge_with_receipt(&good).await.unwrap();
        (bad.message_id(), put_off)
    });
    broker.kill9();
    broker.restart(1);
    runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = retrying(&client, 2).await;
        let mut put_off = put_off;
        for retries in 1..=2 {
            let again = next(&consumer).await;
            assert!(put_off.elapsed() >= DELAY, "before its time");
            assert_eq!(again.value(), b"bad");
            assert_eq!(again.key(), Some(&b"k"[..]));
            assert_eq!((again.retries(), again.message_id()), (retries, first));
            put_off = Instant::now();
            let outcome = consumer.reconsume_later(&again, DELAY).await.unwrap();
            let dead = retries == 2;
            assert_eq!(outcome == Reconsumed::DeadLetter, dead, "{retries}");
        }
        consumer.close().await.unwrap();
    });
    assert_eq!(backlog(&broker, "jobs"), 0);
    assert_eq!(backlog(&broker, "jobs-work-RETRY"), 0);
    let letters = "consume jobs-work-DLQ -s look --until-end --keys";
    let letters = Hulse::to(&broker, letters).done();
    assert_eq!(String::from_utf8_lossy(&letters), "k\tbad\n");
}

#[test]
fn what_has_no_place_for_retries_is_refused() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    runtime.block_on(async {
        let client = connect(&broker).await;
        let exclusive = client.consumer("jobs", "work");
        let refused = exclusive.build_retrying(RetryPolicy::new(1)).await;
        assert!(matches!(refused, Err(ClientError::InvalidArgument { .. })));
        let shared = client.consumer("jobs", "work");
        let shared = shared.subscription_type(SubscriptionType::Shared);
        let policy = RetryPolicy {
            retry_topic: Some("persistent://public/default/jobs".to_owned()),
            ..RetryPolicy::new(1)
        };
        let refused = shared.build_retrying(policy).await;
        assert!(matches!(refused, Err(ClientError::InvalidArgument { .. })));
    });
}
