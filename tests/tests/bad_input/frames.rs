//! Bytes that are no frames, frames that may not come, and tables that are none.

use hulse_model::Status;
use hulse_model::limits::{ENTRY_PAYLOAD_BYTES_MAX, FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX};
use hulse_tests::{RawFrame, Wire, hello, random};
use hulse_wire::{
    Access, Ack, AckKind, AckRange, AckRanges, Admin, EntryOffsets, HELLO_FRAME_BYTES_MAX, Kind,
    Lookup, OpenProducer, Permits, Produce, Redeliver, Request, Seek, SeekTo, StartFrom, Subscribe,
    SubscriptionType,
};
use rand::RngExt;

use crate::bed::{Bed, assert_broken_off};

fn greeting() -> RawFrame {
    RawFrame::of(&hello(1, 1), 0, 1)
}

fn ping() -> RawFrame {
    RawFrame::of(&Request::Ping, 0, 1)
}

/// Frames that are wrong whatever they say, with the reason.
fn malformed(frame: &RawFrame) -> Vec<(&'static str, Vec<u8>)> {
    let with = |change: fn(&mut RawFrame)| {
        let mut frame = frame.clone();
        change(&mut frame);
        frame.bytes()
    };
    let flipped = |at: usize| {
        let mut bytes = frame.bytes();
        bytes[at] ^= 1;
        bytes
    };
    let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    let large = move |frame: &RawFrame, length| {
        RawFrame {
            stated_length: Some(length),
            ..frame.clone()
        }
        .bytes()
    };
    let control = u32::try_from(FRAME_CONTROL_BYTES_MAX + 1).unwrap();
    vec![
        ("a length of 0", with(|frame| frame.stated_length = Some(0))),
        (
            "a length below the header's",
            with(|frame| frame.stated_length = Some(31)),
        ),
        ("a length over the limit", large(frame, too_long)),
        ("the largest length there is", large(frame, u32::MAX)),
        ("a wrong checksum of the header", flipped(25)),
        ("a flipped bit in the header", flipped(17)),
        ("flags that nobody knows", with(|frame| frame.flags = 1)),
        ("a kind that nobody knows", with(|frame| frame.kind = 999)),
        ("kind 0", with(|frame| frame.kind = 0)),
        (
            "a control part beyond the frame",
            with(|frame| frame.stated_control = Some(50_000)),
        ),
        (
            "a control part over the limit",
            RawFrame {
                control: vec![0; control as usize],
                ..frame.clone()
            }
            .bytes(),
        ),
    ]
}

#[test]
fn bytes_that_are_no_frame_are_told_from_one_that_is() {
    let mut bed = Bed::new();
    for (what, bytes) in malformed(&greeting()) {
        assert_broken_off(what, &mut bed.greeting(&bytes), Status::MalformedFrame);
    }
    for (what, bytes) in malformed(&ping()) {
        assert_broken_off(what, &mut bed.saying(&bytes), Status::MalformedFrame);
    }
    let list = RawFrame::of(&Request::Admin(Admin::ListTopics), 0, 1);
    for at in [28, 31, 33] {
        let mut bytes = list.bytes();
        bytes[at] ^= 0x10;
        assert_broken_off(
            "a wrong checksum of the body",
            &mut bed.saying(&bytes),
            Status::MalformedFrame,
        );
    }
    let parts = RawFrame {
        payload: vec![1],
        ..ping()
    };
    assert_broken_off(
        "a payload for PING",
        &mut bed.saying(&parts.bytes()),
        Status::MalformedFrame,
    );
    let parts = RawFrame {
        control: vec![1],
        ..ping()
    };
    assert_broken_off(
        "a table for PING",
        &mut bed.saying(&parts.bytes()),
        Status::MalformedFrame,
    );
    bed.assert_unharmed();
}

#[test]
fn what_does_not_open_as_it_should_is_answered_and_closed() {
    let mut bed = Bed::new();
    let random_bytes: [u8; 64] = random("what_does_not_open_as_it_should").random();
    let openings: [(&str, &[u8]); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        (
            "Pulsar",
            b"\x00\x00\x00\x30\x00\x00\x00\x2c\x08\x02\x12\x28",
        ),
        ("a wrong last letter", b"HULX"),
        ("zeros", &[0; 32]),
        ("anything", &[&[1], &random_bytes[..]].concat()),
    ];
    for (what, bytes) in openings {
        let mut wire = Wire::connect(bed.broker.address());
        wire.write(bytes).unwrap();
        assert_broken_off(what, &mut wire, Status::MalformedFrame);
    }
    // One that ends within the opening, or within its first frame, has no ear for an answer.
    let whole = greeting().bytes();
    for end in [0, 3, 4, 20, 36, 4 + whole.len() - 1] {
        let mut wire = Wire::connect(bed.broker.address());
        wire.write(&[b"HULS", &whole[..]].concat()[..end]).unwrap();
        wire.finish_writing();
        wire.assert_closed();
    }
    bed.assert_unharmed();
}

