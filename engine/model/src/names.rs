//! Names of topics, subscriptions and producers: what is legal, how a short form is filled in.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::limits::{CLIENT_NAME_BYTES_MAX, NAME_PART_BYTES_MAX};
use crate::tenancy::NamespaceName;

/// The scheme of every topic that is kept on disk.
const SCHEME: &str = "persistent://";
/// What stands between a topic's name and the number of one of its partitions.
const PARTITION_MARK: &str = "-partition-";

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing where a name should be.
    #[error("a name is empty")]
    Empty,
    /// A part is longer than the limit.
    #[error("a name of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Length of the part.
        bytes: usize,
        /// The limit that it broke.
        limit: usize,
    },
    /// A character that no name may hold.
    #[error("the character {0:?} is not allowed in a name")]
    Character(char),
    /// Neither `topic` nor `tenant/namespace/topic`.
    #[error("a topic is written `topic` or `persistent://tenant/namespace/topic`")]
    Shape,
    /// Not `tenant/namespace`.
    #[error("a namespace is written `tenant/namespace`")]
    NamespaceShape,
    /// A scheme other than `persistent://`.
    #[error("only persistent:// topics exist")]
    Scheme,
    /// A name that a file system or a path would read as something else.
    #[error("`.` and `..` are not names")]
    Dots,
}

/// A topic: `persistent://tenant/namespace/topic`. The short form `topic` means
/// `persistent://public/default/topic`.
///
/// The parts hold letters, digits and `-_.=:%@+~!$()`, at most 255 bytes each; a topic's own part
/// may hold any other character but `/`, white space and control characters as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    tenant: String,
    namespace: String,
    topic: String,
}

impl TopicName {
    /// The tenant's name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The namespace's name, without its tenant.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The namespace that it lies in.
    #[must_use]
    pub fn in_namespace(&self) -> NamespaceName {
        NamespaceName::of(self)
    }

    /// The topic's own name, without tenant and namespace.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The name of partition `index` of this topic: `…-partition-index`.
    ///
    /// # Errors
    /// When the name grows past the limit.
    pub fn partition(&self, index: u32) -> Result<Self, NameError> {
        let topic = format!("{}{PARTITION_MARK}{index}", self.topic);
        check_part(&topic, is_topic_char)?;
        Ok(Self {
            topic,
            ..self.clone()
        })
    }

    /// The topic and the partition's number, when this names one partition of a topic.
    #[must_use]
    pub fn split_partition(&self) -> Option<(Self, u32)> {
        let (topic, digits) = self.topic.rsplit_once(PARTITION_MARK)?;
        let plain = digits == "0" || !digits.starts_with('0');
        if topic.is_empty() || !plain || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let index = digits.parse().ok()?;
        Some((
            Self {
                topic: topic.to_owned(),
                ..self.clone()
            },
            index,
        ))
    }
}

impl FromStr for TopicName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let path = match text.split_once("://") {
            Some(("persistent", path)) => path,
            Some(_) => return Err(NameError::Scheme),
            None => text,
        };
        if path.is_empty() {
            return Err(NameError::Empty);
        }
        let mut parts = path.split('/');
        let (tenant, namespace, topic) = match (parts.next(), parts.next(), parts.next()) {
            (Some(topic), None, None) if path.len() == text.len() => ("public", "default", topic),
            (Some(tenant), Some(namespace), Some(topic)) => (tenant, namespace, topic),
            _ => return Err(NameError::Shape),
        };
        if parts.next().is_some() {
            return Err(NameError::Shape);
        }
        check_part(tenant, is_plain_char)?;
        check_part(namespace, is_plain_char)?;
        check_part(topic, is_topic_char)?;
        Ok(Self {
            tenant: tenant.to_owned(),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
        })
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME}{}/{}/{}",
            self.tenant, self.namespace, self.topic
        )
    }
}

macro_rules! client_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_length(text, CLIENT_NAME_BYTES_MAX)?;
                match text.chars().find(|c| c.is_control()) {
                    Some(bad) => Err(NameError::Character(bad)),
                    None => Ok(Self(text.to_owned())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

client_name! {
    /// The name of a subscription: up to 255 bytes without control characters.
    SubscriptionName
}
client_name! {
    /// The name of a producer, by which its retries are recognised: up to 255 bytes without
    /// control characters.
    ProducerName
}

client_name! {
    /// The name of a role, to which permissions are granted: up to 255 bytes without control
    /// characters.
    RoleName
}

fn check_length(text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        bytes if bytes > limit => Err(NameError::TooLong { bytes, limit }),
        _ => Ok(()),
    }
}

/// Checks the name of a tenant, or of a namespace without its tenant.
pub(crate) fn check_plain_part(text: &str) -> Result<(), NameError> {
    check_part(text, is_plain_char)
}

fn check_part(text: &str, allowed: fn(char) -> bool) -> Result<(), NameError> {
    check_length(text, NAME_PART_BYTES_MAX)?;
    if text == "." || text == ".." {
        return Err(NameError::Dots);
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(()),
    }
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.=:%@+~!$()".contains(c)
}

fn is_topic_char(c: char) -> bool {
    c != '/' && !c.is_whitespace() && !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn topic(text: &str) -> Result<TopicName, NameError> {
        text.parse()
    }

    #[test]
    fn short_and_long_forms_name_the_same_topic() {
        let short = topic("orders").unwrap();
        assert_eq!(short.to_string(), "persistent://public/default/orders");
        assert_eq!(topic("persistent://public/default/orders").unwrap(), short);
        assert_eq!(topic("public/default/orders").unwrap(), short);
    }

    #[test]
    fn illegal_names_are_told_apart() {
        assert_eq!(topic(""), Err(NameError::Empty));
        assert_eq!(topic("persistent://orders"), Err(NameError::Shape));
        assert_eq!(topic("a/b"), Err(NameError::Shape));
        assert_eq!(topic("a/b/c/d"), Err(NameError::Shape));
        assert_eq!(topic("a//c"), Err(NameError::Empty));
        assert_eq!(topic("non-persistent://a/b/c"), Err(NameError::Scheme));
        assert_eq!(topic("a b"), Err(NameError::Character(' ')));
        assert_eq!(topic("a/../c"), Err(NameError::Dots));
        assert_eq!(topic("tab\tle"), Err(NameError::Character('\t')));
        let long = "x".repeat(256);
        assert_eq!(
            topic(&long),
            Err(NameError::TooLong {
                bytes: 256,
                limit: 255
            })
        );
        assert!("".parse::<SubscriptionName>().is_err());
        assert!("two\nlines".parse::<SubscriptionName>().is_err());
        assert!("spaces are fine".parse::<ProducerName>().is_ok());
    }

    #[test]
    fn partitions_are_named_and_recognised() {
        let orders = topic("orders").unwrap();
        let third = orders.partition(2).unwrap();
        assert_eq!(third.topic(), "orders-partition-2");
        assert_eq!(third.split_partition(), Some((orders.clone(), 2)));
        for plain in [
            "orders",
            "orders-partition-",
            "orders-partition-x",
            "orders-partition-02",
        ] {
            assert_eq!(topic(plain).unwrap().split_partition(), None, "{plain}");
        }
        assert_eq!(topic("-partition-1").unwrap().split_partition(), None);
    }
}
