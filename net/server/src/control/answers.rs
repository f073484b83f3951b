//! The answers to clients' questions.

use std::collections::BTreeMap;

use hulse_metadata::catalog::TopicSpec;
use hulse_metadata::records::{AckLevel as Level, TopicRecord};
use hulse_model::{PartitionId, Scope, Status, SubscriptionName, TopicName};
use hulse_wire::AckLevel;
use hulse_wire::json::TopicList;
use serde_json::to_vec;

use super::partitions::{forget_made, partition_number};
use super::{Control, Refused};
use crate::messages::{NewTopic, Order, Place, Question, Told};
use crate::time::wall_ms;

impl Control {
    /// Answers a question.
    pub(crate) async fn answer(&self, question: Question) -> Result<Told, Refused> {
        match question {
            Question::Locate {
                topic,
                create_missing,
            } => self.locate(&topic, create_missing).await,
            Question::CreateTopic(new) => self.create_topic(new).await,
            Question::ListTopics => {
                let topics = self.catalog.list_topics("").await;
                let topics = topics.map_err(|e| (e.status(), e.to_string()))?;
                let topics = topics.iter().map(|topic| topic.name.to_string()).collect();
                json(&TopicList { topics })
            }
            Question::DescribeTopic { topic } => {
                let topic = self.find(&topic).await?;
                json(&self.describe_topic(&topic).await?)
            }
            Question::DeleteTopic { topic } => self.delete_topic(&topic).await,
            Question::Status => json(&self.status().await?),
            Question::ListSubscriptions { topic } => {
                let topic = self.find(&topic).await?;
                json(&self.list_subscriptions(&topic).await?)
            }
            Question::DeleteSubscription {
                topic,
                subscription,
            } => self.delete_subscription(&topic, subscription).await,
            Question::Tenancy(asked) => self.answer_tenancy(asked).await,
        }
    }

    async fn find(&self, name: &TopicName) -> Result<TopicRecord, Refused> {
        let view = self.catalog.get_topic(name).await;
        Ok(view
            .map_err(|error| (error.status(), error.to_string()))?
            .topic)
    }

    async fn locate(&self, name: &TopicName, create_missing: bool) -> Result<Told, Refused> {
        let view = if create_missing {
            self.catalog.ensure_topic(name, wall_ms()).await
        } else {
            self.catalog.get_topic(name).await
        };
        let view = view.map_err(|error| (error.status(), error.to_string()))?;
        self.open_topic(&view.topic).await?;
        // The name of one partition of a topic finds that partition alone.
        let wanted = |index: usize| match view.partition {
            Some(partition) => usize::try_from(partition).is_ok_and(|one| one == index),
            None => true,
        };
        let partitions = view.topic.partitions.iter().enumerate();
        let placed = self.known(|known| {
            let place = |(index, partition): (usize, &hulse_metadata::records::PartitionRecord)| {
                let core = known.open.get(&partition.id)?.core;
                Some((partition_number(&view.topic, index), partition.id, core))
            };
            partitions
                .filter(|(index, _)| wanted(*index))
                .filter_map(place)
                .collect::<Vec<_>>()
        });
        let place = |(partition, id, core): (i32, PartitionId, usize)| Place {
            partition,
            id,
            address: self.cores[core].address.clone(),
        };
        let places = placed.into_iter().map(place).collect();
        Ok(Told::Located {
            topic: view.topic.name.clone(),
            places,
        })
    }

    async fn create_topic(&self, new: NewTopic) -> Result<Told, Refused> {
        let spec = TopicSpec {
            name: new.topic,
            partitions: (new.partitions > 0).then_some(new.partitions),
            replicas: (new.replicas > 0).then_some(new.replicas),
            regions: new.regions,
            ack: match new.ack {
                AckLevel::Default => None,
                AckLevel::Disk => Some(Level::Disk),
                AckLevel::Memory => Some(Level::Memory),
            },
            min_isr: (new.min_isr > 0).then_some(new.min_isr),
        };
        let created = self.catalog.create_topic(&spec, wall_ms()).await;
        let topic = created.map_err(|error| (error.status(), error.to_string()))?;
        self.open_topic(&topic).await?;
        json(&self.describe_topic(&topic).await?)
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<Told, Refused> {
        let deleted = self.catalog.delete_topic(name, wall_ms()).await;
        deleted.map_err(|error| (error.status(), error.to_string()))?;
        self.rates.forget(&Scope::Topic(name.clone()));
        self.remove_deleted().await?;
        json(&TopicList {
            topics: vec![name.to_string()],
        })
    }

    /// Removes the files of every partition that has a tombstone, on the core that has it open, or
    /// on the first: also those that a crash has left behind.
    pub(crate) async fn remove_deleted(&self) -> Result<(), Refused> {
        let pending = self.catalog.pending_tombstones().await;
        let pending = pending.map_err(|e| (e.status(), e.to_string()))?;
        let mut by_core: BTreeMap<usize, Vec<PartitionId>> = BTreeMap::new();
        for tombstone in &pending {
            let id = tombstone.partition;
            let core = self.known(|known| known.open.get(&id).map_or(0, |placed| placed.core));
            by_core.entry(core).or_default().push(id);
        }
        for (core, partitions) in by_core {
            let ids = partitions.clone();
            let failures = self
                .order(core, |done| Order::Drop { partitions, done })
                .await?;
            if let Some(failure) = failures.into_iter().next() {
                let text = format!("the topic is deleted, its files are not yet: {failure}");
                return Err((Status::StorageFailed, text));
            }
            self.known(|known| {
                for id in &ids {
                    known.open.remove(id);
                    known.failed.remove(id);
                }
            });
            forget_made(self.catalog.store(), &ids)
                .await
                .map_err(|e| (Status::StorageFailed, e))?;
            let cleared = self.catalog.clear_tombstones(&ids).await;
            cleared.map_err(|e| (e.status(), e.to_string()))?;
        }
        Ok(())
    }

    async fn delete_subscription(
        &self,
        topic: &TopicName,
        subscription: SubscriptionName,
    ) -> Result<Told, Refused> {
        let topic = self.find(topic).await?;
        let mut refusals = Vec::new();
        let by_core = self.by_core(&topic);
        let cores = by_core.len();
        for (core, partitions) in by_core {
            let subscription = subscription.clone();
            let order = |done| Order::DeleteSubscription {
                partitions,
                subscription,
                done,
            };
            if let Err(refusal) = self.order(core, order).await? {
                refusals.push(refusal);
            }
        }
        // A consumer may have attached to some partitions only: it is enough that one has it.
        let busy = refusals
            .iter()
            .find(|(status, _)| *status != Status::SubscriptionNotFound);
        match busy.or_else(|| refusals.first().filter(|_| refusals.len() == cores)) {
            Some(refusal) => Err(refusal.clone()),
            None => json(&self.list_subscriptions(&topic).await?),
        }
    }

    /// The open partitions of a topic, by core.
    pub(crate) fn by_core(&self, topic: &TopicRecord) -> BTreeMap<usize, Vec<PartitionId>> {
        let mut by_core: BTreeMap<usize, Vec<PartitionId>> = BTreeMap::new();
        self.known(|known| {
            for partition in &topic.partitions {
                if let Some(placed) = known.open.get(&partition.id) {
                    by_core.entry(placed.core).or_default().push(partition.id);
                }
            }
        });
        by_core
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<Told, Refused> {
    let bytes = to_vec(value).map_err(|error| (Status::Internal, error.to_string()))?;
    Ok(Told::Json(bytes))
}
