//! The requests of ADMIN that are about tenants, namespaces, their policies and permissions.

use alloc::string::ToString;
use alloc::vec::Vec;

use hulse_model::{
    NamespaceName, Permission, Policy, PolicyChange, RoleName, Scope, TenantName, TopicName,
};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::violation::{Violation, check_count, name, optional_name};

/// The most changes of policies in one request: one for each policy, and some for newer ones.
pub const POLICY_CHANGES_MAX: usize = 32;

/// A request about tenants and namespaces. The answer is ADMIN_DONE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// Makes a tenant.
    CreateTenant(TenantName),
    /// Names all tenants.
    ListTenants,
    /// Deletes a tenant that has no namespaces.
    DeleteTenant(TenantName),
    /// Makes a namespace.
    CreateNamespace(NamespaceName),
    /// Names the namespaces of a tenant, or of all.
    ListNamespaces(Option<TenantName>),
    /// Deletes a namespace that has no topics.
    DeleteNamespace(NamespaceName),
    /// Changes policies, all of these or none; answered with what holds now.
    SetPolicies {
        /// What they are set for.
        scope: Scope,
        /// The changes.
        changes: Vec<PolicyChange>,
    },
    /// Tells the policies of a tenant, a namespace or a topic.
    DescribePolicies(Scope),
    /// Lets a role do something in a namespace.
    GrantPermissions(Permissions),
    /// Lets it do less.
    RevokePermissions(Permissions),
    /// Tells what each role may do in a namespace.
    ListPermissions(NamespaceName),
}

/// What a role is, or is no longer, to be permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Where.
    pub namespace: NamespaceName,
    /// Who.
    pub role: RoleName,
    /// What; at least one.
    pub permissions: Vec<Permission>,
}

impl Permissions {
    fn bits(&self) -> Result<u8, Violation> {
        let bits = self
            .permissions
            .iter()
            .fold(0, |bits, one| bits | one.bit());
        check_bits(bits).map(|()| bits)
    }

    fn read(table: &schema::Admin<'_>) -> Result<Self, Violation> {
        let bits = table.permissions();
        check_bits(bits)?;
        let all = Permission::ALL.into_iter();
        Ok(Self {
            namespace: name("scope", table.scope())?,
            role: name("role", table.role())?,
            permissions: all.filter(|one| bits & one.bit() != 0).collect(),
        })
    }
}

/// At least one permission, and none that is not known.
fn check_bits(bits: u8) -> Result<(), Violation> {
    let known = Permission::ALL.iter().fold(0, |bits, one| bits | one.bit());
    if bits == 0 || bits & !known != 0 {
        let (field, value) = ("permissions", i128::from(bits));
        return Err(Violation::OutOfRange { field, value });
    }
    Ok(())
}

impl Tenancy {
    pub(crate) const fn verb(&self) -> schema::AdminVerb {
        match self {
            Self::CreateTenant(_) => schema::AdminVerb::CreateTenant,
            Self::ListTenants => schema::AdminVerb::ListTenants,
            Self::DeleteTenant(_) => schema::AdminVerb::DeleteTenant,
            Self::CreateNamespace(_) => schema::AdminVerb::CreateNamespace,
            Self::ListNamespaces(_) => schema::AdminVerb::ListNamespaces,
            Self::DeleteNamespace(_) => schema::AdminVerb::DeleteNamespace,
            Self::SetPolicies { .. } => schema::AdminVerb::SetPolicies,
            Self::DescribePolicies(_) => schema::AdminVerb::DescribePolicies,
            Self::GrantPermissions(_) => schema::AdminVerb::GrantPermissions,
            Self::RevokePermissions(_) => schema::AdminVerb::RevokePermissions,
            Self::ListPermissions(_) => schema::AdminVerb::ListPermissions,
        }
    }

