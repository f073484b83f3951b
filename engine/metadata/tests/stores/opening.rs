//! When the embedded store opens, and when it must not.

use std::fs;
use std::path::Path;

use hulse_metadata::embedded::OpenError;
use hulse_metadata::{EmbeddedStore, RandomIds, Store};

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, &RandomIds)
}

#[tokio::test]
async fn every_opening_raises_the_epoch_and_keeps_the_identity() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let identity = first.identity().await.unwrap();
    assert_eq!(first.epoch(), 1);
    drop(first);
    for epoch in 2..5 {
        let store = open(dir.path()).unwrap();
        assert_eq!(store.epoch(), epoch);
        assert_eq!(store.identity().await.unwrap(), identity);
    }
}

#[test]
fn a_store_that_is_held_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let handle = store.clone();
    drop(store);
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Held { .. }), "{refused}");
    drop(handle);
    open(dir.path()).unwrap();
}

#[test]
fn an_older_copy_put_back_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("metadata.redb");
    drop(open(dir.path()).unwrap());
    let copy = fs::read(&database).unwrap();
    drop(open(dir.path()).unwrap());
    let newer = fs::read(&database).unwrap();
    fs::write(&database, copy).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Replaced { .. }), "{refused}");
    fs::write(&database, newer).unwrap();
    assert_eq!(
        open(dir.path()).unwrap().epoch(),
        3,
        "the refusal changed nothing"
    );
}

#[test]
fn another_store_in_its_place_is_found() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(open(one.path()).unwrap());
    drop(open(other.path()).unwrap());
    let name = "metadata.redb";
    fs::copy(one.path().join(name), other.path().join(name)).unwrap();
    let refused = open(other.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Replaced { .. }), "{refused}");
}

#[test]
fn a_database_that_is_gone_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("metadata.redb")).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Replaced { .. }), "{refused}");
}

#[test]
fn a_database_without_its_epoch_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("metadata.epoch")).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Replaced { .. }), "{refused}");
}

#[test]
fn files_that_are_no_store_are_refused() {
    for (name, bytes) in [
        ("metadata.redb", b"no database".as_slice()),
        ("metadata.redb", &[0; 10_000]),
        ("metadata.epoch", b"no epoch"),
        (
            "metadata.epoch",
            b"hulse metadata epoch, format 2\nstore 0\nepoch 1\n",
        ),
        ("metadata.epoch", &[0xff; 30]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        fs::write(dir.path().join(name), bytes).unwrap();
        let refused = open(dir.path()).unwrap_err();
        let kind = matches!(refused, OpenError::Database { .. } | OpenError::Io { .. });
        assert!(kind, "{name} of {} bytes: {refused:?}", bytes.len());
    }
}

#[test]
fn what_a_crash_left_of_a_store_being_made_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metadata.redb.new"), b"half of a database").unwrap();
    fs::write(dir.path().join("metadata.epoch.new"), b"half of an epoch").unwrap();
    let epoch = format!(
        "hulse metadata epoch, format 1\nstore {:032x}\nepoch 0\n",
        7
    );
    fs::write(dir.path().join("metadata.epoch"), epoch).unwrap();
    assert_eq!(open(dir.path()).unwrap().epoch(), 1);
}
