//! How many partitions each group has: where the next one goes.
//!
//! A count decides nothing but balance, so it may be a little behind the store; it is kept from the
//! store's watch, so that creating a topic does not read all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flume::{Receiver, TryRecvError};
use hulse_model::GroupId;

use super::{Catalog, CatalogError};
use crate::records::{Record, TopicRecord, key};
use crate::store::{Event, Store, Version, Versioned};

#[derive(Debug, Default)]
pub(super) struct Loads {
    /// Open once the topics have been read.
    watch: Option<Receiver<Event>>,
    topics: BTreeMap<String, Counted>,
    partitions: BTreeMap<GroupId, u32>,
}

#[derive(Debug)]
struct Counted {
    version: Version,
    groups: Vec<GroupId>,
}

impl Loads {
    fn note(&mut self, key: String, version: Version, value: Option<&[u8]>) {
        let known = self.topics.get(&key);
        if known.is_some_and(|known| known.version >= version) {
            return;
        }
        if let Some(Counted { groups, .. }) = self.topics.remove(&key) {
            self.subtract(&groups);
        }
        // A record that cannot be read counts for nothing here; whoever wants the topic is told.
        let topic = value.and_then(|value| TopicRecord::decode(value).ok());
        if let Some(topic) = topic {
            let groups: Vec<_> = topic.partitions.iter().map(|p| p.group).collect();
            self.add(&groups);
            self.topics.insert(key, Counted { version, groups });
        }
    }

    fn add(&mut self, groups: &[GroupId]) {
        for group in groups {
            *self.partitions.entry(*group).or_default() += 1;
        }
    }

    fn subtract(&mut self, groups: &[GroupId]) {
        for group in groups {
            let count = self
                .partitions
                .get_mut(group)
                .expect("it was counted when it came");
            *count = count.checked_sub(1).expect("it was counted when it came");
        }
    }

    /// Takes in what has changed; false when the watch is not open any more.
    fn catch_up(&mut self) -> bool {
        loop {
            let Some(watch) = &self.watch else {
                return false;
            };
            match watch.try_recv() {
                Ok(Event {
                    key,
                    version,
                    value,
                }) => self.note(key, version, value.as_deref()),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => self.watch = None,
            }
        }
    }

    /// Counts everything again. What has been chosen and is not made yet stays counted.
    fn read_anew(&mut self, watch: Receiver<Event>, listed: Vec<(String, Versioned)>) {
        for (_, Counted { groups, .. }) in std::mem::take(&mut self.topics) {
            self.subtract(&groups);
        }
        for (key, Versioned { version, value }) in listed {
            self.note(key, version, Some(&value));
        }
        self.watch = Some(watch);
    }

    /// The groups with the fewest partitions, one for each of `count` new ones; of equals the one
    /// that stands first in `groups`.
    fn fewest(&self, groups: &[GroupId], count: u32) -> Vec<GroupId> {
        let load = |group| self.partitions.get(group).copied().unwrap_or_default();
        let mut order: BTreeSet<(u32, usize)> = groups
            .iter()
            .enumerate()
            .map(|(index, group)| (load(group), index))
            .collect();
        let mut chosen = Vec::new();
        for _ in 0..count {
            let (load, index) = order.pop_first().expect("a placement has groups");
            order.insert((load + 1, index));
            chosen.push(groups[index]);
        }
        chosen
    }
}

/// Groups that have been chosen and count as taken until this is dropped; by then the watch tells
/// of the topic, if it was made.
pub(super) struct Dealt<'a> {
    loads: &'a Mutex<Loads>,
    pub(super) groups: Vec<GroupId>,
}

impl Drop for Dealt<'_> {
    fn drop(&mut self) {
        lock(self.loads).subtract(&self.groups);
    }
}

fn lock(loads: &Mutex<Loads>) -> MutexGuard<'_, Loads> {
    // The counts are whole between any two statements that could panic.
    loads.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store> Catalog<S> {
    /// Chooses a group for each of `count` new partitions.
    pub(super) async fn deal(
        &self,
        groups: &[GroupId],
        count: u32,
    ) -> Result<Dealt<'_>, CatalogError> {
        if !lock(&self.loads).catch_up() {
            // First the watch, then the list, so that no change falls between them.
            let watch = self.store.watch(key::TOPICS).await?;
            let listed = self.store.list(key::TOPICS).await?;
            lock(&self.loads).read_anew(watch, listed);
        }
        let mut loads = lock(&self.loads);
        let groups = loads.fewest(groups, count);
        loads.add(&groups);
        drop(loads);
        Ok(Dealt {
            loads: &self.loads,
            groups,
        })
    }
}
