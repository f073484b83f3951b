//! Topics and their partitions.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::subscription::SubscriptionDescription;
use super::tenancy::{HeldBack, PolicyValues};

/// The names of all topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicList {
    /// Full names, `persistent://tenant/namespace/topic`, in alphabetical order.
    pub topics: Vec<String>,
}

/// One topic: how it was set up, and the state of its partitions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicDescription {
    /// Full name.
    pub name: String,
    /// The topic's identity: 32 hexadecimal digits.
    pub id: String,
    /// Number of copies of each partition.
    pub replicas: u32,
    /// Names of the regions that hold them.
    pub regions: Vec<String>,
    /// R: replicas divided by regions.
    pub replication_factor: f64,
    /// What an acknowledgement means: `disk` or `memory`.
    pub ack: String,
    /// The fewest members that the in-sync set may shrink to.
    pub min_isr: u32,
    /// The policies that are set for it alone.
    pub policies: PolicyValues,
    /// What holds for it by all levels together: rates hold at each level by themselves and are not
    /// among them.
    pub effective: PolicyValues,
    /// The quotas that hold its producers back just now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<HeldBack>,
    /// The partitions, in rising order; a topic without partitions has one with the number -1.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition as its owner core sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionDescription {
    /// Its number within the topic; -1 for a topic without partitions.
    pub partition: i32,
    /// Its identity, which names its files: 32 hexadecimal digits.
    pub id: String,
    /// The core that owns it, from 0.
    pub core: u32,
    /// `host:port` of that core.
    pub address: String,
    /// The region that takes writes.
    pub primary: String,
    /// The regions that hold a copy.
    pub regions: Vec<String>,
    /// The term of its primary.
    pub term: u64,
    /// Offset of the oldest entry.
    pub log_start: u64,
    /// Offset after the newest entry that is acknowledged and may be consumed.
    pub high_watermark: u64,
    /// Offset after the newest entry.
    pub log_end: u64,
    /// Offset after the newest entry that is synced to disk.
    pub flushed: u64,
    /// Bytes on disk, both logs.
    pub bytes: u64,
    /// Number of segments, both logs.
    pub segments: u64,
    /// Number of producers that are connected.
    pub producers: u64,
    /// How they publish: `shared`, or `exclusive` when one of them is alone.
    pub access: String,
    /// The newest access epoch: it counts who has had exclusive access.
    pub access_epoch: u64,
    /// Number of producers that wait for exclusive access.
    pub producers_waiting: u64,
    /// Number of consumers that are connected.
    pub consumers: u64,
    /// Why it takes no writes, in words; absent when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poisoned: Option<String>,
    /// Entries that are damaged on the disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRange>,
    /// Its subscriptions, by name.
    pub subscriptions: Vec<SubscriptionDescription>,
}

/// Entries that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DamagedRange {
    /// Offset of the first one.
    pub first: u64,
    /// Offset after the last one.
    pub end: u64,
}
