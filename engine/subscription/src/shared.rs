//! The dispatcher of a Shared subscription: entries in turn to all consumers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::Offset;
use hulse_model::limits::SUBSCRIPTION_CONSUMERS_MAX;

use crate::cursor::Cursor;
use crate::delays::Delays;
use crate::dispatcher::{
    AttachError, Blocked, ConsumerId, ConsumerState, Delivery, DispatchLimits, Next, PermitsError,
    add_permits, check_permits, what_is_left,
};
use crate::out::{Out, Pending};
use crate::turns::Turns;

/// Every entry goes to the consumer whose turn it is: of those that can take one, and of the best
/// priority among them, the one that was given least. What comes back (asked for again, or from a
/// consumer that went away) goes out first, then what was put off and is due, then what is new. A consumer that holds too many
/// unacknowledged messages gets no more until half of them are acknowledged, and neither does any
/// when all together hold too many. [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    members: BTreeMap<ConsumerId, Member>,
    turns: Turns,
    /// Entries below it are acknowledged, pending, returned, put off, or cannot be read. Below the
    /// mark it says nothing.
    read: Offset,
    out: Out<()>,
    /// Entries that came back, and how often each was delivered before.
    returned: BTreeMap<Offset, u32>,
    delays: Delays,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Member {
    priority: u8,
    /// Messages that may be sent. An entry is sent whole, so it falls below zero by less than one
    /// entry's messages.
    permits: i64,
    paused: bool,
}

