//! How what is written becomes durable: which logs sync their own file, which share a round of the
//! journal, and when the segments behind the journal are synced.
//!
//! Small writes of one core become durable together: one *commit* is in flight, and what is written
//! meanwhile waits for the next. A commit of one log syncs that log's file; a commit of several is a
//! round of the journal, because so many syncs would cost more than writing the bytes twice. A log
//! with much to sync does not wait for others: it syncs its own file at once. What nobody waits for,
//! which is the segments behind the journal, what lies at `memory`, and the footers of idle logs, a
//! helper syncs.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use hulse_log::{
    Checkpoint, CheckpointTicket, Disk, Journal, JournalMark, JournalTicket, LogKind,
    PreparedJournal, RoundShare, SyncTicket,
};
use hulse_model::PartitionId;
use hulse_model::limits::{JOURNAL_CHECKPOINT_BYTES, JOURNAL_CHECKPOINT_MS};

use crate::command::Clock;
use crate::durable::{Later, Way};
use crate::effect::Effect;
use crate::shard::Shard;

/// How many logs a helper syncs before the results come back: no more of them than that keep
/// another sync of their files waiting.
const BACKGROUND_LOGS: usize = 16;

/// A log of the core.
type LogId = (PartitionId, LogKind);

/// The commits of one core.
pub(super) struct Commits<D: Disk> {
    pub(super) journal: Journal<D>,
    /// Logs that wait for the commit in flight to end, in the order in which they came.
    waiting: VecDeque<LogId>,
    in_flight: Commit,
    /// Logs that the journal holds more of than their own files do.
    journaled: BTreeSet<LogId>,
    cycle: Option<Cycle>,
    /// Logs at `memory` that the clock wants synced.
    lazy: VecDeque<LogId>,
    /// Idle logs whose files can close when a footer is synced.
    footers: BTreeSet<LogId>,
    /// Logs of partitions that leave the core, which the journal is to hold nothing of.
    clearing: BTreeSet<LogId>,
    /// A helper is syncing files.
    helped: bool,
    /// How many syncs have ended, those of the journal included.
    pub(super) syncs: u64,
    pub(super) rounds: u64,
    pub(super) checkpoints: u64,
}

/// The commit in flight.
enum Commit {
    None,
    /// Each of these logs syncs its own file.
    Syncs(Vec<LogId>),
    Round(Vec<(LogId, RoundShare)>),
}

/// A checkpoint of everything that the journal held at one moment.
struct Cycle {
    mark: JournalMark,
    left: VecDeque<LogId>,
    /// Something was not synced, so that the rounds must stay.
    failed: bool,
}

/// Syncs that nobody waits for, to be made on a helper thread one after the other: thousands of them
/// in the core's ring would hold up those that somebody waits for.
pub struct BackgroundSyncs<D: Disk> {
    tickets: Vec<(LogId, Ticket<D>)>,
}

/// What became of [`BackgroundSyncs`].
pub struct BackgroundSynced<D: Disk> {
    results: Vec<(LogId, Ticket<D>, io::Result<()>)>,
}

/// What a sync in the background is for.
enum Ticket<D: Disk> {
    /// The segments behind the journal.
    Checkpoint(CheckpointTicket<D>),
    /// A log at `memory`, by the clock, or the footers of an idle one.
    Lazy(SyncTicket<D>),
}

impl<D: Disk> BackgroundSyncs<D> {
    /// Makes the syncs. Blocks for as long as the disk takes.
    #[must_use]
    pub fn run(self) -> BackgroundSynced<D> {
        let run = |(id, ticket): (LogId, Ticket<D>)| {
            let result = match &ticket {
                Ticket::Checkpoint(ticket) => ticket.run(),
                Ticket::Lazy(ticket) => ticket.run(),
            };
            (id, ticket, result)
        };
        BackgroundSynced {
            results: self.tickets.into_iter().map(run).collect(),
        }
    }
}

impl<D: Disk> Commits<D> {
    pub(super) fn new(journal: Journal<D>) -> Self {
        Self {
            journal,
            waiting: VecDeque::new(),
            in_flight: Commit::None,
            journaled: BTreeSet::new(),
            cycle: None,
            lazy: VecDeque::new(),
            footers: BTreeSet::new(),
            clearing: BTreeSet::new(),
            helped: false,
            syncs: 0,
            rounds: 0,
            checkpoints: 0,
        }
    }

    /// Has a log synced in the background.
    pub(super) fn sync_lazily(&mut self, log: LogId) {
        self.lazy.push_back(log);
    }

    /// Has the footers of an idle log synced in the background.
    pub(super) fn sync_footers(&mut self, log: LogId) {
        self.footers.insert(log);
    }

    /// Has the files of a partition synced that the journal is to hold nothing of.
    pub(super) fn clear(&mut self, partition: PartitionId) {
        self.clearing
            .extend(LogKind::ALL.map(|kind| (partition, kind)));
    }

    /// Has a log wait for the next commit.
    pub(super) fn wait(&mut self, log: LogId) {
        self.waiting.push_back(log);
    }

