//! The rules of [`crate::store`], checked. Every store runs this suite in its tests.
//!
//! It panics, naming the rule, when a store breaks one. The store must not change meanwhile.

mod atomicity;
mod identity;
mod versions;
mod watching;

use crate::store::{CasOutcome, ManyOutcome, Store, Swap, Version, Versioned};

/// A kind of store, as the suite makes them.
pub trait Subject {
    /// The store.
    type Store: Store;

    /// A new, empty store.
    fn fresh(&mut self) -> impl Future<Output = Self::Store>;

    /// Closes the store and opens it again, as after a restart.
    fn reopen(&mut self, store: Self::Store) -> impl Future<Output = Self::Store>;
}

/// Checks every rule that can be seen from outside.
///
/// # Panics
/// When the store breaks one.
pub async fn conformance(subject: &mut impl Subject) {
    versions::rise_over_all_keys_and_restarts(subject).await;
    versions::are_those_of_the_change_that_made_the_value(subject).await;
    atomicity::of_many_at_once_one_wins(subject).await;
    atomicity::a_refusal_shows_what_is_there(subject).await;
    atomicity::many_changes_are_all_or_none(subject).await;
    atomicity::what_may_not_be_asked_changes_nothing(subject).await;
    watching::lists_are_sorted_and_of_the_prefix_alone(subject).await;
    watching::a_watch_tells_every_change_of_its_prefix_in_order(subject).await;
    watching::a_reader_that_is_too_slow_loses_its_watch(subject).await;
    identity::stays_with_the_store_and_differs_between_stores(subject).await;
}

/// Makes a change that must be applied.
async fn put(store: &impl Store, key: &str, expected: Option<Version>, value: &[u8]) -> Version {
    applied(
        store
            .compare_and_set(key, expected, Some(value))
            .await
            .expect("the store answers"),
    )
}

/// Deletes a key, which must be applied.
async fn delete(store: &impl Store, key: &str, expected: Version) -> Version {
    applied(
        store
            .compare_and_set(key, Some(expected), None)
            .await
            .expect("the store answers"),
    )
}

async fn get(store: &impl Store, key: &str) -> Option<Versioned> {
    store.get(key).await.expect("the store answers")
}

async fn put_all(store: &impl Store, swaps: Vec<Swap>) -> ManyOutcome {
    store
        .compare_and_set_many(swaps)
        .await
        .expect("the store answers")
}

fn applied(outcome: CasOutcome) -> Version {
    match outcome {
        CasOutcome::Applied { version } => version,
        other => panic!("a change that nothing stands against is applied, but: {other:?}"),
    }
}

fn swap(key: &str, expected: Option<Version>, value: Option<&[u8]>) -> Swap {
    Swap {
        key: key.to_owned(),
        expected,
        value: value.map(<[u8]>::to_vec),
    }
}
