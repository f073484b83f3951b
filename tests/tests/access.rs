//! Goal: what only one client may have, one client has: whoever is alive keeps it, and whoever is not
//! loses it long before its time-out.
//!
//! Method: `hulse` processes that are held up with SIGSTOP, or are slow, while others want what they
//! have; the clients' time-outs are long, so that only the broker's question can be the reason.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use hulse_client::{
    Access, Client, ClientError, Consumer, Producer, StartFrom, Status, SubscriptionType,
};
use hulse_tests::{Broker, Hulse, LIMIT, Running, Wire, wait_until};
use hulse_wire::{Hello, MAGIC, Reply, Request};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long a silent client of the command line keeps its connection.
const TIME_OUT: Duration = Duration::from_secs(1);

/// An exclusive consumer, which is tried for so long.
async fn exclusive(broker: &Broker, within: Duration) -> Result<Consumer, ClientError> {
    let client = Client::builder(&broker.server()).operation_timeout(within);
    let client = client.connect().await?;
    client.consumer("jobs", "work").build().await
}

fn wait_for_consumers(broker: &Broker, count: usize) {
    wait_until("the consumers are attached", LIMIT, || {
        let subscriptions = broker.partition("jobs").subscriptions.into_iter();
        let attached: usize = subscriptions.map(|it| it.consumers.len()).sum();
        (attached == count).then_some(())
    });
}

/// A broker with 5,000 messages, and a `hulse consume` that has written the first of them and is
/// stuck, since nobody reads on what it writes.
fn stuck_consumer(broker: &Broker) -> Running {
    let lines: Vec<u8> = (0..5_000)
        .flat_map(|n| format!("{n:0100}\n").into_bytes())
        .collect();
    Hulse::to(broker, "produce jobs").input(&lines).done();
    let mut holder = Hulse::to(broker, "consume jobs -s work")
        .piped_output()
        .start();
    let mut first = [0; 101];
    let mut pipe = holder.stdout();
    pipe.read_exact(&mut first).unwrap();
    assert_eq!(&first[..], format!("{:0100}\n", 0).as_bytes());
    // The pipe stays open as long as the process.
    std::mem::forget(pipe);
    wait_for_consumers(broker, 1);
    holder
}

#[test]
fn a_stopped_consumer_is_replaced_long_before_its_time_out() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    let holder = stuck_consumer(&broker);
    holder.signal(Signal::STOP);
    let stopped = Instant::now();
    runtime.block_on(async {
        let second = exclusive(&broker, LIMIT).await.unwrap();
        let took = stopped.elapsed();
        println!(
            "the second consumer was let in after {} ms",
            took.as_millis()
        );
        assert!(took < TIME_OUT * 4 / 5, "{took:?}");
        let first = timeout(LIMIT, second.receive()).await.unwrap().unwrap();
        assert_eq!(first.redelivery_count(), 1, "what the other had");
        second.close().await.unwrap();
    });
    holder.signal(Signal::CONT);
    // It comes back by itself.
    wait_for_consumers(&broker, 1);
}

#[test]
fn a_slow_consumer_that_is_alive_keeps_its_subscription() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    let mut holder = stuck_consumer(&broker);
    runtime.block_on(async {
        let began = Instant::now();
        let Err(error) = exclusive(&broker, TIME_OUT * 2).await else {
            panic!("the first is alive, and the second was let in");
        };
        assert_eq!(error.status(), Some(Status::ConsumerBusy), "{error}");
        assert!(began.elapsed() > TIME_OUT, "it was tried again and again");
    });
    assert!(holder.runs());
    wait_for_consumers(&broker, 1);
}

#[test]
fn a_client_that_is_gone_without_a_word_leaves_its_producer_s_name_to_its_successor() {
    let broker = Broker::start(1);
    Hulse::to(&broker, "topic create jobs").done();
    // It says nothing unasked, and does not answer. Its time-out is three seconds.
    let mut old = Wire::connect(broker.address());
    old.write(&MAGIC).unwrap();
    let hello = Request::Hello(Hello {
        version_min: 1,
        version_max: 1,
        client: "silent",
        beacon_timeout_ms: 3_000,
    });
    assert!(old.ask(0, &hello, |reply| matches!(reply, Reply::Welcome(_))));
    let opened = old.open_producer(1, "jobs", "till", None).unwrap();
    old.produce(1, 0, &[b"one"]).unwrap();
    let began = Instant::now();
    let mut new = Wire::open_owner(broker.address(), "jobs");
    let again = new.open_producer(1, "jobs", "till", Some(opened.epoch));
    let again = again.expect("the old connection is held for dead");
    let took = began.elapsed();
    println!("the name was free after {} ms", took.as_millis());
    assert!(took > Duration::from_millis(500) && took < Duration::from_millis(2_500));
    assert_eq!(again.last.map(|last| last.sequence), Some(0));
    assert_eq!(old.refusal().status, Status::PeerSilent);
    old.assert_closed();
    new.produce(1, 1, &[b"two"]).unwrap();
}

