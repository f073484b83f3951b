//! The answers of the broker as JSON: what ADMIN_DONE carries, what `/status` serves and what
//! `--json` prints.
//!
//! Fields are only ever added. A reader that meets a field it does not know passes over it, and
//! one that misses a field which a newer version has added takes 0, an empty text or an empty list
//! for it.

mod status;
mod subscription;
mod tenancy;
mod topic;

pub use status::{BrokerStatus, CoreStatus, LatencySummary, Traffic};
pub use subscription::{
    BlockedDescription, ConsumerDescription, SubscriptionDescription, SubscriptionList,
};
pub use tenancy::{
    HeldBack, NamespaceDescription, NamespaceList, PermissionList, PolicyDescription, PolicyValues,
    RolePermissions, TenantDescription, TenantList,
};
pub use topic::{DamagedRange, PartitionDescription, TopicDescription, TopicList};
