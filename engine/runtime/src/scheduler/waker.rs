//! The waker of one task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::mailbox::Mailbox;
use super::with_current;

/// The waker of one task. Any thread may hold, wake and drop it.
pub(super) struct TaskWaker {
    number: usize,
    /// Whether the task is in a queue already, to be polled.
    woken: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl TaskWaker {
    pub(super) fn new(number: usize, mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self {
            number,
            woken: AtomicBool::new(false),
            mailbox,
        })
    }

    /// The number of the task's slot.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Takes the task out of its queue: the next wake counts again.
    pub(super) fn unmark(&self) {
        // A swap and not a store: it must see what was written before a wake that found the mark
        // set and so left it at that.
        self.woken.swap(false, Ordering::AcqRel);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut task = Some(self);
        with_current(|scheduler| {
            task = task.take().and_then(|task| {
                let here = Arc::ptr_eq(&scheduler.mailbox, &task.mailbox);
                if here {
                    scheduler.push(task);
                    None
                } else {
                    Some(task)
                }
            });
        });
        if let Some(task) = task {
            let mailbox = task.mailbox.clone();
            mailbox.send(task);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Most wakes of a busy task end here, without a count.
        if !self.woken.load(Ordering::Acquire) {
            self.clone().wake();
        }
    }
}
