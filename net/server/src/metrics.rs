//! The metrics, collected from the cores' plain counters when they are asked for.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::messages::CoreCounts;

/// What one scrape sees.
#[derive(Debug)]
struct Scrape {
    cores: Vec<CoreCounts>,
    partitions_failed: u64,
    uptime: Duration,
}

/// A figure of one core: its name, what it says, whether it only rises, and how it is read.
type Figure = (&'static str, &'static str, Kind, fn(&CoreCounts) -> u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

use Kind::{Counter, Gauge};

/// Every figure of a core, each with the label `core`.
const FIGURES: &[Figure] = &[
    ("produced_messages", "Messages stored", Counter, |c| {
        c.shard.produced_messages
    }),
    ("produced_entries", "Entries stored", Counter, |c| {
        c.shard.produced_entries
    }),
    ("produced_bytes", "Payload bytes stored", Counter, |c| {
        c.shard.produced_bytes
    }),
    (
        "duplicate_entries",
        "Batches recognised as stored before",
        Counter,
        |c| c.shard.duplicates,
    ),
    (
        "delivered_messages",
        "Messages delivered, redeliveries included",
        Counter,
        |c| c.shard.delivered_messages,
    ),
    (
        "delivered_entries",
        "Entries delivered, redeliveries included",
        Counter,
        |c| c.shard.delivered_entries,
    ),
    ("delivered_bytes", "Entry bytes delivered", Counter, |c| {
        c.shard.delivered_bytes
    }),
    (
        "acknowledgements",
        "Acknowledgement requests taken",
        Counter,
        |c| c.shard.acknowledgements,
    ),
    ("syncs", "Syncs that made messages durable", Counter, |c| {
        c.shard.syncs
    }),
    ("journal_rounds", "Rounds of the journal", Counter, |c| {
        c.shard.journal_rounds
    }),
    (
        "journal_checkpoints",
        "Checkpoints of the journal",
        Counter,
        |c| c.shard.checkpoints,
    ),
    (
        "journal_bytes",
        "Bytes in the journal that no checkpoint has retired",
        Gauge,
        |c| c.shard.journal_bytes,
    ),
    (
        "quota_refused_entries",
        "Batches refused for the sake of a backlog quota",
        Counter,
        |c| c.shard.quota_refusals,
    ),
    (
        "expired_entries",
        "Entries that a time to live has acknowledged, over all subscriptions",
        Counter,
        |c| c.shard.expired_entries,
    ),
    (
        "throttled_connections",
        "Connections not read while a publish rate is used up",
        Gauge,
        |c| c.shard.throttled_connections,
    ),
    (
        "connections_accepted",
        "Connections accepted",
        Counter,
        |c| c.connections_total,
    ),
    (
        "connections_refused",
        "Connections refused over a limit",
        Counter,
        |c| c.connections_refused,
    ),
    (
        "connections_evicted",
        "Connections ended for silence",
        Counter,
        |c| c.connections_evicted,
    ),
    ("frames_received", "Frames taken", Counter, |c| {
        c.frames_received
    }),
    (
        "frames_malformed",
        "Connections ended over a frame",
        Counter,
        |c| c.frames_malformed,
    ),
    (
        "received_bytes",
        "Bytes read from connections",
        Counter,
        |c| c.bytes_received,
    ),
    ("sent_bytes", "Bytes written to connections", Counter, |c| {
        c.bytes_sent
    }),
    ("connections", "Connections open", Gauge, |c| c.connections),
    ("partitions", "Partitions open", Gauge, |c| {
        c.shard.partitions
    }),
    (
        "partitions_fenced",
        "Partitions that take no writes after a failed write or sync",
        Gauge,
        |c| c.shard.fenced_partitions,
    ),
    ("producers", "Producers open", Gauge, |c| c.shard.producers),
    ("consumers", "Consumers attached", Gauge, |c| {
        c.shard.consumers
    }),
    (
        "unsynced_bytes",
        "Bytes appended and not yet synced",
        Gauge,
        |c| c.shard.unsynced_bytes,
    ),
    (
        "output_bytes",
        "Bytes queued towards connections",
        Gauge,
        |c| c.shard.output_bytes,
    ),
    (
        "sync_p50_microseconds",
        "Upper bound of half of the syncs",
        Gauge,
        |c| c.sync_us[0],
    ),
    (
        "sync_p99_microseconds",
        "Upper bound of 99 in 100 syncs",
        Gauge,
        |c| c.sync_us[1],
    ),
    (
        "sync_max_microseconds",
        "Upper bound of the longest sync",
        Gauge,
        |c| c.sync_us[3],
    ),
    (
        "lateness_max_microseconds",
        "How late the core was for its own timer since the last look",
        Gauge,
        |c| c.lateness_us,
    ),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, kind, read) in FIGURES {
            let metric_type = match kind {
                Counter => ConstCounter::new(0_u64).metric_type(),
                Gauge => ConstGauge::new(0_u64).metric_type(),
            };
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            for (core, counts) in self.cores.iter().enumerate() {
                let labels = [("core", core.to_string())];
                let metric = family.encode_family(&labels)?;
                match kind {
                    Counter => ConstCounter::new(read(counts)).encode(metric)?,
                    Gauge => ConstGauge::new(read(counts)).encode(metric)?,
                }
            }
        }
        let failed = ConstGauge::new(self.partitions_failed);
        let help = "Partitions that could not be opened";
        let metric =
            encoder.encode_descriptor("partitions_failed", help, None, failed.metric_type())?;
        failed.encode(metric)?;
        let uptime = ConstGauge::new(self.uptime.as_secs_f64());
        let help = "Time since the broker started";
        let unit = Some(&Unit::Seconds);
        let metric = encoder.encode_descriptor("uptime", help, unit, uptime.metric_type())?;
        uptime.encode(metric)
    }
}

/// The metrics as text.
pub(crate) fn encode(
    cores: &[CoreCounts],
    partitions_failed: u64,
    uptime: Duration,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("hulse");
    registry.register_collector(Box::new(Scrape {
        cores: cores.to_vec(),
        partitions_failed,
        uptime,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_appears_once_per_core() {
        let mut second = CoreCounts::default();
        second.shard.produced_messages = 7;
        let text = encode(
            &[CoreCounts::default(), second],
            3,
            Duration::from_millis(1500),
        )
        .unwrap();
        assert!(
            text.contains("hulse_produced_messages_total{core=\"1\"} 7\n"),
            "{text}"
        );
        assert!(text.contains("hulse_partitions_failed 3\n"), "{text}");
        assert!(text.contains("hulse_uptime_seconds 1.5\n"), "{text}");
        for (name, ..) in FIGURES {
            let lines = text
                .lines()
                .filter(|line| line.starts_with(&format!("hulse_{name}")));
            assert!(
                lines.filter(|line| line.contains("core=\"0\"")).count() >= 1,
                "{name}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