impl Shared {
    pub(crate) fn new(limits: DispatchLimits) -> Self {
        Self {
            members: BTreeMap::new(),
            turns: Turns::default(),
            read: Offset::ZERO,
            out: Out::new(limits),
            returned: BTreeMap::new(),
            delays: Delays::new(limits.delayed_entries, limits.delayed_blocks),
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
        if !self.members.contains_key(&consumer) {
            return false;
        }
        for offset in self.out.entries_of(consumer) {
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

    pub(crate) fn next(&mut self, cursor: &Cursor, end: Offset) -> Option<Next> {
        let consumer = self.taker()?;
        let Self { out, returned, .. } = self;
        let elsewhere = |offset| out.get(offset).is_some() || returned.contains_key(&offset);
        self.delays.settle(cursor, self.read, elsewhere);
        let (offset, _) = self.candidate(cursor, end)?;
        Some(Next {
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
        let (expected, redelivery_count) = self.candidate(cursor, offset.next())?;
        if expected != offset {
            return None;
        }
        if self.returned.contains_key(&offset) {
            // What came back before it is acknowledged.
            self.returned = self.returned.split_off(&offset);
            self.returned.remove(&offset);
        } else {
            self.returned.clear();
            self.was_read(offset);
        }
        let (acknowledged, left) = what_is_left(cursor, offset, messages)?;
        let member = self.members.get_mut(&consumer)?;
        member.permits -= i64::from(left);
        let pending = Pending {
            consumer,
            messages,
            left,
            redelivery_count,
            note: (),
        };
        self.out.give(offset, pending);
        self.turns.took(consumer, left);
        self.queue(consumer);
        Some(Delivery {
            consumer,
            messages: left,
            redelivery_count,
            acknowledged,
        })
    }

    pub(crate) fn delay(&mut self, cursor: &Cursor, offset: Offset, due_ms: u64) -> bool {
        let named = self.candidate(cursor, offset.next());
        let is_named = named.is_some_and(|(named, _)| named == offset);
        if !is_named || self.delays.is_due(due_ms) || self.returned.contains_key(&offset) {
            return false;
        }
        self.was_read(offset);
        self.delays.put(offset, due_ms);
        true
    }

    pub(crate) fn advance(&mut self, wall_ms: u64) -> bool {
        self.delays.advance(wall_ms)
    }

    pub(crate) fn acknowledged(&mut self, cursor: &Cursor, offset: Offset) {
        match self.out.acknowledged(cursor, offset) {
            Some(pending) => self.queue(pending.consumer),
            None if cursor.next_unacknowledged(offset) != offset => {
                self.returned.remove(&offset);
                self.delays.forget(offset);
            }
            None => {}
        }
    }

    pub(crate) fn expired(&mut self, cursor: &Cursor) {
        let mark = cursor.mark().offset;
        self.delays.forget_below(mark);
        for offset in self.out.before(mark) {
            self.acknowledged(cursor, offset);
        }
        self.returned = self.returned.split_off(&mark);
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor, entries: &[Offset]) {
        for offset in self.out.wanted_of(consumer, entries) {
            self.put_back(cursor, offset);
        }
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        self.returned = self.returned.split_off(&end);
        self.delays.forget_below(end);
        self.read = self.read.max(end);
    }

    pub(crate) fn seek(&mut self) {
        self.read = Offset::ZERO;
        self.out.clear();
        self.returned.clear();
        self.delays.clear();
        let members: Vec<_> = self.members.keys().copied().collect();
        for consumer in members {
            self.queue(consumer);
        }
    }

    pub(crate) fn state(&self, consumer: ConsumerId) -> Option<ConsumerState> {
        let member = self.members.get(&consumer)?;
        Some(ConsumerState {
            permits: member.permits,
            unacknowledged: Some(self.out.messages_of(consumer)),
            active: true,
        })
    }

    pub(crate) fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        if self.members.is_empty() {
            return Some(Blocked::NoConsumer);
        }
        let Some((next, _)) = self.candidate(cursor, end) else {
            let delayed = self
                .delays
                .blocks(cursor, self.read, |it| self.is_elsewhere(it));
            return delayed.or_else(|| self.out.blocks_all(cursor, end, end));
        };
        let blocked = self.out.blocks_all(cursor, next, end);
        if blocked.is_some() || self.taker().is_some() {
            return blocked;
        }
        let reason =
            |(id, member): (&ConsumerId, &Member)| self.out.blocks(*id, member.permits, next);
        // The reason of one that lacks nothing else says most.
        self.members.iter().map(reason).min_by_key(|why| match why {
            Blocked::ConsumerFull { .. } => 0,
            Blocked::Paused { .. } => 1,
            _ => 2,
        })
    }

    /// Who gets the next entry.
    fn taker(&self) -> Option<ConsumerId> {
        self.turns.first().filter(|_| !self.out.is_full())
    }

    /// The entry below `end` that is read next, and how often it was delivered before.
    fn candidate(&self, cursor: &Cursor, end: Offset) -> Option<(Offset, u32)> {
        let unacknowledged =
            |(offset, _): &(&Offset, &u32)| cursor.next_unacknowledged(**offset) == **offset;
        if let Some((offset, count)) = self.returned.iter().find(unacknowledged) {
            return Some((*offset, *count));
        }
        let new = Some(cursor.next_unacknowledged(self.read)).filter(|new| *new < end);
        let elsewhere = |offset| self.is_elsewhere(offset);
        let others = || self.delays.candidate(cursor, new, self.read, elsewhere);
        let offset = self.delays.due(cursor).or_else(others)?;
        Some((offset, 0))
    }

    /// Whether an entry is out, or has come back.
    fn is_elsewhere(&self, offset: Offset) -> bool {
        self.out.get(offset).is_some() || self.returned.contains_key(&offset)
    }

    /// An entry was read that was not delivered before.
    fn was_read(&mut self, offset: Offset) {
        self.delays.passed(offset);
        self.read = self.read.max(offset.next());
    }

    /// Takes an entry from the consumer that has it, to be delivered again.
    fn put_back(&mut self, cursor: &Cursor, offset: Offset) {
        let Some(pending) = self.out.take_back(offset) else {
            return;
        };
        self.queue(pending.consumer);
        if cursor.next_unacknowledged(offset) == offset {
            let count = pending.redelivery_count.saturating_add(1);
            self.returned.insert(offset, count);
        }
    }

    /// Whether a consumer can take an entry.
    fn can_take(&self, consumer: ConsumerId) -> bool {
        let able = |member: &Member| member.permits > 0 && !member.paused;
        self.members.get(&consumer).is_some_and(able) && !self.out.is_full_of(consumer)
    }

    /// Gives a consumer a turn, if it can take something, or takes it away.
    fn queue(&mut self, consumer: ConsumerId) {
        match self.members.get(&consumer) {
            Some(member) if self.can_take(consumer) => self.turns.join(consumer, member.priority),
            _ => self.turns.leave(consumer),
        }
    }

    pub(crate) fn check_invariants(&self) {
        for (consumer, member) in &self.members {
            check_permits(member.permits);
            assert_eq!(
                self.turns.has(*consumer),
                self.can_take(*consumer),
                "consumer {consumer} waits for a turn that never comes, or has one in vain"
            );
        }
        for (offset, pending) in self.out.iter() {
            assert!(self.members.contains_key(&pending.consumer));
            assert!(offset < self.read, "an entry out that was not read");
            assert!(
                !self.returned.contains_key(&offset),
                "an entry in two places"
            );
        }
        let last = self.returned.last_key_value();
        assert!(last.is_none_or(|(offset, _)| *offset < self.read));
        self.out.check_invariants();
        self.delays.check_invariants(self.read);
        self.turns.check_invariants();
    }
}
