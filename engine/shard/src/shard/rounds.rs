//! What happens without a client: rounds end, syncs and segments come back, time passes.

use std::io;
use std::ops::Bound;

use hulse_log::{Disk, LogKind, Prepared, SyncTicket};
use hulse_model::{PartitionId, Status};

use crate::command::{Clock, StreamKey};
use crate::durable::Later;
use crate::effect::{Effect, Refusal};
use crate::outlets::Reopened;
use crate::partition::Partition;
use crate::shard::{Marking, Shard};

/// How often it is written down that a file cannot be opened, in milliseconds.
const UNOPENED_TOLD_MS: u64 = 1_000;

impl<D: Disk> Shard<D> {
    /// Bytes have left towards a connection.
    pub fn sent(&mut self, connection: u64, bytes: usize, fx: &mut Vec<Effect<D>>) {
        let partitions = match self.outlets.sent(connection, bytes) {
            Reopened::None => return,
            Reopened::Connection => {
                let first = StreamKey {
                    connection,
                    stream: 0,
                };
                let last = StreamKey {
                    connection,
                    stream: u32::MAX,
                };
                let streams = self.streams.range(first..=last);
                let mut partitions: Vec<_> = streams.map(|(_, s)| s.partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                partitions
            }
            Reopened::Core => self.consumed_partitions(),
        };
        for id in partitions {
            self.dispatch(id, None, fx);
        }
    }

    /// Notes bytes of answers that the rim has queued towards a connection; deliveries are noted
    /// here by themselves.
    pub fn queued(&mut self, connection: u64, bytes: usize) {
        self.outlets.queue(connection, bytes);
    }

    /// Ends a burst of requests: writes what they have staged, begins the syncs that can begin.
    pub fn end_round(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.wall_ms = clock.wall_ms;
        self.settle_claims(clock, fx);
        for id in std::mem::take(&mut self.dirty) {
            self.give_turns(clock, id, fx);
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            partition.dirty = false;
            let left = partition.end_round(clock, fx);
            for kind in LogKind::ALL {
                let Some(later) = left[kind as usize] else {
                    continue;
                };
                if std::mem::replace(&mut partition.waits[kind as usize], true) {
                    continue;
                }
                match later {
                    Later::Commit => self.commits.wait((id, kind)),
                    Later::Background => self.commits.sync_lazily((id, kind)),
                }
            }
            self.count_unsynced(id);
            self.end_streams(id);
            self.dispatch(id, None, fx);
        }
        self.commit(clock, fx);
        self.sync_in_background(clock, fx);
        // Bytes were synced, or their log has failed and they count no more.
        if self.unsynced_bytes < self.config.unsynced_bytes_max {
            self.resume_held(fx);
        }
    }

    /// A sync has ended; the next begins at once if there is more to sync.
    pub fn synced(
        &mut self,
        clock: Clock,
        id: PartitionId,
        log: LogKind,
        ticket: SyncTicket<D>,
        result: io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        self.commits.sync_ended((id, log));
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.synced(log, ticket, result, fx);
            self.count_unsynced(id);
            self.touch(id);
        }
        self.end_round(clock, fx);
    }

    /// A segment is prepared, or could not be.
    pub fn prepared(
        &mut self,
        clock: Clock,
        id: PartitionId,
        log: LogKind,
        prepared: Prepared<D>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let outcome = partition.store.log_mut(log).segment_prepared(prepared);
        partition.prepared(log, outcome, clock.monotonic_ms, fx);
        self.touch(id);
        self.end_round(clock, fx);
    }

