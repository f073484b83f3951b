//! Opening a partition: its logs recover themselves, and the state is folded from them.

use std::collections::BTreeMap;
use std::io;

use hulse_log::{
    CreateError, Disk, Log, LogKind, LogRecovery, PartitionStore, ReadError, RecoveryReport,
};
use hulse_model::entry::ENTRY_HEADER_BYTES;
use hulse_model::limits::MEMORY_LOG_UNSYNCED_BYTES_MAX;
use hulse_model::{Offset, PartitionId, Position, Term, TopicName};
use hulse_subscription::{
    AccessTable, Acknowledgements, Cursor, PartitionState, RecordError, Recovery, RecoveryError,
    SiblingRecord, Subscription,
};

use crate::command::Clock;
use crate::consume::Consumers;
use crate::counts::Counts;
use crate::expiry::Expiry;
use crate::held::Held;
use crate::leaving::Leaving;
use crate::partition::{AckLevel, Partition, PartitionSpec};
use crate::quota::Quota;
use crate::readers::Readers;
use crate::receipts::Receipts;
use crate::seats::SeatChanges;
use crate::sibling::SiblingQueue;
use crate::snapshots::Snapshots;
use crate::stats::PartitionCounters;
use crate::upkeep::Upkeep;

/// What opening a partition found.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// What the logs report; absent for a partition that was made or was open already.
    pub logs: Option<RecoveryReport>,
    /// Entries whose headers were folded into the state.
    pub entries_folded: u64,
    /// Records that were folded into the state.
    pub records_folded: u64,
    /// Damaged ranges that the fold had to pass over, in words.
    pub passed_over: Vec<String>,
}

impl Recovered {
    /// What was found, in sentences; nothing after a clean stop.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        let logs = self
            .logs
            .iter()
            .flat_map(|report| [&report.entries, &report.sibling]);
        let passed = self
            .passed_over
            .iter()
            .map(|text| format!("passed over: {text}"));
        logs.flat_map(log_sentences).chain(passed)
    }
}

fn log_sentences(log: &LogRecovery) -> Vec<String> {
    let name = match log.log {
        LogKind::Entries => "log",
        LogKind::Sibling => "sibling log",
    };
    let mut sentences = Vec::new();
    for range in &log.damaged {
        sentences.push(format!(
            "the {name} is damaged: entries {} to {}, without the last, in {} at byte {}: {}",
            range.first, range.end, range.segment, range.position, range.reason
        ));
    }
    if let Some(torn) = &log.torn_tail {
        sentences.push(format!(
            "the {name} was not whole at its end, from entry {} in {} at byte {}: {}; nothing proves \
             that this had been durable, and it has been removed as a write that was cut off",
            torn.offset, torn.segment, torn.position, torn.reason
        ));
    }
    if let Some(offset) = log.truncation_finished {
        sentences.push(format!(
            "a truncation of the {name} to entry {offset} was finished"
        ));
    }
    sentences
}

/// Why a partition could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its files cannot be read, or are of another version.
    #[error("partition {partition} of {topic} cannot be opened: {source}")]
    Log {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// What is wrong.
        source: Box<hulse_log::OpenError>,
    },
    /// Its files cannot be made.
    #[error("partition {partition} of {topic} cannot be made: {source}")]
    Create {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// What is wrong.
        source: Box<CreateError>,
    },
    /// A record was written by a newer version.
    #[error("record {offset} of partition {partition} of {topic} cannot be read: {source}")]
    Record {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// Its offset in the sibling log.
        offset: Offset,
        /// What is wrong.
        source: RecordError,
    },
    /// The records do not give a state.
    #[error("the state of partition {partition} of {topic} cannot be made: {source}")]
    State {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// What is wrong.
        source: RecoveryError,
    },
    /// The catalogue gives a term that the logs have seen already. Entries of two reigns would have
    /// the same ids.
    #[error("partition {partition} of {topic} holds term {found}, and is to be served in {term}")]
    Term {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// The term that the catalogue gives.
        term: Term,
        /// The newest term in its logs.
        found: Term,
    },
    /// Cursors name entries that a loss of power has taken, and could not be set back durably.
    #[error("subscriptions of partition {partition} of {topic} cannot be set back: {reason}")]
    SetBack {
        /// The partition.
        partition: PartitionId,
        /// Its topic.
        topic: Box<TopicName>,
        /// Why.
        reason: String,
    },
}

