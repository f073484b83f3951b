//! Goal: a topic gets more partitions or does not, whatever interrupts that; nobody sees one that is
//! not made yet; none is taken away.
//! Method: growths on a sound store; growths whose store stops answering after n operations, for
//! every n, which are then asked for again.

use hulse_metadata::catalog::TopicError;
use hulse_metadata::{Catalog, MemoryStore, StoreId};
use hulse_model::Status;

use crate::books::Books;
use crate::faulty_store::{Fault, FaultyStore};
use crate::scene::{NOW, catalog, name, partitioned, plain, registration, started};

#[tokio::test]
async fn new_partitions_are_hidden_until_they_are_made() {
    let catalog = started().await;
    let old = catalog.create_topic(&partitioned("orders", 2), NOW).await;
    let old = old.expect("it is the first");
    let orders = name("orders");
    let begun = catalog.begin_growth(&orders, 5).await.expect("it may grow");
    assert_eq!(begun.partitions[..2], old.partitions, "the old ones stay");
    assert_eq!(begun.partitions.len(), 5);
    assert_eq!(begun.usable(), old.partitions);
    assert!(
        catalog
            .get_topic(&name("orders-partition-2"))
            .await
            .is_err()
    );
    // Another one asks for more before the first has finished.
    let more = catalog.begin_growth(&orders, 6).await.expect("it may grow");
    assert_eq!(more.usable(), old.partitions);
    let unfinished = catalog.finish_growth(&begun).await.expect("it is there");
    assert_eq!(unfinished.usable().len(), 2, "the sixth is not made");
    let finished = catalog.finish_growth(&more).await.expect("it is there");
    assert_eq!(finished.usable(), more.partitions);
    let found = catalog.get_topic(&name("orders-partition-5")).await;
    assert_eq!(found.expect("it is there").topic, finished);
    assert_eq!(
        catalog.finish_growth(&more).await.expect("it is done"),
        finished
    );
    assert_eq!(
        catalog.begin_growth(&orders, 6).await.expect("as many"),
        finished
    );
}

#[tokio::test]
async fn what_cannot_grow_is_refused_in_words() {
    let catalog = started().await;
    for spec in [partitioned("orders", 4), plain("single")] {
        catalog.create_topic(&spec, NOW).await.expect("it is new");
    }
    let cases = [
        (
            "orders",
            3,
            Status::InvalidArgument,
            "cannot be made smaller",
        ),
        ("orders", 0, Status::InvalidArgument, "1 to 1024"),
        ("orders", 1025, Status::InvalidArgument, "1 to 1024"),
        (
            "single",
            4,
            Status::InvalidArgument,
            "made without partitions",
        ),
        ("nothing", 4, Status::TopicNotFound, "does not exist"),
        (
            "orders-partition-1",
            8,
            Status::InvalidName,
            "single partition",
        ),
    ];
    for (topic, count, status, words) in cases {
        let error = catalog.begin_growth(&name(topic), count).await;
        let error = error.expect_err(topic);
        assert_eq!(error.status(), status, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_growth_interrupted_anywhere_is_done_or_not_and_can_be_asked_for_again() {
    for fault in [Fault::Dead, Fault::Unheard] {
        let mut interrupted = 0;
        for steps in 0.. {
            assert!(steps < 100, "the growth never got through");
            let store = MemoryStore::new(StoreId(1));
            let sound: Catalog<MemoryStore> = catalog(store.clone(), "one", 1_000_000);
            sound.seed(NOW).await.expect("the store answers");
            let registered = sound.register_broker(&registration(None, 1), NOW).await;
            registered.expect("it is the first");
            let old = sound.create_topic(&partitioned("orders", 3), NOW).await;
            let old = old.expect("it is the first");
            let faulty = catalog(FaultyStore::new(store, steps, fault), "one", 1);
            let mut books = Books::default();
            let orders = name("orders");
            let grown: Result<_, TopicError> = async {
                let begun = faulty.begin_growth(&orders, 40).await?;
                faulty.finish_growth(&begun).await
            }
            .await;
            books.audit(sound.store()).await;
            let there = sound.get_topic(&orders).await.expect("it is there").topic;
            assert!([3, 40].contains(&there.partitions.len()), "all or none");
            assert!([3, 40].contains(&there.usable().len()));
            assert_eq!(there.partitions[..3], old.partitions);
            if let Ok(grown) = &grown {
                assert_eq!(grown, &there);
            }
            // The broker comes back and its user tries again.
            let again = sound.begin_growth(&orders, 40).await.expect("it may grow");
            if there.partitions.len() == 40 {
                assert_eq!(again.partitions, there.partitions, "none is made twice");
            }
            let again = sound.finish_growth(&again).await.expect("it is there");
            assert_eq!(again.usable().len(), 40);
            books.audit(sound.store()).await;
            if grown.is_ok() {
                break;
            }
            interrupted += 1;
        }
        assert!(interrupted > 4, "{interrupted} points of interruption");
    }
}
