//! Rounds: what was staged is written, synced, and what waited for it is answered.

use std::collections::VecDeque;

use hulse_log::{AppendError, Disk, SyncTicket};
use hulse_model::{EntryDraft, Offset, PayloadFormat, ProducerId};
use hulse_subscription::{SiblingRecord, Subscription};

use crate::command::{Clock, StreamKey};
use crate::effect::{Effect, Reply};
use crate::partition::{AckLevel, Partition};
use hulse_log::LogKind;

/// An answer that waits for something to be durable.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: StreamKey,
    pub(crate) correlation: u64,
    pub(crate) reply: Reply,
}

/// Answers, and the record that they wait for, if it is not one of those before.
#[derive(Debug)]
struct Unstored {
    record: Option<Vec<u8>>,
    /// The offset that the high watermark must have reached as well.
    entries: Offset,
    answers: Vec<Answer>,
}

/// An answer whose record is in the sibling log, not yet durable.
#[derive(Debug)]
struct Waiting {
    /// The end of the sibling log that must be durable.
    sibling: Offset,
    /// The offset that the high watermark must have reached.
    entries: Offset,
    answer: Answer,
}

/// Records on their way into the sibling log, and the answers that wait for them.
///
/// Acknowledgements are not recorded one by one: while a sync runs they gather in the cursors, and
/// the next round records what has changed, so a record is as large as the round is long.
#[derive(Debug, Default)]
pub(crate) struct SiblingQueue {
    unstored: VecDeque<Unstored>,
    waiting: VecDeque<Waiting>,
    /// Subscriptions whose cursors have moved since their last record, with the receipts owed.
    pub(crate) moved: VecDeque<(u64, Vec<Answer>)>,
}

impl SiblingQueue {
    /// Notes that a cursor has moved; the receipt, if one is wanted, goes when that is durable.
    pub(crate) fn cursor_moved(&mut self, subscription: u64, receipt: Option<Answer>) {
        match self.moved.iter_mut().find(|(id, _)| *id == subscription) {
            Some((_, answers)) => answers.extend(receipt),
            None => self
                .moved
                .push_back((subscription, receipt.into_iter().collect())),
        }
    }

    /// Whether the stream is owed an answer.
    pub(crate) fn owes(&self, stream: StreamKey) -> bool {
        self.waiting
            .iter()
            .any(|waiting| waiting.answer.to == stream)
            || self
                .unstored
                .iter()
                .flat_map(|u| &u.answers)
                .any(|answer| answer.to == stream)
    }

    /// Whether everything asked for so far is stored and answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.unstored.is_empty() && self.waiting.is_empty() && self.moved.is_empty()
    }

    /// Whether every record so far is in the log, durable or not.
    pub(crate) fn is_stored(&self) -> bool {
        self.unstored.is_empty()
    }

    /// Drops the answers for streams that are gone; the records stay.
    pub(crate) fn forget(&mut self, gone: impl Fn(StreamKey) -> bool) {
        self.waiting.retain(|waiting| !gone(waiting.answer.to));
        for unstored in &mut self.unstored {
            unstored.answers.retain(|answer| !gone(answer.to));
        }
        for (_, answers) in &mut self.moved {
            answers.retain(|answer| !gone(answer.to));
        }
    }

    /// Takes every answer, due or not: when the log has failed.
    fn drain(&mut self) -> Vec<Answer> {
        let unstored = self.unstored.drain(..).flat_map(|u| u.answers);
        let waiting = self.waiting.drain(..).map(|waiting| waiting.answer);
        let moved = self.moved.drain(..).flat_map(|(_, answers)| answers);
        unstored.chain(waiting).chain(moved).collect()
    }
}

impl<D: Disk> Partition<D> {
    /// Appends a record to the sibling log and applies it; the answers follow when it and
    /// everything before it is durable, and the high watermark is at `entries`. The record counts
    /// from now on: requests behind it build on it, and none of them is answered before it is.
    pub(crate) fn store_record(
        &mut self,
        clock: Clock,
        record: Option<SiblingRecord>,
        entries: Offset,
        answers: Vec<Answer>,
    ) {
        if let Some(record) = &record {
            self.state.apply_record(record);
        }
        let record = record.map(|record| record.to_bytes());
        self.sibling.unstored.push_back(Unstored {
            record,
            entries,
            answers,
        });
        self.store_unstored(clock);
    }

