//! How much may be on the way at a time: the producer's back-pressure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::error::ClientError;

/// The part of [`Budget::used`] that counts bytes: a terabyte. The rest counts messages.
const BYTES_BITS: u32 = 40;

/// Messages and bytes that a producer holds until their receipts come.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    messages_max: usize,
    /// Messages, above [`BYTES_BITS`] bits of bytes: one number, because every message changes both.
    used: AtomicU64,
    closed: AtomicBool,
    freed: Notify,
}

impl Budget {
    /// A budget of which nothing is used.
    pub(crate) fn new(bytes_max: usize, messages_max: usize) -> Self {
        Self {
            bytes_max: bytes_max.min(1 << (BYTES_BITS - 1)),
            messages_max: messages_max.min((1 << (u64::BITS - BYTES_BITS)) - 1),
            used: AtomicU64::new(0),
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
            let used = self.used.load(Ordering::Acquire);
            if !self.closed.load(Ordering::Acquire) && !self.has_room(used, bytes) {
                freed.await;
            }
        }
    }

    /// Whether a message of `bytes` has room beside what is `used`.
    fn has_room(&self, used: u64, bytes: usize) -> bool {
        let (messages, used_bytes) = (used >> BYTES_BITS, used & ((1 << BYTES_BITS) - 1));
        messages == 0
            || (messages < self.messages_max as u64
                && used_bytes + bytes as u64 <= self.bytes_max as u64)
    }

    /// Takes the room if it is there. Two at once may both be let in, by one message each: the
    /// limit protects memory and need not be exact.
    fn try_take(&self, bytes: usize) -> bool {
        let has_room = self.has_room(self.used.load(Ordering::Acquire), bytes);
        if has_room {
            self.used.fetch_add(packed(1, bytes), Ordering::AcqRel);
        }
        has_room
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, messages: usize, bytes: usize) {
        let back = packed(messages, bytes);
        let had = self.used.fetch_sub(back, Ordering::AcqRel);
        let mask = (1 << BYTES_BITS) - 1;
        assert!(
            had >= back && had & mask >= back & mask,
            "no more room is given back than was taken"
        );
        self.freed.notify_waiters();
    }

    /// Turns everyone away from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }
}

/// So many messages and bytes as one number.
const fn packed(messages: usize, bytes: usize) -> u64 {
    ((messages as u64) << BYTES_BITS) + bytes as u64
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
