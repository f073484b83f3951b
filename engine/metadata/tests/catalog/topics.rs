//! Creating, finding and deleting topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use hulse_metadata::catalog::{TopicDefaults, TopicError, TopicSpec, core_of, groups_of_placement};
use hulse_metadata::records::{
    AckLevel, Creation, NamespaceRecord, Record, TenantRecord, TopicState, key,
};
use hulse_metadata::{CasOutcome, Catalog, CountingIds, MemoryStore, Store};
use hulse_model::{Status, TopicName};

use crate::scene::{NOW, catalog, name, partitioned, plain, registration, started};

async fn put<R: Record>(store: &impl Store, key: &str, record: &R) {
    let outcome = store
        .compare_and_set(key, None, Some(&record.encode()))
        .await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Applied { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_new_store_has_the_tenant_and_namespace_of_short_names_and_keeps_later_changes() {
    let catalog = started().await;
    let tenant = catalog
        .store()
        .get("tenants/public")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        TenantRecord::decode(&tenant.value),
        Ok(TenantRecord::new(NOW))
    );
    let namespace = catalog
        .find_namespace(&name("orders"))
        .await
        .unwrap()
        .unwrap();
    assert!(namespace.creation.auto_create_topics);
    catalog.seed(NOW + 1).await.unwrap();
    let again = catalog
        .find_namespace(&name("orders"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.created_ms, NOW);
}

#[tokio::test]
async fn a_topic_is_created_as_described_and_found_by_its_name() {
    let catalog = started().await;
    let spec = TopicSpec {
        ack: Some(AckLevel::Memory),
        ..partitioned("orders", 3)
    };
    let made = catalog.create_topic(&spec, NOW).await.unwrap();
    assert_eq!(made.partitions.len(), 3);
    assert!(made.partitioned);
    assert_eq!(
        (made.replicas, made.min_isr, made.ack),
        (1, 1, AckLevel::Memory)
    );
    assert_eq!(made.regions, ["eu"]);
    assert_eq!((made.created_ms, made.state), (NOW, TopicState::Active));
    assert!((made.replication_factor() - 1.0).abs() < f64::EPSILON);
    let found = catalog.get_topic(&name("orders")).await.unwrap();
    assert_eq!((&found.topic, found.partition), (&made, None));
    for (index, text) in [(0, "orders-partition-0"), (2, "orders-partition-2")] {
        let found = catalog.get_topic(&name(text)).await.unwrap();
        assert_eq!((&found.topic, found.partition), (&made, Some(index)));
    }
    for absent in [
        "orders-partition-3",
        "orders-partition-x",
        "order",
        "a/b/orders",
    ] {
        let error = catalog.get_topic(&name(absent)).await.unwrap_err();
        assert_eq!(
            error,
            TopicError::NotFound {
                topic: name(absent)
            }
        );
        assert_eq!(error.status(), Status::TopicNotFound);
    }
    let error = catalog
        .create_topic(&plain("orders"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::TopicExists);
}

#[tokio::test]
async fn a_topic_without_numbers_has_one_partition_and_no_partition_names() {
    let catalog = started().await;
    let made = catalog.create_topic(&plain("plain"), NOW).await.unwrap();
    assert_eq!((made.partitions.len(), made.partitioned), (1, false));
    let error = catalog
        .get_topic(&name("plain-partition-0"))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::TopicNotFound);
    // Nor does using that name make another topic.
    let error = catalog
        .ensure_topic(&name("plain-partition-0"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::TopicNotFound);
}

#[tokio::test]
async fn descriptions_that_no_topic_can_have_are_refused_and_leave_nothing() {
    let catalog = started().await;
    let before = catalog.store().list("").await.unwrap();
    let base = plain("orders");
    let regions = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let long = partitioned(&"x".repeat(250), 1);
    let cases = [
        (
            partitioned("orders", 0),
            Status::InvalidArgument,
            "1 to 1024 partitions, not 0",
        ),
        (
            partitioned("orders", 1025),
            Status::InvalidArgument,
            "1 to 1024 partitions, not 1025",
        ),
        (
            plain("orders-partition-0"),
            Status::InvalidName,
            "names a single partition",
        ),
        (long, Status::InvalidName, "over the limit"),
        (
            plain("a/b/c"),
            Status::NamespaceNotFound,
            "namespace a/b does not exist",
        ),
        (
            TopicSpec {
                replicas: Some(2),
                ..base.clone()
            },
            Status::NotEnoughReplicas,
            "2 replicas need as many brokers, and 1 can hold one",
        ),
        (
            TopicSpec {
                replicas: Some(0),
                ..base.clone()
            },
            Status::InvalidArgument,
            "0 replicas cannot be placed in 1 regions",
        ),
        (
            TopicSpec {
                regions: regions(&["us"]),
                ..base.clone()
            },
            Status::InvalidArgument,
            "no broker stands in region \"us\"",
        ),
        (
            TopicSpec {
                regions: regions(&["eu", "eu"]),
                ..base.clone()
            },
            Status::InvalidArgument,
            "named twice",
        ),
        (
            TopicSpec {
                regions: regions(&["eu"; 9]),
                ..base.clone()
            },
            Status::InvalidArgument,
            "1 to 8",
        ),
        (
            TopicSpec {
                min_isr: Some(0),
                ..base.clone()
            },
            Status::InvalidArgument,
            "min-isr must be 1 to 1",
        ),
        (
            TopicSpec {
                min_isr: Some(2),
                ..base.clone()
            },
            Status::InvalidArgument,
            "min-isr must be 1 to 1",
        ),
    ];
    for (spec, status, text) in cases {
        let error = catalog.create_topic(&spec, NOW).await.unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(catalog.store().list("").await.unwrap(), before);
}

#[tokio::test]
async fn using_an_unknown_topic_creates_it_where_the_namespace_allows_that() {
    let catalog = started().await;
    let made = catalog.ensure_topic(&name("orders"), NOW).await.unwrap();
    assert_eq!(
        (made.topic.partitions.len(), made.topic.partitioned),
        (1, false)
    );
    let again = catalog
        .ensure_topic(&name("orders"), NOW + 1)
        .await
        .unwrap();
    assert_eq!(again, made);

    let record = NamespaceRecord {
        creation: Creation {
            auto_create_topics: false,
        },
        ..NamespaceRecord::new(NOW)
    };
    put(
        catalog.store(),
        &key::namespace("public", "closed"),
        &record,
    )
    .await;
    let in_closed = name("public/closed/orders");
    let error = catalog.ensure_topic(&in_closed, NOW).await.unwrap_err();
    assert_eq!(
        error,
        TopicError::NotFound {
            topic: in_closed.clone()
        }
    );
    let spec = TopicSpec::plain(in_closed.clone());
    catalog.create_topic(&spec, NOW).await.unwrap();
    assert_eq!(
        catalog
            .ensure_topic(&in_closed, NOW)
            .await
            .unwrap()
            .topic
            .name,
        in_closed
    );

    let nowhere = name("nobody/nothing/orders");
    let error = catalog.ensure_topic(&nowhere, NOW).await.unwrap_err();
    assert_eq!(error, TopicError::NotFoundNorNamespace { topic: nowhere });
    assert_eq!(error.status(), Status::TopicNotFound);

    // A partition of a topic that is there is found; one that is not is not made.
    catalog
        .create_topic(&partitioned("many", 2), NOW)
        .await
        .unwrap();
    let view = catalog
        .ensure_topic(&name("many-partition-1"), NOW)
        .await
        .unwrap();
    assert_eq!(view.partition, Some(1));
    let error = catalog
        .ensure_topic(&name("many-partition-2"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::TopicNotFound);
}

#[tokio::test]
async fn topics_are_listed_by_prefix_in_the_order_of_names() {
    let catalog = started().await;
    put(
        catalog.store(),
        &key::namespace("public", "other"),
        &NamespaceRecord::new(NOW),
    )
    .await;
    for text in ["b", "a", "public/other/c", "ab"] {
        catalog.create_topic(&plain(text), NOW).await.unwrap();
    }
    let names = async |prefix: &str| -> Vec<TopicName> {
        catalog
            .list_topics(prefix)
            .await
            .unwrap()
            .into_iter()
            .map(|topic| topic.name)
            .collect()
    };
    let [a, ab, b, c] = ["a", "ab", "b", "public/other/c"].map(name);
    assert_eq!(
        names("").await,
        [a.clone(), ab.clone(), b.clone(), c.clone()]
    );
    assert_eq!(names("public/default/").await, [a.clone(), ab.clone(), b]);
    assert_eq!(names("public/default/a").await, [a, ab]);
    assert_eq!(names("public/o").await, [c]);
    assert!(names("private/").await.is_empty());
}

#[tokio::test]
async fn partitions_go_to_the_groups_with_the_fewest() {
    let catalog = started().await;
    let spread = async || -> BTreeMap<u32, usize> {
        let groups = catalog.groups().await.unwrap();
        let index: BTreeMap<_, _> = groups.iter().map(|g| (g.group, g.record.index)).collect();
        let mut counts: BTreeMap<u32, usize> = index.values().map(|index| (*index, 0)).collect();
        for topic in catalog.list_topics("").await.unwrap() {
            for partition in topic.partitions {
                *counts.get_mut(&index[&partition.group]).unwrap() += 1;
            }
        }
        counts
    };
    let all = usize::try_from(groups_of_placement(2)).unwrap();
    assert_eq!(all, 16);
    catalog
        .create_topic(&partitioned("first", 5), NOW)
        .await
        .unwrap();
    // The first five, as they stand first among equals.
    assert_eq!(
        spread().await.values().copied().collect::<Vec<_>>()[..6],
        [1, 1, 1, 1, 1, 0]
    );
    catalog
        .create_topic(&partitioned("second", 11), NOW)
        .await
        .unwrap();
    assert!(spread().await.values().all(|count| *count == 1));
    catalog
        .create_topic(&partitioned("third", 1024), NOW)
        .await
        .unwrap();
    assert!(spread().await.values().all(|count| *count == 65));
    // What a deleted topic leaves is filled first, also by another catalog at the same store.
    catalog.delete_topic(&name("first"), NOW).await.unwrap();
    let other = crate::scene::catalog(catalog.store().clone(), "one", 1_000_000);
    other
        .create_topic(&partitioned("fourth", 5), NOW)
        .await
        .unwrap();
    assert!(spread().await.values().all(|count| *count == 65));
    catalog
        .create_topic(&partitioned("fifth", 16), NOW)
        .await
        .unwrap();
    assert!(spread().await.values().all(|count| *count == 66));
}

#[tokio::test]
async fn levels_and_minima_have_groups_of_their_own() {
    let catalog = started().await;
    let disk = catalog.create_topic(&plain("disk"), NOW).await.unwrap();
    let memory = TopicSpec {
        ack: Some(AckLevel::Memory),
        ..plain("memory")
    };
    let memory = catalog.create_topic(&memory, NOW).await.unwrap();
    assert_eq!(catalog.groups().await.unwrap().len(), 32);
    for topic in [&disk, &memory] {
        let group = catalog
            .group(topic.partitions[0].group)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(group.level, topic.ack);
        assert_eq!(group.placement, topic.placing().to_string());
    }
    assert_eq!(disk.placing().to_string(), "disk.1of1.eu");
}

#[tokio::test]
async fn replicas_are_spread_over_regions_and_brokers_once_there_are_some() {
    let one = started().await;
    let store = one.store().clone();
    let join = async |broker: &str, region: &str, ids: u64| {
        let catalog = catalog(store.clone(), broker, ids);
        let mut registration = registration(None, ids);
        registration.region = region.to_owned();
        registration.cores = 8;
        catalog.register_broker(&registration, NOW).await.unwrap();
    };
    join("two", "us", 2).await;
    join("three", "us", 3).await;
    let regions = vec!["us".to_owned(), "eu".to_owned()];
    let spec = TopicSpec {
        replicas: Some(3),
        regions: regions.clone(),
        ..partitioned("all", 40)
    };
    let topic = one.create_topic(&spec, NOW).await.unwrap();
    assert_eq!((topic.min_isr, topic.regions), (2, regions.clone()));
    let groups = one.groups().await.unwrap();
    assert_eq!(groups.len(), 32, "four for each core of the largest broker");
    for group in &groups {
        let record = &group.record;
        let odd = record.index % 2 == 1;
        let us = if odd {
            ["two", "three"]
        } else {
            ["three", "two"]
        };
        assert!(
            us.contains(&record.primary.as_str()),
            "the first region has the primary"
        );
        let mut holders = record.replicas.clone();
        assert_eq!(holders, record.isr);
        assert_eq!(holders[0], record.primary);
        holders.sort();
        assert_eq!(holders, ["one", "three", "two"]);
        assert_eq!(
            record.incarnations.keys().collect::<Vec<_>>(),
            ["one", "three", "two"]
        );
        assert_eq!(
            record.incarnations[&record.primary],
            record.primary_incarnation
        );
    }
    let primaries = groups
        .iter()
        .filter(|group| group.record.primary == "two")
        .count();
    assert_eq!(primaries, 16, "half of the groups each");
    // Without a number, one replica per region.
    let spec = TopicSpec {
        regions,
        ..plain("both")
    };
    let topic = one.create_topic(&spec, NOW).await.unwrap();
    assert_eq!((topic.replicas, topic.min_isr), (2, 1));
    let group = one.group(topic.partitions[0].group).await.unwrap().unwrap();
    assert_eq!(group.replicas.len(), 2);
    assert_eq!(group.replicas[1], "one");
}

#[tokio::test]
async fn a_deleted_topic_leaves_tombstones_until_its_files_are_gone() {
    let catalog = started().await;
    let orders = catalog
        .create_topic(&partitioned("orders", 100), NOW)
        .await
        .unwrap();
    let kept = catalog.create_topic(&plain("kept"), NOW).await.unwrap();
    let deleted = catalog
        .delete_topic(&name("orders"), NOW + 5)
        .await
        .unwrap();
    assert_eq!(deleted.id, orders.id);
    assert_eq!(deleted.partitions, orders.partitions);
    let error = catalog.get_topic(&name("orders")).await.unwrap_err();
    assert_eq!(error.status(), Status::TopicNotFound);
    let pending = catalog.pending_tombstones().await.unwrap();
    let mut expected: Vec<_> = orders.partitions.iter().map(|p| (p.id, p.group)).collect();
    expected.sort();
    let found: Vec<_> = pending.iter().map(|t| (t.partition, t.group)).collect();
    assert_eq!(found, expected);
    assert!(
        pending
            .iter()
            .all(|t| t.topic == name("orders") && t.deleted_ms == NOW + 5)
    );

    // Another topic of that name has other partitions.
    let again = catalog
        .create_topic(&partitioned("orders", 100), NOW + 6)
        .await
        .unwrap();
    assert!(
        again
            .partitions
            .iter()
            .all(|p| expected.iter().all(|(id, _)| *id != p.id))
    );
    let (one_by_one, together) = expected.split_at(30);
    for (partition, _) in one_by_one {
        catalog.clear_tombstone(*partition).await.unwrap();
        catalog.clear_tombstone(*partition).await.unwrap();
    }
    // Those that are cleared already are passed over.
    let together: Vec<_> = one_by_one[20..]
        .iter()
        .chain(together)
        .map(|(partition, _)| *partition)
        .collect();
    catalog.clear_tombstones(&together).await.unwrap();
    catalog.clear_tombstones(&together).await.unwrap();
    assert!(catalog.pending_tombstones().await.unwrap().is_empty());
    assert_eq!(
        catalog.get_topic(&name("orders")).await.unwrap().topic,
        again
    );
    assert_eq!(catalog.get_topic(&name("kept")).await.unwrap().topic, kept);

    let error = catalog
        .delete_topic(&name("absent"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::TopicNotFound);
    let error = catalog
        .delete_topic(&name("orders-partition-0"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::InvalidName);
}

#[tokio::test]
async fn a_tombstone_never_speaks_for_a_partition_that_a_topic_names() {
    let catalog = started().await;
    let topic = catalog.create_topic(&plain("orders"), NOW).await.unwrap();
    let partition = topic.partitions[0];
    // Nothing of ours writes such a thing: it stands for a mistake that must not cost data.
    let wrong = hulse_metadata::records::TombstoneRecord {
        partition: partition.id,
        group: partition.group,
        topic: topic.name.clone(),
        deleted_ms: NOW,
    };
    put(catalog.store(), &key::tombstone(partition.id), &wrong).await;
    assert!(catalog.pending_tombstones().await.unwrap().is_empty());
    catalog.delete_topic(&topic.name, NOW).await.unwrap();
    assert_eq!(catalog.pending_tombstones().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_broker_that_is_not_registered_creates_nothing() {
    let store = MemoryStore::new(hulse_metadata::StoreId(3));
    let ids = Arc::new(CountingIds::from(1));
    let catalog = Catalog::with_ids(store, "nobody", TopicDefaults::default(), ids);
    catalog.seed(NOW).await.unwrap();
    let error = catalog
        .ensure_topic(&name("orders"), NOW)
        .await
        .unwrap_err();
    assert_eq!(error.status(), Status::NotReady, "{error}");
    assert!(catalog.groups().await.unwrap().is_empty());
}

#[test]
fn every_core_has_its_share_of_the_groups() {
    for cores in [1, 2, 3, 4, 7, 64, 2000] {
        let mut shares = vec![0_u32; cores];
        for index in 0..groups_of_placement(u32::try_from(cores).unwrap()) {
            shares[core_of(index, cores)] += 1;
        }
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "{cores} cores");
        assert!(*least >= 2, "{cores} cores");
    }
}