#[test]
fn the_handshake_comes_first_and_once() {
    let mut bed = Bed::new();
    assert_broken_off(
        "PING first",
        &mut bed.greeting(&ping().bytes()),
        Status::ProtocolViolation,
    );
    let list = RawFrame::of(&Request::Admin(Admin::ListTopics), 0, 1);
    assert_broken_off(
        "ADMIN first",
        &mut bed.greeting(&list.bytes()),
        Status::ProtocolViolation,
    );
    let version = RawFrame::of(&hello(2, 9), 0, 1);
    let mut wire = bed.greeting(&version.bytes());
    let told = wire.refusal();
    assert_eq!(told.status, Status::UnsupportedVersion);
    assert!(told.message.contains("versions 1 to 1"), "{}", told.message);
    wire.assert_closed();
    let long = RawFrame {
        control: vec![0; HELLO_FRAME_BYTES_MAX],
        ..greeting()
    };
    assert_broken_off(
        "a long HELLO",
        &mut bed.greeting(&long.bytes()),
        Status::MalformedFrame,
    );
    let empty = RawFrame {
        control: Vec::new(),
        ..greeting()
    };
    assert_broken_off(
        "an empty HELLO",
        &mut bed.greeting(&empty.bytes()),
        Status::MalformedFrame,
    );
    let addressed = RawFrame {
        stream: 4,
        ..greeting()
    };
    assert_broken_off(
        "HELLO on a stream",
        &mut bed.greeting(&addressed.bytes()),
        Status::ProtocolViolation,
    );
    assert_broken_off(
        "HELLO twice",
        &mut bed.saying(&greeting().bytes()),
        Status::ProtocolViolation,
    );
    bed.assert_unharmed();
}

#[test]
fn frames_that_may_not_come_are_refused() {
    let mut bed = Bed::new();
    // What only a broker says.
    for kind in [
        Kind::Welcome,
        Kind::Receipts,
        Kind::Deliver,
        Kind::AdminDone,
        Kind::Moving,
    ] {
        let frame = RawFrame {
            kind: kind.code(),
            stream: 1,
            ..ping()
        };
        let mut wire = bed.saying(&frame.bytes());
        assert_broken_off(kind.name(), &mut wire, Status::ProtocolViolation);
    }
    // Requests of streams that are not open leave the connection as it is.
    let mut wire = Wire::open(bed.broker.address());
    let told = wire.produce(9, 0, &[b"x"]).unwrap_err();
    assert_eq!(told.status, Status::ProtocolViolation, "{}", told.message);
    assert!(told.message.contains("stream 9"), "{}", told.message);
    wire.send(9, &Request::Close);
    assert_eq!(wire.refusal().status, Status::ProtocolViolation);
    wire.send(9, &Request::Permits(Permits { messages: 5 }));
    let list: hulse_wire::json::TopicList = wire.admin(Admin::ListTopics).unwrap();
    assert_eq!(list.topics.len(), 1);
    drop(wire);
    // The same stream twice, and a producer that asks for messages.
    let mut wire = Wire::open_owner(bed.broker.address(), "calm");
    wire.open_producer(1, "calm", "p", None).unwrap();
    let told = wire.open_producer(1, "calm", "q", None).unwrap_err();
    assert_eq!(told.status, Status::ProtocolViolation, "{}", told.message);
    wire.send(
        1,
        &Request::Seek(Seek {
            to: SeekTo::Earliest,
            subscription: None,
        }),
    );
    assert_eq!(wire.refusal().status, Status::ProtocolViolation);
    // A partition that the topic does not have.
    wire.send(
        2,
        &Request::OpenProducer(OpenProducer {
            partition: 5,
            ..open_producer()
        }),
    );
    assert_eq!(wire.refusal().status, Status::NotPrimary);
    drop(wire);
    bed.assert_unharmed();
}

fn open_producer() -> OpenProducer {
    OpenProducer {
        topic: "prey".parse().unwrap(),
        partition: -1,
        name: Some("somebody".parse().unwrap()),
        epoch: None,
        access: Access::Shared,
        access_epoch: None,
    }
}

