//! Who has published to a partition, and up to which sequence number: deduplication.
//!
//! A producer is known by its name. The messages that it sends to one partition carry rising
//! sequence numbers, so a publish that is sent again is recognised and answered with its original
//! id. The table is a fold over the partition's two logs: the
//! names and epochs come from the sibling log, the sequences from the headers of the entries.
//!
//! An entry counts from the moment at which it is appended, durable or not, so that pipelined
//! batches pass. The answer to a duplicate waits until the original is durable.

use alloc::collections::BTreeMap;

use hulse_model::limits::PARTITION_PRODUCERS_MAX;
use hulse_model::{EntryHeader, Offset, ProducerId, ProducerName, Term};

mod recent;

use crate::record::SiblingRecord;
pub(crate) use recent::{RecentIds, Run};

/// The last message that a producer has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastStored {
    /// Its sequence number.
    pub sequence: u64,
    /// The term of its entry.
    pub term: Term,
    /// Its entry.
    pub offset: Offset,
}

/// The entry in which a batch was stored when it came for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Its term.
    pub term: Term,
    /// Its offset.
    pub offset: Offset,
    /// How many messages it has.
    pub messages: u32,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is new: append it.
    Fresh,
    /// Every message of it is stored: answer, once the original is durable.
    Duplicate {
        /// The entry that is the same batch. None when it is so old that its id is forgotten, or
        /// when the messages were stored in batches that were cut differently. Then the whole
        /// log is known to hold it, and the answer waits for the end that the log has now.
        original: Option<Original>,
    },
    /// A message may be missing before it, and the producer has not said that it skipped any.
    Gap {
        /// The sequence number that was to come.
        expected: u64,
    },
    /// Some of its messages are stored and others are not.
    Overlap {
        /// The last sequence number that is stored.
        last: u64,
    },
    /// Another opening of the same name has taken over, or the producer was never opened.
    Fenced,
    /// It has no messages, or its sequence numbers run past the last number there is.
    Invalid,
}

/// What [`ProducerTable::plan_open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProducer {
    /// The producer's id in this partition.
    pub id: ProducerId,
    /// The epoch of this opening, which every publish of it is checked against.
    pub epoch: u64,
    /// The last message that it has stored; none if it has never stored one.
    pub last: Option<LastStored>,
    /// To be appended to the sibling log and applied before anything else, and to be durable
    /// before the opening is answered. None when the log says it already.
    pub record: Option<SiblingRecord>,
}

/// Why a producer cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenProducerError {
    /// A later opening has taken over.
    #[error("epoch {asked} of this producer is over: it has been opened with epoch {epoch}")]
    Fenced {
        /// The epoch that was asked for.
        asked: u64,
        /// The epoch of the newest opening.
        epoch: u64,
    },
    /// The name is open with the same epoch.
    #[error("this producer is open already, with the same epoch {epoch}")]
    Busy {
        /// That epoch.
        epoch: u64,
    },
    /// There are as many producers as can be remembered, and every one of them is open.
    #[error("all of {PARTITION_PRODUCERS_MAX} producers of the partition are open")]
    TooMany,
}

/// One producer of a partition.
#[derive(Debug, Clone)]
pub struct Producer {
    pub(crate) name: ProducerName,
    pub(crate) epoch: u64,
    pub(crate) last: Option<LastStored>,
    pub(crate) recent: RecentIds,
    /// Whether a session of this process has it open. No part of the fold.
    open: bool,
}

impl Producer {
    pub(crate) fn new(name: ProducerName, epoch: u64) -> Self {
        Self {
            name,
            epoch,
            last: None,
            recent: RecentIds::default(),
            open: false,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ProducerName {
        &self.name
    }

    /// The epoch of its newest opening.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last message that it has stored.
    #[must_use]
    pub const fn last(&self) -> Option<LastStored> {
        self.last
    }

    /// Whether it is open now.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }
}

/// Two producers are equal when the logs say the same of them.
impl PartialEq for Producer {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.epoch, self.last, &self.recent)
            == (&other.name, other.epoch, other.last, &other.recent)
    }
}

impl Eq for Producer {}

/// The producers of one partition, at most [`PARTITION_PRODUCERS_MAX`].
///
/// Memory: some 200 bytes for a producer that has sent little; for each, the newest
/// [`hulse_model::limits::PRODUCER_RECENT_IDS`] ids in runs of 32 bytes, one run for as many
/// entries as follow each other in the log with the same number of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerTable {
    pub(crate) producers: BTreeMap<ProducerId, Producer>,
    pub(crate) ids: BTreeMap<ProducerName, ProducerId>,
    /// The id that the next new name gets: ids are never used twice.
    pub(crate) next: u64,
}

impl Default for ProducerTable {
    fn default() -> Self {
        Self {
            producers: BTreeMap::new(),
            ids: BTreeMap::new(),
            next: 1,
        }
    }
}

