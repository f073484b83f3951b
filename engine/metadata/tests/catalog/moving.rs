//! The next term of a group whose broker goes on: a move between its cores.

use hulse_metadata::MemoryStore;
use hulse_metadata::catalog::NextTerm;
use hulse_metadata::records::{GroupRecord, Incarnation};
use hulse_metadata::{Catalog, StoreId};
use hulse_model::{GroupId, Term};

use crate::faulty_store::{Fault, FaultyStore};
use crate::scene::{NOW, catalog, plain, registration};

/// A store with a group of broker `one`, in term 1.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
async fn scene() -> (MemoryStore, GroupId, Incarnation) {
    let store = MemoryStore::new(StoreId(1));
    let one = catalog(store.clone(), "one", 1_000);
    one.seed(NOW).await.unwrap();
    let broker = one.register_broker(&registration(None, 1), NOW).await;
    let incarnation = broker.unwrap().incarnation;
    let topic = one.create_topic(&plain("orders"), NOW).await.unwrap();
    (store, topic.partitions[0].group, incarnation)
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
async fn record(one: &Catalog<MemoryStore>, group: GroupId) -> GroupRecord {
    one.group(group).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_move_takes_the_next_term_and_leaves_the_rest_alone() {
    let (store, group, incarnation) = scene().await;
    let one = catalog(store, "one", 2_000);
    let before = record(&one, group).await;
    let moved = one.begin_next_term(group, incarnation, Term(1)).await;
    assert_eq!(moved.unwrap(), NextTerm::Installed(Term(2)));
    let after = record(&one, group).await;
    assert_eq!((after.ver, after.term), (before.ver + 1, Term(2)));
    assert_ne!(after.attempt, before.attempt);
    let rest = |record: &GroupRecord| GroupRecord {
        ver: 0,
        term: Term(0),
        attempt: before.attempt.clone(),
        ..record.clone()
    };
    assert_eq!(rest(&after), rest(&before));
}

#[tokio::test]
async fn a_record_that_is_another_one_is_left_alone() {
    let (store, group, incarnation) = scene().await;
    let one = catalog(store.clone(), "one", 2_000);
    let other = Incarnation::after(Some(incarnation), 9);
    let before = record(&one, group).await;
    for (incarnation, term) in [(incarnation, Term(2)), (other, Term(1))] {
        let refused = one.begin_next_term(group, incarnation, term).await.unwrap();
        let found = Some(Box::new(before.clone()));
        assert_eq!(refused, NextTerm::Refused { found });
    }
    let nobody = GroupId(77);
    let refused = one.begin_next_term(nobody, incarnation, Term(1)).await;
    assert_eq!(refused.unwrap(), NextTerm::Refused { found: None });
    assert_eq!(record(&one, group).await, before);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_known_by_its_author_or_not_settled() {
    for (operations, fault) in [(0, Fault::Dead), (1, Fault::Dead), (2, Fault::Unheard)] {
        let (store, group, incarnation) = scene().await;
        let faulty = FaultyStore::new(store.clone(), operations, fault);
        let moved = catalog(faulty, "one", 2_000)
            .begin_next_term(group, incarnation, Term(1))
            .await;
        let one = catalog(store, "one", 3_000);
        let term = record(&one, group).await.term;
        match fault {
            // Nothing was changed, and that is said.
            Fault::Dead => {
                assert!(moved.is_err(), "{moved:?}");
                assert_eq!(term, Term(1));
            }
            // It was changed, and cannot be read any more.
            Fault::Unheard => {
                assert!(matches!(moved, Ok(NextTerm::Unsettled { .. })), "{moved:?}");
                assert_eq!(term, Term(2));
            }
        }
    }
}
