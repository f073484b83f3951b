//! The JSON answers: what is written reads back, and readers of another version get along.

use hulse_wire::json::{
    BlockedDescription, BrokerStatus, ConsumerDescription, CoreStatus, DamagedRange, HeldBack,
    LatencySummary, NamespaceDescription, NamespaceList, PartitionDescription, PermissionList,
    PolicyDescription, PolicyValues, RolePermissions, SubscriptionDescription, SubscriptionList,
    TenantDescription, TenantList, TopicDescription, TopicList, Traffic,
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
        backlog_bytes: 4_096,
        holds_back: Some("the backlog quota is used up".into()),
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
            due_ms: None,
            text: "entry 17 is next, and consumer worker has no permits left".into(),
        }),
    }
}

fn values() -> PolicyValues {
    [("retention_ms".into(), -1), ("backlog_bytes".into(), 5)].into()
}

fn held_back() -> HeldBack {
    HeldBack {
        reason: "backlog-quota".into(),
        topic: Some("persistent://public/default/orders".into()),
        partition: Some(-1),
        subscription: Some("billing".into()),
        scope: None,
        text: "the backlog quota is used up".into(),
    }
}

#[test]
fn what_is_told_of_tenants_reads_back_as_written() {
    reads_back(&TenantList {
        tenants: vec![TenantDescription {
            name: "acme".into(),
            created_ms: 5,
            namespaces: 2,
            policies: values(),
        }],
    });
    reads_back(&NamespaceList {
        namespaces: vec![NamespaceDescription {
            name: "acme/eu".into(),
            auto_create_topics: true,
            effective: values(),
            ..NamespaceDescription::default()
        }],
    });
    reads_back(&PolicyDescription {
        scope: "acme/eu".into(),
        level: "namespace".into(),
        policies: values(),
        effective: values(),
    });
    let list = PermissionList {
        namespace: "acme/eu".into(),
        enforced: false,
        roles: vec![RolePermissions {
            role: "app".into(),
            permissions: vec!["produce".into()],
        }],
    };
    reads_back(&list);
    let value = serde_json::to_value(list).unwrap();
    assert_eq!(value["enforced"], false, "scripts are told so in any case");
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
        policies: values(),
        effective: values(),
        held_back: vec![held_back()],
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
        held_back: vec![held_back()],
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
        held_back: vec![held_back()],
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
