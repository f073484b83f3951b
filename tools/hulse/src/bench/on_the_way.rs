//! Messages between their sending and their receipts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::Notify;

/// A queue between two tasks of one thread. A channel would do, at several times the cost, which is
/// the load's own and not to be measured.
#[derive(Debug)]
pub(super) struct OnTheWay<T> {
    queue: RefCell<VecDeque<T>>,
    ended: Cell<bool>,
    changed: Notify,
}

impl<T> OnTheWay<T> {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            queue: RefCell::new(VecDeque::new()),
            ended: Cell::new(false),
            changed: Notify::const_new(),
        }
    }

    /// Adds one.
    pub(super) fn push(&self, item: T) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(item);
        // Who takes looks at everything that is there before it waits.
        if queue.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// Says that there will be no more.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.changed.notify_one();
    }

    /// Moves everything there is into `some`, which is empty; waits while there is nothing. False at
    /// the end. One task waits at a time.
    pub(super) async fn take_all(&self, some: &mut VecDeque<T>) -> bool {
        loop {
            std::mem::swap(&mut *self.queue.borrow_mut(), some);
            if !some.is_empty() {
                return true;
            }
            if self.ended.get() {
                return false;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_comes_out_in_order_and_then_the_end() {
        let on_the_way = OnTheWay::new();
        let send = async {
            for number in 0..1_000 {
                on_the_way.push(number);
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            on_the_way.end();
        };
        let take = async {
            let (mut some, mut all) = (VecDeque::new(), Vec::new());
            while on_the_way.take_all(&mut some).await {
                all.extend(some.drain(..));
            }
            all
        };
        let ((), all) = tokio::join!(send, take);
        assert!(all.into_iter().eq(0..1_000));
    }
}
