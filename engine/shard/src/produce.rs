//! Producers: opening a name, storing batches, recognising what was stored before.

use hulse_log::{AppendError, Disk};
use hulse_model::limits::{ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX};
use hulse_model::{EntryDraft, PayloadFormat, ProducerId, ProducerName, Status};
use hulse_subscription::{Access, AccessError, Asked, Check, OpenProducerError};

use crate::command::{Clock, Handled, StreamKey};
use crate::effect::{Effect, Receipt, Refusal, Reply};
use crate::partition::Partition;
use crate::probes::{Claimant, Obstacle, Opening};
use crate::sibling::Answer;

/// A producer's opening on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenedProducer {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u64,
    /// The access epoch in which it publishes.
    pub(crate) access: u64,
}

/// A batch as it came from the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) sequence: u64,
    pub(crate) messages: u32,
    pub(crate) skipped: bool,
    pub(crate) delayed: bool,
    pub(crate) payload: &'a [u8],
    pub(crate) payload_crc: Option<u32>,
}

impl Batch<'_> {
    /// How its payload is to be read.
    const fn format(&self) -> PayloadFormat {
        if self.delayed {
            PayloadFormat::Delayed
        } else {
            PayloadFormat::Messages
        }
    }
}

/// What a producer asks for when it is opened.
#[derive(Debug)]
pub(crate) struct Producing {
    pub(crate) name: ProducerName,
    pub(crate) epoch: Option<u64>,
    pub(crate) access: Access,
    pub(crate) access_epoch: Option<u64>,
}

/// What became of a producer's opening.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// It is open, and these streams are fenced by it.
    Opened(OpenedProducer, Vec<StreamKey>),
    /// It is to wait for its turn: see [`Partition::wait_for_turn`].
    Waits,
}

impl<D: Disk> Partition<D> {
    /// Opens a producer name. The answer goes once the name is durable: an entry must never name a
    /// producer that a crash could forget, or its retries would be stored twice. So it is with the
    /// access epoch, with which the producer comes back.
    pub(crate) fn open_producer(
        &mut self,
        clock: Clock,
        wanted: &Producing,
        to: StreamKey,
        correlation: u64,
    ) -> Result<Admitted, Obstacle> {
        if let Some(refusal) = self.refused_record(clock.monotonic_ms) {
            return Err(refusal.into());
        }
        let name = &wanted.name;
        let refused = |status, error: &dyn std::fmt::Display| {
            Refusal::new(status, format!("producer {name} cannot be opened: {error}"))
        };
        let opened = self
            .state
            .producers()
            .plan_open(name, wanted.epoch)
            .map_err(|error| {
                let (status, busy) = match error {
                    OpenProducerError::Fenced { .. } => (Status::ProducerFenced, false),
                    OpenProducerError::Busy { .. } => (Status::ProducerBusy, true),
                    OpenProducerError::TooMany => (Status::OverLimit, false),
                };
                let id = self.state.producers().id_of(name).filter(|_| busy);
                let holder = id.and_then(|id| self.openers.get(&id).copied());
                refused(status, &error).held_by(holder)
            })?;
        let replaces = self.openers.get(&opened.id).copied();
        let newest = self.state.access();
        let asked = self
            .access
            .ask(newest, to, wanted.access, wanted.access_epoch, replaces)
            .map_err(|error| {
                let (status, holder) = match error {
                    AccessError::Fenced { .. } => (Status::ProducerFenced, None),
                    AccessError::Unknown { .. } => (Status::InvalidArgument, None),
                    AccessError::HasExclusive { holder }
                    | AccessError::HasShared { holder, .. } => (Status::ProducerBusy, Some(holder)),
                    AccessError::OthersWait { .. } => (Status::ProducerBusy, None),
                    AccessError::TooManyWait => (Status::OverLimit, None),
                };
                refused(status, &error).held_by(holder)
            })?;
        let Asked::Admitted(admission) = asked else {
            return Ok(Admitted::Waits);
        };
        let last = opened
            .last
            .map(|last| (last.sequence, last.term, last.offset));
        let answer = Answer {
            to,
            correlation,
            reply: Reply::ProducerOpened {
                name: name.clone(),
                epoch: opened.epoch,
                last,
                access_epoch: admission.epoch.epoch,
            },
        };
        // The answer names the newest entry, so it also waits until that is stored.
        let stored = self.store.entries.end();
        let (id, epoch) = (opened.id, opened.epoch);
        match admission.record() {
            None => self.store_record(clock, opened.record, stored, vec![answer]),
            begun => {
                self.store_record(clock, opened.record, stored, Vec::new());
                self.store_record(clock, begun, stored, vec![answer]);
            }
        }
        self.state.producers_mut().opened(id, epoch);
        self.openers.insert(id, to);
        self.access.admitted(to, &admission, replaces);
        self.access.check_invariants(self.state.access());
        let access = admission.epoch.epoch;
        let opened = OpenedProducer { id, epoch, access };
        Ok(Admitted::Opened(opened, admission.fenced))
    }

