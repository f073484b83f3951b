//! The dispatcher of a Failover subscription: one active consumer, and others that stand by.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::Offset;
use hulse_model::limits::SUBSCRIPTION_CONSUMERS_MAX;

use crate::cursor::Cursor;
use crate::dispatcher::{
    AttachError, Blocked, Claim, ConsumerId, ConsumerState, Delivery, Next, PermitsError, Seats,
    add_permits, check_permits,
};
use crate::exclusive::Exclusive;

/// How long an active consumer that is to be replaced has for acknowledging what it was given, in
/// milliseconds. What it has not acknowledged by then is delivered to its successor as well. As long
/// as Pulsar's `activeConsumerFailoverDelayTimeMillis`.
pub const HAND_OVER_MS: u64 = 1_000;

/// Of the consumers of the best priority one is active: the preferred one, if somebody who sees all
/// partitions has said which ([`Self::prefer`]) and it is there. Without a preference the
/// partition's number says which, counted round in the order of their names, so that the partitions
/// of a topic are spread over them all the same.
///
/// When the active consumer goes, another takes over at once, from the mark on. When one is to be
/// active instead of a living one, that one is given nothing more, and replaced when it has
/// acknowledged what it was given, or after [`HAND_OVER_MS`]. From then on its acknowledgements
/// move nothing ([`Self::takes_acknowledgement`]). [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    partition: u32,
    members: BTreeMap<ConsumerId, Member>,
    preferred: Option<Preferred>,
    turn: Turn,
    /// Who is there, who is active or what is preferred has changed since that was last reported.
    changed: bool,
    /// Who is to be active.
    chosen: Option<ConsumerId>,
    /// The active one's deliveries.
    active: Exclusive,
    /// The active one is to be replaced when it has acknowledged what it was given.
    hand_over: Option<HandOver>,
    /// Somebody has not been told what is true.
    unannounced: bool,
}

/// Who is to be active, as somebody said who sees all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Preferred {
    member: u64,
    /// Preferences with a lower one are older.
    generation: u64,
}

/// How long one consumer, over as many streams as it takes, has been the active one without another
/// in between, and what it was given in this time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Turn {
    holder: Option<Holder>,
    /// Entries from here on it was not given. The first turn in the life of a broker has no limit:
    /// nobody else can have been given anything, and what the holder was given before is its own.
    end: Option<Offset>,
}

/// A consumer, as far as it can be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Member(u64),
    /// One that does not say who it is.
    Stream(ConsumerId),
}

/// How long the active consumer may still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HandOver {
    /// No time has passed yet.
    Begun,
    /// Until then, in monotonic milliseconds.
    Until(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    priority: u8,
    name: Box<str>,
    member: Option<u64>,
    /// While it stands by; those of the active one are with its deliveries.
    permits: i64,
    paused: bool,
    /// What it was told last: that it is active, or is not.
    told: Option<bool>,
}

impl Failover {
    pub(crate) fn new(partition: u32) -> Self {
        Self {
            partition,
            members: BTreeMap::new(),
            preferred: None,
            turn: Turn::default(),
            changed: false,
            chosen: None,
            active: Exclusive::default(),
            hand_over: None,
            unannounced: false,
        }
    }

    pub(crate) fn attach(
        &mut self,
        consumer: ConsumerId,
        claim: Claim<'_>,
        cursor: &Cursor,
    ) -> Result<(), AttachError> {
        if self.members.contains_key(&consumer) {
            return Err(AttachError::Busy { by: consumer });
        }
        if self.members.len() >= SUBSCRIPTION_CONSUMERS_MAX {
            return Err(AttachError::TooMany);
        }
        let member = Member {
            priority: claim.priority,
            name: claim.name.into(),
            member: claim.member,
            permits: 0,
            paused: false,
            told: None,
        };
        self.members.insert(consumer, member);
        self.unannounced = true;
        self.changed = true;
        self.chosen = self.choose();
        self.settle(cursor);
        Ok(())
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        if self.members.remove(&consumer).is_none() {
            return false;
        }
        self.changed = true;
        self.active.detach(consumer, cursor);
        self.chosen = self.choose();
        self.settle(cursor);
        true
    }

