//! How fast may be published: a token bucket for each level that states a rate.
//!
//! A bucket is kept as the time at which it will be full again, which makes it one number: taking
//! tokens moves that time on, and no more may be taken while it lies further ahead than the bucket is
//! deep. So no clock is needed to refill it, and several cores share one by sharing the number. What is
//! taken may be more than there is, since batches are taken whole; then the pause behind it is longer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hulse_model::limits::RATE_BURST_MS;
use hulse_model::{Rate, Scope};

/// How long a core that has used a rate up leaves it to the others once it can be used again, in
/// milliseconds: as long as a core that looks from time to time may take to see that, and much less
/// than what gathers is lost after.
const YIELD_MS: u64 = RATE_BURST_MS / 2;
/// The number of no core.
const NOBODY: usize = usize::MAX;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u128 = 1_000_000_000;

/// One bucket, as a rule without a clock of its own: times are nanoseconds of any clock that never
/// goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// Tokens that flow in during a second.
    per_s: u64,
}

impl Bucket {
    /// When the bucket has something again, if it is full at `full_at`. Before that nothing may be
    /// taken.
    const fn opens_at(full_at: u64) -> u64 {
        full_at.saturating_sub(RATE_BURST_MS * NS_PER_MS)
    }

    /// When it is full after so many tokens were taken at `now`.
    fn take(self, full_at: u64, now: u64, tokens: u64) -> u64 {
        let pause = u128::from(tokens) * NS_PER_S / u128::from(self.per_s.max(1));
        let pause = u64::try_from(pause).unwrap_or(u64::MAX);
        full_at.max(now).saturating_add(pause)
    }
}

/// A bucket that cores share.
#[derive(Debug)]
struct SharedBucket {
    bucket: Bucket,
    full_at: AtomicU64,
}

impl SharedBucket {
    const fn new(per_s: u64) -> Self {
        Self {
            bucket: Bucket { per_s },
            full_at: AtomicU64::new(0),
        }
    }

    fn opens_at(&self) -> u64 {
        Bucket::opens_at(self.full_at.load(Ordering::Relaxed))
    }

    fn take(&self, now: u64, tokens: u64) {
        let take = |full_at| Some(self.bucket.take(full_at, now, tokens));
        // Nothing else is told by this number, so its order among others does not matter.
        let taken = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.expect("the number is always changed");
    }
}

/// The rate of one tenant, namespace or topic, on all cores of a broker together. Made by whoever
/// reads the policies, and shared by the partitions that it holds for.
#[derive(Debug)]
pub struct RateLimit {
    scope: Scope,
    rate: Rate,
    bytes: Option<SharedBucket>,
    messages: Option<SharedBucket>,
    /// The core that has used it up last.
    last_core: AtomicUsize,
    /// On how many cores somebody waits for it.
    waiting_cores: AtomicUsize,
}

