//! The dispatcher of a Key_Shared subscription: the messages of a key go to one consumer at a time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hulse_model::Offset;
use hulse_model::limits::SUBSCRIPTION_CONSUMERS_MAX;

use crate::cursor::Cursor;
use crate::delays::Delays;
use crate::dispatcher::{
    AttachError, Blocked, Claim, ConsumerId, ConsumerState, Delivery, DispatchLimits, Next,
    PermitsError, add_permits, check_permits, what_is_left,
};
use crate::key_slots::{KeySlot, Owners, Refused};
use crate::out::{Out, Pending};
use crate::turns::Turns;

/// Keys fall into slots, and each slot has an owner ([`crate::key_slots`]). The entries of a slot are
/// given out in order, and those that are not acknowledged are all with one consumer. When a slot
/// changes hands while its former owner has entries of it, the slot **drains**: what follows in it is
/// set aside until they are acknowledged or given back, and then goes to the new owner. Nobody else
/// waits for that, nor for a consumer that takes nothing: what cannot be given out just now is set
/// aside, up to [`DispatchLimits::look_ahead`] entries. What was put off until it is due has left the
/// order of its slot: at its time it goes out before what is set aside of the slot then. As Pulsar does since its improvement
/// proposal PIP-379. [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyShared {
    look_ahead: usize,
    members: BTreeMap<ConsumerId, Member>,
    owners: Owners,
    /// Members that can take something and for which something is set aside.
    turns: Turns,
    /// How many members can take something.
    takers: usize,
    /// Entries below it are acknowledged, pending, set aside, put off, or cannot be read. Below the
    /// mark it says nothing.
    read: Offset,
    out: Out<KeySlot>,
    /// Entries that were read, or came back, and that nobody has.
    aside: BTreeMap<Offset, Aside>,
    slots: BTreeMap<KeySlot, Slot>,
    delays: Delays,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Member {
    /// Messages that may be sent. An entry is sent whole, so it falls below zero by less than one
    /// entry's messages.
    permits: i64,
    paused: bool,
    /// It can take something.
    takes: bool,
    /// What is set aside for it and not held up by a slot that drains.
    waiting: BTreeSet<Offset>,
}

/// An entry that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aside {
    slot: KeySlot,
    /// How often it was delivered before.
    redelivery_count: u32,
}

/// A slot of which something is pending or set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Slot {
    /// Who has its pending entries, and how many.
    holder: Option<(ConsumerId, usize)>,
    /// What is set aside of it.
    aside: BTreeSet<Offset>,
    /// For whom it is set aside: for nobody while the slot drains.
    waits_for: Option<ConsumerId>,
}

impl KeyShared {
    pub(crate) fn new(limits: DispatchLimits) -> Self {
        Self {
            look_ahead: limits.look_ahead,
            members: BTreeMap::new(),
            owners: Owners::default(),
            turns: Turns::default(),
            takers: 0,
            read: Offset::ZERO,
            out: Out::new(limits),
            aside: BTreeMap::new(),
            slots: BTreeMap::new(),
            delays: Delays::new(limits.delayed_entries, limits.delayed_blocks),
        }
    }

    pub(crate) fn attach(
        &mut self,
        consumer: ConsumerId,
        claim: Claim<'_>,
    ) -> Result<(), AttachError> {
        if self.members.contains_key(&consumer) {
            return Err(AttachError::Busy { by: consumer });
        }
        if self.members.len() >= SUBSCRIPTION_CONSUMERS_MAX {
            return Err(AttachError::TooMany);
        }
        let added = self.owners.add(consumer, claim.name, claim.slots);
        added.map_err(|refused| match refused {
            Refused::Taken(by) => AttachError::SlotsTaken { by },
            Refused::OtherWay => AttachError::SlotsMixed,
            Refused::Malformed => AttachError::SlotsMalformed,
        })?;
        self.members.insert(consumer, Member::default());
        self.sort_all();
        Ok(())
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        if !self.members.contains_key(&consumer) {
            return false;
        }
        self.owners.remove(consumer);
        for offset in self.out.entries_of(consumer) {
            self.put_back(cursor, offset);
        }
        // It takes nothing any more.
        self.pause(consumer, true);
        self.members.remove(&consumer);
        self.turns.forget(consumer);
        self.sort_all();
        true
    }