    /// Lets a producer wait until it can be alone, and gives what it is told.
    pub(crate) fn wait_for_turn(&mut self, claimant: Claimant) -> Reply {
        let Opening::Producer(wanted) = &claimant.opening else {
            unreachable!("a consumer waits for no turn");
        };
        let name = wanted.name.clone();
        self.access.wait(claimant.to);
        self.turns.insert(claimant.to, claimant);
        Reply::ProducerWaits { name }
    }

    /// Takes out the request of the producer whose turn it is. It is to be opened, or to wait no more.
    pub(crate) fn take_turn(&mut self) -> Option<Claimant> {
        let next = self.access.next_turn()?;
        let claimant = self.turns.remove(&next)?;
        Some(Claimant {
            correlation: 0,
            ..claimant
        })
    }

    /// A producer waits no more.
    pub(crate) fn stop_waiting(&mut self, stream: StreamKey) {
        self.access.released(stream);
        self.turns.remove(&stream);
    }

    /// The stream of an opening has ended.
    pub(crate) fn close_producer(&mut self, opened: OpenedProducer, stream: StreamKey) {
        let producers = self.state.producers_mut();
        producers.closed(opened.id, opened.epoch);
        self.access.released(stream);
        if self.openers.get(&opened.id) == Some(&stream) {
            self.openers.remove(&opened.id);
        }
    }

