//! A snapshot: the whole state of a partition as bytes, so that the logs before it are not needed.
//!
//! The bytes are those of all parts ([`crate::SnapshotPart`]) one after the other. Integers of
//! fixed length are little-endian; a varint has seven bits per byte, the lowest first, and the top
//! bit says that more follow; a `text` is its length in two bytes and UTF-8.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 1 | `version` | 1, or 2 when the last two fields are there |
//! | 8 | `next_producer` | the id of the next new producer |
//! | 8 | `next_subscription` | the id of the next new subscription |
//! | varint | `producers` | number of producers that follow, by rising id |
//! | 8, 8 | `id`, `epoch` | |
//! | text | `name` | |
//! | 1 | `sent` | 0: it has never sent, and the next three are absent; 1: they are there |
//! | 8, 8, 8 | `sequence`, `term`, `offset` | the last message that it stored |
//! | varint | `runs` | number of runs of its newest entries, rising |
//! | 8, 8, 8 | `sequence`, `offset`, `term` | of the run's first message, first entry, all entries |
//! | 4, 4 | `messages`, `entries` | messages of each entry; number of entries |
//! | varint | `subscriptions` | number of subscriptions that follow, by rising id |
//! | 8 | `id` | |
//! | 1 | `type` | as in the record of its creation |
//! | text | `name` | |
//! | | `cursor` | see [`crate::acknowledgements`] |
//! | 8 | `access_epoch` | the newest, unless it is the first |
//! | 1 | `exclusive` | whether it is of one producer alone |

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::limits::{PARTITION_PRODUCERS_MAX, PARTITION_SUBSCRIPTIONS_MAX};
use hulse_model::{Offset, ProducerId, Term};

use crate::access::AccessEpoch;
use crate::acknowledgements::Acknowledgements;
use crate::bytes::{Reader, put_count, put_text};
use crate::cursor::Cursor;
use crate::producers::{LastStored, Producer, ProducerTable, RecentIds, Run};
use crate::record::{
    RecordError, SNAPSHOT_PART_BYTES_MAX, SNAPSHOT_PARTS_MAX, SiblingRecord, SnapshotPart,
    SubscriptionKind, exclusive,
};
use crate::state::{PartitionState, Subscription};

/// The version of a snapshot in which the access epoch is the first.
pub const SNAPSHOT_VERSION: u8 = 1;

/// The version of one that states the access epoch.
pub const SNAPSHOT_VERSION_ACCESS: u8 = 2;

/// Entries after which a snapshot is due.
const ENTRIES_TARGET: u64 = 50_000;
/// Records of the sibling log after which a snapshot is due.
const RECORDS_TARGET: u64 = 10_000;
/// Bytes of both logs after which a snapshot is due.
const LOG_BYTES_TARGET: u64 = 64 * 1024 * 1024;
/// The logs grow by so many times the snapshot's length before the next: what snapshots add to
/// the bytes written is at most one part in so many.
const SNAPSHOT_SHARE: u64 = 8;

/// What has been appended to a partition's logs since its last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinceSnapshot {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub entry_bytes: u64,
    /// Records of the sibling log.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// How long the last snapshot was, in bytes; 0 if there is none.
    pub snapshot_bytes: u64,
}

/// Whether it is time for a snapshot: when reading back what came since the last one would take
/// long (some hundred milliseconds), but not before the logs have grown by several times its
/// length, so that a large state is not written over and over.
#[must_use]
pub const fn snapshot_due(since: &SinceSnapshot) -> bool {
    let log_bytes = since.entry_bytes.saturating_add(since.record_bytes);
    let long = since.entries >= ENTRIES_TARGET
        || since.records >= RECORDS_TARGET
        || log_bytes >= LOG_BYTES_TARGET;
    long && log_bytes / SNAPSHOT_SHARE >= since.snapshot_bytes
}

