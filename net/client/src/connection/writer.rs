//! The task that writes to a connection and sends its beacons.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use hulse_wire::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::error::ClientError;

/// The most pieces that one write takes.
const WRITE_PIECES_MAX: usize = 64;

/// Writes until the connection ends.
pub(super) async fn write(shared: Arc<Shared>, mut socket: OwnedWriteHalf) {
    let mut spoke = Instant::now();
    while shared.ending.cause().is_none() {
        let pieces = shared.outbox.take();
        if pieces.is_empty() {
            tokio::select! {
                biased;
                () = shared.ending.wait() => {}
                () = shared.outbox.filled() => {}
                () = sleep_until(spoke + shared.agreement.beacon_interval) => {
                    if let Err(error) = shared.send(0, 0, &Request::Ping, &Bytes::new()) {
                        shared.ending.end(error);
                    }
                }
            }
            continue;
        }
        let written = tokio::select! {
            biased;
            () = shared.ending.wait() => return,
            written = write_all(&mut socket, pieces) => written,
        };
        spoke = Instant::now();
        if let Err(source) = written {
            let address = shared.address.clone();
            shared.ending.end(ClientError::ConnectionLost {
                address,
                source: Arc::new(source),
            });
        }
    }
}

/// Writes all pieces, as many at a time as the system takes.
async fn write_all(socket: &mut OwnedWriteHalf, mut pieces: Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < pieces.len() {
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let count = pieces.len().saturating_sub(first).min(WRITE_PIECES_MAX);
        for (slice, piece) in slices.iter_mut().zip(pieces.iter().skip(first)) {
            *slice = IoSlice::new(piece);
        }
        let mut written = socket.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.get_mut(first) {
            let step = written.min(piece.len());
            piece.advance(step);
            written -= step;
            if !piece.is_empty() {
                break;
            }
            first += 1;
        }
    }
    Ok(())
}