    /// Has `member` be the active consumer, when it is one of the best priority, from now on or
    /// from when it comes. An older preference than the present one is passed over.
    pub(crate) fn prefer(&mut self, member: u64, generation: u64, cursor: &Cursor) {
        if self.preferred.is_some_and(|it| it.generation > generation) {
            return;
        }
        self.preferred = Some(Preferred { member, generation });
        self.changed = true;
        self.chosen = self.choose();
        self.settle(cursor);
    }

    /// Whether an acknowledgement of an entry counts: the consumer is the active one, and was given
    /// the entry since it last became that. What another was given since, and what is to be
    /// delivered again after a seek, an earlier turn's acknowledgement must not take away.
    pub(crate) fn takes_acknowledgement(&self, consumer: ConsumerId, offset: Offset) -> bool {
        self.active.consumer() == Some(consumer) && self.turn.end.is_none_or(|end| offset < end)
    }

    /// Whether something has changed that [`Self::seats`] tells, since it was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Who is there and who is active, of those that say who they are.
    pub(crate) fn seats(&self) -> Seats {
        let members = self.members.values();
        let named = members.filter_map(|it| Some((it.member?, it.priority)));
        let mut members: Vec<_> = named.collect();
        members.sort_unstable();
        // One consumer may have two streams while the broker holds a lost one for living.
        members.dedup_by_key(|(member, _)| *member);
        let active = self.active.consumer();
        Seats {
            members,
            active: active.and_then(|it| self.members.get(&it)?.member),
            generation: self.preferred.map_or(0, |it| it.generation),
        }
    }

    pub(crate) fn permits(
        &mut self,
        consumer: ConsumerId,
        messages: u32,
    ) -> Result<(), PermitsError> {
        if self.active.consumer() == Some(consumer) {
            return self.active.permits(consumer, messages);
        }
        let member = self.members.get_mut(&consumer);
        let member = member.ok_or(PermitsError::NotAttached { consumer })?;
        add_permits(&mut member.permits, messages)
    }

    pub(crate) fn pause(&mut self, consumer: ConsumerId, paused: bool) {
        if let Some(member) = self.members.get_mut(&consumer) {
            member.paused = paused;
            self.active.pause(consumer, paused);
        }
    }

    pub(crate) fn next(&mut self, cursor: &Cursor, end: Offset) -> Option<Next> {
        self.settle(cursor);
        if self.hand_over.is_some() {
            return None;
        }
        self.active.next(cursor, end)
    }

    pub(crate) fn delivered(
        &mut self,
        cursor: &Cursor,
        offset: Offset,
        messages: u32,
    ) -> Option<Delivery> {
        if self.hand_over.is_some() {
            return None;
        }
        let delivery = self.active.delivered(cursor, offset, messages)?;
        if let Some(end) = &mut self.turn.end {
            *end = (*end).max(offset.next());
        }
        Some(delivery)
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor) {
        self.active.redeliver(consumer, cursor);
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        self.active.skip(end);
    }

    pub(crate) fn seek(&mut self) {
        self.turn.end = Some(Offset::ZERO);
        self.active.seek();
    }

