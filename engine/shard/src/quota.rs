//! The backlog quota: how many bytes a subscription may leave unacknowledged before its partition takes
//! no more.

use hulse_log::Disk;
use hulse_model::{Offset, Status};
use hulse_subscription::Subscription;

use crate::command::Clock;
use crate::effect::Refusal;
use crate::partition::Partition;

/// How long the outcome of a look at the subscriptions counts, in milliseconds: while publishes are
/// refused, not each of them costs one.
const LOOK_INTERVAL_MS: u64 = 10;

/// What is known of the backlog without a look at the subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// The largest backlog is at most so large; not known at first.
    at_most_bytes: Option<u64>,
    /// When the subscriptions were looked at last.
    looked_ms: u64,
    /// What came of it.
    refusal: Option<Refusal>,
}

impl Quota {
    /// So much was appended.
    pub(crate) fn appended(&mut self, bytes: usize) {
        if let Some(at_most) = &mut self.at_most_bytes {
            *at_most += bytes as u64;
        }
    }

    /// A cursor may stand further back than before, or the quota is another one.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl<D: Disk> Partition<D> {
    /// Why a publish is refused for the sake of the backlog quota, if it is.
    pub(crate) fn refused_backlog(&mut self, clock: Clock) -> Option<Refusal> {
        let quota_bytes = self.spec.policies.effective.backlog_bytes?;
        let now_ms = clock.monotonic_ms;
        let known = self.quota.at_most_bytes;
        if known.is_some_and(|at_most| at_most < quota_bytes) {
            return None;
        }
        if known.is_some() && now_ms < self.quota.looked_ms + LOOK_INTERVAL_MS {
            if self.quota.refusal.is_some() {
                self.counters.quota_refusals += 1;
            }
            return self.quota.refusal.clone();
        }
        let slowest = self.slowest();
        self.quota.at_most_bytes = Some(slowest.as_ref().map_or(0, |(_, bytes)| *bytes));
        self.quota.looked_ms = now_ms;
        self.quota.refusal =
            slowest
                .filter(|(_, bytes)| *bytes >= quota_bytes)
                .map(|(name, bytes)| {
                    let text = self.over_quota(&name, bytes, quota_bytes);
                    Refusal::new(Status::BacklogQuota, text)
                });
        if self.quota.refusal.is_some() {
            self.counters.quota_refusals += 1;
        }
        self.quota.refusal.clone()
    }

    /// The subscription that is furthest behind, and about how many bytes lie behind its mark.
    fn slowest(&self) -> Option<(String, u64)> {
        let subscriptions = self.state.subscriptions();
        let slowest = subscriptions.min_by_key(|one| one.cursor().mark())?;
        let bytes = self.backlog_bytes(slowest.cursor().mark().offset);
        Some((slowest.name().to_string(), bytes))
    }

    /// About how many bytes lie behind a mark.
    pub(crate) fn backlog_bytes(&self, mark: Offset) -> u64 {
        self.store.entries.bytes_from(mark)
    }

    /// Who holds the producers back just now, if somebody does, and why.
    pub(crate) fn held_by(&self) -> Option<(String, String)> {
        let quota_bytes = self.spec.policies.effective.backlog_bytes?;
        let (name, bytes) = self.slowest().filter(|(_, bytes)| *bytes >= quota_bytes)?;
        let text = self.over_quota(&name, bytes, quota_bytes);
        Some((name, text))
    }

    /// Why a subscription holds the producers back, if it does: each that is over the quota does.
    pub(crate) fn holds_back(&self, mark: Offset, subscription: &Subscription) -> Option<String> {
        let quota_bytes = self.spec.policies.effective.backlog_bytes?;
        let bytes = Some(self.backlog_bytes(mark)).filter(|bytes| *bytes >= quota_bytes)?;
        Some(self.over_quota(subscription.name().as_str(), bytes, quota_bytes))
    }

    /// The sentence for producers and for people.
    fn over_quota(&self, subscription: &str, bytes: u64, quota_bytes: u64) -> String {
        let topic = &self.spec.topic;
        format!(
            "{topic} takes no more: its backlog quota is {quota_bytes} bytes, and subscription \
             {subscription} has not acknowledged {bytes}; it is taken again once that has \
             acknowledged more, or is deleted"
        )
    }
}
