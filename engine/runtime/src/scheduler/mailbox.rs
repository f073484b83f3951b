//! Tasks of one core that were woken by other threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use super::waker::TaskWaker;

/// The tasks of one core that other threads have woken and the core has not taken yet.
pub(super) struct Mailbox {
    /// Whether there is a task in it: what the core looks at in every poll.
    mail: AtomicBool,
    contents: Mutex<Contents>,
}

struct Contents {
    woken: VecDeque<Arc<TaskWaker>>,
    /// Wakes the core's executor; only while it runs.
    executor: Option<Waker>,
}

impl Mailbox {
    /// A mailbox whose core does not run yet.
    pub(super) fn new() -> Self {
        let contents = Contents {
            woken: VecDeque::new(),
            executor: None,
        };
        Self {
            mail: AtomicBool::new(false),
            contents: Mutex::new(contents),
        }
    }

    /// From here on a task that arrives wakes the executor.
    pub(super) fn open(&self, executor: Waker) {
        let mut contents = self.lock();
        if !contents.woken.is_empty() {
            executor.wake_by_ref();
        }
        contents.executor = Some(executor);
    }

    /// From here on nothing is kept. When it returns, no other thread uses the executor's waker.
    pub(super) fn close(&self) {
        let (woken, executor) = {
            let mut contents = self.lock();
            (
                std::mem::take(&mut contents.woken),
                contents.executor.take(),
            )
        };
        self.mail.store(false, Ordering::Relaxed);
        drop(woken);
        drop(executor);
    }

    /// Puts a task into it, from another thread.
    pub(super) fn send(&self, task: Arc<TaskWaker>) {
        let mut contents = self.lock();
        let first = contents.woken.is_empty();
        contents.woken.push_back(task);
        self.mail.store(true, Ordering::Release);
        if first && let Some(executor) = contents.executor.as_ref() {
            // Under the lock, so that `close` waits for it.
            executor.wake_by_ref();
        }
    }

    /// Whether there is something in it.
    pub(super) fn has_mail(&self) -> bool {
        self.mail.load(Ordering::Acquire)
    }

    /// Moves what is in it to the end of `ready`, on the core. It never waits: while a sender has
    /// the lock, it leaves the rest to a later poll.
    pub(super) fn take_into(&self, ready: &mut VecDeque<Arc<TaskWaker>>) {
        let mut contents = match self.contents.try_lock() {
            Ok(contents) => contents,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.mail.store(false, Ordering::Relaxed);
        ready.append(&mut contents.woken);
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nothing panics under the lock.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