    pub(crate) fn tick(&mut self, cursor: &Cursor, now_ms: u64) -> bool {
        match self.hand_over {
            Some(HandOver::Begun) => {
                self.hand_over = Some(HandOver::Until(now_ms.saturating_add(HAND_OVER_MS)));
                false
            }
            Some(HandOver::Until(until)) if now_ms >= until => {
                self.replace(cursor);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn announce(
        &mut self,
        cursor: &Cursor,
        can_be_told: impl Fn(ConsumerId) -> bool,
    ) -> Vec<(ConsumerId, bool)> {
        // Whoever becomes active now is told so before it is given anything.
        self.settle(cursor);
        if !self.unannounced {
            return Vec::new();
        }
        let active = self.active.consumer();
        let mut told = Vec::new();
        self.unannounced = false;
        for (consumer, member) in &mut self.members {
            let is_active = active == Some(*consumer);
            if member.told == Some(is_active) {
                continue;
            }
            if can_be_told(*consumer) {
                member.told = Some(is_active);
                told.push((*consumer, is_active));
            } else {
                self.unannounced = true;
            }
        }
        told
    }

    pub(crate) fn state(&self, consumer: ConsumerId) -> Option<ConsumerState> {
        let member = self.members.get(&consumer)?;
        let standing_by = ConsumerState {
            permits: member.permits,
            unacknowledged: None,
            active: false,
        };
        Some(self.active.state(consumer).unwrap_or(standing_by))
    }

    pub(crate) fn blocked(&self, cursor: &Cursor, end: Offset) -> Option<Blocked> {
        match (self.active.consumer(), self.hand_over) {
            (Some(from), Some(_)) if !self.active.is_idle(cursor) => Some(Blocked::HandingOver {
                from,
                first: cursor.mark(),
            }),
            _ => self.active.blocked(cursor, end),
        }
    }

    /// Finds out who is to be active.
    fn choose(&self) -> Option<ConsumerId> {
        let best = self.members.values().map(|member| member.priority).min()?;
        let best = self.members.iter().filter(|it| it.1.priority == best);
        // Of two streams of one consumer the later one lives: their numbers rise.
        let named = best.clone().filter_map(|(id, it)| Some((it.member?, *id)));
        let newest: BTreeMap<u64, ConsumerId> = named.collect();
        if let Some(preferred) = &self.preferred {
            if let Some(consumer) = newest.get(&preferred.member) {
                return Some(*consumer);
            }
            // When it is gone, nobody is disturbed until another is preferred.
            let active = self.active.consumer();
            if let Some((consumer, _)) = best.clone().find(|it| Some(*it.0) == active) {
                return Some(*consumer);
            }
        }
        let lives = |it: &(&ConsumerId, &Member)| {
            let newest = it.1.member.and_then(|member| newest.get(&member));
            newest.is_none_or(|newest| newest == it.0)
        };
        let best = best.filter(lives);
        let mut best: Vec<_> = best.map(|(id, member)| (&member.name, *id)).collect();
        best.sort_unstable();
        let place = usize::try_from(self.partition).unwrap_or(0) % best.len();
        Some(best[place].1)
    }

    /// Makes the chosen consumer active if nothing speaks against it any more.
    fn settle(&mut self, cursor: &Cursor) {
        let active = self.active.consumer();
        if active == self.chosen {
            // Whoever was to take over may have gone.
            self.hand_over = None;
        } else if active.is_none() || self.active.is_idle(cursor) || self.is_same(active) {
            self.replace(cursor);
        } else {
            self.hand_over.get_or_insert(HandOver::Begun);
        }
    }

    /// Whether the chosen consumer is the active one over another stream: the active one's is lost
    /// then, and there is nobody to wait for.
    fn is_same(&self, active: Option<ConsumerId>) -> bool {
        let member = |it: Option<ConsumerId>| self.members.get(&it?)?.member;
        member(active).is_some() && member(active) == member(self.chosen)
    }

    fn replace(&mut self, cursor: &Cursor) {
        self.hand_over = None;
        self.unannounced = true;
        self.changed = true;
        if let Some(old) = self.active.consumer() {
            let left = self.active.state(old).map(|state| state.permits);
            if let Some(member) = self.members.get_mut(&old) {
                member.permits = left.unwrap_or_default();
            }
            self.active.detach(old, cursor);
        }
        if let Some(new) = self.chosen
            && let Some(member) = self.members.get_mut(&new)
        {
            let holder = member.member.map_or(Holder::Stream(new), Holder::Member);
            if self.turn.holder != Some(holder) {
                let is_first = self.turn.holder.is_none() && self.turn.end.is_none();
                self.turn = Turn {
                    holder: Some(holder),
                    end: (!is_first).then_some(Offset::ZERO),
                };
            }
            let permits = core::mem::take(&mut member.permits);
            let attached = self.active.take_over(new, permits, member.paused);
            attached.expect("nobody is active");
        }
    }

    pub(crate) fn check_invariants(&self) {
        self.active.check_invariants();
        for member in self.members.values() {
            check_permits(member.permits);
        }
        assert_eq!(self.chosen, self.choose());
        let active = self.active.consumer();
        assert_eq!(
            active.is_none(),
            self.members.is_empty(),
            "one of those who are there is active"
        );
        if let Some(active) = active {
            let member = &self.members[&active];
            assert_eq!(member.permits, 0, "permits in two places");
            assert!(
                self.hand_over.is_some() || self.chosen == Some(active),
                "the wrong consumer is active"
            );
        }
    }
}
