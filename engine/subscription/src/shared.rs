//! The dispatcher of a Shared subscription: entries in turn to all consumers.

use alloc::collections::{BTreeMap, BTreeSet};

use hulse_model::Offset;
use hulse_model::limits::SUBSCRIPTION_CONSUMERS_MAX;

use crate::cursor::Cursor;
use crate::dispatcher::{
    AttachError, Blocked, ConsumerId, ConsumerState, Delivery, DispatchLimits, Next, PermitsError,
    add_permits, check_permits, what_is_left,
};
use crate::load::Load;
use crate::turns::Turns;

/// Every entry goes to the consumer whose turn it is: of those that can take one, and of the best
/// priority among them, the one that was given least. What comes back (asked for again, or from a
/// consumer that went away) goes out before what is new. A consumer that holds too many
/// unacknowledged messages gets no more until half of them are acknowledged, and neither does any
/// when all together hold too many. [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    limits: DispatchLimits,
    members: BTreeMap<ConsumerId, Member>,
    turns: Turns,
    /// Entries below it are acknowledged, pending, returned, or cannot be read. Below the mark it
    /// says nothing.
    read: Offset,
    /// Entries that a consumer has and has not wholly acknowledged.
    pending: BTreeMap<Offset, Pending>,
    /// Entries that came back, and how often each was delivered before.
    returned: BTreeMap<Offset, u32>,
    unacknowledged: Load,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Member {
    priority: u8,
    /// Messages that may be sent. An entry is sent whole, so it falls below zero by less than one
    /// entry's messages.
    permits: i64,
    paused: bool,
    unacknowledged: Load,
    /// What it has of the pending entries.
    holds: BTreeSet<Offset>,
}

impl Member {
    const fn can_take(&self) -> bool {
        self.permits > 0 && !self.paused && !self.unacknowledged.full
    }
}

/// An entry that a consumer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    consumer: ConsumerId,
    /// How many messages the entry has.
    messages: u32,
    /// How many of them are not acknowledged.
    left: u32,
    /// How often it was delivered before.
    redelivery_count: u32,
}

impl Shared {
    pub(crate) fn new(limits: DispatchLimits) -> Self {
        Self {
            limits,
            members: BTreeMap::new(),
            turns: Turns::default(),
            read: Offset::ZERO,
            pending: BTreeMap::new(),
            returned: BTreeMap::new(),
            unacknowledged: Load::default(),
        }
    }

    pub(crate) fn attach(&mut self, consumer: ConsumerId, priority: u8) -> Result<(), AttachError> {
        if self.members.contains_key(&consumer) {
            return Err(AttachError::Busy { by: consumer });
        }
        if self.members.len() >= SUBSCRIPTION_CONSUMERS_MAX {
            return Err(AttachError::TooMany);
        }
        let member = Member {
            priority,
            ..Member::default()
        };
        self.members.insert(consumer, member);
        Ok(())
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        let Some(member) = self.members.get(&consumer) else {
            return false;
        };
        for offset in member.holds.clone() {
            self.put_back(cursor, offset);
        }
        self.members.remove(&consumer);
        self.turns.forget(consumer);
        true
    }

    pub(crate) fn permits(
        &mut self,
        consumer: ConsumerId,
        messages: u32,
    ) -> Result<(), PermitsError> {
        let member = self.members.get_mut(&consumer);
        let member = member.ok_or(PermitsError::NotAttached { consumer })?;
        let added = add_permits(&mut member.permits, messages);
        self.queue(consumer);
        added
    }

    pub(crate) fn pause(&mut self, consumer: ConsumerId, paused: bool) {
        if let Some(member) = self.members.get_mut(&consumer) {
            member.paused = paused;
            self.queue(consumer);
        }
    }

    pub(crate) fn next(&self, cursor: &Cursor, end: Offset) -> Option<Next> {
        let consumer = self.taker()?;
        let (offset, _) = self.candidate(cursor);
        (offset < end).then_some(Next {
            consumer: Some(consumer),
            offset,
        })
    }

