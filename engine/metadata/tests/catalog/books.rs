//! The books of the store, audited: every partition that was ever named is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use hulse_metadata::Store;
use hulse_metadata::records::{
    GroupRecord, PlacementRecord, Record, TombstoneRecord, TopicRecord, TopicState, key,
};
use hulse_model::PartitionId;

/// What has been seen of the store over its history.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Every partition that a topic has named, and the topic.
    named: BTreeMap<PartitionId, String>,
    /// The partitions whose files were deleted on a tombstone.
    deleted: BTreeSet<PartitionId>,
}

async fn read<R: Record>(store: &impl Store, prefix: &str) -> BTreeMap<String, R> {
    let listed = store.list(prefix).await.expect("the store answers");
    listed
        .into_iter()
        .map(|(key, found)| (key, R::decode(&found.value).expect("a record")))
        .collect()
}

impl Books {
    /// Notes that the files of a partition were deleted.
    pub(crate) fn delete(&mut self, partition: PartitionId) {
        self.deleted.insert(partition);
    }

    /// Checks the store as it stands, at any moment.
    pub(crate) async fn audit(&mut self, store: &impl Store) {
        let topics: BTreeMap<String, TopicRecord> = read(store, key::TOPICS).await;
        let tombstones: BTreeMap<String, TombstoneRecord> = read(store, key::TOMBSTONES).await;
        let groups: BTreeMap<String, GroupRecord> = read(store, key::GROUPS).await;
        let placements: BTreeMap<String, PlacementRecord> = read(store, key::PLACEMENTS).await;
        let buried: BTreeSet<_> = tombstones
            .values()
            .map(|tombstone| tombstone.partition)
            .collect();

        let mut owned = BTreeSet::new();
        for (at, topic) in &topics {
            let placement = &placements[&key::placement(&topic.placing())];
            assert!(placement.ready, "{at} joined a placement that is not ready");
            for partition in &topic.partitions {
                assert!(
                    owned.insert(partition.id),
                    "{} has two owners",
                    partition.id
                );
                assert!(
                    !self.deleted.contains(&partition.id),
                    "files of {at} were deleted"
                );
                assert!(
                    placement.groups.contains(&partition.group),
                    "{at}: a foreign group"
                );
                assert!(
                    groups.contains_key(&key::group(partition.group)),
                    "{at}: no such group"
                );
                if topic.state == TopicState::Active {
                    assert!(
                        !buried.contains(&partition.id),
                        "a tombstone for {at} in use"
                    );
                }
                self.named.insert(partition.id, at.clone());
            }
        }
        for (partition, topic) in &self.named {
            let known = owned.contains(partition)
                || buried.contains(partition)
                || self.deleted.contains(partition);
            assert!(known, "partition {partition} of {topic} was forgotten");
        }
        let listed: BTreeSet<_> = placements
            .values()
            .flat_map(|p| &p.groups)
            .copied()
            .collect();
        for at in groups.keys() {
            let group = key::group_of(at).expect("a group's key");
            assert!(
                listed.contains(&group),
                "group {group} belongs to no placement"
            );
        }
        for (at, placement) in &placements {
            for (index, group) in placement.groups.iter().enumerate() {
                let record = groups.get(&key::group(*group));
                assert!(
                    record.is_some() || !placement.ready,
                    "{at} lacks group {group}"
                );
                assert!(
                    record.is_none_or(|record| record.index as usize == index),
                    "{at}"
                );
            }
        }
    }

    /// The partitions that are neither named by a topic nor deleted: of them only tombstones know.
    pub(crate) async fn waiting(&self, store: &impl Store) -> BTreeSet<PartitionId> {
        let topics: BTreeMap<String, TopicRecord> = read(store, key::TOPICS).await;
        let active = topics
            .values()
            .filter(|topic| topic.state == TopicState::Active);
        let owned: BTreeSet<_> = active
            .flat_map(|topic| &topic.partitions)
            .map(|p| p.id)
            .collect();
        let gone = |id: &&PartitionId| !owned.contains(*id) && !self.deleted.contains(*id);
        self.named.keys().filter(gone).copied().collect()
    }
}
