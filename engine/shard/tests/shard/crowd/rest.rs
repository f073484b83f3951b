//! What has to be true when nothing is under way any more: the shard's own account agrees, and
//! nothing waits that could go out.

use std::collections::BTreeMap;

use hulse_model::limits::{CONSUMER_UNACKNOWLEDGED_MAX, SUBSCRIPTION_UNACKNOWLEDGED_MAX};
use hulse_shard::{ConsumerStats, StreamKey, SubscriptionStats};
use hulse_subscription::SubscriptionKind::{Failover, KeyShared};

use crate::crowd::account::{Session, Subscription};

impl Subscription {
    /// The shard says where the mark stands.
    pub(super) fn check_mark(&mut self, stats: &SubscriptionStats, end: u64) {
        self.words
            .marked(stats.mark.offset.0, stats.mark.index, end);
    }

    /// Checks the shard's own account at rest. `end` is the high watermark.
    ///
    /// Rule: the shard says how many entries are not acknowledged, who is active, and why nothing
    /// goes out, and it is true.
    pub(super) fn check_rest(&self, stats: &SubscriptionStats, end: u64) {
        let surely = (0..end)
            .filter(|offset| self.words.is_open(*offset))
            .count() as u64;
        let perhaps = (0..end)
            .filter(|offset| !self.words.is_done(*offset))
            .count() as u64;
        let backlog = stats.backlog_entries;
        assert!(
            (surely..=perhaps).contains(&backlog),
            "{surely}..={perhaps} are left: {stats:?}"
        );
        self.check_counts(stats);
        self.check_active(stats);
        self.check_reason(stats, surely, perhaps);
    }

    /// Rule: nobody who could take something waits while there is something for it: no wake-up is
    /// lost. `is_open` says whether everything has left that was queued towards a connection.
    pub(super) fn check_nothing_waits(&self, end: u64, is_open: impl Fn(u64) -> bool) {
        let load = self.load();
        if load.values().sum::<u64>() >= SUBSCRIPTION_UNACKNOWLEDGED_MAX / 2 {
            return;
        }
        let ready = |stream: &&StreamKey| {
            let light = load
                .get(stream)
                .is_none_or(|it| *it < CONSUMER_UNACKNOWLEDGED_MAX / 2);
            self.sessions[stream].permits > 0 && light && is_open(stream.connection)
        };
        let mut ready = self.sessions.keys().filter(ready);
        let mut waits = (0..end).filter(|offset| self.words.is_open(*offset));
        match self.kind {
            Failover => {
                if ready.any(|stream| self.active == Some(*stream)) {
                    let forgotten = waits.find(|offset| *offset >= self.next);
                    assert_eq!(forgotten, None, "the active one waits for it");
                }
            }
            KeyShared => {
                // Nobody here knows whose a key is: so all must be ready.
                if self.sessions.is_empty() || ready.count() < self.sessions.len() {
                    return;
                }
                let out: Vec<_> = self.with.keys().map(|offset| self.key(*offset)).collect();
                let forgotten = waits.find(|offset| {
                    let key = self.key(*offset);
                    !self.with.contains_key(offset) && key.is_some() && !out.contains(&key)
                });
                assert_eq!(forgotten, None, "all of them wait for it");
            }
            _ => {
                if let Some(stream) = ready.next() {
                    let forgotten = waits.find(|offset| !self.with.contains_key(offset));
                    assert_eq!(forgotten, None, "{stream:?} waits for it");
                }
            }
        }
    }

    /// Checks the shard's account at any moment.
    ///
    /// Rule: when it gives no reason why nothing goes out, there is something that can go out, and
    /// somebody who may be given it.
    pub(super) fn check_glance(&self, stats: &SubscriptionStats, end: u64) {
        self.check_counts(stats);
        if stats.blocked.is_none() {
            let may = self.sessions.values().any(|it| it.permits > 0);
            let mut left = (0..end).filter(|offset| !self.words.is_done(*offset));
            let can = left.any(|offset| !self.with.contains_key(&offset));
            assert!(
                may && can,
                "nothing can go out, and no reason is given: {stats:?}"
            );
        }
    }

    /// Rule: exactly one consumer of a failover subscription is active: the one told so.
    fn check_active(&self, stats: &SubscriptionStats) {
        let all = stats.consumers.iter();
        let found: Vec<_> = all.filter(|it| it.active).map(|it| &it.name).collect();
        if self.kind == Failover {
            let active = self.active.map(|active| &self.sessions[&active].name);
            assert_eq!(
                active.is_some(),
                !self.sessions.is_empty(),
                "nobody is active"
            );
            assert_eq!(
                found,
                active.into_iter().collect::<Vec<_>>(),
                "who is active"
            );
        } else {
            assert_eq!(found.len(), stats.consumers.len(), "all take part");
        }
    }

    /// How many unacknowledged messages each consumer has.
    fn load(&self) -> BTreeMap<StreamKey, u64> {
        let mut load = BTreeMap::new();
        for (offset, with) in &self.with {
            *load.entry(*with).or_default() += self.words.left(*offset).unwrap_or_default();
        }
        load
    }

    /// Rule: the shard counts permits, messages given and messages not acknowledged as the account
    /// does.
    fn check_counts(&self, stats: &SubscriptionStats) {
        let load = self.load();
        let expected = self.sessions.iter().map(|(stream, session)| {
            let counted = load.get(stream).copied().unwrap_or(0);
            let unacknowledged = (self.kind != Failover).then_some(counted);
            let (name, permits) = (session.name.clone(), session.permits);
            (name, permits, unacknowledged, session.given)
        });
        let told = |it: &ConsumerStats| {
            let (name, given) = (it.name.clone(), it.delivered_messages);
            (name, it.permits, it.unacknowledged, given)
        };
        let mut expected: Vec<_> = expected.collect();
        let mut found: Vec<_> = stats.consumers.iter().map(told).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "name, permits, unacknowledged, given");
    }

    /// Rule: at rest there is a reason why nothing goes out, and it is true.
    fn check_reason(&self, stats: &SubscriptionStats, surely: u64, perhaps: u64) {
        let reason = stats.blocked.as_ref().map(|blocked| &*blocked.text);
        let reason = reason.unwrap_or_else(|| panic!("something can go out at rest: {stats:?}"));
        let says = |text| reason.contains(text);
        assert_eq!(
            self.sessions.is_empty(),
            says("no consumer is attached"),
            "{reason}"
        );
        if self.sessions.is_empty() {
            return;
        }
        let done = says("everything is acknowledged");
        assert!(
            if done { surely == 0 } else { perhaps > 0 },
            "{surely} are left: {reason}"
        );
        let named = |rest: &str| {
            let name = rest.split([' ', ';']).next().unwrap_or_default();
            let known = |it: &&Session| it.name == name;
            self.sessions
                .values()
                .filter(known)
                .map(|it| it.permits)
                .min()
        };
        if let Some((_, rest)) = reason.split_once("and consumer ")
            && says("has no permits left")
        {
            assert!(named(rest).is_some_and(|least| least <= 0), "{reason}");
        }
    }

    /// Rule: nothing is lost: everything was given out and is acknowledged.
    pub(super) fn is_through(&self, stats: &SubscriptionStats, end: u64) -> bool {
        stats.mark.offset.0 == end && (0..end).all(|offset| self.words.is_done(offset))
    }
}
