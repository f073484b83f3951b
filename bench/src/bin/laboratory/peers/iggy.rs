//! Apache Iggy's figures, which were measured on another day and are scaled to this machine.

use crate::failure::Failure;
use crate::lab::Lab;
use crate::limits::{copy, disk};

/// The writes of the measurements that Iggy's are scaled by.
const PIECE_BYTES: usize = 1024 * 1024;

/// The bare limit that a figure is scaled by: what bounds the work on both machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Bytes over the loopback in writes of 1 MiB, from one processor to another.
    Loopback,
    /// Bytes into a growing file, each MiB with an `fdatasync`.
    Synced,
    /// Bytes into a growing file, with one sync at the end.
    Buffered,
}

impl Limit {
    /// What it was where Iggy was measured, in MB/s.
    const fn there(self) -> f64 {
        match self {
            Self::Loopback => 3_900.0,
            Self::Synced => 1_195.0,
            Self::Buffered => 426.0,
        }
    }

    /// What it is here, in MB/s, for so many bytes.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn here(self, lab: &Lab, bytes: u64) -> Result<f64, Failure> {
        let files = &lab.program.files;
        let rate = match self {
            Self::Loopback => copy::tcp(bytes, PIECE_BYTES, &lab.program.processors)?,
            Self::Synced => disk::fill(files, bytes, PIECE_BYTES, true)?,
            Self::Buffered => disk::fill(files, bytes, PIECE_BYTES, false)?,
        };
        Ok(rate / 1e6)
    }

    /// What it is, in words.
    const fn words(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback copy in writes of 1 MiB",
            Self::Synced => "writes of 1 MiB with an fdatasync each",
            Self::Buffered => "buffered writes of 1 MiB with one sync at the end",
        }
    }
}

/// A figure of Iggy's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    /// The rate.
    pub(crate) rate: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The p99 that came with it, in microseconds.
    pub(crate) p99_us: Option<f64>,
    /// What it is scaled by.
    pub(crate) limit: Limit,
}

impl Figure {
    /// How much faster this machine is than the one that it was measured on: 1 when equally fast.
    ///
    /// # Errors
    /// Whatever the system answers.
    pub(crate) fn scale(&self, lab: &Lab, bytes: u64) -> Result<f64, Failure> {
        Ok(self.limit.here(lab, bytes)? / self.limit.there())
    }

    /// Who this is.
    pub(crate) fn name(&self) -> String {
        format!(
            "Iggy 0.9.0-edge.5, scaled: {} {} measured elsewhere x {} here / there",
            self.rate,
            self.unit,
            self.limit.words()
        )
    }

    /// The bare limit here at this scale, in MB/s.
    pub(crate) fn bare_mb_s(&self, scale: f64) -> f64 {
        self.limit.there() * scale
    }

    /// The p99 at this scale, in microseconds.
    pub(crate) fn scaled_p99_us(&self, scale: f64) -> Option<f64> {
        Some(self.p99_us? / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_machine_has_higher_rates_and_lower_latencies() {
        let figure = Figure {
            rate: 1_613.0,
            unit: "MB/s",
            p99_us: Some(2_800.0),
            limit: Limit::Loopback,
        };
        assert_eq!(figure.scaled_p99_us(2.0), Some(1_400.0));
        assert_eq!(figure.scaled_p99_us(0.5), Some(5_600.0));
        assert_eq!(figure.bare_mb_s(2.0), 7_800.0);
        let name = figure.name();
        assert!(name.contains("scaled: 1613 MB/s"), "{name}");
    }
}