/// Splits the state's bytes into records of at most `part_bytes_max` bytes of state each.
pub(crate) fn split(
    bytes: &[u8],
    entries_applied: Offset,
    entries_term: Term,
    part_bytes_max: usize,
) -> Vec<SiblingRecord> {
    let least = bytes.len().div_ceil(SNAPSHOT_PARTS_MAX as usize);
    let part_bytes = part_bytes_max.max(least).clamp(1, SNAPSHOT_PART_BYTES_MAX);
    let chunks = bytes.chunks(part_bytes);
    let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    assert!(
        parts <= SNAPSHOT_PARTS_MAX,
        "the state of a partition fits into a snapshot"
    );
    let parts_of = (0..parts).zip(chunks);
    parts_of
        .map(|(part, state)| {
            let state = state.to_vec();
            SiblingRecord::Snapshot(SnapshotPart {
                part,
                parts,
                entries_applied,
                entries_term,
                state,
            })
        })
        .collect()
}

pub(crate) fn encode(state: &PartitionState) -> Vec<u8> {
    let mut out = Vec::new();
    let accessed = state.access != AccessEpoch::default();
    out.push(if accessed {
        SNAPSHOT_VERSION_ACCESS
    } else {
        SNAPSHOT_VERSION
    });
    put_u64(&mut out, state.producers.next);
    put_u64(&mut out, state.next_subscription);
    put_count(&mut out, state.producers.len());
    for (id, producer) in state.producers.iter() {
        put_u64(&mut out, id.0);
        encode_producer(&mut out, producer);
    }
    put_count(&mut out, state.subscriptions.len());
    for subscription in state.subscriptions.values() {
        put_u64(&mut out, subscription.id());
        out.push(subscription.kind().code());
        put_text(&mut out, subscription.name().as_str());
        subscription.cursor().acknowledgements().encode(&mut out);
    }
    if accessed {
        put_u64(&mut out, state.access.epoch);
        out.push(u8::from(state.access.exclusive));
    }
    out
}

pub(crate) fn decode(
    bytes: &[u8],
    entries_applied: Offset,
    entries_term: Term,
) -> Result<PartitionState, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != SNAPSHOT_VERSION && version != SNAPSHOT_VERSION_ACCESS {
        return Err(RecordError::Version(version));
    }
    let next_producer = reader.u64()?;
    let next_subscription = reader.u64()?;
    let producers = decode_producers(&mut reader, next_producer)?;
    let mut state = PartitionState {
        entries_applied,
        entries_term,
        producers,
        next_subscription,
        ..PartitionState::default()
    };
    decode_subscriptions(&mut reader, &mut state)?;
    if version == SNAPSHOT_VERSION_ACCESS {
        state.access = AccessEpoch {
            epoch: reader.u64()?,
            exclusive: exclusive(&mut reader)?,
        };
    }
    reader.finish()?;
    Ok(state)
}

fn encode_producer(out: &mut Vec<u8>, producer: &Producer) {
    put_u64(out, producer.epoch);
    put_text(out, producer.name.as_str());
    out.push(u8::from(producer.last.is_some()));
    if let Some(last) = producer.last {
        put_u64(out, last.sequence);
        put_u64(out, last.term.0);
        put_u64(out, last.offset.0);
    }
    put_count(out, producer.recent.runs().len());
    for run in producer.recent.runs() {
        put_u64(out, run.sequence);
        put_u64(out, run.offset);
        put_u64(out, run.term.0);
        out.extend_from_slice(&run.messages.to_le_bytes());
        out.extend_from_slice(&run.entries.to_le_bytes());
    }
}

fn decode_producers(reader: &mut Reader<'_>, next: u64) -> Result<ProducerTable, RecordError> {
    let mut table = ProducerTable {
        next,
        ..ProducerTable::default()
    };
    let count = reader.count(8 + 8 + 2 + 1 + 1)?;
    if count > PARTITION_PRODUCERS_MAX {
        return Err(RecordError::Field("the number of producers"));
    }
    for _ in 0..count {
        let id = ProducerId(reader.u64()?);
        let producer = decode_producer(reader)?;
        let rising = table
            .producers
            .last_key_value()
            .is_none_or(|(before, _)| *before < id);
        let name = producer.name.clone();
        if id.0 == 0 || id.0 >= next || !rising || table.ids.insert(name, id).is_some() {
            return Err(RecordError::Field("a producer's id or name"));
        }
        table.producers.insert(id, producer);
    }
    Ok(table)
}

