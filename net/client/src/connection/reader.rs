//! The task that reads from a connection and hands out what comes.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hulse_wire::{Kind, Reply, Request};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::buffers::Buffers;
use super::frame::IncomingFrame;
use crate::error::ClientError;

/// Reads until the connection ends, and tells everyone then. `buffer` holds what came behind the
/// handshake.
pub(super) async fn read(shared: Arc<Shared>, socket: OwnedReadHalf, buffer: BytesMut) {
    let cause = read_frames(&shared, socket, buffer).await;
    shared.ending.end(cause);
    let cause = shared
        .ending
        .cause()
        .cloned()
        .unwrap_or(ClientError::Closed);
    // Whoever waits for an answer finds the cause when its sender is dropped.
    let waiting = std::mem::take(&mut *shared.waiting());
    drop(waiting);
    let streams = std::mem::take(&mut *shared.streams());
    for handler in streams.into_values() {
        handler.on_lost(&cause);
    }
}

async fn read_frames(shared: &Shared, mut socket: OwnedReadHalf, buffer: BytesMut) -> ClientError {
    let mut buffers = Buffers::new(buffer);
    let timeout = shared.agreement.beacon_timeout;
    let mut heard = Instant::now();
    let mut silence = pin!(sleep_until(heard + timeout));
    let mut ended = pin!(shared.ending.wait());
    loop {
        loop {
            match IncomingFrame::take(buffers.filling()) {
                Ok(Some(frame)) => {
                    if let Err(cause) = dispatch(shared, frame) {
                        return cause;
                    }
                }
                Ok(None) => break,
                Err(error) => return ClientError::corrupt(&shared.address, &error),
            }
        }
        let buffer = buffers.filling();
        let missing = IncomingFrame::needed(buffer).saturating_sub(buffer.len());
        buffers.make_room(missing);
        tokio::select! {
            biased;
            read = socket.read_buf(buffers.filling()) => {
                let source = match read {
                    Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => {
                        heard = Instant::now();
                        continue;
                    }
                    Err(error) => error,
                };
                let address = shared.address.clone();
                return ClientError::ConnectionLost { address, source: Arc::new(source) };
            }
            () = &mut ended => return ClientError::Closed,
            () = &mut silence => {
                let now = Instant::now();
                let due = heard + timeout;
                if now < due {
                    silence.as_mut().reset(due);
                } else if now - silence.deadline() > shared.agreement.beacon_interval {
                    // This task was kept from running for a while: what came meanwhile is still
                    // unread, so the silence may be our own.
                    silence.as_mut().reset(now + shared.agreement.beacon_interval);
                } else {
                    let address = shared.address.clone();
                    return ClientError::PeerSilent { address, silent: now - heard };
                }
            }
        }
    }
}

/// Hands a frame to whom it concerns. What concerns nobody any more is dropped.
fn dispatch(shared: &Shared, frame: IncomingFrame) -> Result<(), ClientError> {
    match frame.kind() {
        Kind::Pong => return Ok(()),
        Kind::Probe => return shared.send(0, 0, &Request::Ping, &Bytes::new()),
        _ => {}
    }
    if frame.correlation() > 0 {
        let waiting = shared.waiting().remove(&frame.correlation());
        if let Some(waiting) = waiting {
            // A caller that has just given up is no reason for anything.
            let _ = waiting.send(frame);
            return Ok(());
        }
    }
    if frame.stream() > 0 {
        let handler = shared.streams().get(&frame.stream()).cloned();
        return match handler {
            Some(handler) => handler
                .on_frame(&frame)
                .map_err(|what| ClientError::corrupt(&shared.address, &what)),
            None => Ok(()),
        };
    }
    match frame.reply() {
        Ok(Reply::Error(error)) if frame.correlation() == 0 => Err(ClientError::refused(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(ClientError::corrupt(&shared.address, &error)),
    }
}
