//! The dispatcher of a Failover subscription: one active consumer, and others that stand by.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hulse_model::Offset;
use hulse_model::limits::SUBSCRIPTION_CONSUMERS_MAX;

use crate::cursor::Cursor;
use crate::dispatcher::{
    AttachError, Blocked, Claim, ConsumerId, ConsumerState, Delivery, Next, PermitsError,
    add_permits, check_permits,
};
use crate::exclusive::Exclusive;

/// How long an active consumer that is to be replaced has for acknowledging what it was given, in
/// milliseconds. What it has not acknowledged by then is delivered to its successor as well. As long
/// as Pulsar's `activeConsumerFailoverDelayTimeMillis`.
pub const HAND_OVER_MS: u64 = 1_000;

/// Of the consumers of the best priority, ordered by name, one is active: which, the partition's
/// number says, so that the partitions of a topic are spread over them. When the active consumer
/// goes, the next takes over at once, from the mark on. When a consumer comes that is to be active
/// instead of a living one, that one is given nothing more, and replaced when it has acknowledged
/// what it was given, or after [`HAND_OVER_MS`]. [`crate::Dispatcher`] describes the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    partition: u32,
    members: BTreeMap<ConsumerId, Member>,
    /// Who is to be active.
    chosen: Option<ConsumerId>,
    /// The active one's deliveries.
    active: Exclusive,
    /// The active one is to be replaced when it has acknowledged what it was given.
    hand_over: Option<HandOver>,
    /// Somebody has not been told what is true.
    unannounced: bool,
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
            permits: 0,
            paused: false,
            told: None,
        };
        self.members.insert(consumer, member);
        self.unannounced = true;
        self.chosen = self.choose();
        self.settle(cursor);
        Ok(())
    }

    pub(crate) fn detach(&mut self, consumer: ConsumerId, cursor: &Cursor) -> bool {
        if self.members.remove(&consumer).is_none() {
            return false;
        }
        self.active.detach(consumer, cursor);
        self.chosen = self.choose();
        self.settle(cursor);
        true
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
        self.active.delivered(cursor, offset, messages)
    }

    pub(crate) fn redeliver(&mut self, consumer: ConsumerId, cursor: &Cursor) {
        self.active.redeliver(consumer, cursor);
    }

    pub(crate) fn skip(&mut self, end: Offset) {
        self.active.skip(end);
    }

    pub(crate) fn seek(&mut self) {
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
        } else if active.is_none() || self.active.is_idle(cursor) {
            self.replace(cursor);
        } else {
            self.hand_over.get_or_insert(HandOver::Begun);
        }
    }

    fn replace(&mut self, cursor: &Cursor) {
        self.hand_over = None;
        self.unannounced = true;
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
