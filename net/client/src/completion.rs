//! One outcome that many handles wait for: the receipt of a batch or of an acknowledgement.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

/// An outcome that comes once. A batch of a thousand messages shares one, so that a message costs
/// no allocation.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    outcome: OnceLock<T>,
    wakers: Mutex<Vec<Waker>>,
}

/// A handle's place among the wakers of a completion.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<usize>);

impl<T> Default for Completion<T> {
    fn default() -> Self {
        Self {
            outcome: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
        }
    }
}

impl<T> Completion<T> {
    /// The outcome, once it is there.
    pub(crate) fn get(&self) -> Option<&T> {
        self.outcome.get()
    }

    /// Sets the outcome and wakes everyone. Only the first outcome counts.
    pub(crate) fn complete(&self, outcome: T) {
        if self.outcome.set(outcome).is_ok() {
            let wakers = std::mem::take(&mut *self.lock());
            for waker in wakers {
                waker.wake();
            }
        }
    }

    /// The outcome, or a wake-up once it is there. `slot` belongs to the caller's handle.
    pub(crate) fn poll(&self, cx: &Context<'_>, slot: &mut WakerSlot) -> Poll<&T> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        {
            let mut wakers = self.lock();
            match slot.0.and_then(|at| wakers.get_mut(at)) {
                Some(waker) => waker.clone_from(cx.waker()),
                None => {
                    slot.0 = Some(wakers.len());
                    wakers.push(cx.waker().clone());
                }
            }
        }
        // The outcome may have come between the look and the registration.
        match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;

    #[tokio::test]
    async fn everyone_who_waits_is_woken_with_the_first_outcome() {
        let completion = Arc::new(Completion::default());
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let completion = Arc::clone(&completion);
                tokio::spawn(async move {
                    let mut slot = WakerSlot::default();
                    poll_fn(|cx| completion.poll(cx, &mut slot).map(|n| *n)).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(completion.get(), None);
        completion.complete(7);
        completion.complete(8);
        for task in waiting {
            assert_eq!(task.await.unwrap(), 7);
        }
    }

    #[test]
    fn a_handle_that_is_polled_often_takes_one_place() {
        let completion = Completion::<u8>::default();
        let mut slot = WakerSlot::default();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(completion.poll(&cx, &mut slot).is_pending());
        }
        assert_eq!(completion.lock().len(), 1);
    }
}
