//! The keys of the records.

use hulse_model::{GroupId, NamespaceName, PartitionId, TenantName, TopicName};

use super::RecordError;
use super::placement::Placing;

/// Every tenant.
pub const TENANTS: &str = "tenants/";
/// Every namespace.
pub const NAMESPACES: &str = "namespaces/";
/// Every topic.
pub const TOPICS: &str = "topics/";
/// Every tombstone.
pub const TOMBSTONES: &str = "tombstones/";
/// Every placement.
pub const PLACEMENTS: &str = "placements/";
/// Every group.
pub const GROUPS: &str = "groups/";
/// Every broker.
pub const BROKERS: &str = "brokers/";

/// The key of a tenant.
#[must_use]
pub fn tenant(tenant: &str) -> String {
    format!("{TENANTS}{tenant}")
}

/// The key of a namespace.
#[must_use]
pub fn namespace(tenant: &str, namespace: &str) -> String {
    format!("{NAMESPACES}{tenant}/{namespace}")
}

/// The beginning of the keys of a tenant's namespaces.
#[must_use]
pub fn namespaces_of(tenant: &TenantName) -> String {
    format!("{NAMESPACES}{tenant}/")
}

/// The beginning of the keys of a namespace's topics.
#[must_use]
pub fn topics_of(namespace: &NamespaceName) -> String {
    format!("{TOPICS}{namespace}/")
}

/// The key of a topic.
#[must_use]
pub fn topic(name: &TopicName) -> String {
    format!(
        "{TOPICS}{}/{}/{}",
        name.tenant(),
        name.namespace(),
        name.topic()
    )
}

/// The key of a partition's tombstone.
#[must_use]
pub fn tombstone(partition: PartitionId) -> String {
    format!("{TOMBSTONES}{partition}")
}

/// The key of a placement.
#[must_use]
pub fn placement(placing: &Placing) -> String {
    format!("{PLACEMENTS}{placing}")
}

/// The key of a group.
#[must_use]
pub fn group(group: GroupId) -> String {
    format!("{GROUPS}{group}")
}

/// The key of a broker.
#[must_use]
pub fn broker(name: &str) -> String {
    format!("{BROKERS}{name}")
}

/// The group whose key this is.
///
/// # Errors
/// When the key is no group's.
pub fn group_of(key: &str) -> Result<GroupId, RecordError> {
    let id = key.strip_prefix(GROUPS).and_then(|id| id.parse().ok());
    id.ok_or_else(|| RecordError::Malformed {
        kind: "group",
        reason: format!("{key} is not the key of a group"),
    })
}
