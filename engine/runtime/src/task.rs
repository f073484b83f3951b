//! Tasks and timers of one core.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::scheduler;

/// Starts a task on this core. It first runs after the caller has yielded, so the caller may hold
/// a borrow which the task also takes.
///
/// A task that still waits when the core's main future returns is dropped then.
///
/// # Panics
///
/// When this thread is not a core.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let spawned = scheduler::with_current(|scheduler| scheduler.spawn(Box::pin(task)));
    assert!(
        spawned.is_some(),
        "a task is spawned on a core and nowhere else"
    );
}

/// As [`spawn`], with a handle to await the task's result by.
///
/// # Panics
///
/// When this thread is not a core.
pub fn spawn_handle<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let shared = Rc::new(Outcome {
        value: Cell::new(None),
        waiting: Cell::new(None),
    });
    let outcome = shared.clone();
    spawn(async move {
        outcome.value.set(Some(task.await));
        if let Some(waker) = outcome.waiting.take() {
            waker.wake();
        }
    });
    JoinHandle { shared }
}

/// The result of a task, to be awaited on the same core. Dropping it lets the task go on.
///
/// There is no way to cancel a task from outside. A task stops by looking at a
/// [`LocalFlag`](crate::LocalFlag); cancelling between two awaits loses connections and work.
pub struct JoinHandle<T> {
    shared: Rc<Outcome<T>>,
}

struct Outcome<T> {
    value: Cell<Option<T>>,
    waiting: Cell<Option<Waker>>,
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.shared.waiting.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}

/// Waits for `duration`. On an idle core it is late by 0.1 ms or so, on a busy one by the
/// core's turn and the longest stretch that a task runs without yielding.
///
/// # Panics
///
/// When this thread is not a core.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Waits until `deadline`; returns at once when it has passed.
///
/// # Panics
///
/// When this thread is not a core.
pub async fn sleep_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        sleep(left).await;
    }
}

/// Runs `future` for at most `duration`; `None` when the time was up first. A future which is
/// ready at the same time as the timer wins.
///
/// The future is dropped when the time is up, so it must be one that loses nothing by that:
/// [`Stream::read`](crate::Stream::read), a channel and a [`Notify`](crate::Notify) are.
///
/// # Panics
///
/// When this thread is not a core.
pub async fn timeout<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut timer = pin!(sleep(duration));
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Lets the other runnable tasks of this core run once.
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

/// Yields when the core's turn is over ([`CoresConfig::turn`](crate::CoresConfig)), and costs a
/// look at the clock otherwise. Every loop that may run for longer than a fraction of a
/// millisecond calls it: completions, timers and other connections wait for it. Elsewhere than on a
/// core it does nothing.
pub async fn yield_if_needed() {
    if scheduler::with_current(|scheduler| scheduler.is_turn_over()) == Some(true) {
        yield_now().await;
    }
}
