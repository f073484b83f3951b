//! The schedule of an open loop: fixed in advance, whatever the answers do.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When each message is due.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    start: Instant,
    per_second: f64,
    next: u64,
    /// What the clock said last; it is asked again only when a message may not be due yet.
    now: Instant,
}

impl Pace {
    /// A schedule of `per_second` messages per second, the first of them now.
    pub(crate) fn new(per_second: f64) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            per_second,
            next: 0,
            now,
        }
    }

    /// Waits until the next message is due, and gives the moment at which it was: a sender that
    /// is late does not move the schedule.
    pub(crate) async fn due(&mut self) -> Instant {
        let due = self.start + self.offset(self.next);
        self.next += 1;
        if due > self.now {
            self.now = Instant::now();
            if due > self.now {
                sleep_until(due).await;
                self.now = Instant::now();
            }
        }
        due
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 messages are more than are ever sent"
    )]
    fn offset(&self, message: u64) -> Duration {
        Duration::from_secs_f64(message as f64 / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_schedule_does_not_wait_for_a_late_sender() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.due().await, start);
        assert_eq!(pace.due().await, start + Duration::from_millis(100));
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for late in 2..=11 {
            assert_eq!(pace.due().await, start + Duration::from_millis(100 * late));
            assert_eq!(
                start.elapsed(),
                Duration::from_millis(1100),
                "no pause while it is late"
            );
        }
        pace.due().await;
        assert_eq!(start.elapsed(), Duration::from_millis(1200));
    }
}
