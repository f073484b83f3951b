//! One connection to one core of a broker, shared by all producers and consumers that need it.
//!
//! Two tasks serve a connection: one reads and hands every frame to whom it concerns, one writes
//! what has gathered in the [`outbox`] and sends beacons. Whoever wants to say something encodes it
//! into the outbox right where it stands; the writer sends all of that in one large write.
//!
//! Locks are leaves: nothing is called while one of a connection's is held. A stream's own lock may
//! be held while the connection is spoken to.

mod buffers;
mod ending;
mod frame;
mod handshake;
mod outbox;
mod reader;
mod slot;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hulse_wire::{Reply, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::ClientError;
use ending::Ending;
pub(crate) use frame::IncomingFrame;
pub(crate) use handshake::{Greeting, connect};
use outbox::Outbox;
pub(crate) use slot::StreamSlot;

/// A producer or a consumer of one partition, as its connection sees it. The methods are called
/// from the connection's tasks and must not block.
pub(crate) trait StreamHandler: Send + Sync {
    /// A frame of this stream that nobody asked for by correlation id.
    ///
    /// # Errors
    /// What is wrong with the frame; the connection is closed.
    fn on_frame(&self, frame: &IncomingFrame) -> Result<(), String>;

    /// The connection is gone.
    fn on_lost(&self, cause: &ClientError);

    /// The writer is about to write: what has been put off until now goes out.
    fn write_pending(&self);
}

/// A handle of a connection. The connection ends with the last of them.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    _last: Arc<EndOnDrop>,
}

/// Ends the connection when the last handle goes. The tasks hold [`Shared`] alone.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ending.end(ClientError::Closed);
    }
}

/// What the handshake agreed on.
#[derive(Debug, Clone, Copy)]
struct Agreement {
    beacon_interval: Duration,
    beacon_timeout: Duration,
    inflight_max: usize,
}

/// What the handles and the two tasks share.
struct Shared {
    address: String,
    agreement: Agreement,
    outbox: Outbox,
    ending: Ending,
    next_correlation: AtomicU64,
    next_stream: AtomicU32,
    waiting: Mutex<HashMap<u64, oneshot::Sender<IncomingFrame>>>,
    streams: Mutex<HashMap<u32, Arc<dyn StreamHandler>>>,
}

impl Shared {
    fn new(address: String, agreement: Agreement) -> Self {
        Self {
            address,
            agreement,
            outbox: Outbox::default(),
            ending: Ending::default(),
            next_correlation: AtomicU64::new(1),
            next_stream: AtomicU32::new(1),
            waiting: Mutex::default(),
            streams: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<IncomingFrame>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Arc<dyn StreamHandler>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request. After the connection's end nothing happens: whoever has a stream is told.
    fn send(
        &self,
        stream: u32,
        correlation: u64,
        request: &Request<'_>,
        payload: &Bytes,
    ) -> Result<(), ClientError> {
        if self.ending.cause().is_some() {
            return Ok(());
        }
        self.outbox
            .push(stream, correlation, request, payload)
            .map_err(|error| ClientError::invalid(error.to_string()))
    }

    fn correlation(&self) -> u64 {
        self.next_correlation.fetch_add(1, Ordering::Relaxed)
    }
}

impl Connection {
    /// The address that was dialled.
    pub(crate) fn address(&self) -> &str {
        &self.shared.address
    }

    /// How many requests the broker reads before it answers some.
    pub(crate) fn inflight_max(&self) -> usize {
        self.shared.agreement.inflight_max
    }

    /// Why the connection ended, if it has.
    pub(crate) fn ended(&self) -> Option<ClientError> {
        self.shared.ending.cause().cloned()
    }

    /// Ends the connection for everyone.
    pub(crate) fn close(&self) {
        self.shared.ending.end(ClientError::Closed);
    }

    /// A correlation id that no other request of this connection has.
    pub(crate) fn correlation(&self) -> u64 {
        self.shared.correlation()
    }

    /// Opens a stream for `handler`: its frames go there from now on. The broker learns of it by
    /// the request that the caller sends next.
    pub(crate) fn open_stream(&self, handler: Arc<dyn StreamHandler>) -> StreamSlot {
        let id = self.shared.next_stream.fetch_add(1, Ordering::Relaxed);
        self.shared.streams().insert(id, handler);
        StreamSlot::new(self.clone(), id)
    }

    /// Sends a request and waits for its answer, at most until `deadline`.
    ///
    /// # Errors
    /// What the broker answered, the reason why the connection ended, or a time-out.
    pub(crate) async fn request(
        &self,
        stream: u32,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let correlation = self.shared.correlation();
        let (sender, receiver) = oneshot::channel();
        self.shared.waiting().insert(correlation, sender);
        // Whatever happens to this future, nothing stays behind.
        let _forget = Forget {
            shared: &self.shared,
            correlation,
        };
        // The reader empties `waiting` after the end was noted, so an end that this look misses
        // drops the sender.
        if let Some(cause) = self.ended() {
            return Err(cause);
        }
        self.shared
            .send(stream, correlation, request, &Bytes::new())?;
        let started = Instant::now();
        match timeout_at(deadline, receiver).await {
            Ok(Ok(frame)) => Answer::new(frame, &self.shared.address),
            Ok(Err(_)) => Err(self.ended().unwrap_or(ClientError::Closed)),
            Err(_) => Err(ClientError::Timeout {
                after: started.elapsed(),
            }),
        }
    }
}

/// Removes a request from those that wait.
struct Forget<'a> {
    shared: &'a Shared,
    correlation: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.correlation);
    }
}

/// The answer to a request: never an ERROR, and known to be a well-formed reply.
#[derive(Debug)]
pub(crate) struct Answer {
    frame: IncomingFrame,
    address: String,
}

impl Answer {
    fn new(frame: IncomingFrame, address: &str) -> Result<Self, ClientError> {
        match frame.reply() {
            Ok(Reply::Error(error)) => Err(ClientError::refused(&error)),
            Ok(_) => Ok(Self {
                frame,
                address: address.to_owned(),
            }),
            Err(error) => Err(ClientError::corrupt(address, &error)),
        }
    }

    /// What the broker says.
    pub(crate) fn reply(&self) -> Result<Reply<'_>, ClientError> {
        self.frame
            .reply()
            .map_err(|error| ClientError::corrupt(&self.address, &error))
    }

    /// The error for an answer whose payload cannot be read.
    pub(crate) fn invalid(&self, what: &dyn std::error::Error) -> ClientError {
        ClientError::corrupt(&self.address, &format!("{}: {what}", self.frame.kind()))
    }

    /// The error for an answer that does not fit its request.
    pub(crate) fn unexpected(&self) -> ClientError {
        ClientError::corrupt(
            &self.address,
            &format!("{} is no answer to this", self.frame.kind()),
        )
    }
}
