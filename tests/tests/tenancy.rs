//! Goal: tenants and namespaces are made, refused and deleted as the commands say; their policies hold
//! for topics that are open, survive kills and restarts, hold nobody back but whom they are for, and
//! recover by themselves.
//!
//! Method: a real broker and the commands that people type; producers that flood in processes of their
//! own, while another tenant's publishes are timed by the client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use hulse_client::Client;
use hulse_client::json::{
    BrokerStatus, NamespaceDescription, NamespaceList, PermissionList, PolicyDescription,
    SubscriptionList, TenantList,
};
use hulse_tests::{Broker, Hulse, LIMIT, cores, metric, wait_until};
use tokio::runtime::Runtime;

fn lines(count: usize, bytes: usize) -> Vec<u8> {
    let line = format!("{}\n", "x".repeat(bytes - 1));
    line.repeat(count).into_bytes()
}

fn run(broker: &Broker, line: &str) -> hulse_tests::Finished {
    Hulse::to(broker, line).run()
}

fn done(broker: &Broker, line: &str) -> hulse_tests::Finished {
    run(broker, line).expect(0)
}

fn produced(broker: &Broker, topic: &str, input: &[u8]) {
    let sent = Hulse::to(broker, &format!("produce {topic}")).input(input);
    let sent = sent.run().expect(0).summary();
    assert_eq!(sent.failed, 0);
}

#[test]
fn tenants_and_namespaces_come_and_go() {
    let mut broker = Broker::start(1);
    let b = &broker;
    run(b, "namespace create acme/eu").refused(1, &["hulse tenant create acme"]);
    run(b, "produce persistent://acme/eu/orders")
        .refused(1, &["TOPIC_NOT_FOUND", "hulse namespace create acme/eu"]);
    done(b, "tenant create acme");
    run(b, "tenant create acme").refused(1, &["NAMESPACE_EXISTS", "exists already"]);
    let made: NamespaceDescription =
        done(b, "namespace create acme/eu --ttl 1h --rate 10MB/s --json").json();
    assert_eq!(made.policies["ttl_ms"], 3_600_000);
    assert_eq!(made.effective["retention_ms"], 604_800_000);
    produced(b, "persistent://acme/eu/orders", b"one\ntwo\n");
    run(b, "namespace delete acme/eu").refused(1, &["NOT_EMPTY", "has 1 topics"]);
    run(b, "tenant delete acme").refused(1, &["NOT_EMPTY", "has 1 namespaces"]);
    run(b, "tenant delete public").refused(1, &["never deleted"]);
    run(b, "namespace delete public/default").refused(1, &["never deleted"]);
    run(b, "namespace create acme").refused(2, &["tenant/namespace"]);
    run(b, "tenant create a/b").refused(2, &["not allowed"]);
    done(b, "permission grant acme/eu app --produce --consume");

    broker.kill9();
    broker.restart(1);
    let b = &broker;
    let tenants: TenantList = done(b, "tenant list --json").json();
    let names: Vec<_> = tenants.tenants.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["acme", "public"]);
    let own: NamespaceList = done(b, "namespace list --tenant acme --json").json();
    assert_eq!((own.namespaces.len(), own.namespaces[0].topics), (1, 1));
    assert_eq!(own.namespaces[0].policies, made.policies);
    let table = done(b, "namespace list");
    for part in ["acme/eu", "public/default", "1h", "10MB/s"] {
        assert!(table.text().contains(part), "{part} in {}", table.text());
    }
    let permissions: PermissionList = done(b, "permission list acme/eu --json").json();
    assert!(!permissions.enforced);
    assert_eq!(permissions.roles[0].permissions, ["produce", "consume"]);
    done(b, "permission revoke acme/eu app --consume");
    let all = done(b, "permission list");
    assert!(all.text().contains("not enforced"), "{}", all.text());
    assert!(!all.text().contains("consume"), "{}", all.text());

    done(b, "topic delete persistent://acme/eu/orders");
    done(b, "namespace delete acme/eu");
    run(b, "namespace describe acme/eu").refused(1, &["NAMESPACE_NOT_FOUND"]);
    done(b, "tenant delete acme");
    run(b, "topic create persistent://acme/eu/orders")
        .refused(1, &["NAMESPACE_NOT_FOUND", "hulse tenant create acme"]);
}

