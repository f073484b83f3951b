//! What a new store begins with.

use hulse_model::tenancy::{DEFAULT_NAMESPACE, PUBLIC_TENANT};

use super::{Catalog, CatalogError};
use crate::records::{NamespaceRecord, Record, TenantRecord, key};
use crate::store::{Store, Swap};

impl<S: Store> Catalog<S> {
    /// Makes the tenant `public` and the namespace `public/default` in a store that has no tenant.
    /// Neither is ever deleted.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn seed(&self, now_ms: u64) -> Result<(), CatalogError> {
        if !self.store.list(key::TENANTS).await?.is_empty() {
            return Ok(());
        }
        let tenant = TenantRecord::new(now_ms);
        let namespace = NamespaceRecord::new(now_ms);
        // Refused means that another broker was first.
        self.swap_all(vec![
            Swap {
                key: key::tenant(PUBLIC_TENANT),
                expected: None,
                value: Some(tenant.encode()),
            },
            Swap {
                key: key::namespace(PUBLIC_TENANT, DEFAULT_NAMESPACE),
                expected: None,
                value: Some(namespace.encode()),
            },
        ])
        .await?;
        Ok(())
    }
}
