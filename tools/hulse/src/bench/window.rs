//! How much may be without a receipt.

use std::cell::Cell;

use tokio::sync::Notify;

/// How many messages of one producer may be without a receipt. It belongs to one thread.
///
/// The client has a limit of its own, but a program that waits there has given its message away
/// already: the moment from which a closed loop counts would come too early by the wait.
#[derive(Debug)]
pub(crate) struct Window {
    left: Cell<usize>,
    closed: Cell<bool>,
    changed: Notify,
}

impl Window {
    /// Room for so many.
    pub(crate) const fn new(messages: usize) -> Self {
        Self {
            left: Cell::new(messages),
            closed: Cell::new(false),
            changed: Notify::const_new(),
        }
    }

    /// Takes room if there is some.
    pub(crate) fn try_take(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        if let Some(left) = left
            && !self.closed.get()
        {
            self.left.set(left);
            return true;
        }
        false
    }

    /// Waits for room and takes it; false when the window is closed. One task waits at a time.
    pub(crate) async fn take(&self) -> bool {
        loop {
            if self.closed.get() {
                return false;
            }
            if self.try_take() {
                return true;
            }
            self.changed.notified().await;
        }
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, messages: usize) {
        self.left.set(self.left.get() + messages);
        self.changed.notify_one();
    }

    /// Ends the waiting for good.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn it_holds_as_many_as_it_was_made_for_and_its_end_is_heard() {
        let window = Window::new(2);
        let soon = || timeout(Duration::from_secs(1), window.take());
        assert_eq!((soon().await, soon().await), (Ok(true), Ok(true)));
        assert!(soon().await.is_err(), "it is full");
        window.give_back(1);
        assert_eq!(soon().await, Ok(true));
        assert!(soon().await.is_err(), "it is full again");
        let (taken, ()) = tokio::join!(window.take(), async { window.close() });
        assert!(!taken);
        window.give_back(5);
        assert_eq!(soon().await, Ok(false));
    }
}
