//! The attempts of one operation: pauses between them, and the moment to give up.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::error::ClientError;

/// The attempts that one operation has left.
#[derive(Debug)]
pub(crate) struct Attempts {
    started: Instant,
    deadline: Option<Instant>,
    backoff: Backoff,
    /// The last cause that says more than that there was no answer.
    telling: Option<ClientError>,
}

impl Attempts {
    /// Attempts for as long as `timeout` from now.
    pub(crate) fn new(timeout: Duration) -> Self {
        let started = Instant::now();
        let deadline = Some(started + timeout);
        Self {
            started,
            deadline,
            backoff: Backoff::new(rand::random()),
            telling: None,
        }
    }

    /// Attempts without an end: the caller knows when to give up.
    pub(crate) fn endless() -> Self {
        Self {
            started: Instant::now(),
            deadline: None,
            backoff: Backoff::new(rand::random()),
            telling: None,
        }
    }

    /// Until when the answer to an attempt may be awaited: for as long as the operation may take,
    /// and at most for `longest` from now.
    pub(crate) fn answer_by(&self, longest: Duration) -> Instant {
        let latest = Instant::now() + longest;
        self.deadline
            .map_or(latest, |deadline| deadline.min(latest))
    }

    /// Waits before the next attempt, after `cause` ended the last.
    ///
    /// # Errors
    /// `cause` itself, when trying again is of no use or the time is over. The last attempt may
    /// end for nothing but the end of the time: then the cause of the one before.
    pub(crate) async fn pause(&mut self, cause: ClientError) -> Result<(), ClientError> {
        if !cause.is_retryable() {
            return Err(cause);
        }
        let now = Instant::now();
        let pause = self.backoff.pause(now.duration_since(self.started));
        let next = now + pause.max(cause.retry_after());
        let silent = matches!(cause, ClientError::Timeout { .. });
        if self.deadline.is_some_and(|deadline| next >= deadline) {
            return Err(self.telling.take().filter(|_| silent).unwrap_or(cause));
        }
        if !silent {
            self.telling = Some(cause);
        }
        sleep_until(next).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::Status;
    use hulse_wire::ErrorReply;

    fn timed_out() -> ClientError {
        ClientError::Timeout {
            after: Duration::from_millis(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_in_time_with_the_last_cause() {
        let started = Instant::now();
        let mut attempts = Attempts::new(Duration::from_secs(30));
        let mut count = 0;
        let last = loop {
            count += 1;
            if let Err(cause) = attempts.pause(timed_out()).await {
                break cause;
            }
        };
        assert!(matches!(last, ClientError::Timeout { .. }));
        let elapsed = started.elapsed();
        assert!(elapsed <= Duration::from_secs(30) && elapsed > Duration::from_secs(29));
        assert!(count > 60 && count < 200, "{count} attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_that_tells_more_is_not_forgotten_for_the_last_silence() {
        let mut attempts = Attempts::new(Duration::from_secs(1));
        let refusal = ErrorReply::new(Status::ConsumerBusy, "taken");
        attempts
            .pause(ClientError::refused(&refusal))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = attempts.pause(timed_out()).await.unwrap_err();
        assert_eq!(last.status(), Some(Status::ConsumerBusy));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_mended_ends_them_at_once() {
        let mut attempts = Attempts::new(Duration::from_secs(30));
        assert!(matches!(
            attempts.pause(ClientError::Closed).await,
            Err(ClientError::Closed)
        ));
    }
}