    /// Fills in the fields that belong to the verb.
    pub(crate) fn fill(
        &self,
        builder: &mut Builder,
        args: &mut schema::AdminArgs<'static>,
    ) -> Result<(), Violation> {
        let scope = match self {
            Self::ListTenants | Self::ListNamespaces(None) => None,
            Self::CreateTenant(tenant)
            | Self::DeleteTenant(tenant)
            | Self::ListNamespaces(Some(tenant)) => Some(tenant.to_string()),
            Self::CreateNamespace(namespace)
            | Self::DeleteNamespace(namespace)
            | Self::ListPermissions(namespace) => Some(namespace.to_string()),
            Self::SetPolicies { scope, .. } | Self::DescribePolicies(scope) => {
                Some(scope.to_string())
            }
            Self::GrantPermissions(permissions) | Self::RevokePermissions(permissions) => {
                Some(permissions.namespace.to_string())
            }
        };
        args.scope = scope.map(|scope| builder.create_string(&scope));
        match self {
            Self::SetPolicies { changes, .. } => {
                check_count("policies", changes.len(), POLICY_CHANGES_MAX)?;
                let changes: Vec<_> = changes.iter().map(to_schema).collect();
                args.policies = Some(builder.create_vector(&changes));
            }
            Self::GrantPermissions(permissions) | Self::RevokePermissions(permissions) => {
                args.role = Some(builder.create_string(permissions.role.as_str()));
                args.permissions = permissions.bits()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the request, if the verb is one of these.
    pub(crate) fn read(table: &schema::Admin<'_>) -> Option<Result<Self, Violation>> {
        let tenant = || name::<TenantName>("scope", table.scope());
        let namespace = || name::<NamespaceName>("scope", table.scope());
        Some(match table.verb() {
            schema::AdminVerb::CreateTenant => tenant().map(Self::CreateTenant),
            schema::AdminVerb::ListTenants => Ok(Self::ListTenants),
            schema::AdminVerb::DeleteTenant => tenant().map(Self::DeleteTenant),
            schema::AdminVerb::CreateNamespace => namespace().map(Self::CreateNamespace),
            schema::AdminVerb::ListNamespaces => {
                optional_name("scope", table.scope()).map(Self::ListNamespaces)
            }
            schema::AdminVerb::DeleteNamespace => namespace().map(Self::DeleteNamespace),
            schema::AdminVerb::SetPolicies => read_changes(table).and_then(|changes| {
                let scope = scope(table)?;
                Ok(Self::SetPolicies { scope, changes })
            }),
            schema::AdminVerb::DescribePolicies => scope(table).map(Self::DescribePolicies),
            schema::AdminVerb::GrantPermissions => {
                Permissions::read(table).map(Self::GrantPermissions)
            }
            schema::AdminVerb::RevokePermissions => {
                Permissions::read(table).map(Self::RevokePermissions)
            }
            schema::AdminVerb::ListPermissions => namespace().map(Self::ListPermissions),
            _ => return None,
        })
    }
}

/// What policies are for: never a single partition of a topic.
fn scope(table: &schema::Admin<'_>) -> Result<Scope, Violation> {
    let scope = name::<Scope>("scope", table.scope())?;
    match &scope {
        Scope::Topic(topic) if TopicName::split_partition(topic).is_some() => {
            let source = hulse_model::NameError::Shape;
            Err(Violation::Name {
                field: "scope",
                source,
            })
        }
        _ => Ok(scope),
    }
}

fn to_schema(change: &PolicyChange) -> schema::PolicyChange {
    let value = change.value.unwrap_or_default();
    schema::PolicyChange::new(value, change.policy.code(), change.value.is_some())
}

fn read_changes(table: &schema::Admin<'_>) -> Result<Vec<PolicyChange>, Violation> {
    let changes = table.policies().unwrap_or_default();
    check_count("policies", changes.len(), POLICY_CHANGES_MAX)?;
    let read = |change: &schema::PolicyChange| {
        let number = change.policy();
        let policy = Policy::from_code(number).ok_or(Violation::OutOfRange {
            field: "policy",
            value: i128::from(number),
        })?;
        let value = change.set().then_some(change.value());
        let change = PolicyChange { policy, value };
        change.check().map_err(|error| Violation::OutOfRange {
            field: policy.name(),
            value: i128::from(error.value),
        })?;
        Ok(change)
    };
    changes.iter().map(read).collect()
}