    /// A part of a log was brought into memory, or could not be: then reading it says why.
    pub fn warmed(
        &mut self,
        id: PartitionId,
        subscription: u64,
        result: &io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        if let Err(error) = result {
            tracing::warn!(partition = %id, %error, "a log was not read ahead");
        }
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.warmed(subscription);
            self.dispatch(id, Some(subscription), fx);
        }
    }

    /// A subscription reads on that had let others have their turn.
    pub fn go_on(&mut self, id: PartitionId, subscription: u64, fx: &mut Vec<Effect<D>>) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.rested(subscription);
            self.dispatch(id, Some(subscription), fx);
        }
    }

    /// The note of how far a partition is durable was made, or could not be.
    pub fn marked_flushed(&mut self, id: PartitionId, result: io::Result<()>) {
        self.marking.under_way = false;
        // One whose topic was deleted meanwhile has no manifest any more.
        if let Err(error) = result
            && self.partitions.contains_key(&id)
        {
            tracing::warn!(partition = %id, %error, "the partition was not marked as flushed");
        }
    }

    /// Marks one idle partition flushed. One at a time and a tick: when thousands fall idle at
    /// once, they leave the disk and the helpers to those that do not.
    fn mark_idle(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        if self.stopping || self.marking.under_way {
            return;
        }
        // In turn, so that none waits for ever behind others that fall idle again and again.
        let last = self.marking.last;
        let later = (Bound::Excluded(last), Bound::Unbounded);
        let mark = |(id, partition): (&PartitionId, &mut Partition<D>)| {
            partition.mark_flushed(clock).map(|work| (*id, work))
        };
        let later = self.partitions.range_mut(later).find_map(mark);
        let found = later.or_else(|| self.partitions.range_mut(..=last).find_map(mark));
        if let Some((partition, work)) = found {
            self.marking = Marking {
                under_way: true,
                last: partition,
            };
            fx.push(Effect::MarkFlushed { partition, work });
        }
    }

    /// Lets time pass: snapshots, retention, lazy syncs, marks, idle files. Call it a few times a second.
    pub fn tick(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.wall_ms = clock.wall_ms;
        let mut rounds = Vec::new();
        let short_of_files = self.unopened.take().is_some();
        for (id, partition) in &mut self.partitions {
            let unopened = partition.unopened.take();
            self.unopened = self.unopened.take().or(unopened);
            // Both, whatever the first says.
            if partition.tick(clock, fx) | partition.tick_consumers(clock) {
                rounds.push(*id);
            }
            for (kind, due) in LogKind::ALL
                .into_iter()
                .zip(partition.close_idle(clock, short_of_files))
            {
                if due {
                    self.commits.sync_footers((*id, kind));
                }
            }
        }
        self.tell_unopened(clock);
        self.evict_silent(clock, fx);
        for id in rounds {
            self.touch(id);
        }
        self.open_rates(clock, fx);
        self.checkpoint(clock, fx);
        self.mark_idle(clock, fx);
        self.end_round(clock, fx);
    }

    /// Writes down why a file could not be opened or read: one reason a second, since thousands of partitions
    /// may have the same.
    fn tell_unopened(&mut self, clock: Clock) {
        if let Some(reason) = &self.unopened
            && clock.monotonic_ms >= self.unopened_told_ms + UNOPENED_TOLD_MS
        {
            self.unopened_told_ms = clock.monotonic_ms;
            let core = self.config.core;
            tracing::warn!(
                core,
                reason,
                "requests are refused, since a file cannot be opened or read"
            );
        }
    }

    /// Takes no more writes, delivers nothing more, and begins the last syncs.
    pub fn stop(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.stopping = true;
        let ids: Vec<_> = self.partitions.keys().copied().collect();
        let refusal = Refusal::new(Status::NotReady, "the broker is stopping");
        for id in ids {
            self.refuse_claimants(id, &refusal, fx);
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.resume_held(fx);
                partition.upkeep.sync_always();
            }
            self.touch(id);
        }
        self.resume_held(fx);
        self.resume_throttled(fx);
        self.end_round(clock, fx);
    }

    /// Lets the connections that were held back for the sake of the core try again.
    pub(super) fn resume_held(&mut self, fx: &mut Vec<Effect<D>>) {
        let resume = |connection| Effect::Resume { connection };
        fx.extend(self.held.drain().map(resume));
    }

    /// Has every partition synced that would leave its unsynced bytes to the clock.
    pub(super) fn sync_everything_soon(&mut self) {
        let unsynced = self.partitions.iter_mut();
        let unsynced = unsynced.filter(|(_, partition)| partition.unsynced_bytes() > 0);
        let ids: Vec<_> = unsynced
            .map(|(id, partition)| {
                partition.upkeep.sync_soon();
                *id
            })
            .collect();
        for id in ids {
            self.touch(id);
        }
    }

    /// Brings the core's sum of unsynced bytes up to date with one partition.
    pub(super) fn count_unsynced(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            let now = partition.unsynced_bytes();
            let before = std::mem::replace(&mut partition.unsynced_counted, now);
            self.unsynced_bytes = self.unsynced_bytes - before + now;
        }
    }

    /// Puts a partition on the list of those to write at the end of the round.
    pub(super) fn touch(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id)
            && !partition.dirty
        {
            partition.dirty = true;
            self.dirty.push(id);
        }
    }

    /// The partitions with a consumer.
    pub(super) fn consumed_partitions(&self) -> Vec<PartitionId> {
        let consumed = self.partitions.iter();
        let consumed = consumed.filter(|(_, partition)| partition.consumers.are_attached());
        consumed.map(|(id, _)| *id).collect()
    }

    /// Delivers what can be delivered, to one subscription of a partition or to all.
    pub(super) fn dispatch(&mut self, id: PartitionId, only: Option<u64>, fx: &mut Vec<Effect<D>>) {
        if self.stopping {
            return;
        }
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.dispatch(self.wall_ms, only, &mut self.outlets, fx);
            self.end_streams(id);
        }
    }

    /// Ends the streams that have been told so, or whose opening has been refused after all.
    fn end_streams(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            for stream in std::mem::take(&mut partition.ended) {
                self.end_stream(stream);
            }
        }
    }
}
