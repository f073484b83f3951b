//! Time to live: messages that are older than the policy says count as acknowledged, for every
//! subscription.

use hulse_log::Disk;
use hulse_model::Offset;

use crate::command::Clock;
use crate::partition::Partition;

/// How often is looked at what has expired, in milliseconds.
const EXPIRY_INTERVAL_MS: u64 = 1_000;

/// How far expiry has come.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// Entries before it have expired.
    end: Offset,
    /// The next one does not before that, in milliseconds since 1970.
    next_wall_ms: u64,
    /// When is looked again.
    at_ms: u64,
}

impl<D: Disk> Partition<D> {
    /// Acknowledges what has expired. Returns whether that was anything: it becomes durable with the
    /// round that follows, as every acknowledgement does.
    pub(crate) fn expire(&mut self, clock: Clock) -> bool {
        let Some(ttl_ms) = self.spec.policies.effective.ttl_ms else {
            return false;
        };
        if clock.monotonic_ms < self.expiry.at_ms {
            return false;
        }
        self.expiry.at_ms = clock.monotonic_ms + EXPIRY_INTERVAL_MS;
        let high_watermark = self.high_watermark();
        // Nobody waits for anything: so an idle partition is not read, and its files stay closed.
        if self
            .state
            .lowest_mark()
            .is_none_or(|mark| mark >= high_watermark)
        {
            return false;
        }
        if clock.wall_ms >= self.expiry.next_wall_ms {
            self.find_expired(clock.wall_ms, ttl_ms, high_watermark);
        }
        self.acknowledge_expired()
    }

    /// Finds the first entry that has not expired, and when it will.
    fn find_expired(&mut self, now_ms: u64, ttl_ms: u64, high_watermark: Offset) {
        let oldest_ms = now_ms.saturating_sub(ttl_ms);
        let entries = &mut self.store.entries;
        let end = match entries.find_time(oldest_ms) {
            Ok(found) => found.min(high_watermark),
            // Tried again with the next look.
            Err(error) => {
                let partition = self.spec.id;
                tracing::warn!(%partition, %error, "it is not known what has expired");
                return;
            }
        };
        let mut reader = entries.cursor(end);
        let next_ms = match entries.read(&mut reader, high_watermark) {
            Ok(Some(entry)) => entry.header.appended_ms,
            // Whatever comes next is not older than now; and what cannot be read is passed over by
            // the next look.
            Ok(None) | Err(_) => oldest_ms,
        };
        self.expiry.end = end;
        // The entry itself expires a millisecond after it has reached its age.
        self.expiry.next_wall_ms = next_ms.saturating_add(ttl_ms).saturating_add(1);
    }

    fn acknowledge_expired(&mut self) -> bool {
        let Some(last) = self.expiry.end.0.checked_sub(1).map(Offset) else {
            return false;
        };
        let end = self.expiry.end;
        let behind: Vec<u64> = self
            .state
            .subscriptions()
            .filter(|one| one.cursor().mark().offset < end)
            .map(hulse_subscription::Subscription::id)
            .collect();
        for id in &behind {
            let Some(subscription) = self.state.subscription_mut(*id) else {
                continue;
            };
            let cursor = subscription.cursor_mut();
            let before = cursor.mark().offset;
            cursor.acknowledge_cumulative(last, u32::MAX, u32::MAX);
            self.counters.expired += end.0 - before.0;
            self.sibling.cursor_moved(*id, None);
            if let Some(served) = self.consumers.served(*id)
                && let Some(subscription) = self.state.subscription(*id)
            {
                served.dispatcher.expired(subscription.cursor());
            }
        }
        !behind.is_empty()
    }

    /// The policies have changed: everything is looked at anew, and soon.
    pub(crate) fn policies_changed(&mut self) {
        self.expiry = Expiry::default();
        self.quota.forget();
        self.upkeep.look_at_retention();
    }
}
