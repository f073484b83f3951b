//! Latencies, and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart, in microseconds (one hour).
const MAX_US: u64 = 3_600_000_000;

/// Latencies that were measured, in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) p9999_us: u64,
    pub(crate) max_us: u64,
}

impl Latencies {
    /// None so far.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are in order"))
    }

    /// One more.
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// So many of the same.
    pub(crate) fn record_many(&mut self, latency: Duration, count: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record_n(us.clamp(1, MAX_US), count);
    }

    /// Those of another as well.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The percentiles; all 0 when nothing was measured.
    pub(crate) fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles {
                p50_us: 0,
                p99_us: 0,
                p999_us: 0,
                p9999_us: 0,
                max_us: 0,
            };
        }
        Percentiles {
            p50_us: self.0.value_at_quantile(0.5),
            p99_us: self.0.value_at_quantile(0.99),
            p999_us: self.0.value_at_quantile(0.999),
            p9999_us: self.0.value_at_quantile(0.9999),
            max_us: self.0.max(),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {}  p99 {}  p99.9 {}  p99.99 {}  max {}",
            human(self.p50_us),
            human(self.p99_us),
            human(self.p999_us),
            human(self.p9999_us),
            human(self.max_us)
        )
    }
}

/// A time for people: "85 us", "3.2 ms", "1.50 s".
fn human(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut some = Latencies::new();
        let mut others = Latencies::new();
        for ms in 1..=500 {
            some.record(Duration::from_millis(ms));
            others.record(Duration::from_millis(500 + ms));
        }
        some.add(&others);
        let percentiles = some.percentiles();
        // The histogram keeps three digits.
        let near = |us: u64, ms: u64| us.abs_diff(ms * 1_000) <= ms;
        assert!(near(percentiles.p50_us, 500), "{percentiles:?}");
        assert!(near(percentiles.p99_us, 990), "{percentiles:?}");
        assert!(near(percentiles.max_us, 1000), "{percentiles:?}");
        assert_eq!(Latencies::new().percentiles().max_us, 0);
    }

    #[test]
    fn what_is_out_of_bounds_counts_at_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(1_000_000));
        assert!(latencies.percentiles().max_us >= MAX_US - MAX_US / 1_000);
        assert_eq!(latencies.percentiles().p50_us, 1);
    }

    #[test]
    fn times_read_well() {
        for (us, text) in [(85, "85 us"), (3_250, "3.2 ms"), (1_500_000, "1.50 s")] {
            assert_eq!(human(us), text);
        }
    }
}
