//! What is stored, byte for byte: a change here is a change of a format that brokers share.

use std::collections::BTreeMap;

use hulse_metadata::records::{
    AckLevel, Attempt, BrokerRecord, GroupRecord, Incarnation, NamespaceRecord, PartitionRecord,
    PlacementRecord, Placing, Record, RecordError, TenantRecord, TombstoneRecord, TopicId,
    TopicRecord, TopicState, key,
};
use hulse_model::{
    GroupId, PartitionId, Permission, Policies, Policy, PolicyChange, Term, TopicName,
};

const GROUP: GroupId = GroupId(0x61);
const PARTITION: PartitionId = PartitionId(0x70);

fn orders() -> TopicName {
    "orders".parse().expect("a name")
}

fn incarnation() -> Incarnation {
    Incarnation {
        number: 3,
        nonce: u64::MAX - 1,
    }
}

fn placing() -> Placing {
    Placing {
        replicas: 2,
        regions: vec!["eu".to_owned(), "us.east".to_owned()],
        ack: AckLevel::Disk,
        min_isr: 1,
    }
}

fn topic() -> TopicRecord {
    TopicRecord {
        name: orders(),
        id: TopicId(0x74),
        created_ms: 5,
        partitioned: true,
        partitions: vec![PartitionRecord {
            id: PARTITION,
            group: GROUP,
        }],
        replicas: 2,
        regions: placing().regions,
        ack: AckLevel::Memory,
        min_isr: 1,
        state: TopicState::Active,
        policies: Policies::default(),
    }
}

fn group() -> GroupRecord {
    GroupRecord {
        ver: 8,
        term: Term(4),
        primary: "one".to_owned(),
        primary_incarnation: incarnation(),
        isr: vec!["one".to_owned()],
        replicas: vec!["one".to_owned(), "two".to_owned()],
        incarnations: BTreeMap::from([("one".to_owned(), incarnation())]),
        min_isr: 1,
        level: AckLevel::Disk,
        attempt: Attempt {
            broker: "one".to_owned(),
            incarnation: incarnation(),
            nonce: 1,
        },
        placement: placing().to_string(),
        index: 7,
    }
}

fn check<R: Record + PartialEq + std::fmt::Debug>(record: &R, json: &str) {
    let bytes = record.encode();
    assert_eq!(String::from_utf8_lossy(&bytes), json);
    assert_eq!(R::decode(&bytes).as_ref(), Ok(record));
}

