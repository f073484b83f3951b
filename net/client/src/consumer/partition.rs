//! The consumer of one partition: its stream, its acknowledgements, and moving it elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hulse_model::{Entry, PayloadFormat, Status, SubscriptionName, TopicName};
use hulse_wire::{
    Ack, AckRange, Deliver, ErrorReply, Permits, Reply, Request, Seek, SeekTo, StartFrom,
    Subscribed, SubscriptionType,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::client::ClientShared;
use crate::connection::{IncomingFrame, StreamHandler, StreamSlot};
use crate::consumer::acks::{AckQueue, AckReceipt};
use crate::consumer::inbox::{Delivery, Grant};
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
    link: Option<Link>,
    /// Why there is no link; for the supervisor.
    pub(super) lost: Option<ClientError>,
    /// The latest reason for which there is no link.
    pub(super) last_cause: Option<ClientError>,
    pub(super) places: Option<Places>,
    /// What the broker said at the first subscription.
    marks: Option<Subscribed>,
    acks: AckQueue,
    /// The writer has been told that there are acknowledgements.
    marked: bool,
    /// Permits that came up before the link was there.
    owed_permits: u32,
    seek: Option<PendingSeek>,
    failed: Option<ClientError>,
    /// When the supervisor will look by itself.
    armed: Option<Instant>,
}

struct Link {
    slot: StreamSlot,
    handler: Arc<dyn StreamHandler>,
}