    /// Whether nothing is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.in_flight, Commit::None) && self.waiting.is_empty() && !self.helped
    }

    /// Removes the journal's files: the segments have all that is in them.
    pub(super) fn remove_journal(&mut self) -> io::Result<()> {
        self.journal.remove()
    }

    /// A log's own sync has ended.
    pub(super) fn sync_ended(&mut self, log: LogId) {
        self.syncs += 1;
        if let Commit::Syncs(syncs) = &mut self.in_flight {
            syncs.retain(|other| *other != log);
            if syncs.is_empty() {
                self.in_flight = Commit::None;
            }
        }
    }
}

impl<D: Disk> Shard<D> {
    /// Begins the next commit, if none is in flight and something waits for one.
    pub(super) fn commit(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        if !matches!(self.commits.in_flight, Commit::None) || self.commits.waiting.is_empty() {
            return;
        }
        let mut shared = Vec::new();
        for (id, kind) in std::mem::take(&mut self.commits.waiting) {
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            partition.waits[kind as usize] = false;
            if kind == LogKind::Sibling {
                partition.gather(clock, fx);
            }
            match partition.write(kind, fx) {
                Some(Way::Later(Later::Commit)) => shared.push((id, kind)),
                Some(Way::Own) => partition.begin_sync(kind, fx),
                Some(Way::Later(Later::Background)) | None => {}
            }
            self.count_unsynced(id);
        }
        if shared.len() > 1 {
            self.prepare_journal(clock, fx);
            let shared_from = self.begin_round(clock, &shared, fx);
            let left = shared.split_off(shared_from);
            if shared_from > 0 {
                // They did not fit.
                for (id, kind) in left {
                    if let Some(partition) = self.partitions.get_mut(&id) {
                        partition.waits[kind as usize] = true;
                        self.commits.wait((id, kind));
                    }
                }
                return;
            }
            shared = left;
        }
        let mut syncs = Vec::new();
        for (id, kind) in shared {
            if let Some(partition) = self.partitions.get_mut(&id) {
                let before = fx.len();
                partition.begin_sync(kind, fx);
                // Without a sync a checkpoint is in flight, whose end brings the next round.
                if fx.len() > before {
                    syncs.push((id, kind));
                }
            }
        }
        if !syncs.is_empty() {
            self.commits.in_flight = Commit::Syncs(syncs);
        }
    }

    /// Begins a round of the journal with as many of the logs as fit, from the first on, and says
    /// how many did.
    fn begin_round(&mut self, clock: Clock, logs: &[LogId], fx: &mut Vec<Effect<D>>) -> usize {
        let room = self.commits.journal.room();
        let mut round = self.commits.journal.round();
        let mut shares = Vec::with_capacity(logs.len());
        let mut taken = 0;
        for (id, kind) in logs {
            let partition = self.partitions.get_mut(id);
            let log = partition.map(|partition| partition.store.log_mut(*kind));
            let Some((log, bytes)) =
                log.and_then(|log| log.round_bytes().map(|bytes| (log, bytes)))
            else {
                taken += 1;
                continue;
            };
            if round.room_with(bytes) > room {
                break;
            }
            let share = log.begin_round(&mut round);
            shares.extend(share.map(|share| ((*id, *kind), share)));
            taken += 1;
        }
        if shares.is_empty() {
            return taken;
        }
        match self.commits.journal.begin(round, clock.monotonic_ms) {
            Ok(ticket) => {
                self.commits.rounds += 1;
                self.commits.in_flight = Commit::Round(shares);
                fx.push(Effect::SyncJournal { ticket });
            }
            Err(error) => self.end_shares(shares, Err(&error.reason), fx),
        }
        taken
    }

    /// Makes the journal's next file when it will be needed.
    fn prepare_journal(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        if let Some(work) = self.commits.journal.wanted(clock.monotonic_ms) {
            fx.push(Effect::PrepareJournal { work });
        }
    }

    /// A file of the journal is made, or could not be.
    pub fn journal_prepared(&mut self, clock: Clock, prepared: PreparedJournal<D>) {
        if let Err(error) = self.commits.journal.prepared(prepared, clock.monotonic_ms) {
            let core = self.config.core;
            tracing::warn!(core, %error, "no journal file could be made; logs are synced one by one");
        }
    }

    /// The sync of the journal has ended; the next commit begins at once if there is more.
    ///
    /// # Panics
    /// When no round is in flight.
    pub fn journal_synced(
        &mut self,
        clock: Clock,
        ticket: JournalTicket<D>,
        result: &io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let in_flight = std::mem::replace(&mut self.commits.in_flight, Commit::None);
        let Commit::Round(shares) = in_flight else {
            panic!("a round is in flight")
        };
        self.commits.journal.finish(ticket, result);
        self.commits.syncs += 1;
        let failed = self.commits.journal.failed().map(str::to_owned);
        let result = failed.as_deref().map_or(Ok(()), Err);
        self.end_shares(shares, result, fx);
        self.checkpoint(clock, fx);
        self.end_round(clock, fx);
    }

