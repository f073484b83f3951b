//! How long to wait before the next attempt. Pure: time and randomness come from outside.

use std::time::Duration;

/// The first pause, in milliseconds.
const FIRST_MS: u64 = 1;
/// The longest pause while the trouble is young, in milliseconds.
const QUICK_MAX_MS: u64 = 50;
/// How long trouble counts as young: a fail-over or a restart is over by then.
const QUICK_PERIOD: Duration = Duration::from_secs(1);
/// The longest pause of all, in milliseconds.
const SLOW_MAX_MS: u64 = 500;

/// Pauses of 1, 2, 4 .. 50 ms during the first second of trouble, then up to 500 ms. Each is
/// shortened by up to a half at random, so that many clients do not come back at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next_ms: u64,
    random: u64,
}

impl Backoff {
    /// A back-off at its beginning; `seed` decides its jitter.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            next_ms: FIRST_MS,
            random: seed,
        }
    }

    /// The next pause, when the trouble has lasted for `elapsed`.
    pub(crate) fn pause(&mut self, elapsed: Duration) -> Duration {
        let cap_ms = if elapsed < QUICK_PERIOD {
            QUICK_MAX_MS
        } else {
            SLOW_MAX_MS
        };
        let full_ms = self.next_ms.min(cap_ms);
        self.next_ms = (full_ms * 2).min(SLOW_MAX_MS);
        let full = Duration::from_millis(full_ms);
        let half_us = full_ms * 500;
        full - Duration::from_micros(self.random() % (half_us + 1))
    }

    /// splitmix64 (Steele, Lea and Flood, 2014): enough for jitter.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_and_stay_within_half_of_their_length(seed: u64) {
            let mut backoff = Backoff::new(seed);
            for full_ms in [1_000_u64, 2_000, 4_000, 8_000, 16_000, 32_000, 50_000, 50_000] {
                let pause = backoff.pause(Duration::ZERO).as_micros();
                prop_assert!(pause <= u128::from(full_ms) && pause >= u128::from(full_ms / 2));
            }
            for full_ms in [100_000_u64, 200_000, 400_000, 500_000, 500_000] {
                let pause = backoff.pause(Duration::from_secs(2)).as_micros();
                prop_assert!(pause <= u128::from(full_ms) && pause >= u128::from(full_ms / 2));
            }
        }
    }

    #[test]
    fn two_clients_do_not_come_back_together() {
        let mut one = Backoff::new(1);
        let mut other = Backoff::new(2);
        let same = (0..20)
            .filter(|_| one.pause(Duration::from_secs(9)) == other.pause(Duration::from_secs(9)))
            .count();
        assert!(same < 3);
    }
}
