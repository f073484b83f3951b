//! The JSON answers: what is written reads back, and readers of another version get along.

use hulse_wire::json::{
    BlockedDescription, BrokerStatus, ConsumerDescription, CoreStatus, DamagedRange,
    LatencySummary, PartitionDescription, SubscriptionDescription, SubscriptionList,
    TopicDescription, TopicList, Traffic,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("an answer is plain data");
    let read: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(&read, value, "{text}");
}

fn subscription() -> SubscriptionDescription {
    SubscriptionDescription {
        name: "billing".into(),
        kind: "exclusive".into(),
        durable: true,
        partition: -1,
        mark: "17.0".into(),
        backlog_entries: 3,
        acknowledged_ranges: 1,
        consumers: vec![ConsumerDescription {
            name: "worker".into(),
            priority: 1,
            active: true,
            permits: -2,
            unacknowledged: Some(7),
            delivered_messages: 9,
        }],
        partition_factor: 1.0,
        blocked: Some(BlockedDescription {
            reason: "no-permits".into(),
            consumer: Some("worker".into()),
            entry: Some(17),
            text: "entry 17 is next, and consumer worker has no permits left".into(),
        }),
    }
}

fn topic() -> TopicDescription {
    TopicDescription {
        name: "persistent://public/default/orders".into(),
        id: "00000000000000000000000000000001".into(),
        replicas: 3,
        regions: vec!["north".into(), "south".into()],
        replication_factor: 1.5,
        ack: "disk".into(),
        min_isr: 2,
        partitions: vec![PartitionDescription {
            partition: -1,
            id: "00000000000000000000000000000002".into(),
            address: "127.0.0.1:6650".into(),
            term: 1,
            high_watermark: 20,
            log_end: 21,
            damaged: vec![DamagedRange { first: 4, end: 5 }],
            subscriptions: vec![subscription()],
            ..PartitionDescription::default()
        }],
    }
}

#[test]
fn every_answer_reads_back_as_written() {
    reads_back(&topic());
    reads_back(&TopicList {
        topics: vec!["persistent://public/default/orders".into()],
    });
    reads_back(&SubscriptionList {
        topic: "orders".into(),
        subscriptions: vec![subscription()],
    });
    let traffic = Traffic {
        messages: 5,
        entries: 2,
        bytes: 1 << 60,
    };
    let latency = LatencySummary {
        count: 9,
        p50_us: 1,
        p99_us: 2,
        p999_us: 3,
        max_us: 4,
    };
    let core = CoreStatus {
        produced: traffic,
        delivered: traffic,
        syncs: latency,
        ..CoreStatus::default()
    };
    reads_back(&BrokerStatus {
        cores: vec![core],
        ready: true,
        ..BrokerStatus::default()
    });
}

#[test]
fn a_broker_of_another_version_is_understood() {
    let mut value = serde_json::to_value(topic()).unwrap();
    value["added_later"] = 7.into();
    value.as_object_mut().unwrap().remove("min_isr");
    let read: TopicDescription = serde_json::from_value(value).unwrap();
    assert_eq!(
        read,
        TopicDescription {
            min_isr: 0,
            ..topic()
        }
    );
}

#[test]
fn what_scripts_look_for_keeps_its_name() {
    let value = serde_json::to_value(topic()).unwrap();
    assert_eq!(value["replication_factor"], 1.5);
    assert_eq!(value["partitions"][0]["high_watermark"], 20);
    assert_eq!(
        value["partitions"][0]["subscriptions"][0]["partition_factor"],
        1.0
    );
    assert!(
        value["partitions"][0].get("poisoned").is_none(),
        "absent while all is well"
    );
}
