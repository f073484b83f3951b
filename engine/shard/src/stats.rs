//! Plain counters, owned by the core and read on request.

use hulse_log::Disk;
use hulse_model::{Offset, PartitionId, Position, Rate, Scope, Term, TopicName};
use hulse_subscription::AccessEpoch;

use crate::partition::Partition;

/// What one partition has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionCounters {
    pub(crate) produced_entries: u64,
    pub(crate) produced_messages: u64,
    pub(crate) produced_bytes: u64,
    pub(crate) duplicates: u64,
    pub(crate) delivered_entries: u64,
    pub(crate) delivered_messages: u64,
    pub(crate) delivered_bytes: u64,
    pub(crate) acknowledgements: u64,
    pub(crate) quota_refusals: u64,
    pub(crate) expired: u64,
}

impl PartitionCounters {
    /// Adds those of a partition that has left.
    pub(crate) fn add(&mut self, left: &Self) {
        self.produced_entries += left.produced_entries;
        self.produced_messages += left.produced_messages;
        self.produced_bytes += left.produced_bytes;
        self.duplicates += left.duplicates;
        self.delivered_entries += left.delivered_entries;
        self.delivered_messages += left.delivered_messages;
        self.delivered_bytes += left.delivered_bytes;
        self.acknowledgements += left.acknowledgements;
        self.quota_refusals += left.quota_refusals;
        self.expired += left.expired;
    }

    /// Adds them to their core's.
    pub(crate) fn add_to(&self, stats: &mut ShardStats) {
        stats.produced_entries += self.produced_entries;
        stats.produced_messages += self.produced_messages;
        stats.produced_bytes += self.produced_bytes;
        stats.duplicates += self.duplicates;
        stats.delivered_entries += self.delivered_entries;
        stats.delivered_messages += self.delivered_messages;
        stats.delivered_bytes += self.delivered_bytes;
        stats.acknowledgements += self.acknowledgements;
        stats.quota_refusals += self.quota_refusals;
        stats.expired_entries += self.expired;
    }

    pub(crate) fn produced(&mut self, messages: u32, bytes: usize) {
        self.produced_entries += 1;
        self.produced_messages += u64::from(messages);
        self.produced_bytes += bytes as u64;
    }

    pub(crate) fn delivered(&mut self, messages: u32, bytes: usize) {
        self.delivered_entries += 1;
        self.delivered_messages += u64::from(messages);
        self.delivered_bytes += bytes as u64;
    }
}

/// The counters of a whole core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Partitions open.
    pub partitions: u64,
    /// Open producer streams.
    pub producers: u64,
    /// Attached consumers.
    pub consumers: u64,
    /// Requests that wait until the holder of what they want has answered.
    pub claimants: u64,
    /// Entries stored.
    pub produced_entries: u64,
    /// Messages stored.
    pub produced_messages: u64,
    /// Payload bytes stored.
    pub produced_bytes: u64,
    /// Batches that were recognised as stored before.
    pub duplicates: u64,
    /// Entries delivered, redeliveries included.
    pub delivered_entries: u64,
    /// Messages delivered, redeliveries included.
    pub delivered_messages: u64,
    /// Entry bytes delivered.
    pub delivered_bytes: u64,
    /// Acknowledgements taken.
    pub acknowledgements: u64,
    /// Syncs ended, those of the journal included and those of checkpoints not.
    pub syncs: u64,
    /// Rounds of the journal.
    pub journal_rounds: u64,
    /// Bytes in the journal that the segments' own files have not been synced with.
    pub journal_bytes: u64,
    /// Checkpoints of the journal begun.
    pub checkpoints: u64,
    /// Bytes appended and not yet synced.
    pub unsynced_bytes: u64,
    /// Bytes queued towards connections.
    pub output_bytes: u64,
    /// Partitions that take no writes because a write or sync failed.
    pub fenced_partitions: u64,
    /// Batches refused for the sake of a backlog quota.
    pub quota_refusals: u64,
    /// Entries that a time to live has acknowledged, over all subscriptions.
    pub expired_entries: u64,
    /// Connections that are not read while a rate is used up.
    pub throttled_connections: u64,
}

/// One partition as `topic describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStats {
    /// Its identity.
    pub id: PartitionId,
    /// The term in which this broker serves it.
    pub term: Term,
    /// The oldest offset that is kept.
    pub log_start: Offset,
    /// The offset after the newest readable entry.
    pub high_watermark: Offset,
    /// The offset after the newest entry.
    pub log_end: Offset,
    /// The offset after the newest synced entry.
    pub flushed: Offset,
    /// What its files take on the disk, in bytes.
    pub bytes: u64,
    /// Segments of both logs.
    pub segments: usize,
    /// Open producer streams.
    pub producers: usize,
    /// The newest access epoch, and whether it is of one producer alone.
    pub access: AccessEpoch,
    /// Producers that wait for exclusive access.
    pub producers_waiting: usize,
    /// Why it takes no writes, if it does not.
    pub fenced: Option<String>,
    /// Damaged offset ranges, ends excluded.
    pub damaged: Vec<(Offset, Offset)>,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionStats>,
}

