//! The records of a partition's sibling log: everything that must survive beside the entries.
//!
//! A record is the payload of an entry of the sibling log with the format
//! [`hulse_model::PayloadFormat::Record`]; the entry around it holds the checksum. All integers
//! are little-endian; a `text` is its length in two bytes and UTF-8.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0 | `version` | 1 |
//! | 1 | `kind` | 1 to 8, as below |
//!
//! | kind | bytes | field | meaning |
//! |---|---|---|---|
//! | 1 producer opened | 8 | `id` | the producer's id in this partition |
//! | | 8 | `epoch` | of the opening; a higher one fences those before |
//! | | 8 | `forgotten` | the producer that is forgotten to make room; 0 for none |
//! | | text | `name` | |
//! | 2 subscription created | 8 | `id` | its id in this partition, never used twice |
//! | | 1 | `type` | 0 exclusive, 1 failover, 2 shared, 3 key shared |
//! | | 8, 4 | `position` | offset and index of the first message that it wants |
//! | | text | `name` | |
//! | 3 subscription deleted | 8 | `id` | |
//! | 4 acknowledged | 8 | `id` | the subscription |
//! | | to the end | `acknowledged` | see [`crate::acknowledgements`] |
//! | 5 cursor set | 8 | `id` | the subscription |
//! | | 8, 4 | `position` | offset and index of the new mark |
//! | 6 part of a snapshot | 4, 4 | `part`, `parts` | this one, from 0, and how many there are |
//! | | 8 | `entries_applied` | the offset after the last entry that the snapshot covers |
//! | | 8 | `entries_term` | the term of that last entry; 0 for none |
//! | | to the end | `state` | this part's bytes of the state, see [`crate::snapshot`] |
//! | 7 access epoch | 8 | `epoch` | over those before |
//! | | 1 | `exclusive` | 0 of shared producers, 1 of one alone: see [`crate::access`] |
//! | 8 subscription's type set | 8 | `id` | the subscription |
//! | | 1 | `type` | its type from now on |

use alloc::vec::Vec;

use hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX;
use hulse_model::{NameError, Offset, Position, ProducerId, ProducerName, SubscriptionName, Term};

use crate::acknowledgements::{Acknowledgements, position, put_position};
use crate::bytes::{Reader, put_text};

/// The only version of the layout so far.
pub const RECORD_VERSION: u8 = 1;

/// The most parts that one snapshot is split into.
pub const SNAPSHOT_PARTS_MAX: u32 = 1_024;

/// Bytes of a snapshot part's record before the state.
const SNAPSHOT_HEADER_BYTES: usize = 2 + 4 + 4 + 8 + 8;

/// The most bytes of state that one part of a snapshot holds.
pub const SNAPSHOT_PART_BYTES_MAX: usize = ENTRY_PAYLOAD_BYTES_MAX - SNAPSHOT_HEADER_BYTES;

/// How a subscription's messages are shared among its consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SubscriptionKind {
    /// One consumer; a second one is refused.
    Exclusive = 0,
    /// One consumer at a time; the others stand by.
    Failover = 1,
    /// Messages go in turn to all consumers.
    Shared = 2,
    /// Messages of one key go to one consumer at a time.
    KeyShared = 3,
}

impl SubscriptionKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Exclusive),
            1 => Some(Self::Failover),
            2 => Some(Self::Shared),
            3 => Some(Self::KeyShared),
            _ => None,
        }
    }

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// One part of a snapshot. It counts only when all parts are there, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Which part, from 0.
    pub part: u32,
    /// How many parts there are, 1 to [`SNAPSHOT_PARTS_MAX`].
    pub parts: u32,
    /// The offset after the last entry that the snapshot covers.
    pub entries_applied: Offset,
    /// The term of that last entry; 0 when there is none. A snapshot may be durable before the
    /// entries that it covers; whether they are the ones that the log holds now, the term tells.
    pub entries_term: Term,
    /// This part's bytes of the state, at most [`SNAPSHOT_PART_BYTES_MAX`].
    pub state: Vec<u8>,
}

