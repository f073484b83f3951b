//! A client of the laboratory's own, which says one frame at a time: for what `hulse bench` has no
//! load for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hulse_wire::{FrameEncoder, Hello, MAGIC, PROTOCOL_VERSION, Reply, Request, decode_frame};

use crate::broker::Broker;
use crate::failure::Failure;

/// How long the client may be silent.
pub(crate) const BEACON_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are read at a time, to begin with and at most.
const READ_BYTES: usize = 1024;
const READ_BYTES_MAX: usize = 256 * 1024;

/// A connection that was welcomed.
pub(crate) struct Talk {
    socket: TcpStream,
    encoder: FrameEncoder,
    out: Vec<u8>,
    received: Vec<u8>,
    /// How much of what was received has been heard.
    heard: usize,
    /// How much is read at a time: more while more comes.
    room: usize,
}

impl Talk {
    /// Connects to a broker and is welcomed.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn open(broker: &Broker) -> Result<Self, Failure> {
        let connect = || {
            let socket = TcpStream::connect(broker.address())?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let mut talk = Self {
            socket: connect().map_err(Failure::io("a connection to the broker"))?,
            encoder: FrameEncoder::new(),
            out: MAGIC.to_vec(),
            received: Vec::new(),
            heard: 0,
            room: READ_BYTES,
        };
        let hello = Request::Hello(Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            client: "laboratory",
            beacon_timeout_ms: u32::try_from(BEACON_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        });
        talk.say(0, 1, &hello)?;
        talk.hear(|_, reply| matches!(reply, Reply::Welcome(_)).then_some(()))?;
        Ok(talk)
    }

    /// Puts a frame behind those that are to be sent.
    ///
    /// # Errors
    /// When a field of it is out of its bounds.
    pub(crate) fn say(
        &mut self,
        stream: u32,
        correlation: u64,
        request: &Request<'_>,
    ) -> Result<(), Failure> {
        self.encoder
            .request(&mut self.out, stream, correlation, request)
            .map_err(|error| Failure::new(error.to_string()))
    }

    /// Sends what was said.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) fn send(&mut self) -> Result<(), Failure> {
        let sent = self.socket.write_all(&self.out);
        self.out.clear();
        sent.map_err(Failure::io("the connection to the broker"))
    }

    /// Sends what was said, and waits for the next frame that `take` wants. Frames before it for
    /// which it gives nothing are passed over.
    ///
    /// # Errors
    /// When the broker refuses something, closes the connection, or says nothing for a minute.
    pub(crate) fn hear<T>(
        &mut self,
        mut take: impl FnMut(u32, &Reply<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        self.send()?;
        loop {
            let unread = &self.received[self.heard..];
            let decoded = decode_frame(unread).map_err(|error| Failure::new(error.to_string()))?;
            if let Some((frame, length)) = decoded {
                self.heard += length;
                let reply =
                    Reply::decode(&frame).map_err(|error| Failure::new(error.to_string()))?;
                if let Reply::Error(error) = &reply {
                    return Err(Failure::new(format!("the broker says: {}", error.message)));
                }
                if let Some(taken) = take(frame.stream, &reply) {
                    return Ok(taken);
                }
                continue;
            }
            self.receive()?;
        }
    }

    /// Waits for more bytes.
    fn receive(&mut self) -> Result<(), Failure> {
        self.received.drain(..self.heard);
        self.heard = 0;
        let length = self.received.len();
        self.received.resize(length + self.room, 0);
        let read = self.socket.read(&mut self.received[length..]);
        let count = read.map_err(Failure::io("the connection to the broker"))?;
        self.received.truncate(length + count);
        if count == self.room {
            self.room = (4 * self.room).min(READ_BYTES_MAX);
        }
        match count {
            0 => Err(Failure::new("the broker has closed a connection")),
            _ => Ok(()),
        }
    }
}
