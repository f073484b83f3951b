//! Goal: tenants and namespaces come and go without leaving anything in what does not exist, policies
//! and permissions are kept, and what is refused says how to mend it.
//! Method: each rule by itself; then several tasks that make and delete tenants, namespaces and topics
//! at a store that lets others go first, with the books checked when all have ended.

use std::sync::Arc;

use hulse_metadata::catalog::{TenancyError, TopicError};
use hulse_metadata::records::{NamespaceRecord, Record, TenantRecord, TopicRecord, key};
use hulse_metadata::{Catalog, MemoryStore, Store};
use hulse_model::policies::UNLIMITED;
use hulse_model::{
    Effective, NamespaceName, Permission, Policies, Policy, PolicyChange, RoleName, Scope, Status,
    TenantName,
};
use proptest::prelude::*;

use crate::faulty_store::{Fault, FaultyStore};
use crate::interleavings::{TASKS, run, scene};
use crate::scene::{NOW, catalog, name, plain, started};

fn tenant(text: &str) -> TenantName {
    text.parse().expect("a tenant's name")
}

fn namespace(text: &str) -> NamespaceName {
    text.parse().expect("a namespace's name")
}

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

fn set(policy: Policy, value: i64) -> PolicyChange {
    let value = Some(value);
    PolicyChange { policy, value }
}

#[tokio::test]
async fn tenants_and_namespaces_are_made_listed_and_deleted() {
    let catalog = started().await;
    let missing = catalog.create_namespace(&namespace("acme/eu"), NOW).await;
    let missing = missing.unwrap_err();
    assert_eq!(missing.status(), Status::NamespaceNotFound);
    assert!(missing.to_string().contains("hulse tenant create acme"));

    catalog.create_tenant(&tenant("acme"), NOW).await.unwrap();
    let again = catalog.create_tenant(&tenant("acme"), NOW).await;
    assert_eq!(again.unwrap_err().status(), Status::NamespaceExists);
    let made = catalog.create_namespace(&namespace("acme/eu"), NOW).await;
    assert_eq!(made.unwrap().topics, 0);
    let again = catalog.create_namespace(&namespace("acme/eu"), NOW).await;
    assert_eq!(again.unwrap_err().status(), Status::NamespaceExists);
    catalog
        .create_topic(&plain("persistent://acme/eu/orders"), NOW)
        .await
        .unwrap();

    let tenants = catalog.list_tenants().await.unwrap();
    let tenants: Vec<_> = tenants
        .iter()
        .map(|one| (one.name.as_str(), one.namespaces))
        .collect();
    assert_eq!(tenants, [("acme", 1), ("public", 1)]);
    let all = catalog.list_namespaces(None).await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|one| (one.name.to_string(), one.topics))
        .collect();
    assert_eq!(
        all,
        [("acme/eu".to_owned(), 1), ("public/default".to_owned(), 0)]
    );
    let own = catalog.list_namespaces(Some(&tenant("acme"))).await;
    assert_eq!(own.unwrap().len(), 1);
    let none = catalog.list_namespaces(Some(&tenant("nobody"))).await;
    assert_eq!(none.unwrap_err().status(), Status::NamespaceNotFound);

    let full = catalog.delete_tenant(&tenant("acme")).await.unwrap_err();
    assert_eq!(full.status(), Status::NotEmpty);
    let full = catalog.delete_namespace(&namespace("acme/eu")).await;
    let full = full.unwrap_err();
    assert_eq!(full.status(), Status::NotEmpty);
    assert!(full.to_string().contains("has 1 topics"), "{full}");
    // A refusal has changed nothing: topics are made as before.
    catalog
        .create_topic(&plain("persistent://acme/eu/more"), NOW)
        .await
        .unwrap();
    for topic in ["orders", "more"] {
        let topic = name(&format!("persistent://acme/eu/{topic}"));
        catalog.delete_topic(&topic, NOW).await.unwrap();
    }
    catalog
        .delete_namespace(&namespace("acme/eu"))
        .await
        .unwrap();
    let gone = catalog.delete_namespace(&namespace("acme/eu")).await;
    assert_eq!(gone.unwrap_err().status(), Status::NamespaceNotFound);
    let orders = name("persistent://acme/eu/orders");
    let lost = catalog.ensure_topic(&orders, NOW).await.unwrap_err();
    assert_eq!(lost.status(), Status::TopicNotFound);
    assert!(
        lost.to_string().contains("hulse namespace create acme/eu"),
        "{lost}"
    );
    catalog.delete_tenant(&tenant("acme")).await.unwrap();
    let gone = catalog.delete_tenant(&tenant("acme")).await;
    assert_eq!(gone.unwrap_err().status(), Status::NamespaceNotFound);
}

