//! What the store holds: versioned JSON, small and readable by people.
//!
//! | key | record |
//! |---|---|
//! | `tenants/<tenant>` | [`TenantRecord`] |
//! | `namespaces/<tenant>/<namespace>` | [`NamespaceRecord`] |
//! | `topics/<tenant>/<namespace>/<topic>` | [`TopicRecord`] |
//! | `tombstones/<partition id>` | [`TombstoneRecord`] |
//! | `placements/<placement>` | [`PlacementRecord`] |
//! | `groups/<group id>` | [`GroupRecord`] |
//! | `brokers/<broker>` | [`BrokerRecord`] |
//!
//! Every record has the field `v`, the version of its format. A reader takes fields that it does
//! not know (and loses them when it writes the record again), but refuses another version.

pub mod group;
pub mod key;
pub mod placement;
pub mod policies;
pub mod tenancy;
pub mod text;
pub mod topic;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use group::{Attempt, BrokerRecord, GroupRecord, Incarnation};
pub use placement::{AckLevel, PlacementRecord, Placing};
pub use tenancy::{Creation, Grants, NamespaceRecord, TenantRecord};
pub use topic::{PartitionRecord, TombstoneRecord, TopicId, TopicRecord, TopicState};

/// Something that the store holds under a key.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is called in messages.
    const KIND: &'static str;
    /// The version of its format.
    const FORMAT: u32;

    /// The bytes that are stored: one JSON object.
    #[must_use]
    fn encode(&self) -> Vec<u8> {
        let stamped = Stamped {
            v: Self::FORMAT,
            record: self,
        };
        match serde_json::to_vec(&stamped) {
            Ok(bytes) => bytes,
            // Every record is a struct of strings, numbers, lists and maps with string keys.
            Err(error) => panic!("a {} record cannot be written as JSON: {error}", Self::KIND),
        }
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// When the bytes are no record of this kind, or of another version.
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = |error: serde_json::Error| RecordError::Malformed {
            kind: Self::KIND,
            reason: error.to_string(),
        };
        let stamp: Stamp = serde_json::from_slice(bytes).map_err(malformed)?;
        if stamp.v != Self::FORMAT {
            return Err(RecordError::Format {
                kind: Self::KIND,
                found: stamp.v,
                known: Self::FORMAT,
            });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}

#[derive(Serialize)]
struct Stamped<'a, T> {
    v: u32,
    #[serde(flatten)]
    record: &'a T,
}

#[derive(Deserialize)]
struct Stamp {
    v: u32,
}

/// Why stored bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another release, in a format that this one does not know.
    #[error("a {kind} record has format {found}, this release knows {known}")]
    Format {
        /// The kind of record that was expected.
        kind: &'static str,
        /// Its format.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// Not such a record at all.
    #[error("a {kind} record cannot be read: {reason}")]
    Malformed {
        /// The kind of record that was expected.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
