//! Groups: the unit in which partitions are owned and moved.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// What came of a group's move to another core.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupMove {
    /// The group: 32 hexadecimal digits.
    pub group: String,
    /// The core that served it.
    pub from: u32,
    /// The core that serves it.
    pub to: u32,
    /// `host:port` of that core.
    pub address: String,
    /// The term in which it is served now.
    pub term: u64,
    /// How many partitions of it are open.
    pub partitions: u64,
    /// How long it was served by nobody, in microseconds; 0 when it was there already.
    pub pause_us: u64,
}
