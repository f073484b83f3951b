//! A broker that does what the test says.

use std::future::Future;
use std::time::Duration;

use hulse_client::{Client, ClientBuilder};
use hulse_model::batch::Message;
use hulse_model::entry::encode_entry;
use hulse_model::{EntryDraft, Offset, PayloadFormat, Position, ProducerId, Term, TopicName};
use hulse_wire::{
    AckRange, Beacons, Deliver, ErrorReply, Located, MAGIC, PartitionPlace, ProducerOpened,
    Receipt, Receipts, Reply, Request, Subscribed, Welcome, decode_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What only a hang takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Beacons so rare that no test meets one by accident.
pub(crate) const QUIET: Beacons = Beacons {
    interval_ms: 30_000,
    timeout_ms: 60_000,
};

/// Runs `work`, and fails when it hangs.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(LIMIT, work).await.expect("the test hangs")
}

/// A listening broker.
pub(crate) struct Broker {
    listener: TcpListener,
    pub(crate) address: String,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    /// A client's builder for this broker.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder(&format!("hulse://{}", self.address))
    }

    /// Takes a connection as it comes.
    pub(crate) async fn accept(&self) -> Peer {
        let (socket, _) = within(self.listener.accept()).await.unwrap();
        Peer {
            socket,
            buffer: Vec::new(),
        }
    }

    /// Takes a connection and shakes hands, with rare beacons.
    pub(crate) async fn welcome(&self) -> Peer {
        self.welcome_with(QUIET).await
    }

    /// Takes a connection and shakes hands.
    pub(crate) async fn welcome_with(&self, beacons: Beacons) -> Peer {
        let mut peer = self.accept().await;
        let hello = peer.hello().await;
        assert!(matches!(hello.request(), Request::Hello(_)));
        peer.reply(0, hello.correlation, &Reply::Welcome(welcome(1, beacons)))
            .await;
        peer
    }

    /// A client that is connected, and its connection.
    pub(crate) async fn connected(&self, builder: ClientBuilder) -> (Client, Peer) {
        let (client, peer) =
            within(async { tokio::join!(builder.connect(), self.welcome()) }).await;
        (client.unwrap(), peer)
    }
}

/// A WELCOME.
pub(crate) fn welcome(version: u16, beacons: Beacons) -> Welcome<'static> {
    Welcome {
        version,
        broker: "fake",
        region: "here",
        beacons,
        message_bytes_max: 5 * 1024 * 1024,
        frame_bytes_max: 6 * 1024 * 1024,
        inflight_max: 10_000,
    }
}

/// A frame from the client.
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    pub(crate) stream: u32,
    pub(crate) correlation: u64,
}

impl Incoming {
    pub(crate) fn request(&self) -> Request<'_> {
        let (frame, _) = decode_frame(&self.bytes).unwrap().unwrap();
        Request::decode(&frame).unwrap()
    }
}

/// A batch from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) stream: u32,
    pub(crate) correlation: u64,
    pub(crate) sequence: u64,
    pub(crate) messages: u32,
    pub(crate) skipped: bool,
    pub(crate) payload: Vec<u8>,
}

impl Batch {
    /// The values of its messages, as text.
    pub(crate) fn values(&self) -> Vec<String> {
        hulse_model::batch::Messages::new(&self.payload)
            .map(|message| String::from_utf8(message.unwrap().value.to_vec()).unwrap())
            .collect()
    }

    /// Its receipt, stored at (`term`, `offset`).
    pub(crate) fn receipt(&self, term: u64, offset: u64) -> Receipt {
        Receipt {
            sequence: self.sequence,
            messages: self.messages,
            id: Some((Term(term), Offset(offset))),
            duplicate: false,
        }
    }
}

/// The broker's end of one connection.
pub(crate) struct Peer {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    /// The opening bytes and the first frame.
    pub(crate) async fn hello(&mut self) -> Incoming {
        self.try_hello()
            .await
            .expect("the client went away before HELLO")
    }