#[test]
fn every_record_is_written_as_it_always_was() {
    check(&TenantRecord::new(5), r#"{"v":1,"created_ms":5}"#);
    check(
        &NamespaceRecord::new(5),
        r#"{"v":1,"created_ms":5,"policies":{"auto_create_topics":true}}"#,
    );
    let mut namespace = NamespaceRecord::new(5);
    for (policy, value) in [(Policy::TtlMs, 5_000), (Policy::RetentionBytes, -1)] {
        let value = Some(value);
        let change = PolicyChange { policy, value };
        namespace.policies.change(change).unwrap();
    }
    let role = "app".parse().unwrap();
    let both = [Permission::Consume, Permission::Produce];
    namespace.grants.grant(&role, &both);
    check(
        &namespace,
        concat!(
            r#"{"v":1,"created_ms":5,"policies":{"auto_create_topics":true},"#,
            r#""values":{"retention_bytes":-1,"ttl_ms":5000},"#,
            r#""grants":{"app":["produce","consume"]}}"#
        ),
    );
    let earlier = concat!(
        r#"{"v":1,"created_ms":5,"policies":{"auto_create_topics":true,"#,
        r#""retention_ms":604800000,"retention_bytes":null}}"#
    );
    assert_eq!(
        NamespaceRecord::decode(earlier.as_bytes()),
        Ok(NamespaceRecord::new(5)),
        "what an earlier release wrote for the defaults is the defaults"
    );
    check(
        &topic(),
        concat!(
            r#"{"v":1,"name":"persistent://public/default/orders","#,
            r#""id":"00000000000000000000000000000074","created_ms":5,"partitioned":true,"#,
            r#""partitions":[{"id":"00000000000000000000000000000070","#,
            r#""group":"00000000000000000000000000000061"}],"replicas":2,"#,
            r#""regions":["eu","us.east"],"ack":"memory","min_isr":1,"state":"active"}"#
        ),
    );
    let doomed = TopicRecord {
        state: TopicState::Deleting { since_ms: 9 },
        ..topic()
    };
    let text = String::from_utf8(doomed.encode()).unwrap();
    assert!(
        text.ends_with(r#""state":{"deleting":{"since_ms":9}}}"#),
        "{text}"
    );
    assert_eq!(TopicRecord::decode(text.as_bytes()), Ok(doomed));
    check(
        &TombstoneRecord {
            partition: PARTITION,
            group: GROUP,
            topic: orders(),
            deleted_ms: 9,
        },
        concat!(
            r#"{"v":1,"partition":"00000000000000000000000000000070","#,
            r#""group":"00000000000000000000000000000061","#,
            r#""topic":"persistent://public/default/orders","deleted_ms":9}"#
        ),
    );
    check(
        &PlacementRecord {
            placing: placing(),
            groups: vec![GROUP],
            ready: false,
        },
        concat!(
            r#"{"v":1,"placing":{"replicas":2,"regions":["eu","us.east"],"ack":"disk","#,
            r#""min_isr":1},"groups":["00000000000000000000000000000061"],"ready":false}"#
        ),
    );
    check(
        &group(),
        concat!(
            r#"{"v":1,"ver":8,"term":4,"primary":"one","#,
            r#""primary_incarnation":{"number":3,"nonce":"fffffffffffffffe"},"#,
            r#""isr":["one"],"replicas":["one","two"],"#,
            r#""incarnations":{"one":{"number":3,"nonce":"fffffffffffffffe"}},"#,
            r#""min_isr":1,"level":"disk","attempt":{"broker":"one","#,
            r#""incarnation":{"number":3,"nonce":"fffffffffffffffe"},"#,
            r#""nonce":"0000000000000001"},"placement":"disk.1of2.eu,us.east","index":7}"#
        ),
    );
    check(
        &BrokerRecord {
            name: "one".to_owned(),
            region: "eu".to_owned(),
            incarnation: incarnation(),
            registered_ms: 5,
            cores: 2,
            addresses: vec!["10.0.0.1:6650".to_owned()],
        },
        concat!(
            r#"{"v":1,"name":"one","region":"eu","#,
            r#""incarnation":{"number":3,"nonce":"fffffffffffffffe"},"registered_ms":5,"#,
            r#""cores":2,"addresses":["10.0.0.1:6650"]}"#
        ),
    );
}

#[test]
fn keys_are_what_they_always_were() {
    assert_eq!(key::tenant("public"), "tenants/public");
    assert_eq!(
        key::namespace("public", "default"),
        "namespaces/public/default"
    );
    assert_eq!(key::topic(&orders()), "topics/public/default/orders");
    assert_eq!(
        key::tombstone(PARTITION),
        "tombstones/00000000000000000000000000000070"
    );
    assert_eq!(
        key::placement(&placing()),
        "placements/disk.1of2.eu,us.east"
    );
    assert_eq!(key::group(GROUP), "groups/00000000000000000000000000000061");
    assert_eq!(key::group_of(&key::group(GROUP)), Ok(GROUP));
    assert!(key::group_of("groups/61").is_err());
    assert_eq!(key::broker("one"), "brokers/one");
}

#[test]
fn unknown_fields_are_taken_and_missing_policies_are_the_defaults() {
    let json = br#"{"v":1,"created_ms":5,"colour":"blue","policies":{"quota":{"rate":1}}}"#;
    let expected = NamespaceRecord::new(5);
    assert_eq!(NamespaceRecord::decode(json), Ok(expected.clone()));
    assert_eq!(
        NamespaceRecord::decode(br#"{"created_ms":5,"v":1}"#),
        Ok(expected)
    );
}

#[test]
fn another_version_is_refused_by_its_number_and_damage_by_its_place() {
    let error = TenantRecord::decode(br#"{"v":2,"whatever":[]}"#).unwrap_err();
    assert_eq!(
        error,
        RecordError::Format {
            kind: "tenant",
            found: 2,
            known: 1
        }
    );
    assert_eq!(
        error.to_string(),
        "a tenant record has format 2, this release knows 1"
    );
    let good = String::from_utf8(topic().encode()).unwrap();
    let damaged = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        good.replace(r#""v":1,"#, ""),
        good.replace("00000000000000000000000000000070", "70"),
        good.replace("persistent://public/default/orders", "a b"),
        good.replace("active", "asleep"),
        good.replace("\"min_isr\":1", "\"min_isr\":-1"),
    ];
    for text in damaged {
        let error = TopicRecord::decode(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, RecordError::Malformed { kind: "topic", .. }),
            "{text}: {error}"
        );
    }
    assert!(TopicRecord::decode(&[0xff, 0xfe]).is_err());
    let nonce = String::from_utf8(group().encode()).unwrap();
    for bad in [
        "ffff",
        "fffffffffffffffff",
        "+ffffffffffffffe",
        "gfffffffffffffff",
    ] {
        let text = nonce.replace("fffffffffffffffe", bad);
        assert!(GroupRecord::decode(text.as_bytes()).is_err(), "{bad}");
    }
}
