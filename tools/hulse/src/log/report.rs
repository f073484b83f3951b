//! What was found in the files, as text and as JSON.

use std::fmt::Write as _;

use hulse_log::{DamagedRange, LogVerification, SegmentVerification, TornTail, VerifyReport};
use hulse_model::PartitionId;
use serde::Serialize;

use crate::output::{human_bytes, table, text_of};

/// What was found in all partitions.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whether nothing is damaged.
    pub(crate) healthy: bool,
    partitions: Vec<PartitionReport>,
}

/// What was found in one partition.
#[derive(Debug, Serialize)]
pub(crate) struct PartitionReport {
    id: String,
    /// The topic; absent when the manifest cannot be read.
    topic: Option<String>,
    /// Whether the making of the partition was cut off, so that there is none.
    unfinished: bool,
    /// What is wrong with the manifest.
    manifest: Option<String>,
    logs: Vec<LogReport>,
}

#[derive(Debug, Serialize)]
struct LogReport {
    log: &'static str,
    first: u64,
    end: u64,
    flushed: u64,
    entries: u64,
    bytes: u64,
    segments: Vec<SegmentReport>,
    torn_tail: Option<TornReport>,
    damaged: Vec<DamageReport>,
    /// Why the log cannot be opened.
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct SegmentReport {
    file: String,
    first: u64,
    end: u64,
    entries: u64,
    bytes: u64,
    sealed: bool,
    /// Each term with its first offset.
    terms: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct TornReport {
    segment: String,
    position: u64,
    offset: u64,
}

#[derive(Debug, Serialize)]
struct DamageReport {
    segment: String,
    position: u64,
    first: u64,
    end: u64,
    reason: String,
}

impl Report {
    pub(crate) fn new(partitions: Vec<PartitionReport>) -> Self {
        Self {
            healthy: partitions.iter().all(PartitionReport::is_healthy),
            partitions,
        }
    }

    /// Everything, for `inspect`.
    pub(crate) fn inspection(&self) -> String {
        let mut text = String::new();
        for partition in &self.partitions {
            partition.inspection(&mut text);
            text.push('\n');
        }
        text + &self.verdict()
    }

    /// What is damaged, a sentence for each, and the sum, for `verify`.
    pub(crate) fn verdict(&self) -> String {
        let mut text: String = self
            .partitions
            .iter()
            .flat_map(PartitionReport::troubles)
            .collect();
        let logs = || self.partitions.iter().flat_map(|partition| &partition.logs);
        for partition in &self.partitions {
            for (log, torn) in partition.torn_tails() {
                let _ = writeln!(
                    text,
                    "note: {} {log} log: the end is not whole, from offset {} ({} at byte {}); nothing \
                     proves that this had been durable, and the broker removes it when it starts, as \
                     a write that was cut off",
                    partition.title(),
                    torn.offset,
                    torn.segment,
                    torn.position,
                );
            }
            if partition.unfinished {
                let _ = writeln!(
                    text,
                    "note: {} was never completely made",
                    partition.title()
                );
            }
        }
        let damaged: usize = self
            .partitions
            .iter()
            .filter(|partition| !partition.is_healthy())
            .count();
        let _ = writeln!(
            text,
            "{} partitions, {} segments, {} entries, {}: {}",
            self.partitions.len(),
            logs().map(|log| log.segments.len()).sum::<usize>(),
            logs().map(|log| log.entries).sum::<u64>(),
            human_bytes(logs().map(|log| log.bytes).sum()),
            match damaged {
                0 => "nothing is damaged".to_owned(),
                1 => "1 partition is damaged".to_owned(),
                count => format!("{count} partitions are damaged"),
            }
        );
        text
    }
}

impl PartitionReport {
    pub(crate) fn new(id: PartitionId, found: Option<VerifyReport>) -> Self {
        let id = id.to_string();
        let Some(found) = found else {
            return Self {
                id,
                topic: None,
                unfinished: true,
                manifest: None,
                logs: Vec::new(),
            };
        };
        let logs = [&found.entries, &found.sibling].map(LogReport::from);
        let (topic, manifest) = match found.manifest {
            Ok(manifest) => (Some(manifest.topic.to_string()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            id,
            topic,
            unfinished: false,
            manifest,
            logs: logs.into(),
        }
    }

    fn is_healthy(&self) -> bool {
        let whole = |log: &LogReport| log.damaged.is_empty() && log.refused.is_none();
        self.manifest.is_none() && self.logs.iter().all(whole)
    }

    /// The partition's name for people.
    fn title(&self) -> String {
        match &self.topic {
            Some(topic) => format!("partition {} of {topic}", self.id),
            None => format!("partition {}", self.id),
        }
    }

    fn torn_tails(&self) -> impl Iterator<Item = (&'static str, &TornReport)> {
        self.logs
            .iter()
            .filter_map(|log| Some((log.log, log.torn_tail.as_ref()?)))
    }

    /// A line for everything that is damaged.
    fn troubles(&self) -> Vec<String> {
        let title = self.title();
        let mut lines = Vec::new();
        lines.extend(
            self.manifest
                .iter()
                .map(|reason| format!("damaged: {title}: the manifest cannot be used: {reason}\n")),
        );
        for log in &self.logs {
            let name = log.log;
            lines.extend(log.refused.iter().map(|reason| {
                format!("damaged: {title}: the {name} log cannot be opened: {reason}\n")
            }));
            lines.extend(log.damaged.iter().map(|range| {
                let DamageReport {
                    segment,
                    position,
                    first,
                    end,
                    reason,
                } = range;
                let what = match end - first {
                    0 => format!("at offset {first}"),
                    1 => format!("entry {first}"),
                    _ => format!("entries {first} to {}", end - 1),
                };
                format!(
                    "damaged: {title}: {name} log, {what}: {reason}, in {segment} at byte \
                     {position}\n"
                )
            }));
        }
        lines
    }

    fn inspection(&self, text: &mut String) {
        let _ = writeln!(text, "{}", self.title());
        for log in &self.logs {
            let _ = writeln!(
                text,
                "{} log: entries {} to {} (exclusive), synced for certain to {}, {}",
                log.log,
                log.first,
                log.end,
                log.flushed,
                human_bytes(log.bytes)
            );
            let mut rows = table([
                "segment", "first", "end", "entries", "terms", "size", "state",
            ]);
            for segment in &log.segments {
                let terms: Vec<String> = segment
                    .terms
                    .iter()
                    .map(|(term, first)| format!("{term} from {first}"))
                    .collect();
                rows.add_row([
                    segment.file.clone(),
                    segment.first.to_string(),
                    segment.end.to_string(),
                    segment.entries.to_string(),
                    terms.join(", "),
                    human_bytes(segment.bytes),
                    if segment.sealed { "sealed" } else { "open" }.to_owned(),
                ]);
            }
            text.push_str(&text_of(&rows));
        }
    }
}

impl From<&LogVerification> for LogReport {
    fn from(log: &LogVerification) -> Self {
        Self {
            log: log.log.name(),
            first: log.first.0,
            end: log.end.0,
            flushed: log.flushed_to.0,
            entries: log.entries,
            bytes: log.bytes,
            segments: log.segments.iter().map(SegmentReport::from).collect(),
            torn_tail: log.torn_tail.as_ref().map(TornReport::from),
            damaged: log.damaged.iter().map(DamageReport::from).collect(),
            refused: log.refused.clone(),
        }
    }
}

impl From<&SegmentVerification> for SegmentReport {
    fn from(segment: &SegmentVerification) -> Self {
        Self {
            file: segment.file.clone(),
            first: segment.first.0,
            end: segment.end.0,
            entries: segment.entries,
            bytes: segment.bytes,
            sealed: segment.sealed,
            terms: segment
                .terms
                .iter()
                .map(|(term, first)| (term.0, first.0))
                .collect(),
        }
    }
}

impl From<&TornTail> for TornReport {
    fn from(torn: &TornTail) -> Self {
        Self {
            segment: torn.segment.clone(),
            position: torn.position,
            offset: torn.offset.0,
        }
    }
}

impl From<&DamagedRange> for DamageReport {
    fn from(range: &DamagedRange) -> Self {
        Self {
            segment: range.segment.clone(),
            position: range.position,
            first: range.first.0,
            end: range.end.0,
            reason: range.reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(damaged: Vec<DamageReport>) -> PartitionReport {
        PartitionReport {
            id: "00".to_owned(),
            topic: Some("persistent://public/default/orders".to_owned()),
            unfinished: false,
            manifest: None,
            logs: vec![LogReport {
                log: "entries",
                first: 0,
                end: 9,
                flushed: 9,
                entries: 8,
                bytes: 16 * 1024,
                segments: Vec::new(),
                torn_tail: Some(TornReport {
                    segment: "entries-0.seg".to_owned(),
                    position: 99,
                    offset: 9,
                }),
                damaged,
                refused: None,
            }],
        }
    }

    #[test]
    fn damage_is_named_to_the_byte() {
        let range = DamageReport {
            segment: "entries-0.seg".to_owned(),
            position: 336,
            first: 3,
            end: 4,
            reason: "entry checksum".to_owned(),
        };
        let report = Report::new(vec![partition(vec![range])]);
        assert!(!report.healthy);
        let text = report.verdict();
        assert!(
            text.starts_with(
                "damaged: partition 00 of persistent://public/default/orders: entries log, \
                 entry 3: entry checksum, in entries-0.seg at byte 336\n"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("1 partitions, 0 segments, 8 entries, 16 KiB: 1 partition is damaged\n")
        );
    }

    #[test]
    fn a_torn_tail_is_a_note() {
        let report = Report::new(vec![partition(Vec::new())]);
        assert!(report.healthy);
        let text = report.verdict();
        assert!(
            text.contains("note: partition 00")
                && text.contains("from offset 9")
                && text.contains("nothing proves that this had been durable"),
            "{text}"
        );
        assert!(text.ends_with(": nothing is damaged\n"), "{text}");
    }
}
