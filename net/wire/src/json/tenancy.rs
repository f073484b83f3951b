//! Tenants, namespaces, policies and permissions.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Policies by name, each with its unit in the name: `retention_ms`, `retention_bytes`, `ttl_ms`,
/// `backlog_bytes`, `rate_bytes_per_s`, `rate_messages_per_s`. One that is not there is not set; -1
/// is without limit.
pub type PolicyValues = BTreeMap<String, i64>;

/// All tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantList {
    /// The tenants, by name.
    pub tenants: Vec<TenantDescription>,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantDescription {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How many namespaces it has.
    pub namespaces: u64,
    /// What is set for it.
    pub policies: PolicyValues,
}

/// The namespaces of a tenant, or of all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceList {
    /// The namespaces, by name.
    pub namespaces: Vec<NamespaceDescription>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceDescription {
    /// Its name, `tenant/namespace`.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How many topics it has.
    pub topics: u64,
    /// Whether an unknown topic is made when it is first used.
    pub auto_create_topics: bool,
    /// What is set for it.
    pub policies: PolicyValues,
    /// What holds for a topic in it that has no policies of its own: rates hold at each level by
    /// themselves and are not among them.
    pub effective: PolicyValues,
}

/// The policies of a tenant, a namespace or a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyDescription {
    /// What they are for: `tenant`, `tenant/namespace` or `persistent://tenant/namespace/topic`.
    pub scope: String,
    /// `tenant`, `namespace` or `topic`.
    pub level: String,
    /// What is set for it.
    pub policies: PolicyValues,
    /// What holds there by all levels together, the default included: rates hold at each level by
    /// themselves and are not among them.
    pub effective: PolicyValues,
}

/// What each role may do in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PermissionList {
    /// The namespace.
    pub namespace: String,
    /// Whether the broker asks for permissions. Without authentication it asks for none: whoever
    /// reaches its ports may do everything.
    pub enforced: bool,
    /// The roles, by name.
    pub roles: Vec<RolePermissions>,
}

/// What one role may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RolePermissions {
    /// Its name.
    pub role: String,
    /// Of `produce`, `consume` and `administer`.
    pub permissions: Vec<String>,
}

/// Producers that are held back by a quota.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldBack {
    /// `backlog-quota` or `rate`.
    pub reason: String,
    /// The topic whose backlog quota is used up; absent for a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The number of the partition, -1 for a topic without partitions; absent for a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The subscription that has not acknowledged; absent for a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// What the rate is set for; absent for a backlog quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The reason as a sentence.
    pub text: String,
}
