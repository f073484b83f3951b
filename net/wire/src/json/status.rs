//! The broker and its cores.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::tenancy::HeldBack;

/// The broker as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerStatus {
    /// Version of the program.
    pub version: String,
    /// The newest version of the protocol that it speaks.
    pub protocol: u16,
    /// Its name.
    pub broker: String,
    /// The name of its region.
    pub region: String,
    /// Whether it serves: recovery is over and it is not stopping.
    pub ready: bool,
    /// `host:port` of each core, by core.
    pub listen: Vec<String>,
    /// `host:port` of the admin port, or `off`.
    pub admin: String,
    /// What an acknowledgement means when a topic does not say: `disk` or `memory`.
    pub ack: String,
    /// How long it has been up, in milliseconds.
    pub uptime_ms: u64,
    /// Its data directory.
    pub data_dir: String,
    /// Where its metadata is kept: `embedded` or an address.
    pub metadata: String,
    /// Number of topics.
    pub topics: u64,
    /// Number of partitions.
    pub partitions: u64,
    /// The quotas that hold producers back just now, the first hundred of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<HeldBack>,
    /// The cores, in their order.
    pub cores: Vec<CoreStatus>,
}

/// One core. Counters begin at 0 when the broker starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreStatus {
    /// Its number, from 0.
    pub core: u32,
    /// `host:port` that clients dial.
    pub address: String,
    /// Number of partitions that it owns.
    pub partitions: u64,
    /// Number of partitions that take no writes because a write or a sync failed.
    pub poisoned: u64,
    /// Number of connections.
    pub connections: u64,
    /// Number of producers that are connected.
    pub producers: u64,
    /// Number of consumers that are connected.
    pub consumers: u64,
    /// What producers sent and the broker acknowledged.
    pub produced: Traffic,
    /// What was delivered to consumers, repetitions included.
    pub delivered: Traffic,
    /// Acknowledgement requests that consumers sent.
    pub acknowledgements: u64,
    /// Bytes that are appended and not synced yet.
    pub unsynced_bytes: u64,
    /// Bytes that wait to be sent to clients.
    pub output_bytes: u64,
    /// How long syncs took.
    pub syncs: LatencySummary,
    /// The longest time that the core's loop was held up, in microseconds.
    pub stall_max_us: u64,
}

/// Messages and what they weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Number of messages.
    pub messages: u64,
    /// Number of entries (batches).
    pub entries: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Percentiles of a duration, in microseconds; all 0 while `count` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencySummary {
    /// How many were measured.
    pub count: u64,
    /// Half were at most this long.
    pub p50_us: u64,
    /// 99 in 100 were at most this long.
    pub p99_us: u64,
    /// 999 in 1,000 were at most this long.
    pub p999_us: u64,
    /// The longest one.
    pub max_us: u64,
}
