//! Goal: an operation that is interrupted between any two steps leaks no partition, gives none to
//! two topics, and hinders nobody.
//! Method: the store stops answering after n operations, for every n until the operation gets
//! through; then another catalog audits the books and goes on.

use std::collections::{BTreeMap, BTreeSet};

use hulse_metadata::catalog::{CatalogError, Installed, RegisterError, Reinstallation, TopicError};
use hulse_metadata::records::Incarnation;
use hulse_metadata::{Catalog, MemoryStore, Store, StoreId};
use hulse_model::{GroupId, Status, Term};

use crate::books::Books;
use crate::faulty_store::{Fault, FaultyStore};
use crate::scene::{NOW, catalog, name, partitioned, plain, registration};

const FAULTS: [Fault; 2] = [Fault::Dead, Fault::Unheard];
/// No operation takes as many steps.
const STEPS_MAX: u64 = 500;

/// A store with a broker, and the broker's catalog behind a fault after `steps` operations.
async fn scene(
    steps: u64,
    fault: Fault,
) -> (Catalog<MemoryStore>, Catalog<FaultyStore<MemoryStore>>) {
    let store = MemoryStore::new(StoreId(1));
    let sound = catalog(store.clone(), "one", 1_000_000);
    sound.seed(NOW).await.expect("the store answers");
    sound
        .register_broker(&registration(None, 1), NOW)
        .await
        .expect("it is the first");
    (
        sound,
        catalog(FaultyStore::new(store, steps, fault), "one", 1),
    )
}

/// Deletes the files of whatever waits for it, as a broker does at its start.
async fn sweep<S: Store>(catalog: &Catalog<S>, books: &mut Books) {
    for tombstone in catalog
        .pending_tombstones()
        .await
        .expect("the store answers")
    {
        books.delete(tombstone.partition);
        catalog
            .clear_tombstone(tombstone.partition)
            .await
            .expect("the store answers");
    }
}

#[tokio::test]
async fn a_creation_interrupted_anywhere_leaves_no_trace_that_hinders() {
    for fault in FAULTS {
        let mut interrupted = 0;
        for steps in 0..STEPS_MAX {
            let (sound, faulty) = scene(steps, fault).await;
            let mut books = Books::default();
            let spec = partitioned("orders", 40);
            let outcome = faulty.create_topic(&spec, NOW).await;
            books.audit(sound.store()).await;
            // The broker comes back and its user tries again.
            let again = sound.create_topic(&spec, NOW).await;
            books.audit(sound.store()).await;
            match (&outcome, &again) {
                (Ok(made), Err(TopicError::Exists { .. })) => {
                    let found = sound.get_topic(&name("orders")).await.expect("it exists");
                    assert_eq!(&found.topic, made);
                }
                // It was made, though nobody heard.
                (
                    Err(TopicError::Catalog(CatalogError::Indeterminate { .. })),
                    Err(TopicError::Exists { .. }),
                ) => {}
                (Err(_), Ok(made)) => assert_eq!(made.partitions.len(), 40),
                unexpected => panic!("after {steps} steps: {unexpected:?}"),
            }
            assert_eq!(sound.groups().await.expect("the store answers").len(), 16);
            assert!(books.waiting(sound.store()).await.is_empty());
            if outcome.is_ok() {
                break;
            }
            interrupted += 1;
        }
        assert!(
            interrupted > 20,
            "{interrupted} points of interruption were met"
        );
        assert!(interrupted < STEPS_MAX, "the creation never got through");
    }
}