#[tokio::test]
async fn what_short_names_need_is_never_deleted() {
    let catalog = started().await;
    let kept = catalog.delete_namespace(&namespace("public/default")).await;
    assert_eq!(kept.unwrap_err().status(), Status::InvalidArgument);
    let kept = catalog.delete_tenant(&tenant("public")).await;
    assert_eq!(kept.unwrap_err().status(), Status::InvalidArgument);
}

#[tokio::test]
async fn policies_are_kept_at_each_level_and_taken_back() {
    let catalog = started().await;
    catalog.create_topic(&plain("orders"), NOW).await.unwrap();
    let levels = [
        ("public", set(Policy::TtlMs, 60_000)),
        ("public/default", set(Policy::RetentionMs, UNLIMITED)),
        (
            "persistent://public/default/orders",
            set(Policy::TtlMs, 5_000),
        ),
    ];
    for (text, change) in levels {
        let now = catalog.set_policies(&scope(text), &[change]).await.unwrap();
        assert_eq!(now.get(change.policy), change.value);
        assert_eq!(catalog.policies(&scope(text)).await.unwrap(), now);
    }
    let levels = catalog.levels().await.unwrap();
    let above = levels.of_namespace(&name("orders").in_namespace());
    let topic = catalog.get_topic(&name("orders")).await.unwrap().topic;
    let effective = Effective::of(above.iter().chain([&topic.policies]));
    assert_eq!(effective.ttl_ms, Some(5_000));
    assert_eq!(effective.retention_ms, None);

    let back = PolicyChange {
        policy: Policy::RetentionMs,
        value: None,
    };
    let now = catalog
        .set_policies(&scope("public/default"), &[back])
        .await;
    assert_eq!(now.unwrap(), Policies::default());

    // Of several changes with a wrong one none is made.
    let wrong = [set(Policy::TtlMs, 9_000), set(Policy::RateBytes, 0)];
    let refused = catalog.set_policies(&scope("public"), &wrong).await;
    assert_eq!(refused.unwrap_err().status(), Status::InvalidArgument);
    let kept = catalog.policies(&scope("public")).await.unwrap();
    assert_eq!(kept.get(Policy::TtlMs), Some(60_000));

    for (absent, status) in [
        ("nobody", Status::NamespaceNotFound),
        ("public/other", Status::NamespaceNotFound),
        ("persistent://public/default/nothing", Status::TopicNotFound),
    ] {
        let refused = catalog.set_policies(&scope(absent), &[back]).await;
        assert_eq!(refused.unwrap_err().status(), status, "{absent}");
    }
}

#[tokio::test]
async fn permissions_are_granted_and_revoked_by_role() {
    let catalog = started().await;
    let default = namespace("public/default");
    let app: RoleName = "app".parse().unwrap();
    let both = [Permission::Produce, Permission::Consume];
    let grants = catalog.change_grants(&default, &app, &both, true).await;
    assert_eq!(grants.unwrap().of(&app), both.into());
    let less = [Permission::Consume, Permission::Administer];
    let grants = catalog.change_grants(&default, &app, &less, false).await;
    assert_eq!(grants.unwrap().of(&app), [Permission::Produce].into());
    let kept = catalog.grants(&default).await.unwrap();
    assert_eq!(kept.roles(), 1);
    let none = catalog.change_grants(&default, &app, &both, false).await;
    assert!(none.unwrap().is_empty());
    let nowhere = namespace("public/other");
    let refused = catalog.change_grants(&nowhere, &app, &both, true).await;
    assert!(matches!(
        refused,
        Err(TenancyError::NamespaceNotFound { .. })
    ));
}