    pub(crate) fn permits(
        &mut self,
        consumer: ConsumerId,
        messages: u32,
    ) -> Result<(), PermitsError> {
        let mut added = Err(PermitsError::NotAttached { consumer });
        self.change(consumer, |member| {
            added = add_permits(&mut member.permits, messages);
        });
        added
    }

    pub(crate) fn pause(&mut self, consumer: ConsumerId, paused: bool) {
        self.change(consumer, |member| member.paused = paused);
    }

    pub(crate) fn next(&mut self, cursor: &Cursor, end: Offset) -> Option<Next> {
        let Self { out, aside, .. } = self;
        let elsewhere = |offset| out.get(offset).is_some() || aside.contains_key(&offset);
        self.delays.settle(cursor, self.read, elsewhere);
        self.named(cursor, end)
    }

    /// The same, without going on in what is read again.
    fn named(&self, cursor: &Cursor, end: Offset) -> Option<Next> {
        if self.out.is_full() || self.takers == 0 {
            return None;
        }
        if let Some(consumer) = self.turns.first() {
            let offset = *self.members[&consumer].waiting.first()?;
            return Some(Next {
                consumer: Some(consumer),
                offset,
            });
        }
        if self.aside.len() >= self.look_ahead {
            return None;
        }
        let offset = self.unread(cursor, end)?;
        Some(Next {
            consumer: None,
            offset,
        })
    }