#[tokio::test]
async fn a_deletion_interrupted_anywhere_is_completed_by_the_next_start() {
    for fault in FAULTS {
        let mut interrupted = 0;
        for steps in 0..STEPS_MAX {
            let (sound, faulty) = scene(steps, fault).await;
            let mut books = Books::default();
            sound
                .create_topic(&plain("kept"), NOW)
                .await
                .expect("it is the first");
            let spec = partitioned("orders", 40);
            let made = sound
                .create_topic(&spec, NOW)
                .await
                .expect("it is the first");
            books.audit(sound.store()).await;

            let outcome = faulty.delete_topic(&name("orders"), NOW).await;
            books.audit(sound.store()).await;
            sweep(&sound, &mut books).await;
            books.audit(sound.store()).await;
            assert!(
                books.waiting(sound.store()).await.is_empty(),
                "after {steps} steps"
            );

            let ids: BTreeSet<_> = made
                .partitions
                .iter()
                .map(|partition| partition.id)
                .collect();
            match sound.get_topic(&name("orders")).await {
                Ok(found) => {
                    assert!(outcome.is_err(), "a topic that was deleted is there");
                    assert_eq!(found.topic, made, "it is whole or it is gone");
                }
                Err(error) => assert_eq!(error.status(), Status::TopicNotFound),
            }
            // Whatever it was, the topic can be deleted now and its name used again.
            match sound.delete_topic(&name("orders"), NOW).await {
                Ok(_) | Err(TopicError::NotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            sweep(&sound, &mut books).await;
            books.audit(sound.store()).await;
            let again = sound
                .create_topic(&spec, NOW)
                .await
                .expect("the name is free");
            assert!(
                again
                    .partitions
                    .iter()
                    .all(|partition| !ids.contains(&partition.id))
            );
            books.audit(sound.store()).await;
            sound
                .get_topic(&name("kept"))
                .await
                .expect("it was not touched");
            if outcome.is_ok() {
                break;
            }
            interrupted += 1;
        }
        assert!(
            interrupted > 5,
            "{interrupted} points of interruption were met"
        );
        assert!(interrupted < STEPS_MAX, "the deletion never got through");
    }
}

#[tokio::test]
async fn a_name_whose_deletion_was_interrupted_is_free() {
    for fault in FAULTS {
        for steps in 0..STEPS_MAX {
            let (sound, faulty) = scene(steps, fault).await;
            let mut books = Books::default();
            let spec = partitioned("orders", 40);
            sound
                .create_topic(&spec, NOW)
                .await
                .expect("it is the first");
            books.audit(sound.store()).await;
            let outcome = faulty.delete_topic(&name("orders"), NOW).await;
            // Without a sweep in between.
            let gone = sound.get_topic(&name("orders")).await.is_err();
            let again = sound.create_topic(&spec, NOW).await;
            assert_eq!(again.is_ok(), gone, "after {steps} steps: {again:?}");
            books.audit(sound.store()).await;
            assert_eq!(
                books.waiting(sound.store()).await.len(),
                if gone { 40 } else { 0 }
            );
            sweep(&sound, &mut books).await;
            books.audit(sound.store()).await;
            assert!(books.waiting(sound.store()).await.is_empty());
            if outcome.is_ok() {
                check_steps(steps);
                break;
            }
        }
    }
}

fn check_steps(steps: u64) {
    assert!(
        (5..STEPS_MAX).contains(&steps),
        "the deletion took {steps} steps"
    );
}

#[tokio::test]
async fn a_sweep_interrupted_anywhere_is_completed_by_the_next() {
    for fault in FAULTS {
        for steps in 0..STEPS_MAX {
            let (sound, faulty) = scene(steps, fault).await;
            let mut books = Books::default();
            sound
                .create_topic(&partitioned("orders", 20), NOW)
                .await
                .expect("it is the first");
            books.audit(sound.store()).await;
            sound
                .delete_topic(&name("orders"), NOW)
                .await
                .expect("it exists");
            let mut through = true;
            match faulty.pending_tombstones().await {
                Ok(tombstones) => {
                    for tombstone in tombstones {
                        books.delete(tombstone.partition);
                        through &= faulty.clear_tombstone(tombstone.partition).await.is_ok();
                    }
                }
                Err(_) => through = false,
            }
            books.audit(sound.store()).await;
            sweep(&sound, &mut books).await;
            books.audit(sound.store()).await;
            assert!(
                sound
                    .pending_tombstones()
                    .await
                    .expect("the store answers")
                    .is_empty()
            );
            assert!(books.waiting(sound.store()).await.is_empty());
            if through {
                check_steps(steps);
                break;
            }
        }
    }
}

async fn start<S: Store>(
    catalog: &Catalog<S>,
    held: Option<Incarnation>,
    adopted: &BTreeMap<GroupId, Term>,
) -> Result<Installed, RegisterError> {
    let registered = catalog.register_broker(&registration(held, 2), NOW).await?;
    let request = Reinstallation {
        incarnation: registered.incarnation,
        adopted,
    };
    Ok(catalog.install_primaries(&request).await?)
}

#[tokio::test]
async fn a_start_interrupted_anywhere_is_repeated_and_no_term_is_used_twice() {
    for fault in FAULTS {
        for steps in 0..STEPS_MAX {
            let (sound, faulty) = scene(steps, fault).await;
            sound
                .create_topic(&plain("orders"), NOW)
                .await
                .expect("it is the first");
            let before = sound.groups().await.expect("the store answers");
            let adopted = before
                .iter()
                .map(|reign| (reign.group, reign.record.term))
                .collect();
            let held = sound.registered().await.expect("the store answers");
            let first = start(&faulty, held, &adopted).await;

            // The process died; the next one reads what is registered, and has an intent of its
            // own, with another nonce.
            let held = sound.registered().await.expect("the store answers");
            let registration = registration(held, 3);
            let made = sound
                .register_broker(&registration, NOW)
                .await
                .expect("it is the next");
            let request = Reinstallation {
                incarnation: made.incarnation,
                adopted: &adopted,
            };
            let installed = sound
                .install_primaries(&request)
                .await
                .expect("the store answers");
            assert!(installed.frozen.is_empty());
            assert_eq!(installed.reigns.len(), before.len());
            for (old, new) in before.iter().zip(&installed.reigns) {
                assert!(new.record.term > old.record.term);
                assert!(new.record.ver > old.record.ver);
                assert_eq!(new.record.primary_incarnation, made.incarnation);
            }
            if let Ok(first) = first {
                for (old, new) in first.reigns.iter().zip(&installed.reigns) {
                    assert!(new.record.term > old.record.term, "a term was used twice");
                }
                check_steps(steps);
                break;
            }
        }
    }
}