/// Asserts that nothing lies in what does not exist, and that no deletion is half done.
async fn audit(store: &MemoryStore) {
    let all = async |prefix| store.list(prefix).await.expect("the store answers");
    let tenants = all(key::TENANTS).await;
    let namespaces = all(key::NAMESPACES).await;
    for (key, value) in &tenants {
        let record = TenantRecord::decode(&value.value).expect("a tenant");
        assert!(!record.deleting, "{key}");
    }
    for (key, value) in &namespaces {
        let record = NamespaceRecord::decode(&value.value).expect("a namespace");
        assert!(!record.deleting, "{key}");
        let (owner, _) = key[key::NAMESPACES.len()..].split_once('/').expect("both");
        let owner = key::tenant(owner);
        assert!(tenants.iter().any(|(it, _)| *it == owner), "{key}");
    }
    for (key, value) in all(key::TOPICS).await {
        let topic = TopicRecord::decode(&value.value).expect("a topic");
        let home = key::namespace(topic.name.tenant(), topic.name.namespace());
        assert!(namespaces.iter().any(|(it, _)| *it == home), "{key}");
    }
}

async fn come_and_go<S: Store>(catalog: Arc<Catalog<S>>, task: u64) {
    let (acme, eu) = (tenant("acme"), namespace("acme/eu"));
    let topic = name("persistent://acme/eu/orders");
    for round in 0..8 {
        // Whatever a rule refuses is as good as done here.
        let tenancy = |outcome: Result<(), TenancyError>| {
            if let Err(TenancyError::Catalog(error)) = outcome {
                panic!("{error}");
            }
        };
        let topics = |outcome: Result<(), TopicError>| {
            if let Err(TopicError::Catalog(error)) = outcome {
                panic!("{error}");
            }
        };
        match (task * 5 + round) % 7 {
            0 => tenancy(catalog.create_tenant(&acme, NOW).await.map(drop)),
            1 | 4 => tenancy(catalog.create_namespace(&eu, NOW).await.map(drop)),
            2 => topics(
                catalog
                    .create_topic(&plain("persistent://acme/eu/orders"), NOW)
                    .await
                    .map(drop),
            ),
            3 => topics(catalog.delete_topic(&topic, NOW).await.map(drop)),
            5 => tenancy(catalog.delete_namespace(&eu).await),
            _ => tenancy(catalog.delete_tenant(&acme).await),
        }
    }
}

async fn all_come_and_go(seed: u64) {
    let (inner, catalogs) = scene(seed).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (task, catalog) in (0..TASKS).zip(catalogs.iter().cycle().cloned()) {
        tasks.spawn(come_and_go(catalog, task));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
    // A task may have left a mark that nobody has met since.
    let _ = catalogs[0].list_namespaces(Some(&tenant("acme"))).await;
    let topic = name("persistent://acme/eu/x");
    let found = catalogs[0].find_namespace(&topic).await;
    found.expect("the store answers");
    audit(&inner).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_left_in_what_does_not_exist(seed in any::<u64>()) {
        run(all_come_and_go(seed));
    }
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_settled_by_whoever_comes_next() {
    for with_topic in [false, true] {
        for fault in [Fault::Dead, Fault::Unheard] {
            for operations in 0..8 {
                let sound = started().await;
                sound.create_tenant(&tenant("acme"), NOW).await.unwrap();
                sound
                    .create_namespace(&namespace("acme/eu"), NOW)
                    .await
                    .unwrap();
                let store = sound.store().clone();
                let faulty = FaultyStore::new(store.clone(), operations, fault);
                let cut = catalog(faulty, "one", 5_000);
                let _ = cut.delete_namespace(&namespace("acme/eu")).await;
                let topic = plain("persistent://acme/eu/orders");
                let there = match sound.create_topic(&topic, NOW).await {
                    Ok(_) if with_topic => true,
                    Ok(made) => {
                        sound.delete_topic(&made.name, NOW).await.unwrap();
                        false
                    }
                    Err(TopicError::NamespaceNotFound { .. }) => false,
                    Err(error) => panic!("{error}"),
                };
                audit(&store).await;
                match sound.delete_namespace(&namespace("acme/eu")).await {
                    Ok(()) => assert!(!there),
                    Err(error) if there => assert_eq!(error.status(), Status::NotEmpty),
                    Err(error) => assert_eq!(error.status(), Status::NamespaceNotFound),
                }
                audit(&store).await;
            }
        }
    }
}
