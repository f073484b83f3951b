//! One program of benchmarks: it runs pairs, and prints their ratios at the end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use crate::conditions::Conditions;
use crate::ratio::{Pair, Ratio};

/// How much work there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// To be measured.
    Full,
    /// Only to be run once, by the test suite, so that no benchmark rots.
    Tiny,
}

impl Scale {
    /// The scale that a program's arguments ask for, by criterion's own rule: `cargo bench` passes
    /// `--bench`, `cargo test` does not.
    pub fn of_args(args: impl IntoIterator<Item = String>) -> Self {
        let args: Vec<String> = args.into_iter().collect();
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        if has("--bench") && !has("--test") && !has("--list") {
            Self::Full
        } else {
            Self::Tiny
        }
    }

    /// `full` to be measured, `tiny` to be tested.
    pub fn pick<T>(self, full: T, tiny: T) -> T {
        match self {
            Self::Full => full,
            Self::Tiny => tiny,
        }
    }
}

/// A piece of work that is measured.
#[derive(Debug, Clone)]
pub struct Work {
    /// What it belongs to and what it is: `group/name` in criterion's list.
    pub group: &'static str,
    /// Its name within the group.
    pub name: String,
    /// How much of what one piece of it does.
    pub throughput: Throughput,
    /// How many measurements to take, at least 10: fewer for pieces that take long.
    pub samples: usize,
}

/// What Hulse's code is compared with.
#[derive(Debug)]
pub struct Limit<F> {
    /// What it is, in a few words.
    pub name: &'static str,
    /// Does so many pieces of it and returns how long they took.
    pub run: F,
}

/// One program of benchmarks.
pub struct Suite {
    criterion: Criterion,
    scale: Scale,
    files: PathBuf,
    /// As they were before the first measurement, when there are any.
    conditions: Option<Conditions>,
    lines: Vec<String>,
}

impl Suite {
    /// A suite as the program's arguments want it. Files are made in `files`.
    #[must_use]
    pub fn from_args(files: &Path) -> Self {
        let criterion = Criterion::default()
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3))
            .configure_from_args();
        let scale = Scale::of_args(std::env::args());
        Self {
            criterion,
            scale,
            files: files.to_owned(),
            conditions: (scale == Scale::Full).then(|| Conditions::read(files)),
            lines: Vec::new(),
        }
    }

    /// How much work there is.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        self.scale
    }

    /// The directory for files.
    #[must_use]
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Measures `hulse` and `limit`: each does so many pieces of the work and returns how long
    /// they took. For every measurement of one the other is run as well, each first by turns.
    pub fn compare(
        &mut self,
        work: &Work,
        mut hulse: impl FnMut(u64) -> Duration,
        limit: Limit<impl FnMut(u64) -> Duration>,
    ) {
        let Limit {
            name: limit_name,
            run: mut limit,
        } = limit;
        let mut pairs = Vec::new();
        let mut measure = |pieces: u64| {
            let (ours, bare);
            if pairs.len() % 2 == 0 {
                ours = hulse(pieces);
                bare = limit(pieces);
            } else {
                bare = limit(pieces);
                ours = hulse(pieces);
            }
            pairs.push(Pair {
                pieces,
                hulse: ours,
                limit: bare,
            });
            (ours, bare)
        };
        let mut group = self.criterion.benchmark_group(work.group);
        group
            .throughput(work.throughput.clone())
            .sample_size(work.samples);
        group.bench_function(format!("{}/hulse", work.name), |bencher| {
            bencher.iter_custom(|pieces| measure(pieces).0);
        });
        group.bench_function(format!("{}/limit", work.name), |bencher| {
            bencher.iter_custom(|pieces| measure(pieces).1);
        });
        group.finish();
        // Without a pair the command line has filtered this one out.
        if let Some(ratio) = Ratio::of(&pairs) {
            let (group, name) = (work.group, &work.name);
            self.note(format!("{group}/{name}: {ratio}; the limit: {limit_name}"));
        }
    }

    /// Adds a line to what is printed at the end.
    pub fn note(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Prints the conditions and every ratio, when there was anything to measure.
    pub fn finish(self) {
        self.criterion.final_summary();
        let Some(conditions) = self.conditions else {
            return;
        };
        println!("\n{conditions}");
        println!("Hulse's speed as a share of the limit's, time for one piece of each:");
        for line in self.lines {
            println!("  {line}");
        }
    }
}

/// Runs `piece` so many times and returns how long that took.
pub fn timed(pieces: u64, mut piece: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..pieces {
        piece();
    }
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(args: &[&str]) -> Scale {
        Scale::of_args(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn only_a_run_that_measures_is_full() {
        assert_eq!(scale(&["frames", "--bench"]), Scale::Full);
        assert_eq!(scale(&["frames", "produce", "--bench"]), Scale::Full);
        assert_eq!(scale(&["frames"]), Scale::Tiny);
        assert_eq!(scale(&["frames", "--test", "--bench"]), Scale::Tiny);
        assert_eq!(scale(&["frames", "--bench", "--list"]), Scale::Tiny);
        assert_eq!(Scale::Full.pick(2, 1), 2);
        assert_eq!(Scale::Tiny.pick(2, 1), 1);
    }

    #[test]
    fn as_many_pieces_are_run_as_are_timed() {
        let mut runs = 0;
        let time = timed(1_000, || {
            runs = std::hint::black_box(runs + 1);
        });
        assert_eq!(runs, 1_000);
        assert!(!time.is_zero());
    }
}
