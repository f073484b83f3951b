//! The answers about tenants, namespaces and permissions.

use hulse_metadata::catalog::{NamespaceView, TenancyError, TenantView};
use hulse_metadata::records::Grants;
use hulse_model::{Effective, NamespaceName, Policies, Scope};
use hulse_wire::json::{
    NamespaceDescription, NamespaceList, PermissionList, PolicyDescription, PolicyValues,
    RolePermissions, TenantDescription, TenantList,
};
use hulse_wire::{Permissions, Tenancy};

use super::answers::json;
use super::{Control, Refused};
use crate::messages::Told;
use crate::time::wall_ms;

impl Control {
    /// Answers a question about tenants and namespaces.
    pub(super) async fn answer_tenancy(&self, asked: Tenancy) -> Result<Told, Refused> {
        match asked {
            Tenancy::CreateTenant(tenant) => {
                let made = self.catalog.create_tenant(&tenant, wall_ms()).await;
                json(&describe_tenant(&made.map_err(|error| refused(&error))?))
            }
            Tenancy::ListTenants => {
                let tenants = self
                    .catalog
                    .list_tenants()
                    .await
                    .map_err(|error| refused(&error))?;
                json(&TenantList {
                    tenants: tenants.iter().map(describe_tenant).collect(),
                })
            }
            Tenancy::DeleteTenant(tenant) => {
                self.catalog
                    .delete_tenant(&tenant)
                    .await
                    .map_err(|error| refused(&error))?;
                self.rates.forget(&Scope::Tenant(tenant));
                json(&TenantList::default())
            }
            Tenancy::CreateNamespace(namespace) => {
                let made = self.catalog.create_namespace(&namespace, wall_ms()).await;
                let made = made.map_err(|error| refused(&error))?;
                json(&self.describe_namespaces(&[made]).await?.namespaces[0])
            }
            Tenancy::ListNamespaces(tenant) => {
                let found = self.catalog.list_namespaces(tenant.as_ref()).await;
                json(
                    &self
                        .describe_namespaces(&found.map_err(|error| refused(&error))?)
                        .await?,
                )
            }
            Tenancy::DeleteNamespace(namespace) => {
                let deleted = self.catalog.delete_namespace(&namespace).await;
                deleted.map_err(|error| refused(&error))?;
                self.rates.forget(&Scope::Namespace(namespace));
                json(&NamespaceList::default())
            }
            Tenancy::SetPolicies { scope, changes } => {
                let set = self.catalog.set_policies(&scope, &changes).await;
                set.map_err(|error| refused(&error))?;
                self.apply_policies(&scope).await?;
                json(&self.describe_policies(&scope).await?)
            }
            Tenancy::DescribePolicies(scope) => json(&self.describe_policies(&scope).await?),
            Tenancy::GrantPermissions(permissions) => self.change_grants(permissions, true).await,
            Tenancy::RevokePermissions(permissions) => self.change_grants(permissions, false).await,
            Tenancy::ListPermissions(namespace) => {
                let grants = self
                    .catalog
                    .grants(&namespace)
                    .await
                    .map_err(|error| refused(&error))?;
                json(&describe_grants(&namespace, &grants))
            }
        }
    }

    async fn change_grants(&self, change: Permissions, grant: bool) -> Result<Told, Refused> {
        let Permissions {
            namespace,
            role,
            permissions,
        } = change;
        let changed = self
            .catalog
            .change_grants(&namespace, &role, &permissions, grant)
            .await;
        json(&describe_grants(
            &namespace,
            &changed.map_err(|error| refused(&error))?,
        ))
    }

    async fn describe_namespaces(&self, views: &[NamespaceView]) -> Result<NamespaceList, Refused> {
        let levels = self.levels().await?;
        let describe = |view: &NamespaceView| NamespaceDescription {
            name: view.name.to_string(),
            created_ms: view.record.created_ms,
            topics: view.topics as u64,
            auto_create_topics: view.record.creation.auto_create_topics,
            policies: values(&view.record.policies),
            effective: effective(&Effective::of(&levels.of_namespace(&view.name))),
        };
        Ok(NamespaceList {
            namespaces: views.iter().map(describe).collect(),
        })
    }

    async fn describe_policies(&self, scope: &Scope) -> Result<PolicyDescription, Refused> {
        let own = self
            .catalog
            .policies(scope)
            .await
            .map_err(|error| refused(&error))?;
        let levels = self.levels().await?;
        let together = match scope {
            Scope::Tenant(_) => Effective::of([&own]),
            Scope::Namespace(namespace) => Effective::of(&levels.of_namespace(namespace)),
            Scope::Topic(topic) => {
                let above = levels.of_namespace(&topic.in_namespace());
                Effective::of(above.iter().chain([&own]))
            }
        };
        Ok(PolicyDescription {
            scope: scope.to_string(),
            level: scope.level().to_owned(),
            policies: values(&own),
            effective: effective(&together),
        })
    }
}

fn refused(error: &TenancyError) -> Refused {
    (error.status(), error.to_string())
}

/// What one level says, by name.
pub(super) fn values(policies: &Policies) -> PolicyValues {
    let named = policies.iter();
    named
        .map(|(policy, value)| (policy.name().to_owned(), value))
        .collect()
}

/// What all levels say together, by name.
pub(super) fn effective(effective: &Effective) -> PolicyValues {
    let named = effective.iter();
    named
        .map(|(policy, value)| (policy.name().to_owned(), value))
        .collect()
}

fn describe_tenant(view: &TenantView) -> TenantDescription {
    TenantDescription {
        name: view.name.to_string(),
        created_ms: view.record.created_ms,
        namespaces: view.namespaces as u64,
        policies: values(&view.record.policies),
    }
}

fn describe_grants(namespace: &NamespaceName, grants: &Grants) -> PermissionList {
    PermissionList {
        namespace: namespace.to_string(),
        enforced: false,
        roles: grants
            .iter()
            .map(|(role, held)| RolePermissions {
                role: role.to_string(),
                permissions: held.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}