#[test]
fn the_narrowest_level_holds_and_is_taken_back() {
    let broker = Broker::start(1);
    let b = &broker;
    done(b, "topic create orders");
    let holds = |line: &str| done(b, &format!("{line} --json")).json::<PolicyDescription>();
    holds("tenant set public --ttl 1h --retention unlimited");
    let namespace = holds("namespace set public/default --ttl 30m --retention 3d,1GB");
    assert_eq!(namespace.effective["ttl_ms"], 1_800_000);
    let topic = holds("topic set orders --ttl 10m");
    assert_eq!(topic.level, "topic");
    assert_eq!(topic.effective["ttl_ms"], 600_000);
    assert_eq!(topic.effective["retention_ms"], 259_200_000);
    assert_eq!(topic.effective["retention_bytes"], 1_000_000_000);
    holds("namespace set public/default --retention none --ttl none");
    let topic = holds("topic set orders --ttl none");
    assert_eq!(topic.effective["ttl_ms"], 3_600_000);
    assert_eq!(topic.effective["retention_ms"], -1);
    assert!(topic.policies.is_empty());
    let text = done(b, "tenant describe public");
    assert!(text.text().contains("unlimited"), "{}", text.text());
    run(b, "topic set nothing --ttl 1h").refused(1, &["TOPIC_NOT_FOUND"]);
    run(b, "namespace set public/other --ttl 1h").refused(1, &["NAMESPACE_NOT_FOUND"]);
}

#[test]
fn what_expires_is_acknowledged_at_once_and_after_a_kill() {
    let mut broker = Broker::start(1);
    for subscription in ["lazy", "lazier"] {
        done(
            &broker,
            &format!("consume orders -s {subscription} --until-end"),
        );
    }
    produced(&broker, "orders", &lines(500, 100));
    let behind = |broker: &Broker| -> u64 {
        let subscriptions = broker.partition("orders").subscriptions;
        subscriptions.iter().map(|it| it.backlog_entries).sum()
    };
    assert!(behind(&broker) > 0);
    done(&broker, "namespace set public/default --ttl 2s");
    wait_until("everything expires", LIMIT, || {
        (behind(&broker) == 0).then_some(())
    });
    assert!(metric(broker.ready().admin.unwrap(), "hulse_expired_entries_total") > 0);
    done(&broker, "namespace set public/default --ttl none");
    produced(&broker, "orders", b"fresh\n");
    let read = |broker: &Broker, subscription: &str| {
        let line = format!("consume orders -s {subscription} --until-end");
        done(broker, &line).text().to_owned()
    };
    assert_eq!(read(&broker, "lazy"), "fresh\n");
    // The receipt of that acknowledgement says that what came before it is durable as well.
    broker.kill9();
    broker.restart(1);
    assert_eq!(read(&broker, "lazy"), "");
    assert_eq!(read(&broker, "lazier"), "fresh\n");
}

#[test]
fn a_backlog_quota_refuses_producers_names_who_holds_it_back_and_recovers() {
    let mut broker = Broker::start(1);
    // The subscription is made, and reads nothing.
    done(&broker, "consume orders -s billing --until-end");
    produced(&broker, "orders", &lines(1_000, 100));
    done(&broker, "namespace set public/default --backlog 100KB");
    for restart in [false, true] {
        if restart {
            broker.kill9();
            broker.restart(1);
        }
        let b = &broker;
        let held = Hulse::to(b, "produce orders --timeout 1").input(b"late\n");
        held.run().refused(
            1,
            &["BACKLOG_QUOTA", "subscription billing", "hulse explain"],
        );
        // Nobody else is held back.
        produced(b, "payments", b"one\n");
        let why = done(b, "explain orders billing");
        for part in ["producers of", "held back", "it holds the producers back"] {
            assert!(why.text().contains(part), "{part} in {}", why.text());
        }
        let list: SubscriptionList = done(b, "explain orders --json").json();
        assert_eq!(list.held_back[0].reason, "backlog-quota");
        assert_eq!(list.held_back[0].subscription.as_deref(), Some("billing"));
        assert!(list.subscriptions[0].backlog_bytes >= 100_000);
        let status = b.status();
        assert_eq!(status.held_back.len(), 1);
        let (_, text) = hulse_tests::get(b.ready().admin.unwrap(), "/status");
        let told: BrokerStatus = serde_json::from_str(&text).unwrap();
        assert_eq!(told.held_back, status.held_back);
        assert!(
            metric(
                b.ready().admin.unwrap(),
                "hulse_quota_refused_entries_total"
            ) > 0
        );
    }
    // A producer that waits goes on by itself when the subscription catches up.
    let b = &broker;
    let waiting = Hulse::to(b, "produce orders").input(b"late\n").start();
    let refused = || {
        metric(
            b.ready().admin.unwrap(),
            "hulse_quota_refused_entries_total",
        )
    };
    let before = refused();
    wait_until("it is refused", LIMIT, || {
        (refused() > before).then_some(())
    });
    let read = done(b, "consume orders -s billing --count 1000");
    assert_eq!(read.stdout.len(), 100_000);
    let sent = waiting.finish().expect(0).summary();
    assert_eq!((sent.acked, sent.failed), (1, 0));
    assert!(b.status().held_back.is_empty());
    let rest = done(b, "consume orders -s billing --until-end");
    assert_eq!(rest.text(), "late\n", "stored once");
}

