//! Policies: changing them at a level, and what all levels say of a topic.

use std::collections::BTreeMap;

use hulse_model::{NamespaceName, Policies, PolicyChange, Scope, TenantName};

use super::read::Step;
use super::tenancy_error::TenancyError;
use super::{ATTEMPTS_MAX, Catalog, CatalogError};
use crate::records::{NamespaceRecord, Record, TenantRecord, TopicRecord, TopicState, key};
use crate::store::Store;

/// What every tenant and namespace says, as of one reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    tenants: BTreeMap<TenantName, Policies>,
    namespaces: BTreeMap<NamespaceName, Policies>,
}

impl Levels {
    /// What a namespace's tenant says, and the namespace itself: the levels above its topics.
    #[must_use]
    pub fn of_namespace(&self, namespace: &NamespaceName) -> [Policies; 2] {
        let tenant = self.tenants.get(namespace.tenant());
        let namespace = self.namespaces.get(namespace);
        [tenant, namespace].map(|level| level.copied().unwrap_or_default())
    }
}

/// A record that says something of its own level.
trait Leveled: Record {
    fn policies_mut(&mut self) -> &mut Policies;
    /// Whether the level is there to be changed.
    fn exists(&self) -> bool;
}

impl Leveled for TenantRecord {
    fn policies_mut(&mut self) -> &mut Policies {
        &mut self.policies
    }

    fn exists(&self) -> bool {
        true
    }
}

impl Leveled for NamespaceRecord {
    fn policies_mut(&mut self) -> &mut Policies {
        &mut self.policies
    }

    fn exists(&self) -> bool {
        true
    }
}

impl Leveled for TopicRecord {
    fn policies_mut(&mut self) -> &mut Policies {
        &mut self.policies
    }

    fn exists(&self) -> bool {
        self.state == TopicState::Active
    }
}

impl<S: Store> Catalog<S> {
    /// Changes policies of one level, all or none, and gives what it says now.
    ///
    /// # Errors
    /// When it does not exist, a policy cannot have its value, or the store does not answer.
    pub async fn set_policies(
        &self,
        scope: &Scope,
        changes: &[PolicyChange],
    ) -> Result<Policies, TenancyError> {
        match scope {
            Scope::Tenant(_) => self.change_level::<TenantRecord>(scope, changes).await,
            Scope::Namespace(_) => self.change_level::<NamespaceRecord>(scope, changes).await,
            Scope::Topic(_) => self.change_level::<TopicRecord>(scope, changes).await,
        }
    }

    /// What one level says.
    ///
    /// # Errors
    /// When it does not exist, or the store does not answer.
    pub async fn policies(&self, scope: &Scope) -> Result<Policies, TenancyError> {
        self.set_policies(scope, &[]).await
    }

    async fn change_level<R: Leveled>(
        &self,
        scope: &Scope,
        changes: &[PolicyChange],
    ) -> Result<Policies, TenancyError> {
        let key = key_of(scope);
        for _ in 0..ATTEMPTS_MAX {
            let found = self.find::<R>(&key).await?;
            let Some(found) = found.filter(|found| found.record.exists()) else {
                return Err(absent(scope));
            };
            let mut record = found.record;
            let before = *record.policies_mut();
            for change in changes {
                record.policies_mut().change(*change)?;
            }
            let after = *record.policies_mut();
            if after == before {
                return Ok(after);
            }
            if let Step::Applied = self.put(&key, Some(found.version), &record).await? {
                return Ok(after);
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// What every tenant and namespace says.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn levels(&self) -> Result<Levels, CatalogError> {
        let mut levels = Levels::default();
        for (key, found) in self.find_all::<TenantRecord>(key::TENANTS).await? {
            if let Ok(name) = key[key::TENANTS.len()..].parse() {
                levels.tenants.insert(name, found.record.policies);
            }
        }
        for (key, found) in self.find_all::<NamespaceRecord>(key::NAMESPACES).await? {
            if let Ok(name) = key[key::NAMESPACES.len()..].parse() {
                levels.namespaces.insert(name, found.record.policies);
            }
        }
        Ok(levels)
    }
}

fn key_of(scope: &Scope) -> String {
    match scope {
        Scope::Tenant(tenant) => key::tenant(tenant.as_str()),
        Scope::Namespace(name) => key::namespace(name.tenant().as_str(), name.namespace()),
        Scope::Topic(topic) => key::topic(topic),
    }
}

fn absent(scope: &Scope) -> TenancyError {
    match scope {
        Scope::Tenant(tenant) => TenancyError::TenantNotFound {
            tenant: tenant.clone(),
        },
        Scope::Namespace(namespace) => TenancyError::NamespaceNotFound {
            namespace: namespace.clone(),
        },
        Scope::Topic(_) => TenancyError::TopicNotFound {
            scope: scope.clone(),
        },
    }
}
