//! Whether this machine can run Hulse, and how to mend what is missing.
//!
//! `hulse serve` asks before any executor starts, and stops with the sentence of the first
//! [`Outcome::Fail`]; `hulse doctor` prints it all. Nothing here panics.

mod data_dir;
mod kernel;
mod limits;
mod processors;

use std::fmt;

pub use data_dir::check_data_dir;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As wanted.
    Pass,
    /// It runs, less well or less far than it should.
    Warn,
    /// It does not run.
    Fail,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "ok",
            Self::Warn => "warning",
            Self::Fail => "failed",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, such as "kernel".
    pub name: &'static str,
    /// What it should be, such as "5.8 or later, 5.15 advised".
    pub wanted: String,
    /// What it is.
    pub found: String,
    /// How that came out.
    pub outcome: Outcome,
    /// How to mend it, with the exact command or flag; empty when it passed.
    pub remedy: String,
}

impl Check {
    /// The check as one sentence for a log line or an error message.
    pub fn sentence(&self) -> String {
        let Self {
            name,
            wanted,
            found,
            remedy,
            outcome,
        } = self;
        match outcome {
            Outcome::Pass => format!("{name}: {found}."),
            Outcome::Warn | Outcome::Fail => {
                format!("{name}: {found}; wanted {wanted}. {remedy}")
            }
        }
    }

    /// A check which found what was wanted.
    fn pass(name: &'static str, wanted: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name,
            wanted: wanted.into(),
            found: found.into(),
            outcome: Outcome::Pass,
            remedy: String::new(),
        }
    }

    /// The same check, come out otherwise.
    fn but(mut self, outcome: Outcome, remedy: impl Into<String>) -> Self {
        self.outcome = outcome;
        self.remedy = remedy.into();
        self
    }
}

/// Looks at the kernel, io_uring, the limits, the processors and the memory, for a broker of
/// `cores` cores with rings of `ring_depth` requests
/// ([`CoresConfig::ring_depth`](crate::CoresConfig)).
///
/// It raises this process's limits of open files and of locked memory as far as they may be
/// raised without privilege; nothing else changes.
pub fn check_machine(cores: usize, ring_depth: usize) -> Vec<Check> {
    vec![
        kernel::check_release(),
        kernel::check_ring(),
        limits::check_memlock(cores, ring_depth),
        limits::check_files(),
        limits::check_maps(),
        processors::check_cores(cores),
        processors::check_memory(cores),
    ]
}

/// The first check that failed, if one did.
pub fn first_failure(checks: &[Check]) -> Option<&Check> {
    checks.iter().find(|check| check.outcome == Outcome::Fail)
}

/// Bytes for people: "512 KiB", "1.5 GiB".
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(scale);
    if tenths.is_multiple_of(10) {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(512 * 1024), "512 KiB");
        assert_eq!(human_bytes(3 << 29), "1.5 GiB");
        assert_eq!(human_bytes(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn this_machine_passes_or_says_why() {
        let checks = check_machine(1, 512);
        for check in &checks {
            let mended = check.outcome == Outcome::Pass;
            assert_eq!(mended, check.remedy.is_empty(), "{check:?}");
            assert!(
                !check.found.is_empty() && !check.wanted.is_empty(),
                "{check:?}"
            );
            assert!(!check.sentence().contains('\n'), "{check:?}");
        }
        // The tests of this crate need an executor, so a machine that cannot run one must fail
        // here, with the sentence.
        assert_eq!(first_failure(&checks).map(Check::sentence), None);
    }

    #[test]
    fn more_cores_than_processors_is_the_first_failure() {
        let checks = check_machine(100_000, 512);
        let failed = first_failure(&checks).expect("no machine has so many");
        assert_eq!(failed.name, "cores");
        assert!(
            failed.sentence().contains("--cores"),
            "{}",
            failed.sentence()
        );
    }
}
