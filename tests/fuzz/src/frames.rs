//! Seeds for the frame decoder: one frame of every kind that a client or a broker sends, each as it
//! travels and in the form in which [`hulse_wire::fuzz_frames`] puts a header around it, and a whole
//! conversation.

use hulse_model::batch::Message;
use hulse_model::limits::{BEACON_INTERVAL_MS, BEACON_TIMEOUT_MS};
use hulse_model::{Offset, PartitionId, Policy, PolicyChange, Position, Status, Term};
use hulse_wire::{
    Access, Ack, AckKind, AckLevel, AckRange, Active, Admin, AdminDone, Beacons, CreateTopic,
    Deliver, ErrorReply, FRAME_HEADER_BYTES, Hello, Kind, Last, LastMessage, LastStored, Located,
    Lookup, Moving, OpenProducer, PROTOCOL_VERSION, PartitionPlace, Permits, Produce,
    ProducerOpened, Receipt, Receipts, Redeliver, Reply, Request, Seek, SeekTo, StartFrom,
    Subscribe, Subscribed, SubscriptionRef, SubscriptionType, Tenancy, Welcome, decode_frame,
};

use crate::Seed;

/// The seeds.
///
/// # Panics
/// When a frame cannot be written or read again, which the protocol's own tests would show first.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let frames: Vec<(String, Vec<u8>)> = requests().into_iter().chain(replies()).collect();
    let conversation = frames.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut seeds = vec![Seed {
        name: "conversation".into(),
        bytes: conversation,
    }];
    for (name, bytes) in frames {
        seeds.push(Seed {
            name: format!("{name}-inside"),
            bytes: inside(&bytes),
        });
        seeds.push(Seed { name, bytes });
    }
    seeds
}

/// The bytes around which `fuzz_frames` builds this frame again.
fn inside(frame: &[u8]) -> Vec<u8> {
    let (decoded, _) = decode_frame(frame).expect("sound").expect("complete");
    let kind = Kind::ALL
        .iter()
        .position(|kind| *kind == decoded.kind)
        .expect("it is a kind");
    let address = u8::from(decoded.stream > 0) | u8::from(decoded.correlation > 0) << 1;
    let mut bytes = vec![u8::try_from(kind).expect("there are few kinds"), address];
    let split = u16::try_from(decoded.control.len()).expect("seeds are small");
    bytes.extend_from_slice(&split.to_le_bytes());
    bytes.extend_from_slice(&frame[FRAME_HEADER_BYTES..]);
    bytes
}

