//! The consumer of one partition: its stream, its acknowledgements, and moving it elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hulse_model::{SubscriptionName, TopicName};
use hulse_wire::{
    AckRange, Permits, Request, Seek, SeekTo, StartFrom, Subscribed, SubscriptionType,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::client::ClientShared;
use crate::connection::{StreamHandler, StreamSlot};
use crate::consumer::acks::{AckQueue, AckReceipt};
use crate::consumer::inbox::Grant;
use crate::consumer::shared::SharedInbox;
use crate::error::ClientError;
use crate::lookup::Places;

/// What the caller asked for, the same for all partitions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) topic: TopicName,
    pub(crate) subscription: SubscriptionName,
    pub(crate) kind: SubscriptionType,
    pub(crate) start: StartFrom,
    pub(crate) consumer: String,
}

/// How far an acknowledgement reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The messages of a range.
    Range,
    /// Everything up to the range's last message.
    UpTo,
}

/// The consumer of one partition. The application, the supervisor's task and the tasks of the
/// connection meet at its state. The inbox may be locked while the state is, never the other way.
pub(crate) struct PartitionConsumer {
    pub(super) client: Arc<ClientShared>,
    pub(super) settings: Settings,
    pub(super) partition: i32,
    /// Its place in the inbox.
    pub(super) lane: usize,
    pub(super) inbox: Arc<SharedInbox>,
    state: Mutex<State>,
    /// Wakes the supervisor.
    pub(super) wake: Notify,
}

pub(super) struct State {
    /// Tells the present stream from earlier ones.
    pub(super) generation: u64,
    pub(super) link: Option<Link>,
    /// Why there is no link; for the supervisor.
    pub(super) lost: Option<ClientError>,
    /// The latest reason for which there is no link.
    pub(super) last_cause: Option<ClientError>,
    pub(super) places: Places,
    /// What the broker said at the first subscription.
    pub(super) marks: Option<Subscribed>,
    pub(super) acks: AckQueue,
    /// The writer has been told that there are acknowledgements.
    pub(super) marked: bool,
    /// Permits that came up before the link was there.
    pub(super) owed_permits: u32,
    pub(super) seek: Option<PendingSeek>,
    pub(super) failed: Option<ClientError>,
    /// When the supervisor will look by itself.
    pub(super) armed: Option<Instant>,
}

pub(super) struct Link {
    pub(super) slot: StreamSlot,
    pub(super) handler: Arc<dyn StreamHandler>,
}

pub(super) struct PendingSeek {
    pub(super) correlation: u64,
    pub(super) done: oneshot::Sender<Result<(), ClientError>>,
}

/// What the supervisor finds when it looks.
pub(super) enum Watch {
    /// The consumer has failed or is closed.
    Over,
    /// The link is lost.
    Lost(ClientError),
    /// Nothing to do until then, unless it is woken.
    Until(Option<Instant>),
}

impl PartitionConsumer {
    pub(super) fn new(
        client: Arc<ClientShared>,
        settings: Settings,
        places: Places,
        partition: i32,
        lane: usize,
        inbox: Arc<SharedInbox>,
    ) -> Self {
        let state = Mutex::new(State {
            generation: 0,
            link: None,
            lost: None,
            last_cause: None,
            places,
            marks: None,
            acks: AckQueue::default(),
            marked: false,
            owed_permits: 0,
            seek: None,
            failed: None,
            armed: None,
        });
        Self {
            client,
            settings,
            partition,
            lane,
            inbox,
            state,
            wake: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the broker said at the first subscription.
    pub(crate) fn marks(&self) -> Option<Subscribed> {
        self.state().marks
    }

    /// Begins a new stream: gives its generation and the permits to subscribe with.
    pub(super) fn restart(&self, places: Places) -> (u64, u32) {
        let mut state = self.state();
        state.generation += 1;
        state.owed_permits = 0;
        state.lost = None;
        state.places = places;
        (
            state.generation,
            self.inbox.lock().restart(self.lane, state.generation),
        )
    }

    /// The stream is open.
    pub(super) fn linked(
        &self,
        slot: StreamSlot,
        handler: Arc<dyn StreamHandler>,
        subscribed: Subscribed,
    ) -> Result<(), ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        // An end that came before this look went unheard, since there was no link; one that comes
        // after it finds the link.
        if let Some(cause) = slot.connection().ended() {
            return Err(cause);
        }
        state.marks.get_or_insert(subscribed);
        if state.lost.is_some() {
            // The broker has ended the stream already; the supervisor sees to it.
            slot.ended_by_broker();
            return Ok(());
        }
        state.link = Some(Link { slot, handler });
        state.marked = false;
        let owed = std::mem::take(&mut state.owed_permits);
        self.permit(&mut state, owed);
        self.mark(&mut state);
        self.arm(&mut state);
        Ok(())
    }

    /// Gives permits to the broker.
    pub(crate) fn grant(&self, grant: Grant) {
        let mut state = self.state();
        if state.generation == grant.generation {
            self.permit(&mut state, grant.permits);
        }
    }

    fn permit(&self, state: &mut State, messages: u32) {
        if messages == 0 {
            return;
        }
        let Some(link) = &state.link else {
            state.owed_permits += messages;
            return;
        };
        let request = Request::Permits(Permits { messages });
        if let Err(error) = link.slot.send(0, &request, &Bytes::new()) {
            state.lose(error);
            self.wake.notify_one();
        }
    }

    /// Acknowledges; with a receipt if somebody wants to wait for it.
    pub(crate) fn acknowledge(
        &self,
        range: AckRange,
        reach: Reach,
        receipt: bool,
    ) -> Result<Option<AckReceipt>, ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        match reach {
            Reach::Range => state.acks.individual(range, Instant::now),
            Reach::UpTo => state
                .acks
                .cumulative(range.offset, range.last_index, Instant::now),
        }
        let receipt = receipt.then(|| state.acks.receipt());
        self.mark(&mut state);
        self.arm(&mut state);
        Ok(receipt)
    }

