//! One request or reply of every kind, with every field set to something that is not its default.

use hulse_model::{Offset, PartitionId, Permission, Policy, PolicyChange, Position, Status, Term};
use hulse_wire::{
    Access, Ack, AckKind, AckLevel, AckRange, Active, Admin, AdminDone, Beacons, CreateTopic,
    Deliver, ErrorReply, FrameEncoder, Hello, Kind, Last, LastMessage, LastStored, Located, Lookup,
    Moving, OpenProducer, PartitionPlace, Permissions, Permits, Produce, ProducerOpened, Receipt,
    Receipts, Redeliver, Reply, Request, Seek, SeekTo, StartFrom, Subscribe, Subscribed,
    SubscriptionRef, SubscriptionType, Tenancy, Welcome,
};

const RANGES: &[AckRange] = &[
    AckRange {
        offset: Offset(0x0102_0304_0506_0708),
        first_index: 0,
        last_index: AckRange::LAST,
    },
    AckRange {
        offset: Offset(9),
        first_index: 3,
        last_index: 4,
    },
];

const CHANGES: &[PolicyChange] = &[
    PolicyChange {
        policy: Policy::TtlMs,
        value: Some(0x0102_0304_0506),
    },
    PolicyChange {
        policy: Policy::RateMessages,
        value: None,
    },
];

const ENTRIES: &[Offset] = &[Offset(0x0102_0304_0506_0708), Offset(9)];

const RECEIPTS: &[Receipt] = &[
    Receipt {
        sequence: 41,
        messages: 3,
        id: Some((Term(2), Offset(7))),
        duplicate: false,
    },
    Receipt {
        sequence: 44,
        messages: 1,
        id: None,
        duplicate: true,
    },
];

fn parsed<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a legal name")
}

/// A frame: its stream, its correlation id, and what it says.
pub(crate) type Sample<T> = (u32, u64, T);

/// One request of every kind.
pub(crate) fn requests() -> Vec<Sample<Request<'static>>> {
    let topic = || parsed("persistent://acme/web/orders");
    let named = SubscriptionRef {
        topic: topic(),
        partition: 2,
        subscription: parsed("billing"),
    };
    vec![
        (
            0,
            1,
            Request::Hello(Hello {
                version_min: 1,
                version_max: 2,
                client: "hulse 0.1.0",
                beacon_timeout_ms: 5_000,
            }),
        ),
        (0, 2, Request::Ping),
        (
            0,
            3,
            Request::Lookup(Lookup {
                topic: topic(),
                create_missing: true,
            }),
        ),
        (
            4,
            5,
            Request::OpenProducer(OpenProducer {
                topic: topic(),
                partition: -1,
                name: Some(parsed("till 7")),
                epoch: Some(3),
                access: Access::Fencing,
                access_epoch: Some(12),
            }),
        ),
        (
            4,
            6,
            Request::Produce(Produce {
                sequence: 41,
                messages: 3,
                skipped: true,
                delayed: true,
                payload: b"the due time and three messages",
            }),
        ),
        (4, 7, Request::Close),
        (
            5,
            8,
            Request::Subscribe(Subscribe {
                topic: topic(),
                partition: 2,
                subscription: parsed("billing"),
                kind: SubscriptionType::KeyShared,
                start: StartFrom::Position(Position {
                    offset: Offset(77),
                    index: 5,
                }),
                consumer: "worker 1",
                permits: 1_000,
                priority: 3,
                member: 0xfeed,
                durable: false,
            }),
        ),
        (5, 0, Request::Permits(Permits { messages: 500 })),
        (
            5,
            9,
            Request::Ack(Ack {
                kind: AckKind::Individual,
                ranges: RANGES.into(),
            }),
        ),
        (
            0,
            10,
            Request::Seek(Seek {
                to: SeekTo::Position(Position {
                    offset: Offset(7),
                    index: 1,
                }),
                subscription: Some(named),
            }),
        ),
        (
            5,
            0,
            Request::Redeliver(Redeliver {
                entries: ENTRIES.into(),
            }),
        ),
        (5, 12, Request::GetLast),
        (
            0,
            11,
            Request::Admin(Admin::CreateTopic(CreateTopic {
                topic: topic(),
                partitions: 4,
                replicas: 3,
                regions: vec!["north", "south"],
                ack: AckLevel::Memory,
                min_isr: 2,
            })),
        ),
        (
            0,
            12,
            Request::Admin(Admin::Tenancy(Tenancy::SetPolicies {
                scope: parsed("acme/web"),
                changes: CHANGES.to_vec(),
            })),
        ),
        (
            0,
            13,
            Request::Admin(Admin::Tenancy(Tenancy::GrantPermissions(Permissions {
                namespace: parsed("acme/web"),
                role: parsed("app"),
                permissions: vec![Permission::Produce, Permission::Administer],
            }))),
        ),
    ]
}

