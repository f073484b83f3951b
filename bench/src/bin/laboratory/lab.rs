//! What every row is measured with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::broker::{Broker, Program, Waiting};
use crate::failure::Failure;

/// Both ways to wait, what is added to a row's name for each, and whether the target holds for it:
/// it does for the one that spins.
pub(crate) const WAYS: [(Waiting, &str, bool); 2] = [
    (Waiting::Spinning, "", true),
    (Waiting::Sleeping, "-sleeping", false),
];

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Only to see that it works.
    pub(crate) quick: bool,
    /// How often each side is measured.
    pub(crate) rounds: usize,
    /// Partitions of the rows with many.
    pub(crate) partitions: u32,
    /// How long the soak takes, in minutes.
    pub(crate) soak_minutes: u32,
}

/// The program, and how much of it is measured.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    /// The program.
    pub(crate) program: Program,
    /// How much.
    pub(crate) scale: Scale,
}

/// What `hulse bench produce` says, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Produced {
    /// Messages per second.
    pub(crate) messages_per_second: f64,
    /// Megabytes per second, of 10^6 bytes.
    pub(crate) megabytes_per_second: f64,
    /// Messages in an entry, on average.
    pub(crate) messages_per_entry: f64,
    /// To the acknowledgement.
    pub(crate) latency: Percentiles,
    /// How late the load was.
    pub(crate) sent_late: Option<Percentiles>,
}

/// What `hulse bench end-to-end` says, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct EndToEnd {
    /// At the producers.
    pub(crate) produced: Produced,
    /// At the consumers.
    pub(crate) consumed: Consumed,
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Consumed {
    /// Megabytes per second, of 10^6 bytes.
    pub(crate) megabytes_per_second: f64,
    /// From sending to receiving.
    pub(crate) latency: Percentiles,
}

/// What `hulse bench consume` says, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Read {
    /// Megabytes per second, of 10^6 bytes.
    pub(crate) megabytes_per_second: f64,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Percentiles {
    /// Half are at most this.
    pub(crate) p50_us: u64,
    /// 99 in 100 are.
    pub(crate) p99_us: u64,
    /// 999 in 1,000 are.
    pub(crate) p999_us: u64,
}

impl Lab {
    /// Messages of `size` bytes for one measurement of throughput: 2 GiB, or little.
    pub(crate) fn messages(&self, size: u64) -> u64 {
        let bytes: u64 = if self.scale.quick { 128 << 20 } else { 2 << 30 };
        (bytes / size).min(if self.scale.quick { 200_000 } else { 4_000_000 })
    }

    /// Messages that go one at a time, or few at a time, for one measurement.
    pub(crate) fn few_messages(&self) -> u64 {
        if self.scale.quick { 5_000 } else { 100_000 }
    }

    /// How long one measurement of latency takes, in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        if self.scale.quick { 1 } else { 15 }
    }

    /// The same as a time.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    /// How long is sent before that, in seconds.
    pub(crate) fn warmup(&self) -> u64 {
        u64::from(!self.scale.quick)
    }

    /// Measures both sides in turn, as often as there are rounds; either goes first by turns, but
    /// in the first round Hulse, since the other side may need to know what Hulse did.
    ///
    /// # Errors
    /// Those of the sides.
    pub(crate) fn in_turn(
        &self,
        mut hulse: impl FnMut(usize) -> Result<f64, Failure>,
        mut other: impl FnMut(usize) -> Result<f64, Failure>,
    ) -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..self.scale.rounds {
            if round % 2 == 0 {
                ours.push(hulse(round)?);
                theirs.push(other(round)?);
            } else {
                theirs.push(other(round)?);
                ours.push(hulse(round)?);
            }
        }
        Ok((ours, theirs))
    }

    /// How many messages of 1 KiB a broker takes in a second, in batches, from one producer.
    ///
    /// # Errors
    /// When the load fails.
    pub(crate) fn peak(&self, broker: &Broker, ack: &str) -> Result<f64, Failure> {
        let messages = self.messages(1024) / 2;
        let warmup = self.warmup();
        let line = format!(
            "bench produce peak --ack {ack} --window 4 --messages {messages} --warmup {warmup}"
        );
        let produced: Produced = broker.run(&line)?;
        broker.delete("peak")?;
        Ok(produced.messages_per_second)
    }
}

/// Seconds since 1970.
pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