/// One record of a sibling log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiblingRecord {
    /// A producer's name was opened for the first time, or with a higher epoch.
    ProducerOpened {
        /// Its id in this partition.
        id: ProducerId,
        /// Its name.
        name: ProducerName,
        /// The opening's epoch.
        epoch: u64,
        /// The producer that is forgotten to make room for this one.
        forgotten: Option<ProducerId>,
    },
    /// A subscription was made.
    SubscriptionCreated {
        /// Its id in this partition.
        id: u64,
        /// Its name.
        name: SubscriptionName,
        /// Its kind.
        kind: SubscriptionKind,
        /// The first message that it wants.
        position: Position,
    },
    /// A subscription was deleted.
    SubscriptionDeleted {
        /// Its id.
        id: u64,
    },
    /// A subscription's consumers acknowledged these since the record before.
    Acknowledged {
        /// The subscription's id.
        id: u64,
        /// The new mark, and what is newly acknowledged above it.
        acknowledgements: Acknowledgements,
    },
    /// A subscription was moved to another position: a seek.
    CursorSet {
        /// The subscription's id.
        id: u64,
        /// Its new mark; nothing above it is acknowledged.
        position: Position,
    },
    /// A part of a snapshot of the partition's state.
    Snapshot(SnapshotPart),
    /// A new access epoch has begun.
    AccessEpoch {
        /// Its number.
        epoch: u64,
        /// Whether it is of one producer alone.
        exclusive: bool,
    },
    /// A subscription has another kind from now on.
    KindSet {
        /// The subscription's id.
        id: u64,
        /// Its kind.
        kind: SubscriptionKind,
    },
}

impl SiblingRecord {
    /// Writes the record to the end of `out`.
    ///
    /// # Panics
    /// When a snapshot part holds more than [`SNAPSHOT_PART_BYTES_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(RECORD_VERSION);
        out.push(self.kind());
        match self {
            Self::ProducerOpened {
                id,
                name,
                epoch,
                forgotten,
            } => {
                put_u64(out, id.0);
                put_u64(out, *epoch);
                put_u64(out, forgotten.unwrap_or_default().0);
                put_text(out, name.as_str());
            }
            Self::SubscriptionCreated {
                id,
                name,
                kind,
                position,
            } => {
                put_u64(out, *id);
                out.push(kind.code());
                put_position(out, *position);
                put_text(out, name.as_str());
            }
            Self::SubscriptionDeleted { id } => put_u64(out, *id),
            Self::Acknowledged {
                id,
                acknowledgements,
            } => {
                put_u64(out, *id);
                acknowledgements.encode(out);
            }
            Self::CursorSet { id, position } => {
                put_u64(out, *id);
                put_position(out, *position);
            }
            Self::Snapshot(part) => {
                assert!(
                    part.state.len() <= SNAPSHOT_PART_BYTES_MAX,
                    "a snapshot part too large"
                );
                out.extend_from_slice(&part.part.to_le_bytes());
                out.extend_from_slice(&part.parts.to_le_bytes());
                put_u64(out, part.entries_applied.0);
                put_u64(out, part.entries_term.0);
                out.extend_from_slice(&part.state);
            }
            Self::AccessEpoch { epoch, exclusive } => {
                put_u64(out, *epoch);
                out.push(u8::from(*exclusive));
            }
            Self::KindSet { id, kind } => {
                put_u64(out, *id);
                out.push(kind.code());
            }
        }
    }

    /// The record as bytes.
    ///
    /// # Panics
    /// As [`Self::encode`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads the record that `bytes` holds, to the last byte.
    ///
    /// # Errors
    /// When the bytes are no record that this program knows. Whatever they are, it does not panic,
    /// and takes no more memory than a small multiple of their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != RECORD_VERSION {
            return Err(RecordError::Version(version));
        }
        let record = match reader.u8()? {
            1 => {
                let id = ProducerId(reader.u64()?);
                let epoch = reader.u64()?;
                let forgotten = Some(ProducerId(reader.u64()?)).filter(|id| id.0 != 0);
                Self::ProducerOpened {
                    id,
                    name: reader.text()?.parse()?,
                    epoch,
                    forgotten,
                }
            }
            2 => {
                let id = reader.u64()?;
                let kind = kind(&mut reader)?;
                let position = position(&mut reader)?;
                Self::SubscriptionCreated {
                    id,
                    name: reader.text()?.parse()?,
                    kind,
                    position,
                }
            }
            3 => Self::SubscriptionDeleted { id: reader.u64()? },
            4 => Self::Acknowledged {
                id: reader.u64()?,
                acknowledgements: Acknowledgements::decode(&mut reader)?,
            },
            5 => Self::CursorSet {
                id: reader.u64()?,
                position: position(&mut reader)?,
            },
            6 => Self::Snapshot(snapshot_part(&mut reader)?),
            7 => Self::AccessEpoch {
                epoch: reader.u64()?,
                exclusive: exclusive(&mut reader)?,
            },
            8 => Self::KindSet {
                id: reader.u64()?,
                kind: kind(&mut reader)?,
            },
            code => return Err(RecordError::Kind(code)),
        };
        reader.finish()?;
        Ok(record)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::ProducerOpened { .. } => 1,
            Self::SubscriptionCreated { .. } => 2,
            Self::SubscriptionDeleted { .. } => 3,
            Self::Acknowledged { .. } => 4,
            Self::CursorSet { .. } => 5,
            Self::Snapshot(_) => 6,
            Self::AccessEpoch { .. } => 7,
            Self::KindSet { .. } => 8,
        }
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<SubscriptionKind, RecordError> {
    let kind = SubscriptionKind::from_code(reader.u8()?);
    kind.ok_or(RecordError::Field("a subscription's type"))
}

