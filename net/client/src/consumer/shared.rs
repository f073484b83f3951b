//! The inbox as the partitions' tasks and the application share it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::consumer::inbox::Inbox;

/// An inbox behind a lock, and a bell.
#[derive(Debug)]
pub(crate) struct SharedInbox {
    inbox: Mutex<Inbox>,
    filled: Notify,
}

impl SharedInbox {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self {
            inbox: Mutex::new(inbox),
            filled: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one of those who wait for something to come.
    pub(crate) fn notify(&self) {
        self.filled.notify_one();
    }

    /// Waits until something has come since the last time.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}
