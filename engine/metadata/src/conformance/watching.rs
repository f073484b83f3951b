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
    let at_once = store.swaps_max();
    let mut told = 0;
    let mut round = 0;
    let mut versions = Vec::new();
    while told <= WATCH_EVENTS_MAX {
        let key = |i| format!("{round}/{i}");
        let swaps = (0..at_once)
            .map(|i| swap(&key(i), None, Some(b"")))
            .collect();
        let outcome = put_all(&store, swaps).await;
        let ManyOutcome::Applied { version } = outcome else {
            panic!("nothing stands against it")
        };
        versions.push(version);
        told += at_once;
        round += 1;
    }
    let end = put(&store, "end", None, b"").await;
    assert_eq!(
        other.recv_async().await.map(|event| event.version),
        Ok(end),
        "rule 6"
    );
    let mut events = Vec::new();
    // The watch must end, and until then have told everything.
    while let Ok(event) = slow.recv_async().await {
        events.push(event);
    }
    assert!(
        events.is_sorted_by_key(|event| event.version),
        "rule 6: order"
    );
    let Some(last) = events.last().map(|event| event.version) else {
        return;
    };
    let mut complete: BTreeMap<Version, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.version < last) {
        *complete.entry(event.version).or_default() += 1;
    }
    let all = complete.values().all(|told| *told == at_once);
    assert!(
        all,
        "rule 6: changes were left out before the end: {complete:?} of {at_once} each"
    );
    assert!(
        complete
            .keys()
            .copied()
            .eq(versions.into_iter().take(complete.len())),
        "rule 6"
    );
}