/// One subscription of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// Its name.
    pub name: String,
    /// Its type, as the command line writes it.
    pub kind: &'static str,
    /// Whether it outlives its consumers.
    pub durable: bool,
    /// Everything before is acknowledged.
    pub mark: Position,
    /// Entries below the high watermark that are not wholly acknowledged.
    pub backlog_entries: u64,
    /// About how many bytes of the partition lie behind the mark.
    pub backlog_bytes: u64,
    /// Why it keeps producers from publishing, if it does.
    pub holds_back: Option<String>,
    /// Runs of acknowledged entries above the mark.
    pub acknowledged_ranges: usize,
    /// Its consumers.
    pub consumers: Vec<ConsumerStats>,
    /// Why nothing is delivered to it; absent while something is.
    pub blocked: Option<BlockedStats>,
}

/// Producers that are held back by a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldBack {
    /// The backlog quota of a partition is used up.
    Backlog {
        /// The topic.
        topic: TopicName,
        /// The partition's number; -1 when the topic has no partitions.
        index: i32,
        /// The subscription that has not acknowledged.
        subscription: String,
        /// The reason as a sentence.
        text: String,
    },
    /// A rate is used up.
    Rate {
        /// What it is set for.
        scope: Scope,
        /// How much it lets through.
        rate: Rate,
        /// How many connections of this core wait for it.
        connections: usize,
    },
}

/// Why nothing is delivered to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedStats {
    /// The reason as one word: see [`hulse_subscription::Blocked::reason`].
    pub reason: &'static str,
    /// The consumer that it waits for, by name.
    pub consumer: Option<String>,
    /// The entry that is next, or not acknowledged.
    pub entry: Option<Offset>,
    /// When that entry is due, in milliseconds since 1970, where this is the reason.
    pub due_ms: Option<u64>,
    /// The reason as a sentence.
    pub text: String,
}

/// One attached consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStats {
    /// Its name.
    pub name: String,
    /// Its priority: 0 comes first.
    pub priority: u8,
    /// Whether entries go to it: of a Failover subscription, to one of them only.
    pub active: bool,
    /// How many more messages it may be sent.
    pub permits: i64,
    /// Messages that it was sent and that are not acknowledged; absent where they are not counted.
    pub unacknowledged: Option<u64>,
    /// Messages that it was sent since it was attached, redeliveries included.
    pub delivered_messages: u64,
}

/// What an entry costs beside its bytes, in bytes: by rough measure, so that loads can be compared.
const ENTRY_COST_BYTES: u64 = 4 * 1024;
/// What an acknowledgement costs, in bytes.
const ACKNOWLEDGEMENT_COST_BYTES: u64 = 2 * 1024;

impl<D: Disk> Partition<D> {
    /// What this partition has done on its core, in units that all partitions share: bytes, and what
    /// each entry and acknowledgement costs beside them.
    pub(crate) fn work(&self) -> u64 {
        let c = &self.counters;
        let entries = c.produced_entries + c.duplicates + c.delivered_entries;
        c.produced_bytes
            + c.delivered_bytes
            + entries * ENTRY_COST_BYTES
            + c.acknowledgements * ACKNOWLEDGEMENT_COST_BYTES
    }

    /// Adds this partition's counters to its core's.
    pub(crate) fn add_to(&self, stats: &mut ShardStats) {
        self.counters.add_to(stats);
        stats.partitions += 1;
        stats.unsynced_bytes += self.unsynced_bytes() as u64;
        stats.fenced_partitions += u64::from(self.fenced().is_some());
    }

    /// This partition as `topic describe` shows it.
    pub(crate) fn describe(&self, producers: usize) -> PartitionStats {
        let entries = &self.store.entries;
        PartitionStats {
            id: self.spec.id,
            term: self.spec.term,
            log_start: entries.start(),
            high_watermark: self.high_watermark(),
            log_end: entries.end(),
            flushed: entries.flushed(),
            bytes: entries.bytes() + self.store.sibling.bytes(),
            segments: entries.segments() + self.store.sibling.segments(),
            producers,
            access: self.state.access(),
            producers_waiting: self.access.waiting(),
            fenced: self.fenced().map(|refusal| refusal.message),
            damaged: entries
                .damaged()
                .iter()
                .map(|range| (range.first, range.end))
                .collect(),
            subscriptions: self.describe_subscriptions(),
        }
    }
}
