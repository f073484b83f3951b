//! What a new store begins with.

use super::{Catalog, CatalogError};
use crate::records::{NamespaceRecord, Policies, Record, TenantRecord, key};
use crate::store::{Store, Swap};

/// The tenant of topics that name none.
const TENANT: &str = "public";
/// The namespace of topics that name none.
const NAMESPACE: &str = "default";

impl<S: Store> Catalog<S> {
    /// Makes the tenant `public` and the namespace `public/default` in a store that has no tenant.
    /// One that an administrator has deleted later is not made again while there are others.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn seed(&self, now_ms: u64) -> Result<(), CatalogError> {
        if !self.store.list(key::TENANTS).await?.is_empty() {
            return Ok(());
        }
        let tenant = TenantRecord { created_ms: now_ms };
        let namespace = NamespaceRecord {
            created_ms: now_ms,
            policies: Policies::default(),
        };
        // Refused means that another broker was first.
        self.swap_all(vec![
            Swap {
                key: key::tenant(TENANT),
                expected: None,
                value: Some(tenant.encode()),
            },
            Swap {
                key: key::namespace(TENANT, NAMESPACE),
                expected: None,
                value: Some(namespace.encode()),
            },
        ])
        .await?;
        Ok(())
    }
}
