//! Goal: the consumers of one subscription share its messages as its type says, while some are
//! killed, held up and added, and the broker is killed: no message is missed, and what was
//! acknowledged with a receipt does not come again.
//!
//! Method: `hulse consume` in processes of their own, whose outputs together are compared with what
//! was sent; and consumers in this process, which know of each receipt.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hulse_client::{Client, ClientError, Consumer, Message, MessageId, Received, SubscriptionType};
use hulse_tests::{Broker, Hulse, LIMIT, Running, wait_looking, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long is waited to see that nothing comes which must not.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a client of this process may be silent: longer than a busy machine keeps it waiting.
const PATIENT: Duration = Duration::from_secs(30);

/// How often the outputs are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// `hulse consume` processes of one subscription, and where they write.
struct Group {
    kind: &'static str,
    dir: TempDir,
    started: usize,
}

impl Group {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            dir: tempfile::tempdir().unwrap(),
            started: 0,
        }
    }

    /// Starts one more, which goes on until it is stopped.
    fn start(&mut self, broker: &Broker) -> Running {
        let path = self.path(self.started);
        self.started += 1;
        let command = format!("consume jobs -s work --type {} --json", self.kind);
        let command = Hulse::to(broker, &command).output_to(&path);
        command.within(LIMIT * 3).start()
    }

    fn path(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("{number}"))
    }

    /// The messages that each has written so far.
    fn written(&self) -> Vec<Vec<(MessageId, String)>> {
        (0..self.started).map(|it| lines(&self.path(it))).collect()
    }

    /// Waits until they have written so many different messages together.
    fn reach(&self, messages: usize) {
        wait_looking("the consumers get on", LIMIT, LOOK, || {
            // To count the lines costs less than to read them.
            let paths = (0..self.started).map(|it| self.path(it));
            let lines = |path| {
                std::fs::read(path)
                    .unwrap()
                    .split(|it| *it == b'\n')
                    .count()
            };
            if paths.map(lines).sum::<usize>() < messages {
                return None;
            }
            let ids = self.written().into_iter().flatten().map(|(id, _)| id);
            (ids.collect::<BTreeSet<_>>().len() >= messages).then_some(())
        });
    }
}

/// The whole lines that a process has written: the last may be cut off where it was killed.
fn lines(path: &Path) -> Vec<(MessageId, String)> {
    let output = std::fs::read(path).unwrap();
    let whole = output.iter().rposition(|byte| *byte == b'\n');
    let lines = output[..whole.map_or(0, |at| at + 1)].split_inclusive(|byte| *byte == b'\n');
    let read = |line| {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        let id = json["id"].as_str().unwrap().parse().unwrap();
        (id, json["payload"].as_str().unwrap().to_owned())
    };
    lines.map(read).collect()
}

fn input(messages: std::ops::Range<usize>) -> Vec<u8> {
    messages
        .flat_map(|n| format!("job {n}\n").into_bytes())
        .collect()
}

/// Asserts that the outputs together hold what was sent, each message under one id, and that nobody
/// wrote an id twice. Returns how many were written by several.
fn assert_complete(written: &[Vec<(MessageId, String)>], sent: usize) -> usize {
    let mut all = BTreeMap::new();
    let mut repeated = 0;
    for one in written {
        let mut own = BTreeSet::new();
        for (id, value) in one {
            assert!(own.insert(*id), "{id} was written twice by one process");
            if let Some(before) = all.insert(*id, value.clone()) {
                assert_eq!(before, *value, "{id} is another message now");
                repeated += 1;
            }
        }
    }
    let values: BTreeSet<String> = all.into_values().collect();
    let expected: BTreeSet<String> = (0..sent).map(|n| format!("job {n}")).collect();
    let missed = expected.difference(&values).count();
    assert_eq!(missed, 0, "{missed} of {sent} were missed");
    assert_eq!(values.len(), sent);
    repeated
}

