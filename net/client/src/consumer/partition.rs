//! The consumer of one partition: its stream, its acknowledgements, and moving it elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hulse_model::{Position, SubscriptionName, TopicName};
use hulse_wire::{Permits, Request, Seek, SeekTo, StartFrom, Subscribed, SubscriptionType};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::client::ClientShared;
use crate::connection::{StreamHandler, StreamSlot};
use crate::consumer::acks::AckQueue;
use crate::consumer::activity::Activity;
use crate::consumer::inbox::Grant;
use crate::consumer::last::LastAsked;
use crate::consumer::redelivery::Redelivery;
use crate::consumer::seen::SkipSeen;
use crate::consumer::shared::SharedInbox;
use crate::consumer::turn::Turn;
use crate::error::ClientError;
use crate::lookup::Places;

/// What the caller asked for, the same for all partitions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) topic: TopicName,
    pub(crate) subscription: SubscriptionName,
    pub(crate) kind: SubscriptionType,
    pub(crate) start: StartFrom,
    pub(crate) durable: bool,
    pub(crate) consumer: String,
    pub(crate) priority: u8,
    /// Who the consumer is, on all partitions: a random number.
    pub(crate) member: u64,
    pub(crate) skip_seen: SkipSeen,
    pub(crate) negative_ack_delay: Duration,
    pub(crate) ack_timeout: Option<Duration>,
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
    pub(super) redelivery: Redelivery,
    pub(super) activity: Activity,
    pub(super) turn: Turn,
    /// The writer has been told that there is something to write.
    pub(super) marked: bool,
    /// Permits that came up before the link was there.
    pub(super) owed_permits: u32,
    pub(super) seek: Option<PendingSeek>,
    pub(super) last_asked: LastAsked,
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
        activity: Activity,
    ) -> Self {
        let state = Mutex::new(State {
            generation: 0,
            link: None,
            lost: None,
            last_cause: None,
            places,
            marks: None,
            acks: AckQueue::default(),
            redelivery: Redelivery::new(settings.ack_timeout),
            activity,
            turn: Turn::default(),
            marked: false,
            owed_permits: 0,
            seek: None,
            last_asked: LastAsked::default(),
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

    /// The partition's last owner says that it is at `address` now.
    pub(super) fn follow(&self, address: &str) {
        let mut state = self.state();
        state.places = state.places.moved(self.partition, address);
    }

    /// Where to subscribe from. A subscription that was not kept goes on behind the last message
    /// that was handed out, or where it was when it was made.
    pub(super) fn start(&self) -> StartFrom {
        let mark = self.state().marks.map(|marks| marks.mark);
        if self.settings.durable {
            return self.settings.start;
        }
        let newest = self.inbox.lock().handed_out(self.lane);
        let behind = newest.map(|newest| Position {
            index: newest.index.saturating_add(1),
            ..newest
        });
        behind
            .or(mark)
            .map_or(self.settings.start, StartFrom::Position)
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
        state.activity.set(false);
        self.given_out_anew(&mut state);
        (
            state.generation,
            self.inbox.lock().restart(self.lane, state.generation),
        )
    }

    /// The broker gives out anew what this consumer held, so that nothing is asked for any more;
    /// what was to come again must then not be taken for something that was handed out.
    pub(super) fn given_out_anew(&self, state: &mut State) {
        let keep_handed_out = self.settings.skip_seen != SkipSeen::Nothing;
        let again = state.redelivery.restart(keep_handed_out);
        self.inbox.lock().forget(self.lane, &again, false);
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

    pub(super) fn permit(&self, state: &mut State, messages: u32) {
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

    /// Has the writer ask for acknowledgements and entries to redeliver before its next write.
    pub(super) fn mark(&self, state: &mut State) {
        let due = state.acks.has_unsent() || state.may_redeliver();
        if let Some(link) = state.link.as_ref().filter(|_| due && !state.marked) {
            state.marked = true;
            link.slot.mark(&link.handler);
        }
    }

    /// Has the supervisor look when something is due, if that is earlier than it would anyway.
    pub(super) fn arm(&self, state: &mut State) {
        let next = self.next_look(state);
        if let Some(next) = next
            && state.armed.is_none_or(|armed| next < armed)
        {
            state.armed = Some(next);
            self.wake.notify_one();
        }
    }

    /// When the supervisor has to look: without a stream nothing can be asked for.
    fn next_look(&self, state: &State) -> Option<Instant> {
        let due = state.redelivery.next_due().filter(|_| state.link.is_some());
        self.expiry(state).into_iter().chain(due).min()
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
        state.armed = self.next_look(&state);
        Watch::Until(state.armed)
    }

    /// Asks for what is due to come again. Acknowledgements that wait for too long over a stream
    /// that is open: something is wrong with it, so it is opened anew.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state();
        if state.link.is_some() && self.expiry(&state).is_some_and(|expiry| expiry <= now) {
            let after = self.client.operation_timeout;
            state.lose(ClientError::Timeout { after });
        }
        if state.link.is_some() {
            state.redelivery.take_due(now);
            self.mark(&mut state);
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
            state.last_asked.clear();
            state.activity.set(false);
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
        // If the move fails the stream is opened anew, and these come again.
        self.given_out_anew(&mut state);
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
    /// Whether entries to redeliver may be sent: not before the acknowledgements that were made
    /// before, lest what is acknowledged come again, and not while the subscription is being moved.
    pub(super) fn may_redeliver(&self) -> bool {
        self.redelivery.has_leaving() && !self.acks.has_unsent() && self.seek.is_none()
    }

    /// The link is of no use any more.
    pub(super) fn lose(&mut self, cause: ClientError) {
        self.link = None;
        self.activity.set(false);
        self.seek = None;
        self.last_asked.clear();
        self.acks.rewind();
        self.last_cause = Some(cause.clone());
        self.lost = Some(cause);
    }
}
