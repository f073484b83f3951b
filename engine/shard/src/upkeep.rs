//! What a partition does for itself: snapshots, retention, the lazy syncs of `memory`, and, when it
//! falls idle, the mark of what is durable and the closing of its files.

use hulse_log::{Disk, LogKind, MarkFlushed, Retention};
use hulse_model::Offset;
use hulse_subscription::{SinceSnapshot, snapshot_due};

use crate::command::Clock;
use crate::effect::Effect;
use crate::partition::{AckLevel, Partition};
use crate::snapshots::Snapshot;

/// Bytes of state in one part of a snapshot: small parts fit into small segments.
const SNAPSHOT_PART_BYTES: usize = 256 * 1024;
/// How long a partition at `memory` may hold unsynced bytes, in milliseconds.
const LAZY_SYNC_MS: u64 = 1_000;
/// How often retention is looked at, in milliseconds.
const RETENTION_INTERVAL_MS: u64 = 10_000;
/// How long nothing is appended to an idle partition before it is marked flushed, and how long a log is
/// not used before its files are closed, in milliseconds.
const IDLE_MS: u64 = 1_000;

/// What has gathered since the last snapshot and the last lazy sync.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    since: SinceSnapshot,
    /// The newest snapshot in the sibling log, and the offset after its last part.
    snapshot: Option<(Snapshot, Offset)>,
    /// For each log: a sync is due though the level does not ask for one.
    lazy_sync_due: [bool; 2],
    /// Every round is synced: the partition is about to be closed.
    closing: bool,
    lazy_sync_at_ms: u64,
    /// Retention would take something that no snapshot covers yet.
    snapshot_wanted: bool,
    retention_at_ms: u64,
    idle: Idle,
    /// For each log: how long it has not been used.
    rests: [LogRest; 2],
}

/// How long a log has not been used. Each log has its own: one that takes entries all day keeps no
/// file of its sibling open.
#[derive(Debug, Default)]
struct LogRest {
    /// Since the last use of any kind; over when no file is open.
    uses: Rest,
    /// Since the last read; over when what reading had opened is closed.
    reads: Rest,
}

/// How long a number has stayed as it is.
#[derive(Debug, Default)]
struct Rest {
    seen: u64,
    since_ms: u64,
    /// What was to be done about it is done.
    over: bool,
}

impl Rest {
    /// Whether the number, which is `now` at present, has stayed for so long that something is to be
    /// done.
    fn is_due(&mut self, now: u64, clock: Clock, idle_ms: u64) -> bool {
        if now != self.seen {
            *self = Self {
                seen: now,
                since_ms: clock.monotonic_ms,
                over: false,
            };
        }
        !self.over && clock.monotonic_ms >= self.since_ms + idle_ms
    }
}

/// How long the logs have been as they are.
#[derive(Debug, Default)]
struct Idle {
    /// The ends of the logs at the last look.
    ends: [Offset; 2],
    since_ms: u64,
    /// They were marked flushed, or that was tried.
    marked: bool,
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

    /// Notes a snapshot, written now or found at recovery, whose last part stands right before
    /// `end`.
    pub(crate) fn snapshot_stored(&mut self, snapshot: Snapshot, end: Offset) {
        self.snapshot = Some((snapshot, end));
        self.since = SinceSnapshot {
            snapshot_bytes: snapshot.bytes,
            ..SinceSnapshot::default()
        };
    }

    /// Asks for one sync of everything, whatever the level.
    pub(crate) fn sync_soon(&mut self) {
        self.lazy_sync_due = [true; 2];
    }

    /// Asks for a sync of every round from now on: the partition is about to be closed.
    pub(crate) fn sync_always(&mut self) {
        self.closing = true;
    }

