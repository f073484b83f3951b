//! Rounds: what was staged is written, synced, and what waited for it is answered.

use hulse_log::{AppendError, CheckpointTicket, Disk, LogKind, RoundShare, SyncTicket};
use hulse_model::{EntryDraft, Offset, PayloadFormat, ProducerId};
use hulse_subscription::{SiblingRecord, Subscription};

use crate::command::Clock;
use crate::effect::{Effect, Refusal, Reply};
use crate::partition::{AckLevel, Partition};
use crate::sibling::{Answer, Reached, Unstored};

/// Unsynced bytes at which a log at `memory` syncs without waiting for the clock.
const LAZY_SYNC_BYTES: usize = 4 * 1024 * 1024;

/// How what a log has written is to become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a sync of its own file, at once.
    Own,
    /// Later, in turn with others.
    Later(Later),
}

/// What a log waits for that is not synced at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Later {
    /// The next commit, which it may share with others.
    Commit,
    /// A helper: nobody waits for it.
    Background,
}

impl<D: Disk> Partition<D> {
    /// Appends a record to the sibling log and applies it; the answers follow when it and
    /// everything before it is stored, and the high watermark is at `entries`. The record counts
    /// from now on: requests behind it build on it, and none of them is answered before it is
    /// stored. That a producer is open is told once its name is durable, at every level, and keeps
    /// nobody else waiting.
    pub(crate) fn store_record(
        &mut self,
        clock: Clock,
        record: Option<SiblingRecord>,
        entries: Offset,
        answers: Vec<Answer>,
    ) {
        let makes = match &record {
            Some(SiblingRecord::SubscriptionCreated { id, .. }) => Some(*id),
            _ => None,
        };
        let names = match &record {
            Some(SiblingRecord::ProducerOpened { id, name, .. })
                if self.state.producers().get(*id).is_none() =>
            {
                Some(name.clone())
            }
            // Whoever is told the epoch comes back with it, so nothing may forget it.
            Some(SiblingRecord::AccessEpoch { .. }) => answers.iter().find_map(Answer::opens),
            _ => None,
        };
        if let Some(record) = &record {
            self.state.apply_record(record);
        }
        let record = record.map(|record| record.to_bytes());
        self.sibling.push(Unstored {
            record,
            makes,
            names,
            entries,
            answers,
        });
        self.store_unstored(clock);
    }

    /// Appends the records that wait for room, as far as there is room.
    pub(crate) fn store_unstored(&mut self, clock: Clock) {
        while let Some(unstored) = self.sibling.unstored() {
            if let Some(record) = &unstored.record {
                let draft = EntryDraft {
                    format: PayloadFormat::Record,
                    appended_ms: clock.wall_ms,
                    producer: ProducerId(0),
                    sequence: 0,
                    messages: 1,
                    payload: record,
                    payload_crc: None,
                };
                match self.store.sibling.append(self.spec.term, &draft) {
                    Ok(_) => self.upkeep.record_appended(record.len()),
                    // The prepared segment brings the round that goes on.
                    Err(AppendError::NoRoom { .. }) => return self.sibling.found_no_room(),
                    // Time does: what waits is refused, and another try is made.
                    Err(error @ AppendError::Unopened { .. }) => {
                        self.unopened(&error, clock.monotonic_ms);
                        return self.sibling.found_no_room();
                    }
                    // The sync in flight does; and a failed log has its own way.
                    Err(AppendError::Held { .. } | AppendError::Poisoned { .. }) => return,
                    Err(error) => {
                        let partition = self.spec.id;
                        tracing::error!(%partition, %error, "a record was not stored");
                        return;
                    }
                }
            }
            self.sibling.stored(self.store.sibling.end());
        }
    }

    /// Records what has moved in the cursors since the last round, as far as the sibling log has
    /// room for it.
    pub(crate) fn record_cursors(&mut self, clock: Clock) {
        while self.sibling.is_stored() {
            let Some((id, answers)) = self.sibling.take_moved() else {
                return;
            };
            // So much at a time as fits into one record. The receipts wait for the last.
            while let Some(record) = self
                .state
                .subscription_mut(id)
                .and_then(Subscription::take_changes)
            {
                self.sibling.push(Unstored {
                    record: Some(record.to_bytes()),
                    makes: None,
                    names: None,
                    entries: Offset::ZERO,
                    answers: Vec::new(),
                });
            }
            self.sibling.push(Unstored {
                record: None,
                makes: None,
                names: None,
                entries: Offset::ZERO,
                answers,
            });
            self.store_unstored(clock);
        }
    }

