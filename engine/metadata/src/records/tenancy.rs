//! Tenants and namespaces.

use std::collections::{BTreeMap, BTreeSet};

use hulse_model::{Permission, Policies, RoleName};
use serde::{Deserialize, Serialize};

use super::{Record, policies, text};

/// A tenant: the owner of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What holds for everything of it.
    #[serde(default, with = "policies", skip_serializing_if = "Policies::is_empty")]
    pub policies: Policies,
    /// Its deletion is being tried: no namespace may be made in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleting: bool,
}

impl TenantRecord {
    /// A tenant without policies.
    #[must_use]
    pub fn new(created_ms: u64) -> Self {
        Self {
            created_ms,
            policies: Policies::default(),
            deleting: false,
        }
    }
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
    /// How it treats unknown topics.
    #[serde(default, rename = "policies")]
    pub creation: Creation,
    /// What holds for its topics.
    #[serde(
        default,
        rename = "values",
        with = "policies",
        skip_serializing_if = "Policies::is_empty"
    )]
    pub policies: Policies,
    /// What each role may do in it.
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
    /// Its deletion is being tried: no topic may be made in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleting: bool,
}

impl NamespaceRecord {
    /// A namespace without policies.
    #[must_use]
    pub fn new(created_ms: u64) -> Self {
        Self {
            created_ms,
            creation: Creation::default(),
            policies: Policies::default(),
            grants: Grants::default(),
            deleting: false,
        }
    }
}

impl Record for NamespaceRecord {
    const KIND: &'static str = "namespace";
    const FORMAT: u32 = 1;
}

/// How a namespace treats unknown topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Creation {
    /// Whether an unknown topic is created when it is first used.
    pub auto_create_topics: bool,
}

impl Default for Creation {
    fn default() -> Self {
        Self {
            auto_create_topics: true,
        }
    }
}

/// What each role may do in a namespace. A role that may do nothing is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(#[serde(with = "text::grants")] BTreeMap<RoleName, BTreeSet<Permission>>);

impl Grants {
    /// Whether no role may do anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many roles there are.
    #[must_use]
    pub fn roles(&self) -> usize {
        self.0.len()
    }

    /// What a role may do.
    #[must_use]
    pub fn of(&self, role: &RoleName) -> BTreeSet<Permission> {
        self.0.get(role).cloned().unwrap_or_default()
    }

    /// Every role with what it may do, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&RoleName, &BTreeSet<Permission>)> {
        self.0.iter()
    }

    /// Lets a role do more.
    pub fn grant(&mut self, role: &RoleName, more: &[Permission]) {
        if !more.is_empty() {
            self.0.entry(role.clone()).or_default().extend(more);
        }
    }

    /// Lets a role do less.
    pub fn revoke(&mut self, role: &RoleName, less: &[Permission]) {
        if let Some(held) = self.0.get_mut(role) {
            held.retain(|one| !less.contains(one));
            if held.is_empty() {
                self.0.remove(role);
            }
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}
