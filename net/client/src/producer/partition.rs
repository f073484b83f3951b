//! The producer of one partition: its batches, and their way to the broker and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hulse_model::limits::PRODUCER_RECENT_IDS;
use hulse_model::{ProducerName, TopicName};
use hulse_wire::{Access, Produce, ProducerOpened, Request};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::client::ClientShared;
use crate::connection::StreamSlot;
use crate::error::ClientError;
use crate::lookup::Places;
use crate::message::Message;
use crate::producer::batcher::{BatchLimits, Batcher, SealedBatch};
use crate::producer::handle::{BatchReceipt, SendHandle, Stored};
use crate::producer::queue::ResendQueue;
use crate::producer::shared::ProducerShared;

/// What came of a message that was pushed.
pub(crate) enum Pushed {
    /// It is in a batch; `sealed` when that batch is complete.
    Queued { handle: SendHandle, sealed: bool },
    /// The batch was too full for it and has been sealed; the message may go elsewhere.
    Turned,
}

/// What the caller asked for, the same for all partitions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) topic: TopicName,
    pub(crate) name: Option<ProducerName>,
    pub(crate) initial_sequence: Option<u64>,
    pub(crate) limits: BatchLimits,
    pub(crate) access: Access,
}

/// The producer of one partition. Callers, the supervisor's task and the tasks of the connection
/// meet at its state.
pub(crate) struct PartitionProducer {
    pub(super) client: Arc<ClientShared>,
    pub(super) settings: Settings,
    pub(super) partition: i32,
    pub(super) shared: Arc<ProducerShared>,
    state: Mutex<State>,
    /// Wakes the supervisor.
    pub(super) wake: Notify,
}

pub(super) struct State {
    pub(super) name: Option<ProducerName>,
    /// Of the latest opening. The first one takes the name over from whoever had it; the next ones
    /// state what they were given, so that a producer that came later is not pushed out.
    pub(super) epoch: Option<u64>,
    /// The access epoch of the first opening; the next ones state it.
    pub(super) access_epoch: Option<u64>,
    /// Told when the turn of a stream has come that waits for exclusive access, or it has ended.
    pub(super) turn: Option<Turn>,
    /// The highest sequence number stored when the producer was first opened.
    pub(super) last_sequence: Option<u64>,
    /// Present from the first opening on.
    pub(super) batcher: Option<Batcher>,
    pub(super) queue: ResendQueue,
    /// Tells the present stream from earlier ones.
    pub(super) generation: u64,
    pub(super) link: Option<Link>,
    /// Why there is no link; for the supervisor.
    pub(super) lost: Option<ClientError>,
    /// Why it cannot go on; for the supervisor.
    pub(super) doomed: Option<ClientError>,
    /// The latest reason for which an opening failed.
    pub(super) last_cause: Option<ClientError>,
    pub(super) places: Places,
    pub(super) failed: Option<ClientError>,
    /// When the supervisor will look at the batches by itself.
    pub(super) armed: Option<Instant>,
}

/// Who waits for the turn of a stream.
pub(super) type Turn = oneshot::Sender<Result<ProducerOpened, ClientError>>;

pub(super) struct Link {
    pub(super) slot: StreamSlot,
    pub(super) in_flight_max: usize,
}

/// What is to be done once the state is unlocked.
#[derive(Default)]
pub(super) struct Outcomes {
    ended: Vec<(Arc<BatchReceipt>, Result<Stored, ClientError>)>,
    messages: usize,
    bytes: usize,
}

impl Outcomes {
    pub(super) fn add(&mut self, batch: SealedBatch, outcome: Result<Stored, ClientError>) {
        self.messages += batch.messages as usize;
        self.bytes += batch.message_bytes();
        self.ended.push((batch.receipt, outcome));
    }

    pub(super) fn publish(self, shared: &ProducerShared) {
        if self.messages > 0 {
            shared.budget.give_back(self.messages, self.bytes);
        }
        for (receipt, outcome) in self.ended {
            receipt.complete(outcome);
        }
    }
}