/// Asserts that everything is acknowledged, and a new consumer gets nothing.
fn assert_all_acknowledged(broker: &Broker, kind: &str) {
    let command = format!("consume jobs -s work --type {kind} --until-end");
    let rest = Hulse::to(broker, &command).done();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

/// A subscription of this type loses nothing while its consumers come and go and the broker dies.
fn survives(kind: &'static str) {
    const MESSAGES: usize = 20_000;
    let mut broker = Broker::start(1);
    let mut group = Group::new(kind);
    Hulse::to(&broker, "topic create jobs").done();
    let mut consumers: Vec<_> = (0..4).map(|_| group.start(&broker)).collect();
    // A few keys, so that each is with some consumer nearly always.
    let keyed = |n: usize| format!("{}:job {n}\n", n % 97).into_bytes();
    let (command, input) = if kind == "key-shared" {
        let lines = (0..MESSAGES).flat_map(keyed).collect();
        ("produce jobs --rate 10000 --key-separator :", lines)
    } else {
        ("produce jobs --rate 10000", input(0..MESSAGES))
    };
    let producing = Hulse::to(&broker, command)
        .input(&input)
        .within(LIMIT * 3)
        .start();
    group.reach(MESSAGES / 10 * 2);
    consumers.remove(0).kill9();
    group.reach(MESSAGES / 10 * 3);
    // Longer than a client may be silent: it is held for dead, and its messages go to the others.
    let held_up = consumers.remove(0);
    held_up.signal(Signal::STOP);
    group.reach(MESSAGES / 10 * 5);
    consumers.push(group.start(&broker));
    group.reach(MESSAGES / 10 * 6);
    broker.kill9();
    broker.restart(1);
    group.reach(MESSAGES / 10 * 8);
    held_up.signal(Signal::CONT);
    consumers.push(held_up);
    let summary = producing.finish().expect(0).summary();
    assert_eq!((summary.acked, summary.failed), (MESSAGES as u64, 0));
    group.reach(MESSAGES);
    for consumer in &consumers {
        consumer.signal(Signal::INT);
    }
    for consumer in consumers {
        let _ = consumer.finish().expect(130);
    }
    let written = group.written();
    let repeated = assert_complete(&written, MESSAGES);
    let shares: Vec<_> = written.iter().map(Vec::len).collect();
    println!("{kind}: shares {shares:?}, {repeated} came to several");
    assert_all_acknowledged(&broker, kind);
}

#[test]
fn a_shared_subscription_loses_nothing_while_everybody_comes_and_goes() {
    survives("shared");
}

#[test]
fn a_failover_subscription_loses_nothing_while_everybody_comes_and_goes() {
    survives("failover");
}

#[test]
fn a_key_shared_subscription_loses_nothing_while_everybody_comes_and_goes() {
    survives("key-shared");
}

#[test]
fn equal_consumers_get_equal_shares() {
    // Shares differ by one batch at most, which is 1,000 messages: 5 % of a quarter.
    const MESSAGES: usize = 80_000;
    let broker = Broker::start(1);
    Hulse::to(&broker, "topic create jobs").done();
    let mut group = Group::new("shared");
    let consumers: Vec<_> = (0..4).map(|_| group.start(&broker)).collect();
    wait_until("all are attached", LIMIT, || {
        let subscriptions = broker.partition("jobs").subscriptions.into_iter();
        let attached: usize = subscriptions.map(|it| it.consumers.len()).sum();
        (attached == 4).then_some(())
    });
    let command = "produce jobs --rate 20000";
    Hulse::to(&broker, command)
        .input(&input(0..MESSAGES))
        .done();
    group.reach(MESSAGES);
    let written = group.written();
    assert_eq!(
        assert_complete(&written, MESSAGES),
        0,
        "each to one of them"
    );
    let shares: Vec<_> = written.iter().map(Vec::len).collect();
    println!("shares {shares:?}");
    for share in &shares {
        let quarter = MESSAGES / 4;
        assert!(
            share.abs_diff(quarter) <= quarter / 20,
            "{shares:?} are not even within 5 %"
        );
    }
    drop(consumers);
}

async fn consumer(client: &Client, kind: SubscriptionType, name: &str) -> Consumer {
    let consumer = client.consumer("jobs", "work");
    let consumer = consumer.subscription_type(kind).name(name);
    consumer.build().await.unwrap()
}

async fn connect(broker: &Broker) -> Client {
    let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
    client.connect().await.unwrap()
}

/// So many messages, after which nothing comes.
async fn drain(consumer: &Consumer, messages: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < messages {
        let received = timeout(LIMIT, consumer.receive()).await;
        all.push(received.expect("there are more").unwrap());
    }
    assert!(
        timeout(SILENCE, consumer.receive()).await.is_err(),
        "no more"
    );
    all
}

#[test]
fn what_was_acknowledged_with_a_receipt_comes_to_nobody_again() {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    Hulse::to(&broker, "produce jobs")
        .input(&input(0..1_000))
        .done();
    let acknowledged = runtime.block_on(async {
        let client = connect(&broker).await;
        let a = consumer(&client, SubscriptionType::Shared, "a").await;
        let mut acknowledged = BTreeSet::new();
        for (number, received) in drain(&a, 1_000).await.into_iter().enumerate() {
            // Every third: holes all over.
            if number % 3 == 0 {
                let id = received.message_id();
                a.acknowledge_with_receipt(&id).await.unwrap();
                acknowledged.insert(id);
            }
        }
        acknowledged
    });
    assert!(acknowledged.len() > 300);
    broker.kill9();
    broker.restart(1);
    runtime.block_on(async {
        let client = connect(&broker).await;
        let b = consumer(&client, SubscriptionType::Shared, "b").await;
        let again = drain(&b, 1_000 - acknowledged.len()).await;
        let again: BTreeSet<_> = again.iter().map(Received::message_id).collect();
        assert!(again.is_disjoint(&acknowledged));
        assert_eq!(again.len() + acknowledged.len(), 1_000);
        let cumulative = b.acknowledge_cumulative(again.first().unwrap());
        assert!(
            matches!(cumulative, Err(ClientError::InvalidArgument { .. })),
            "{cumulative:?}"
        );
    });
}

/// The reason, as one word, for which the subscription stands still.
fn reason(broker: &Broker) -> String {
    let said = Hulse::to(broker, "explain jobs work --json").done();
    let json: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let blocked = &json["subscriptions"][0]["blocked"];
    blocked["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_a_subscription_waits_for_is_explained() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    Hulse::to(&broker, "produce jobs --key-separator :")
        .input(b"a:1\nb:2\nc:3\n")
        .done();
    let is = |expected: &str| {
        wait_until(expected, LIMIT, || {
            (reason(&broker) == expected).then_some(())
        });
    };
    runtime.block_on(async {
        let client = connect(&broker).await;
        let narrow = client.consumer("jobs", "work");
        let narrow = narrow
            .subscription_type(SubscriptionType::Shared)
            .name("narrow");
        let narrow = narrow.receive_queue(1).build().await.unwrap();
        is("no-permits");
        let first = narrow.receive().await.unwrap();
        let wide = consumer(&client, SubscriptionType::Shared, "wide").await;
        is("unacknowledged");
        let said = Hulse::to(&broker, "explain jobs work").done();
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains("consumer narrow has not acknowledged 0.0"),
            "{said}"
        );
        narrow
            .acknowledge_with_receipt(&first.message_id())
            .await
            .unwrap();
        narrow.close().await.unwrap();
        for received in drain(&wide, 2).await {
            wide.acknowledge_with_receipt(&received.message_id())
                .await
                .unwrap();
        }
        is("caught-up");
        wide.close().await.unwrap();
        is("no-consumer");
    });
}

/// The keys of a topic, and how many messages each has.
const KEYS: u64 = 20;
const EACH: u64 = 40;

/// Who has which keys, and how far each has come.
#[derive(Default)]
struct Keys {
    /// The consumer that has unacknowledged messages of the key, and how many.
    held: BTreeMap<String, (&'static str, usize)>,
    /// The number of the key's newest message that anybody was given.
    newest: BTreeMap<String, u64>,
    received: usize,
    /// Messages whose consumer went without acknowledging them, and that have not come again.
    owed: BTreeSet<(String, u64)>,
    /// All messages of every key were received, and acknowledged.
    over: bool,
}

impl Keys {
    fn took(&mut self, consumer: &'static str, key: &str, number: u64, again: bool) {
        let (holder, count) = self.held.entry(key.to_owned()).or_insert((consumer, 0));
        assert_eq!(*holder, consumer, "{key} is with two consumers");
        *count += 1;
        let newest = self.newest.entry(key.to_owned()).or_insert(0);
        assert!(
            number == *newest + 1 || again && number <= *newest,
            "{key}: message {number} after {newest}"
        );
        *newest = (*newest).max(number);
        self.owed.remove(&(key.to_owned(), number));
        self.received += 1;
    }

    fn done(&mut self, key: &str) {
        let Some((_, count)) = self.held.get_mut(key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.held.remove(key);
        }
        let all = self.newest.values().filter(|newest| **newest == EACH);
        let all = all.count() as u64 == KEYS;
        self.over = all && self.held.is_empty() && self.owed.is_empty();
    }

    /// A consumer goes without acknowledging its last message.
    fn left(&mut self, consumer: &str, key: String, number: u64) {
        self.held.retain(|_, (holder, _)| *holder != consumer);
        self.owed.insert((key, number));
    }
}

/// Receives and acknowledges until all is over, or `most` messages have come: then it goes with the
/// last one unacknowledged.
async fn work(client: Client, name: &'static str, keys: Arc<Mutex<Keys>>, most: usize) {
    let consumer = consumer(&client, SubscriptionType::KeyShared, name).await;
    let mut count = 0;
    while !keys.lock().unwrap().over {
        let Ok(received) = timeout(LOOK, consumer.receive()).await else {
            continue;
        };
        let received = received.unwrap();
        count += 1;
        let key = String::from_utf8(received.key().unwrap().to_vec()).unwrap();
        let number = String::from_utf8_lossy(received.value()).parse().unwrap();
        let again = received.redelivery_count() > 0;
        keys.lock().unwrap().took(name, &key, number, again);
        if count == most {
            // The broker has it back when the consumer is closed; nobody else may have it before.
            keys.lock().unwrap().left(name, key, number);
            break;
        }
        // Nobody else is given the key before the broker has this.
        keys.lock().unwrap().done(&key);
        let receipt = consumer.acknowledge_with_receipt(&received.message_id());
        receipt.await.unwrap();
    }
    consumer.close().await.unwrap();
}

#[test]
fn a_key_is_with_one_consumer_and_in_order_while_consumers_come_and_go() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    let keys = Arc::new(Mutex::new(Keys::default()));
    runtime.block_on(async {
        let client = connect(&broker).await;
        let producer = client.producer("jobs").batch_by_key(true);
        let producer = producer.build().await.unwrap();
        let begin = |name, most| tokio::spawn(work(client.clone(), name, keys.clone(), most));
        let first = [begin("a", usize::MAX), begin("b", 100)];
        for number in 1..=EACH {
            for key in 0..KEYS {
                let (key, value) = (format!("key-{key}"), number.to_string());
                let message = Message::keyed(&key, &value);
                drop(producer.send(message).await.unwrap());
            }
        }
        producer.flush().await.unwrap();
        let then = [begin("c", 80), begin("d", usize::MAX)];
        for consumer in first.into_iter().chain(then) {
            consumer.await.unwrap();
        }
    });
    let keys = keys.lock().unwrap();
    assert_eq!(keys.newest.len() as u64, KEYS);
    assert!(
        keys.newest.values().all(|newest| *newest == EACH),
        "all of each"
    );
    println!(
        "{} messages, {} again",
        KEYS * EACH,
        keys.received as u64 - KEYS * EACH
    );
    assert_all_acknowledged(&broker, "key-shared");
}
