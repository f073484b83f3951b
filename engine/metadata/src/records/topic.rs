//! Topics, their partitions, and what remains of deleted ones.

use std::fmt;
use std::str::FromStr;

use hulse_model::{GroupId, ParseIdError, PartitionId, Policies, TopicName};
use serde::{Deserialize, Serialize};

use super::placement::{AckLevel, Placing};
use super::{Record, policies, text};

/// The random identity of a topic: another topic of the same name has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl FromStr for TopicId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        // All random identities are written alike.
        text.parse::<PartitionId>().map(|id| Self(id.0))
    }
}

/// Whether a topic may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicState {
    /// It may.
    Active,
    /// Its deletion has been decided and cannot be taken back; for everyone but the deletion the
    /// topic is absent.
    Deleting {
        /// When that was, in milliseconds since 1970.
        since_ms: u64,
    },
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// Its name.
    #[serde(with = "text::shown")]
    pub name: TopicName,
    /// Its identity.
    #[serde(with = "text::shown")]
    pub id: TopicId,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it was made with a number of partitions. One that was not has exactly one, whose
    /// messages carry the partition number -1.
    pub partitioned: bool,
    /// Its partitions, in the order of their numbers.
    pub partitions: Vec<PartitionRecord>,
    /// How many brokers hold each partition.
    pub replicas: u32,
    /// The regions that hold it, the preferred one for the primary first.
    pub regions: Vec<String>,
    /// What an acknowledgement means.
    pub ack: AckLevel,
    /// How many replicas must be in sync to take a write.
    pub min_isr: u32,
    /// Whether it may be used.
    pub state: TopicState,
    /// What holds for it alone.
    #[serde(default, with = "policies", skip_serializing_if = "Policies::is_empty")]
    pub policies: Policies,
}

impl Record for TopicRecord {
    const KIND: &'static str = "topic";
    const FORMAT: u32 = 1;
}

impl TopicRecord {
    /// Replicas over regions: how many copies one region holds, on average.
    #[must_use]
    pub fn replication_factor(&self) -> f64 {
        if self.regions.is_empty() {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of regions")]
        let regions = self.regions.len() as f64;
        f64::from(self.replicas) / regions
    }

    /// How its partitions are placed.
    #[must_use]
    pub fn placing(&self) -> Placing {
        Placing {
            replicas: self.replicas,
            regions: self.regions.clone(),
            ack: self.ack,
            min_isr: self.min_isr,
        }
    }
}

/// One partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Its identity, which names its files.
    #[serde(with = "text::shown")]
    pub id: PartitionId,
    /// The group that it belongs to, for life.
    #[serde(with = "text::shown")]
    pub group: GroupId,
}

/// The order to delete the files of one partition, and the only reason to do so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstoneRecord {
    /// The partition.
    #[serde(with = "text::shown")]
    pub partition: PartitionId,
    /// The group that it belonged to.
    #[serde(with = "text::shown")]
    pub group: GroupId,
    /// The topic that it was part of.
    #[serde(with = "text::shown")]
    pub topic: TopicName,
    /// When the topic was deleted, in milliseconds since 1970.
    pub deleted_ms: u64,
}

impl Record for TombstoneRecord {
    const KIND: &'static str = "tombstone";
    const FORMAT: u32 = 1;
}