struct PendingSeek {
    correlation: u64,
    done: oneshot::Sender<Result<(), ClientError>>,
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
            places: Some(places),
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
        state.places = Some(places);
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
    fn mark(&self, state: &mut State) {
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

    fn on_delivery(
        &self,
        generation: u64,
        deliver: &Deliver<'_>,
        entry: Bytes,
    ) -> Result<(), String> {
        let header = match Entry::decode(deliver.entry) {
            Ok(decoded) if decoded.header.format == PayloadFormat::Messages => decoded.header,
            Ok(_) => return Err("a record was delivered as an entry".to_owned()),
            Err(error) => return Err(format!("a delivered entry is damaged: {error}")),
        };
        let acked = deliver.acked.iter().collect();
        let delivery = Delivery::new(header, entry, acked, deliver.redelivery_count);
        let (kept, grant) = {
            let mut inbox = self.inbox.lock();
            (
                inbox.arrived(self.lane, generation, delivery),
                inbox.grant(self.lane),
            )
        };
        if kept {
            self.inbox.notify();
        }
        if let Some(grant) = grant {
            self.grant(grant);
        }
        Ok(())
    }

    fn on_seek_done(&self, state: &mut State) -> Option<Grant> {
        let seek = state.seek.take()?;
        let mut inbox = self.inbox.lock();
        inbox.moved(self.lane);
        let grant = inbox.grant(self.lane);
        drop(inbox);
        // A caller that has just given up is no reason for anything.
        let _ = seek.done.send(Ok(()));
        grant
    }

    /// The broker has ended the stream.
    fn on_stream_end(&self, error: &ErrorReply<'_>) {
        let mut state = self.state();
        if let Some(link) = state.link.take() {
            link.slot.ended_by_broker();
        }
        if error.status == Status::DataCorrupted {
            let damage = ClientError::DataCorrupted {
                partition: self.partition,
                first: error.first_offset,
                end: error.end_offset,
                message: error.message.to_owned(),
            };
            // The stream is opened again without permits: what was received can still be
            // acknowledged, and the application says where to go on.
            self.inbox.lock().stop(self.lane, damage.clone());
            self.inbox.notify();
            state.lose(damage);
            self.wake.notify_one();
            return;
        }
        let cause = ClientError::refused(error);
        if cause.is_retryable() {
            state.lose(cause);
            self.wake.notify_one();
        } else {
            drop(state);
            self.fail(&cause);
        }
    }

    /// An acknowledgement or a seek was refused.
    fn on_refusal(&self, state: &mut State, correlation: u64, error: &ErrorReply<'_>) {
        let cause = ClientError::refused(error);
        if state
            .seek
            .as_ref()
            .is_some_and(|seek| seek.correlation == correlation)
        {
            if let Some(seek) = state.seek.take() {
                // As above.
                let _ = seek.done.send(Err(cause.clone()));
            }
            // What came meanwhile was dropped, so it has to come again.
            state.lose(cause);
            self.wake.notify_one();
        } else if cause.is_retryable() {
            state.lose(cause);
            self.wake.notify_one();
        } else if let Some(receipt) = state.acks.refused(correlation) {
            receipt.complete(Err(cause));
        }
    }
}

impl State {
    /// The link is of no use any more.
    fn lose(&mut self, cause: ClientError) {
        self.link = None;
        self.seek = None;
        self.acks.rewind();
        self.last_cause = Some(cause.clone());
        self.lost = Some(cause);
    }
}

/// The handler of one stream of a partition's consumer. What comes from a stream that is not the
/// present one is not looked at.
pub(super) struct ConsumerStream {
    pub(super) owner: Arc<PartitionConsumer>,
    pub(super) generation: u64,
}

impl StreamHandler for ConsumerStream {
    fn on_frame(&self, frame: &IncomingFrame) -> Result<(), String> {
        let owner = &self.owner;
        let reply = frame.reply().map_err(|error| error.to_string())?;
        if let Reply::Deliver(deliver) = &reply {
            let delivered = owner.on_delivery(self.generation, deliver, frame.payload());
            return delivered.inspect_err(|what| {
                let error = ClientError::corrupt(&self.address(), &what);
                owner.inbox.lock().trouble(owner.lane, error);
                owner.inbox.notify();
            });
        }
        let mut state = owner.state();
        if state.generation != self.generation {
            return Ok(());
        }
        let correlation = frame.correlation();
        match reply {
            Reply::Acked => {
                let receipt = state.acks.confirmed(correlation);
                owner.mark(&mut state);
                drop(state);
                if let Some(receipt) = receipt {
                    receipt.complete(Ok(()));
                }
            }
            Reply::Done
                if state
                    .seek
                    .as_ref()
                    .is_some_and(|s| s.correlation == correlation) =>
            {
                let grant = owner.on_seek_done(&mut state);
                drop(state);
                if let Some(grant) = grant {
                    owner.grant(grant);
                }
            }
            Reply::Error(error) if correlation == 0 => {
                drop(state);
                owner.on_stream_end(&error);
            }
            Reply::Error(error) => owner.on_refusal(&mut state, correlation, &error),
            // The answer to a request that nobody waits for any more.
            _ if correlation > 0 => {}
            _ => return Err(format!("{} on a consumer's stream", frame.kind())),
        }
        Ok(())
    }

    fn on_lost(&self, cause: &ClientError) {
        let mut state = self.owner.state();
        if state.generation == self.generation && state.link.is_some() {
            state.lose(cause.clone());
            self.owner.wake.notify_one();
        }
    }

    fn write_pending(&self) {
        let mut guard = self.owner.state();
        let state = &mut *guard;
        if state.generation != self.generation {
            return;
        }
        state.marked = false;
        let State {
            link: Some(link),
            acks,
            ..
        } = state
        else {
            return;
        };
        let connection = link.slot.connection();
        let failure = loop {
            let Some((correlation, frame)) = acks.next(|| connection.correlation()) else {
                return;
            };
            let ack = Ack {
                kind: frame.kind,
                ranges: frame.ranges[..].into(),
            };
            if let Err(error) = link
                .slot
                .send(correlation, &Request::Ack(ack), &Bytes::new())
            {
                break error;
            }
        };
        state.lose(failure);
        self.owner.wake.notify_one();
    }
}

impl ConsumerStream {
    fn address(&self) -> String {
        let state = self.owner.state();
        state
            .link
            .as_ref()
            .map_or_else(String::new, |it| it.slot.connection().address().to_owned())
    }
}