impl ProducerTable {
    /// Finds out what the opening of `name` means, without changing anything. The caller chooses
    /// a name for a producer that has none.
    ///
    /// A higher epoch than the last one takes over; the same epoch may open again what is not
    /// open. With no `epoch` the opening takes over in any case, with the epoch after the last.
    ///
    /// What the caller does then: append and apply the record, call [`Self::opened`], and answer
    /// when the sibling log is durable up to the end that it has now.
    ///
    /// # Errors
    /// When the epoch is over or in use, or there is no room for another name.
    pub fn plan_open(
        &self,
        name: &ProducerName,
        epoch: Option<u64>,
    ) -> Result<OpenProducer, OpenProducerError> {
        let known = self
            .ids
            .get(name)
            .and_then(|id| Some((*id, self.producers.get(id)?)));
        let Some((id, producer)) = known else {
            return self.plan_first(name, epoch.unwrap_or(0));
        };
        let current = producer.epoch;
        let epoch = epoch.unwrap_or(current.saturating_add(1));
        if epoch < current {
            return Err(OpenProducerError::Fenced {
                asked: epoch,
                epoch: current,
            });
        }
        if epoch == current && producer.open {
            return Err(OpenProducerError::Busy { epoch });
        }
        let record = (epoch > current).then(|| SiblingRecord::ProducerOpened {
            id,
            name: name.clone(),
            epoch,
            forgotten: None,
        });
        Ok(OpenProducer {
            id,
            epoch,
            last: producer.last,
            record,
        })
    }

    fn plan_first(
        &self,
        name: &ProducerName,
        epoch: u64,
    ) -> Result<OpenProducer, OpenProducerError> {
        let full = self.producers.len() >= PARTITION_PRODUCERS_MAX;
        let forgotten = if full {
            Some(self.longest_silent().ok_or(OpenProducerError::TooMany)?)
        } else {
            None
        };
        let id = ProducerId(self.next);
        let record = SiblingRecord::ProducerOpened {
            id,
            name: name.clone(),
            epoch,
            forgotten,
        };
        Ok(OpenProducer {
            id,
            epoch,
            last: None,
            record: Some(record),
        })
    }

    /// The producer to forget first: not open, never sent, or else sent longest ago. Its choice
    /// goes into the record, because the log does not say who is open.
    fn longest_silent(&self) -> Option<ProducerId> {
        let closed = self.producers.iter().filter(|(_, producer)| !producer.open);
        let (id, _) =
            closed.min_by_key(|(id, producer)| (producer.last.map(|last| last.offset), **id))?;
        Some(*id)
    }

    /// Notes that a session of this process has the opening: it is not forgotten while it lasts.
    pub fn opened(&mut self, id: ProducerId, epoch: u64) {
        if let Some(producer) = self.producers.get_mut(&id) {
            assert_eq!(
                producer.epoch, epoch,
                "the opening's record has been applied"
            );
            producer.open = true;
        }
    }

    /// Notes that the session of this opening has ended. An opening that another one has taken
    /// over changes nothing.
    pub fn closed(&mut self, id: ProducerId, epoch: u64) {
        if let Some(producer) = self.producers.get_mut(&id)
            && producer.epoch == epoch
        {
            producer.open = false;
        }
    }

    /// Judges a batch of `messages` messages whose first one has the number `sequence`.
    /// `skipped`: the producer says itself that it left numbers out before this one. One that
    /// has never sent may begin with any number.
    #[must_use]
    pub fn check(
        &self,
        id: ProducerId,
        epoch: u64,
        sequence: u64,
        messages: u32,
        skipped: bool,
    ) -> Check {
        let Some(producer) = self
            .producers
            .get(&id)
            .filter(|producer| producer.epoch == epoch)
        else {
            return Check::Fenced;
        };
        let end = match sequence.checked_add(u64::from(messages)) {
            Some(end) if messages > 0 => end,
            _ => return Check::Invalid,
        };
        let Some(last) = producer.last.map(|last| last.sequence) else {
            return Check::Fresh;
        };
        if sequence > last {
            // No overflow: a number above `last` exists.
            let expected = last + 1;
            return if sequence == expected || skipped {
                Check::Fresh
            } else {
                Check::Gap { expected }
            };
        }
        if end - 1 > last {
            return Check::Overlap { last };
        }
        producer.recent.look_up(sequence, end, messages, last)
    }

    /// Counts an entry that was appended, or is read back. Returns false, and leaves the entry
    /// out, when its producer has stored its last sequence number already: the appender must
    /// never let that happen.
    ///
    /// Entries without a producer, or of one that has been forgotten since, change nothing.
    pub fn apply(&mut self, header: &EntryHeader) -> bool {
        let Some(producer) = self.producers.get_mut(&header.producer) else {
            // Its id is taken even if the record that gave it was damaged: another producer with
            // the same id would inherit its sequences.
            self.next = self.next.max(header.producer.0.saturating_add(1));
            return true;
        };
        let sequence = header.last_sequence();
        if producer
            .last
            .is_some_and(|last| header.sequence <= last.sequence)
        {
            return false;
        }
        producer.last = Some(LastStored {
            sequence,
            term: header.term,
            offset: header.offset,
        });
        producer.recent.push(header);
        true
    }

    /// Applies a record of an opening.
    pub(crate) fn apply_opened(
        &mut self,
        id: ProducerId,
        name: &ProducerName,
        epoch: u64,
        forgotten: Option<ProducerId>,
    ) {
        if let Some(forgotten) = forgotten.and_then(|id| self.producers.remove(&id)) {
            self.ids.remove(&forgotten.name);
        }
        self.next = self.next.max(id.0.saturating_add(1));
        if let Some(producer) = self.producers.get_mut(&id) {
            if epoch > producer.epoch {
                producer.epoch = epoch;
                producer.open = false;
            }
        } else {
            if let Some(before) = self.ids.insert(name.clone(), id) {
                self.producers.remove(&before);
            }
            self.producers
                .insert(id, Producer::new(name.clone(), epoch));
        }
    }

    /// The producer with this id.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.producers.get(&id)
    }

    /// The id of the producer with this name.
    #[must_use]
    pub fn id_of(&self, name: &ProducerName) -> Option<ProducerId> {
        self.ids.get(name).copied()
    }

    /// Every producer that is remembered, by rising id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}
