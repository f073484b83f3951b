//! How much may be on the way at a time: the producer's back-pressure.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::error::ClientError;

/// Messages and bytes that a producer holds until their receipts come.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    messages_max: usize,
    bytes: AtomicUsize,
    messages: AtomicUsize,
    closed: AtomicBool,
    freed: Notify,
}

impl Budget {
    /// A budget of which nothing is used.
    pub(crate) fn new(bytes_max: usize, messages_max: usize) -> Self {
        Self {
            bytes_max,
            messages_max,
            bytes: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            freed: Notify::new(),
        }
    }

    /// Takes room for one message of `bytes`; waits while there is none. A message that is larger
    /// than the whole budget gets it when nothing else does.
    ///
    /// # Errors
    /// [`ClientError::Closed`] once nothing more is to be sent.
    pub(crate) async fn take(&self, bytes: usize) -> Result<(), ClientError> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(ClientError::Closed);
            }
            if self.try_take(bytes) {
                return Ok(());
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on a wake-up is not missed, so look once more before sleeping.
            freed.as_mut().enable();
            if !self.closed.load(Ordering::Acquire) && !self.has_room(bytes) {
                freed.await;
            }
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let messages = self.messages.load(Ordering::Acquire);
        messages == 0
            || (messages < self.messages_max
                && self.bytes.load(Ordering::Acquire).saturating_add(bytes) <= self.bytes_max)
    }

    /// Takes the room if it is there. Two at once may both be turned away or, by one message each,
    /// both be let in: the limit protects memory and need not be exact.
    fn try_take(&self, bytes: usize) -> bool {
        if !self.has_room(bytes) {
            return false;
        }
        self.messages.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        true
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, messages: usize, bytes: usize) {
        let had = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(had >= bytes, "no more room is given back than was taken");
        let had = self.messages.fetch_sub(messages, Ordering::AcqRel);
        assert!(had >= messages, "no more room is given back than was taken");
        self.freed.notify_waiters();
    }

    /// Turns everyone away from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_until_there_is_room() {
        let budget = Arc::new(Budget::new(100, 10));
        budget.take(60).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(60).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        budget.give_back(1, 60);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_all_goes_alone() {
        let budget = Budget::new(100, 10);
        budget.take(1_000).await.unwrap();
        assert!(
            timeout(Duration::from_secs(1), budget.take(1))
                .await
                .is_err()
        );
        budget.give_back(1, 1_000);
        budget.take(1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_counted_as_well_as_bytes() {
        let budget = Budget::new(100, 2);
        budget.take(0).await.unwrap();
        budget.take(0).await.unwrap();
        assert!(
            timeout(Duration::from_secs(1), budget.take(0))
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn closing_turns_away_those_who_wait() {
        let budget = Arc::new(Budget::new(1, 1));
        budget.take(1).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(1).await }
        });
        tokio::task::yield_now().await;
        budget.close();
        assert!(matches!(waiting.await.unwrap(), Err(ClientError::Closed)));
        assert!(matches!(budget.take(1).await, Err(ClientError::Closed)));
    }
}
