//! What a run gave, and how several runs become one row.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What takes longer than this counts as this long: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Durations of one kind.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Self(histogram.expect("three digits are fewer than five"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds);
    }

    /// The time in microseconds that so many of a hundred did not exceed.
    fn at(&self, percentile: f64) -> f64 {
        float(self.0.value_at_percentile(percentile)) / 1e3
    }

    fn max(&self) -> f64 {
        float(self.0.max()) / 1e3
    }
}

/// Durations that are taken while a log fills.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) append: Latencies,
    pub(crate) sync: Latencies,
}

/// What a reader beside the writer met.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// From when a piece could be read, or was to be read, until its last record was.
    pub(crate) behind: Latencies,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Records that the writer's memory had no more, and that were read through the map.
    pub(crate) missed: u64,
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    mb_per_s: f64,
    append_us: [f64; 4],
    sync_us: [f64; 3],
    kib_per_sync: f64,
    own_s_per_gb: f64,
    machine_s_per_gb: Option<f64>,
    waited_ms: f64,
    reading: Option<[f64; 5]>,
}

impl Figures {
    pub(crate) fn new(
        bytes: u64,
        took: Duration,
        times: &Times,
        own: Duration,
        machine: Option<Duration>,
        waited: Duration,
    ) -> Self {
        let (append, sync) = (&times.append, &times.sync);
        let gb = float(bytes) / 1e9;
        Self {
            mb_per_s: gb * 1e3 / took.as_secs_f64(),
            append_us: [
                append.at(50.0),
                append.at(99.0),
                append.at(99.9),
                append.max(),
            ],
            sync_us: [sync.at(50.0), sync.at(99.0), sync.max()],
            kib_per_sync: float(bytes) / 1024.0 / float(sync.0.len()),
            own_s_per_gb: own.as_secs_f64() / gb,
            machine_s_per_gb: machine.map(|time| time.as_secs_f64() / gb),
            waited_ms: waited.as_secs_f64() * 1e3,
            reading: None,
        }
    }

    pub(crate) fn with_reading(self, reading: &Reading) -> Self {
        let behind = &reading.behind;
        Self {
            reading: Some([
                behind.at(50.0),
                behind.at(99.0),
                behind.max(),
                float(reading.bytes) / 1e6 / reading.took.as_secs_f64(),
                float(reading.missed),
            ]),
            ..self
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// One figure of a row.
pub(crate) struct Column {
    /// What the table calls it.
    pub(crate) head: &'static str,
    /// What the JSON file calls it.
    pub(crate) name: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
    read: fn(&Figures) -> Option<f64>,
    fold: Fold,
}

/// How the figures of several runs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    Median,
    Largest,
}

impl Column {
    const fn median(
        head: &'static str,
        name: &'static str,
        digits: usize,
        read: fn(&Figures) -> Option<f64>,
    ) -> Self {
        Self {
            head,
            name,
            digits,
            read,
            fold: Fold::Median,
        }
    }

    const fn largest(
        head: &'static str,
        name: &'static str,
        digits: usize,
        read: fn(&Figures) -> Option<f64>,
    ) -> Self {
        Self {
            fold: Fold::Largest,
            ..Self::median(head, name, digits, read)
        }
    }

    /// The figure of all runs, if they have it.
    pub(crate) fn of(&self, runs: &[Figures]) -> Option<f64> {
        let values: Option<Vec<f64>> = runs.iter().map(self.read).collect();
        let mut values = values?;
        values.sort_by(f64::total_cmp);
        match self.fold {
            Fold::Median => values.get(values.len() / 2).copied(),
            Fold::Largest => values.last().copied(),
        }
    }
}

/// The figures of a row, in the order of the table.
pub(crate) const COLUMNS: &[Column] = &[
    Column::median("MB/s", "mb_per_s", 0, |it| Some(it.mb_per_s)),
    Column::median("app p50", "append_p50_us", 1, |it| Some(it.append_us[0])),
    Column::median("p99", "append_p99_us", 0, |it| Some(it.append_us[1])),
    Column::median("p99.9", "append_p99_9_us", 0, |it| Some(it.append_us[2])),
    Column::largest("max", "append_max_us", 0, |it| Some(it.append_us[3])),
    Column::median("syn p50", "sync_p50_us", 0, |it| Some(it.sync_us[0])),
    Column::median("p99", "sync_p99_us", 0, |it| Some(it.sync_us[1])),
    Column::largest("max", "sync_max_us", 0, |it| Some(it.sync_us[2])),
    Column::median("KiB/syn", "kib_per_sync", 0, |it| Some(it.kib_per_sync)),
    Column::median("cpu s/GB", "cpu_s_per_gb", 2, |it| Some(it.own_s_per_gb)),
    Column::median("all s/GB", "machine_cpu_s_per_gb", 2, |it| {
        it.machine_s_per_gb
    }),
    Column::median("wait ms", "segment_wait_ms", 0, |it| Some(it.waited_ms)),
    Column::median("rd p50", "read_behind_p50_us", 0, |it| {
        it.reading.map(|it| it[0])
    }),
    Column::median("p99", "read_behind_p99_us", 0, |it| {
        it.reading.map(|it| it[1])
    }),
    Column::largest("max", "read_behind_max_us", 0, |it| {
        it.reading.map(|it| it[2])
    }),
    Column::median("rd MB/s", "read_mb_per_s", 0, |it| {
        it.reading.map(|it| it[3])
    }),
    Column::largest("missed", "read_missed", 0, |it| it.reading.map(|it| it[4])),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(seconds: u64) -> Figures {
        let mut times = Times::default();
        times.append.record(Duration::from_micros(seconds));
        times.sync.record(Duration::from_micros(10 * seconds));
        Figures::new(
            1_000_000_000,
            Duration::from_secs(seconds),
            &times,
            Duration::from_millis(500),
            None,
            Duration::ZERO,
        )
    }

    #[test]
    fn a_row_has_medians_and_the_worst_of_all_runs() {
        let runs = [figures(4), figures(1), figures(2)];
        let of = |name: &str| {
            let column = COLUMNS.iter().find(|column| column.name == name);
            column.unwrap().of(&runs)
        };
        assert_eq!(of("mb_per_s"), Some(500.0));
        let near =
            |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < 0.01 * wanted;
        assert!(near(of("append_p99_us"), 2.0));
        assert!(near(of("append_max_us"), 4.0));
        assert!(near(of("sync_max_us"), 40.0));
        assert_eq!(of("cpu_s_per_gb"), Some(0.5));
        assert_eq!(of("machine_cpu_s_per_gb"), None);
        assert_eq!(of("read_mb_per_s"), None);
    }
}
