//! Rules 2 and 3: a change happens only if nobody came first, and many at once wholly or not.

use std::sync::Arc;

use super::{Subject, get, put, put_all, swap};
use crate::store::{
    CasOutcome, KEY_BYTES_MAX, ManyOutcome, Store, StoreError, Swap, VALUE_BYTES_MAX, Version,
    Versioned,
};

/// Every task adds one to a number, by reading it and comparing; the sum shows a lost update.
pub(super) async fn of_many_at_once_one_wins(subject: &mut impl Subject) {
    const TASKS: u64 = 16;
    const ADDITIONS: u64 = 8;
    let store = Arc::new(subject.fresh().await);
    let start = put(&*store, "sum", None, b"0").await;
    let adders: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(add(Arc::clone(&store), ADDITIONS)))
        .collect();
    let mut versions = vec![start];
    for adder in adders {
        versions.extend(adder.await.expect("an adder does not panic"));
    }
    let sum = get(&*store, "sum").await.expect("it was put");
    let all = TASKS * ADDITIONS;
    assert_eq!(
        sum.value,
        all.to_string().into_bytes(),
        "rule 2: an update was lost"
    );
    versions.sort();
    versions.dedup();
    assert_eq!(
        versions.len() as u64,
        all + 1,
        "rule 1: two changes have one version"
    );
    assert_eq!(versions.last(), Some(&sum.version), "rule 1");
}

async fn add<S: Store>(store: Arc<S>, additions: u64) -> Vec<Version> {
    let mut versions = Vec::new();
    while (versions.len() as u64) < additions {
        let Versioned { version, value } = get(&*store, "sum").await.expect("it was put");
        let text = String::from_utf8(value).expect("a number");
        let next = text.parse::<u64>().expect("a number") + 1;
        tokio::task::yield_now().await;
        let next = next.to_string();
        match store
            .compare_and_set("sum", Some(version), Some(next.as_bytes()))
            .await
        {
            Ok(CasOutcome::Applied { version }) => versions.push(version),
            Ok(CasOutcome::Refused {
                current: Some(current),
            }) => {
                assert!(
                    current.version > version,
                    "rule 2: refused by {}",
                    current.version
                );
            }
            other => panic!("rule 2: {other:?}"),
        }
    }
    versions
}

pub(super) async fn a_refusal_shows_what_is_there(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    let version = put(&store, "key", None, b"here").await;
    let here = Some(Versioned {
        version,
        value: b"here".to_vec(),
    });
    let stale = Some(Version(version.0 + 1));
    for (expected, value) in [
        (None, Some(b"new".as_slice())),
        (stale, Some(b"new")),
        (stale, None),
    ] {
        let outcome = store.compare_and_set("key", expected, value).await;
        let refused = CasOutcome::Refused {
            current: here.clone(),
        };
        assert_eq!(outcome, Ok(refused), "rule 2: expected {expected:?}");
        assert_eq!(
            get(&store, "key").await,
            here,
            "rule 2: a refused change changes nothing"
        );
    }
    let outcome = store.compare_and_set("absent", stale, Some(b"new")).await;
    assert_eq!(outcome, Ok(CasOutcome::Refused { current: None }), "rule 2");
    assert_eq!(get(&store, "absent").await, None, "rule 2");
}

pub(super) async fn many_changes_are_all_or_none(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    let old = put(&store, "old", None, b"old").await;
    let doomed = put(&store, "doomed", None, b"doomed").await;
    let changes = |old: Version| {
        vec![
            swap("new", None, Some(b"new")),
            swap("old", Some(old), Some(b"changed")),
            swap("doomed", Some(doomed), None),
        ]
    };
    let refused = put_all(&store, changes(Version(old.0 + 100))).await;
    let ManyOutcome::Refused { key, current } = refused else {
        panic!("rule 3: {refused:?}")
    };
    assert_eq!(key, "old", "rule 3: the refusal names the key");
    assert_eq!(current.map(|current| current.version), Some(old), "rule 3");
    assert_eq!(get(&store, "new").await, None, "rule 3: a part was applied");
    assert!(
        get(&store, "doomed").await.is_some(),
        "rule 3: a part was applied"
    );

    let outcome = put_all(&store, changes(old)).await;
    let ManyOutcome::Applied { version } = outcome else {
        panic!("rule 3: {outcome:?}")
    };
    assert!(version > doomed, "rule 1");
    let store = subject.reopen(store).await;
    let is = |value: &[u8]| {
        Some(Versioned {
            version,
            value: value.to_vec(),
        })
    };
    assert_eq!(get(&store, "new").await, is(b"new"), "rule 3");
    assert_eq!(get(&store, "old").await, is(b"changed"), "rule 3");
    assert_eq!(get(&store, "doomed").await, None, "rule 3");

    let most = store.swaps_max();
    assert!(most >= 16, "rule 3: at least 16 changes at once");
    let as_many: Vec<Swap> = (0..most)
        .map(|i| swap(&format!("many/{i}"), None, Some(b"x")))
        .collect();
    let outcome = put_all(&store, as_many).await;
    assert!(
        matches!(outcome, ManyOutcome::Applied { .. }),
        "rule 3: {outcome:?}"
    );
    assert_eq!(
        store.list("many/").await.expect("the store answers").len(),
        most,
        "rule 3"
    );
}

pub(super) async fn what_may_not_be_asked_changes_nothing(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    let put = Some(b"x".as_slice());
    let too_many = (0..=store.swaps_max())
        .map(|i| swap(&format!("many/{i}"), None, put))
        .collect();
    let large = vec![0; VALUE_BYTES_MAX + 1];
    let wrong: Vec<Vec<Swap>> = vec![
        Vec::new(),
        too_many,
        vec![swap("", None, put)],
        vec![swap(&"k".repeat(KEY_BYTES_MAX + 1), None, put)],
        vec![
            swap("fine", None, put),
            swap("twice", None, put),
            swap("twice", None, put),
        ],
        vec![swap("fine", None, put), swap("gone", None, None)],
        vec![swap("fine", None, put), swap("large", None, Some(&large))],
    ];
    for swaps in wrong {
        let said = format!(
            "{} changes, the last of {:?}",
            swaps.len(),
            swaps.last().map(|s| &s.key)
        );
        let outcome = store.compare_and_set_many(swaps).await;
        let refused = matches!(
            outcome,
            Err(StoreError::Key { .. }
                | StoreError::ValueTooLarge { .. }
                | StoreError::Swaps { .. })
        );
        assert!(refused, "{said}: {outcome:?}");
        let left = store.list("").await.expect("the store answers");
        assert!(left.is_empty(), "{said} left {left:?}");
    }
    let longest = "k".repeat(KEY_BYTES_MAX);
    let largest = vec![7; VALUE_BYTES_MAX];
    let outcome = store.compare_and_set(&longest, None, Some(&largest)).await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Applied { .. })),
        "the limits themselves are legal"
    );
    let read = get(&store, &longest).await.map(|versioned| versioned.value);
    assert!(
        read == Some(largest),
        "the largest value is read as it was put"
    );
}
