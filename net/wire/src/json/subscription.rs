//! Subscriptions and their consumers.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::tenancy::HeldBack;

/// The subscriptions of one topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscriptionList {
    /// Full name of the topic.
    pub topic: String,
    /// The quotas that hold the topic's producers back just now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<HeldBack>,
    /// One description for each subscription and partition, by name, then partition.
    pub subscriptions: Vec<SubscriptionDescription>,
}

/// One subscription of one partition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscriptionDescription {
    /// Its name.
    pub name: String,
    /// How it shares its messages: `exclusive`, `failover`, `shared` or `key-shared`.
    pub kind: String,
    /// Whether it outlives its consumers: a reader's does not.
    pub durable: bool,
    /// The partition's number within the topic; -1 for a topic without partitions.
    pub partition: i32,
    /// Everything before it is acknowledged, written `offset.index`.
    pub mark: String,
    /// Entries of the partition from the mark to the high watermark that are not wholly
    /// acknowledged.
    pub backlog_entries: u64,
    /// About how many bytes of the partition lie behind the mark: what counts towards a backlog quota.
    pub backlog_bytes: u64,
    /// Why it keeps producers from publishing, as a sentence; absent while it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_back: Option<String>,
    /// Ranges of messages above the mark that are acknowledged.
    pub acknowledged_ranges: u64,
    /// The consumers that are connected to this partition.
    pub consumers: Vec<ConsumerDescription>,
    /// T: consumers of the subscription divided by partitions of the topic.
    pub partition_factor: f64,
    /// Why nothing is delivered just now; absent while something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<BlockedDescription>,
}

/// Why nothing is delivered to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockedDescription {
    /// One of `no-consumer`, `no-permits`, `paused`, `consumer-full`, `subscription-full`,
    /// `draining`, `no-owner`, `delayed`, `handing-over`, `unacknowledged`, `unreadable`, `caught-up`:
    /// `docs/delivery.md` says what each means.
    pub reason: String,
    /// The consumer that it waits for, by name, if it waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// The offset of the entry that is next or, when all are delivered, of the first one that is not
    /// acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// When that entry is due, in milliseconds since 1970, where the reason is `delayed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// The reason as a sentence.
    pub text: String,
}

/// One consumer that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumerDescription {
    /// Its name for people.
    pub name: String,
    /// Its priority: 0 comes first.
    pub priority: u8,
    /// Whether messages go to it: of a failover subscription, to one consumer only.
    pub active: bool,
    /// How many more messages it may be sent.
    pub permits: i64,
    /// Messages that it was sent and that are not acknowledged; absent for the types that do not
    /// count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unacknowledged: Option<u64>,
    /// Messages that it was sent since it was attached, those that came again included.
    pub delivered_messages: u64,
}
