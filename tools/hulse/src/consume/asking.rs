//! When the broker is asked how far a subscription has come. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The pause while something comes, and the first one afterwards.
const QUIET: Duration = Duration::from_millis(200);
/// The longest pause, unless asking takes so long that it would be more than a tenth of the time.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A pause is at least so many times as long as asking took.
const SHARE: u32 = 9;

/// When to ask next.
#[derive(Debug)]
pub(crate) struct Asking {
    at: Instant,
    pause: Duration,
    /// What comes to this consumer is all that comes: while it comes, there is no need to ask.
    alone: bool,
}

impl Asking {
    /// Nothing has come yet. `alone` says whether all messages come to this consumer.
    pub(crate) fn new(alone: bool, now: Instant) -> Self {
        Self {
            at: now + QUIET,
            pause: QUIET,
            alone,
        }
    }

    /// When to ask.
    pub(crate) const fn at(&self) -> Instant {
        self.at
    }

    /// Messages came.
    pub(crate) fn received(&mut self, now: Instant) {
        self.pause = QUIET;
        let soon = now + QUIET;
        self.at = if self.alone { soon } else { self.at.min(soon) };
    }

    /// The broker was asked, which took so long, and it was not the end: each pause is twice as long
    /// as the one before.
    pub(crate) fn asked(&mut self, now: Instant, took: Duration) {
        self.pause = (self.pause * 2).min(PAUSE_MAX).max(took * SHARE);
        self.at = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn asking_gets_rarer_and_takes_a_tenth_of_the_time_at_the_most() {
        let start = Instant::now();
        let mut asking = Asking::new(true, start);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let at = asking.at();
            asking.asked(at, MOMENT);
            pauses.push((asking.at() - at).as_millis());
        }
        assert_eq!(pauses, [400, 800, 1_000, 1_000, 1_000]);
        let at = asking.at();
        asking.asked(at, Duration::from_secs(2));
        assert_eq!(asking.at() - at, Duration::from_secs(18));
        asking.received(at);
        assert_eq!(asking.at() - at, QUIET);
    }

    #[test]
    fn who_gets_a_part_asks_also_while_something_comes() {
        let start = Instant::now();
        for (alone, at) in [(true, start + MOMENT * 150 + QUIET), (false, start + QUIET)] {
            let mut asking = Asking::new(alone, start);
            for step in 0..=150 {
                asking.received(start + MOMENT * step);
            }
            assert_eq!(asking.at(), at);
        }
    }
}