    /// Writes what is staged, begins the syncs of logs that sync alone, and releases what is due.
    /// Returns how each log that is left is to become durable.
    pub(crate) fn end_round(
        &mut self,
        clock: Clock,
        fx: &mut Vec<Effect<D>>,
    ) -> [Option<Later>; 2] {
        self.store_unstored(clock);
        // At `memory` no receipt waits for a sync, so there is no round to gather for.
        let gathers = self.store.sibling.syncing() || self.waits[LogKind::Sibling as usize];
        if self.spec.ack == AckLevel::Memory || !gathers {
            self.record_cursors(clock);
        }
        self.want_segments(clock.monotonic_ms, fx);
        self.refuse_unstored(clock.monotonic_ms, fx);
        let mut left = [None; 2];
        for kind in LogKind::ALL {
            match self.write(kind, fx) {
                Some(Way::Own) => self.begin_sync(kind, fx),
                Some(Way::Later(later)) => left[kind as usize] = Some(later),
                None => {}
            }
        }
        self.release(fx);
        left
    }

    /// Records what has moved in the cursors, right before a commit of the sibling log begins.
    pub(crate) fn gather(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.store_unstored(clock);
        self.record_cursors(clock);
        self.want_segments(clock.monotonic_ms, fx);
        self.refuse_unstored(clock.monotonic_ms, fx);
    }

    /// Writes what a log has staged, and says how what is written is to become durable; `None` when
    /// nothing is to be done now.
    pub(crate) fn write(&mut self, kind: LogKind, fx: &mut Vec<Effect<D>>) -> Option<Way> {
        let (partition, level) = (self.spec.id, self.spec.ack);
        let may_use_journal = self.may_use_journal();
        let log = self.store.log_mut(kind);
        let failed_before = log.poisoned().is_some();
        if let Err(error) = log.write() {
            if !failed_before {
                tracing::error!(%partition, ?kind, %error, "a write failed; the partition is fenced");
            }
            self.fail(fx);
            return None;
        }
        if log.flushed() == log.written() || log.syncing() {
            return None;
        }
        if level == AckLevel::Memory {
            // Entries that named a producer which a loss of power could take would be stored again
            // by its retries.
            let names = kind == LogKind::Sibling && self.sibling.wants_sync(log.flushed());
            if names || self.upkeep.is_closing() {
                return Some(Way::Own);
            }
            // Not through the core's ring, which would give its processor away to so large a sync.
            let much = log.unsynced_bytes() >= LAZY_SYNC_BYTES;
            return (much || self.upkeep.sync_due(kind)).then_some(Way::Later(Later::Background));
        }
        Some(if may_use_journal && log.round_bytes().is_some() {
            Way::Later(Later::Commit)
        } else {
            Way::Own
        })
    }

    /// Begins the sync of a log's own file.
    pub(crate) fn begin_sync(&mut self, kind: LogKind, fx: &mut Vec<Effect<D>>) {
        if let Some(ticket) = self.store.log_mut(kind).begin_sync() {
            self.upkeep.sync_begun(kind);
            fx.push(Effect::Sync {
                partition: self.spec.id,
                log: kind,
                ticket,
            });
        }
    }

    /// Begins a sync that a helper makes.
    pub(crate) fn begin_lazy_sync(&mut self, kind: LogKind) -> Option<SyncTicket<D>> {
        let ticket = self.store.log_mut(kind).begin_sync()?;
        self.upkeep.sync_begun(kind);
        Some(ticket)
    }

    /// A round of the journal that the log had a share in has ended.
    pub(crate) fn round_ended(
        &mut self,
        kind: LogKind,
        share: RoundShare,
        result: Result<(), &str>,
        fx: &mut Vec<Effect<D>>,
    ) {
        self.store.log_mut(kind).finish_round(share, result);
        if result.is_err() {
            self.fail(fx);
        } else {
            self.upkeep.sync_begun(kind);
            self.release(fx);
            self.resume_held(fx);
        }
    }