impl PartitionProducer {
    pub(super) fn new(
        client: Arc<ClientShared>,
        settings: Settings,
        places: Places,
        partition: i32,
        shared: Arc<ProducerShared>,
    ) -> Self {
        let name = settings.name.clone();
        let state = State {
            name,
            epoch: None,
            access_epoch: None,
            turn: None,
            last_sequence: None,
            batcher: None,
            queue: ResendQueue::default(),
            generation: 0,
            link: None,
            lost: None,
            doomed: None,
            last_cause: None,
            places,
            failed: None,
            armed: None,
        };
        let state = Mutex::new(state);
        Self {
            client,
            settings,
            partition,
            shared,
            state,
            wake: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name under which it is known to the broker.
    pub(crate) fn name(&self) -> String {
        self.state()
            .name
            .as_ref()
            .map_or_else(String::new, ToString::to_string)
    }

    /// The highest sequence number stored when the producer was first opened.
    pub(crate) fn last_sequence(&self) -> Option<u64> {
        self.state().last_sequence
    }

    /// Adds a message that takes `bytes` of the budget.
    pub(crate) fn push(
        &self,
        message: &Message<'_>,
        bytes: usize,
        may_turn: bool,
    ) -> Result<Pushed, ClientError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let batcher = state.batcher.as_mut().ok_or(ClientError::Closed)?;
        if !batcher.has_room(message, bytes) {
            state.queue.extend(batcher.seal());
            if may_turn {
                self.pump(state);
                self.arm(state);
                return Ok(Pushed::Turned);
            }
        }
        let joins = !batcher.is_empty();
        let handle = batcher
            .push(message, Instant::now)
            .map_err(|source| ClientError::MessageTooLarge { source })?;
        if batcher.is_full() {
            state.queue.extend(batcher.seal());
        } else if joins {
            // Whoever opened the batch has seen to it that it is sent in time.
            return Ok(Pushed::Queued {
                handle,
                sealed: false,
            });
        }
        self.pump(state);
        let sealed = state.batcher.as_ref().is_none_or(Batcher::is_empty);
        self.arm(state);
        Ok(Pushed::Queued { handle, sealed })
    }

    /// Ends the open batch and gives everything that has no receipt yet.
    pub(crate) fn seal(&self) -> Vec<Arc<BatchReceipt>> {
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(batcher) = &mut state.batcher {
            state.queue.extend(batcher.seal());
        }
        self.pump(state);
        self.arm(state);
        state
            .queue
            .iter()
            .map(|batch| Arc::clone(&batch.receipt))
            .collect()
    }

    /// Sends what may be sent; the open batch too when nothing else is on the way.
    pub(super) fn pump(&self, state: &mut State) {
        let State {
            link: Some(link),
            queue,
            batcher: Some(batcher),
            ..
        } = state
        else {
            return;
        };
        let failure = loop {
            if queue.is_empty() {
                queue.extend(batcher.seal());
            }
            let Some(batch) = queue.next_unsent(link.in_flight_max) else {
                return;
            };
            let request = Request::Produce(Produce {
                sequence: batch.sequence,
                messages: batch.messages,
                skipped: batch.skipped,
                delayed: batch.delayed,
                payload: &batch.payload,
            });
            let correlation = link.slot.connection().correlation();
            if let Err(error) = link.slot.send(correlation, &request, &batch.payload) {
                break error;
            }
        };
        // A batch that cannot be written at all ends the producer, through its supervisor.
        state.doomed = Some(failure);
        self.wake.notify_one();
    }

    /// Sees to it that the supervisor looks at the batches in time.
    pub(super) fn arm(&self, state: &mut State) {
        let Some(next) = self.next_deadline(state) else {
            return;
        };
        if state.armed.is_none_or(|armed| next < armed) {
            state.armed = Some(next);
            self.wake.notify_one();
        }
    }

    /// When the open batch is due, or the oldest batch has waited too long for its receipt.
    fn next_deadline(&self, state: &State) -> Option<Instant> {
        let due = match &state.batcher {
            // Behind batches that cannot be sent yet, the open one may as well fill up.
            Some(batcher) if !state.queue.has_unsent() => batcher.due(),
            _ => None,
        };
        due.into_iter().chain(self.expiry(state)).min()
    }

    fn expiry(&self, state: &State) -> Option<Instant> {
        let open = state.batcher.as_ref().and_then(Batcher::opened);
        let oldest = state.queue.oldest().or(open)?;
        Some(oldest + self.client.operation_timeout)
    }

    /// When the oldest message without a receipt has waited too long.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expiry(&self.state())
    }