/// One reply of every kind.
pub(crate) fn replies() -> Vec<Sample<Reply<'static>>> {
    let error = ErrorReply {
        retry_after_ms: 50,
        appended: true,
        first_offset: Offset(3),
        end_offset: Offset(5),
        address: "127.0.0.1:6651",
        ..ErrorReply::batch(Status::DiskFull, "the disk is full", 41, 3)
    };
    vec![
        (
            0,
            1,
            Reply::Welcome(Welcome {
                version: 1,
                broker: "b1",
                region: "north",
                beacons: Beacons {
                    interval_ms: 500,
                    timeout_ms: 5_000,
                },
                message_bytes_max: 5 << 20,
                frame_bytes_max: 6 << 20,
                inflight_max: 10_000,
            }),
        ),
        (4, 6, Reply::Error(error)),
        (0, 2, Reply::Pong),
        (0, 0, Reply::Probe),
        (0, 10, Reply::Done),
        (
            0,
            3,
            Reply::Located(Located {
                topic: parsed("orders"),
                places: vec![
                    PartitionPlace {
                        partition: 0,
                        id: PartitionId(0xab),
                        address: "127.0.0.1:6650",
                    },
                    PartitionPlace {
                        partition: 1,
                        id: PartitionId(0xcd),
                        address: "127.0.0.1:6651",
                    },
                ],
            }),
        ),
        (
            4,
            5,
            Reply::ProducerOpened(ProducerOpened {
                name: parsed("till 7"),
                epoch: 3,
                last: Some(LastStored {
                    sequence: 40,
                    term: Term(2),
                    offset: Offset(6),
                }),
                access_epoch: 12,
                waits: true,
            }),
        ),
        (
            4,
            0,
            Reply::Receipts(Receipts {
                receipts: RECEIPTS.into(),
            }),
        ),
        (4, 7, Reply::Closed),
        (
            5,
            8,
            Reply::Subscribed(Subscribed {
                mark: Position {
                    offset: Offset(5),
                    index: 2,
                },
                log_start: Offset(1),
                high_watermark: Offset(9),
                created: true,
            }),
        ),
        (
            5,
            0,
            Reply::Deliver(Deliver {
                redelivery_count: 1,
                acked: RANGES.into(),
                entry: b"an entry as stored",
            }),
        ),
        (5, 9, Reply::Acked),
        (5, 0, Reply::Active(Active { active: true })),
        (
            5,
            0,
            Reply::Moving(Moving {
                address: "127.0.0.1:6651",
            }),
        ),
        (
            5,
            12,
            Reply::Last(Last {
                last: Some(LastMessage {
                    term: Term(2),
                    offset: Offset(8),
                    index: 3,
                }),
                mark: Position {
                    offset: Offset(5),
                    index: 2,
                },
                high_watermark: Offset(9),
            }),
        ),
        (
            0,
            11,
            Reply::AdminDone(AdminDone {
                json: b"{\"topics\":[]}",
            }),
        ),
    ]
}

/// The samples as frames, with their kinds: requests first.
pub(crate) fn frames() -> Vec<(Kind, Vec<u8>)> {
    let mut encoder = FrameEncoder::new();
    let mut frames = Vec::new();
    for (stream, correlation, request) in requests() {
        let mut out = Vec::new();
        encoder
            .request(&mut out, stream, correlation, &request)
            .expect("a legal sample");
        frames.push((request.kind(), out));
    }
    for (stream, correlation, reply) in replies() {
        let mut out = Vec::new();
        encoder
            .reply(&mut out, stream, correlation, &reply)
            .expect("a legal sample");
        frames.push((reply.kind(), out));
    }
    frames
}
