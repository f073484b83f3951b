//! Goal: what only one client may have, one client has: whoever is alive keeps it, and whoever is not
//! loses it long before its time-out.
//!
//! Method: `hulse` processes that are held up with SIGSTOP, or are slow, while others want what they
//! have; the clients' time-outs are long, so that only the broker's question can be the reason.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::time::{Duration, Instant};

use hulse_client::{Client, ClientError, Consumer, Status};
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