#[test]
fn a_subscription_without_consumers_changes_its_type_and_keeps_its_holes() {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    Hulse::to(&broker, "produce jobs")
        .input(b"a\nb\nc\nd\n")
        .done();
    let shared = "consume jobs -s work --type shared --count 2";
    assert_eq!(Hulse::to(&broker, shared).done(), b"a\nb\n");
    runtime.block_on(async {
        let client = Client::builder(&broker.server()).connect().await.unwrap();
        let consumer = client.consumer("jobs", "work");
        let consumer = consumer.subscription_type(SubscriptionType::Shared);
        let consumer = consumer.build().await.unwrap();
        let c = timeout(LIMIT, consumer.receive()).await.unwrap().unwrap();
        let d = timeout(LIMIT, consumer.receive()).await.unwrap().unwrap();
        assert_eq!((c.value(), d.value()), (&b"c"[..], &b"d"[..]));
        consumer
            .acknowledge_with_receipt(&d.message_id())
            .await
            .unwrap();
    });
    broker.kill9();
    broker.restart(1);
    let exclusive = "consume jobs -s work --until-end";
    assert_eq!(Hulse::to(&broker, exclusive).done(), b"c\n");
    let [subscription] = <[_; 1]>::try_from(broker.partition("jobs").subscriptions).unwrap();
    assert_eq!(
        (&subscription.kind[..], subscription.backlog_entries),
        ("exclusive", 0)
    );
}

#[test]
fn readers_read_for_themselves_and_go_on_after_a_crash() {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    Hulse::to(&broker, "produce jobs")
        .input(b"a\nb\nc\n")
        .done();
    assert_eq!(stored(&broker), ["a", "b", "c"]);
    let ids = Hulse::to(&broker, "consume jobs --until-end --json").done();
    let second: serde_json::Value =
        serde_json::from_slice(ids.split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap();
    let from = format!(
        "consume jobs --until-end --from {}",
        second["id"].as_str().unwrap()
    );
    assert_eq!(Hulse::to(&broker, &from).done(), b"b\nc\n");
    let (client, reader, latest) = runtime.block_on(async {
        let client = Client::builder(&broker.server()).connect().await.unwrap();
        let reader = client.reader("jobs").build().await.unwrap();
        let latest = client.reader("jobs").start(StartFrom::Latest);
        let latest = latest.build().await.unwrap();
        for value in ["a", "b"] {
            let message = timeout(LIMIT, reader.read()).await.unwrap().unwrap();
            assert_eq!(message.value(), value.as_bytes());
        }
        (client, reader, latest)
    });
    let subscriptions = broker.partition("jobs").subscriptions;
    assert!(
        subscriptions.iter().all(|it| !it.durable),
        "{subscriptions:?}"
    );
    assert_eq!(
        subscriptions.len(),
        2,
        "what the commands read with is gone"
    );
    broker.kill9();
    broker.restart(1);
    Hulse::to(&broker, "produce jobs").input(b"d\n").done();
    runtime.block_on(async {
        for value in ["c", "d"] {
            let message = timeout(LIMIT, reader.read()).await.unwrap().unwrap();
            assert_eq!(message.value(), value.as_bytes());
        }
        let message = timeout(LIMIT, latest.read()).await.unwrap().unwrap();
        assert_eq!(message.value(), b"d");
        reader.close().await.unwrap();
        latest.close().await.unwrap();
        drop(client);
    });
    assert_eq!(broker.partition("jobs").subscriptions, []);
    assert_eq!(stored(&broker), ["a", "b", "c", "d"]);
}

/// A client of this process.
async fn connect(broker: &Broker) -> Client {
    Client::builder(&broker.server()).connect().await.unwrap()
}

/// A producer with this access to `jobs`.
async fn producer(client: &Client, access: Access) -> Result<Producer, ClientError> {
    let built = client.producer("jobs").access(access).build();
    timeout(LIMIT, built).await.expect("an answer")
}

/// What the topic holds.
fn stored(broker: &Broker) -> Vec<String> {
    let all = Hulse::to(broker, "consume jobs --until-end").done();
    let text = String::from_utf8(all).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_producer_with_exclusive_access_is_alone() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(1);
    runtime.block_on(async {
        let client = connect(&broker).await;
        let shared = producer(&client, Access::Shared).await.unwrap();
        shared.send_and_wait("shared").await.unwrap();
        let began = Instant::now();
        let refused = producer(&client, Access::Exclusive).await.unwrap_err();
        assert_eq!(refused.status(), Some(Status::ProducerBusy), "{refused}");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it fails at once"
        );
        shared.close().await.unwrap();
        let alone = producer(&client, Access::Exclusive).await.unwrap();
        alone.send_and_wait("alone").await.unwrap();
        let impatient = Client::builder(&broker.server()).operation_timeout(TIME_OUT);
        let impatient = impatient.connect().await.unwrap();
        let refused = producer(&impatient, Access::Shared).await.unwrap_err();
        assert_eq!(refused.status(), Some(Status::ProducerBusy), "{refused}");
        let partition = broker.partition("jobs");
        let seen = (
            &partition.access[..],
            partition.access_epoch,
            partition.producers,
        );
        assert_eq!(seen, ("exclusive", 1, 1));
        let said = Hulse::to(&broker, "topic describe jobs").done();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("1 exclusive"), "{said}");
    });
    assert_eq!(stored(&broker), ["shared", "alone"]);
}