    /// Has retention looked at with the next tick.
    pub(crate) const fn look_at_retention(&mut self) {
        self.retention_at_ms = 0;
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    pub(crate) const fn sync_due(&self, kind: LogKind) -> bool {
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
        self.watch_idleness(clock);
        let mut round = self.lazy_sync(clock) | self.is_retry_due(clock.monotonic_ms);
        round |= self.expire(clock);
        round |= self.snapshot(clock);
        if clock.monotonic_ms >= self.upkeep.retention_at_ms {
            self.upkeep.retention_at_ms = clock.monotonic_ms + RETENTION_INTERVAL_MS;
            self.retain(clock, fx);
        }
        round
    }

    /// Whether the partition has had unsynced bytes for so long that it wants a lazy sync.
    fn lazy_sync(&mut self, clock: Clock) -> bool {
        let unsynced = LogKind::ALL.map(|log| self.store.log(log).unsynced_bytes() > 0);
        if self.spec.ack == AckLevel::Disk || unsynced == [false; 2] {
            self.upkeep.lazy_sync_at_ms = clock.monotonic_ms + LAZY_SYNC_MS;
            return false;
        }
        if clock.monotonic_ms < self.upkeep.lazy_sync_at_ms {
            return false;
        }
        self.upkeep.lazy_sync_at_ms = clock.monotonic_ms + LAZY_SYNC_MS;
        self.upkeep.lazy_sync_due = unsynced;
        true
    }

    fn watch_idleness(&mut self, clock: Clock) {
        let ends = LogKind::ALL.map(|log| self.store.log(log).end());
        if ends != self.upkeep.idle.ends {
            self.upkeep.idle = Idle {
                ends,
                since_ms: clock.monotonic_ms,
                marked: false,
            };
        }
    }

    /// Closes the files of each log that has not been used for a while, once it has nothing to sync
    /// any more, and what reading has opened in one that nobody reads; when the core is short of
    /// files, without waiting. Says of which log a footer must be synced first.
    pub(crate) fn close_idle(&mut self, clock: Clock, short_of_files: bool) -> [bool; 2] {
        let idle_ms = if short_of_files { 0 } else { IDLE_MS };
        LogKind::ALL.map(|kind| {
            let (log, rest) = (
                self.store.log_mut(kind),
                &mut self.upkeep.rests[kind as usize],
            );
            if rest.reads.is_due(log.reads(), clock, idle_ms) {
                log.close_unread();
                rest.reads.over = true;
            }
            if !rest.uses.is_due(log.uses(), clock, idle_ms) {
                return false;
            }
            // What a failed log has not synced it never will.
            rest.uses.over = log.close_idle() || log.poisoned().is_some();
            log.is_footer_unsynced()
        })
    }

    /// The note that everything is durable, once whenever the partition has fallen idle: nothing
    /// that is appended later proves the last round of an idle log.
    pub(crate) fn mark_flushed(&mut self, clock: Clock) -> Option<MarkFlushed<D>> {
        let idle = &self.upkeep.idle;
        if idle.marked || clock.monotonic_ms < idle.since_ms + IDLE_MS {
            return None;
        }
        if LogKind::ALL.map(|log| self.store.log(log).flushed()) != idle.ends {
            return None;
        }
        self.upkeep.idle.marked = true;
        self.store.mark_flushed()
    }

    /// Writes a snapshot when one is due, so that a restart folds little and old records can go.
    fn snapshot(&mut self, clock: Clock) -> bool {
        let due = self.upkeep.snapshot_wanted || snapshot_due(&self.upkeep.since);
        if !due || !self.sibling.is_stored() {
            return false;
        }
        self.upkeep.snapshot_wanted = false;
        let parts = self.state.snapshot(SNAPSHOT_PART_BYTES);
        let snapshot = Snapshot {
            first: self.store.sibling.end(),
            entries_applied: self.state.entries_applied(),
            bytes: parts.iter().map(|part| part.to_bytes().len() as u64).sum(),
        };
        for part in parts {
            self.store_record(clock, Some(part), Offset::ZERO, Vec::new());
        }
        // Parts that wait for room are stored in the order of the queue, so nothing else lies
        // between; until then their end is not known, and the snapshot before counts.
        if self.sibling.is_stored() {
            let end = self.store.sibling.end();
            self.upkeep.snapshot_stored(snapshot, end);
        } else {
            self.upkeep.since = SinceSnapshot {
                snapshot_bytes: snapshot.bytes,
                ..SinceSnapshot::default()
            };
        }
        true
    }

    /// Removes what every subscription has acknowledged and is older than the policy says, and the
    /// records that a durable snapshot has made superfluous.
    fn retain(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        let effective = self.spec.policies.effective;
        let policy = Retention {
            max_bytes: effective.retention_bytes,
            max_age_ms: effective.retention_ms,
        };
        let newest = self.upkeep.snapshot.map(|(snapshot, _)| snapshot);
        let covered = newest.map_or(Offset::ZERO, |snapshot| snapshot.entries_applied);
        let unwanted = self.state.lowest_mark();
        let unwanted = unwanted.unwrap_or(self.state.entries_applied());
        let floor = covered.min(unwanted);
        let drops = |floor| self.store.entries.would_drop(&policy, clock.wall_ms, floor);
        // A small topic would wait for its next snapshot for years.
        self.upkeep.snapshot_wanted |= drops(unwanted) && !drops(floor);
        // The snapshot, and the entries that it has folded, must be durable before anything that
        // they stand for may go.
        let durable = self.upkeep.snapshot.filter(|(_, end)| {
            self.store.sibling.flushed() >= *end && self.store.entries.flushed() >= covered
        });
        let Some((Snapshot { first, .. }, _)) = durable else {
            return;
        };
        let partition = self.spec.id;
        let all = Retention {
            max_bytes: Some(0),
            max_age_ms: None,
        };
        if let Some(work) = self.store.sibling.retain(&all, clock.wall_ms, first) {
            fx.push(Effect::Remove { partition, work });
        }
        if let Some(work) = self.store.entries.retain(&policy, clock.wall_ms, floor) {
            fx.push(Effect::Remove { partition, work });
        }
    }
}
