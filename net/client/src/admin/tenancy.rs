//! Tenants, namespaces, policies and permissions.

use std::str::FromStr;

use hulse_model::{NameError, NamespaceName, Permission, PolicyChange, Status};
use hulse_wire::json::{
    NamespaceDescription, NamespaceList, PermissionList, PolicyDescription, TenantDescription,
    TenantList,
};
use hulse_wire::{Permissions, Request, Tenancy};
use serde::de::DeserializeOwned;

use super::{Admin, done, json};
use crate::client::invalid_name;
use crate::error::ClientError;

impl Admin {
    /// Makes a tenant.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_EXISTS` when there is one of this name.
    pub async fn create_tenant(&self, tenant: &str) -> Result<TenantDescription, ClientError> {
        let wanted = Tenancy::CreateTenant(name("tenant", tenant)?);
        let found = async || {
            let list = self.list_tenants().await?;
            Ok(list.tenants.into_iter().find(|one| one.name == tenant))
        };
        self.create(wanted, found).await
    }

    /// Names all tenants.
    ///
    /// # Errors
    /// See [`Admin`].
    pub async fn list_tenants(&self) -> Result<TenantList, ClientError> {
        self.tenancy(Tenancy::ListTenants).await
    }

    /// Deletes a tenant that has no namespaces.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`; `NOT_EMPTY`; `INVALID_ARGUMENT` for `public`.
    pub async fn delete_tenant(&self, tenant: &str) -> Result<(), ClientError> {
        self.delete(Tenancy::DeleteTenant(name("tenant", tenant)?))
            .await
    }

    /// Makes a namespace, `tenant/namespace`, in a tenant that exists.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_EXISTS` when there is one of this name, `NAMESPACE_NOT_FOUND` when
    /// there is no such tenant.
    pub async fn create_namespace(
        &self,
        namespace: &str,
    ) -> Result<NamespaceDescription, ClientError> {
        let wanted = namespace_name(namespace)?;
        let found = async || {
            let list = self.list_namespaces(Some(wanted.tenant().as_str())).await?;
            let mut all = list.namespaces.into_iter();
            Ok(all.find(|one| one.name == namespace))
        };
        self.create(Tenancy::CreateNamespace(wanted.clone()), found)
            .await
    }

    /// Names the namespaces of a tenant, or of all.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND` when there is no such tenant.
    pub async fn list_namespaces(
        &self,
        tenant: Option<&str>,
    ) -> Result<NamespaceList, ClientError> {
        let tenant = tenant.map(|tenant| name("tenant", tenant)).transpose()?;
        self.tenancy(Tenancy::ListNamespaces(tenant)).await
    }

    /// Deletes a namespace that has no topics, with its policies and permissions.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`; `NOT_EMPTY`; `INVALID_ARGUMENT` for `public/default`.
    pub async fn delete_namespace(&self, namespace: &str) -> Result<(), ClientError> {
        self.delete(Tenancy::DeleteNamespace(namespace_name(namespace)?))
            .await
    }

    /// Changes the policies of a tenant (`acme`), a namespace (`acme/eu`) or a topic
    /// (`persistent://acme/eu/orders`), all of these or none, and tells what holds then. They hold for
    /// open topics at once.
    ///
    /// ```no_run
    /// # async fn example(client: hulse_client::Client) -> Result<(), hulse_client::ClientError> {
    /// use hulse_client::{Policy, PolicyChange};
    ///
    /// let day = PolicyChange { policy: Policy::TtlMs, value: Some(24 * 60 * 60 * 1000) };
    /// client.admin().set_policies("acme/eu", &[day]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`, `TOPIC_NOT_FOUND`; `INVALID_ARGUMENT` for a value that a
    /// policy cannot have.
    pub async fn set_policies(
        &self,
        scope: &str,
        changes: &[PolicyChange],
    ) -> Result<PolicyDescription, ClientError> {
        for change in changes {
            change
                .check()
                .map_err(|error| ClientError::InvalidArgument {
                    what: error.to_string(),
                })?;
        }
        self.tenancy(Tenancy::SetPolicies {
            scope: name("scope", scope)?,
            changes: changes.to_vec(),
        })
        .await
    }

    /// Tells the policies of a tenant, a namespace or a topic, named as for
    /// [`set_policies`](Self::set_policies).
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`, `TOPIC_NOT_FOUND`.
    pub async fn policies(&self, scope: &str) -> Result<PolicyDescription, ClientError> {
        self.tenancy(Tenancy::DescribePolicies(name("scope", scope)?))
            .await
    }

    /// Lets a role do something in a namespace. Permissions are kept, and asked for once the broker
    /// authenticates its clients, which it does not do yet: see [`PermissionList::enforced`].
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`; `OVER_LIMIT` when the namespace has too many roles.
    pub async fn grant(
        &self,
        namespace: &str,
        role: &str,
        permissions: &[Permission],
    ) -> Result<PermissionList, ClientError> {
        let granted = permitted(namespace, role, permissions)?;
        self.tenancy(Tenancy::GrantPermissions(granted)).await
    }

    /// Lets a role do less in a namespace.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`.
    pub async fn revoke(
        &self,
        namespace: &str,
        role: &str,
        permissions: &[Permission],
    ) -> Result<PermissionList, ClientError> {
        let revoked = permitted(namespace, role, permissions)?;
        self.tenancy(Tenancy::RevokePermissions(revoked)).await
    }

    /// Tells what each role may do in a namespace.
    ///
    /// # Errors
    /// See [`Admin`]; `NAMESPACE_NOT_FOUND`.
    pub async fn permissions(&self, namespace: &str) -> Result<PermissionList, ClientError> {
        self.tenancy(Tenancy::ListPermissions(namespace_name(namespace)?))
            .await
    }

    /// Asks for something that may be asked any number of times.
    async fn tenancy<T: DeserializeOwned>(&self, asked: Tenancy) -> Result<T, ClientError> {
        self.read(hulse_wire::Admin::Tenancy(asked)).await
    }

    /// Makes something, or finds what the attempt has most likely made whose answer was lost.
    async fn create<T: DeserializeOwned>(
        &self,
        wanted: Tenancy,
        found: impl AsyncFnOnce() -> Result<Option<T>, ClientError>,
    ) -> Result<T, ClientError> {
        let request = hulse_wire::Admin::Tenancy(wanted);
        let outcome = self.ask(Request::Admin(request)).await;
        match outcome.answer {
            Ok(answer) => json(&answer),
            Err(error) if outcome.repeated && error.status() == Some(Status::NamespaceExists) => {
                found().await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, doomed: Tenancy) -> Result<(), ClientError> {
        let request = hulse_wire::Admin::Tenancy(doomed);
        let outcome = self.ask(Request::Admin(request)).await;
        done(outcome, Status::NamespaceNotFound)
    }
}

fn permitted(
    namespace: &str,
    role: &str,
    permissions: &[Permission],
) -> Result<Permissions, ClientError> {
    if permissions.is_empty() {
        return Err(ClientError::InvalidArgument {
            what: "at least one permission is to be named".to_owned(),
        });
    }
    Ok(Permissions {
        namespace: namespace_name(namespace)?,
        role: name("role", role)?,
        permissions: permissions.to_vec(),
    })
}

fn namespace_name(text: &str) -> Result<NamespaceName, ClientError> {
    name("namespace", text)
}

fn name<N: FromStr<Err = NameError>>(what: &'static str, text: &str) -> Result<N, ClientError> {
    text.parse()
        .map_err(|source| invalid_name(what, text, source))
}
