//! One connection as its core knows it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use hulse_log::OsDisk;
use hulse_runtime::{LocalFlag, Notify};

use crate::outbox::Outbox;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not finished its handshake.
    Greeting,
    /// It has. Each side says something at least every `interval_ms`, and a client that has been
    /// silent for `timeout_ms` is evicted.
    Open { interval_ms: u32, timeout_ms: u32 },
    /// Nothing more is read; what is queued is sent, then it is closed.
    Ending,
}

/// What the tasks of one connection share. Owned by its core, until both tasks have ended.
pub(crate) struct Connection {
    /// The core's number for it, never used twice.
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Cell<Phase>,
    /// When it was accepted, monotonic milliseconds.
    pub(crate) since_ms: u64,
    /// When something last came, monotonic milliseconds.
    pub(crate) heard_ms: Cell<u64>,
    /// When something was last sent, monotonic milliseconds.
    pub(crate) spoken_ms: Cell<u64>,
    pub(crate) outbox: RefCell<Outbox<OsDisk>>,
    /// Something is queued, or the phase has changed: for the writing task.
    pub(crate) to_send: Notify,
    /// A held request may be tried again, the outbox has room, or the phase has changed: for the
    /// reading task.
    pub(crate) to_read: Notify,
    /// It has finished its handshake at some time.
    pub(crate) greeted: Cell<bool>,
    /// It was asked whether it is there, and has said nothing since.
    pub(crate) probed: Cell<bool>,
    /// It is not read for now: whether its client says something cannot be known.
    pub(crate) unread: Cell<bool>,
    /// When it was told to end, monotonic milliseconds.
    pub(crate) ending_ms: Cell<u64>,
    /// What is queued is not waited for any more.
    pub(crate) abandoned: LocalFlag,
    /// Requests that the control thread has not answered yet.
    pub(crate) asked: Cell<usize>,
}

impl Connection {
    pub(crate) fn new(id: u64, peer: SocketAddr, now_ms: u64) -> Self {
        Self {
            id,
            peer,
            phase: Cell::new(Phase::Greeting),
            since_ms: now_ms,
            heard_ms: Cell::new(now_ms),
            spoken_ms: Cell::new(now_ms),
            outbox: RefCell::new(Outbox::new()),
            to_send: Notify::new(),
            to_read: Notify::new(),
            greeted: Cell::new(false),
            probed: Cell::new(false),
            unread: Cell::new(false),
            ending_ms: Cell::new(0),
            abandoned: LocalFlag::new(),
            asked: Cell::new(0),
        }
    }

    /// Reads nothing more, sends what is queued, and closes.
    pub(crate) fn end(&self, now_ms: u64) {
        if !self.is_ending() {
            self.ending_ms.set(now_ms);
        }
        self.phase.set(Phase::Ending);
        self.to_send.notify();
        self.to_read.notify();
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.phase.get() == Phase::Ending
    }
}
