//! A regular beat on one core.

use std::time::{Duration, Instant};

use crate::task::sleep_until;

/// Beats at a fixed interval, without drift. Beats that were missed are skipped, not made up for.
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    due: Instant,
}

impl Ticker {
    /// A ticker whose first beat is one interval from now.
    ///
    /// # Panics
    ///
    /// When the interval is zero.
    pub fn new(interval: Duration) -> Self {
        assert!(!interval.is_zero(), "a ticker needs an interval above zero");
        Self {
            interval,
            due: Instant::now() + interval,
        }
    }

    /// When the next beat is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Waits for the next beat and returns by how much it was late. Dropping the wait loses
    /// nothing: the beat stays due.
    pub async fn tick(&mut self) -> Duration {
        sleep_until(self.due).await;
        let now = Instant::now();
        let late = now.saturating_duration_since(self.due);
        self.due = next_due(self.due, self.interval, now);
        late
    }
}

/// The first beat after `now` on the grid of `due`.
fn next_due(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = late / interval.as_nanos();
    let step = interval.as_nanos() * (missed + 1);
    due + Duration::from_nanos(u64::try_from(step).unwrap_or(u64::MAX / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_beats_are_skipped_and_the_grid_is_kept() {
        let start = Instant::now();
        let interval = Duration::from_millis(20);
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(next_due(start, interval, start), after(20));
        assert_eq!(next_due(start, interval, after(1)), after(20));
        assert_eq!(next_due(start, interval, after(20)), after(40));
        assert_eq!(next_due(start, interval, after(139)), after(140));
    }
}
