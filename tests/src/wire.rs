//! A connection that says what no client would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hulse_model::Status;
use hulse_model::batch::Message;
use hulse_wire::{
    Access, Admin, Hello, Lookup, MAGIC, OpenProducer, PROTOCOL_VERSION, Produce, ProducerOpened,
    Receipt, Reply, Request, StartFrom, Subscribe, Subscribed, SubscriptionType, decode_frame,
};
use serde::de::DeserializeOwned;

use crate::patience::LIMIT;

/// How long this side may be silent: longer than any test.
const BEACON_TIMEOUT_MS: u32 = 60_000;

/// What a broker said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: Status,
    /// The sentence.
    pub message: String,
}

/// A connection, frame by frame.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    received: Vec<u8>,
    /// The frame that was read last.
    frame: Vec<u8>,
    correlation: u64,
}

impl Wire {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nothing listens there.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the broker listens")
    }

    /// Connects and says nothing.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, LIMIT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        let (received, frame) = (Vec::new(), Vec::new());
        Ok(Self {
            socket,
            received,
            frame,
            correlation: 0,
        })
    }

    /// Connects and shakes hands.
    ///
    /// # Panics
    /// When it is not welcomed.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address);
        wire.write(&MAGIC).expect("sent");
        let version = PROTOCOL_VERSION;
        let welcome = wire.ask(0, &hello(version, version), |reply| {
            matches!(reply, Reply::Welcome(_))
        });
        assert!(welcome, "not welcomed");
        wire
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a request. Gives its correlation id.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn send(&mut self, stream: u32, request: &Request<'_>) -> u64 {
        let answered = !matches!(request, Request::Permits(_) | Request::Redeliver(_));
        let correlation = if answered { self.next_correlation() } else { 0 };
        let mut out = Vec::new();
        request
            .encode(&mut out, stream, correlation)
            .expect("a legal request");
        self.write(&out).expect("sent");
        correlation
    }

    fn next_correlation(&mut self) -> u64 {
        self.correlation += 1;
        self.correlation
    }

    /// Sends a request and reads the reply with `read`.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask<R>(
        &mut self,
        stream: u32,
        request: &Request<'_>,
        read: impl FnOnce(Reply<'_>) -> R,
    ) -> R {
        self.send(stream, request);
        self.reply(read).expect("an answer")
    }

    /// Sends an administrative request and reads the answer's JSON.
    ///
    /// # Errors
    /// What the broker refuses.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn admin<T: DeserializeOwned>(&mut self, admin: Admin<'_>) -> Result<T, Refused> {
        self.ask(0, &Request::Admin(admin), |reply| match reply {
            Reply::AdminDone(done) => Ok(serde_json::from_slice(done.json).expect("JSON")),
            reply => Err(refused(&reply)),
        })
    }

    /// Connects to the core that owns the first partition of a topic, which is created if need be.
    ///
    /// # Panics
    /// When it is not found.
    #[must_use]
    pub fn open_owner(address: SocketAddr, topic: &str) -> Self {
        let topic = topic.parse().expect("a legal name");
        let lookup = Request::Lookup(Lookup {
            topic,
            create_missing: true,
        });
        let owner = Self::open(address).ask(0, &lookup, |reply| match reply {
            Reply::Located(located) => located.places[0].address.parse().expect("an address"),
            reply => panic!("not located: {reply:?}"),
        });
        Self::open(owner)
    }

    /// Opens a stream as a producer of a topic without partitions.
    ///
    /// # Errors
    /// What the broker refuses.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn open_producer(
        &mut self,
        stream: u32,
        topic: &str,
        name: &str,
        epoch: Option<u64>,
    ) -> Result<ProducerOpened, Refused> {
        let request = Request::OpenProducer(OpenProducer {
            topic: topic.parse().expect("a legal name"),
            partition: -1,
            name: Some(name.parse().expect("a legal name")),
            epoch,
            access: Access::Shared,
            access_epoch: None,
        });
        self.ask(stream, &request, |reply| match reply {
            Reply::ProducerOpened(opened) => Ok(opened),
            reply => Err(refused(&reply)),
        })
    }

    /// Sends a batch and waits for its receipt.
    ///
    /// # Errors
    /// What the broker refuses.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn produce(
        &mut self,
        stream: u32,
        sequence: u64,
        values: &[&[u8]],
    ) -> Result<Receipt, Refused> {
        let mut payload = Vec::new();
        for value in values {
            let message = Message { key: None, value };
            message.encode(&mut payload).expect("a legal message");
        }
        let messages = u32::try_from(values.len()).expect("few");
        let produce = Produce {
            sequence,
            messages,
            skipped: false,
            delayed: false,
            payload: &payload,
        };
        self.ask(stream, &Request::Produce(produce), |reply| match reply {
            Reply::Receipts(receipts) => {
                let [receipt] = <[_; 1]>::try_from(receipts.receipts.iter().collect::<Vec<_>>())
                    .expect("one receipt for one batch");
                Ok(receipt)
            }
            reply => Err(refused(&reply)),
        })
    }

    /// Opens a stream as the consumer of a subscription on a topic without partitions, from its
    /// beginning.
    ///
    /// # Errors
    /// What the broker refuses.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn subscribe(
        &mut self,
        stream: u32,
        topic: &str,
        subscription: &str,
        permits: u32,
    ) -> Result<Subscribed, Refused> {
        let request = Request::Subscribe(Subscribe {
            topic: topic.parse().expect("a legal name"),
            partition: -1,
            subscription: subscription.parse().expect("a legal name"),
            kind: SubscriptionType::Exclusive,
            start: StartFrom::Earliest,
            consumer: "hulse-tests",
            permits,
            priority: 0,
            member: 0,
            durable: true,
        });
        self.ask(stream, &request, |reply| match reply {
            Reply::Subscribed(subscribed) => Ok(subscribed),
            reply => Err(refused(&reply)),
        })
    }

    /// Reads the next reply with `read`; beacons are passed over. `None` at the end of the
    /// connection, however it ends.
    ///
    /// # Panics
    /// When nothing comes in time, or something that is no reply.
    pub fn reply<R>(&mut self, read: impl FnOnce(Reply<'_>) -> R) -> Option<R> {
        loop {
            self.next_frame()?;
            let (frame, _) = decode_frame(&self.frame)
                .expect("a frame")
                .expect("a whole one");
            match Reply::decode(&frame).expect("a reply") {
                Reply::Pong | Reply::Probe => {}
                reply => return Some(read(reply)),
            }
        }
    }

    /// The error that comes next.
    ///
    /// # Panics
    /// When something else comes.
    pub fn refusal(&mut self) -> Refused {
        self.reply(|reply| refused(&reply))
            .expect("an error before the end")
    }

    /// Asserts that the broker closes the connection, saying nothing more.
    ///
    /// # Panics
    /// When it says something, or does not close.
    pub fn assert_closed(&mut self) {
        let more = self.reply(|reply| format!("{reply:?}"));
        assert_eq!(more, None, "more came before the end");
    }

    /// Says that nothing more is sent.
    ///
    /// # Panics
    /// When the socket has failed.
    pub fn finish_writing(&self) {
        self.socket
            .shutdown(std::net::Shutdown::Write)
            .expect("a socket");
    }

    /// How long it is waited until the other side takes bytes.
    ///
    /// # Panics
    /// When the socket has failed.
    pub fn set_write_patience(&self, limit: Duration) {
        self.socket
            .set_write_timeout(Some(limit))
            .expect("a socket");
    }

    fn next_frame(&mut self) -> Option<()> {
        loop {
            let length = decode_frame(&self.received)
                .expect("a frame")
                .map(|(_, length)| length);
            if let Some(length) = length {
                let rest = self.received.split_off(length);
                self.frame = std::mem::replace(&mut self.received, rest);
                return Some(());
            }
            let mut chunk = vec![0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => {
                    assert!(
                        self.received.is_empty(),
                        "the connection ends within a frame"
                    );
                    return None;
                }
                Ok(read) => self.received.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing is said: {error}"),
            }
        }
    }
}

/// HELLO with these versions, of a client that may be silent for longer than any test.
#[must_use]
pub const fn hello(version_min: u16, version_max: u16) -> Request<'static> {
    Request::Hello(Hello {
        version_min,
        version_max,
        client: "hulse-tests",
        beacon_timeout_ms: BEACON_TIMEOUT_MS,
    })
}

fn refused(reply: &Reply<'_>) -> Refused {
    let Reply::Error(error) = reply else {
        panic!("not an error: {reply:?}");
    };
    Refused {
        status: error.status.known().expect("a known status"),
        message: error.message.to_owned(),
    }
}
