//! Registering a broker: its lives, its region, its store.

use hulse_metadata::catalog::{RegisterError, Registration};
use hulse_metadata::records::Incarnation;
use hulse_metadata::{MemoryStore, StoreId};
use hulse_model::Status;

use crate::scene::{NOW, catalog, plain, registration, started};

#[tokio::test]
async fn every_start_is_a_life_with_the_next_number() {
    let catalog = catalog(MemoryStore::new(StoreId(1)), "one", 1);
    assert_eq!(catalog.registered().await.unwrap(), None);
    let mut held = None;
    for (number, nonce) in [(1, 77), (2, 5), (3, 5)] {
        let made = catalog
            .register_broker(&registration(held, nonce), NOW + nonce)
            .await
            .unwrap();
        assert_eq!(made.incarnation, Incarnation { number, nonce });
        assert_eq!((made.cores, made.region.as_str()), (2, "eu"));
        held = catalog.registered().await.unwrap();
        assert_eq!(held, Some(made.incarnation));
        assert_eq!(catalog.brokers().await.unwrap(), [made]);
    }
}

#[tokio::test]
async fn the_same_intent_twice_is_one_registration() {
    let catalog = started().await;
    let held = catalog.registered().await.unwrap();
    let second = registration(held, 9);
    let first_try = catalog.register_broker(&second, NOW).await.unwrap();
    let second_try = catalog.register_broker(&second, NOW + 1).await.unwrap();
    assert_eq!(first_try.incarnation, second_try.incarnation);
}

#[tokio::test]
async fn a_disk_that_knows_neither_pair_is_told_so() {
    let catalog = started().await;
    let real = catalog.registered().await.unwrap().unwrap();
    let forged = Incarnation {
        nonce: real.nonce + 1,
        ..real
    };
    for held in [
        None,
        Some(forged),
        Some(Incarnation {
            number: 7,
            nonce: 1,
        }),
    ] {
        let error = catalog
            .register_broker(&registration(held, 4), NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegisterError::Incarnation { .. }),
            "{error}"
        );
    }
    let skips = Registration {
        intent: Incarnation {
            number: real.number + 2,
            nonce: 1,
        },
        ..registration(Some(real), 1)
    };
    let error = catalog.register_broker(&skips, NOW).await.unwrap_err();
    assert!(
        matches!(error, RegisterError::Intent { expected: 2, .. }),
        "{error}"
    );
    assert_eq!(catalog.registered().await.unwrap(), Some(real));
}

#[tokio::test]
async fn a_region_changes_only_while_nothing_is_placed() {
    let catalog = started().await;
    let moved = |held| Registration {
        region: "us".to_owned(),
        ..registration(held, 4)
    };
    let held = catalog.registered().await.unwrap();
    let made = catalog.register_broker(&moved(held), NOW).await.unwrap();
    assert_eq!(made.region, "us");
    catalog.create_topic(&plain("orders"), NOW).await.unwrap();
    let held = catalog.registered().await.unwrap();
    let error = catalog
        .register_broker(&registration(held, 5), NOW)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stood in region us"), "{error}");
    assert_eq!(error.status(), Status::InvalidArgument);
    catalog.register_broker(&moved(held), NOW).await.unwrap();
}

#[tokio::test]
async fn a_store_for_one_broker_takes_no_second_one() {
    let store = MemoryStore::for_one_broker(StoreId(1));
    let one = catalog(store.clone(), "one", 1);
    one.register_broker(&registration(None, 1), NOW)
        .await
        .unwrap();
    let error = catalog(store, "two", 2)
        .register_broker(&registration(None, 1), NOW)
        .await;
    assert_eq!(
        error,
        Err(RegisterError::Peer {
            registered: "one".to_owned()
        })
    );
    let held = one.registered().await.unwrap();
    one.register_broker(&registration(held, 2), NOW)
        .await
        .unwrap();
}

#[tokio::test]
async fn names_that_could_be_misread_are_refused() {
    for bad in ["", "a/b", "a b", "a,b", "ä", "line\n", &"x".repeat(64)] {
        let catalog = catalog(MemoryStore::new(StoreId(1)), "one", 1);
        let error = Registration {
            region: bad.to_owned(),
            ..registration(None, 1)
        };
        let error = catalog.register_broker(&error, NOW).await.unwrap_err();
        assert_eq!(error.status(), Status::InvalidName, "{bad:?}");
    }
    for bad in ["", "a/b", &"x".repeat(256)] {
        let catalog = catalog(MemoryStore::new(StoreId(1)), bad, 1);
        let error = catalog
            .register_broker(&registration(None, 1), NOW)
            .await
            .unwrap_err();
        assert_eq!(error.status(), Status::InvalidName, "{bad:?}");
    }
}
