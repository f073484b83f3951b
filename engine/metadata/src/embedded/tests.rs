//! What only the inside can provoke: a disk without room, a failed sync, another format.

use std::path::Path;
use std::sync::Arc;

use super::backend::Health;
use super::open::{self, FORMAT};
use super::tables::{self, Facts};
use super::{EmbeddedStore, OpenError};
use crate::ids::CountingIds;
use crate::store::{CasOutcome, Event, Store, StoreError, StoreId, Swap, Version};

fn open_with(dir: &Path, health: &Arc<Health>) -> Result<EmbeddedStore, OpenError> {
    open::open(dir, &CountingIds::from(1), Arc::clone(health))
}

fn file_bytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("metadata.redb")).unwrap().len()
}

/// Puts large values until the disk has no room, and says how many there are.
async fn fill(store: &EmbeddedStore) -> usize {
    let value = vec![1; 200 * 1024];
    for number in 0..10_000 {
        match store
            .compare_and_set(&format!("fill/{number}"), None, Some(&value))
            .await
        {
            Ok(CasOutcome::Applied { .. }) => {}
            Err(StoreError::Full) => return number,
            other => panic!("{other:?}"),
        }
    }
    panic!("the disk had room for everything");
}

#[tokio::test]
async fn a_full_disk_refuses_growth_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new());
    let store = open_with(dir.path(), &health).unwrap();
    let watch = store.watch("").await.unwrap();
    let CasOutcome::Applied { version } = store
        .compare_and_set("kept", None, Some(b"kept"))
        .await
        .unwrap()
    else {
        panic!("nothing stands against it")
    };
    health.limit(file_bytes(dir.path()) + 4 * 1024 * 1024);
    let filled = fill(&store).await;
    assert!(filled > 4);
    // Reads go on, and what was refused is not there.
    assert_eq!(store.get("kept").await.unwrap().unwrap().version, version);
    assert_eq!(store.list("fill/").await.unwrap().len(), filled);
    assert_eq!(store.get(&format!("fill/{filled}")).await.unwrap(), None);
    // Deletes and small changes go on, in the room that there is.
    let doomed = store.get("fill/0").await.unwrap().unwrap();
    let outcome = store
        .compare_and_set("fill/0", Some(doomed.version), None)
        .await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Applied { .. })),
        "{outcome:?}"
    );
    let outcome = store.compare_and_set("small", None, Some(b"small")).await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Applied { .. })),
        "{outcome:?}"
    );
    // Watches have been told of what was applied, once each.
    let told: Vec<Event> = watch.try_iter().collect();
    let puts = told.iter().filter(|event| event.value.is_some()).count();
    assert_eq!(puts, 1 + filled + 1);
    assert_eq!(told.len(), puts + 1);
    // It opens on the full disk as well, and again when there is room.
    drop(store);
    let store = open_with(dir.path(), &health).unwrap();
    assert_eq!(store.list("fill/").await.unwrap().len(), filled - 1);
    health.limit(u64::MAX);
    let outcome = store
        .compare_and_set("more", None, Some(&[1; 500 * 1024]))
        .await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Applied { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_failed_sync_is_not_known_to_be_applied_and_ends_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new());
    let store = open_with(dir.path(), &health).unwrap();
    store
        .compare_and_set("before", None, Some(b"1"))
        .await
        .unwrap();
    health.fail_next_sync();
    let outcome = store.compare_and_set("during", None, Some(b"2")).await;
    assert!(
        matches!(outcome, Ok(CasOutcome::Indeterminate { .. })),
        "{outcome:?}"
    );
    // The sync would succeed now, but what it would prove is not known.
    let after = store.compare_and_set("after", None, Some(b"3")).await;
    assert!(matches!(after, Err(StoreError::Failed { .. })), "{after:?}");
    let read = store.get("before").await;
    assert!(matches!(read, Err(StoreError::Failed { .. })), "{read:?}");
    drop(store);
    let store = open_with(dir.path(), &Arc::new(Health::new())).unwrap();
    assert!(store.get("before").await.unwrap().is_some());
    assert!(store.get("after").await.unwrap().is_none());
}

#[tokio::test]
async fn every_change_is_synced_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new());
    let store = open_with(dir.path(), &health).unwrap();
    let mut expected = None;
    for number in 0..20_u8 {
        let before = health.syncs();
        let outcome = store
            .compare_and_set("key", expected, Some(&[number]))
            .await
            .unwrap();
        let CasOutcome::Applied { version } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            health.syncs() > before,
            "change {number} was answered without a sync"
        );
        expected = Some(version);
    }
    // Many changes are one commit.
    let before = health.syncs();
    let swap = |number| Swap {
        key: format!("many/{number}"),
        expected: None,
        value: Some(vec![]),
    };
    store
        .compare_and_set_many((0..1000).map(swap).collect())
        .await
        .unwrap();
    assert!(
        health.syncs() - before <= 4,
        "{} syncs",
        health.syncs() - before
    );
}

#[test]
fn a_store_of_another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let health = Arc::new(Health::new());
    drop(open_with(dir.path(), &health).unwrap());
    let file = dir.path().join("metadata.redb");
    let facts = Facts {
        format: FORMAT + 1,
        identity: StoreId(1),
        epoch: 1,
    };
    tables::initialise(&tables::open_file(&file, &health).unwrap(), facts).unwrap();
    for _ in 0..2 {
        let refused = open_with(dir.path(), &health).unwrap_err();
        let OpenError::Format { found, .. } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(found, FORMAT + 1);
        assert!(
            refused
                .to_string()
                .contains("has format 2, this release knows 1"),
            "{refused}"
        );
    }
    let database = tables::open_file(&file, &health).unwrap();
    assert_eq!(tables::facts(&database).unwrap(), Some(facts));
    assert_eq!(tables::version(&database).unwrap(), Version(0));
}