/// Whether an epoch is of one producer alone.
pub(crate) fn exclusive(reader: &mut Reader<'_>) -> Result<bool, RecordError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(RecordError::Field("whether an access epoch is exclusive")),
    }
}

fn snapshot_part(reader: &mut Reader<'_>) -> Result<SnapshotPart, RecordError> {
    let (part, parts) = (reader.u32()?, reader.u32()?);
    if part >= parts || parts > SNAPSHOT_PARTS_MAX {
        return Err(RecordError::Field("a snapshot's part"));
    }
    let entries_applied = Offset(reader.u64()?);
    let entries_term = Term(reader.u64()?);
    let state = reader.tail();
    if state.len() > SNAPSHOT_PART_BYTES_MAX {
        return Err(RecordError::Field("a snapshot part's length"));
    }
    Ok(SnapshotPart {
        part,
        parts,
        entries_applied,
        entries_term,
        state: state.to_vec(),
    })
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end within the record.
    #[error("the record ends too early")]
    Truncated,
    /// Bytes are left after the record.
    #[error("{bytes} bytes are left after the record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A version that this program does not know.
    #[error("record version {0} is not known")]
    Version(u8),
    /// A kind that this program does not know.
    #[error("record kind {0} is not known")]
    Kind(u8),
    /// A field is out of its range.
    #[error("{0} is out of range in a record")]
    Field(&'static str),
    /// A name is not legal.
    #[error("a record holds an illegal name")]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;

    fn check(record: &SiblingRecord, golden: &[u8]) {
        assert_eq!(record.to_bytes(), golden, "{record:?}");
        assert_eq!(SiblingRecord::decode(golden).as_ref(), Ok(record));
    }

    #[test]
    fn the_layout_of_a_producer_opened_does_not_change() {
        let opened = |forgotten| SiblingRecord::ProducerOpened {
            id: ProducerId(7),
            name: "orders".parse().unwrap(),
            epoch: 0x0102,
            forgotten,
        };
        #[rustfmt::skip]
        let mut golden = [
            1, 1, // version, kind
            7, 0, 0, 0, 0, 0, 0, 0, // id
            2, 1, 0, 0, 0, 0, 0, 0, // epoch
            0, 0, 0, 0, 0, 0, 0, 0, // forgotten
            6, 0, b'o', b'r', b'd', b'e', b'r', b's', // name
        ];
        check(&opened(None), &golden);
        golden[18] = 3;
        check(&opened(Some(ProducerId(3))), &golden);
    }

    #[test]
    fn the_layout_of_a_subscription_s_records_does_not_change() {
        let created = SiblingRecord::SubscriptionCreated {
            id: 4,
            name: "x".parse().unwrap(),
            kind: SubscriptionKind::KeyShared,
            position: Position {
                offset: Offset(9),
                index: 2,
            },
        };
        #[rustfmt::skip]
        let golden = [
            1, 2, // version, kind
            4, 0, 0, 0, 0, 0, 0, 0, // id
            3, // type
            9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, // position
            1, 0, b'x', // name
        ];
        check(&created, &golden);
        let deleted = SiblingRecord::SubscriptionDeleted { id: 5 };
        check(&deleted, &[1, 3, 5, 0, 0, 0, 0, 0, 0, 0]);
        let position = Position {
            offset: Offset(0x1234),
            index: 1,
        };
        #[rustfmt::skip]
        let golden = [
            1, 5, // version, kind
            6, 0, 0, 0, 0, 0, 0, 0, // id
            0x34, 0x12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // position
        ];
        check(&SiblingRecord::CursorSet { id: 6, position }, &golden);
    }

    #[test]
    fn the_layout_of_acknowledgements_does_not_change() {
        let mut cursor = Cursor::new(Position {
            offset: Offset(10),
            index: 1,
        });
        cursor.acknowledge_entries(Offset(12), Offset(400));
        cursor.acknowledge_entries(Offset(402), Offset(403));
        cursor.acknowledge_range(Offset(10), 3, 4, 9);
        cursor.acknowledge_range(Offset(401), 0, 0, 5);
        cursor.acknowledge_range(Offset(401), 3, 4, 5);
        let acknowledgements = cursor.take_changes().unwrap();
        let record = SiblingRecord::Acknowledged {
            id: 8,
            acknowledgements,
        };
        #[rustfmt::skip]
        let golden = [
            1, 4, // version, kind
            8, 0, 0, 0, 0, 0, 0, 0, // subscription
            10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // mark
            2, 2, 0x84, 0x03, 2, 1, // two ranges of entries: 12 to 399, and 402
            2, // two partly acknowledged entries:
            0, 1, 3, 2, // 10 has one range, 3 to 4;
            0x86, 0x03, 2, // 401, 390 entries after 11, has two,
            0, 1, // message 0,
            2, 0xfd, 0xff, 0xff, 0xff, 0x0f, // and 3 to the end
        ];
        check(&record, &golden);
    }

    #[test]
    fn the_layout_of_a_snapshot_part_does_not_change() {
        let part = SnapshotPart {
            part: 1,
            parts: 3,
            entries_applied: Offset(20),
            entries_term: Term(6),
            state: Vec::from(*b"abc"),
        };
        #[rustfmt::skip]
        let golden = [
            1, 6, // version, kind
            1, 0, 0, 0, 3, 0, 0, 0, // part, parts
            20, 0, 0, 0, 0, 0, 0, 0, // entries_applied
            6, 0, 0, 0, 0, 0, 0, 0, // entries_term
            b'a', b'b', b'c', // state
        ];
        check(&SiblingRecord::Snapshot(part), &golden);
    }

    #[test]
    fn the_layout_of_an_access_epoch_does_not_change() {
        let record = |exclusive| SiblingRecord::AccessEpoch {
            epoch: 0x0104,
            exclusive,
        };
        check(&record(true), &[1, 7, 4, 1, 0, 0, 0, 0, 0, 0, 1]);
        check(&record(false), &[1, 7, 4, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_layout_of_a_type_set_does_not_change() {
        let (id, kind) = (5, SubscriptionKind::Shared);
        let record = SiblingRecord::KindSet { id, kind };
        check(&record, &[1, 8, 5, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(SiblingRecord::decode(&[]), Err(RecordError::Truncated));
        assert_eq!(SiblingRecord::decode(&[2, 1]), Err(RecordError::Version(2)));
        assert_eq!(SiblingRecord::decode(&[1, 9]), Err(RecordError::Kind(9)));
        let epoch = [1, 7, 4, 0, 0, 0, 0, 0, 0, 0, 2];
        let field = RecordError::Field("whether an access epoch is exclusive");
        assert_eq!(SiblingRecord::decode(&epoch), Err(field));
        let mut created = Vec::from([1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 4]);
        let kind = RecordError::Field("a subscription's type");
        assert_eq!(SiblingRecord::decode(&created), Err(kind));
        created[10] = 0;
        created.extend_from_slice(&[0; 12]);
        created.extend_from_slice(&[1, 0, b'\n']);
        let name = RecordError::Name(NameError::Character('\n'));
        assert_eq!(SiblingRecord::decode(&created), Err(name));
        let mut part = [0; SNAPSHOT_HEADER_BYTES];
        part[..2].copy_from_slice(&[1, 6]);
        let error = RecordError::Field("a snapshot's part");
        assert_eq!(SiblingRecord::decode(&part), Err(error), "part 0 of 0");
    }
}
