//! Which core has which partition, and the opening of new ones.

use std::collections::BTreeMap;

use hulse_metadata::catalog::{Levels, core_of};
use hulse_metadata::records::{AckLevel as Level, TopicRecord};
use hulse_metadata::{ManyOutcome, Store, Swap};
use hulse_model::{GroupId, PartitionId, Scope, Status, Term, TopicName};
use hulse_shard::{AckLevel, PartitionPolicies, PartitionSpec};

use super::{Control, Known, Refused};
use crate::messages::Order;

/// Where the store says that the files of a partition have been made. From then on their absence
/// is damage, and never a reason to begin anew.
const MADE_PREFIX: &str = "made/";

/// A group that this broker is the primary of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) term: Term,
    pub(crate) core: usize,
}

/// An open partition.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) core: usize,
}

/// The key that says that a partition's files have been made.
fn made_key(partition: PartitionId) -> String {
    format!("{MADE_PREFIX}{partition}")
}

/// The number by which the protocol names partition `index` of a topic.
pub(crate) fn partition_number(topic: &TopicRecord, index: usize) -> i32 {
    if topic.partitioned {
        i32::try_from(index).unwrap_or(i32::MAX)
    } else {
        -1
    }
}

/// The specs of every partition of `topics`, by core, and the partitions whose group this broker
/// does not serve.
pub(crate) fn specs(
    topics: &[TopicRecord],
    groups: &BTreeMap<GroupId, Group>,
    cores: usize,
    made: impl Fn(PartitionId) -> bool,
    policies: impl Fn(&TopicRecord) -> PartitionPolicies,
) -> (Vec<Vec<PartitionSpec>>, Vec<(PartitionId, TopicName)>) {
    let mut by_core: Vec<Vec<PartitionSpec>> = vec![Vec::new(); cores];
    let mut orphans = Vec::new();
    for topic in topics {
        let policies = policies(topic);
        for (index, partition) in topic.partitions.iter().enumerate() {
            let Some(group) = groups.get(&partition.group) else {
                orphans.push((partition.id, topic.name.clone()));
                continue;
            };
            by_core[group.core].push(PartitionSpec {
                id: partition.id,
                topic: topic.name.clone(),
                index: partition_number(topic, index),
                term: group.term,
                ack: match topic.ack {
                    Level::Disk => AckLevel::Disk,
                    Level::Memory => AckLevel::Memory,
                },
                may_create: !made(partition.id),
                policies: policies.clone(),
            });
        }
    }
    (by_core, orphans)
}

/// Reads which partitions' files have been made.
pub(crate) async fn read_made(store: &impl Store) -> Result<Vec<PartitionId>, String> {
    let listed = store
        .list(MADE_PREFIX)
        .await
        .map_err(|error| error.to_string())?;
    let ids = listed
        .iter()
        .filter_map(|(key, _)| key.strip_prefix(MADE_PREFIX)?.parse().ok());
    Ok(ids.collect())
}

/// Notes that partitions' files have been made.
pub(crate) async fn note_made(store: &impl Store, made: &[PartitionId]) -> Result<(), Refused> {
    for chunk in made.chunks(store.swaps_max()) {
        let swap = |id: &PartitionId| Swap {
            key: made_key(*id),
            expected: None,
            value: Some(b"{\"version\":1}".to_vec()),
        };
        match store
            .compare_and_set_many(chunk.iter().map(swap).collect())
            .await
        {
            Ok(ManyOutcome::Applied { .. }) => {}
            // Another task has noted them: those of one topic are always noted together.
            Ok(ManyOutcome::Refused { .. }) => {}
            Ok(ManyOutcome::Indeterminate { reason }) => return Err((Status::NotReady, reason)),
            Err(error) => return Err((error.status(), error.to_string())),
        }
    }
    Ok(())
}

