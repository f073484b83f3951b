//! Installing primaries after a start.

use std::collections::BTreeMap;

use hulse_metadata::catalog::{CatalogError, Reinstallation};
use hulse_metadata::records::{AckLevel, Incarnation};
use hulse_model::{GroupId, Term};

use crate::scene::{NOW, catalog, plain, registration, started};

const NOTHING: BTreeMap<GroupId, Term> = BTreeMap::new();

#[tokio::test]
async fn a_new_group_is_served_by_its_primary_in_term_one_at_once() {
    let one = started().await;
    let topic = one.create_topic(&plain("orders"), NOW).await.unwrap();
    let incarnation = one.registered().await.unwrap().unwrap();
    let group = one.group(topic.partitions[0].group).await.unwrap().unwrap();
    assert_eq!((group.ver, group.term), (1, Term(1)));
    assert_eq!(
        (group.primary.as_str(), group.primary_incarnation),
        ("one", incarnation)
    );
    assert_eq!(
        (group.isr.as_slice(), group.replicas.as_slice()),
        (&["one".to_owned()][..], &["one".to_owned()][..])
    );
    assert_eq!((group.min_isr, group.level), (1, AckLevel::Disk));
    assert_eq!(
        (group.attempt.broker.as_str(), group.attempt.incarnation),
        ("one", incarnation)
    );
    // An installation by the same life changes nothing.
    let before = one.groups().await.unwrap();
    let request = Reinstallation {
        incarnation,
        adopted: &NOTHING,
    };
    let installed = one.install_primaries(&request).await.unwrap();
    assert_eq!((installed.reigns, installed.frozen), (before, vec![]));
}

#[tokio::test]
async fn a_restart_takes_a_new_term_in_every_group_that_names_it() {
    let one = started().await;
    one.create_topic(&plain("orders"), NOW).await.unwrap();
    // Groups of a second placement make more changes than the store takes at once.
    for level in [AckLevel::Memory] {
        let spec = hulse_metadata::catalog::TopicSpec {
            ack: Some(level),
            ..plain("memory")
        };
        one.create_topic(&spec, NOW).await.unwrap();
    }
    let before = one.groups().await.unwrap();
    let held = one.registered().await.unwrap();
    let incarnation = one
        .register_broker(&registration(held, 2), NOW)
        .await
        .unwrap()
        .incarnation;
    let request = Reinstallation {
        incarnation,
        adopted: &NOTHING,
    };
    let installed = one.install_primaries(&request).await.unwrap();
    assert_eq!(installed.reigns.len(), before.len());
    assert_eq!(installed.reigns, one.groups().await.unwrap());
    for (old, new) in before.iter().zip(&installed.reigns) {
        assert_eq!(old.group, new.group);
        let (old, new) = (&old.record, &new.record);
        assert_eq!((new.ver, new.term), (old.ver + 1, Term(old.term.0 + 1)));
        assert_eq!(new.primary_incarnation, incarnation);
        assert_eq!(new.incarnations["one"], incarnation);
        assert_eq!((&new.isr, &new.replicas), (&old.isr, &old.replicas));
        assert_ne!(new.attempt, old.attempt);
    }
}

#[tokio::test]
async fn groups_of_others_are_left_alone() {
    let one = started().await;
    one.create_topic(&plain("orders"), NOW).await.unwrap();
    let two = catalog(one.store().clone(), "two", 5000);
    let incarnation = two
        .register_broker(&registration(None, 1), NOW)
        .await
        .unwrap()
        .incarnation;
    let before = one.groups().await.unwrap();
    let request = Reinstallation {
        incarnation,
        adopted: &NOTHING,
    };
    assert!(
        two.install_primaries(&request)
            .await
            .unwrap()
            .reigns
            .is_empty()
    );
    assert_eq!(one.groups().await.unwrap(), before);
}

#[tokio::test]
async fn a_life_that_is_not_registered_installs_nothing() {
    let one = started().await;
    one.create_topic(&plain("orders"), NOW).await.unwrap();
    let before = one.groups().await.unwrap();
    let held = one.registered().await.unwrap();
    for incarnation in [
        Incarnation::after(held, 9),
        Incarnation {
            number: 1,
            nonce: 99,
        },
    ] {
        let request = Reinstallation {
            incarnation,
            adopted: &NOTHING,
        };
        let error = one.install_primaries(&request).await.unwrap_err();
        assert_eq!(
            error,
            CatalogError::NotRegistered {
                broker: "one".to_owned()
            }
        );
    }
    assert_eq!(one.groups().await.unwrap(), before);
}

#[tokio::test]
async fn a_store_that_has_gone_back_in_time_freezes_the_group() {
    let one = started().await;
    let topic = one.create_topic(&plain("orders"), NOW).await.unwrap();
    let ahead = topic.partitions[0].group;
    let held = one.registered().await.unwrap();
    let incarnation = one
        .register_broker(&registration(held, 2), NOW)
        .await
        .unwrap()
        .incarnation;
    let others = one.groups().await.unwrap();
    let even = others
        .iter()
        .map(|reign| reign.group)
        .find(|group| *group != ahead)
        .unwrap();
    // This broker's log has seen term 5 of one group, and of another just what the store says.
    let adopted = BTreeMap::from([(ahead, Term(5)), (even, Term(1))]);
    let request = Reinstallation {
        incarnation,
        adopted: &adopted,
    };
    let installed = one.install_primaries(&request).await.unwrap();
    assert_eq!(installed.reigns.len(), others.len() - 1);
    assert!(installed.reigns.iter().all(|reign| reign.group != ahead));
    assert_eq!(installed.frozen.len(), 1);
    assert_eq!(installed.frozen[0].group, ahead);
    let record = one.group(ahead).await.unwrap().unwrap();
    assert_eq!(record.term, Term(1), "a frozen group stays as it is");
}