    fn end_shares(
        &mut self,
        shares: Vec<(LogId, RoundShare)>,
        result: Result<(), &str>,
        fx: &mut Vec<Effect<D>>,
    ) {
        if let Err(reason) = result {
            let (core, logs) = (self.config.core, shares.len());
            tracing::error!(
                core,
                logs,
                reason,
                "the journal failed; its partitions are fenced"
            );
        }
        for ((id, kind), share) in shares {
            // The partition may have been deleted meanwhile.
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.round_ended(kind, share, result, fx);
                self.commits.journaled.insert((id, kind));
                self.count_unsynced(id);
                self.touch(id);
            }
        }
    }

    /// Syncs the segments behind the journal when there is enough in it, or it has been there for
    /// long enough.
    pub(super) fn checkpoint(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        let journal = &self.commits.journal;
        let old = journal.unretired_ms(clock.monotonic_ms);
        let due = old.is_some_and(|ms| ms >= JOURNAL_CHECKPOINT_MS)
            || journal.unretired_bytes() >= JOURNAL_CHECKPOINT_BYTES;
        if due && self.commits.cycle.is_none() && !self.stopping {
            self.commits.cycle = Some(Cycle {
                mark: journal.mark(),
                left: std::mem::take(&mut self.commits.journaled)
                    .into_iter()
                    .collect(),
                failed: false,
            });
            self.commits.checkpoints += 1;
        }
        self.sync_in_background(clock, fx);
    }

    /// Gives a helper the next syncs that nobody waits for, if it has none.
    pub(super) fn sync_in_background(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        if self.commits.helped {
            return;
        }
        let mut tickets = Vec::new();
        // Somebody waits for these. One that is busy comes again with the next round.
        for (id, kind) in std::mem::take(&mut self.commits.clearing) {
            if let Some(partition) = self.partitions.get_mut(&id)
                && let Checkpoint::Sync(ticket) = partition.store.log_mut(kind).begin_checkpoint()
            {
                tickets.push(((id, kind), Ticket::Checkpoint(ticket)));
            }
        }
        self.go_on_with_checkpoint(clock, &mut tickets);
        while tickets.len() < BACKGROUND_LOGS {
            let Some((id, kind)) = self.commits.lazy.pop_front() else {
                break;
            };
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.waits[kind as usize] = false;
                let ticket = partition.begin_lazy_sync(kind);
                tickets.extend(ticket.map(|ticket| ((id, kind), Ticket::Lazy(ticket))));
            }
        }
        while tickets.len() < BACKGROUND_LOGS {
            let Some((id, kind)) = self.commits.footers.pop_first() else {
                break;
            };
            let partition = self.partitions.get_mut(&id);
            let ticket = partition.and_then(|at| at.store.log_mut(kind).begin_footer_sync());
            tickets.extend(ticket.map(|ticket| ((id, kind), Ticket::Lazy(ticket))));
        }
        if !tickets.is_empty() {
            self.commits.helped = true;
            let work = BackgroundSyncs { tickets };
            fx.push(Effect::SyncInBackground { work });
        }
    }

    fn go_on_with_checkpoint(&mut self, clock: Clock, tickets: &mut Vec<(LogId, Ticket<D>)>) {
        let Some(cycle) = &mut self.commits.cycle else {
            return;
        };
        let mut busy = Vec::new();
        while tickets.len() < BACKGROUND_LOGS {
            let Some((id, kind)) = cycle.left.pop_front() else {
                break;
            };
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            match partition.store.log_mut(kind).begin_checkpoint() {
                Checkpoint::None => {}
                Checkpoint::Busy => busy.push((id, kind)),
                Checkpoint::Sync(ticket) => tickets.push(((id, kind), Ticket::Checkpoint(ticket))),
                Checkpoint::Poisoned => cycle.failed = true,
            }
        }
        cycle.left.extend(busy);
        // After a failure the rounds stay, for the next start to replay; the journal fills and
        // takes no more.
        if tickets.is_empty() && cycle.left.is_empty() && !cycle.failed {
            self.commits.journal.retire(cycle.mark, clock.monotonic_ms);
            self.commits.cycle = None;
        }
    }

    /// Syncs in the background have been made, or have failed.
    pub fn synced_in_background(
        &mut self,
        clock: Clock,
        synced: BackgroundSynced<D>,
        fx: &mut Vec<Effect<D>>,
    ) {
        self.commits.helped = false;
        for ((id, kind), ticket, result) in synced.results {
            let failed = result.is_err();
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            match ticket {
                Ticket::Lazy(ticket) => partition.synced(kind, ticket, result, fx),
                Ticket::Checkpoint(ticket) => {
                    partition.checkpointed(kind, ticket, result, fx);
                    if let Some(cycle) = &mut self.commits.cycle {
                        cycle.failed |= failed;
                    }
                }
            }
            self.count_unsynced(id);
            self.touch(id);
        }
        self.sync_in_background(clock, fx);
        self.end_round(clock, fx);
    }
}
