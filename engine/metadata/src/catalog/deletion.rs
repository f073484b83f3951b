//! Deleting topics, and what remains until their files are gone.

use std::collections::BTreeSet;

use hulse_model::{PartitionId, TopicName};

use super::read::{Found, Step};
use super::{ATTEMPTS_MAX, Catalog, CatalogError, TopicError};
use crate::records::{Record, TombstoneRecord, TopicRecord, TopicState, key};
use crate::store::{ManyOutcome, Store, Swap};

impl<S: Store> Catalog<S> {
    /// Deletes a topic and answers with what it was. From the first change on it is absent for
    /// everyone, and its deletion is completed even if this call is interrupted: by the next
    /// [`Catalog::pending_tombstones`], or by whoever wants the name.
    ///
    /// # Errors
    /// [`TopicError::NotFound`], [`TopicError::PartitionName`] for the name of a single partition,
    /// or when the store does not answer.
    pub async fn delete_topic(
        &self,
        name: &TopicName,
        now_ms: u64,
    ) -> Result<TopicRecord, TopicError> {
        if name.split_partition().is_some() {
            return Err(TopicError::PartitionName {
                topic: name.clone(),
            });
        }
        let key = key::topic(name);
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find::<TopicRecord>(&key).await? else {
                return Err(TopicError::NotFound {
                    topic: name.clone(),
                });
            };
            if found.record.state == TopicState::Active {
                let state = TopicState::Deleting { since_ms: now_ms };
                let doomed = TopicRecord {
                    state,
                    ..found.record
                };
                // Applied or refused, the record is read again with its new version.
                self.put(&key, Some(found.version), &doomed).await?;
            } else {
                self.finish_deletion(&key, &found).await?;
                return Ok(found.record);
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// The partitions whose files are to be deleted. Interrupted deletions are completed first; a
    /// partition that any topic still names is never among them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pending_tombstones(&self) -> Result<Vec<TombstoneRecord>, CatalogError> {
        for (key, found) in self.find_all::<TopicRecord>(key::TOPICS).await? {
            if found.record.state != TopicState::Active {
                self.finish_deletion(&key, &found).await?;
            }
        }
        let tombstones = self.find_all::<TombstoneRecord>(key::TOMBSTONES).await?;
        if tombstones.is_empty() {
            return Ok(Vec::new());
        }
        // Read after the tombstones, so that a deletion which is completed in between costs nothing
        // but a wait: a partition that has lost its topic never gets one again.
        let topics = self.find_all::<TopicRecord>(key::TOPICS).await?;
        let named: BTreeSet<PartitionId> = topics
            .iter()
            .flat_map(|(_, found)| &found.record.partitions)
            .map(|partition| partition.id)
            .collect();
        let pending = tombstones.into_iter().map(|(_, found)| found.record);
        Ok(pending
            .filter(|tombstone| !named.contains(&tombstone.partition))
            .collect())
    }

    /// Forgets a tombstone, after the partition's files have been deleted. One that does not exist
    /// is as good.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn clear_tombstone(&self, partition: PartitionId) -> Result<(), CatalogError> {
        let key = key::tombstone(partition);
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.store.get(&key).await? else {
                return Ok(());
            };
            if let Step::Applied = self.remove(&key, found.version).await? {
                return Ok(());
            }
        }
        Err(CatalogError::Contended { key })
    }

    /// The same for many partitions, with as few changes of the store as it takes.
    ///
    /// # Errors
    /// As [`Self::clear_tombstone`]; some may be cleared then.
    pub async fn clear_tombstones(&self, partitions: &[PartitionId]) -> Result<(), CatalogError> {
        for chunk in partitions.chunks(self.store.swaps_max()) {
            let mut swaps = Vec::with_capacity(chunk.len());
            for partition in chunk {
                let key = key::tombstone(*partition);
                if let Some(found) = self.store.get(&key).await? {
                    swaps.push(Swap {
                        key,
                        expected: Some(found.version),
                        value: None,
                    });
                }
            }
            if swaps.is_empty() {
                continue;
            }
            let cleared = self.store.compare_and_set_many(swaps).await?;
            if !matches!(cleared, ManyOutcome::Applied { .. }) {
                // Somebody else clears some of them, or nobody knows.
                for partition in chunk {
                    self.clear_tombstone(*partition).await?;
                }
            }
        }
        Ok(())
    }

    /// Completes a deletion that has been decided: first a tombstone for every partition, then the
    /// record goes. Several may do so at once.
    pub(super) async fn finish_deletion(
        &self,
        key: &str,
        doomed: &Found<TopicRecord>,
    ) -> Result<(), CatalogError> {
        let topic = &doomed.record;
        let TopicState::Deleting { since_ms } = topic.state else {
            panic!("a topic that is in use is not taken apart");
        };
        let tombstones: Vec<Swap> = topic
            .partitions
            .iter()
            .map(|partition| {
                let record = TombstoneRecord {
                    partition: partition.id,
                    group: partition.group,
                    topic: topic.name.clone(),
                    deleted_ms: since_ms,
                };
                let key = key::tombstone(partition.id);
                Swap {
                    key,
                    expected: None,
                    value: Some(record.encode()),
                }
            })
            .collect();
        for chunk in tombstones.chunks(self.store.swaps_max()) {
            if let Step::Refused = self.swap_all(chunk.to_vec()).await? {
                // Some are there already, from a deletion that was interrupted.
                for swap in chunk {
                    self.swap_all(vec![swap.clone()]).await?;
                }
            }
        }
        // Refused means that somebody else has completed it.
        self.remove(key, doomed.version).await?;
        Ok(())
    }
}
