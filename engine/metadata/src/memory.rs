//! A store without a disk: for tests, and for what need not outlive the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use flume::Receiver;

use crate::store::{
    CasOutcome, Event, ManyOutcome, Store, StoreError, StoreId, Swap, Version, Versioned,
};
use crate::watchers::Watchers;

/// The most changes at once: few, so that tests meet the limit.
const SWAPS_MAX: usize = 64;

/// A store in memory. Its clones are handles on the same store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    id: StoreId,
    shared: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Versioned>,
    version: u64,
    watchers: Watchers,
}

impl MemoryStore {
    /// An empty store in which any number of brokers may register.
    #[must_use]
    pub fn new(id: StoreId) -> Self {
        Self {
            id,
            shared: true,
            state: Arc::default(),
        }
    }

    /// An empty store for one broker, like the embedded one.
    #[must_use]
    pub fn for_one_broker(id: StoreId) -> Self {
        Self {
            shared: false,
            ..Self::new(id)
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // The state is whole between any two statements that could panic.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn apply(&self, swaps: Vec<Swap>) -> Result<ManyOutcome, StoreError> {
        Swap::check(&swaps, SWAPS_MAX)?;
        Ok(self.with(|state| state.apply(swaps)))
    }
}

impl State {
    fn apply(&mut self, swaps: Vec<Swap>) -> ManyOutcome {
        for swap in &swaps {
            let current = self.records.get(&swap.key);
            if current.map(|current| current.version) != swap.expected {
                return ManyOutcome::Refused {
                    key: swap.key.clone(),
                    current: current.cloned(),
                };
            }
        }
        self.version += 1;
        let version = Version(self.version);
        let mut events = Vec::with_capacity(swaps.len());
        for Swap { key, value, .. } in swaps {
            match value.clone() {
                Some(value) => self
                    .records
                    .insert(key.clone(), Versioned { version, value }),
                None => self.records.remove(&key),
            };
            events.push(Event {
                key,
                version,
                value,
            });
        }
        self.watchers.tell(&events);
        ManyOutcome::Applied { version }
    }
}

impl Store for MemoryStore {
    async fn identity(&self) -> Result<StoreId, StoreError> {
        Ok(self.id)
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        Ok(self.with(|state| state.records.get(key).cloned()))
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Version>,
        value: Option<&[u8]>,
    ) -> Result<CasOutcome, StoreError> {
        let swap = Swap {
            key: key.to_owned(),
            expected,
            value: value.map(<[u8]>::to_vec),
        };
        self.apply(vec![swap]).map(CasOutcome::from)
    }

    async fn compare_and_set_many(&self, swaps: Vec<Swap>) -> Result<ManyOutcome, StoreError> {
        self.apply(swaps)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        Ok(self.with(|state| {
            state
                .records
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, versioned)| (key.clone(), versioned.clone()))
                .collect()
        }))
    }

    async fn watch(&self, prefix: &str) -> Result<Receiver<Event>, StoreError> {
        Ok(self.with(|state| state.watchers.watch(prefix)))
    }

    fn swaps_max(&self) -> usize {
        SWAPS_MAX
    }

    fn shared(&self) -> bool {
        self.shared
    }
}
