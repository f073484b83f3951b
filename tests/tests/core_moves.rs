//! Goal: a group changes its core under load, and its clients notice nothing but a pause: every
//! message is stored once and in order, keeps its id, and comes once to its consumer; the same when
//! the broker is killed in the middle of a move.
//!
//! Method: a producer and a consumer of one topic never stop while its group goes to and fro between
//! two cores; topics beside it give both cores rounds of the journal. What was sent, what the receipts
//! said and what was received is compared in the end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hulse_client::{Client, MessageId, SendHandle, StartFrom};
use hulse_tests::{Broker, Hulse, LIMIT, cores, random, wait_until};
use rand::RngExt;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Batches on their way of one producer.
const IN_FLIGHT: usize = 32;
/// Topics beside the one that moves.
const BESIDE: usize = 4;

/// What a producer was told: the ids by number, and when each receipt came.
struct Told {
    ids: Vec<MessageId>,
    at: Vec<Instant>,
}

impl Told {
    /// The longest time between two receipts.
    fn longest_gap(&self) -> Duration {
        let gaps = self.at.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

async fn client(broker: String) -> Client {
    // On a busy machine neither side is to be held for dead: a move that is asked for twice is made
    // once or thrice.
    let builder = Client::builder(&broker).beacon_timeout(Duration::from_secs(30));
    builder.connect().await.unwrap()
}

/// Sends numbers until it is told to stop.
fn produce(
    runtime: &Runtime,
    broker: &Broker,
    topic: String,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Told> {
    let (server, stop) = (broker.server(), Arc::clone(stop));
    runtime.spawn(async move {
        let client = client(server).await;
        let producer = client.producer(&topic).batch_messages(1);
        let producer = producer.build().await.unwrap();
        let (mut told, mut waiting) = (
            Told {
                ids: Vec::new(),
                at: Vec::new(),
            },
            VecDeque::<SendHandle>::new(),
        );
        let mut number = 0_u64;
        loop {
            let stopped = stop.load(Ordering::Relaxed);
            if waiting.len() == IN_FLIGHT || stopped {
                let Some(handle) = waiting.pop_front() else {
                    return told;
                };
                told.ids
                    .push(timeout(LIMIT, handle).await.unwrap().unwrap());
                told.at.push(Instant::now());
            }
            if !stopped {
                let text = number.to_string();
                waiting.push_back(producer.send(text.as_str()).await.unwrap());
                number += 1;
            }
        }
    })
}

/// Receives numbers from 0 on, each once and in order, and acknowledges them with receipts, until it
/// is told how many there are.
fn consume(
    runtime: &Runtime,
    broker: &Broker,
    topic: &str,
    subscription: &'static str,
    total: Receiver<usize>,
) -> JoinHandle<Vec<MessageId>> {
    let (server, topic) = (broker.server(), topic.to_owned());
    runtime.spawn(async move {
        let client = client(server).await;
        let consumer = client.consumer(&topic, subscription);
        let consumer = consumer.start(StartFrom::Earliest).skip_seen(true);
        let consumer = consumer.build().await.unwrap();
        let (mut ids, mut receipts): (Vec<MessageId>, _) = (Vec::new(), VecDeque::new());
        let mut wanted = None;
        while wanted.is_none_or(|wanted| ids.len() < wanted) {
            wanted = wanted.or_else(|| total.try_recv().ok());
            let Ok(received) = timeout(Duration::from_millis(50), consumer.receive_many(100)).await
            else {
                continue;
            };
            for message in received.unwrap() {
                let text = String::from_utf8(message.value().to_vec()).unwrap();
                assert_eq!(text, ids.len().to_string(), "at {}", message.message_id());
                let id = message.message_id();
                assert!(ids.last().is_none_or(|last| *last < id), "{id} goes back");
                ids.push(id);
                receipts.push_back(consumer.acknowledge_with_receipt(&id));
            }
            while receipts.len() > 500 {
                let receipt = receipts.pop_front().unwrap();
                timeout(LIMIT, receipt).await.unwrap().unwrap();
            }
        }
        for receipt in receipts {
            timeout(LIMIT, receipt).await.unwrap().unwrap();
        }
        ids
    })
}

/// The group and the core of a topic.
fn place(broker: &Broker, topic: &str) -> (String, u32) {
    let partition = broker.partition(topic);
    (partition.group, partition.core)
}

#[test]
fn a_group_goes_to_and_fro_under_load_and_through_kills() {
    const MOVES: usize = 20;
    const KILLED_AT: [usize; 5] = [3, 7, 11, 15, 18];
    let mut random = random("a_group_goes_to_and_fro_under_load_and_through_kills");
    if cores(2) < 2 {
        println!("not measurable here: one processor");
        return;
    }
    let mut broker = Broker::start_with(2, &["--balance", "off"]);
    let runtime = Runtime::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let _ = Hulse::to(&broker, "topic create flow").done();
    let flow = produce(&runtime, &broker, "flow".to_owned(), &stop);
    let beside: Vec<_> = (0..BESIDE)
        .map(|n| produce(&runtime, &broker, format!("beside-{n}"), &stop))
        .collect();
    let (tell, total) = channel();
    let consumer = consume(&runtime, &broker, "flow", "worker", total);
    let admin = runtime.block_on(client(broker.server())).admin();

    let mut pauses = Vec::new();
    for number in 0..MOVES {
        let before = broker.partition("flow");
        let (group, core, term) = (before.group, before.core, before.term);
        if KILLED_AT.contains(&number) {
            let server = broker.server();
            let asked = runtime.spawn(async move {
                let client = client(server).await;
                // Its answer, if one comes, is of no interest.
                let _ = client.admin().move_group(&group, 1 - core).await;
            });
            std::thread::sleep(Duration::from_micros(random.random_range(500..12_000)));
            broker.kill9();
            asked.abort();
            broker.restart(2);
            assert!(broker.partition("flow").term > term);
            continue;
        }
        let moved = runtime.block_on(async {
            let moved = admin.move_group(&group, 1 - core);
            timeout(LIMIT, moved).await.unwrap().unwrap()
        });
        assert_eq!((moved.from, moved.to), (core, 1 - core));
        assert!(moved.term > term, "a move has a term of its own");
        assert_eq!(place(&broker, "flow"), (group, 1 - core));
        pauses.push(moved.pause_us);
    }
    stop.store(true, Ordering::Relaxed);
    let told = runtime.block_on(flow).unwrap();
    for beside in beside {
        assert!(!runtime.block_on(beside).unwrap().ids.is_empty());
    }
    tell.send(told.ids.len()).unwrap();
    let received = runtime.block_on(consumer).unwrap();
    assert!(told.ids == received, "an id is another one to the consumer");
    assert!(told.ids.windows(2).all(|pair| pair[0] < pair[1]));

    // Whoever reads it all again finds each message once; and nothing is left to the first.
    let again = Hulse::to(&broker, "consume flow -s again --until-end").done();
    let numbers: Vec<u8> = (0..told.ids.len())
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    assert!(again == numbers, "the topic holds something else");
    let left = Hulse::to(&broker, "consume flow -s worker --until-end").done();
    assert!(left.is_empty(), "acknowledged messages came again");

    pauses.sort_unstable();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    println!(
        "{} moves of {} messages: nobody served the group for {median} us (median), {longest} us \
         (longest); longest time between two receipts, {} restarts included: {:?}",
        pauses.len(),
        told.ids.len(),
        KILLED_AT.len(),
        told.longest_gap()
    );
    assert!(longest < 5_000_000, "a pause of {longest} us");
}

/// Topics whose partition is on this core, out of some that are made at `memory`, so that they cost
/// the core more than the disk.
fn topics_on(broker: &Broker, core: u32, wanted: usize) -> Vec<String> {
    let names = (0..40).map(|number| format!("topic-{number}"));
    let made = names.inspect(|name| {
        let create = format!("topic create {name} --ack memory");
        let _ = Hulse::to(broker, &create).done();
    });
    made.filter(|name| place(broker, name).1 == core)
        .take(wanted)
        .collect()
}

#[test]
fn a_hot_core_gives_something_away_by_itself() {
    const TOPICS: usize = 4;
    if cores(2) < 2 {
        println!("not measurable here: one processor");
        return;
    }
    // What counts as busy is low, since the machine may be busy with others.
    let flags = ["--balance-interval-ms", "200", "--balance-percent", "6"];
    let broker = Broker::start_with(2, &flags);
    let runtime = Runtime::new().unwrap();
    let topics = topics_on(&broker, 0, TOPICS);
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = topics
        .iter()
        .map(|topic| produce(&runtime, &broker, topic.clone(), &stop))
        .collect();
    let (tells, consumers): (Vec<_>, Vec<_>) = topics
        .iter()
        .map(|topic| {
            let (tell, total) = channel();
            (tell, consume(&runtime, &broker, topic, "worker", total))
        })
        .unzip();
    let began = Instant::now();
    let moved = wait_until("a group moves to the idle core", LIMIT, || {
        let moved = topics.iter().filter(|topic| place(&broker, topic).1 == 1);
        let moved = moved.count();
        (moved > 0).then_some(moved)
    });
    println!("{moved} of {TOPICS} have moved after {:?}", began.elapsed());
    stop.store(true, Ordering::Relaxed);
    for ((producer, tell), consumer) in producers.into_iter().zip(tells).zip(consumers) {
        let told = runtime.block_on(producer).unwrap();
        tell.send(told.ids.len()).unwrap();
        let received = runtime.block_on(consumer).unwrap();
        assert!(told.ids == received, "an id is another one to the consumer");
    }
    let moves = broker.said();
    assert!(
        moves.contains("a group has moved to another core: core 0 was busy"),
        "the log says why: {moves}"
    );
}

#[test]
fn what_cannot_be_moved_is_refused_and_stays() {
    let broker = Broker::start(cores(2));
    Hulse::to(&broker, "produce orders").input(b"a\nb\n").done();
    let (group, core) = place(&broker, "orders");
    let there = format!("cluster move {group} --to-core {core}");
    let said = Hulse::to(&broker, &there).done();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("already"), "{said}");
    let nowhere = format!("cluster move {group} --to-core 99");
    let nowhere = Hulse::to(&broker, &nowhere).run();
    nowhere.refused(1, &["there is no core 99"]);
    let nobody = format!("cluster move {:032x} --to-core 0", 7);
    let nobody = Hulse::to(&broker, &nobody).run();
    nobody.refused(1, &["serves no group"]);
    let read = Hulse::to(&broker, "consume orders -s me --until-end").done();
    assert_eq!(read, b"a\nb\n");
    if cores(2) == 2 {
        let away = format!("cluster move {group} --to-core {}", 1 - core);
        let said = String::from_utf8(Hulse::to(&broker, &away).done()).unwrap();
        assert!(said.contains("with 1 partitions from core"), "{said}");
        Hulse::to(&broker, "produce orders").input(b"c\n").done();
        let read = Hulse::to(&broker, "consume orders -s me --until-end").done();
        assert_eq!(read, b"c\n");
    }
}
