//! Tenants and namespaces: making, listing and deleting them, and what roles may do.
//!
//! What holds something is not deleted. A deletion first marks the record, so that nothing is made in
//! it any more, and then looks; whoever makes something looks again afterwards whether it was marked
//! meanwhile, and takes back what it made. So nothing is left in what does not exist, unless its maker
//! dies right before that last look: then it is listed and deleted like any other. A mark that an
//! interrupted deletion has left is settled by whoever meets it.

use hulse_model::limits::{NAMESPACE_ROLES_MAX, TENANT_NAMESPACES_MAX, TENANTS_MAX};
use hulse_model::{NamespaceName, Permission, RoleName, TenantName};

use super::read::{Found, Step};
use super::tenancy_error::TenancyError;
use super::{ATTEMPTS_MAX, Catalog, CatalogError};
use crate::records::{Grants, NamespaceRecord, TenantRecord, key};
use crate::store::Store;

/// A tenant and how many namespaces it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantView {
    /// Its name.
    pub name: TenantName,
    /// What is stored of it.
    pub record: TenantRecord,
    /// Its namespaces.
    pub namespaces: usize,
}

/// A namespace and how many topics it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceView {
    /// Its name.
    pub name: NamespaceName,
    /// What is stored of it.
    pub record: NamespaceRecord,
    /// Its topics.
    pub topics: usize,
}

