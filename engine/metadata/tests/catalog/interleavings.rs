//! Goal: operations that run side by side give every topic name to one topic, and lose no
//! partition.
//! Method: a store that lets others go first for a random while before each operation; several
//! tasks create, delete and sweep a few names; an auditor checks the books all the while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flume::Receiver;
use hulse_metadata::catalog::TopicError;
use hulse_metadata::{
    CasOutcome, Catalog, Event, ManyOutcome, MemoryStore, Store, StoreError, StoreId, Swap,
    Version, Versioned,
};
use proptest::prelude::*;

use crate::books::Books;
use crate::scene::{NOW, catalog, name, partitioned, plain, registration};

/// A store whose operations wait for a random number of turns of the others.
#[derive(Debug, Clone)]
pub(crate) struct TardyStore {
    inner: MemoryStore,
    seed: Arc<AtomicU64>,
}

impl TardyStore {
    async fn dawdle(&self) {
        let step = |seed: u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let seed = self
            .seed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let turns = seed.expect("the step is always made") >> 60;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

impl Store for TardyStore {
    async fn identity(&self) -> Result<StoreId, StoreError> {
        self.inner.identity().await
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.dawdle().await;
        self.inner.get(key).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Version>,
        value: Option<&[u8]>,
    ) -> Result<CasOutcome, StoreError> {
        self.dawdle().await;
        self.inner.compare_and_set(key, expected, value).await
    }

    async fn compare_and_set_many(&self, swaps: Vec<Swap>) -> Result<ManyOutcome, StoreError> {
        self.dawdle().await;
        self.inner.compare_and_set_many(swaps).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.dawdle().await;
        self.inner.list(prefix).await
    }

    async fn watch(&self, prefix: &str) -> Result<Receiver<Event>, StoreError> {
        self.dawdle().await;
        self.inner.watch(prefix).await
    }

    fn swaps_max(&self) -> usize {
        16
    }

    fn shared(&self) -> bool {
        true
    }
}

pub(crate) const TASKS: u64 = 6;
const NAMES: [&str; 2] = ["a", "b"];

pub(crate) async fn scene(seed: u64) -> (MemoryStore, Vec<Arc<Catalog<TardyStore>>>) {
    let inner = MemoryStore::new(StoreId(1));
    let sound = catalog(inner.clone(), "one", 9_000_000);
    sound.seed(NOW).await.expect("the store answers");
    sound
        .register_broker(&registration(None, 1), NOW)
        .await
        .expect("it is the first");
    let store = TardyStore {
        inner: inner.clone(),
        seed: Arc::new(AtomicU64::new(seed)),
    };
    // Every second task shares its catalog with the one before.
    let catalogs: Vec<_> = (0..TASKS / 2)
        .map(|number| Arc::new(catalog(store.clone(), "one", 100_000 * (number + 1))))
        .collect();
    (inner, catalogs)
}

async fn create_at_once(seed: u64) {
    let (inner, catalogs) = scene(seed).await;
    let tasks: Vec<_> = (0..TASKS)
        .zip(catalogs.iter().cycle().cloned())
        .map(|(_, catalog)| {
            tokio::spawn(async move { catalog.create_topic(&partitioned("a", 20), NOW).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        match task.await.expect("no task panics") {
            Ok(topic) => made.push(topic),
            Err(error) => assert_eq!(error, TopicError::Exists { topic: name("a") }),
        }
    }
    assert_eq!(made.len(), 1, "exactly one creation wins");
    assert_eq!(
        catalogs[0]
            .get_topic(&name("a"))
            .await
            .expect("it exists")
            .topic,
        made[0]
    );
    Books::default().audit(&inner).await;
    // What the losers had chosen counts no more: 20 and 12 partitions fill 16 groups evenly.
    let filler = catalogs[0].create_topic(&partitioned("b", 12), NOW).await;
    let filler = filler.expect("nothing is in its way");
    let mut shares = BTreeMap::new();
    for partition in made[0].partitions.iter().chain(&filler.partitions) {
        *shares.entry(partition.group).or_insert(0) += 1;
    }
    assert_eq!(shares.len(), 16);
    assert!(shares.values().all(|share| *share == 2), "{shares:?}");
}

async fn come_and_go(seed: u64) {
    let (inner, catalogs) = scene(seed).await;
    let (report, swept) = flume::unbounded();
    let work = |catalog: Arc<Catalog<TardyStore>>, task: u64| {
        let report = report.clone();
        async move {
            for round in 0..6 {
                let topic = NAMES[usize::try_from((task + round) % 2).expect("small")];
                let outcome = match (task + round / 2) % 3 {
                    0 => catalog
                        .create_topic(&partitioned(topic, 20), NOW)
                        .await
                        .map(drop),
                    1 => catalog.ensure_topic(&name(topic), NOW).await.map(drop),
                    _ => catalog.delete_topic(&name(topic), NOW).await.map(drop),
                };
                match outcome {
                    Ok(()) | Err(TopicError::Exists { .. } | TopicError::NotFound { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                for tombstone in catalog
                    .pending_tombstones()
                    .await
                    .expect("the store answers")
                {
                    report
                        .send(tombstone.partition)
                        .expect("the auditor listens");
                    catalog
                        .clear_tombstone(tombstone.partition)
                        .await
                        .expect("the store answers");
                }
            }
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for (task, catalog) in (0..TASKS).zip(catalogs.iter().cycle().cloned()) {
        tasks.spawn(work(catalog, task));
    }
    let mut books = Books::default();
    while !tasks.is_empty() {
        tokio::task::yield_now().await;
        for partition in swept.try_iter() {
            books.delete(partition);
        }
        books.audit(&inner).await;
        while let Some(ended) = tasks.try_join_next() {
            ended.expect("no task panics");
        }
    }
    for tombstone in catalogs[0]
        .pending_tombstones()
        .await
        .expect("the store answers")
    {
        books.delete(tombstone.partition);
        catalogs[0]
            .clear_tombstone(tombstone.partition)
            .await
            .expect("the store answers");
    }
    for partition in swept.try_iter() {
        books.delete(partition);
    }
    books.audit(&inner).await;
    assert!(books.waiting(&inner).await.is_empty());
    catalogs[0]
        .create_topic(&plain("c"), NOW)
        .await
        .expect("nothing is in its way");
}

pub(crate) fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn of_creations_side_by_side_exactly_one_wins(seed in any::<u64>()) {
        run(create_at_once(seed));
    }

    #[test]
    fn topics_that_come_and_go_side_by_side_lose_no_partition(seed in any::<u64>()) {
        run(come_and_go(seed));
    }
}
