//! The schedule of an open loop: fixed in advance, whatever the answers do. Pure.

use std::time::Duration;

/// When each message of one producer is due, counted from the start of the measurement.
///
/// A message that is sent late keeps its moment, and its latency counts from there. So a server
/// that stalls is charged for every message that was due meanwhile, although none was sent: what
/// a loop that waits for answers before it sends again leaves out (*co-ordinated omission*).
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    first: Duration,
    per_second: f64,
    next: u64,
}

impl Schedule {
    /// `per_second` messages per second, the first of them at `first`.
    pub(crate) const fn new(first: Duration, per_second: f64) -> Self {
        Self {
            first,
            per_second,
            next: 0,
        }
    }

    /// The schedules of `producers` that keep `per_second` together, one behind the other.
    pub(crate) fn shared(producers: u32, per_second: f64) -> impl Iterator<Item = Self> {
        let each = per_second / f64::from(producers);
        (0..producers).map(move |at| {
            let first = Duration::from_secs_f64(f64::from(at) / per_second);
            Self::new(first, each)
        })
    }

    /// When the next message is due.
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 messages are more than are ever sent"
    )]
    pub(crate) fn due(&self) -> Duration {
        self.first + Duration::from_secs_f64(self.next as f64 / self.per_second)
    }

    /// Takes the next message if it is due at `now`, and gives the moment at which it was.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Duration> {
        let due = self.due();
        (due <= now).then(|| {
            self.next += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::bench::latency::{Latencies, Percentiles};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_schedule_does_not_wait_for_a_late_sender() {
        let mut schedule = Schedule::new(Duration::ZERO, 10.0);
        assert_eq!(schedule.take(ms(0)), Some(ms(0)));
        assert_eq!(schedule.take(ms(99)), None);
        assert_eq!(schedule.due(), ms(100));
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(ms(1_150))).collect();
        let due: Vec<_> = (1..=11).map(|at| ms(100 * at)).collect();
        assert_eq!(late, due);
        assert_eq!(schedule.due(), ms(1_200));
    }

    #[test]
    fn producers_share_a_rate_and_take_turns() {
        let mut schedules: Vec<_> = Schedule::shared(4, 1_000.0).collect();
        for round in 0..3 {
            for (at, schedule) in (0..).zip(&mut schedules) {
                assert_eq!(schedule.take(ms(round * 4 + at)), Some(ms(round * 4 + at)));
                assert_eq!(schedule.take(ms(round * 4 + at)), None);
            }
        }
    }

    /// A server that answers 1 ms after it got a message, except that it does nothing from 1 s
    /// to 2 s: what came by then is answered at 2 s and 1 ms. A client sends to it for 10 s,
    /// 1,000 messages per second, with at most `window` unanswered. Gives what an open loop
    /// measures, and what a loop does that counts from the sending.
    fn stalled(window: usize) -> (Percentiles, Percentiles) {
        let (mut scheduled, mut sent) = (Latencies::new(), Latencies::new());
        let mut schedule = Schedule::new(Duration::ZERO, 1_000.0);
        let mut unanswered: VecDeque<(Duration, Duration)> = VecDeque::new();
        for now in (0..11_000).map(ms) {
            let stalls = (ms(1_000)..ms(2_000)).contains(&now);
            while !stalls && unanswered.front().is_some_and(|(_, at)| *at < now) {
                let (due, at) = unanswered.pop_front().unwrap();
                scheduled.record(now - due);
                sent.record(now - at);
            }
            while unanswered.len() < window && schedule.due() < ms(10_000) {
                let Some(due) = schedule.take(now) else { break };
                unanswered.push_back((due, now));
            }
        }
        assert!(unanswered.is_empty());
        assert_eq!(schedule.due(), ms(10_000));
        (scheduled.percentiles(), sent.percentiles())
    }

    #[test]
    fn a_stalled_server_shows_although_nothing_was_sent_meanwhile() {
        // Ten messages fill the window; the other 990 of the second are not sent until it is over.
        let (scheduled, sent) = stalled(10);
        assert_eq!(scheduled.p50_us, 1_000);
        // Of 10,000 messages 1,000 were due in the stall, their waits spread over a second.
        assert!(
            (850_000..=920_000).contains(&scheduled.p99_us),
            "{scheduled:?}"
        );
        assert!(
            (985_000..=1_001_000).contains(&scheduled.p999_us),
            "{scheduled:?}"
        );
        // The loop that counts from the sending sees ten slow messages and calls the rest fast.
        assert!(sent.p99_us <= 1_001, "{sent:?}");
        assert!(sent.max_us >= 985_000, "{sent:?}");
    }

    #[test]
    fn a_window_that_is_never_full_changes_nothing() {
        let (scheduled, sent) = stalled(100_000);
        assert_eq!(scheduled, sent);
        assert!(scheduled.p99_us >= 850_000, "{scheduled:?}");
    }
}