    /// What the supervisor has to wait for.
    pub(super) fn watch(&self) -> Watch {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.failed.is_some() {
            return Watch::Over;
        }
        if let Some(cause) = state.doomed.take() {
            return Watch::Doomed(cause);
        }
        if let Some(cause) = state.lost.take() {
            return Watch::Lost(cause);
        }
        state.armed = self.next_deadline(state);
        Watch::Until(state.armed)
    }

    /// Sends the open batch if it is due. An error when the oldest batch has waited too long.
    pub(super) fn tick(&self, now: Instant) -> Result<(), ClientError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if self.expiry(state).is_some_and(|expiry| expiry <= now) {
            let after = self.client.operation_timeout;
            return Err(state
                .last_cause
                .clone()
                .unwrap_or(ClientError::Timeout { after }));
        }
        if let Some(batcher) = &mut state.batcher
            && !state.queue.has_unsent()
            && batcher.due().is_some_and(|due| due <= now)
        {
            state.queue.extend(batcher.seal());
            self.pump(state);
        }
        Ok(())
    }

    /// The stream is open: everything without a receipt is sent, in order.
    pub(super) fn linked(
        &self,
        slot: StreamSlot,
        generation: u64,
        opened: ProducerOpened,
    ) -> Result<(), ClientError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        // An end that came before this look went unheard, since there was no link; one that comes
        // after it finds the link.
        if let Some(cause) = slot.connection().ended() {
            return Err(cause);
        }
        assert_eq!(state.generation, generation, "one opening at a time");
        state.name = Some(opened.name);
        state.epoch = Some(opened.epoch);
        state.access_epoch = Some(opened.access_epoch);
        if state.batcher.is_none() {
            let last = opened.last.map(|last| last.sequence);
            let expected = last.map_or(0, |last| last.saturating_add(1));
            let first = self.settings.initial_sequence.unwrap_or(expected);
            let limits = self.settings.limits;
            state.last_sequence = last;
            state.batcher = Some(Batcher::new(
                limits,
                self.partition,
                first,
                first > expected,
            ));
        }
        let in_flight_max = PRODUCER_RECENT_IDS.min(slot.connection().inflight_max());
        if state.lost.is_some() {
            // The broker has ended the stream already; the supervisor sees to it.
            slot.ended_by_broker();
            return Ok(());
        }
        state.link = Some(Link {
            slot,
            in_flight_max,
        });
        state.queue.rewind();
        self.pump(state);
        self.arm(state);
        Ok(())
    }

    /// Gives up: whatever has no receipt fails with `cause`, and so does every later message.
    pub(crate) fn fail(&self, cause: ClientError) {
        let mut outcomes = Outcomes::default();
        let error = {
            let mut guard = self.state();
            let state = &mut *guard;
            if state.failed.is_some() {
                return;
            }
            let name = state.name.as_ref().map_or("", ProducerName::as_str);
            let error = ProducerShared::gave_up(name, cause);
            state.failed = Some(error.clone());
            state.link = None;
            let open = state.batcher.as_mut().and_then(Batcher::seal);
            for batch in state.queue.drain().into_iter().chain(open) {
                outcomes.add(batch, Err(error.clone()));
            }
            error
        };
        self.shared.fail(error);
        outcomes.publish(&self.shared);
        self.wake.notify_one();
    }

    /// Takes the stream away, to close it in peace.
    pub(crate) fn unlink(&self) -> Option<StreamSlot> {
        self.state().link.take().map(|link| link.slot)
    }
}

/// What the supervisor finds when it looks.
pub(super) enum Watch {
    /// The producer has failed or is closed.
    Over,
    /// The producer has to give up.
    Doomed(ClientError),
    /// The link is lost.
    Lost(ClientError),
    /// Nothing to do until then, unless it is woken.
    Until(Option<Instant>),
}

impl State {
    /// The link is of no use any more.
    pub(super) fn lose(&mut self, cause: ClientError) {
        self.link = None;
        self.queue.rewind();
        self.last_cause = Some(cause.clone());
        self.lost = Some(cause);
    }
}