#[test]
fn batches_over_a_limit_are_refused_and_the_next_one_is_taken() {
    let mut bed = Bed::new();
    let mut wire = Wire::open_owner(bed.broker.address(), "calm");
    wire.open_producer(1, "calm", "p", None).unwrap();
    let produce = |messages, payload: &[u8]| {
        let legal = Produce {
            sequence: 0,
            messages: 1,
            skipped: false,
            delayed: false,
            payload: &[],
        };
        let mut frame = RawFrame::of(&Request::Produce(Produce { messages, ..legal }), 1, 1_000);
        frame.payload = payload.to_vec();
        frame.bytes()
    };
    wire.write(&produce(1, &vec![7; ENTRY_PAYLOAD_BYTES_MAX + 1]))
        .unwrap();
    let told = wire.refusal();
    assert_eq!(told.status, Status::MessageTooLarge, "{}", told.message);
    assert!(!wire.produce(1, 0, &[b"the next one"]).unwrap().duplicate);
    let consumed = hulse_tests::Hulse::to(&bed.broker, "consume calm -s s --until-end").done();
    assert_eq!(consumed, b"the next one\n");
    drop(wire);
    bed.assert_unharmed();
}

/// One legal request of every kind that has a table.
fn requests() -> Vec<RawFrame> {
    // Not the bystander's: what is changed at random may well delete it.
    let topic = || "prey".parse().unwrap();
    let ranges = [AckRange::entry(hulse_model::Offset(0))];
    let payload = b"\x01\0\0\0\0\0\0\0x";
    let produce = Produce {
        sequence: 0,
        messages: 1,
        skipped: false,
        delayed: false,
        payload,
    };
    let subscribe = Subscribe {
        topic: topic(),
        partition: -1,
        subscription: "nobody".parse().unwrap(),
        kind: SubscriptionType::Exclusive,
        start: StartFrom::Earliest,
        consumer: "c",
        permits: 1,
        priority: 0,
        member: 0,
        durable: true,
    };
    let ack = Ack {
        kind: AckKind::Individual,
        ranges: AckRanges::from(&ranges[..]),
    };
    let entries = [hulse_model::Offset(0)];
    let redeliver = Redeliver {
        entries: EntryOffsets::from(&entries[..]),
    };
    [
        (
            0,
            Request::Lookup(Lookup {
                topic: topic(),
                create_missing: false,
            }),
        ),
        (1, Request::OpenProducer(open_producer())),
        (1, Request::Produce(produce)),
        (2, Request::Subscribe(subscribe)),
        (2, Request::Permits(Permits { messages: 1 })),
        (2, Request::Ack(ack)),
        (2, Request::Redeliver(redeliver)),
        (
            2,
            Request::Seek(Seek {
                to: SeekTo::Latest,
                subscription: None,
            }),
        ),
        (0, Request::Admin(Admin::DescribeTopic { topic: topic() })),
    ]
    .iter()
    .map(|(stream, request)| RawFrame::of(request, *stream, 77))
    .collect()
}

#[test]
fn hostile_tables_break_off_their_connection_alone() {
    let mut bed = Bed::new();
    let mut random = random("hostile_tables_break_off_their_connection_alone");
    for frame in requests() {
        let kind = Kind::from_code(frame.kind).unwrap().name();
        let bad: [(&str, Vec<u8>); 4] = [
            ("no table", Vec::new()),
            ("a root beyond the end", vec![0xff; 40]),
            (
                "half a table",
                frame.control[..frame.control.len() / 2].to_vec(),
            ),
            ("noise", (0..200).map(|_| random.random()).collect()),
        ];
        for (what, control) in bad {
            let hostile = RawFrame {
                control,
                ..frame.clone()
            };
            let mut wire = bed.saying(&hostile.bytes());
            assert_broken_off(
                &format!("{kind}: {what}"),
                &mut wire,
                Status::MalformedFrame,
            );
        }
    }
    bed.assert_unharmed();
}

#[test]
fn tables_with_anything_changed_in_them_do_no_harm() {
    let mut bed = Bed::new();
    let mut random = random("tables_with_anything_changed_in_them_do_no_harm");
    let requests = requests();
    drop(Wire::open_owner(bed.broker.address(), "prey"));
    for _ in 0..600 {
        let mut frame = requests[random.random_range(0..requests.len())].clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..frame.control.len());
            frame.control[at] = random.random();
        }
        // Behind it comes a question: the answer or the end of the connection shows that the frame
        // has been dealt with.
        let mut wire = bed.saying(&frame.bytes());
        let question = RawFrame::of(&Request::Admin(Admin::ListTopics), 0, 999).bytes();
        // The connection may be closed by now.
        let _ = wire.write(&question);
        while wire.reply(|reply| matches!(reply, hulse_wire::Reply::AdminDone(_))) == Some(false) {}
    }
    bed.assert_unharmed();
}
