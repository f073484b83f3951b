//! What the consumers of a subscription have, and how much of it one consumer, and all, may have.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hulse_model::Offset;

use crate::cursor::Cursor;
use crate::dispatcher::{Blocked, ConsumerId, DispatchLimits, what_is_left};

/// An entry that a consumer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending<T> {
    /// Who.
    pub(crate) consumer: ConsumerId,
    /// How many messages the entry has.
    pub(crate) messages: u32,
    /// How many of them are not acknowledged.
    pub(crate) left: u32,
    /// How often it was delivered before.
    pub(crate) redelivery_count: u32,
    /// What else the dispatcher keeps of it.
    pub(crate) note: T,
}

/// What one consumer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Share {
    load: Load,
    entries: BTreeSet<Offset>,
}

/// Unacknowledged messages. Full from a limit on, until half of them are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    messages: u64,
    full: bool,
}

impl Load {
    fn add(&mut self, messages: u32, limit: u64) {
        self.messages += u64::from(messages);
        self.full |= self.messages >= limit;
    }

    fn take(&mut self, messages: u32, limit: u64) {
        self.messages -= u64::from(messages);
        self.full &= self.messages > limit / 2;
    }
}

/// The entries that consumers have and have not wholly acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Out<T> {
    limits: DispatchLimits,
    pending: BTreeMap<Offset, Pending<T>>,
    shares: BTreeMap<ConsumerId, Share>,
    load: Load,
}

impl<T: Copy> Out<T> {
    pub(crate) const fn new(limits: DispatchLimits) -> Self {
        Self {
            limits,
            pending: BTreeMap::new(),
            shares: BTreeMap::new(),
            load: Load {
                messages: 0,
                full: false,
            },
        }
    }

    /// Whether all consumers together have as much as they may.
    pub(crate) const fn is_full(&self) -> bool {
        self.load.full
    }

    /// Whether a consumer has as much as it may.
    pub(crate) fn is_full_of(&self, consumer: ConsumerId) -> bool {
        self.shares.get(&consumer).is_some_and(|it| it.load.full)
    }

    /// How many unacknowledged messages a consumer has.
    pub(crate) fn messages_of(&self, consumer: ConsumerId) -> u64 {
        let share = self.shares.get(&consumer);
        share.map_or(0, |share| share.load.messages)
    }

    /// The entries that a consumer has.
    pub(crate) fn entries_of(&self, consumer: ConsumerId) -> Vec<Offset> {
        let share = self.shares.get(&consumer);
        share.map_or_else(Vec::new, |it| it.entries.iter().copied().collect())
    }

    /// Of the entries that a consumer wants again those that it has: of none, all.
    pub(crate) fn wanted_of(&self, consumer: ConsumerId, entries: &[Offset]) -> Vec<Offset> {
        if entries.is_empty() {
            return self.entries_of(consumer);
        }
        let has = |it: &&Offset| self.get(**it).is_some_and(|it| it.consumer == consumer);
        entries.iter().filter(has).copied().collect()
    }

    /// An entry, if a consumer has it.
    pub(crate) fn get(&self, offset: Offset) -> Option<&Pending<T>> {
        self.pending.get(&offset)
    }

    /// The first of all.
    fn first(&self) -> Option<&Pending<T>> {
        self.pending.first_key_value().map(|(_, pending)| pending)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Offset, &Pending<T>)> {
        self.pending
            .iter()
            .map(|(offset, pending)| (*offset, pending))
    }

    /// Those that lie before an entry.
    pub(crate) fn before(&self, end: Offset) -> Vec<Offset> {
        self.pending
            .range(..end)
            .map(|(offset, _)| *offset)
            .collect()
    }

    /// A consumer is given an entry.
    pub(crate) fn give(&mut self, offset: Offset, pending: Pending<T>) {
        self.load.add(pending.left, self.limits.subscription);
        let share = self.shares.entry(pending.consumer).or_default();
        share.load.add(pending.left, self.limits.consumer);
        share.entries.insert(offset);
        self.pending.insert(offset, pending);
    }

    /// Messages of an entry were acknowledged. Gives the entry as it is now, if a consumer had it;
    /// with nothing left of it, nobody has it any more.
    pub(crate) fn acknowledged(&mut self, cursor: &Cursor, offset: Offset) -> Option<Pending<T>> {
        let pending = self.pending.get_mut(&offset)?;
        let left = what_is_left(cursor, offset, pending.messages).map_or(0, |(_, left)| left);
        let less = pending.left - left;
        pending.left = left;
        let pending = *pending;
        if left == 0 {
            self.pending.remove(&offset);
        }
        self.unburden(offset, &pending, less);
        Some(pending)
    }

    /// Takes an entry from the consumer that has it.
    pub(crate) fn take_back(&mut self, offset: Offset) -> Option<Pending<T>> {
        let pending = self.pending.remove(&offset)?;
        self.unburden(offset, &pending, pending.left);
        Some(pending)
    }

    /// Why nobody is given entry `next`, whoever could take it: it is not there below `end`, or all
    /// together have as much as they may.
    pub(crate) fn blocks_all(&self, cursor: &Cursor, next: Offset, end: Offset) -> Option<Blocked> {
        let first = cursor.mark();
        if first.offset >= end {
            return Some(Blocked::CaughtUp { next: first.offset });
        }
        let consumer = self.first().map(|pending| pending.consumer);
        match consumer {
            Some(consumer) if next >= end => Some(Blocked::Unacknowledged { consumer, first }),
            None if next >= end => Some(Blocked::Unreadable { first }),
            Some(consumer) if self.load.full => Some(Blocked::SubscriptionFull {
                consumer,
                messages: self.load.messages,
                next,
            }),
            _ => None,
        }
    }

    /// Why a consumer with so many permits, which takes nothing, does not take entry `next`.
    pub(crate) fn blocks(&self, consumer: ConsumerId, permits: i64, next: Offset) -> Blocked {
        if permits <= 0 {
            Blocked::NoPermits { consumer, next }
        } else if self.is_full_of(consumer) {
            let messages = self.messages_of(consumer);
            Blocked::ConsumerFull {
                consumer,
                messages,
                next,
            }
        } else {
            Blocked::Paused { consumer, next }
        }
    }

    /// Nobody has anything.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.shares.clear();
        self.load = Load::default();
    }

    fn unburden(&mut self, offset: Offset, pending: &Pending<T>, messages: u32) {
        self.load.take(messages, self.limits.subscription);
        let Some(share) = self.shares.get_mut(&pending.consumer) else {
            return;
        };
        share.load.take(messages, self.limits.consumer);
        if !self.pending.contains_key(&offset) {
            share.entries.remove(&offset);
        }
        if share.entries.is_empty() {
            self.shares.remove(&pending.consumer);
        }
    }

    pub(crate) fn check_invariants(&self) {
        let mut messages = 0;
        let mut entries = 0;
        for (consumer, share) in &self.shares {
            let of_entry = |offset: &Offset| {
                let pending = &self.pending[offset];
                assert_eq!(pending.consumer, *consumer, "an entry with two consumers");
                assert!((1..=pending.messages).contains(&pending.left));
                u64::from(pending.left)
            };
            let sum: u64 = share.entries.iter().map(of_entry).sum();
            assert_eq!(share.load.messages, sum);
            messages += sum;
            entries += share.entries.len();
        }
        assert_eq!(self.load.messages, messages);
        assert_eq!(entries, self.pending.len(), "an entry that nobody has");
    }
}
