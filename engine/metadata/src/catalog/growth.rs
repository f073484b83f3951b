//! Giving topics more partitions.
//!
//! A topic grows in two changes of its record. The first carries the ids of the new partitions, so
//! that they are made or not made, and hides them ([`TopicRecord::growing_from`]); whoever is
//! interrupted after it, or finds it, goes on from there. The second lets everybody see them.

use hulse_model::TopicName;
use hulse_model::limits::TOPIC_PARTITIONS_MAX;

use super::read::{Found, Step};
use super::{ATTEMPTS_MAX, Catalog, CatalogError, TopicError};
use crate::records::{PartitionRecord, TopicRecord, TopicState, key};
use crate::store::Store;

impl<S: Store> Catalog<S> {
    /// Begins to give a topic more partitions, so that it has `count`. The new ones may be used
    /// after [`Self::finish_growth`]. With as many as there are already, nothing changes: that is
    /// how a request that was answered by nobody is repeated.
    ///
    /// # Errors
    /// [`TopicError::Shrinks`], [`TopicError::NotPartitioned`], [`TopicError::NotFound`],
    /// [`TopicError::PartitionName`], a number or a name that no topic can have; or when the store
    /// does not answer.
    pub async fn begin_growth(
        &self,
        name: &TopicName,
        count: u32,
    ) -> Result<TopicRecord, TopicError> {
        check(name, count)?;
        let key = key::topic(name);
        for _ in 0..ATTEMPTS_MAX {
            let Found { version, record } = self.grown(name).await?;
            let has = record.partitions.len();
            let more = u32::try_from(has)
                .ok()
                .and_then(|has| count.checked_sub(has));
            let Some(more) = more else {
                return Err(TopicError::Shrinks {
                    topic: name.clone(),
                    partitions: has,
                    asked: count,
                });
            };
            if more == 0 {
                return Ok(record);
            }
            let brokers = self.brokers().await?;
            let placement = self.ready_placement(&record.placing(), &brokers).await?;
            let dealt = self.deal(&placement.groups, more).await?;
            let new = dealt.groups.iter().map(|group| PartitionRecord {
                id: self.ids.partition(),
                group: *group,
            });
            let mut larger = record.clone();
            // When another growth is under way, none of its partitions may be used yet either.
            larger.growing_from.get_or_insert(count - more);
            larger.partitions.extend(new);
            if let Step::Applied = self.put(&key, Some(version), &larger).await? {
                return Ok(larger);
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Lets the partitions of a grown topic be used, all of which the caller has made. When there
    /// are others than those of `made` by now, whoever has begun those does it.
    ///
    /// # Errors
    /// [`TopicError::NotFound`] when it has been deleted meanwhile, or when the store does not
    /// answer.
    pub async fn finish_growth(&self, made: &TopicRecord) -> Result<TopicRecord, TopicError> {
        let key = key::topic(&made.name);
        for _ in 0..ATTEMPTS_MAX {
            let Found { version, record } = self.grown(&made.name).await?;
            if record.growing_from.is_none() || record.partitions != made.partitions {
                return Ok(record);
            }
            let usable = TopicRecord {
                growing_from: None,
                ..record
            };
            if let Step::Applied = self.put(&key, Some(version), &usable).await? {
                return Ok(usable);
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// The record of a topic that can grow.
    async fn grown(&self, name: &TopicName) -> Result<Found<TopicRecord>, TopicError> {
        let found = self.find::<TopicRecord>(&key::topic(name)).await?;
        let topic = name.clone();
        match found.filter(|found| found.record.state == TopicState::Active) {
            Some(found) if found.record.partitioned => Ok(found),
            Some(_) => Err(TopicError::NotPartitioned { topic }),
            None => Err(TopicError::NotFound { topic }),
        }
    }
}

/// Checks the name and the number of partitions.
fn check(name: &TopicName, count: u32) -> Result<(), TopicError> {
    let topic = name.clone();
    if name.split_partition().is_some() {
        return Err(TopicError::PartitionName { topic });
    }
    if count == 0 || count > TOPIC_PARTITIONS_MAX {
        return Err(TopicError::Partitions { partitions: count });
    }
    // The last one has the longest name.
    match name.partition(count - 1) {
        Ok(_) => Ok(()),
        Err(source) => Err(TopicError::Name { topic, source }),
    }
}