impl<S: Store> Catalog<S> {
    /// Makes a tenant.
    ///
    /// # Errors
    /// [`TenancyError::TenantExists`], [`TenancyError::TooMany`], or when the store does not answer.
    pub async fn create_tenant(
        &self,
        tenant: &TenantName,
        now_ms: u64,
    ) -> Result<TenantView, TenancyError> {
        let key = key::tenant(tenant.as_str());
        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.find::<TenantRecord>(&key).await? {
                if found.record.deleting {
                    self.settle_tenant(tenant, &found).await?;
                    continue;
                }
                return Err(TenancyError::TenantExists {
                    tenant: tenant.clone(),
                });
            }
            if self.store.list(key::TENANTS).await?.len() >= TENANTS_MAX {
                return Err(TenancyError::TooMany {
                    what: "tenants",
                    limit: TENANTS_MAX,
                });
            }
            let record = TenantRecord::new(now_ms);
            if let Step::Applied = self.put(&key, None, &record).await? {
                return Ok(TenantView {
                    name: tenant.clone(),
                    record,
                    namespaces: 0,
                });
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// The tenants, in the order of names.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_tenants(&self) -> Result<Vec<TenantView>, TenancyError> {
        let namespaces = self.store.list(key::NAMESPACES).await?;
        let mut views = Vec::new();
        for (key, found) in self.find_all::<TenantRecord>(key::TENANTS).await? {
            let name = parsed::<TenantName>(&key, key::TENANTS)?;
            let own = key::namespaces_of(&name);
            let from = namespaces.partition_point(|(key, _)| *key < own);
            let count = namespaces[from..]
                .iter()
                .take_while(|(key, _)| key.starts_with(&own))
                .count();
            views.push(TenantView {
                name,
                record: found.record,
                namespaces: count,
            });
        }
        Ok(views)
    }

    /// Deletes a tenant that has no namespaces.
    ///
    /// # Errors
    /// [`TenancyError::TenantNotFound`], [`TenancyError::TenantNotEmpty`], [`TenancyError::Kept`] for
    /// `public`, or when the store does not answer.
    pub async fn delete_tenant(&self, tenant: &TenantName) -> Result<(), TenancyError> {
        if tenant.is_public() {
            return Err(TenancyError::Kept {
                what: tenant.to_string(),
            });
        }
        let key = key::tenant(tenant.as_str());
        let mut marked = false;
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find::<TenantRecord>(&key).await? else {
                if marked {
                    return Ok(());
                }
                return Err(TenancyError::TenantNotFound {
                    tenant: tenant.clone(),
                });
            };
            if found.record.deleting {
                // Whoever meets the mark may have the last word on it.
                marked = true;
                self.settle_tenant(tenant, &found).await?;
                continue;
            }
            // What holds something is not even marked, so that nobody is kept from using it.
            self.check_no_namespaces(tenant).await?;
            let doomed = TenantRecord {
                deleting: true,
                ..found.record
            };
            self.put(&key, Some(found.version), &doomed).await?;
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Completes a deletion of a tenant, or takes it back when there are namespaces. Somebody else may
    /// do so at the same time: what came of it is read again.
    async fn settle_tenant(
        &self,
        tenant: &TenantName,
        marked: &Found<TenantRecord>,
    ) -> Result<(), CatalogError> {
        let key = key::tenant(tenant.as_str());
        if self
            .store
            .list(&key::namespaces_of(tenant))
            .await?
            .is_empty()
        {
            self.remove(&key, marked.version).await?;
            return Ok(());
        }
        let kept = TenantRecord {
            deleting: false,
            ..marked.record.clone()
        };
        self.put(&key, Some(marked.version), &kept).await?;
        Ok(())
    }

    async fn check_no_namespaces(&self, tenant: &TenantName) -> Result<(), TenancyError> {
        match self.store.list(&key::namespaces_of(tenant)).await?.len() {
            0 => Ok(()),
            namespaces => Err(TenancyError::TenantNotEmpty {
                tenant: tenant.clone(),
                namespaces,
            }),
        }
    }

    /// Makes a namespace in a tenant that exists.
    ///
    /// # Errors
    /// [`TenancyError::NamespaceExists`], [`TenancyError::TenantNotFound`],
    /// [`TenancyError::TooMany`], or when the store does not answer.
    pub async fn create_namespace(
        &self,
        namespace: &NamespaceName,
        now_ms: u64,
    ) -> Result<NamespaceView, TenancyError> {
        let tenant = namespace.tenant();
        let key = key::namespace(tenant.as_str(), namespace.namespace());
        for _ in 0..ATTEMPTS_MAX {
            self.check_tenant(tenant).await?;
            if let Some(found) = self.find::<NamespaceRecord>(&key).await? {
                if found.record.deleting {
                    self.settle_namespace(namespace, &found).await?;
                    continue;
                }
                return Err(TenancyError::NamespaceExists {
                    namespace: namespace.clone(),
                });
            }
            let siblings = self.store.list(&key::namespaces_of(tenant)).await?;
            if siblings.len() >= TENANT_NAMESPACES_MAX {
                return Err(TenancyError::TooMany {
                    what: "namespaces in one tenant",
                    limit: TENANT_NAMESPACES_MAX,
                });
            }
            let record = NamespaceRecord::new(now_ms);
            let Step::Applied = self.put(&key, None, &record).await? else {
                continue;
            };
            // The tenant may have been marked, or be gone, since it was looked at.
            if let Err(error) = self.check_tenant(tenant).await {
                if let Some(made) = self.find::<NamespaceRecord>(&key).await?
                    && made.record == record
                {
                    self.remove(&key, made.version).await?;
                }
                return Err(error);
            }
            return Ok(NamespaceView {
                name: namespace.clone(),
                record,
                topics: 0,
            });
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Refuses to make something in a tenant that does not exist, or is about to be deleted. A
    /// deletion that was interrupted is settled first.
    async fn check_tenant(&self, tenant: &TenantName) -> Result<(), TenancyError> {
        let key = key::tenant(tenant.as_str());
        for _ in 0..ATTEMPTS_MAX {
            match self.find::<TenantRecord>(&key).await? {
                Some(found) if found.record.deleting => self.settle_tenant(tenant, &found).await?,
                Some(_) => return Ok(()),
                None => {
                    return Err(TenancyError::TenantNotFound {
                        tenant: tenant.clone(),
                    });
                }
            }
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// The namespaces of a tenant, or of all, in the order of names.
    ///
    /// # Errors
    /// [`TenancyError::TenantNotFound`], or when the store does not answer.
    pub async fn list_namespaces(
        &self,
        tenant: Option<&TenantName>,
    ) -> Result<Vec<NamespaceView>, TenancyError> {
        let prefix = match tenant {
            None => key::NAMESPACES.to_owned(),
            Some(tenant) => {
                self.check_tenant(tenant).await?;
                key::namespaces_of(tenant)
            }
        };
        let topics = self.list_topics("").await?;
        let mut counts = std::collections::BTreeMap::<NamespaceName, usize>::new();
        for topic in &topics {
            *counts.entry(topic.name.in_namespace()).or_default() += 1;
        }
        let mut views = Vec::new();
        for (key, found) in self.find_all::<NamespaceRecord>(&prefix).await? {
            let name = parsed::<NamespaceName>(&key, key::NAMESPACES)?;
            views.push(NamespaceView {
                topics: counts.get(&name).copied().unwrap_or_default(),
                name,
                record: found.record,
            });
        }
        Ok(views)
    }

    /// Deletes a namespace that has no topics, with its policies and permissions.
    ///
    /// # Errors
    /// [`TenancyError::NamespaceNotFound`], [`TenancyError::NamespaceNotEmpty`],
    /// [`TenancyError::Kept`] for `public/default`, or when the store does not answer.
    pub async fn delete_namespace(&self, namespace: &NamespaceName) -> Result<(), TenancyError> {
        if namespace.is_public_default() {
            return Err(TenancyError::Kept {
                what: namespace.to_string(),
            });
        }
        let key = key::namespace(namespace.tenant().as_str(), namespace.namespace());
        let mut marked = false;
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find::<NamespaceRecord>(&key).await? else {
                if marked {
                    return Ok(());
                }
                return Err(TenancyError::NamespaceNotFound {
                    namespace: namespace.clone(),
                });
            };
            if found.record.deleting {
                marked = true;
                self.settle_namespace(namespace, &found).await?;
                continue;
            }
            self.check_no_topics(namespace).await?;
            let doomed = NamespaceRecord {
                deleting: true,
                ..found.record
            };
            self.put(&key, Some(found.version), &doomed).await?;
        }
        Err(CatalogError::Contended { key }.into())
    }

    /// Completes a deletion of a namespace, or takes it back when there are topics: see
    /// [`Self::settle_tenant`].
    pub(super) async fn settle_namespace(
        &self,
        namespace: &NamespaceName,
        marked: &Found<NamespaceRecord>,
    ) -> Result<(), CatalogError> {
        let key = key::namespace(namespace.tenant().as_str(), namespace.namespace());
        // Topics whose deletion has begun count as well: their names are still taken.
        if self
            .store
            .list(&key::topics_of(namespace))
            .await?
            .is_empty()
        {
            self.remove(&key, marked.version).await?;
            return Ok(());
        }
        let kept = NamespaceRecord {
            deleting: false,
            ..marked.record.clone()
        };
        self.put(&key, Some(marked.version), &kept).await?;
        Ok(())
    }

    async fn check_no_topics(&self, namespace: &NamespaceName) -> Result<(), TenancyError> {
        match self.store.list(&key::topics_of(namespace)).await?.len() {
            0 => Ok(()),
            topics => Err(TenancyError::NamespaceNotEmpty {
                namespace: namespace.clone(),
                topics,
            }),
        }
    }

    /// What each role may do in a namespace.
    ///
    /// # Errors
    /// [`TenancyError::NamespaceNotFound`], or when the store does not answer.
    pub async fn grants(&self, namespace: &NamespaceName) -> Result<Grants, TenancyError> {
        let key = key::namespace(namespace.tenant().as_str(), namespace.namespace());
        match self.find::<NamespaceRecord>(&key).await? {
            Some(found) => Ok(found.record.grants),
            None => Err(TenancyError::NamespaceNotFound {
                namespace: namespace.clone(),
            }),
        }
    }

    /// Lets a role do more in a namespace, or less, and gives what all may do now.
    ///
    /// # Errors
    /// [`TenancyError::NamespaceNotFound`], [`TenancyError::TooMany`] roles, or when the store does
    /// not answer.
    pub async fn change_grants(
        &self,
        namespace: &NamespaceName,
        role: &RoleName,
        permissions: &[Permission],
        grant: bool,
    ) -> Result<Grants, TenancyError> {
        let key = key::namespace(namespace.tenant().as_str(), namespace.namespace());
        for _ in 0..ATTEMPTS_MAX {
            let Some(found) = self.find::<NamespaceRecord>(&key).await? else {
                break;
            };
            let mut record = found.record;
            if grant {
                record.grants.grant(role, permissions);
            } else {
                record.grants.revoke(role, permissions);
            }
            if grant && record.grants.roles() > NAMESPACE_ROLES_MAX {
                return Err(TenancyError::TooMany {
                    what: "roles in one namespace",
                    limit: NAMESPACE_ROLES_MAX,
                });
            }
            if let Step::Applied = self.put(&key, Some(found.version), &record).await? {
                return Ok(record.grants);
            }
        }
        match self.grants(namespace).await {
            Ok(_) => Err(CatalogError::Contended { key }.into()),
            Err(error) => Err(error),
        }
    }
}

/// The name in a key.
fn parsed<N: std::str::FromStr<Err = hulse_model::NameError>>(
    key: &str,
    prefix: &str,
) -> Result<N, CatalogError> {
    let name = key.strip_prefix(prefix).unwrap_or(key).parse::<N>();
    name.map_err(|error| CatalogError::Record {
        key: key.to_owned(),
        source: crate::records::RecordError::Malformed {
            kind: "name",
            reason: error.to_string(),
        },
    })
}