impl RateLimit {
    /// The limit of `scope`, with nothing published yet.
    #[must_use]
    pub fn new(scope: Scope, rate: Rate) -> Self {
        Self {
            scope,
            rate,
            bytes: rate.bytes_per_s.map(SharedBucket::new),
            messages: rate.messages_per_s.map(SharedBucket::new),
            last_core: AtomicUsize::new(NOBODY),
            waiting_cores: AtomicUsize::new(0),
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How much it lets through.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    fn opens_at(&self) -> u64 {
        let opens_at =
            |bucket: &Option<SharedBucket>| bucket.as_ref().map_or(0, SharedBucket::opens_at);
        opens_at(&self.bytes).max(opens_at(&self.messages))
    }

    /// Whether a core may publish something at `now_ms`. The one that has used the rate up last lets
    /// the others go first: `waits` says whether somebody waits on this core.
    pub(crate) fn is_open(&self, core: usize, waits: bool, now_ms: u64) -> bool {
        let (now, opens_at) = (now_ms.saturating_mul(NS_PER_MS), self.opens_at());
        if opens_at > now {
            return false;
        }
        let others = self.waiting_cores.load(Ordering::Relaxed) > usize::from(waits);
        let yields = others && self.last_core.load(Ordering::Relaxed) == core;
        !yields || opens_at.saturating_add(YIELD_MS * NS_PER_MS) <= now
    }

    /// A core has published so much at `now_ms`.
    pub(crate) fn take(&self, core: usize, now_ms: u64, bytes: usize, messages: u32) {
        let now = now_ms.saturating_mul(NS_PER_MS);
        if let Some(bucket) = &self.bytes {
            bucket.take(now, bytes as u64);
        }
        if let Some(bucket) = &self.messages {
            bucket.take(now, messages.into());
        }
        if self.opens_at() > now {
            self.last_core.store(core, Ordering::Relaxed);
        }
    }

    /// Somebody begins to wait on a core where nobody did.
    pub(crate) fn core_waits(&self) {
        self.waiting_cores.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody waits on that core any more.
    pub(crate) fn core_waits_no_more(&self) {
        self.waiting_cores.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(bytes: Option<u64>, messages: Option<u64>) -> RateLimit {
        let rate = Rate {
            bytes_per_s: bytes,
            messages_per_s: messages,
        };
        RateLimit::new("acme".parse().expect("a tenant"), rate)
    }

    #[test]
    fn what_was_taken_at_once_is_paid_for_by_a_pause() {
        let limit = limit(Some(1_000), None);
        assert!(limit.is_open(0, false, 5_000));
        limit.take(0, 5_000, 200, 1);
        assert!(
            limit.is_open(0, false, 5_000),
            "so much is let through at once"
        );
        limit.take(0, 5_000, 1_000, 1);
        assert!(!limit.is_open(0, false, 5_000 + 999));
        assert!(limit.is_open(0, false, 5_000 + 1_000));
    }

    #[test]
    fn the_slower_of_both_rates_holds() {
        let limit = limit(Some(1_000_000), Some(10));
        limit.take(0, 0, 10, 4);
        assert!(!limit.is_open(0, false, 0) && !limit.is_open(0, false, 199));
        assert!(limit.is_open(0, false, 200));
    }

    #[test]
    fn the_largest_numbers_there_are_do_not_overflow() {
        let limit = limit(Some(1), None);
        limit.take(0, u64::MAX, usize::MAX, u32::MAX);
        limit.take(0, u64::MAX, usize::MAX, u32::MAX);
        assert!(!limit.is_open(0, false, 1 << 40));
    }

    proptest! {
        /// In any stretch of time no more is let through than the rate, one burst, and the one batch
        /// that found the bucket open.
        #[test]
        fn no_stretch_of_time_gets_more_than_its_share(
            per_s in 1_u64..100_000,
            asked in prop::collection::vec((0_u64..50, 1_u64..5_000), 1..200),
        ) {
            let limit = limit(Some(per_s), None);
            let (mut now, mut taken) = (7_000, Vec::new());
            for (pause, bytes) in asked {
                now += pause;
                if limit.is_open(0, false, now) {
                    limit.take(0, now, usize::try_from(bytes).unwrap(), 1);
                    taken.push((now, bytes));
                }
            }
            for from in 0..taken.len() {
                let mut sum = 0;
                for (at, bytes) in &taken[from..] {
                    let stretch_ms = at - taken[from].0 + RATE_BURST_MS;
                    // One token more for the parts that are rounded off.
                    let share = per_s * stretch_ms / 1_000 + 1;
                    prop_assert!(sum <= share, "{sum} of {share} in {stretch_ms} ms");
                    sum += bytes;
                }
            }
        }

        /// Whoever always has something to publish gets the rate.
        #[test]
        fn whoever_asks_all_the_time_gets_the_rate(per_s in 1_000_u64..1_000_000, tick in 1_u64..100) {
            let limit = limit(Some(per_s), None);
            let (mut now, mut sum) = (1_000_000, 0);
            let end = now + 20_000;
            while now < end {
                while limit.is_open(0, false, now) {
                    limit.take(0, now, 100, 1);
                    sum += 100;
                }
                now += tick;
            }
            prop_assert!(sum >= per_s * 20 * 95 / 100, "{sum} of {}", per_s * 20);
            prop_assert!(sum <= per_s * 21 + 100);
        }
    }
}