    pub(crate) fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
        slot: KeySlot,
    ) -> Option<Delivery> {
        let next = self.named(cursor, offset.next())?;
        if next.offset != offset {
            return None;
        }
        let (consumer, redelivery_count) = match next.consumer {
            Some(consumer) => {
                let aside = self.take_aside(offset)?;
                (consumer, aside.redelivery_count)
            }
            None => {
                self.was_read(offset);
                (self.taker_of_new(offset, slot)?, 0)
            }
        };
        let Some((acknowledged, left)) = what_is_left(cursor, offset, messages) else {
            self.sort_slot(slot);
            return None;
        };
        let pending = Pending {
            consumer,
            messages,
            left,
            redelivery_count,
            note: slot,
        };
        self.out.give(offset, pending);
        let holder = &mut self.slots.entry(slot).or_default().holder;
        holder.get_or_insert((consumer, 0)).1 += 1;
        // Its turn is over.
        self.turns.leave(consumer);
        self.change(consumer, |member| member.permits -= i64::from(left));
        Some(Delivery {
            consumer,
            messages: left,
            redelivery_count,
            acknowledged,
        })
    }

    pub(crate) fn delay(&mut self, cursor: &Cursor, offset: Offset, due_ms: u64) -> bool {
        let named = self.named(cursor, offset.next());
        let is_unread = named.is_some_and(|it| it.offset == offset && it.consumer.is_none());
        if !is_unread || self.delays.is_due(due_ms) {
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
        if let Some(pending) = self.out.acknowledged(cursor, offset) {
            if pending.left == 0 {
                self.release(pending.note);
                self.sort_slot(pending.note);
            }
            self.update(pending.consumer);
        } else if cursor.next_unacknowledged(offset) != offset {
            self.delays.forget(offset);
            if let Some(aside) = self.take_aside(offset) {
                self.sort_slot(aside.slot);
            }
        }
    }

    pub(crate) fn expired(&mut self, cursor: &Cursor) {
        let mark = cursor.mark().offset;
        self.delays.forget_below(mark);
        let aside: Vec<Offset> = self
            .aside
            .range(..mark)
            .map(|(offset, _)| *offset)
            .collect();
        for offset in self.out.before(mark).into_iter().chain(aside) {
            self.acknowledged(cursor, offset);
        }
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor, entries: &[Offset]) {
        for offset in self.out.wanted_of(consumer, entries) {
            if let Some(slot) = self.put_back(cursor, offset) {
                self.sort_slot(slot);
            }
        }
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        self.read = self.read.max(end);
        self.delays.forget_below(end);
        while let Some((&offset, aside)) = self.aside.first_key_value()
            && offset < end
        {
            let slot = aside.slot;
            self.take_aside(offset);
            self.sort_slot(slot);
        }
    }

    pub(crate) fn seek(&mut self) {
        self.read = Offset::ZERO;
        self.out.clear();
        self.aside.clear();
        self.slots.clear();
        self.delays.clear();
        let members: Vec<_> = self.members.keys().copied().collect();
        for consumer in members {
            self.change(consumer, |member| member.waiting.clear());
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
        let first_aside = self.aside.keys().next().copied();
        let Some(next) = first_aside.or_else(|| self.unread(cursor, end)) else {
            let delayed = self
                .delays
                .blocks(cursor, self.read, |it| self.is_elsewhere(it));
            return delayed.or_else(|| self.out.blocks_all(cursor, end, end));
        };
        let blocked = self.out.blocks_all(cursor, next, end);
        if blocked.is_some() || self.named(cursor, end).is_some() {
            return blocked;
        }
        Some(match self.aside.first_key_value() {
            Some((_, aside)) => self.held_up(aside.slot, next),
            // Nothing was read, since nobody can take anything.
            None => {
                let (consumer, member) = self.members.first_key_value()?;
                self.out.blocks(*consumer, member.permits, next)
            }
        })
    }

    /// Why the first entry that is set aside of a slot is not given out.
    fn held_up(&self, slot: KeySlot, next: Offset) -> Blocked {
        let holder = self.slots.get(&slot).and_then(|it| it.holder);
        match (self.owners.of(slot), holder) {
            (None, _) => Blocked::NoOwner { slot: slot.0, next },
            (Some(owner), Some((consumer, _))) if consumer != owner => {
                let mut of_slot = self.out.iter().filter(|it| it.1.note == slot);
                Blocked::Draining {
                    consumer,
                    first: of_slot.next().map_or(next, |(offset, _)| offset),
                    to: owner,
                    next,
                }
            }
            (Some(owner), _) => self.out.blocks(owner, self.members[&owner].permits, next),
        }
    }

    /// The entry below `end` that is read next, of those that are not set aside.
    fn unread(&self, cursor: &Cursor, end: Offset) -> Option<Offset> {
        let new = Some(cursor.next_unacknowledged(self.read)).filter(|new| *new < end);
        let elsewhere = |offset| self.is_elsewhere(offset);
        let others = || self.delays.candidate(cursor, new, self.read, elsewhere);
        self.delays.due(cursor).or_else(others)
    }

    /// Whether an entry is out, or set aside.
    fn is_elsewhere(&self, offset: Offset) -> bool {
        self.out.get(offset).is_some() || self.aside.contains_key(&offset)
    }

    /// An entry was read that was not delivered before.
    fn was_read(&mut self, offset: Offset) {
        self.delays.passed(offset);
        self.read = self.read.max(offset.next());
    }

    /// Who gets a new entry now. None when it has to wait: it is set aside.
    fn taker_of_new(&mut self, offset: Offset, slot: KeySlot) -> Option<ConsumerId> {
        let owner = self.owners.of(slot);
        let holder = self.slots.get(&slot).and_then(|it| it.holder);
        // What another has of the slot must come back. What waits of it for its owner has gone out
        // before anything new is read, or its owner takes nothing.
        let free = holder.is_none_or(|(consumer, _)| Some(consumer) == owner);
        let taker = owner.filter(|owner| free && self.members[owner].takes);
        if taker.is_none() {
            let redelivery_count = 0;
            let aside = Aside {
                slot,
                redelivery_count,
            };
            self.set_aside(offset, aside);
            self.sort_slot(slot);
        }
        taker
    }

    fn set_aside(&mut self, offset: Offset, aside: Aside) {
        self.aside.insert(offset, aside);
        let slot = self.slots.entry(aside.slot).or_default();
        slot.aside.insert(offset);
        if let Some(consumer) = slot.waits_for {
            self.change(consumer, |member| {
                member.waiting.insert(offset);
            });
        }
    }

    /// Takes an entry from those that nobody has. [`Self::sort_slot`] must follow, unless the entry
    /// is given to somebody.
    fn take_aside(&mut self, offset: Offset) -> Option<Aside> {
        let aside = self.aside.remove(&offset)?;
        let slot = self.slots.get_mut(&aside.slot)?;
        slot.aside.remove(&offset);
        if let Some(consumer) = slot.waits_for {
            self.change(consumer, |member| {
                member.waiting.remove(&offset);
            });
        }
        Some(aside)
    }

    /// Takes an entry from the consumer that has it, to be delivered again. Gives its slot, for
    /// which [`Self::sort_slot`] must follow.
    fn put_back(&mut self, cursor: &Cursor, offset: Offset) -> Option<KeySlot> {
        let pending = self.out.take_back(offset)?;
        self.release(pending.note);
        if cursor.next_unacknowledged(offset) == offset {
            let aside = Aside {
                slot: pending.note,
                redelivery_count: pending.redelivery_count.saturating_add(1),
            };
            self.set_aside(offset, aside);
        }
        self.update(pending.consumer);
        Some(pending.note)
    }

    /// A consumer has an entry of the slot less.
    fn release(&mut self, slot: KeySlot) {
        if let Some(slot) = self.slots.get_mut(&slot)
            && let Some((_, entries)) = &mut slot.holder
        {
            *entries -= 1;
            if *entries == 0 {
                slot.holder = None;
            }
        }
    }

    /// Brings up to date for whom the entries wait that are set aside of a slot: for its owner,
    /// unless another still has some of it.
    fn sort_slot(&mut self, number: KeySlot) {
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        if slot.aside.is_empty() && slot.holder.is_none() {
            self.slots.remove(&number);
            return;
        }
        let owner = self.owners.of(number);
        let drained = |owner: &ConsumerId| slot.holder.is_none_or(|(holder, _)| holder == *owner);
        let waits_for = owner.filter(drained);
        let before = core::mem::replace(&mut slot.waits_for, waits_for);
        if before == waits_for {
            return;
        }
        let entries = slot.aside.clone();
        if let Some(consumer) = before {
            let gone = |member: &mut Member| member.waiting.retain(|it| !entries.contains(it));
            self.change(consumer, gone);
        }
        if let Some(consumer) = waits_for {
            self.change(consumer, |member| member.waiting.extend(entries));
        }
    }

    /// The same of all slots, when their owners have changed.
    fn sort_all(&mut self) {
        let slots: Vec<_> = self.slots.keys().copied().collect();
        for slot in slots {
            self.sort_slot(slot);
        }
    }

    /// Changes a consumer.
    fn change(&mut self, consumer: ConsumerId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&consumer) {
            change(member);
            self.update(consumer);
        }
    }

    /// Finds out whether a consumer can take something, and gives it a turn or takes it away.
    fn update(&mut self, consumer: ConsumerId) {
        let Some(member) = self.members.get_mut(&consumer) else {
            return;
        };
        let takes = member.permits > 0 && !member.paused && !self.out.is_full_of(consumer);
        let took = core::mem::replace(&mut member.takes, takes);
        self.takers = self.takers + usize::from(takes) - usize::from(took);
        if takes && !member.waiting.is_empty() {
            self.turns.join(consumer, 0);
        } else {
            self.turns.leave(consumer);
        }
    }

    pub(crate) fn check_invariants(&self) {
        for (consumer, member) in &self.members {
            check_permits(member.permits);
            let can = member.permits > 0 && !member.paused && !self.out.is_full_of(*consumer);
            assert_eq!(member.takes, can);
            assert_eq!(
                self.turns.has(*consumer),
                can && !member.waiting.is_empty(),
                "consumer {consumer} waits for a turn that never comes, or has one in vain"
            );
        }
        let takers = self.members.values().filter(|it| it.takes).count();
        assert_eq!(self.takers, takers);
        let mut aside = 0;
        for (number, slot) in &self.slots {
            aside += slot.aside.len();
            self.check_slot(*number, slot);
        }
        assert_eq!(aside, self.aside.len());
        self.out.check_invariants();
        self.delays.check_invariants(self.read);
        self.turns.check_invariants();
    }

    fn check_slot(&self, number: KeySlot, slot: &Slot) {
        let held = self.out.iter().filter(|it| it.1.note == number);
        let holders: Vec<_> = held.map(|(_, pending)| pending.consumer).collect();
        let holder = holders.first().copied();
        assert!(
            holders.iter().all(|it| Some(*it) == holder),
            "a key with two consumers"
        );
        assert_eq!(
            slot.holder,
            holder.map(|consumer| (consumer, holders.len()))
        );
        let owner = self.owners.of(number);
        let drained = holder.is_none() || holder == owner;
        for offset in &slot.aside {
            assert_eq!(self.aside[offset].slot, number);
            assert!(*offset < self.read && self.out.get(*offset).is_none());
            for (consumer, member) in &self.members {
                assert_eq!(
                    member.waiting.contains(offset),
                    drained && owner == Some(*consumer),
                    "an entry that waits for the wrong consumer, or for none"
                );
            }
        }
    }
}