fn requests() -> Vec<(String, Vec<u8>)> {
    let payload = batch();
    let topic = || "public/default/orders".parse().expect("a legal name");
    let subscription = || "readers".parse().expect("a legal name");
    let ranges = [AckRange::entry(Offset(3)), AckRange::message(Offset(9), 2)];
    let entries = [Offset(3), Offset(9)];
    let place = SubscriptionRef {
        topic: topic(),
        partition: 1,
        subscription: subscription(),
    };
    let requests = [
        (
            0,
            1,
            Request::Hello(Hello {
                version_min: PROTOCOL_VERSION,
                version_max: PROTOCOL_VERSION,
                client: "seed 1",
                beacon_timeout_ms: BEACON_TIMEOUT_MS,
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
            1,
            4,
            Request::OpenProducer(OpenProducer {
                topic: topic(),
                partition: -1,
                name: Some("till".parse().expect("a legal name")),
                epoch: Some(2),
                access: Access::Fencing,
                access_epoch: Some(3),
            }),
        ),
        (
            1,
            5,
            Request::Produce(Produce {
                sequence: 7,
                messages: 2,
                skipped: false,
                delayed: false,
                payload: &payload,
            }),
        ),
        (1, 6, Request::Close),
        (1, 12, Request::GetLast),
        (
            1,
            7,
            Request::Subscribe(Subscribe {
                topic: topic(),
                partition: 0,
                subscription: subscription(),
                kind: SubscriptionType::Exclusive,
                start: StartFrom::Earliest,
                consumer: "reader 1",
                permits: 100,
                priority: 1,
                member: 7,
                durable: true,
            }),
        ),
        (1, 0, Request::Permits(Permits { messages: 50 })),
        (
            1,
            8,
            Request::Ack(Ack {
                kind: AckKind::Individual,
                ranges: ranges[..].into(),
            }),
        ),
        (
            1,
            0,
            Request::Ack(Ack {
                kind: AckKind::Cumulative,
                ranges: ranges[..1].into(),
            }),
        ),
        (
            1,
            0,
            Request::Redeliver(Redeliver {
                entries: entries[..].into(),
            }),
        ),
        (
            1,
            9,
            Request::Seek(Seek {
                to: SeekTo::Time(1_700_000_000_000),
                subscription: None,
            }),
        ),
        (
            0,
            10,
            Request::Seek(Seek {
                to: SeekTo::Position(Position::at(Offset(4))),
                subscription: Some(place),
            }),
        ),
        (
            0,
            11,
            Request::Admin(Admin::CreateTopic(CreateTopic {
                topic: topic(),
                partitions: 4,
                replicas: 1,
                regions: vec!["here", "there"],
                ack: AckLevel::Memory,
                min_isr: 1,
            })),
        ),
        (0, 12, Request::Admin(Admin::ListTopics)),
        (
            0,
            13,
            Request::Admin(Admin::Tenancy(Tenancy::SetPolicies {
                scope: "acme/web".parse().expect("a legal name"),
                changes: vec![PolicyChange {
                    policy: Policy::TtlMs,
                    value: Some(5_000),
                }],
            })),
        ),
    ];
    let encode = |(index, (stream, correlation, request)): (usize, (u32, u64, Request<'_>))| {
        let mut bytes = Vec::new();
        request
            .encode(&mut bytes, stream, correlation)
            .expect("the seed is legal");
        (
            format!(
                "request-{index:02}-{}",
                request.kind().name().to_lowercase()
            ),
            bytes,
        )
    };
    requests.into_iter().enumerate().map(encode).collect()
}

fn replies() -> Vec<(String, Vec<u8>)> {
    let payload = batch();
    let topic = || "public/default/orders".parse().expect("a legal name");
    let receipts = [
        Receipt {
            sequence: 7,
            messages: 2,
            id: Some((Term(1), Offset(9))),
            duplicate: false,
        },
        Receipt {
            sequence: 1,
            messages: 1,
            id: None,
            duplicate: true,
        },
    ];
    let ranges = [AckRange::message(Offset(9), 0)];
    let place = PartitionPlace {
        partition: -1,
        id: PartitionId(77),
        address: "127.0.0.1:6651",
    };
    let replies = [
        (
            0,
            1,
            Reply::Welcome(Welcome {
                version: PROTOCOL_VERSION,
                broker: "b",
                region: "here",
                beacons: Beacons {
                    interval_ms: BEACON_INTERVAL_MS,
                    timeout_ms: BEACON_TIMEOUT_MS,
                },
                message_bytes_max: 1 << 20,
                frame_bytes_max: 2 << 20,
                inflight_max: 1000,
            }),
        ),
        (0, 2, Reply::Pong),
        (0, 0, Reply::Probe),
        (
            0,
            3,
            Reply::Located(Located {
                topic: topic(),
                places: vec![place],
            }),
        ),
        (
            1,
            4,
            Reply::ProducerOpened(ProducerOpened {
                epoch: 2,
                name: "till".parse().expect("a legal name"),
                last: Some(LastStored {
                    sequence: 6,
                    term: Term(1),
                    offset: Offset(8),
                }),
                access_epoch: 3,
                waits: true,
            }),
        ),
        (
            1,
            0,
            Reply::Receipts(Receipts {
                receipts: receipts[..].into(),
            }),
        ),
        (1, 6, Reply::Closed),
        (
            1,
            7,
            Reply::Subscribed(Subscribed {
                mark: Position::at(Offset(2)),
                log_start: Offset(0),
                high_watermark: Offset(10),
                created: false,
            }),
        ),
        (
            1,
            0,
            Reply::Deliver(Deliver {
                redelivery_count: 1,
                acked: ranges[..].into(),
                entry: &payload,
            }),
        ),
        (1, 8, Reply::Acked),
        (1, 0, Reply::Active(Active { active: true })),
        (
            1,
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
        (0, 9, Reply::Done),
        (
            1,
            5,
            Reply::Error(ErrorReply::batch(Status::Internal, "No.", 7, 2)),
        ),
        (
            0,
            12,
            Reply::AdminDone(AdminDone {
                json: b"{\"topics\":[]}",
            }),
        ),
        (
            5,
            0,
            Reply::Moving(Moving {
                address: "127.0.0.1:6651",
            }),
        ),
    ];
    let encode = |(index, (stream, correlation, reply)): (usize, (u32, u64, Reply<'_>))| {
        let mut bytes = Vec::new();
        reply
            .encode(&mut bytes, stream, correlation)
            .expect("the seed is legal");
        (format!("reply-{index:02}"), bytes)
    };
    replies.into_iter().enumerate().map(encode).collect()
}

/// A payload of two messages.
fn batch() -> Vec<u8> {
    let mut payload = Vec::new();
    for message in [
        Message {
            key: Some(b"k"),
            value: b"first",
        },
        Message {
            key: None,
            value: b"",
        },
    ] {
        message.encode(&mut payload).expect("the seed is legal");
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_holds_and_every_kind_is_there() {
        let seeds = seeds();
        for seed in &seeds {
            hulse_wire::fuzz_frames(&seed.bytes);
        }
        let mut rest = &seeds[0].bytes[..];
        let mut kinds = Vec::new();
        while let Some((frame, length)) = decode_frame(rest).unwrap() {
            kinds.push(frame.kind);
            rest = &rest[length..];
        }
        let missing: Vec<_> = Kind::ALL
            .iter()
            .filter(|kind| !kinds.contains(kind))
            .collect();
        assert!(missing.is_empty(), "{missing:?} are never sent");
    }
}