    /// Stores a batch, or recognises it.
    pub(crate) fn produce(
        &mut self,
        clock: Clock,
        producer: OpenedProducer,
        batch: Batch<'_>,
        to: StreamKey,
        correlation: u64,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<Handled, Refusal> {
        check_size(&batch)?;
        if let Some(refusal) = self.fenced() {
            return Err(refusal);
        }
        if self.sibling.gates(to) {
            // An entry that became durable before its producer's name would be stored once more
            // by a retry after a crash.
            self.held.hold(to.connection);
            return Ok(Handled::Held);
        }
        if producer.access != self.state.access().epoch {
            let text = "a producer with exclusive access has taken over";
            return Err(Refusal::new(Status::ProducerFenced, text));
        }
        let Batch {
            sequence, messages, ..
        } = batch;
        match self.state.producers().check(
            producer.id,
            producer.epoch,
            sequence,
            messages,
            batch.skipped,
        ) {
            Check::Fresh => {
                if let Some(refusal) = self.refused_backlog(clock) {
                    return Err(refusal);
                }
            }
            Check::Duplicate { original } => {
                let id = original.map(|original| (original.term, original.offset));
                let receipt = Receipt {
                    sequence,
                    messages,
                    duplicate: true,
                    id,
                };
                // An original whose id is forgotten lies somewhere below the log's end.
                let above = id.map_or(self.store.entries.end(), |(_, offset)| offset.next());
                self.receipts.push(above, to, correlation, receipt);
                self.counters.duplicates += 1;
                return Ok(Handled::Done);
            }
            refused => return Err(self.sequence_refusal(refused, &batch)),
        }
        let format = batch.format();
        let draft = EntryDraft {
            format,
            appended_ms: clock.wall_ms,
            producer: producer.id,
            sequence,
            messages,
            payload: batch.payload,
            payload_crc: batch.payload_crc,
        };
        let appended = match self.store.entries.append(self.spec.term, &draft) {
            Ok(appended) => appended,
            Err(AppendError::NoRoom { .. }) => {
                if let Some(refusal) = self.refused_room(clock.monotonic_ms) {
                    return Err(refusal.clone());
                }
                self.want_segments(clock.monotonic_ms, fx);
                self.held.hold(to.connection);
                return Ok(Handled::Held);
            }
            Err(AppendError::Held { .. }) => {
                self.held.hold(to.connection);
                return Ok(Handled::Held);
            }
            Err(error @ AppendError::Unopened { .. }) => {
                return Err(self.unopened(&error, clock.monotonic_ms));
            }
            Err(AppendError::Poisoned { reason }) => {
                // The log was not poisoned before: to write a large batch, or what was staged
                // before it, has failed just now.
                let partition = self.spec.id;
                tracing::error!(%partition, %reason, "a write failed; the partition is fenced");
                return Err(self.fenced().unwrap_or_else(|| {
                    Refusal::new(Status::StorageFailed, "the log takes no more writes")
                }));
            }
            Err(error) => return Err(Refusal::new(Status::Internal, error.to_string())),
        };
        self.state.apply_entry(&appended.header);
        self.upkeep.entry_appended(appended.header.entry_bytes());
        self.quota.appended(appended.header.entry_bytes());
        self.counters.produced(messages, batch.payload.len());
        let id = Some((self.spec.term, appended.header.offset));
        let receipt = Receipt {
            sequence,
            messages,
            duplicate: false,
            id,
        };
        self.receipts
            .push(appended.offset.next(), to, correlation, receipt);
        self.want_segments(clock.monotonic_ms, fx);
        Ok(Handled::Done)
    }

    fn sequence_refusal(&self, check: Check, batch: &Batch<'_>) -> Refusal {
        let sequence = batch.sequence;
        match check {
            Check::Gap { expected } => Refusal::new(
                Status::SequenceGap,
                format!("the batch begins at sequence {sequence}, {expected} is due next"),
            ),
            Check::Overlap { last } => Refusal::new(
                Status::SequenceOverlap,
                format!("the batch from sequence {sequence} overlaps what is stored up to {last}"),
            ),
            Check::Fenced => Refusal::new(
                Status::ProducerFenced,
                format!(
                    "a newer producer of this name has taken over on {}",
                    self.spec.topic
                ),
            ),
            Check::Invalid => Refusal::new(
                Status::InvalidArgument,
                format!("the sequence numbers from {sequence} run past the last there is"),
            ),
            Check::Fresh | Check::Duplicate { .. } => {
                unreachable!("the caller has dealt with what is not refused")
            }
        }
    }
}

/// Refuses a batch that no log could take.
fn check_size(batch: &Batch<'_>) -> Result<(), Refusal> {
    let bytes = batch.payload.len();
    if bytes > ENTRY_PAYLOAD_BYTES_MAX {
        return Err(Refusal::new(
            Status::MessageTooLarge,
            format!("a batch of {bytes} bytes is over the limit of {ENTRY_PAYLOAD_BYTES_MAX}"),
        ));
    }
    let messages = batch.messages;
    if messages == 0 || messages > ENTRY_MESSAGES_MAX {
        return Err(Refusal::new(
            Status::InvalidArgument,
            format!("a batch holds 1 to {ENTRY_MESSAGES_MAX} messages, not {messages}"),
        ));
    }
    let format = batch.format();
    if batch.delayed && format.due_ms(batch.payload).is_none() {
        return Err(Refusal::new(
            Status::InvalidArgument,
            format!("a delayed batch begins with a time, for which {bytes} bytes are too few"),
        ));
    }
    Ok(())
}