#[test]
fn a_fenced_producer_stores_nothing_more_and_the_other_outlives_a_crash() {
    let runtime = Runtime::new().unwrap();
    let mut broker = Broker::start(1);
    let (client, leader) = runtime.block_on(async {
        let client = connect(&broker).await;
        let old = producer(&client, Access::Exclusive).await.unwrap();
        old.send_and_wait("old").await.unwrap();
        let leader = producer(&client, Access::Fencing).await.unwrap();
        // What is sent before the word has come is refused all the same.
        let fenced = old.send_and_wait("too late").await.unwrap_err();
        assert_eq!(fenced.status(), Some(Status::ProducerFenced), "{fenced}");
        leader.send_and_wait("leader").await.unwrap();
        (client, leader)
    });
    broker.kill9();
    broker.restart(1);
    runtime.block_on(async {
        let sent = timeout(LIMIT, leader.send_and_wait("on")).await;
        sent.expect("it comes back by itself").unwrap();
        let partition = broker.partition("jobs");
        assert_eq!(
            (&partition.access[..], partition.access_epoch),
            ("exclusive", 2)
        );
        leader.close().await.unwrap();
        drop(client);
    });
    assert_eq!(stored(&broker), ["old", "leader", "on"]);
}

#[test]
fn producers_that_wait_come_one_after_the_other_on_all_partitions() {
    let runtime = Runtime::new().unwrap();
    let broker = Broker::start(2);
    Hulse::to(&broker, "topic create jobs --partitions 3").done();
    runtime.block_on(async {
        let client = connect(&broker).await;
        let first = producer(&client, Access::Wait).await.unwrap();
        assert_eq!(first.partitions(), 3);
        let waiting = ["a", "b"].map(|_| {
            let client = client.clone();
            tokio::spawn(async move { producer(&client, Access::Wait).await })
        });
        let described = || broker.describe("jobs").unwrap().partitions;
        wait_until("both wait on the first partition", LIMIT, || {
            (described()[0].producers_waiting == 2).then_some(())
        });
        // Whoever waits for the first has none of the others.
        assert!(
            described()
                .iter()
                .skip(1)
                .all(|it| it.producers_waiting == 0)
        );
        first.close().await.unwrap();
        // One gets all of them, and when it goes the other.
        let mut waiting = Vec::from(waiting);
        for _ in 0..2 {
            let at = loop {
                if let Some(at) = waiting
                    .iter()
                    .position(tokio::task::JoinHandle::is_finished)
                {
                    break at;
                }
                tokio::task::yield_now().await;
            };
            let ready = waiting.swap_remove(at).await.unwrap().unwrap();
            assert!(described().iter().all(|it| it.access == "exclusive"));
            assert!(waiting.iter().all(|it| !it.is_finished()), "one at a time");
            for _ in 0..9 {
                ready.send_and_wait("mine").await.unwrap();
            }
            ready.close().await.unwrap();
        }
    });
}

#[test]
fn a_standby_takes_over_from_a_stopped_producer() {
    let broker = Broker::start(1);
    let mut first = Hulse::to(&broker, "produce jobs --access exclusive")
        .piped_input()
        .start();
    let mut input = first.stdin();
    input.write_all(b"first\n").unwrap();
    wait_until("the first is open", LIMIT, || {
        (broker.describe("jobs")?.partitions[0].high_watermark == 1).then_some(())
    });
    let second = Hulse::to(&broker, "produce jobs --access wait").input(b"second\n");
    let second = second.start();
    wait_until("the second waits", LIMIT, || {
        (broker.partition("jobs").producers_waiting == 1).then_some(())
    });
    first.signal(Signal::STOP);
    let summary = second.finish().expect(0).summary();
    assert_eq!((summary.acked, summary.failed), (1, 0));
    first.signal(Signal::CONT);
    // It finds out that another was there.
    input.write_all(b"late\n").unwrap();
    drop(input);
    let said = first.finish().expect(1).stderr;
    assert!(said.contains("PRODUCER_FENCED"), "{said}");
    assert_eq!(stored(&broker), ["first", "second"]);
    let third = Hulse::to(&broker, "produce jobs --access exclusive").input(b"third\n");
    third.done();
    assert_eq!(stored(&broker), ["first", "second", "third"]);
}
