//! Goal: a consumer that is killed loses nothing. What it had not acknowledged comes again to the
//! next one, and what was acknowledged with a receipt does not.
//!
//! Method: `hulse consume --json` is killed with SIGKILL at random points, again and again; the ids
//! of all its lives together are compared with those that were sent, and those of each life with
//! the mark that the broker had for the one before. A client in this process, which knows of each
//! receipt, dies together with the broker; its successor must get the rest to the message.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use hulse_client::{Client, Consumer, MessageId};
use hulse_tests::{Broker, Hulse, LIMIT, cores, random, wait_until};
use rand::RngExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// A message of `consume --json`.
type Line = (MessageId, String);

/// A place between messages: offset and index.
type Place = (u64, u32);

/// The whole lines of some output: the last one may be cut off where its writer was killed.
fn lines(output: &[u8]) -> Vec<Line> {
    let whole = output
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = output[..whole].split_inclusive(|byte| *byte == b'\n');
    let read = |line| {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        let id = json["id"].as_str().unwrap().parse().unwrap();
        (id, json["payload"].as_str().unwrap().to_owned())
    };
    lines.map(read).collect()
}

/// What the lives of a consumer have written so far.
#[derive(Default)]
struct Seen {
    messages: BTreeMap<MessageId, String>,
    repeated: usize,
}

impl Seen {
    /// Takes what a life has written that began when everything before `mark` was acknowledged.
    fn take(&mut self, written: &Path, mark: Place) {
        let mut life = BTreeSet::new();
        for (id, value) in lines(&std::fs::read(written).unwrap()) {
            let place = (id.offset.0, u32::try_from(id.index).unwrap());
            assert!(
                place >= mark,
                "{id} came again; everything before {mark:?} was acknowledged"
            );
            assert!(life.insert(id), "{id} was written twice by one process");
            if let Some(before) = self.messages.insert(id, value.clone()) {
                assert_eq!(before, value, "{id} is another message now");
                self.repeated += 1;
            }
        }
    }
}

/// How far the subscription has been acknowledged, once the broker has noticed that its consumer is
/// gone: nothing more of it is on its way then.
fn mark(broker: &Broker, topic: &str, subscription: &str) -> Place {
    wait_until(
        "the broker notices that the consumer is gone",
        LIMIT,
        || {
            let partition = broker.partition(topic);
            let found = partition
                .subscriptions
                .into_iter()
                .find(|one| one.name == subscription);
            // The consumer may have been killed before it had subscribed.
            let Some(found) = found else {
                return Some((0, 0));
            };
            let (offset, index) = found.mark.split_once('.').unwrap();
            let mark = (offset.parse().unwrap(), index.parse().unwrap());
            found.consumers.is_empty().then_some(mark)
        },
    )
}

#[test]
fn a_consumer_that_is_killed_again_and_again_misses_nothing() {
    const MESSAGES: usize = 60_000;
    let mut random = random("a_consumer_that_is_killed_again_and_again_misses_nothing");
    let broker = Broker::start(cores(2));
    let input: Vec<u8> = (0..MESSAGES)
        .flat_map(|n| format!("message {n}\n").into_bytes())
        .collect();
    Hulse::to(&broker, "produce ids").input(&input).done();
    let all = lines(&Hulse::to(&broker, "consume ids -s all --until-end --json").done());
    for (number, (id, value)) in all.iter().enumerate() {
        assert_eq!(*value, format!("message {number}"), "{id}");
    }
    let sent: BTreeMap<MessageId, String> = all.into_iter().collect();
    assert_eq!(sent.len(), MESSAGES, "an id was given twice");

    let dir = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    let mut at = (0, 0);
    let mut kills = 0;
    loop {
        let path = dir.path().join(format!("life-{kills}"));
        let command = "consume ids -s worker --until-end --json";
        let mut worker = Hulse::to(&broker, command).output_to(&path).start();
        // Sometimes before anything is written, otherwise in the middle.
        let bytes = random.random_range(0..600_000_u64).saturating_sub(100_000);
        let ended = wait_until("the consumer writes", LIMIT, || {
            let written = std::fs::metadata(&path).map_or(0, |file| file.len());
            (written >= bytes || !worker.runs()).then(|| !worker.runs())
        });
        if ended {
            let _ = worker.finish().expect(0);
            seen.take(&path, at);
            break;
        }
        worker.kill9();
        kills += 1;
        seen.take(&path, at);
        let now = mark(&broker, "ids", "worker");
        assert!(now >= at, "the mark went back from {at:?} to {now:?}");
        at = now;
    }
    println!("{kills} kills, {} messages came again", seen.repeated);
    assert!(kills >= 2, "it was killed {kills} times only");
    let (got, wanted) = (seen.messages.len(), sent.len());
    assert!(
        seen.messages == sent,
        "{got} ids were received, {wanted} were sent"
    );
}

#[test]
fn what_has_a_receipt_never_comes_again_and_all_else_does() {
    const MESSAGES: usize = 3_000;
    let mut random = random("what_has_a_receipt_never_comes_again_and_all_else_does");
    let mut broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    let input: Vec<u8> = (0..MESSAGES)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    Hulse::to(&broker, "produce ids").input(&input).done();
    let mut left: BTreeSet<MessageId> = runtime.block_on(async {
        let consumer = subscribe(&broker, "all").await;
        receive(&consumer, MESSAGES).await
    });
    for round in 0..4 {
        let receipted: BTreeSet<MessageId> = runtime.block_on(async {
            let consumer = subscribe(&broker, "worker").await;
            let received = receive(&consumer, left.len()).await;
            assert!(
                received == left,
                "round {round}: {} of {} came",
                received.len(),
                left.len()
            );
            // Here and there, so that holes stay between what is acknowledged.
            let chosen: BTreeSet<_> = received
                .into_iter()
                .filter(|_| random.random_bool(0.3))
                .collect();
            let receipts: Vec<_> = chosen
                .iter()
                .map(|id| consumer.acknowledge_with_receipt(id))
                .collect();
            for receipt in receipts {
                timeout(LIMIT, receipt).await.expect("a receipt").unwrap();
            }
            chosen
            // The consumer is dropped here; it has no time to say goodbye.
        });
        broker.kill9();
        broker.restart(cores(1 + round % 2));
        left = left.difference(&receipted).copied().collect();
        println!(
            "round {round}: {} acknowledged, {} left",
            receipted.len(),
            left.len()
        );
    }
}

async fn subscribe(broker: &Broker, subscription: &str) -> Consumer {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    client.consumer("ids", subscription).build().await.unwrap()
}

/// The ids of the next so many messages, and no more may come for a moment: as long as the broker
/// takes to answer a question that is asked behind them.
async fn receive(consumer: &Consumer, messages: usize) -> BTreeSet<MessageId> {
    let mut ids = BTreeSet::new();
    while ids.len() < messages {
        let received = timeout(LIMIT, consumer.receive_many(1_000)).await;
        for message in received.expect("a message").unwrap() {
            assert!(
                ids.insert(message.message_id()),
                "{} came twice",
                message.message_id()
            );
        }
    }
    let more = timeout(Duration::from_millis(20), consumer.receive()).await;
    assert!(more.is_err(), "more than {messages} came: {more:?}");
    ids
}
