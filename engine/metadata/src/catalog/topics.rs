//! Creating topics and finding them.

use hulse_model::limits::TOPIC_PARTITIONS_MAX;
use hulse_model::{Policies, TopicName};

use super::read::Step;
use super::{ATTEMPTS_MAX, Catalog, CatalogError, TopicError, TopicSpec, TopicView, placing};
use crate::records::{
    BrokerRecord, NamespaceRecord, PartitionRecord, Placing, TopicId, TopicRecord, TopicState, key,
};
use crate::store::Store;

impl<S: Store> Catalog<S> {
    /// Creates a topic.
    ///
    /// # Errors
    /// [`TopicError::Exists`] when there is one of this name, also when it was made at the same
    /// moment; else when the description is not legal, the namespace does not exist, there are too
    /// few brokers, or the store does not answer.
    pub async fn create_topic(
        &self,
        spec: &TopicSpec,
        now_ms: u64,
    ) -> Result<TopicRecord, TopicError> {
        let name = &spec.name;
        let count = check_shape(spec)?;
        if self.find_namespace(name).await?.is_none() {
            return Err(TopicError::NamespaceNotFound {
                tenant: name.tenant().to_owned(),
                namespace: name.namespace().to_owned(),
            });
        }
        let key = key::topic(name);
        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.find::<TopicRecord>(&key).await? {
                if found.record.state == TopicState::Active {
                    return Err(TopicError::Exists {
                        topic: name.clone(),
                    });
                }
                // Its deletion was interrupted: complete it, then the name is free.
                self.finish_deletion(&key, &found).await?;
            }
            let brokers = self.brokers().await?;
            let placing = self.placing(spec, &brokers)?;
            let placement = self.ready_placement(&placing, &brokers).await?;
            let dealt = self.deal(&placement.groups, count).await?;
            let partitions = dealt
                .groups
                .iter()
                .map(|group| PartitionRecord {
                    id: self.ids.partition(),
                    group: *group,
                })
                .collect();
            let Placing {
                replicas,
                regions,
                ack,
                min_isr,
            } = placing;
            let record = TopicRecord {
                name: name.clone(),
                id: TopicId(self.ids.random()),
                created_ms: now_ms,
                partitioned: spec.partitions.is_some(),
                partitions,
                replicas,
                regions,
                ack,
                min_isr,
                state: TopicState::Active,
                policies: Policies::default(),
            };
            if let Step::Applied = self.put(&key, None, &record).await? {
                return match self.find_namespace(name).await {
                    Ok(Some(_)) => Ok(record),
                    // Its deletion was begun since it was looked at.
                    Ok(None) => self.take_back(&key, &record).await,
                    Err(error) => {
                        let reason = error.to_string();
                        Err(CatalogError::Indeterminate { reason }.into())
                    }
                };
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Takes back a topic that was made in a namespace which is being deleted. Somebody may have used
    /// it already, so it is deleted as any topic is.
    async fn take_back(&self, key: &str, made: &TopicRecord) -> Result<TopicRecord, TopicError> {
        if let Some(found) = self.find::<TopicRecord>(key).await?
            && found.record.id == made.id
        {
            self.delete_topic(&made.name, made.created_ms).await?;
        }
        Err(TopicError::NamespaceNotFound {
            tenant: made.name.tenant().to_owned(),
            namespace: made.name.namespace().to_owned(),
        })
    }

    /// Finds a topic. The name of one partition of a partitioned topic finds that partition.
    ///
    /// # Errors
    /// [`TopicError::NotFound`], or when the store does not answer.
    pub async fn get_topic(&self, name: &TopicName) -> Result<TopicView, TopicError> {
        self.find_topic(name)
            .await?
            .ok_or_else(|| TopicError::NotFound {
                topic: name.clone(),
            })
    }

    /// Finds a topic, or creates it with the defaults if its namespace allows that.
    ///
    /// # Errors
    /// [`TopicError::NotFound`] when it does not exist and is not made by use, which the name of a
    /// partition never is; [`TopicError::NotFoundNorNamespace`] when its namespace does not exist;
    /// else as [`Catalog::create_topic`].
    pub async fn ensure_topic(
        &self,
        name: &TopicName,
        now_ms: u64,
    ) -> Result<TopicView, TopicError> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(view) = self.find_topic(name).await? {
                return Ok(view);
            }
            let Some(namespace) = self.find_namespace(name).await? else {
                return Err(TopicError::NotFoundNorNamespace {
                    topic: name.clone(),
                });
            };
            if !namespace.creation.auto_create_topics || name.split_partition().is_some() {
                return Err(TopicError::NotFound {
                    topic: name.clone(),
                });
            }
            match self
                .create_topic(&TopicSpec::plain(name.clone()), now_ms)
                .await
            {
                Ok(topic) => {
                    return Ok(TopicView {
                        topic,
                        partition: None,
                    });
                }
                // Somebody else was first, and may have deleted it again by the next look.
                Err(TopicError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CatalogError::Contended {
            key: key::topic(name),
        }
        .into())
    }

    /// The topics whose `tenant/namespace/topic` begins with `prefix`, in the order of names.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_topics(&self, prefix: &str) -> Result<Vec<TopicRecord>, CatalogError> {
        let found = self
            .find_all::<TopicRecord>(&format!("{}{prefix}", key::TOPICS))
            .await?;
        let topics = found.into_iter().map(|(_, found)| found.record);
        Ok(topics
            .filter(|topic| topic.state == TopicState::Active)
            .collect())
    }

    /// A topic's namespace; `None` when that does not exist, or its deletion is being tried. A
    /// deletion that was interrupted is settled by this.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find_namespace(
        &self,
        name: &TopicName,
    ) -> Result<Option<NamespaceRecord>, CatalogError> {
        let key = key::namespace(name.tenant(), name.namespace());
        for _ in 0..ATTEMPTS_MAX {
            match self.find::<NamespaceRecord>(&key).await? {
                Some(found) if found.record.deleting => {
                    self.settle_namespace(&name.in_namespace(), &found).await?;
                }
                found => return Ok(found.map(|found| found.record)),
            }
        }
        Err(CatalogError::Contended { key })
    }