    /// A checkpoint of a log has ended.
    pub(crate) fn checkpointed(
        &mut self,
        kind: LogKind,
        ticket: CheckpointTicket<D>,
        result: std::io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let failed = self.has_failed(kind, &result);
        self.store.log_mut(kind).finish_checkpoint(ticket, result);
        if failed {
            self.fail(fx);
        }
    }

    /// Whether a sync has failed, which is written down.
    fn has_failed(&self, kind: LogKind, result: &std::io::Result<()>) -> bool {
        if let Err(error) = result {
            let partition = self.spec.id;
            tracing::error!(%partition, ?kind, %error, "a sync failed; the partition is fenced");
        }
        result.is_err()
    }

    /// A sync has ended.
    pub(crate) fn synced(
        &mut self,
        kind: LogKind,
        ticket: SyncTicket<D>,
        result: std::io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let failed = self.has_failed(kind, &result);
        self.store.log_mut(kind).finish_sync(ticket, result);
        if failed {
            self.fail(fx);
        } else {
            self.release(fx);
            self.resume_held(fx);
        }
    }

    /// Sends the receipts and answers that are due.
    pub(crate) fn release(&mut self, fx: &mut Vec<Effect<D>>) {
        let high_watermark = self.high_watermark();
        self.receipts.release(high_watermark, |to, receipt| {
            fx.push(Effect::Receipt { to, receipt });
        });
        let reached = Reached {
            sibling: self.sibling_watermark(),
            sibling_synced: self.store.sibling.flushed(),
            entries: high_watermark,
        };
        let mut opened = false;
        while let Some(answer) = self.sibling.due(reached) {
            opened |= matches!(answer.reply, Reply::ProducerOpened { .. });
            let Answer {
                to,
                correlation,
                reply,
            } = answer;
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
        if opened {
            // Its first batches may have been held back until now.
            self.resume_held(fx);
        }
    }

    /// Whether nothing is unsynced, waited for, or on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        if self.fenced().is_some() {
            return true;
        }
        // What waits for room on a full disk may wait for ever, and nobody is to be told of it.
        let stuck = self.sibling.wants_room() && self.no_room.is_some() && !self.sibling.owes();
        self.unsynced_bytes() == 0
            && (self.sibling.is_idle() || stuck)
            && !self.store.entries.syncing()
            && !self.store.sibling.syncing()
    }

    /// Tells everybody who waits that what they wait for may or may not have been stored.
    fn fail(&mut self, fx: &mut Vec<Effect<D>>) {
        // What has been stored before the failure is no longer waited for.
        self.release(fx);
        let refusal = self
            .fenced()
            .expect("a failed write or sync fences the partition");
        self.refuse_waiting(&refusal, fx);
        self.resume_held(fx);
    }

    /// Refuses everything that waits to be stored, and ends the streams that have thereby never
    /// been open. What is refused may take effect all the same.
    pub(crate) fn refuse_waiting(&mut self, refusal: &Refusal, fx: &mut Vec<Effect<D>>) {
        for (to, correlation, receipt) in self.receipts.drain() {
            let reply = Reply::Refused(Refusal {
                batch: Some((receipt.sequence, receipt.messages)),
                appended: true,
                ..refusal.clone()
            });
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
        let answers = self.sibling.drain();
        self.refuse_answers(answers, refusal, fx);
    }

    /// Refuses what waits for records that find no room in the sibling log, while there is none to
    /// be had. The records are stored when there is room again.
    fn refuse_unstored(&mut self, now_ms: u64, fx: &mut Vec<Effect<D>>) {
        if !self.sibling.wants_room() {
            return;
        }
        if let Some(refusal) = self.refused_room(now_ms).cloned() {
            let answers = self.sibling.take_unstored_answers();
            self.refuse_answers(answers, &refusal, fx);
            self.resume_held(fx);
        }
    }

    fn refuse_answers(&mut self, answers: Vec<Answer>, refusal: &Refusal, fx: &mut Vec<Effect<D>>) {
        for answer in answers {
            let Answer {
                to,
                correlation,
                reply,
            } = answer;
            let opens = |reply: &Reply| {
                matches!(
                    reply,
                    Reply::ProducerOpened { .. } | Reply::Subscribed { .. }
                )
            };
            if opens(&reply) {
                self.ended.push(to);
            }
            let reply = Reply::Refused(refusal.clone());
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
    }
}
