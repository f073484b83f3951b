//! A store that fails after a number of operations, for good or once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flume::Receiver;
use hulse_metadata::{
    CasOutcome, Event, ManyOutcome, Store, StoreError, StoreId, Swap, Version, Versioned,
};

/// How the store fails once its operations are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and says so: the process died before the operation.
    Dead,
    /// The last change is made, but nobody learns of it, and then it is dead: the process died
    /// between the change and its answer.
    Unheard,
}

/// A handle on a store that stops answering after `left` operations.
#[derive(Debug, Clone)]
pub(crate) struct FaultyStore<S> {
    inner: S,
    left: Arc<AtomicU64>,
    fault: Fault,
}

enum Turn {
    Works,
    Unheard,
    Dead,
}

impl<S> FaultyStore<S> {
    pub(crate) fn new(inner: S, operations: u64, fault: Fault) -> Self {
        Self {
            inner,
            left: Arc::new(AtomicU64::new(operations)),
            fault,
        }
    }

    fn turn(&self) -> Turn {
        let take = |left: u64| Some(left.saturating_sub(1));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        match (before, self.fault) {
            (Ok(0), _) | (Err(_), _) => Turn::Dead,
            (Ok(1), Fault::Unheard) => Turn::Unheard,
            _ => Turn::Works,
        }
    }

    fn read(&self) -> Result<(), StoreError> {
        match self.turn() {
            Turn::Works => Ok(()),
            Turn::Dead | Turn::Unheard => Err(dead()),
        }
    }
}

fn dead() -> StoreError {
    StoreError::Unavailable {
        reason: "the process has died".to_owned(),
    }
}

impl<S: Store> Store for FaultyStore<S> {
    async fn identity(&self) -> Result<StoreId, StoreError> {
        self.inner.identity().await
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.read()?;
        self.inner.get(key).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Version>,
        value: Option<&[u8]>,
    ) -> Result<CasOutcome, StoreError> {
        match self.turn() {
            Turn::Works => self.inner.compare_and_set(key, expected, value).await,
            Turn::Dead => Err(dead()),
            Turn::Unheard => {
                self.inner.compare_and_set(key, expected, value).await?;
                Ok(CasOutcome::Indeterminate {
                    reason: "nobody heard".to_owned(),
                })
            }
        }
    }

    async fn compare_and_set_many(&self, swaps: Vec<Swap>) -> Result<ManyOutcome, StoreError> {
        match self.turn() {
            Turn::Works => self.inner.compare_and_set_many(swaps).await,
            Turn::Dead => Err(dead()),
            Turn::Unheard => {
                self.inner.compare_and_set_many(swaps).await?;
                Ok(ManyOutcome::Indeterminate {
                    reason: "nobody heard".to_owned(),
                })
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.read()?;
        self.inner.list(prefix).await
    }

    async fn watch(&self, prefix: &str) -> Result<Receiver<Event>, StoreError> {
        self.read()?;
        self.inner.watch(prefix).await
    }

    fn swaps_max(&self) -> usize {
        // Few, so that one operation of the catalog takes many of the store's.
        16
    }

    fn shared(&self) -> bool {
        self.inner.shared()
    }
}
