//! Goal: what `hulse bench` says it measured is what went through the broker, and its latencies
//! can be true: a message is not received before it was sent, nor acknowledged in no time.
//!
//! Method: the program from outside, against whole brokers, whose own counters are compared.

use hulse_tests::{Broker, Hulse, cores};
use serde_json::Value;

const PERCENTILES: [&str; 5] = ["p50_us", "p99_us", "p999_us", "p9999_us", "max_us"];

fn measured(broker: &Broker, line: &str) -> Value {
    Hulse::to(broker, &format!("bench {line} --json"))
        .run()
        .expect(0)
        .json()
}

/// The percentiles, which must rise and must not be zero.
fn percentiles(latency: &Value) -> [u64; 5] {
    let all = PERCENTILES.map(|name| latency[name].as_u64().unwrap_or_default());
    assert!(all[0] > 0, "{latency}");
    assert!(all.is_sorted(), "{latency}");
    all
}

#[test]
fn end_to_end_in_an_open_loop_receives_all_that_was_due_and_leaves_nothing_behind() {
    let broker = Broker::start(cores(1));
    // What is there before does not count.
    Hulse::to(&broker, "produce e-0")
        .input(b"one\ntwo\n")
        .done();
    let line = "end-to-end e --topics 2 --producers 3 --partitions 2 --rate 3000 --messages 1500 \
                --warmup 1 --size 100 --ack disk";
    let found = measured(&broker, line);
    assert_eq!(found["loop"], "open");
    assert_eq!(found["produced"]["messages"], 1500);
    assert_eq!(found["consumed"]["messages"], 1500);
    assert_eq!(found["consumers"], 2);
    // The topic that was there has one partition, the other one two.
    assert_eq!(found["conditions"]["partitions"], 3);
    assert_eq!(found["conditions"]["ack"], "disk");
    // Half a second on a schedule of 3,000 a second: an open loop is not faster than its schedule.
    let seconds = found["produced"]["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.499, "{found}");
    let published = percentiles(&found["produced"]["latency"]);
    let received = percentiles(&found["consumed"]["latency"]);
    // At `disk` no one receives what is not synced, so what is slow to sync is slow to come.
    assert!(received[0] * 4 > published[0], "{found}");
    let late = &found["produced"]["sent_late"];
    assert!(late["p50_us"].as_u64().unwrap() <= published[0], "{found}");
    for topic in ["e-0", "e-1"] {
        let list = format!("subscription list {topic} --json");
        let left: Value = Hulse::to(&broker, &list).run().expect(0).json();
        assert_eq!(left["subscriptions"], serde_json::json!([]));
    }
    // 1,500 messages and those of the warm-up, about 3,000 of them.
    let stored = broker.produced_messages();
    assert!((4_400..=4_600).contains(&stored), "{stored}");
}

#[test]
fn one_message_at_a_time_is_one_message_an_entry() {
    let broker = Broker::start(cores(1));
    for flags in ["", "--spin"] {
        let line = format!("end-to-end o --ack memory --batch 1 --window 1 --messages 200 {flags}");
        let found = measured(&broker, &format!("{line} --warmup 0"));
        assert_eq!(found["loop"], "closed");
        assert_eq!(found["spin"], flags == "--spin");
        assert_eq!(found["window_messages"], 1);
        assert_eq!(found["produced"]["messages_per_entry"], 1.0);
        assert_eq!(found["produced"]["sent_late"], Value::Null);
        percentiles(&found["consumed"]["latency"]);
    }
    let partition = broker.partition("o");
    assert_eq!(partition.log_end.to_string(), "400");
}

#[test]
fn what_several_producers_were_acknowledged_is_read_back() {
    let broker = Broker::start(cores(2));
    let line = "produce p --topics 3 --producers 4 --ack memory --size 200 --messages 5000 \
                --warmup 0 --batch 64";
    let found = measured(&broker, line);
    assert_eq!(
        found["produced"],
        Value::Null,
        "the figures stand at the top"
    );
    assert_eq!(
        (&found["messages"], &found["topics"]),
        (&5000.into(), &3.into())
    );
    let each = found["messages_per_entry"].as_f64().unwrap();
    assert!((1.0..=64.0).contains(&each), "{found}");
    percentiles(&found["latency"]);
    assert_eq!(broker.produced_messages(), 5000);
    let read = measured(&broker, "consume p --topics 3");
    assert_eq!(
        (&read["messages"], &read["bytes"], &read["consumers"]),
        (&5000.into(), &1_000_000.into(), &3.into())
    );
}

#[test]
fn a_load_that_cannot_be_meant_is_refused() {
    let broker = Broker::start(cores(1));
    Hulse::to(&broker, "bench end-to-end t --size 10")
        .run()
        .refused(2, &["--size must be at least 24"]);
    Hulse::to(&broker, "topic create k-0 --ack memory").done();
    let line = "bench produce k --topics 2 --ack disk --messages 1";
    Hulse::to(&broker, line)
        .run()
        .refused(1, &["has ack=memory, not disk"]);
    Hulse::to(&broker, "topic create k-1 --ack disk").done();
    Hulse::to(&broker, "bench produce k --topics 2 --messages 1")
        .run()
        .refused(1, &["measure one after the other"]);
}
