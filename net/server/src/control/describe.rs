//! What the broker tells about itself: topics, subscriptions, its state.

use std::collections::BTreeMap;

use hulse_metadata::records::{AckLevel as Level, TopicRecord};
use hulse_model::{Effective, PartitionId};
use hulse_shard::{PartitionStats, SubscriptionStats};
use hulse_wire::PROTOCOL_VERSION;
use hulse_wire::json::{
    BlockedDescription, BrokerStatus, ConsumerDescription, CoreStatus, DamagedRange,
    LatencySummary, PartitionDescription, SubscriptionDescription, SubscriptionList,
    TopicDescription, Traffic,
};

use super::partitions::partition_number;
use super::tenancy::{effective, values};
use super::{Control, Refused, held_back};
use crate::messages::{CoreCounts, Order};
use crate::time::millis;

impl Control {
    /// Everything about a topic.
    pub(crate) async fn describe_topic(
        &self,
        topic: &TopicRecord,
    ) -> Result<TopicDescription, Refused> {
        let stats = self.partition_stats(topic).await?;
        let consumers = Consumers::of(stats.values().map(|(_, stats)| stats), topic);
        let levels = self.levels().await?;
        let above = levels.of_namespace(&topic.name.in_namespace());
        let partitions = topic
            .partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| {
                let number = partition_number(topic, index);
                let shell = PartitionDescription {
                    partition: number,
                    id: partition.id.to_string(),
                    group: partition.group.to_string(),
                    primary: self.info.broker.clone(),
                    regions: topic.regions.clone(),
                    ..PartitionDescription::default()
                };
                match stats.get(&partition.id) {
                    Some((core, stats)) => self.describe_partition(shell, *core, stats, &consumers),
                    None => PartitionDescription {
                        poisoned: Some(self.why_closed(partition.id)),
                        ..shell
                    },
                }
            });
        Ok(TopicDescription {
            name: topic.name.to_string(),
            id: topic.id.to_string(),
            replicas: topic.replicas,
            regions: topic.regions.clone(),
            replication_factor: topic.replication_factor(),
            ack: match topic.ack {
                Level::Disk => "disk".to_owned(),
                Level::Memory => "memory".to_owned(),
            },
            min_isr: topic.min_isr,
            policies: values(&topic.policies),
            effective: effective(&Effective::of(above.iter().chain([&topic.policies]))),
            held_back: self.held_back_of(topic).await?,
            partitions: partitions.collect(),
        })
    }

    /// Everything about a topic's subscriptions.
    pub(crate) async fn list_subscriptions(
        &self,
        topic: &TopicRecord,
    ) -> Result<SubscriptionList, Refused> {
        let TopicDescription {
            partitions,
            held_back,
            ..
        } = self.describe_topic(topic).await?;
        let mut subscriptions: Vec<_> = partitions
            .into_iter()
            .flat_map(|partition| partition.subscriptions)
            .collect();
        subscriptions.sort_by(|a, b| (&a.name, a.partition).cmp(&(&b.name, b.partition)));
        Ok(SubscriptionList {
            topic: topic.name.to_string(),
            held_back,
            subscriptions,
        })
    }

    /// Everything about the broker.
    pub(crate) async fn status(&self) -> Result<BrokerStatus, Refused> {
        let topics = self.catalog.list_topics("").await;
        let topics = topics.map_err(|error| (error.status(), error.to_string()))?;
        let counts = self.count().await?;
        let cores = counts
            .iter()
            .zip(&self.cores)
            .enumerate()
            .map(|(core, (counts, handle))| core_status(core, handle.address.clone(), counts));
        Ok(BrokerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            broker: self.info.broker.clone(),
            region: self.info.region.clone(),
            ready: true,
            listen: self.info.listen.clone(),
            admin: self.info.admin.clone(),
            ack: "disk".to_owned(),
            uptime_ms: millis(self.info.started.elapsed()),
            data_dir: self.info.data.display().to_string(),
            metadata: "embedded".to_owned(),
            topics: topics.len() as u64,
            partitions: topics
                .iter()
                .map(|topic| topic.partitions.len() as u64)
                .sum(),
            held_back: self
                .held_back(None)
                .await?
                .iter()
                .map(held_back::told)
                .collect(),
            cores: cores.collect(),
        })
    }

    /// The counters of every core.
    pub(crate) async fn count(&self) -> Result<Vec<CoreCounts>, Refused> {
        let mut counts = Vec::with_capacity(self.cores.len());
        for core in 0..self.cores.len() {
            counts.push(self.order(core, |done| Order::Count { done }).await?);
        }
        Ok(counts)
    }

    async fn partition_stats(
        &self,
        topic: &TopicRecord,
    ) -> Result<BTreeMap<PartitionId, (usize, PartitionStats)>, Refused> {
        let mut all = BTreeMap::new();
        for (core, partitions) in self.by_core(topic) {
            let described = self
                .order(core, |done| Order::Describe { partitions, done })
                .await?;
            all.extend(described.into_iter().map(|stats| (stats.id, (core, stats))));
        }
        Ok(all)
    }

    fn why_closed(&self, partition: PartitionId) -> String {
        let failed = self.known(|known| known.failed.get(&partition).cloned());
        failed.unwrap_or_else(|| "it is not open on this broker".to_owned())
    }

    fn describe_partition(
        &self,
        shell: PartitionDescription,
        core: usize,
        stats: &PartitionStats,
        consumers: &Consumers,
    ) -> PartitionDescription {
        let number = shell.partition;
        let subscriptions = stats.subscriptions.iter();
        PartitionDescription {
            core: u32::try_from(core).unwrap_or(u32::MAX),
            address: self.cores[core].address.clone(),
            term: stats.term.0,
            log_start: stats.log_start.0,
            high_watermark: stats.high_watermark.0,
            log_end: stats.log_end.0,
            flushed: stats.flushed.0,
            bytes: stats.bytes,
            segments: stats.segments as u64,
            producers: stats.producers as u64,
            access: if stats.access.exclusive && stats.producers > 0 {
                "exclusive".to_owned()
            } else {
                "shared".to_owned()
            },
            access_epoch: stats.access.epoch,
            producers_waiting: stats.producers_waiting as u64,
            consumers: stats
                .subscriptions
                .iter()
                .map(|s| s.consumers.len() as u64)
                .sum(),
            poisoned: stats.fenced.clone(),
            damaged: stats
                .damaged
                .iter()
                .map(|(first, end)| DamagedRange {
                    first: first.0,
                    end: end.0,
                })
                .collect(),
            subscriptions: subscriptions
                .map(|s| subscription(s, number, consumers))
                .collect(),
            ..shell
        }
    }
}

