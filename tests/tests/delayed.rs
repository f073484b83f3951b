//! Goal: messages with a time are delivered at it, not before and once, more of them than a broker
//! remembers one by one, with a broker that is killed before they are due; everything else overtakes
//! them.
//!
//! Method: a producer and a consumer in this process, which know the times; and the command line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hulse_client::{Client, Consumer, Message, Received, SubscriptionType};
use hulse_model::limits::DELAYED_ENTRIES_MAX;
use hulse_tests::{Broker, Hulse, LIMIT, wait_until};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Messages with a time: more than are remembered one by one.
const DELAYED: usize = DELAYED_ENTRIES_MAX + 5_000;
/// Messages without one.
const PLAIN: usize = 1_000;
/// How long nothing is due: time for sending, and for a broker's death. It is looked at, not trusted.
const QUIET: Duration = Duration::from_secs(20);
/// The times lie within so many milliseconds.
const SPREAD_MS: u64 = 8_000;

/// How long a client may be silent: longer than a busy machine keeps it waiting.
const PATIENT: Duration = Duration::from_secs(30);

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn connect(broker: &Broker) -> Client {
    let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
    client.connect().await.unwrap()
}

async fn consumer(client: &Client, kind: SubscriptionType) -> Consumer {
    let consumer = client.consumer("jobs", "work").subscription_type(kind);
    consumer.build().await.unwrap()
}

async fn next(consumer: &Consumer) -> Received {
    let received = timeout(LIMIT, consumer.receive()).await;
    received.expect("there are more").unwrap()
}

/// What `explain --json` says of the subscription's standing still.
fn blocked(broker: &Broker) -> serde_json::Value {
    let said = Hulse::to(broker, "explain jobs work --json").done();
    let json: serde_json::Value = serde_json::from_slice(&said).unwrap();
    json["subscriptions"][0]["blocked"].clone()
}

/// Sends the messages: each tenth of those without a time comes among the others.
async fn send_all(client: &Client, first_due_ms: u64) {
    let producer = client.producer("jobs").build().await.unwrap();
    for number in 0..DELAYED {
        let due_ms = first_due_ms + number as u64 * 7_919 % SPREAD_MS;
        let value = format!("later {number}");
        let key = format!("key {}", number % 100);
        let message = Message {
            deliver_at_ms: Some(due_ms),
            ..Message::keyed(&key, &value)
        };
        drop(producer.send(message).await.unwrap());
        if number % (DELAYED / PLAIN) == 0 && number / (DELAYED / PLAIN) < PLAIN {
            let value = format!("now {}", number / (DELAYED / PLAIN));
            drop(producer.send(Message::keyed(&key, &value)).await.unwrap());
        }
    }
    producer.close().await.unwrap();
}

fn at_their_times(kind: SubscriptionType) {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    let quiet_ms = u64::try_from(QUIET.as_millis()).unwrap();
    let first_due_ms = now_ms() + quiet_ms;
    runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = consumer(&client, kind).await;
        let sending = client.clone();
        let sending = tokio::spawn(async move { send_all(&sending, first_due_ms).await });
        for _ in 0..PLAIN {
            let received = next(&consumer).await;
            assert_eq!(received.deliver_at_ms(), None, "what is due goes out");
            consumer
                .acknowledge_with_receipt(&received.message_id())
                .await
                .unwrap();
        }
        sending.await.unwrap();
        println!(
            "sent {} ms before the first is due",
            first_due_ms.saturating_sub(now_ms())
        );
        wait_until("it waits for a time", LIMIT, || {
            let blocked = blocked(&broker);
            (blocked["reason"] == "delayed").then(|| {
                assert_eq!(blocked["due_ms"], first_due_ms);
                assert!(blocked["entry"].is_u64(), "{blocked}");
            })
        });
    });
    broker.kill9();
    broker.restart(1);
    let restarted_ms = now_ms();
    assert!(
        restarted_ms < first_due_ms,
        "the machine is too slow to see anything"
    );
    runtime.block_on(async {
        let client = connect(&broker).await;
        let consumer = consumer(&client, kind).await;
        let mut values = BTreeSet::new();
        let mut latest_ms = 0;
        while values.len() < DELAYED {
            let received = next(&consumer).await;
            let now_ms = now_ms();
            let due_ms = received
                .deliver_at_ms()
                .expect("the others are acknowledged");
            assert!(now_ms >= due_ms, "{} ms too early", due_ms - now_ms);
            latest_ms = latest_ms.max(now_ms - due_ms);
            assert!(values.insert(received.value().to_vec()), "twice");
            consumer.acknowledge(&received.message_id()).unwrap();
        }
        consumer.flush().await.unwrap();
        println!("{kind:?}: the latest one came {latest_ms} ms after its time");
    });
    wait_until("all is acknowledged", LIMIT, || {
        let subscription = broker.partition("jobs").subscriptions.into_iter().next()?;
        (subscription.backlog_entries == 0).then_some(())
    });
}

#[test]
fn a_shared_subscription_gets_everything_at_its_time() {
    at_their_times(SubscriptionType::Shared);
}

#[test]
fn a_key_shared_subscription_gets_everything_at_its_time() {
    at_their_times(SubscriptionType::KeyShared);
}

#[test]
fn the_command_line_delays_and_says_what_is_waited_for() {
    let broker = Broker::start(1);
    let before_ms = now_ms();
    Hulse::to(&broker, "produce jobs --deliver-after 6s")
        .input(b"later\n")
        .done();
    Hulse::to(&broker, "produce jobs").input(b"now\n").done();
    let far = "produce jobs --deliver-at 1971-01-01T00:00:00Z";
    Hulse::to(&broker, far).input(b"long due\n").done();
    // What keeps the partition's order looks at no times.
    let all = Hulse::to(&broker, "consume jobs -s audit --until-end").done();
    assert_eq!(String::from_utf8_lossy(&all), "later\nnow\nlong due\n");
    assert!(
        now_ms() < before_ms + 6_000,
        "the machine is too slow to see anything"
    );
    for kind in ["shared", "key-shared"] {
        let command = format!("consume jobs -s {kind} --type {kind} --until-end");
        let written = Hulse::to(&broker, &command).done();
        assert_eq!(
            String::from_utf8_lossy(&written),
            match kind {
                // The first one has waited for it, so that it is due for the second.
                "shared" => "now\nlong due\nlater\n",
                _ => "later\nnow\nlong due\n",
            }
        );
        assert!(now_ms() >= before_ms + 6_000, "before its time");
    }
    Hulse::to(&broker, "produce jobs --deliver-after 1d")
        .input(b"tomorrow\n")
        .done();
    let waiting = Hulse::to(&broker, "consume jobs -s shared --type shared").piped_output();
    let waiting = waiting.start();
    wait_until("it is explained", LIMIT, || {
        let said = Hulse::to(&broker, "explain jobs shared").done();
        let said = String::from_utf8(said).unwrap();
        said.contains("entry 3 is due at 20").then_some(())
    });
    drop(waiting);
    let both = [
        "--deliver-after 1s --deliver-at 5",
        "--deliver-after soon",
        "--deliver-at x",
    ];
    for flags in both {
        let command = format!("produce jobs {flags}");
        let finished = Hulse::to(&broker, &command).input(b"").run();
        let _ = finished.expect(2);
    }
}
