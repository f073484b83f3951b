//! An event that any number of tasks of one core wait for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Something that happens again and again and wakes every task that waits for it.
///
/// The order that loses no wake-up: [`listen`](Self::listen) first, then look at the state, then
/// await. The future returned by `listen` is ready as soon as the event has happened after it was
/// made, whether it was being awaited or not. Clones are the same event.
#[derive(Clone, Default)]
pub struct LocalEvent {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How often the event has happened.
    happened: Cell<u64>,
    /// Those that wait, by the number of their listening.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    /// The number of the next listening.
    next: Cell<u64>,
}

impl LocalEvent {
    /// An event that has not happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes all that listen.
    pub fn notify(&self) {
        self.shared.happened.set(self.shared.happened.get() + 1);
        // Out of the cell before anyone is woken: a waker may run code that listens again.
        let woken = std::mem::take(&mut *self.shared.waiting.borrow_mut());
        for waker in woken.into_values() {
            waker.wake();
        }
    }

    /// A future that is ready once the event has happened from now on.
    pub fn listen(&self) -> Listening {
        let number = self.shared.next.get();
        self.shared.next.set(number + 1);
        Listening {
            shared: self.shared.clone(),
            seen: self.shared.happened.get(),
            number,
        }
    }

    /// How many tasks wait right now.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.borrow().len()
    }
}

impl fmt::Debug for LocalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEvent")
            .field("happened", &self.shared.happened.get())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// Ready once its [`LocalEvent`] has happened since it was made.
#[must_use = "a listening does nothing unless it is awaited"]
pub struct Listening {
    shared: Rc<Shared>,
    seen: u64,
    number: u64,
}

impl Future for Listening {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.happened.get() != self.seen {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let replaced = self.shared.waiting.borrow_mut().insert(self.number, waker);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let removed = self.shared.waiting.borrow_mut().remove(&self.number);
        drop(removed);
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
