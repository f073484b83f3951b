//! Groups (the record C of the replication protocol) and brokers.

use std::collections::BTreeMap;
use std::fmt;

use hulse_model::Term;
use serde::{Deserialize, Serialize};

use super::placement::AckLevel;
use super::{Record, text};

/// One life of a broker: a number that rises with every start of its process, and a random number
/// that tells two registrations of the same number apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Counts the lives from 1.
    pub number: u64,
    /// Random bits.
    #[serde(with = "text::hex64")]
    pub nonce: u64,
}

impl Incarnation {
    /// The life after `last`, which is `None` before the first one.
    #[must_use]
    pub fn after(last: Option<Self>, nonce: u64) -> Self {
        let number = last.map_or(0, |last| last.number);
        Self {
            number: number
                .checked_add(1)
                .expect("a broker has started 2^64 times"),
            nonce,
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.nonce)
    }
}

/// Who made the latest change of a group, so that its author can recognise it after the answer was
/// lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The broker.
    pub broker: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// Random bits of this attempt.
    #[serde(with = "text::hex64")]
    pub nonce: u64,
}

/// The configuration of a group: who holds it, and who serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Rises with every change of the record.
    pub ver: u64,
    /// Rises with every installation of a primary.
    #[serde(with = "term")]
    pub term: Term,
    /// The broker that serves the group.
    pub primary: String,
    /// The life of that broker in which it was installed.
    pub primary_incarnation: Incarnation,
    /// The brokers that hold everything acknowledged.
    pub isr: Vec<String>,
    /// The brokers that hold the group or are on the way to it; the in-sync set is part of it.
    pub replicas: Vec<String>,
    /// The life of each replica that this configuration counts on.
    pub incarnations: BTreeMap<String, Incarnation>,
    /// How many replicas must be in sync to take a write.
    pub min_isr: u32,
    /// What an acknowledgement means.
    pub level: AckLevel,
    /// Who made this change.
    pub attempt: Attempt,
    /// The placement that the group was made for: the text of its key.
    pub placement: String,
    /// The group's number within its placement, from 0.
    pub index: u32,
}

impl Record for GroupRecord {
    const KIND: &'static str = "group";
    const FORMAT: u32 = 1;
}

mod term {
    use hulse_model::Term;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(super) fn serialize<S: Serializer>(term: &Term, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(term.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Term, D::Error> {
        u64::deserialize(from).map(Term)
    }
}

/// A broker, as it registered itself at its latest start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRecord {
    /// Its name.
    pub name: String,
    /// The region that it stands in.
    pub region: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// When it registered, in milliseconds since 1970.
    pub registered_ms: u64,
    /// How many cores serve.
    pub cores: u32,
    /// Where each core is dialled, as `host:port`.
    #[serde(default)]
    pub addresses: Vec<String>,
}

impl Record for BrokerRecord {
    const KIND: &'static str = "broker";
    const FORMAT: u32 = 1;
}
