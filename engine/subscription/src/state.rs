//! The state of a partition: the fold over its two logs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::limits::PARTITION_SUBSCRIPTIONS_MAX;
use hulse_model::{EntryHeader, Offset, Position, SubscriptionName, Term};

use crate::access::AccessEpoch;
use crate::cursor::Cursor;
use crate::producers::ProducerTable;
use crate::record::{SiblingRecord, SubscriptionKind};
use crate::snapshot;

/// A subscription: a durable one, unless it was made by [`Subscription::passing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    id: u64,
    name: SubscriptionName,
    kind: SubscriptionKind,
    cursor: Cursor,
}

impl Subscription {
    pub(crate) const fn new(
        id: u64,
        name: SubscriptionName,
        kind: SubscriptionKind,
        cursor: Cursor,
    ) -> Self {
        Self {
            id,
            name,
            kind,
            cursor,
        }
    }

    /// One that is no part of a partition's state, and ends with its last consumer. The caller keeps
    /// its id apart from those of durable ones.
    #[must_use]
    pub fn passing(
        id: u64,
        name: SubscriptionName,
        kind: SubscriptionKind,
        position: Position,
    ) -> Self {
        Self::new(id, name, kind, Cursor::new(position))
    }

    /// Its id in this partition, never used twice.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &SubscriptionName {
        &self.name
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> SubscriptionKind {
        self.kind
    }

    /// What it has acknowledged.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The cursor, to acknowledge. A seek goes by a record: see [`PartitionState::plan_seek`].
    pub const fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursor
    }

    /// The record of what was acknowledged since the last call, to be appended to the sibling log
    /// and not applied again. So much at a time as fits into one record: to be called until it
    /// gives nothing.
    pub fn take_changes(&mut self) -> Option<SiblingRecord> {
        let acknowledgements = self.cursor.take_changes()?;
        Some(SiblingRecord::Acknowledged {
            id: self.id,
            acknowledgements,
        })
    }
}

/// Why a subscription cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateSubscriptionError {
    /// There is one of this name.
    #[error("a subscription of this name exists, with the id {id}")]
    Exists {
        /// Its id.
        id: u64,
    },
    /// There are as many as there may be.
    #[error("the partition has {PARTITION_SUBSCRIPTIONS_MAX} subscriptions, and no more may be")]
    TooMany,
}

/// Everything durable that a partition remembers beside its entries: its producers, its
/// subscriptions and their cursors.
///
/// Equal logs give equal states. What belongs to this process alone (who is open, what has not
/// been taken by [`Subscription::take_changes`]) is no part of the comparison.
///
/// A log that is truncated below what has been applied needs the state made
/// anew by a [`crate::Recovery`]: nothing here can be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    pub(crate) entries_applied: Offset,
    pub(crate) entries_term: Term,
    pub(crate) producers: ProducerTable,
    pub(crate) subscriptions: BTreeMap<u64, Subscription>,
    pub(crate) subscription_ids: BTreeMap<SubscriptionName, u64>,
    pub(crate) next_subscription: u64,
    pub(crate) access: AccessEpoch,
}

impl Default for PartitionState {
    /// The state of a partition whose logs are empty.
    fn default() -> Self {
        Self {
            entries_applied: Offset::ZERO,
            entries_term: Term::default(),
            producers: ProducerTable::default(),
            subscriptions: BTreeMap::new(),
            subscription_ids: BTreeMap::new(),
            next_subscription: 1,
            access: AccessEpoch::default(),
        }
    }
}

impl PartitionState {
    /// The offset after the last entry that was applied: where the fold over the entries goes on.
    #[must_use]
    pub const fn entries_applied(&self) -> Offset {
        self.entries_applied
    }

    /// Counts an entry that was appended, or is read back. One below [`Self::entries_applied`]
    /// has been counted and changes nothing; a gap is what retention or damage took away.
    ///
    /// Returns false when the entry repeats a sequence number of its producer, which an appender
    /// that asks [`ProducerTable::check`] never stores.
    pub fn apply_entry(&mut self, header: &EntryHeader) -> bool {
        if header.offset < self.entries_applied {
            return true;
        }
        self.entries_applied = header.offset.next();
        self.entries_term = header.term;
        self.producers.apply(header)
    }