    /// The receipts of all acknowledgements that are not confirmed yet.
    pub(crate) fn open_receipts(&self) -> Vec<AckReceipt> {
        let mut state = self.state();
        let receipts = state.acks.all_receipts();
        self.mark(&mut state);
        receipts
    }

    /// Has the writer ask for the acknowledgements before its next write.
    pub(super) fn mark(&self, state: &mut State) {
        let State {
            link: Some(link),
            marked,
            acks,
            ..
        } = state
        else {
            return;
        };
        if !*marked && acks.has_unsent() {
            *marked = true;
            link.slot.mark(&link.handler);
        }
    }

    fn arm(&self, state: &mut State) {
        if state.armed.is_none() {
            state.armed = self.expiry(state);
            if state.armed.is_some() {
                self.wake.notify_one();
            }
        }
    }

    /// When the oldest acknowledgement has waited too long for its confirmation.
    fn expiry(&self, state: &State) -> Option<Instant> {
        state
            .acks
            .oldest()
            .map(|since| since + self.client.operation_timeout)
    }

    /// What the supervisor has to wait for.
    pub(super) fn watch(&self) -> Watch {
        let mut state = self.state();
        if state.failed.is_some() {
            return Watch::Over;
        }
        if let Some(cause) = state.lost.take() {
            return Watch::Lost(cause);
        }
        state.armed = self.expiry(&state);
        Watch::Until(state.armed)
    }

    /// Acknowledgements that wait for too long over a stream that is open: something is wrong with
    /// it, so it is opened anew.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state();
        if state.link.is_some() && self.expiry(&state).is_some_and(|expiry| expiry <= now) {
            let after = self.client.operation_timeout;
            state.lose(ClientError::Timeout { after });
        }
        let expired = self.expiry(&state).is_some_and(|expiry| expiry <= now);
        drop(state);
        if expired {
            self.overdue();
        }
    }

    /// There has been no stream for as long as an operation may take: whoever waits is told why,
    /// while the attempts go on.
    pub(super) fn overdue(&self) {
        let (error, receipts) = {
            let mut state = self.state();
            let after = self.client.operation_timeout;
            let error = state
                .last_cause
                .clone()
                .unwrap_or(ClientError::Timeout { after });
            (error, state.acks.give_up_receipts(Instant::now()))
        };
        self.inbox.lock().trouble(self.lane, error.clone());
        self.inbox.notify();
        for receipt in receipts {
            receipt.complete(Err(error.clone()));
        }
    }

    /// Ends this partition: nothing comes from it any more.
    pub(crate) fn fail(&self, error: &ClientError) {
        let receipts = {
            let mut state = self.state();
            if state.failed.is_some() {
                return;
            }
            state.failed = Some(error.clone());
            state.link = None;
            state.seek = None;
            state.acks.clear()
        };
        self.inbox.lock().stop(self.lane, error.clone());
        self.inbox.notify();
        self.wake.notify_one();
        for receipt in receipts {
            receipt.complete(Err(error.clone()));
        }
    }

    /// Takes the stream away, to close it in peace.
    pub(crate) fn unlink(&self) -> Option<StreamSlot> {
        self.state().link.take().map(|link| link.slot)
    }

    /// Asks the broker to move the subscription. The answer comes over the channel, which is
    /// closed when the stream is lost.
    ///
    /// # Errors
    /// The reason why there is no stream.
    pub(crate) fn begin_seek(
        &self,
        to: SeekTo,
    ) -> Result<oneshot::Receiver<Result<(), ClientError>>, ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let after = self.client.operation_timeout;
        let Some(link) = &state.link else {
            return Err(state
                .last_cause
                .clone()
                .unwrap_or(ClientError::Timeout { after }));
        };
        let correlation = link.slot.connection().correlation();
        let request = Request::Seek(Seek {
            to,
            subscription: None,
        });
        link.slot.send(correlation, &request, &Bytes::new())?;
        let (done, answer) = oneshot::channel();
        state.seek = Some(PendingSeek { correlation, done });
        self.inbox.lock().moving(self.lane);
        Ok(answer)
    }

    /// Why the stream was lost last.
    pub(crate) fn last_cause(&self) -> Option<ClientError> {
        let state = self.state();
        state.failed.clone().or_else(|| state.last_cause.clone())
    }
}

impl State {
    /// The link is of no use any more.
    pub(super) fn lose(&mut self, cause: ClientError) {
        self.link = None;
        self.seek = None;
        self.acks.rewind();
        self.last_cause = Some(cause.clone());
        self.lost = Some(cause);
    }
}
