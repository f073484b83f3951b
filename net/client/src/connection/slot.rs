//! A stream's place on its connection.

use std::sync::Arc;

use bytes::Bytes;
use hulse_wire::{Reply, Request};
use tokio::time::Instant;

use super::{Answer, Connection, StreamHandler};
use crate::error::ClientError;

/// A stream that is registered with its connection. Dropped, it is closed on both sides.
pub(crate) struct StreamSlot {
    connection: Connection,
    id: u32,
}

impl StreamSlot {
    pub(super) const fn new(connection: Connection, id: u32) -> Self {
        Self { connection, id }
    }

    /// The connection.
    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Queues a request that nobody waits for; the answer, if there is one, goes to the handler.
    ///
    /// # Errors
    /// When a field is out of its bounds.
    pub(crate) fn send(
        &self,
        correlation: u64,
        request: &Request<'_>,
        payload: &Bytes,
    ) -> Result<(), ClientError> {
        self.connection
            .shared
            .send(self.id, correlation, request, payload)
    }

    /// Sends a request of this stream and waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub(crate) async fn request(
        &self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        self.connection.request(self.id, request, deadline).await
    }

    /// Asks for [`StreamHandler::write_pending`] before the next write.
    pub(crate) fn mark(&self, handler: &Arc<dyn StreamHandler>) {
        self.connection.shared.outbox.mark(handler);
    }

    /// The broker has ended the stream, so it is not closed once more.
    pub(crate) fn ended_by_broker(self) {
        self.connection.shared.streams().remove(&self.id);
    }

    /// Closes the stream and waits until the broker says so.
    ///
    /// # Errors
    /// As [`Connection::request`]. The stream is closed all the same.
    pub(crate) async fn close(self, deadline: Instant) -> Result<(), ClientError> {
        // The handler stays registered until the answer is there: receipts may come before it.
        let answer = self.request(&Request::Close, deadline).await;
        self.connection.shared.streams().remove(&self.id);
        let answer = answer?;
        match answer.reply()? {
            Reply::Closed => Ok(()),
            _ => Err(answer.unexpected()),
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let shared = &self.connection.shared;
        let handler = shared.streams().remove(&self.id);
        if handler.is_some() && shared.ending.cause().is_none() {
            // CLOSED comes back for a stream that is unknown by then, and is dropped.
            let correlation = shared.correlation();
            if let Err(error) = shared.send(self.id, correlation, &Request::Close, &Bytes::new()) {
                shared.ending.end(error);
            }
        }
    }
}
