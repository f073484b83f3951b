//! Tenants and namespaces: their names, what a policy or a permission is about, who may do what.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::names::{NameError, TopicName, check_plain_part};

/// The tenant of topics that name none.
pub const PUBLIC_TENANT: &str = "public";
/// The namespace of topics that name none, without its tenant.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A tenant: letters, digits and `-_.=:%@+~!$()`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(String);

impl TenantName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the tenant of topics that name none, which is never deleted.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.0 == PUBLIC_TENANT
    }
}

impl FromStr for TenantName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_plain_part(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A namespace: `tenant/namespace`, each part as [`TenantName`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceName {
    tenant: TenantName,
    namespace: String,
}

impl NamespaceName {
    /// The namespace that a topic lies in.
    pub(crate) fn of(topic: &TopicName) -> Self {
        Self {
            tenant: TenantName(topic.tenant().to_owned()),
            namespace: topic.namespace().to_owned(),
        }
    }

    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// The namespace's own name, without its tenant.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether this is the namespace of topics that name none, which is never deleted.
    #[must_use]
    pub fn is_public_default(&self) -> bool {
        self.tenant.is_public() && self.namespace == DEFAULT_NAMESPACE
    }
}

impl FromStr for NamespaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, namespace) = text.split_once('/').ok_or(match text {
            "" => NameError::Empty,
            _ => NameError::NamespaceShape,
        })?;
        if namespace.contains('/') {
            return Err(NameError::NamespaceShape);
        }
        check_plain_part(namespace)?;
        Ok(Self {
            tenant: tenant.parse()?,
            namespace: namespace.to_owned(),
        })
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.namespace)
    }
}

/// What policies are set for. Its text form tells the three apart: `tenant`, `tenant/namespace`,
/// `persistent://tenant/namespace/topic`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything of a tenant.
    Tenant(TenantName),
    /// Everything in a namespace.
    Namespace(NamespaceName),
    /// One topic.
    Topic(TopicName),
}

impl Scope {
    /// What it is, in one word.
    #[must_use]
    pub const fn level(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Namespace(_) => "namespace",
            Self::Topic(_) => "topic",
        }
    }

    /// Whether a topic lies in it.
    #[must_use]
    pub fn covers(&self, topic: &TopicName) -> bool {
        match self {
            Self::Tenant(tenant) => tenant.as_str() == topic.tenant(),
            Self::Namespace(namespace) => *namespace == topic.in_namespace(),
            Self::Topic(own) => own == topic,
        }
    }
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains("://") {
            text.parse().map(Self::Topic)
        } else if text.contains('/') {
            text.parse().map(Self::Namespace)
        } else {
            text.parse().map(Self::Tenant)
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => tenant.fmt(f),
            Self::Namespace(namespace) => namespace.fmt(f),
            Self::Topic(topic) => topic.fmt(f),
        }
    }
}

/// Something that a role may be permitted to do in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// To publish.
    Produce,
    /// To subscribe, receive and acknowledge.
    Consume,
    /// To make, change and delete topics, subscriptions and policies.
    Administer,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Produce, Self::Consume, Self::Administer];

    /// The word for it in commands, answers and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Administer => "administer",
        }
    }

    /// Its bit where several travel in one number.
    #[must_use]
    pub const fn bit(self) -> u8 {
        match self {
            Self::Produce => 1,
            Self::Consume => 2,
            Self::Administer => 4,
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_PART_BYTES_MAX;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn a_scope_is_told_by_its_shape_and_covers_what_lies_in_it() {
        let orders: TopicName = "persistent://acme/eu/orders".parse().unwrap();
        let other: TopicName = "persistent://acme/eu-2/orders".parse().unwrap();
        let short: TopicName = "orders".parse().unwrap();
        for (text, level, covered) in [
            ("acme", "tenant", [true, true, false]),
            ("acme/eu", "namespace", [true, false, false]),
            ("persistent://acme/eu/orders", "topic", [true, false, false]),
            ("public/default", "namespace", [false, false, true]),
        ] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!((scope.level(), scope.to_string().as_str()), (level, text));
            let covers = [&orders, &other, &short].map(|topic| scope.covers(topic));
            assert_eq!(covers, covered, "{text}");
        }
    }

    #[test]
    fn names_hold_what_paths_and_shells_can() {
        let long = "n".repeat(NAME_PART_BYTES_MAX + 1);
        for (text, error) in [
            ("", NameError::Empty),
            ("a", NameError::NamespaceShape),
            ("a/", NameError::Empty),
            ("/b", NameError::Empty),
            ("a/b/c", NameError::NamespaceShape),
            ("a/..", NameError::Dots),
            ("a/b c", NameError::Character(' ')),
            ("ä/b", NameError::Character('ä')),
        ] {
            assert_eq!(text.parse::<NamespaceName>(), Err(error), "{text:?}");
        }
        assert!(matches!(
            format!("a/{long}").parse::<NamespaceName>(),
            Err(NameError::TooLong { .. })
        ));
        assert_eq!("a/b".parse::<TenantName>(), Err(NameError::Character('/')));
        let default: NamespaceName = "public/default".parse().unwrap();
        assert!(default.is_public_default() && default.tenant().is_public());
        let other: NamespaceName = "public/other".parse().unwrap();
        assert!(!other.is_public_default());
    }

    #[test]
    fn permissions_have_names_and_bits_of_their_own() {
        let mut bits = 0;
        for one in Permission::ALL {
            assert_eq!(Permission::from_name(one.name()), Some(one));
            assert_eq!(bits & one.bit(), 0);
            bits |= one.bit();
        }
        assert_eq!(Permission::from_name("own"), None);
    }
}
