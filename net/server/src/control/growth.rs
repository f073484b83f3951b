//! Giving topics more partitions, and finishing what an earlier life has begun.

use std::collections::BTreeMap;

use hulse_metadata::records::TopicRecord;
use hulse_model::{SubscriptionName, TopicName};
use hulse_subscription::SubscriptionKind;
use hulse_wire::json::TopicDescription;

use super::{Control, Refused};
use crate::messages::Order;

impl Control {
    /// Gives a topic more partitions. Nobody is told of them before they have their files, and every
    /// subscription that the topic has, from their first message on: so nothing that is sent to them
    /// is missed by a subscription whose consumers are away.
    pub(crate) async fn grow_topic(
        &self,
        name: &TopicName,
        partitions: u32,
    ) -> Result<TopicDescription, Refused> {
        let begun = self.catalog.begin_growth(name, partitions).await;
        let topic = begun.map_err(|error| (error.status(), error.to_string()))?;
        let topic = self.finish_growth(topic).await?;
        self.describe_topic(&topic).await
    }

    /// Finishes every growth that was interrupted; gives a sentence for each that could not be.
    pub(crate) async fn finish_growths(&self) -> Vec<String> {
        let topics = match self.catalog.list_topics("").await {
            Ok(topics) => topics,
            Err(error) => return vec![error.to_string()],
        };
        let mut failed = Vec::new();
        for topic in topics {
            if topic.growing_from.is_some() {
                let name = topic.name.clone();
                if let Err((_, reason)) = self.finish_growth(topic).await {
                    failed.push(format!(
                        "{name} has not got its new partitions yet: {reason}; ask for them again \
                         (hulse topic grow)"
                    ));
                }
            }
        }
        failed
    }

    async fn finish_growth(&self, topic: TopicRecord) -> Result<TopicRecord, Refused> {
        self.open_topic(&topic).await?;
        if topic.growing_from.is_none() {
            return Ok(topic);
        }
        let subscriptions = self.subscriptions_of(&topic).await?;
        let usable = topic.usable().len();
        let new = TopicRecord {
            partitions: topic.partitions[usable..].to_vec(),
            ..topic.clone()
        };
        for (core, partitions) in self.by_core(&new) {
            let subscriptions = subscriptions.clone();
            let order = |done| Order::CreateSubscriptions {
                partitions,
                subscriptions,
                done,
            };
            self.order(core, order).await??;
        }
        let finished = self.catalog.finish_growth(&topic).await;
        finished.map_err(|error| (error.status(), error.to_string()))
    }

    /// The subscriptions of the partitions that are in use.
    async fn subscriptions_of(
        &self,
        topic: &TopicRecord,
    ) -> Result<Vec<(SubscriptionName, SubscriptionKind)>, Refused> {
        let old = TopicRecord {
            partitions: topic.usable().to_vec(),
            ..topic.clone()
        };
        let mut all = BTreeMap::new();
        for (core, partitions) in self.by_core(&old) {
            let found = self
                .order(core, |done| Order::Subscriptions { partitions, done })
                .await?;
            all.extend(found);
        }
        Ok(all.into_iter().collect())
    }
}