/// Forgets that deleted partitions' files had been made.
pub(crate) async fn forget_made(
    store: &impl Store,
    partitions: &[PartitionId],
) -> Result<(), String> {
    for chunk in partitions.chunks(store.swaps_max()) {
        loop {
            let mut swaps = Vec::with_capacity(chunk.len());
            for partition in chunk {
                let key = made_key(*partition);
                let found = store.get(&key).await.map_err(|error| error.to_string())?;
                swaps.extend(found.map(|found| Swap {
                    key,
                    expected: Some(found.version),
                    value: None,
                }));
            }
            if swaps.is_empty() {
                break;
            }
            match store.compare_and_set_many(swaps).await {
                Ok(ManyOutcome::Applied { .. }) => break,
                // Another task has forgotten some of them, so there are fewer now.
                Ok(ManyOutcome::Refused { .. }) => {}
                Ok(ManyOutcome::Indeterminate { reason }) => return Err(reason),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(())
}

impl Control {
    /// Sees to it that every partition of a topic is open on its core.
    pub(crate) async fn open_topic(&self, topic: &TopicRecord) -> Result<(), Refused> {
        let missing = |known: &mut Known| {
            topic
                .partitions
                .iter()
                .any(|partition| !known.open.contains_key(&partition.id))
        };
        if !self.known(missing) {
            return Ok(());
        }
        self.learn_groups(topic).await?;
        let made = read_made(self.catalog.store())
            .await
            .map_err(|e| (Status::NotReady, e))?;
        let (levels, policies) = self.policies_of(topic).await?;
        let (by_core, orphans) = self.known(|known| {
            specs(
                std::slice::from_ref(topic),
                &known.groups,
                self.cores.len(),
                |id| made.contains(&id),
                |_| policies.clone(),
            )
        });
        if let Some((partition, name)) = orphans.first() {
            let text = format!("this broker does not serve partition {partition} of {name}");
            return Err((Status::NotPrimary, text));
        }
        for (core, specs) in by_core
            .into_iter()
            .enumerate()
            .filter(|(_, specs)| !specs.is_empty())
        {
            let ids: Vec<_> = specs.iter().map(|spec| spec.id).collect();
            let failures = self.order(core, |done| Order::Open { specs, done }).await?;
            self.known(|known| {
                for id in ids {
                    known.open.insert(id, Placed { core });
                    known.failed.remove(&id);
                }
                for failure in &failures {
                    known.open.remove(&failure.partition);
                    known
                        .failed
                        .insert(failure.partition, failure.reason.clone());
                }
            });
            if let Some(failure) = failures.into_iter().next() {
                return Err((Status::StorageFailed, failure.reason));
            }
        }
        let ids = topic.partitions.iter().map(|partition| partition.id);
        let new: Vec<_> = ids.filter(|id| !made.contains(id)).collect();
        note_made(self.catalog.store(), &new).await?;
        // Whoever has changed them since did not know of these partitions.
        if self.levels().await? != levels {
            self.apply_policies(&Scope::Topic(topic.name.clone()))
                .await?;
        }
        Ok(())
    }

    /// What every tenant and namespace says.
    pub(super) async fn levels(&self) -> Result<Levels, Refused> {
        let levels = self.catalog.levels().await;
        levels.map_err(|error| (error.status(), error.to_string()))
    }

    /// Reads the groups of a topic that are not known yet: a first topic of its placement has made
    /// them.
    async fn learn_groups(&self, topic: &TopicRecord) -> Result<(), Refused> {
        for partition in &topic.partitions {
            let group = partition.group;
            if self.known(|known| known.groups.contains_key(&group)) {
                continue;
            }
            let found = self
                .catalog
                .group(group)
                .await
                .map_err(|e| (e.status(), e.to_string()))?;
            if let Some(record) = found.filter(|record| record.primary == self.info.broker) {
                let core = core_of(record.index, self.cores.len());
                self.known(|known| {
                    known.groups.insert(
                        group,
                        Group {
                            term: record.term,
                            core,
                        },
                    )
                });
            }
        }
        Ok(())
    }
}
