//! Where partitions may lie, and the groups made for it.

use std::fmt;

use hulse_model::GroupId;
use serde::{Deserialize, Serialize};

use super::{Record, text};

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// Synced on every replica in the in-sync set.
    Disk,
    /// Out of the process on every replica in the in-sync set: safe from `kill -9`, not from a
    /// loss of power.
    Memory,
}

impl fmt::Display for AckLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        })
    }
}

/// What partitions must have in common to share a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Placing {
    /// How many brokers hold each partition.
    pub replicas: u32,
    /// The regions that hold it, the preferred one for the primary first.
    pub regions: Vec<String>,
    /// What an acknowledgement means.
    pub ack: AckLevel,
    /// How many replicas must be in sync to take a write.
    pub min_isr: u32,
}

impl fmt::Display for Placing {
    /// The text that names it in a key, such as `disk.1of2.eu,us`. The regions stand last, as
    /// their names may hold dots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            replicas,
            regions,
            ack,
            min_isr,
        } = self;
        write!(f, "{ack}.{min_isr}of{replicas}.{}", regions.join(","))
    }
}

/// A placement in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRecord {
    /// What its partitions have in common.
    pub placing: Placing,
    /// Its groups, in the order of their index within the placement.
    #[serde(with = "text::shown_list")]
    pub groups: Vec<GroupId>,
    /// Whether the records of all its groups have been made. Until then no partition may join.
    pub ready: bool,
}

impl Record for PlacementRecord {
    const KIND: &'static str = "placement";
    const FORMAT: u32 = 1;
}