impl<D: Disk> Partition<D> {
    /// Opens a partition: makes its files, or recovers them, and folds its state.
    pub(crate) fn open(
        disk: &D,
        spec: PartitionSpec,
        clock: Clock,
    ) -> Result<(Self, Recovered), OpenError> {
        let (partition, topic) = (spec.id, Box::new(spec.topic.clone()));
        let (store, logs) = match PartitionStore::open(disk, partition) {
            Ok((store, report)) => (store, Some(report)),
            Err(hulse_log::OpenError::NotFound { .. }) if spec.may_create => {
                let made = PartitionStore::create(disk, partition, &topic);
                (
                    made.map_err(|e| OpenError::Create {
                        partition,
                        topic,
                        source: Box::new(e),
                    })?,
                    None,
                )
            }
            Err(error) => {
                return Err(OpenError::Log {
                    partition,
                    topic,
                    source: Box::new(error),
                });
            }
        };
        let mut partition = Self {
            spec,
            store,
            state: PartitionState::default(),
            receipts: Receipts::default(),
            sibling: SiblingQueue::default(),
            consumers: Consumers::default(),
            upkeep: Upkeep::default(),
            quota: Quota::default(),
            expiry: Expiry::default(),
            counters: PartitionCounters::default(),
            held: Held::default(),
            no_room: None,
            unopened: None,
            dirty: false,
            waits: [false; 2],
            counts: Counts::default(),
            unsynced_counted: 0,
            readers: Readers::default(),
            access: AccessTable::default(),
            turns: BTreeMap::new(),
            openers: BTreeMap::new(),
            ended: Vec::new(),
            seat_changes: SeatChanges::default(),
            leaving: Leaving::No,
            homeless: false,
        };
        for kind in LogKind::ALL {
            let log = partition.store.log_mut(kind);
            match partition.spec.ack {
                AckLevel::Disk => log.keep_for_journal(),
                AckLevel::Memory => log.allow_unsynced(MEMORY_LOG_UNSYNCED_BYTES_MAX),
            }
        }
        partition.check_term()?;
        let mut recovered = Recovered {
            logs,
            ..Recovered::default()
        };
        partition.fold_records(&mut recovered)?;
        partition.fold_entries(&mut recovered)?;
        partition.set_cursors_back(clock)?;
        for kind in LogKind::ALL {
            // Thousands are opened one after the other, and most are then idle.
            partition.store.log_mut(kind).close_idle();
        }
        Ok((partition, recovered))
    }

    /// Folds the sibling log.
    fn fold_records(&mut self, recovered: &mut Recovered) -> Result<(), OpenError> {
        let (partition, topic) = (self.spec.id, Box::new(self.spec.topic.clone()));
        let (start, end) = (self.store.sibling.start(), self.store.sibling.end());
        let mut recovery = Recovery::new();
        let mut snapshots = Snapshots::default();
        let mut cursor = self.store.sibling.cursor(start);
        while cursor.offset() < end {
            let stored = match self.store.sibling.read(&mut cursor, end) {
                Ok(Some(stored)) => stored,
                Ok(None) => break,
                Err(ReadError::Io { path, source }) => return Err(self.unread(path, source)),
                Err(error) => {
                    recovery.records_missing();
                    snapshots.records_missing();
                    recovered.passed_over.push(format!("sibling log: {error}"));
                    cursor = self.store.sibling.cursor(behind(&error, cursor.offset()));
                    continue;
                }
            };
            let offset = stored.header.offset;
            let payload = &stored.bytes()[ENTRY_HEADER_BYTES..];
            let record = SiblingRecord::decode(payload).map_err(|source| OpenError::Record {
                partition,
                topic: topic.clone(),
                offset,
                source,
            })?;
            self.upkeep.record_appended(payload.len());
            let refused = recovery.refused_snapshots();
            let whole = snapshots.take(&record, offset, payload.len());
            let entries = &self.store.entries;
            recovery
                .apply(record, |term, last| holds(entries, term, last))
                .map_err(|source| OpenError::State {
                    partition,
                    topic: topic.clone(),
                    source,
                })?;
            if let Some(whole) = whole
                && recovery.refused_snapshots() == refused
            {
                self.upkeep.snapshot_stored(whole, offset.next());
            }
            recovered.records_folded += 1;
        }
        if recovery.lacks_records() {
            recovered.passed_over.push(
                "acknowledgements or names may be forgotten: messages may come again".to_owned(),
            );
        }
        self.state = recovery.finish(start).map_err(|source| OpenError::State {
            partition,
            topic,
            source,
        })?;
        Ok(())
    }

    /// Folds the headers of the entries that no snapshot has folded yet.
    fn fold_entries(&mut self, recovered: &mut Recovered) -> Result<(), OpenError> {
        let entries = &mut self.store.entries;
        let end = entries.end();
        let mut cursor = entries.cursor(self.state.entries_applied().max(entries.start()));
        while cursor.offset() < end {
            match entries.read(&mut cursor, end) {
                Ok(Some(stored)) => {
                    self.state.apply_entry(&stored.header);
                    self.upkeep.entry_appended(stored.header.entry_bytes());
                    recovered.entries_folded += 1;
                }
                Ok(None) => break,
                Err(ReadError::Io { path, source }) => return Err(self.unread(path, source)),
                Err(error) => {
                    recovered.passed_over.push(format!("entries: {error}"));
                    cursor = entries.cursor(behind(&error, cursor.offset()));
                }
            }
        }
        Ok(())
    }

