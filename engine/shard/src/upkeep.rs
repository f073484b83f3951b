//! What a partition does for itself: snapshots, retention, and the lazy syncs of `memory`.

use hulse_log::{Disk, Retention};
use hulse_model::Offset;
use hulse_model::limits::RETENTION_MS_DEFAULT;
use hulse_subscription::{SinceSnapshot, snapshot_due};

use crate::command::Clock;
use crate::effect::Effect;
use crate::partition::Partition;
use hulse_log::LogKind;

/// Bytes of state in one part of a snapshot: small parts fit into small segments.
const SNAPSHOT_PART_BYTES: usize = 256 * 1024;
/// Unsynced bytes at which a partition at `memory` syncs without waiting for the clock.
const LAZY_SYNC_BYTES: usize = 4 * 1024 * 1024;
/// How long a partition at `memory` may hold unsynced bytes, in milliseconds.
const LAZY_SYNC_MS: u64 = 1_000;
/// How often retention is looked at, in milliseconds.
const RETENTION_INTERVAL_MS: u64 = 10_000;

/// What has gathered since the last snapshot and the last lazy sync.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    since: SinceSnapshot,
    /// Where the newest snapshot begins and ends in the sibling log, and what it has applied.
    snapshot: Option<Snapshot>,
    /// For each log: a sync is due though the level does not ask for one.
    lazy_sync_due: [bool; 2],
    lazy_sync_at_ms: u64,
    retention_at_ms: u64,
}

/// A snapshot in the sibling log.
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    first: Offset,
    end: Offset,
    entries_applied: Offset,
}

impl Upkeep {
    pub(crate) fn entry_appended(&mut self, bytes: usize) {
        self.since.entries += 1;
        self.since.entry_bytes += bytes as u64;
    }

    pub(crate) fn record_appended(&mut self, bytes: usize) {
        self.since.records += 1;
        self.since.record_bytes += bytes as u64;
    }

    /// Notes a snapshot, written now or found at recovery, which lies in the sibling log from
    /// `first` up to, not including, `end`.
    pub(crate) fn snapshot_stored(
        &mut self,
        first: Offset,
        end: Offset,
        entries_applied: Offset,
        snapshot_bytes: u64,
    ) {
        self.snapshot = Some(Snapshot {
            first,
            end,
            entries_applied,
        });
        self.since = SinceSnapshot {
            snapshot_bytes,
            ..SinceSnapshot::default()
        };
    }

    /// Asks for a sync of everything, whatever the level: the partition is about to be closed.
    pub(crate) fn sync_everything(&mut self) {
        self.lazy_sync_due = [true; 2];
    }

    pub(crate) fn sync_due(&self, kind: LogKind) -> bool {
        self.lazy_sync_due[kind as usize]
    }

    pub(crate) fn sync_begun(&mut self, kind: LogKind) {
        self.lazy_sync_due[kind as usize] = false;
    }
}

impl<D: Disk> Partition<D> {
    /// Does what is due. Returns whether a round is wanted.
    pub(crate) fn tick(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) -> bool {
        if self.fenced().is_some() {
            return false;
        }
        let mut round = self.lazy_sync(clock);
        round |= self.snapshot(clock);
        if clock.monotonic_ms >= self.upkeep.retention_at_ms {
            self.upkeep.retention_at_ms = clock.monotonic_ms + RETENTION_INTERVAL_MS;
            self.retain(clock, fx);
        }
        round
    }

    /// Whether the partition has gathered so much, or for so long, that it wants a lazy sync.
    fn lazy_sync(&mut self, clock: Clock) -> bool {
        let unsynced = [
            self.store.entries.unsynced_bytes(),
            self.store.sibling.unsynced_bytes(),
        ];
        if unsynced == [0, 0] {
            self.upkeep.lazy_sync_at_ms = clock.monotonic_ms + LAZY_SYNC_MS;
            return false;
        }
        let late = clock.monotonic_ms >= self.upkeep.lazy_sync_at_ms;
        if late {
            self.upkeep.lazy_sync_at_ms = clock.monotonic_ms + LAZY_SYNC_MS;
        }
        for (due, unsynced) in self.upkeep.lazy_sync_due.iter_mut().zip(unsynced) {
            *due |= unsynced > 0 && (late || unsynced >= LAZY_SYNC_BYTES);
        }
        self.upkeep.lazy_sync_due.contains(&true)
    }

    /// Writes a snapshot when one is due, so that a restart folds little and old records can go.
    fn snapshot(&mut self, clock: Clock) -> bool {
        if !snapshot_due(&self.upkeep.since) || !self.sibling.is_stored() {
            return false;
        }
        let applied = self.state.entries_applied();
        let first = self.store.sibling.end();
        let parts = self.state.snapshot(SNAPSHOT_PART_BYTES);
        let bytes = parts.iter().map(|part| part.to_bytes().len() as u64).sum();
        for part in parts {
            self.store_record(clock, Some(part), Offset::ZERO, Vec::new());
        }
        // Parts that wait for room are stored in the order of the queue, so nothing else lies
        // between; until then their end is not known, and the snapshot before counts.
        if self.sibling.is_stored() {
            self.upkeep
                .snapshot_stored(first, self.store.sibling.end(), applied, bytes);
        } else {
            self.upkeep.since = SinceSnapshot {
                snapshot_bytes: bytes,
                ..SinceSnapshot::default()
            };
        }
        true
    }

    /// Removes what every subscription has acknowledged and is older than the policy says, and the
    /// records that a durable snapshot has made superfluous.
    fn retain(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        let Some(Snapshot {
            first,
            end,
            entries_applied,
        }) = self.upkeep.snapshot
        else {
            return;
        };
        // The snapshot, and the entries that it has folded, must be durable before anything that
        // they stand for may go.
        if self.store.sibling.flushed() < end || self.store.entries.flushed() < entries_applied {
            return;
        }
        let partition = self.spec.id;
        let all = Retention {
            max_bytes: Some(0),
            max_age_ms: None,
        };
        if let Some(work) = self.store.sibling.retain(&all, clock.wall_ms, first) {
            fx.push(Effect::Remove { partition, work });
        }
        let floor = self
            .state
            .lowest_mark()
            .map_or(entries_applied, |mark| mark.min(entries_applied));
        let policy = Retention {
            max_bytes: None,
            max_age_ms: Some(RETENTION_MS_DEFAULT),
        };
        if let Some(work) = self.store.entries.retain(&policy, clock.wall_ms, floor) {
            fx.push(Effect::Remove { partition, work });
        }
    }
}
