//! The end of a connection: noted once, heard by everyone.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::error::ClientError;

/// Whether and why a connection has ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    cause: OnceLock<ClientError>,
    ended: Notify,
}

impl Ending {
    /// Ends the connection. Only the first cause counts.
    pub(super) fn end(&self, cause: ClientError) {
        if self.cause.set(cause).is_ok() {
            self.ended.notify_waiters();
        }
    }

    /// The cause, once there is one.
    pub(super) fn cause(&self) -> Option<&ClientError> {
        self.cause.get()
    }

    /// Waits for the end.
    pub(super) async fn wait(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if self.cause.get().is_none() {
            ended.await;
        }
    }
}