    /// A disk that fails for once is no damage: nothing is passed over for its sake.
    fn unread(&self, path: String, source: io::Error) -> OpenError {
        OpenError::Log {
            partition: self.spec.id,
            topic: Box::new(self.spec.topic.clone()),
            source: Box::new(hulse_log::OpenError::Io { path, source }),
        }
    }

    /// A primary takes a new term at every start, so that (term, offset) names one entry for ever.
    fn check_term(&self) -> Result<(), OpenError> {
        let (term, store) = (self.spec.term, &self.store);
        let found = store.entries.last_term().max(store.sibling.last_term());
        if found < term {
            return Ok(());
        }
        Err(OpenError::Term {
            partition: self.spec.id,
            topic: Box::new(self.spec.topic.clone()),
            term,
            found,
        })
    }

    /// Sets back every cursor that names entries which the log does not hold: after a loss of
    /// power at `memory`, the sibling log may have kept more than the entries. The new entries at
    /// these offsets are other ones, which nobody has acknowledged. That is durable before any of
    /// them is appended: afterwards nothing would show that the cursor is too high.
    fn set_cursors_back(&mut self, clock: Clock) -> Result<(), OpenError> {
        let end = self.store.entries.end();
        let beyond = |s: &&Subscription| {
            let acknowledged = s.cursor().acknowledgements();
            let ranges = acknowledged.entries().last();
            let partial = acknowledged.partial().last();
            s.cursor().mark() > Position::at(end)
                || ranges.is_some_and(|range| range.end > end)
                || partial.is_some_and(|entry| entry.offset() >= end)
        };
        let back: Vec<_> = self
            .state
            .subscriptions()
            .filter(beyond)
            .map(|s| (s.id(), s.cursor().acknowledgements()))
            .collect();
        if back.is_empty() {
            return Ok(());
        }
        for (id, acknowledged) in back {
            let mark = acknowledged.mark().min(Position::at(end));
            let record = self.state.plan_seek(id, mark);
            self.store_record(clock, record, Offset::ZERO, Vec::new());
            // What is acknowledged of the entries that are there stays so.
            if let Some(subscription) = self.state.subscription_mut(id) {
                acknowledge_below(subscription.cursor_mut(), &acknowledged, end);
                self.sibling.cursor_moved(id, None);
            }
        }
        self.store_everything(clock)
            .map_err(|reason| OpenError::SetBack {
                partition: self.spec.id,
                topic: Box::new(self.spec.topic.clone()),
                reason,
            })
    }

    /// Stores all that is to be recorded, durably, here and now.
    fn store_everything(&mut self, clock: Clock) -> Result<(), String> {
        loop {
            self.record_cursors(clock);
            if self.sibling.is_idle() {
                break;
            }
            match self.store.sibling.segment_wanted() {
                Some(work) => {
                    let prepared = self.store.sibling.segment_prepared(work.run());
                    prepared.map_err(|error| error.to_string())?;
                }
                None => self.store.sibling.sync().map_err(|e| e.to_string())?,
            }
            self.store_unstored(clock);
            if let Some(refusal) = self.refused_record(clock.monotonic_ms) {
                return Err(refusal.message);
            }
        }
        self.store.sibling.sync().map_err(|e| e.to_string())
    }
}

/// Acknowledges again what lies below `end`.
fn acknowledge_below(cursor: &mut Cursor, acknowledged: &Acknowledgements, end: Offset) {
    for range in acknowledged.entries() {
        if range.first < end {
            cursor.acknowledge_entries(range.first, range.end.min(end));
        }
    }
    for entry in acknowledged.partial() {
        if entry.offset() < end {
            for range in entry.ranges() {
                cursor.acknowledge_range(entry.offset(), range.first, range.last, u32::MAX);
            }
        }
    }
}

/// Whether the log of entries holds this entry, or has held it and let it go. A damaged one was
/// durable, and stands for what it was: its snapshot may be all that is left of the state.
fn holds<D: Disk>(entries: &Log<D>, term: Term, offset: Offset) -> bool {
    if offset < entries.start() {
        return true;
    }
    if entries.damaged().iter().any(|range| range.contains(offset)) {
        return true;
    }
    let terms = entries.terms();
    let after = terms.partition_point(|(_, first)| *first <= offset);
    offset < entries.end() && after > 0 && terms[after - 1].0 == term
}

/// Where reading goes on behind what cannot be read.
fn behind(error: &ReadError, at: Offset) -> Offset {
    match error {
        ReadError::Damaged { end, .. } => (*end).max(at.next()),
        ReadError::BelowStart { start } => (*start).max(at.next()),
        _ => at.next(),
    }
}
