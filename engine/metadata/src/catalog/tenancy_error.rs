//! Why something was not done with a tenant or a namespace, and what a client is told.

use hulse_model::{NamespaceName, PolicyError, Scope, Status, TenantName};

use super::CatalogError;
use crate::store::StoreError;

/// Why something was not done with a tenant or a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenancyError {
    /// The catalog could not do it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no such tenant.
    #[error("tenant {tenant} does not exist; `hulse tenant create {tenant}` makes it")]
    TenantNotFound {
        /// The tenant.
        tenant: TenantName,
    },
    /// There is one of this name.
    #[error("tenant {tenant} exists already")]
    TenantExists {
        /// The tenant.
        tenant: TenantName,
    },
    /// It has namespaces.
    #[error(
        "tenant {tenant} has {namespaces} namespaces, and only an empty one is deleted: \
         `hulse namespace list --tenant {tenant}` names them"
    )]
    TenantNotEmpty {
        /// The tenant.
        tenant: TenantName,
        /// How many it has.
        namespaces: usize,
    },
    /// There is no such namespace.
    #[error("namespace {namespace} does not exist; `hulse namespace create {namespace}` makes it")]
    NamespaceNotFound {
        /// The namespace.
        namespace: NamespaceName,
    },
    /// There is one of this name.
    #[error("namespace {namespace} exists already")]
    NamespaceExists {
        /// The namespace.
        namespace: NamespaceName,
    },
    /// It has topics.
    #[error(
        "namespace {namespace} has {topics} topics, and only an empty one is deleted: `hulse topic \
         list` names them, and `hulse topic delete` deletes one with all that it holds"
    )]
    NamespaceNotEmpty {
        /// The namespace.
        namespace: NamespaceName,
        /// How many it has.
        topics: usize,
    },
    /// There is no such topic.
    #[error("{scope} does not exist")]
    TopicNotFound {
        /// The topic.
        scope: Scope,
    },
    /// What topics lie in that name no tenant or namespace.
    #[error("{what} is where topics lie whose names say nothing else, and is never deleted")]
    Kept {
        /// Which.
        what: String,
    },
    /// As many as there may be.
    #[error("there are {limit} {what}, and no more may be")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A value that a policy cannot have.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl TenancyError {
    /// What a client is told.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Catalog(error) => error.status(),
            Self::TenantNotFound { .. } | Self::NamespaceNotFound { .. } => {
                Status::NamespaceNotFound
            }
            Self::TopicNotFound { .. } => Status::TopicNotFound,
            Self::TenantExists { .. } | Self::NamespaceExists { .. } => Status::NamespaceExists,
            Self::TenantNotEmpty { .. } | Self::NamespaceNotEmpty { .. } => Status::NotEmpty,
            Self::Kept { .. } | Self::Policy(_) => Status::InvalidArgument,
            Self::TooMany { .. } => Status::OverLimit,
        }
    }
}

impl From<StoreError> for TenancyError {
    fn from(error: StoreError) -> Self {
        Self::Catalog(error.into())
    }
}