    /// The same; `None` when the client has gone away.
    pub(crate) async fn try_hello(&mut self) -> Option<Incoming> {
        while self.buffer.len() < MAGIC.len() {
            if !self.fill().await {
                return None;
            }
        }
        let opening: Vec<u8> = self.buffer.drain(..MAGIC.len()).collect();
        assert_eq!(opening, MAGIC);
        self.any().await
    }

    async fn fill(&mut self) -> bool {
        within(self.socket.read_buf(&mut self.buffer))
            .await
            .is_ok_and(|bytes| bytes > 0)
    }

    /// The next frame of any kind; `None` at the connection's end.
    pub(crate) async fn any(&mut self) -> Option<Incoming> {
        loop {
            if let Some((frame, length)) = decode_frame(&self.buffer).unwrap() {
                let (stream, correlation) = (frame.stream, frame.correlation);
                let bytes = self.buffer.drain(..length).collect();
                return Some(Incoming {
                    bytes,
                    stream,
                    correlation,
                });
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next frame that is no PING; those are answered.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            let frame = self
                .any()
                .await
                .expect("the client has closed the connection");
            if !matches!(frame.request(), Request::Ping) {
                return frame;
            }
            self.reply(0, frame.correlation, &Reply::Pong).await;
        }
    }

    /// Reads on until the client closes the connection; gives what came, PINGs left out.
    pub(crate) async fn until_closed(&mut self) -> Vec<Incoming> {
        let mut frames = Vec::new();
        while let Some(frame) = self.any().await {
            if !matches!(frame.request(), Request::Ping) {
                frames.push(frame);
            }
        }
        frames
    }

    pub(crate) async fn reply(&mut self, stream: u32, correlation: u64, reply: &Reply<'_>) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes, stream, correlation).unwrap();
        self.raw(&bytes).await;
    }

    /// Sends bytes as they are. That the client has closed its end is no trouble.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = within(self.socket.write_all(bytes)).await;
    }

    /// Refuses a request.
    pub(crate) async fn refuse(&mut self, to: &Incoming, error: ErrorReply<'_>) {
        self.reply(to.stream, to.correlation, &Reply::Error(error))
            .await;
    }

    /// Answers the look-up that comes next: the topic's partitions live at these addresses. One
    /// alone is a topic without partitions.
    pub(crate) async fn locate(&mut self, addresses: &[&str]) -> TopicName {
        let frame = self.next().await;
        self.located(&frame, addresses).await
    }

    /// The same for one address; false when the client has gone away.
    pub(crate) async fn try_locate(&mut self, address: &str) -> bool {
        match self.any().await {
            Some(frame) => {
                self.located(&frame, &[address]).await;
                true
            }
            None => false,
        }
    }

    async fn located(&mut self, frame: &Incoming, addresses: &[&str]) -> TopicName {
        let Request::Lookup(lookup) = frame.request() else {
            panic!("not a LOOKUP: {:?}", frame.request());
        };
        let single = addresses.len() == 1;
        let places = (0..)
            .zip(addresses)
            .map(|(number, address)| PartitionPlace {
                partition: if single { -1 } else { number },
                id: hulse_model::PartitionId(7),
                address,
            });
        let located = Located {
            topic: lookup.topic.clone(),
            places: places.collect(),
        };
        self.reply(0, frame.correlation, &Reply::Located(located))
            .await;
        lookup.topic
    }

    /// Answers the opening of a producer that comes next.
    pub(crate) async fn open_producer(&mut self, epoch: u64, last: Option<u64>) -> Opening {
        let frame = self.next().await;
        let Request::OpenProducer(open) = frame.request() else {
            panic!("not an OPEN_PRODUCER: {:?}", frame.request());
        };
        let given = || "given-name".parse().unwrap();
        let name = open.name.clone().unwrap_or_else(given);
        let last = last.map(|sequence| hulse_wire::LastStored {
            sequence,
            term: Term(1),
            offset: Offset(0),
        });
        let opened = Reply::ProducerOpened(ProducerOpened {
            name,
            epoch,
            last,
            access_epoch: 0,
            waits: false,
        });
        self.reply(frame.stream, frame.correlation, &opened).await;
        Opening {
            stream: frame.stream,
            partition: open.partition,
            name: open.name.map(|name| name.to_string()),
            epoch: open.epoch,
        }
    }