    /// Appends the records that wait for room, as far as there is room.
    fn store_unstored(&mut self, clock: Clock) {
        while let Some(Unstored { record, .. }) = self.sibling.unstored.front() {
            if let Some(record) = record {
                let draft = EntryDraft {
                    format: PayloadFormat::Record,
                    appended_ms: clock.wall_ms,
                    producer: ProducerId(0),
                    sequence: 0,
                    messages: 1,
                    payload: record,
                };
                match self.store.sibling.append(self.spec.term, &draft) {
                    Ok(_) => self.upkeep.record_appended(record.len()),
                    // The prepared segment, or the sync in flight, brings the round that goes on.
                    Err(AppendError::NoRoom { .. } | AppendError::Held { .. }) => return,
                    Err(error) => {
                        let partition = self.spec.id;
                        tracing::error!(%partition, %error, "a record was not stored");
                        return;
                    }
                }
            }
            let stored = self
                .sibling
                .unstored
                .pop_front()
                .expect("it was just looked at");
            let (sibling, entries) = (self.store.sibling.end(), stored.entries);
            let wait = |answer| Waiting {
                sibling,
                entries,
                answer,
            };
            self.sibling
                .waiting
                .extend(stored.answers.into_iter().map(wait));
        }
    }

    /// Records what has moved in the cursors since the last round, if the sibling log is free to
    /// take it.
    fn record_cursors(&mut self, clock: Clock) {
        while self.sibling.unstored.is_empty() {
            let Some((id, answers)) = self.sibling.moved.pop_front() else {
                return;
            };
            // So much at a time as fits into one record. The receipts wait for the last.
            while let Some(record) = self
                .state
                .subscription_mut(id)
                .and_then(Subscription::take_changes)
            {
                let record = Some(record.to_bytes());
                let answers = Vec::new();
                self.sibling.unstored.push_back(Unstored {
                    record,
                    entries: Offset::ZERO,
                    answers,
                });
            }
            self.sibling.unstored.push_back(Unstored {
                record: None,
                entries: Offset::ZERO,
                answers,
            });
            self.store_unstored(clock);
        }
    }

    /// Writes what is staged, begins the syncs that can begin, and releases what is due.
    pub(crate) fn end_round(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        self.store_unstored(clock);
        if !self.store.sibling.syncing() {
            self.record_cursors(clock);
        }
        self.want_segments(fx);
        for kind in [LogKind::Entries, LogKind::Sibling] {
            self.begin_sync(kind, fx);
        }
        self.release(fx);
    }

    fn begin_sync(&mut self, kind: LogKind, fx: &mut Vec<Effect<D>>) {
        let (partition, level) = (self.spec.id, self.spec.ack);
        let lazy = level == AckLevel::Memory && !self.upkeep.sync_due(kind);
        let log = match kind {
            LogKind::Entries => &mut self.store.entries,
            LogKind::Sibling => &mut self.store.sibling,
        };
        if let Err(error) = log.write() {
            tracing::error!(%partition, ?kind, %error, "a write failed; the partition is fenced");
            self.fail(fx);
            return;
        }
        if lazy {
            return;
        }
        if let Some(ticket) = log.begin_sync() {
            self.upkeep.sync_begun(kind);
            fx.push(Effect::Sync {
                partition,
                log: kind,
                ticket,
            });
        }
    }

    /// A sync has ended. Returns whether another round is wanted at once.
    pub(crate) fn synced(
        &mut self,
        kind: LogKind,
        ticket: SyncTicket<D>,
        result: std::io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        let failed = result.is_err();
        if let Err(error) = &result {
            let partition = self.spec.id;
            tracing::error!(%partition, ?kind, %error, "a sync failed; the partition is fenced");
        }
        let log = match kind {
            LogKind::Entries => &mut self.store.entries,
            LogKind::Sibling => &mut self.store.sibling,
        };
        log.finish_sync(ticket, result);
        if failed {
            self.fail(fx);
        } else {
            self.release(fx);
        }
        self.resume_held(fx);
    }

    /// Sends the receipts and answers that are due.
    pub(crate) fn release(&mut self, fx: &mut Vec<Effect<D>>) {
        let high_watermark = self.high_watermark();
        while let Some((to, receipt)) = self.receipts.due(high_watermark) {
            fx.push(Effect::Receipt { to, receipt });
        }
        let sibling = self.sibling_watermark();
        let due = |w: &Waiting| w.sibling <= sibling && w.entries <= high_watermark;
        while self.sibling.waiting.front().is_some_and(due) {
            let waiting = self
                .sibling
                .waiting
                .pop_front()
                .expect("it was just looked at");
            let Answer {
                to,
                correlation,
                reply,
            } = waiting.answer;
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
    }

    /// Whether nothing is unsynced, waited for, or on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        if self.fenced().is_some() {
            return true;
        }
        self.unsynced_bytes() == 0
            && self.sibling.is_idle()
            && !self.store.entries.syncing()
            && !self.store.sibling.syncing()
    }

    /// Tells everybody who waits that what they wait for may or may not have been stored.
    fn fail(&mut self, fx: &mut Vec<Effect<D>>) {
        let refusal = self
            .fenced()
            .expect("a failed write or sync fences the partition");
        for (to, correlation, receipt) in self.receipts.drain() {
            let batch = Some((receipt.sequence, receipt.messages));
            let reply = Reply::Refused(crate::Refusal {
                batch,
                appended: true,
                ..refusal.clone()
            });
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
        for Answer {
            to, correlation, ..
        } in self.sibling.drain()
        {
            let reply = Reply::Refused(refusal.clone());
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
    }
}
