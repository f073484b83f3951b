//! Rule 6: a watch misses nothing. And what a list holds.

use std::collections::BTreeMap;

use flume::TryRecvError;

use super::{Subject, delete, put, put_all, swap};
use crate::store::{Event, ManyOutcome, Store, Version, WATCH_EVENTS_MAX};

pub(super) async fn lists_are_sorted_and_of_the_prefix_alone(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    for key in ["b/2", "a/1", "b", "b/1", "b/10", "c", "b0", "B/1", "b/ä"] {
        put(&store, key, None, key.as_bytes()).await;
    }
    let listed = store.list("b/").await.expect("the store answers");
    let keys: Vec<&str> = listed.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b/1", "b/10", "b/2", "b/ä"]);
    for (key, versioned) in &listed {
        assert_eq!(versioned.value, key.as_bytes());
    }
    assert_eq!(store.list("").await.expect("the store answers").len(), 9);
    assert!(store.list("d").await.expect("the store answers").is_empty());
}

pub(super) async fn a_watch_tells_every_change_of_its_prefix_in_order(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    put(&store, "b/before", None, b"0").await;
    let watch = store.watch("b/").await.expect("the store answers");
    let one = put(&store, "b/1", None, b"one").await;
    put(&store, "a/1", None, b"elsewhere").await;
    let gone = delete(&store, "b/1", one).await;
    let many = vec![
        swap("b/2", None, Some(b"two")),
        swap("c", None, Some(b"elsewhere")),
    ];
    let ManyOutcome::Applied { version: two } = put_all(&store, many).await else {
        panic!("nothing stands against these changes");
    };
    // Refused, so nobody is told.
    let refused = store.compare_and_set("b/2", None, Some(b"no")).await;
    assert!(refused.is_ok());
    let last = put(&store, "b/end", None, b"").await;
    let event = |key: &str, version, value: Option<&[u8]>| Event {
        key: key.to_owned(),
        version,
        value: value.map(<[u8]>::to_vec),
    };
    let expected = [
        event("b/1", one, Some(b"one")),
        event("b/1", gone, None),
        event("b/2", two, Some(b"two")),
        event("b/end", last, Some(b"")),
    ];
    for event in expected {
        assert_eq!(watch.recv_async().await, Ok(event), "rule 6");
    }
    assert_eq!(
        watch.try_recv(),
        Err(TryRecvError::Empty),
        "rule 6: more than there was"
    );
    drop(store);
    let ended = watch.recv_async().await;
    assert!(
        ended.is_err(),
        "a watch ends with its store, but: {ended:?}"
    );
}

pub(super) async fn a_reader_that_is_too_slow_loses_its_watch(subject: &mut impl Subject) {
    let store = subject.fresh().await;
    let slow = store.watch("").await.expect("the store answers");
    let other = store.watch("end").await.expect("the store answers");
    // Every version that is made, and of how many changes.
    let mut made: BTreeMap<Version, usize> = BTreeMap::new();
    while made.values().sum::<usize>() <= WATCH_EVENTS_MAX {
        let at_once = store.swaps_max();
        let round = made.len();
        let key = |i| format!("{round}/{i}");
        let swaps = (0..at_once)
            .map(|i| swap(&key(i), None, Some(b"")))
            .collect();
        let outcome = put_all(&store, swaps).await;
        let ManyOutcome::Applied { version } = outcome else {
            panic!("nothing stands against these changes")
        };
        made.insert(version, at_once);
    }
    let end = put(&store, "end", None, b"").await;
    made.insert(end, 1);
    let told = other.recv_async().await.map(|event| event.version);
    assert_eq!(
        told,
        Ok(end),
        "rule 6: one slow reader is not another's matter"
    );

    let mut seen: BTreeMap<Version, usize> = BTreeMap::new();
    let enough = made.len() + 100;
    loop {
        assert!(
            made.len() < enough,
            "rule 6: a watch holds {WATCH_EVENTS_MAX} changes at the most"
        );
        if slow.is_empty() {
            // A watch that has not ended must tell of this one.
            let more = put(&store, &format!("more/{}", made.len()), None, b"").await;
            made.insert(more, 1);
        }
        let Ok(event) = slow.recv_async().await else {
            break;
        };
        assert!(
            seen.keys().all(|version| *version <= event.version),
            "rule 6: order"
        );
        *seen.entry(event.version).or_default() += 1;
        let until_now = made.range(..event.version);
        assert!(
            seen.range(..event.version).eq(until_now),
            "rule 6: changes were left out"
        );
    }
}
