//! Rule 1: versions rise. Rule 4: what was applied is read.

use super::{Subject, delete, get, put};
use crate::store::Versioned;

pub(super) async fn rise_over_all_keys_and_restarts(subject: &mut impl Subject) {
    let mut store = subject.fresh().await;
    let mut last = put(&store, "a", None, b"0").await;
    for round in 0..4 {
        let a = get(&store, "a").await.expect("it was put").version;
        let mut versions = vec![put(&store, "a", Some(a), b"1").await];
        let b = put(&store, "b", None, b"2").await;
        versions.push(b);
        versions.push(delete(&store, "b", b).await);
        // A key that comes back does not begin anew.
        let again = put(&store, "b", None, b"3").await;
        versions.push(again);
        versions.push(delete(&store, "b", again).await);
        for version in versions {
            assert!(
                version > last,
                "rule 1: {version} after {last} in round {round}"
            );
            last = version;
        }
        store = subject.reopen(store).await;
    }
}

pub(super) async fn are_those_of_the_change_that_made_the_value(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    assert_eq!(
        get(&store, "key").await,
        None,
        "a key that was never put does not exist"
    );
    let first = put(&store, "key", None, b"one").await;
    let one = Versioned {
        version: first,
        value: b"one".to_vec(),
    };
    assert_eq!(get(&store, "key").await, Some(one.clone()), "rule 4");
    put(&store, "other", None, b"elsewhere").await;
    assert_eq!(
        get(&store, "key").await,
        Some(one),
        "another key's change is not this one's"
    );
    let second = put(&store, "key", Some(first), b"").await;
    let empty = Some(Versioned {
        version: second,
        value: Vec::new(),
    });
    assert_eq!(get(&store, "key").await, empty, "an empty value is a value");
    let store = subject.reopen(store).await;
    assert_eq!(get(&store, "key").await, empty, "rule 4, after a restart");
    delete(&store, "key", second).await;
    assert_eq!(get(&store, "key").await, None, "rule 4, after a delete");
    let store = subject.reopen(store).await;
    assert_eq!(
        get(&store, "key").await,
        None,
        "rule 4, after a delete and a restart"
    );
}