fn decode_producer(reader: &mut Reader<'_>) -> Result<Producer, RecordError> {
    let epoch = reader.u64()?;
    let mut producer = Producer::new(reader.text()?.parse()?, epoch);
    producer.last = match reader.u8()? {
        0 => None,
        1 => Some(LastStored {
            sequence: reader.u64()?,
            term: Term(reader.u64()?),
            offset: Offset(reader.u64()?),
        }),
        _ => return Err(RecordError::Field("whether a producer has sent")),
    };
    let mut recent = RecentIds::default();
    for _ in 0..reader.count(8 + 8 + 8 + 4 + 4)? {
        let run = Run {
            sequence: reader.u64()?,
            offset: reader.u64()?,
            term: Term(reader.u64()?),
            messages: reader.u32()?,
            entries: reader.u32()?,
        };
        if !recent.restore(run) {
            return Err(RecordError::Field("a run of a producer's ids"));
        }
    }
    producer.recent = recent;
    Ok(producer)
}

fn decode_subscriptions(
    reader: &mut Reader<'_>,
    state: &mut PartitionState,
) -> Result<(), RecordError> {
    let count = reader.count(8 + 1 + 2 + 14)?;
    if count > PARTITION_SUBSCRIPTIONS_MAX {
        return Err(RecordError::Field("the number of subscriptions"));
    }
    let mut subscriptions = BTreeMap::new();
    for _ in 0..count {
        let id = reader.u64()?;
        let kind = SubscriptionKind::from_code(reader.u8()?)
            .ok_or(RecordError::Field("a subscription's type"))?;
        let name: hulse_model::SubscriptionName = reader.text()?.parse()?;
        let cursor = Cursor::from(&Acknowledgements::decode(reader)?);
        let rising = subscriptions
            .last_key_value()
            .is_none_or(|(before, _)| *before < id);
        let known = state.subscription_ids.insert(name.clone(), id).is_some();
        if id >= state.next_subscription || !rising || known {
            return Err(RecordError::Field("a subscription's id or name"));
        }
        subscriptions.insert(id, Subscription::new(id, name, kind, cursor));
    }
    state.subscriptions = subscriptions;
    Ok(())
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::{EntryHeader, PayloadFormat, Position};

    fn state() -> PartitionState {
        let mut state = PartitionState::default();
        let name = "p".parse().unwrap();
        let plan = state.producers().plan_open(&name, Some(9)).unwrap();
        state.apply_record(&plan.record.unwrap());
        let header = EntryHeader {
            crc: 0,
            format: PayloadFormat::Messages,
            term: Term(2),
            offset: Offset(5),
            appended_ms: 0,
            producer: plan.id,
            sequence: 100,
            messages: 3,
            payload_bytes: 0,
        };
        assert!(state.apply_entry(&header));
        let name = "s".parse().unwrap();
        let kind = SubscriptionKind::Failover;
        let record = state
            .plan_create(&name, kind, Position::at(Offset(4)))
            .unwrap();
        state.apply_record(&record);
        let cursor = state.subscription_mut(1).unwrap().cursor_mut();
        cursor.acknowledge_range(Offset(5), 1, 1, 3);
        state
    }

    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        1, // version
        2, 0, 0, 0, 0, 0, 0, 0, // next_producer
        2, 0, 0, 0, 0, 0, 0, 0, // next_subscription
        1, // producers
        1, 0, 0, 0, 0, 0, 0, 0, // id
        9, 0, 0, 0, 0, 0, 0, 0, // epoch
        1, 0, b'p', // name
        1, // sent
        102, 0, 0, 0, 0, 0, 0, 0, // sequence
        2, 0, 0, 0, 0, 0, 0, 0, // term
        5, 0, 0, 0, 0, 0, 0, 0, // offset
        1, // runs
        100, 0, 0, 0, 0, 0, 0, 0, // sequence
        5, 0, 0, 0, 0, 0, 0, 0, // offset
        2, 0, 0, 0, 0, 0, 0, 0, // term
        3, 0, 0, 0, // messages
        1, 0, 0, 0, // entries
        1, // subscriptions
        1, 0, 0, 0, 0, 0, 0, 0, // id
        1, // type
        1, 0, b's', // name
        4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // mark
        0, // whole entries
        1, 1, 1, 1, 1, // one partly acknowledged entry: gap, ranges, gap, length
    ];

    #[test]
    fn the_layout_does_not_change() {
        let state = state();
        assert_eq!(encode(&state), GOLDEN);
        assert_eq!(decode(GOLDEN, Offset(6), Term(2)), Ok(state));
    }

    #[test]
    fn an_access_epoch_stands_at_the_end() {
        let mut state = state();
        state.apply_record(&SiblingRecord::AccessEpoch {
            epoch: 3,
            exclusive: true,
        });
        let mut golden = Vec::from(GOLDEN);
        golden[0] = 2;
        golden.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(encode(&state), golden);
        assert_eq!(decode(&golden, Offset(6), Term(2)), Ok(state));
    }

    #[test]
    fn any_other_length_is_refused() {
        let mut bytes = encode(&state());
        for length in 0..bytes.len() {
            assert!(
                decode(&bytes[..length], Offset(6), Term(2)).is_err(),
                "{length} bytes"
            );
        }
        bytes.push(0);
        let error = decode(&bytes, Offset(6), Term(2));
        assert_eq!(error, Err(RecordError::Trailing { bytes: 1 }));
    }

    #[test]
    fn parts_are_as_small_as_asked_and_never_too_many() {
        let bytes = alloc::vec![7; 10 * SNAPSHOT_PARTS_MAX as usize + 1];
        for (asked, expected) in [(1, 11), (0, 11), (100, 100), (usize::MAX, bytes.len())] {
            let records = split(&bytes, Offset(1), Term(1), asked);
            let mut whole = Vec::new();
            for (at, record) in records.iter().enumerate() {
                let SiblingRecord::Snapshot(part) = record else {
                    panic!("{record:?}")
                };
                assert_eq!(
                    (part.part as usize, part.parts as usize),
                    (at, records.len())
                );
                assert!(part.state.len() <= expected, "asked for {asked}");
                whole.extend_from_slice(&part.state);
            }
            assert_eq!(whole, bytes);
            assert_eq!(records.len(), bytes.len().div_ceil(expected));
        }
    }

    #[test]
    fn a_snapshot_is_due_when_reading_back_is_long_and_writing_it_is_cheap_beside_it() {
        let none = SinceSnapshot::default();
        assert!(!snapshot_due(&none), "nothing happened");
        let entries = ENTRIES_TARGET;
        let many = SinceSnapshot {
            entries,
            entry_bytes: 100 * entries,
            ..none
        };
        assert!(snapshot_due(&many));
        assert!(!snapshot_due(&SinceSnapshot {
            entries: entries - 1,
            ..many
        }));
        let records = SinceSnapshot {
            records: RECORDS_TARGET,
            record_bytes: 800_000,
            ..none
        };
        assert!(snapshot_due(&records));
        let large = SinceSnapshot {
            entries: 3,
            entry_bytes: LOG_BYTES_TARGET,
            ..none
        };
        assert!(snapshot_due(&large));
        // A state as large as what was appended is not written again yet.
        assert!(snapshot_due(&SinceSnapshot {
            snapshot_bytes: 100_000,
            ..records
        }));
        assert!(!snapshot_due(&SinceSnapshot {
            snapshot_bytes: 100_001,
            ..records
        }));
    }
}