/// How many consumers each subscription has over all partitions of a topic, by which the partition
/// factor is told.
struct Consumers {
    by_subscription: BTreeMap<String, usize>,
    partitions: usize,
}

impl Consumers {
    fn of<'a>(stats: impl Iterator<Item = &'a PartitionStats>, topic: &TopicRecord) -> Self {
        let mut by_subscription = BTreeMap::new();
        for subscription in stats.flat_map(|stats| &stats.subscriptions) {
            *by_subscription
                .entry(subscription.name.clone())
                .or_default() += subscription.consumers.len();
        }
        Self {
            by_subscription,
            partitions: topic.partitions.len(),
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "consumers and partitions are few"
    )]
    fn factor(&self, subscription: &str) -> f64 {
        let consumers = self.by_subscription.get(subscription).copied().unwrap_or(0);
        consumers as f64 / self.partitions.max(1) as f64
    }
}

fn subscription(
    stats: &SubscriptionStats,
    partition: i32,
    consumers: &Consumers,
) -> SubscriptionDescription {
    SubscriptionDescription {
        name: stats.name.clone(),
        kind: stats.kind.to_owned(),
        durable: stats.durable,
        partition,
        mark: stats.mark.to_string(),
        backlog_entries: stats.backlog_entries,
        backlog_bytes: stats.backlog_bytes,
        holds_back: stats.holds_back.clone(),
        acknowledged_ranges: stats.acknowledged_ranges as u64,
        consumers: stats
            .consumers
            .iter()
            .map(|consumer| ConsumerDescription {
                name: consumer.name.clone(),
                priority: consumer.priority,
                active: consumer.active,
                permits: consumer.permits,
                unacknowledged: consumer.unacknowledged,
                delivered_messages: consumer.delivered_messages,
            })
            .collect(),
        partition_factor: consumers.factor(&stats.name),
        blocked: stats.blocked.as_ref().map(|blocked| BlockedDescription {
            reason: blocked.reason.to_owned(),
            consumer: blocked.consumer.clone(),
            entry: blocked.entry.map(|entry| entry.0),
            due_ms: blocked.due_ms,
            text: blocked.text.clone(),
        }),
    }
}

fn core_status(core: usize, address: String, counts: &CoreCounts) -> CoreStatus {
    let shard = &counts.shard;
    let [p50_us, p99_us, p999_us, max_us] = counts.sync_us;
    CoreStatus {
        core: u32::try_from(core).unwrap_or(u32::MAX),
        address,
        partitions: shard.partitions,
        poisoned: shard.fenced_partitions,
        connections: counts.connections,
        producers: shard.producers,
        consumers: shard.consumers,
        produced: Traffic {
            messages: shard.produced_messages,
            entries: shard.produced_entries,
            bytes: shard.produced_bytes,
        },
        delivered: Traffic {
            messages: shard.delivered_messages,
            entries: shard.delivered_entries,
            bytes: shard.delivered_bytes,
        },
        acknowledgements: shard.acknowledgements,
        unsynced_bytes: shard.unsynced_bytes,
        output_bytes: shard.output_bytes,
        syncs: LatencySummary {
            count: shard.syncs,
            p50_us,
            p99_us,
            p999_us,
            max_us,
        },
        stall_max_us: counts.lateness_us,
    }
}