    pub(crate) fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
    ) -> Option<Delivery> {
        let consumer = self.taker()?;
        let (expected, redelivery_count) = self.candidate(cursor);
        if expected != offset {
            return None;
        }
        self.returned = self.returned.split_off(&offset);
        self.returned.remove(&offset);
        self.read = self.read.max(offset.next());
        let (acknowledged, left) = what_is_left(cursor, offset, messages)?;
        let member = self.members.get_mut(&consumer)?;
        member.permits -= i64::from(left);
        member.unacknowledged.add(left, self.limits.consumer);
        member.holds.insert(offset);
        self.unacknowledged.add(left, self.limits.subscription);
        let pending = Pending {
            consumer,
            messages,
            left,
            redelivery_count,
        };
        self.pending.insert(offset, pending);
        self.turns.took(consumer, left);
        self.queue(consumer);
        Some(Delivery {
            consumer,
            messages: left,
            redelivery_count,
            acknowledged,
        })
    }

    pub(crate) fn acknowledged(&mut self, cursor: &Cursor, offset: Offset) {
        let Some(pending) = self.pending.get_mut(&offset) else {
            if cursor.next_unacknowledged(offset) != offset {
                self.returned.remove(&offset);
            }
            return;
        };
        let left = what_is_left(cursor, offset, pending.messages).map_or(0, |(_, left)| left);
        let taken = pending.left - left;
        pending.left = left;
        let consumer = pending.consumer;
        if left == 0 {
            self.pending.remove(&offset);
        }
        self.unburden(consumer, offset, taken, left == 0);
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor, entries: &[Offset]) {
        let Some(member) = self.members.get(&consumer) else {
            return;
        };
        if entries.is_empty() {
            for offset in member.holds.clone() {
                self.put_back(cursor, offset);
            }
            return;
        }
        for offset in entries {
            if self
                .pending
                .get(offset)
                .is_some_and(|it| it.consumer == consumer)
            {
                self.put_back(cursor, *offset);
            }
        }
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        self.returned = self.returned.split_off(&end);
        self.read = self.read.max(end);
    }

    pub(crate) fn seek(&mut self) {
        self.read = Offset::ZERO;
        self.pending.clear();
        self.returned.clear();
        self.unacknowledged = Load::default();
        for member in self.members.values_mut() {
            member.unacknowledged = Load::default();
            member.holds.clear();
        }
        for consumer in self.members.keys() {
            queue(&mut self.turns, &self.members, *consumer);
        }
    }

    pub(crate) fn state(&self, consumer: ConsumerId) -> Option<ConsumerState> {
        let member = self.members.get(&consumer)?;
        Some(ConsumerState {
            permits: member.permits,
            unacknowledged: Some(member.unacknowledged.messages),
            active: true,
        })
    }

    pub(crate) fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        if self.members.is_empty() {
            return Some(Blocked::NoConsumer);
        }
        let first = cursor.mark();
        let holder = self.pending.first_key_value();
        let (next, _) = self.candidate(cursor);
        if first.offset >= end {
            return Some(Blocked::CaughtUp { next: first.offset });
        }
        if next >= end {
            return Some(match holder {
                Some((_, held)) => Blocked::Unacknowledged {
                    consumer: held.consumer,
                    first,
                },
                None => Blocked::Unreadable { first },
            });
        }
        if self.unacknowledged.full
            && let Some((_, held)) = holder
        {
            return Some(Blocked::SubscriptionFull {
                consumer: held.consumer,
                messages: self.unacknowledged.messages,
                next,
            });
        }
        if self.taker().is_some() {
            return None;
        }
        // The reason of one that lacks nothing else says most.
        let reason = |(id, member): (&ConsumerId, &Member)| {
            let consumer = *id;
            if member.permits <= 0 {
                (2, Blocked::NoPermits { consumer, next })
            } else if member.unacknowledged.full {
                let messages = member.unacknowledged.messages;
                let full = Blocked::ConsumerFull {
                    consumer,
                    messages,
                    next,
                };
                (0, full)
            } else {
                (1, Blocked::Paused { consumer, next })
            }
        };
        let reasons = self.members.iter().map(reason);
        reasons.min_by_key(|(rank, _)| *rank).map(|(_, why)| why)
    }

    /// Who gets the next entry.
    fn taker(&self) -> Option<ConsumerId> {
        self.turns.first().filter(|_| !self.unacknowledged.full)
    }

    /// The entry that goes out next, whether it is there yet or not, and how often it was delivered
    /// before.
    fn candidate(&self, cursor: &Cursor) -> (Offset, u32) {
        let unacknowledged =
            |(offset, _): &(&Offset, &u32)| cursor.next_unacknowledged(**offset) == **offset;
        match self.returned.iter().find(unacknowledged) {
            Some((offset, count)) => (*offset, *count),
            None => (cursor.next_unacknowledged(self.read), 0),
        }
    }

    /// Takes an entry from the consumer that has it, to be delivered again.
    fn put_back(&mut self, cursor: &Cursor, offset: Offset) {
        let Some(pending) = self.pending.remove(&offset) else {
            return;
        };
        self.unburden(pending.consumer, offset, pending.left, true);
        if cursor.next_unacknowledged(offset) == offset {
            let count = pending.redelivery_count.saturating_add(1);
            self.returned.insert(offset, count);
        }
    }

    /// A consumer has so many unacknowledged messages less, and perhaps the entry no more.
    fn unburden(&mut self, consumer: ConsumerId, offset: Offset, messages: u32, gone: bool) {
        self.unacknowledged.take(messages, self.limits.subscription);
        if let Some(member) = self.members.get_mut(&consumer) {
            member.unacknowledged.take(messages, self.limits.consumer);
            if gone {
                member.holds.remove(&offset);
            }
            self.queue(consumer);
        }
    }

    /// Gives a consumer a turn, if it can take something, or takes it away.
    fn queue(&mut self, consumer: ConsumerId) {
        queue(&mut self.turns, &self.members, consumer);
    }

    pub(crate) fn check_invariants(&self) {
        let mut unacknowledged = 0;
        for (consumer, member) in &self.members {
            check_permits(member.permits);
            let held = member.holds.iter().map(|offset| {
                let pending = &self.pending[offset];
                assert_eq!(pending.consumer, *consumer, "an entry with two consumers");
                u64::from(pending.left)
            });
            assert_eq!(member.unacknowledged.messages, held.sum::<u64>());
            unacknowledged += member.unacknowledged.messages;
            assert_eq!(
                self.turns.has(*consumer),
                member.can_take(),
                "consumer {consumer} waits for a turn that never comes, or has one in vain"
            );
        }
        assert_eq!(self.unacknowledged.messages, unacknowledged);
        let held: usize = self.members.values().map(|member| member.holds.len()).sum();
        assert_eq!(held, self.pending.len(), "an entry that nobody has");
        for (offset, pending) in &self.pending {
            assert!((1..=pending.messages).contains(&pending.left));
            assert!(*offset < self.read, "an entry out that was not read");
            assert!(
                !self.returned.contains_key(offset),
                "an entry in two places"
            );
        }
        let last = self.returned.last_key_value();
        assert!(last.is_none_or(|(offset, _)| *offset < self.read));
        self.turns.check_invariants();
    }
}

fn queue(turns: &mut Turns, members: &BTreeMap<ConsumerId, Member>, consumer: ConsumerId) {
    match members.get(&consumer) {
        Some(member) if member.can_take() => turns.join(consumer, member.priority),
        _ => turns.leave(consumer),
    }
}