#[test]
fn retention_by_bytes_takes_what_all_have_acknowledged_without_a_restart() {
    let broker = Broker::start(1);
    let b = &broker;
    done(b, "consume orders -s billing --until-end");
    produced(b, "orders", &lines(20_000, 1_000));
    let read = done(b, "consume orders -s billing --count 10000");
    assert_eq!(read.stdout.len(), 10_000_000);
    assert_eq!(b.partition("orders").log_start, 0);
    done(b, "namespace set public/default --retention 0B");
    let start = wait_until("old segments go", LIMIT, || {
        let start = b.partition("orders").log_start;
        (start > 0).then_some(start)
    });
    let partition = b.partition("orders");
    let mark = &partition.subscriptions[0].mark;
    let mark: u64 = mark.split('.').next().unwrap().parse().unwrap();
    assert!(start <= mark, "{start} of {mark}");
    let rest = done(b, "consume orders -s billing --until-end");
    assert_eq!(rest.stdout.len(), 10_000_000, "nothing unacknowledged went");
}

/// What so many publishes of a client take, one after the other: the slowest of all but one in a
/// hundred.
fn p99_of_publishes(broker: &Broker, topic: &str, count: usize) -> Duration {
    Runtime::new().unwrap().block_on(async {
        let client = Client::builder(&broker.server()).connect().await.unwrap();
        let producer = client.producer(topic).build().await.unwrap();
        let mut taken = Vec::with_capacity(count);
        for number in 0..count {
            let value = number.to_string();
            let began = Instant::now();
            producer.send_and_wait(&value).await.unwrap();
            taken.push(began.elapsed());
        }
        taken.sort_unstable();
        taken[count * 99 / 100 - 1]
    })
}

#[test]
fn a_tenant_that_floods_is_held_to_its_rate_and_others_are_not() {
    let mut broker = Broker::start(cores(2));
    for tenant in ["loud", "calm"] {
        done(&broker, &format!("tenant create {tenant}"));
        done(&broker, &format!("namespace create {tenant}/n"));
    }
    done(
        &broker,
        "topic create persistent://loud/n/flood --partitions 8",
    );
    done(&broker, "tenant set loud --rate 1000msg/s");
    for life in 0..2 {
        if life == 1 {
            // What was set holds after a kill as well.
            broker.kill9();
            broker.restart(cores(2));
        }
        let b = &broker;
        let produced = || {
            let topic = b.describe("persistent://loud/n/flood").unwrap();
            let status = b.status();
            let waits = status
                .held_back
                .iter()
                .any(|held| held.reason == "rate" && held.scope.as_deref() == Some("loud"));
            (topic, waits)
        };
        let began = Instant::now();
        let before = b.produced_messages();
        let flood = Hulse::to(b, "produce persistent://loud/n/flood").within(LIMIT * 3);
        let flood = flood.input(&lines(6_000, 100)).start();
        let (topic, _) = wait_until("the flood is held back", LIMIT, || {
            Some(produced()).filter(|(topic, waits)| *waits && !topic.held_back.is_empty())
        });
        assert!(topic.held_back[0].text.contains("1000 msg/s"), "{topic:?}");
        let calm = p99_of_publishes(b, "persistent://calm/n/orders", 200);
        println!("life {life}: p99 of the other tenant {calm:?}");
        assert!(calm < Duration::from_millis(500), "{calm:?}");
        let sent = flood.finish().expect(0).summary();
        let took = began.elapsed();
        assert_eq!((sent.acked, sent.failed), (6_000, 0));
        assert_eq!(b.produced_messages() - before, 6_200);
        // 6,000 messages are 6 s at 1,000 a second, less the burst and the batches that found the
        // bucket open.
        assert!(took >= Duration::from_secs(4), "{took:?}");
    }
    // Without the rate it goes as fast as it comes.
    done(&broker, "tenant set loud --rate none");
    let began = Instant::now();
    produced(&broker, "persistent://loud/n/flood", &lines(6_000, 100));
    println!("without a rate: {:?}", began.elapsed());
    assert!(broker.status().held_back.is_empty());
}
