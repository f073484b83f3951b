//! Opening a connection: dial, HELLO, WELCOME.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hulse_model::limits::{BEACON_INTERVAL_MS, BEACON_TIMEOUT_MS};
use hulse_wire::{Hello, MAGIC, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Reply, Request, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frame::IncomingFrame;
use super::{Agreement, Connection, EndOnDrop, Shared, reader, writer};
use crate::error::ClientError;

/// Room for the first answer.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// What a client says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// Program and version, for the broker's logs.
    pub(crate) client: String,
    /// How long either side may be silent; `None` for the broker's default.
    pub(crate) beacon_timeout: Option<Duration>,
    /// How long dialling and the handshake may take together.
    pub(crate) timeout: Duration,
}

/// Opens a connection to `address` (`host:port`).
///
/// # Errors
/// When nobody answers there, the broker refuses, or no protocol version is common.
pub(crate) async fn connect(address: &str, greeting: &Greeting) -> Result<Connection, ClientError> {
    match timeout(greeting.timeout, open(address, greeting)).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable(address, io::ErrorKind::TimedOut.into())),
    }
}

fn unreachable(address: &str, source: io::Error) -> ClientError {
    ClientError::Unreachable {
        addresses: address.to_owned(),
        source: Arc::new(source),
    }
}

async fn open(address: &str, greeting: &Greeting) -> Result<Connection, ClientError> {
    let io = |source| unreachable(address, source);
    let mut socket = TcpStream::connect(address).await.map_err(io)?;
    socket.set_nodelay(true).map_err(io)?;

    let hello = Request::Hello(Hello {
        version_min: PROTOCOL_VERSION_MIN,
        version_max: PROTOCOL_VERSION,
        client: &greeting.client,
        beacon_timeout_ms: greeting.beacon_timeout.map_or(0, |timeout| {
            u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
        }),
    });
    let mut opening = MAGIC.to_vec();
    // Correlation id 0: the answer to HELLO is the first frame, whatever it says.
    hello
        .encode(&mut opening, 0, 0)
        .map_err(|error| ClientError::invalid(error.to_string()))?;
    socket.write_all(&opening).await.map_err(io)?;

    let mut buffer = BytesMut::with_capacity(FIRST_READ_BYTES);
    let first = loop {
        match IncomingFrame::take(&mut buffer) {
            Ok(Some(frame)) => break frame,
            Ok(None) => {}
            Err(error) => return Err(ClientError::corrupt(address, &error)),
        }
        if socket.read_buf(&mut buffer).await.map_err(io)? == 0 {
            return Err(io(io::ErrorKind::UnexpectedEof.into()));
        }
    };
    let agreement = match first.reply() {
        Ok(Reply::Welcome(welcome)) => agree(address, &welcome)?,
        Ok(Reply::Error(error)) => return Err(ClientError::refused(&error)),
        Ok(_) => {
            let what = format!("{} is no answer to HELLO", first.kind());
            return Err(ClientError::corrupt(address, &what));
        }
        Err(error) => return Err(ClientError::corrupt(address, &error)),
    };

    let shared = Arc::new(Shared::new(address.to_owned(), agreement));
    let (read_half, write_half) = socket.into_split();
    tokio::spawn(reader::read(Arc::clone(&shared), read_half, buffer));
    tokio::spawn(writer::write(Arc::clone(&shared), write_half));
    let last = Arc::new(EndOnDrop(Arc::clone(&shared)));
    Ok(Connection {
        shared,
        _last: last,
    })
}

/// Checks what the broker chose. A beacon time that is 0 stands for the default.
fn agree(address: &str, welcome: &Welcome<'_>) -> Result<Agreement, ClientError> {
    let version = welcome.version;
    if !(PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&version) {
        return Err(ClientError::Version {
            address: address.to_owned(),
            version,
        });
    }
    let or = |stated: u32, default: u32| if stated == 0 { default } else { stated };
    let timeout_ms = or(welcome.beacons.timeout_ms, BEACON_TIMEOUT_MS);
    let interval_ms = or(welcome.beacons.interval_ms, BEACON_INTERVAL_MS).min(timeout_ms);
    Ok(Agreement {
        beacon_interval: Duration::from_millis(u64::from(interval_ms)),
        beacon_timeout: Duration::from_millis(u64::from(timeout_ms)),
        inflight_max: (welcome.inflight_max as usize).max(1),
    })
}