    async fn find_topic(&self, name: &TopicName) -> Result<Option<TopicView>, CatalogError> {
        let (whole, partition) = match name.split_partition() {
            Some((whole, partition)) => (whole, Some(partition)),
            None => (name.clone(), None),
        };
        let Some(found) = self.find::<TopicRecord>(&key::topic(&whole)).await? else {
            return Ok(None);
        };
        let topic = found.record;
        let there = match partition {
            Some(partition) => {
                topic.partitioned && (0..).zip(&topic.partitions).any(|(i, _)| i == partition)
            }
            None => true,
        };
        let active = topic.state == TopicState::Active;
        Ok((active && there).then_some(TopicView { topic, partition }))
    }

    /// Fills in what the description leaves open, and checks it.
    fn placing(&self, spec: &TopicSpec, brokers: &[BrokerRecord]) -> Result<Placing, TopicError> {
        let mut regions = match spec.regions.as_slice() {
            [] => self.defaults.regions.clone(),
            named => named.to_vec(),
        };
        if regions.is_empty() {
            let own = brokers.iter().find(|broker| broker.name == self.broker);
            let Some(own) = own else {
                return Err(CatalogError::NotRegistered {
                    broker: self.broker.clone(),
                }
                .into());
            };
            regions.push(own.region.clone());
        }
        // At least one replica per region that was named.
        let per_region = u32::try_from(regions.len()).unwrap_or(u32::MAX);
        let replicas = spec
            .replicas
            .unwrap_or_else(|| self.defaults.replicas.max(per_region));
        let min_isr = spec.min_isr.unwrap_or(if replicas > 2 { 2 } else { 1 });
        let ack = spec.ack.unwrap_or(self.defaults.ack);
        let placing = Placing {
            replicas,
            regions,
            ack,
            min_isr,
        };
        placing::check(&placing, brokers)?;
        Ok(placing)
    }
}

/// Checks the name and the number of partitions, and says how many there will be.
fn check_shape(spec: &TopicSpec) -> Result<u32, TopicError> {
    let topic = spec.name.clone();
    if topic.split_partition().is_some() {
        return Err(TopicError::PartitionName { topic });
    }
    let count = spec.partitions.unwrap_or(1);
    if count == 0 || count > TOPIC_PARTITIONS_MAX {
        return Err(TopicError::Partitions { partitions: count });
    }
    if spec.partitions.is_some() {
        // The last one has the longest name.
        topic
            .partition(count - 1)
            .map_err(|source| TopicError::Name { topic, source })?;
    }
    Ok(count)
}
