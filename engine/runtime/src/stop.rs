//! The wish that the process comes to its end, told to every thread.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A flag across threads that is raised once: stop.
///
/// Any thread raises it and any task of any runtime waits for it. Clones are the same signal. The
/// one who catches SIGTERM and SIGINT (the control thread) raises it; on a core, wait for
/// [`CoreContext::stopping`](crate::CoreContext::stopping) instead, which costs less where many
/// tasks wait.
#[derive(Clone)]
pub struct StopSignal {
    shared: Arc<Shared>,
    /// Disconnected when the signal is raised; nothing is ever sent.
    raised: flume::Receiver<Infallible>,
}

struct Shared {
    stopped: AtomicBool,
    /// Dropped to wake all that wait.
    waiting: Mutex<Option<flume::Sender<Infallible>>>,
}

impl StopSignal {
    /// A signal that is not raised.
    pub fn new() -> Self {
        let (sender, raised) = flume::bounded(1);
        let shared = Shared {
            stopped: AtomicBool::new(false),
            waiting: Mutex::new(Some(sender)),
        };
        Self {
            shared: Arc::new(shared),
            raised,
        }
    }

    /// Raises the signal. Raising it again does nothing.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let sender = self
            .shared
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(sender);
    }

    /// Whether the signal is raised.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// Waits until the signal is raised, on any executor.
    pub async fn stopped(&self) {
        let Err(_disconnected) = self.raised.recv_async().await;
    }

    /// Blocks this thread until the signal is raised. Not for a core.
    pub fn wait(&self) {
        let Err(_disconnected) = self.raised.recv();
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopSignal")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
