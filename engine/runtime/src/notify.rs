//! A wake-up call with a memory, for one waiting task.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A wake-up call for one task, from any number of tasks of the same core.
///
/// A call that comes while nobody waits is remembered, once: the next wait returns at once. So
/// the waiting task looks at its state, finds nothing to do, and waits; whatever changed the state
/// in between has left its call. Share it in an `Rc`.
///
/// One task waits at a time. When a second one does, only the later is woken: use
/// [`LocalEvent`](crate::LocalEvent) for several.
#[derive(Default)]
pub struct Notify {
    called: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Notify {
    /// A call that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the waiting task, or has the next wait return at once.
    pub fn notify(&self) {
        self.called.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits for a call, and uses it up.
    ///
    /// A wait that is dropped uses up no call.
    pub async fn notified(&self) {
        poll_fn(|context| {
            if self.called.replace(false) {
                self.waiting.set(None);
                return Poll::Ready(());
            }
            self.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("called", &self.called.get())
            .finish_non_exhaustive()
    }
}
