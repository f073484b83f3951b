//! Tenants and namespaces.

use hulse_model::limits::RETENTION_MS_DEFAULT;
use serde::{Deserialize, Serialize};

use super::Record;

/// A tenant: the owner of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Record for TenantRecord {
    const KIND: &'static str = "tenant";
    const FORMAT: u32 = 1;
}

/// A namespace: topics under common policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRecord {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What holds for its topics.
    #[serde(default)]
    pub policies: Policies,
}

impl Record for NamespaceRecord {
    const KIND: &'static str = "namespace";
    const FORMAT: u32 = 1;
}

/// What holds for every topic of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// Whether an unknown topic is created when it is first used.
    pub auto_create_topics: bool,
    /// How long entries are kept that no subscription waits for, in milliseconds; `None`: for
    /// ever.
    pub retention_ms: Option<u64>,
    /// How many bytes of such entries one partition keeps; `None`: any number.
    pub retention_bytes: Option<u64>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            auto_create_topics: true,
            retention_ms: Some(RETENTION_MS_DEFAULT),
            retention_bytes: None,
        }
    }
}
