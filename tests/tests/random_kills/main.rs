//! Goal: a broker that is killed with SIGKILL again and again, under load, loses nothing that it
//! acknowledged, stores nothing twice, keeps the order of each producer, gives each message the id
//! that its receipt named, and delivers nothing again that was acknowledged with a receipt.
//!
//! Method: named producers on topics of both levels, with and without partitions, send numbered
//! messages as fast as they are let; consumers receive and acknowledge them meanwhile. The broker
//! is killed at random moments, during its recovery too, and comes back with one core or two.
//! Producers and consumers die as well now and then, with messages on their way. In the end every
//! topic is read from its beginning and compared with every receipt.

mod check;
mod consumer;
mod producer;
mod scene;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hulse_tests::{Broker, Hulse, LIMIT, Random, cores, is_long, random, read_all, wait_until};
use rand::{RngExt, SeedableRng};
use tokio::runtime::Builder;

use crate::scene::Scene;

/// Topics and how they are created.
const TOPICS: [(&str, &str); 4] = [
    ("disk", "--ack disk"),
    ("memory", "--ack memory"),
    ("disk-parts", "--ack disk --partitions 3"),
    ("memory-parts", "--ack memory --partitions 2"),
];

/// Producers of each topic.
const PRODUCERS: usize = 2;

#[test]
fn nothing_acknowledged_is_lost_or_repeated_over_kills_at_random_moments() {
    let name = "nothing_acknowledged_is_lost_or_repeated_over_kills_at_random_moments";
    let mut random = random(name);
    let kills = if is_long() || cfg!(feature = "system") {
        200
    } else {
        20
    };
    let mut broker = Broker::start(cores(2));
    for (topic, flags) in TOPICS {
        Hulse::to(&broker, &format!("topic create {topic} {flags}")).done();
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let scene = Arc::new(Scene::new(&broker.server()));
    let mut producers = Vec::new();
    let mut consumers = Vec::new();
    for (topic, _) in TOPICS {
        for number in 0..PRODUCERS {
            let producer = format!("{topic}-{number}");
            let life = producer::run(Arc::clone(&scene), topic, producer, fork(&mut random));
            producers.push(runtime.spawn(life));
        }
        let life = consumer::run(Arc::clone(&scene), topic, fork(&mut random));
        consumers.push(runtime.spawn(life));
    }

    let acked = || scene.acked.load(Ordering::SeqCst);
    for kill in 0..kills {
        let target = acked() + random.random_range(0..4_000);
        wait_until("messages are acknowledged", LIMIT, || {
            let failed = producers.iter().any(|task| task.is_finished());
            assert!(!failed, "a producer has ended before its time");
            let failed = consumers.iter().any(|task| task.is_finished());
            assert!(!failed, "a consumer has ended before its time");
            (acked() >= target).then_some(())
        });
        broker.kill9();
        while random.random_bool(0.3) {
            let after = Duration::from_millis(random.random_range(0..200));
            broker.start_and_kill9(cores(2), after);
        }
        broker.restart(cores(1 + kill % 2));
    }

    scene.stopping.store(true, Ordering::SeqCst);
    let sent = runtime.block_on(async {
        let mut sent = Vec::new();
        for task in producers {
            sent.push(
                tokio::time::timeout(LIMIT, task)
                    .await
                    .expect("in time")
                    .unwrap(),
            );
        }
        sent
    });
    let consumed = runtime.block_on(async {
        let mut consumed = Vec::new();
        for task in consumers {
            consumed.push(
                tokio::time::timeout(LIMIT, task)
                    .await
                    .expect("in time")
                    .unwrap(),
            );
        }
        consumed
    });
    for (topic, _) in TOPICS {
        let stored = read_all(&broker, topic, "check");
        let sent: Vec<_> = sent.iter().filter(|sent| sent.topic == topic).collect();
        check::compare(topic, &stored, &sent);
        let consumed = consumed
            .iter()
            .find(|consumed| consumed.topic == topic)
            .unwrap();
        check::nothing_again(&broker, &stored, consumed);
    }
    broker.kill9();
    let data = broker.data().display().to_string();
    let _ = Hulse::new(["log", "verify", &data]).run().expect(0);
    println!("{kills} kills, {} messages acknowledged", acked());
}

/// A generator of its own for a task, so that their order of running changes nothing.
fn fork(random: &mut Random) -> Random {
    Random::seed_from_u64(random.random())
}
