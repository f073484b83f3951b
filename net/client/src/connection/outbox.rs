//! What waits to be written to a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hulse_wire::{EncodeError, FrameEncoder, Request};
use tokio::sync::Notify;

use super::StreamHandler;

/// Payloads up to this length are copied behind their header; a longer one is written from where
/// it lies.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// Frames in the order in which they were queued, as large pieces.
#[derive(Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    encoder: FrameEncoder,
    pieces: Vec<Bytes>,
    tail: Vec<u8>,
    pending: Vec<Arc<dyn StreamHandler>>,
}

impl Outbox {
    /// Encodes a request to the end. Its payload, if it has one, is `payload`.
    ///
    /// # Errors
    /// When a field is out of its bounds; nothing is queued then.
    pub(super) fn push(
        &self,
        stream: u32,
        correlation: u64,
        request: &Request<'_>,
        payload: &Bytes,
    ) -> Result<(), EncodeError> {
        let mut guard = self.queue();
        let queue = &mut *guard;
        if payload.len() <= COPY_BYTES_MAX {
            queue
                .encoder
                .request(&mut queue.tail, stream, correlation, request)?;
        } else {
            queue
                .encoder
                .request_head(&mut queue.tail, stream, correlation, request)?;
            queue.pieces.push(std::mem::take(&mut queue.tail).into());
            queue.pieces.push(payload.clone());
        }
        drop(guard);
        self.filled.notify_one();
        Ok(())
    }

    /// Notes that a stream has something to write which it encodes only when the writer is about
    /// to write, so that as much as possible goes into one frame. The stream does so once until
    /// then.
    pub(super) fn mark(&self, handler: &Arc<dyn StreamHandler>) {
        self.queue().pending.push(Arc::clone(handler));
        self.filled.notify_one();
    }

    /// Takes everything out, after every marked stream has added its own.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let pending = std::mem::take(&mut self.queue().pending);
        for handler in pending {
            handler.write_pending();
        }
        let mut queue = self.queue();
        let mut pieces = std::mem::take(&mut queue.pieces);
        if !queue.tail.is_empty() {
            pieces.push(std::mem::take(&mut queue.tail).into());
        }
        pieces
    }

    /// Waits until something has been queued since the last time.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
