//! Goal: the consumers of a failover subscription are spread evenly over the partitions of its topic,
//! over the cores of a broker, while they come, go and die; what moves moves one by one, and nothing
//! is missed, or delivered again that was acknowledged with a receipt.
//!
//! Method: consumers of this process, which know what each is active on and each receipt, and
//! `hulse consume` in a process of its own that is killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hulse_client::{
    Client, ClientError, Consumer, Message, MessageId, SubscriptionType, TopicSpec,
};
use hulse_tests::{Broker, Hulse, LIMIT, cores};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const PARTITIONS: u32 = 8;

/// How long a client of this process may be silent: longer than a busy machine keeps it waiting.
const PATIENT: Duration = Duration::from_secs(30);

/// What all consumers have had.
#[derive(Default)]
struct Ledger {
    /// Acknowledged with a receipt, or about to be: by whom is of no interest.
    receipts: BTreeSet<MessageId>,
    values: BTreeSet<u64>,
    again: usize,
    late: usize,
}

/// A consumer that receives and acknowledges each message with a receipt until it is stopped.
struct Worker {
    consumer: Arc<Consumer>,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Worker {
    async fn start(broker: &Broker, name: &str, ledger: &Arc<Mutex<Ledger>>) -> Self {
        let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
        let client = client.connect().await.unwrap();
        let consumer = client.consumer("jobs", "work").name(name);
        let consumer = consumer
            .subscription_type(SubscriptionType::Failover)
            .receive_queue(50);
        let consumer = Arc::new(consumer.build().await.unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(work(
            Arc::clone(&consumer),
            Arc::clone(&stop),
            Arc::clone(&received),
            Arc::clone(ledger),
        ));
        Self {
            consumer,
            stop,
            received,
            task,
        }
    }

    fn active(&self) -> BTreeSet<i32> {
        self.consumer.active_partitions().into_iter().collect()
    }

    /// Closes it in peace.
    async fn close(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.consumer.close().await.unwrap();
    }
}

async fn work(
    consumer: Arc<Consumer>,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    ledger: Arc<Mutex<Ledger>>,
) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(message) = timeout(Duration::from_millis(20), consumer.receive()).await else {
            continue;
        };
        let message = message.unwrap();
        let id = message.message_id();
        {
            let mut ledger = ledger.lock().unwrap();
            assert!(
                !ledger.receipts.contains(&id),
                "{id} comes after its acknowledgement's receipt"
            );
            let value = String::from_utf8_lossy(message.value()).parse().unwrap();
            ledger.again += usize::from(!ledger.values.insert(value));
        }
        received.fetch_add(1, Ordering::SeqCst);
        match consumer.acknowledge_with_receipt(&id).await {
            Ok(()) => {
                ledger.lock().unwrap().receipts.insert(id);
            }
            // Its partition has gone to another one meanwhile, and the message with it.
            Err(ClientError::NotActive { .. }) => ledger.lock().unwrap().late += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the shares are these, whoever has which. Gives how long it took.
async fn reach(workers: &[&Worker], shares: &[usize]) -> Duration {
    let began = Instant::now();
    loop {
        let active: Vec<_> = workers.iter().map(|it| it.active()).collect();
        let mut counts: Vec<_> = active.iter().map(BTreeSet::len).collect();
        counts.sort_unstable();
        let all: BTreeSet<i32> = active.iter().flatten().copied().collect();
        if counts == shares && all.len() == counts.iter().sum::<usize>() {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < LIMIT,
            "{active:?} does not become {shares:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn four_consumers_share_eight_partitions_while_one_dies_and_one_comes() {
    let broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::builder(&broker.server()).beacon_timeout(PATIENT);
        let client = client.connect().await.unwrap();
        let spec = TopicSpec {
            partitions: PARTITIONS,
            ..TopicSpec::default()
        };
        client.admin().create_topic("jobs", &spec).await.unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let over = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn(send(client.clone(), Arc::clone(&over)));
        let mut workers = Vec::new();
        for name in ["a", "b", "c"] {
            workers.push(Worker::start(&broker, name, &ledger).await);
        }
        // The fourth is a process that can be killed.
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("killed");
        let command = "consume jobs -s work --type failover --ack none --json";
        let killed = Hulse::to(&broker, command)
            .output_to(&path)
            .within(LIMIT * 3)
            .start();
        let [a, b, c] = &workers[..] else {
            unreachable!()
        };
        println!("even in {:?}", reach(&[a, b, c], &[2, 2, 2]).await);
        assert!(cores(2) == 1 || spans_cores(&broker), "over both cores");

        // It dies: its two go to others as soon as it is held for dead.
        let before = [a, b, c].map(Worker::active);
        killed.kill9();
        println!("taken over in {:?}", reach(&[a, b, c], &[2, 3, 3]).await);
        for (worker, had) in [a, b, c].into_iter().zip(&before) {
            assert!(
                worker.active().is_superset(had),
                "nobody else gives anything up"
            );
        }

        // One comes: it gets its share one by one, and the others go on meanwhile.
        let before = [a, b, c].map(Worker::active);
        let counts = [a, b, c].map(|it| it.received.load(Ordering::SeqCst));
        let e = Worker::start(&broker, "e", &ledger).await;
        let mut steps = vec![e.active()];
        let began = Instant::now();
        while steps.last().unwrap().len() < 2 {
            assert!(
                began.elapsed() < LIMIT,
                "it never gets its share: {steps:?}"
            );
            let now = e.active();
            if now != *steps.last().unwrap() {
                steps.push(now);
            }
            sleep(Duration::from_millis(1)).await;
        }
        println!("its share came in {:?}: {steps:?}", began.elapsed());
        assert!(steps.iter().all(|it| it.len() <= 2), "{steps:?}");
        println!("even in {:?}", reach(&[a, b, c, &e], &[2, 2, 2, 2]).await);
        let moved: usize = [a, b, c]
            .iter()
            .zip(&before)
            .map(|(it, had)| had.difference(&it.active()).count())
            .sum();
        assert_eq!(moved, 2, "no more than must");
        for (worker, had) in [a, b, c].into_iter().zip(counts) {
            assert!(
                worker.received.load(Ordering::SeqCst) > had,
                "the others go on"
            );
        }

        // One goes in peace.
        let before = [a, b, &e].map(Worker::active);
        let c = workers.pop().unwrap();
        c.close().await;
        let [a, b] = &workers[..] else { unreachable!() };
        println!("given up in {:?}", reach(&[a, b, &e], &[2, 3, 3]).await);
        for (worker, had) in [a, b, &e].into_iter().zip(&before) {
            assert!(
                worker.active().is_superset(had),
                "nobody else gives anything up"
            );
        }

        over.store(true, Ordering::SeqCst);
        let sent = sending.await.unwrap();
        let began = Instant::now();
        while (ledger.lock().unwrap().values.len() as u64) < sent {
            assert!(began.elapsed() < LIMIT, "messages are missed");
            sleep(Duration::from_millis(10)).await;
        }
        workers.push(e);
        for worker in workers {
            worker.close().await;
        }
        let ledger = ledger.lock().unwrap();
        println!(
            "{sent} sent, {} again, {} acknowledged too late",
            ledger.again, ledger.late
        );
    });
    let rest = Hulse::to(&broker, "consume jobs -s work --type failover --until-end").done();
    assert_eq!(String::from_utf8_lossy(&rest), "", "all is acknowledged");
}

/// Sends numbers until it is over. Gives how many.
async fn send(client: Client, over: Arc<AtomicBool>) -> u64 {
    let producer = client
        .producer("jobs")
        .batch_messages(1)
        .build()
        .await
        .unwrap();
    let mut sent = 0;
    while !over.load(Ordering::SeqCst) {
        let value = sent.to_string();
        drop(producer.send(Message::new(&value)).await.unwrap());
        sent += 1;
        if sent % 20 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    producer.flush().await.unwrap();
    sent
}

/// Whether the topic's partitions are on several cores.
fn spans_cores(broker: &Broker) -> bool {
    let topic = broker.describe("jobs").unwrap();
    let by_core: BTreeMap<u32, usize> =
        topic
            .partitions
            .iter()
            .fold(BTreeMap::new(), |mut all, it| {
                *all.entry(it.core).or_default() += 1;
                all
            });
    by_core.len() > 1
}