    /// Applies a record of the sibling log: one that was just appended, or is read back. Records of
    /// subscriptions that are not known change nothing, and neither do the parts of a snapshot,
    /// since the state holds what they say; [`crate::Recovery`] reads those.
    pub fn apply_record(&mut self, record: &SiblingRecord) {
        match record {
            SiblingRecord::ProducerOpened {
                id,
                name,
                epoch,
                forgotten,
            } => {
                self.producers.apply_opened(*id, name, *epoch, *forgotten);
            }
            SiblingRecord::SubscriptionCreated {
                id,
                name,
                kind,
                position,
            } => {
                self.next_subscription = self.next_subscription.max(id.saturating_add(1));
                let known = self.subscriptions.contains_key(id);
                if !known && !self.subscription_ids.contains_key(name) {
                    let cursor = Cursor::new(*position);
                    let subscription = Subscription::new(*id, name.clone(), *kind, cursor);
                    self.subscription_ids.insert(name.clone(), *id);
                    self.subscriptions.insert(*id, subscription);
                }
            }
            SiblingRecord::SubscriptionDeleted { id } => {
                if let Some(subscription) = self.subscriptions.remove(id) {
                    self.subscription_ids.remove(&subscription.name);
                }
            }
            SiblingRecord::Acknowledged {
                id,
                acknowledgements,
            } => {
                if let Some(subscription) = self.subscriptions.get_mut(id) {
                    subscription.cursor.apply(acknowledgements);
                }
            }
            SiblingRecord::CursorSet { id, position } => {
                if let Some(subscription) = self.subscriptions.get_mut(id) {
                    subscription.cursor.set(*position);
                }
            }
            SiblingRecord::KindSet { id, kind } => {
                if let Some(subscription) = self.subscriptions.get_mut(id) {
                    subscription.kind = *kind;
                }
            }
            SiblingRecord::AccessEpoch { epoch, exclusive } => {
                let (epoch, exclusive) = (*epoch, *exclusive);
                if epoch > self.access.epoch {
                    self.access = AccessEpoch { epoch, exclusive };
                }
            }
            SiblingRecord::Snapshot(_) => {}
        }
    }

    /// The record that makes a subscription which begins at `position`. Nothing changes until it
    /// is applied.
    ///
    /// # Errors
    /// When there is one of this name, or there are too many.
    pub fn plan_create(
        &self,
        name: &SubscriptionName,
        kind: SubscriptionKind,
        position: Position,
    ) -> Result<SiblingRecord, CreateSubscriptionError> {
        if let Some(id) = self.subscription_ids.get(name) {
            return Err(CreateSubscriptionError::Exists { id: *id });
        }
        if self.subscriptions.len() >= PARTITION_SUBSCRIPTIONS_MAX {
            return Err(CreateSubscriptionError::TooMany);
        }
        let id = self.next_subscription;
        Ok(SiblingRecord::SubscriptionCreated {
            id,
            name: name.clone(),
            kind,
            position,
        })
    }

    /// The record that deletes a subscription, if it exists. Nothing changes until it is applied.
    #[must_use]
    pub fn plan_delete(&self, id: u64) -> Option<SiblingRecord> {
        self.subscriptions
            .contains_key(&id)
            .then_some(SiblingRecord::SubscriptionDeleted { id })
    }

    /// The record that gives a subscription another kind, if it exists and has not that kind already.
    /// Nothing changes until it is applied. What is acknowledged stays so. The caller sees to it that
    /// the subscription has no consumer, and makes its dispatcher anew.
    #[must_use]
    pub fn plan_set_kind(&self, id: u64, kind: SubscriptionKind) -> Option<SiblingRecord> {
        let subscription = self.subscriptions.get(&id)?;
        (subscription.kind != kind).then_some(SiblingRecord::KindSet { id, kind })
    }

    /// The record that moves a subscription to `position`, if it exists. Nothing changes until it
    /// is applied. The caller bounds the position by the log's start and high watermark, and tells
    /// the subscription's dispatcher.
    #[must_use]
    pub fn plan_seek(&self, id: u64, position: Position) -> Option<SiblingRecord> {
        self.subscriptions
            .contains_key(&id)
            .then_some(SiblingRecord::CursorSet { id, position })
    }

    /// The newest access epoch.
    #[must_use]
    pub const fn access(&self) -> AccessEpoch {
        self.access
    }

    /// The producers.
    #[must_use]
    pub const fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// The producers, to note who is open.
    pub const fn producers_mut(&mut self) -> &mut ProducerTable {
        &mut self.producers
    }

    /// The subscription with this id.
    #[must_use]
    pub fn subscription(&self, id: u64) -> Option<&Subscription> {
        self.subscriptions.get(&id)
    }

    /// The subscription with this id, to acknowledge.
    pub fn subscription_mut(&mut self, id: u64) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&id)
    }

    /// The id of the subscription with this name.
    #[must_use]
    pub fn subscription_id(&self, name: &SubscriptionName) -> Option<u64> {
        self.subscription_ids.get(name).copied()
    }

    /// Every subscription, by rising id.
    pub fn subscriptions(&self) -> impl ExactSizeIterator<Item = &Subscription> {
        self.subscriptions.values()
    }

    /// The first entry that a subscription still wants: retention takes nothing at or above it.
    /// None without subscriptions. Looks at every subscription.
    #[must_use]
    pub fn lowest_mark(&self) -> Option<Offset> {
        self.subscriptions()
            .map(|subscription| subscription.cursor.mark().offset)
            .min()
    }

    /// The state as records for the sibling log, each with at most `part_bytes_max` bytes of state
    /// (more only where there would be too many parts). They are appended in order; other records
    /// may stand between them, other snapshots may not.
    ///
    /// A snapshot may be written while the entries that it covers are not durable yet. Until they
    /// are, and all of the snapshot is, the sibling log is kept from the snapshot before it.
    #[must_use]
    pub fn snapshot(&self, part_bytes_max: usize) -> Vec<SiblingRecord> {
        let bytes = snapshot::encode(self);
        snapshot::split(
            &bytes,
            self.entries_applied,
            self.entries_term,
            part_bytes_max,
        )
    }
}