    /// The batch that comes next.
    pub(crate) async fn batch(&mut self) -> Batch {
        let frame = self.next().await;
        let Request::Produce(produce) = frame.request() else {
            panic!("not a PRODUCE: {:?}", frame.request());
        };
        Batch {
            stream: frame.stream,
            correlation: frame.correlation,
            sequence: produce.sequence,
            messages: produce.messages,
            skipped: produce.skipped,
            payload: produce.payload.to_vec(),
        }
    }

    pub(crate) async fn receipts(&mut self, stream: u32, receipts: &[Receipt]) {
        self.reply(
            stream,
            0,
            &Reply::Receipts(Receipts {
                receipts: receipts.into(),
            }),
        )
        .await;
    }

    /// Refuses a batch.
    pub(crate) async fn refuse_batch(&mut self, batch: &Batch, mut error: ErrorReply<'_>) {
        error.sequence = batch.sequence;
        error.messages = batch.messages;
        self.reply(batch.stream, batch.correlation, &Reply::Error(error))
            .await;
    }

    /// Answers the subscription that comes next. Gives its stream and its first permits.
    pub(crate) async fn subscribe(&mut self, mark: u64, high_watermark: u64) -> (u32, u32) {
        let frame = self.next().await;
        let Request::Subscribe(subscribe) = frame.request() else {
            panic!("not a SUBSCRIBE: {:?}", frame.request());
        };
        let subscribed = Subscribed {
            mark: Position::at(Offset(mark)),
            log_start: Offset(0),
            high_watermark: Offset(high_watermark),
            created: false,
        };
        self.reply(
            frame.stream,
            frame.correlation,
            &Reply::Subscribed(subscribed),
        )
        .await;
        (frame.stream, subscribe.permits)
    }

    /// Delivers an entry.
    pub(crate) async fn deliver(&mut self, stream: u32, entry: &[u8]) {
        self.deliver_without(stream, entry, &[]).await;
    }

    /// Delivers an entry of which some messages are acknowledged.
    pub(crate) async fn deliver_without(&mut self, stream: u32, entry: &[u8], acked: &[AckRange]) {
        self.deliver_again(stream, entry, acked, 0).await;
    }

    /// Delivers an entry that was delivered so often before.
    pub(crate) async fn deliver_again(
        &mut self,
        stream: u32,
        entry: &[u8],
        acked: &[AckRange],
        redelivery_count: u32,
    ) {
        let deliver = Deliver {
            redelivery_count,
            acked: acked.into(),
            entry,
        };
        self.reply(stream, 0, &Reply::Deliver(deliver)).await;
    }
}

/// The opening of a producer as the client asked for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) stream: u32,
    pub(crate) partition: i32,
    pub(crate) name: Option<String>,
    pub(crate) epoch: Option<u64>,
}

/// An entry with these messages.
pub(crate) fn entry(term: u64, offset: u64, values: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for value in values {
        Message {
            key: None,
            value: value.as_bytes(),
        }
        .encode(&mut payload)
        .unwrap();
    }
    raw_entry(term, offset, u32::try_from(values.len()).unwrap(), &payload)
}

/// An entry with this payload.
pub(crate) fn raw_entry(term: u64, offset: u64, messages: u32, payload: &[u8]) -> Vec<u8> {
    let draft = EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: 1_800_000_000_000,
        producer: ProducerId(1),
        sequence: 100 * offset,
        messages,
        payload,
        payload_crc: None,
    };
    let mut bytes = Vec::new();
    encode_entry(&draft, Term(term), Offset(offset), &mut bytes);
    bytes
}
