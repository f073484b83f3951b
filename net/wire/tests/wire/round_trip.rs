//! What is written reads back, whatever stands around it and wherever it lies.

use std::collections::BTreeSet;

use hulse_model::limits::{
    ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX, FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX,
    TOPIC_PARTITIONS_MAX,
};
use hulse_model::{Offset, PartitionId, Status, Term};
use hulse_wire::{
    ACK_RANGES_MAX, Ack, AckKind, AckRange, AckRanges, Deliver, Direction, ERROR_MESSAGE_BYTES_MAX,
    EncodeError, ErrorReply, FRAME_HEADER_BYTES, Frame, FrameEncoder, Kind, Located,
    PartitionPlace, Produce, RECEIPTS_MAX, REDELIVER_ENTRIES_MAX, Receipt, Receipts, Redeliver,
    Reply, Request, Seek, SeekTo, StatusCode, Violation, decode_frame, needed,
};
use proptest::prelude::*;

use crate::samples;
use crate::strategies;

fn cut(bytes: &[u8]) -> (Frame<'_>, usize) {
    decode_frame(bytes).expect("sound").expect("complete")
}

proptest! {
    #[test]
    fn requests_read_back_at_any_address_and_with_anything_behind_them(
        (stream, correlation, request) in strategies::request(),
        before in 0usize..9,
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![0xee; before];
        request.encode(&mut bytes, stream, correlation).unwrap();
        let end = bytes.len();
        bytes.extend_from_slice(&behind);
        let (frame, length) = cut(&bytes[before..]);
        prop_assert_eq!(length, end - before);
        prop_assert_eq!(needed(&bytes[before..]), length);
        prop_assert_eq!((frame.stream, frame.correlation), (stream, correlation));
        prop_assert_eq!(Request::decode(&frame).unwrap(), request);
        prop_assert!(Reply::decode(&frame).is_err(), "a request is no reply");
    }

    #[test]
    fn replies_read_back_at_any_address_and_with_anything_behind_them(
        (stream, correlation, reply) in strategies::reply(),
        before in 0usize..9,
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![0xee; before];
        reply.encode(&mut bytes, stream, correlation).unwrap();
        let end = bytes.len();
        bytes.extend_from_slice(&behind);
        let (frame, length) = cut(&bytes[before..]);
        prop_assert_eq!(length, end - before);
        prop_assert_eq!((frame.stream, frame.correlation), (stream, correlation));
        prop_assert_eq!(Reply::decode(&frame).unwrap(), reply);
        prop_assert!(Request::decode(&frame).is_err(), "a reply is no request");
    }

    #[test]
    fn one_encoder_writes_many_frames_as_many_encoders_do(
        requests in prop::collection::vec(strategies::request(), 0..12),
        replies in prop::collection::vec(strategies::reply(), 0..12),
    ) {
        let mut encoder = FrameEncoder::new();
        let (mut stream, mut single) = (Vec::new(), Vec::new());
        for (number, correlation, request) in &requests {
            encoder.request(&mut stream, *number, *correlation, request).unwrap();
            request.encode(&mut single, *number, *correlation).unwrap();
        }
        for (number, correlation, reply) in &replies {
            encoder.reply(&mut stream, *number, *correlation, reply).unwrap();
            reply.encode(&mut single, *number, *correlation).unwrap();
        }
        prop_assert_eq!(&stream, &single);
        let mut rest = &stream[..];
        for (_, _, request) in &requests {
            let (frame, length) = cut(rest);
            prop_assert_eq!(&Request::decode(&frame).unwrap(), request);
            rest = &rest[length..];
        }
        for (_, _, reply) in &replies {
            let (frame, length) = cut(rest);
            prop_assert_eq!(&Reply::decode(&frame).unwrap(), reply);
            rest = &rest[length..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_head_and_its_payload_are_the_frame(
        (stream, correlation, request) in strategies::request(),
        (reply_stream, reply_correlation, reply) in strategies::reply(),
    ) {
        let mut encoder = FrameEncoder::new();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        request.encode(&mut whole, stream, correlation).unwrap();
        encoder.request_head(&mut parts, stream, correlation, &request).unwrap();
        parts.extend_from_slice(request.payload());
        prop_assert_eq!(&parts, &whole);

        reply.encode(&mut whole, reply_stream, reply_correlation).unwrap();
        encoder.reply_head(&mut parts, reply_stream, reply_correlation, &reply).unwrap();
        parts.extend_from_slice(reply.payload());
        prop_assert_eq!(&parts, &whole);
    }
}

#[test]
fn samples_and_strategies_leave_no_kind_out() {
    let sampled: BTreeSet<Kind> = samples::frames()
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    let sent: BTreeSet<Kind> = Kind::ALL
        .iter()
        .copied()
        .filter(|kind| kind.direction() != Direction::Reserved)
        .collect();
    assert_eq!(sampled, sent);
}

#[test]
fn a_delivery_is_headed_without_its_entry() {
    let entry = vec![7; 100_000];
    let deliver = Deliver {
        redelivery_count: 2,
        acked: AckRanges::EMPTY,
        entry: &entry,
    };
    let (mut head, mut whole) = (Vec::new(), Vec::new());
    FrameEncoder::new()
        .deliver_head(&mut head, 5, &deliver, None)
        .unwrap();
    assert!(
        head.len() < 100,
        "{} bytes in front of an entry",
        head.len()
    );
    Reply::Deliver(deliver).encode(&mut whole, 5, 0).unwrap();
    assert_eq!([&head[..], &entry].concat(), whole);
}

#[test]
fn the_largest_of_everything_fits() {
    let mut out = Vec::new();
    let payload = vec![1; ENTRY_PAYLOAD_BYTES_MAX];
    let produce = Produce {
        sequence: 0,
        messages: ENTRY_MESSAGES_MAX,
        skipped: false,
        delayed: false,
        payload: &payload,
    };
    Request::Produce(produce).encode(&mut out, 1, 1).unwrap();
    assert_eq!(Request::decode(&cut(&out).0), Ok(Request::Produce(produce)));

    let ranges: Vec<_> = (0..ACK_RANGES_MAX as u64)
        .map(|n| AckRange::entry(Offset(n)))
        .collect();
    let entry = vec![1; ENTRY_PAYLOAD_BYTES_MAX + hulse_model::entry::ENTRY_HEADER_BYTES];
    let deliver = Deliver {
        redelivery_count: 0,
        acked: ranges.as_slice().into(),
        entry: &entry,
    };
    out.clear();
    Reply::Deliver(deliver).encode(&mut out, 1, 0).unwrap();
    assert_eq!(Reply::decode(&cut(&out).0), Ok(Reply::Deliver(deliver)));

    let receipt = Receipt {
        sequence: 1,
        messages: 1,
        id: Some((Term(1), Offset(1))),
        duplicate: false,
    };
    let receipts = vec![receipt; RECEIPTS_MAX];
    let receipts = Reply::Receipts(Receipts {
        receipts: receipts.as_slice().into(),
    });
    out.clear();
    receipts.encode(&mut out, 1, 0).unwrap();
    assert_eq!(Reply::decode(&cut(&out).0), Ok(receipts));
}

#[test]
fn the_largest_topic_can_be_located_on_a_large_machine() {
    let addresses: Vec<String> = (0..64)
        .map(|core| format!("broker-with-a-long-name.example:{}", 6650 + core))
        .collect();
    let places = (0..TOPIC_PARTITIONS_MAX)
        .map(|number| PartitionPlace {
            partition: i32::try_from(number).unwrap(),
            id: PartitionId(u128::from(number) << 90),
            address: &addresses[number as usize % addresses.len()],
        })
        .collect();
    let located = Reply::Located(Located {
        topic: "orders".parse().unwrap(),
        places,
    });
    let mut out = Vec::new();
    located.encode(&mut out, 0, 1).unwrap();
    assert_eq!(Reply::decode(&cut(&out).0), Ok(located));
}

#[test]
fn what_is_over_a_limit_is_not_written() {
    let mut out = b"kept".to_vec();
    let payload = vec![1; ENTRY_PAYLOAD_BYTES_MAX + 1];
    let produce = |sequence, messages, payload| {
        Request::Produce(Produce {
            sequence,
            messages,
            skipped: false,
            delayed: false,
            payload,
        })
    };
    for (request, status) in [
        (produce(0, 1, &payload), Status::MessageTooLarge),
        (
            produce(0, ENTRY_MESSAGES_MAX + 1, b""),
            Status::MessageTooLarge,
        ),
        (produce(0, 0, b""), Status::InvalidArgument),
        (produce(u64::MAX, 1, b""), Status::InvalidArgument),
    ] {
        assert_eq!(request.encode(&mut out, 1, 1).unwrap_err().status(), status);
    }
    let ranges = vec![AckRange::entry(Offset(1)); ACK_RANGES_MAX + 1];
    let ack = |kind, ranges: &'static [AckRange]| {
        Request::Ack(Ack {
            kind,
            ranges: ranges.into(),
        })
    };
    let ranges = &*ranges.leak();
    for request in [
        ack(AckKind::Individual, ranges),
        ack(AckKind::Cumulative, &ranges[..2]),
        ack(AckKind::Individual, &[]),
    ] {
        let error = request.encode(&mut out, 1, 1).unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument);
    }
    let entries = vec![Offset(1); REDELIVER_ENTRIES_MAX + 1];
    let redeliver = Request::Redeliver(Redeliver {
        entries: entries[..].into(),
    });
    let error = redeliver.encode(&mut out, 1, 0).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
    let entry = vec![0; FRAME_BYTES_MAX];
    let deliver = Deliver {
        redelivery_count: 0,
        acked: AckRanges::EMPTY,
        entry: &entry,
    };
    let error = FrameEncoder::new()
        .deliver_head(&mut out, 1, &deliver, None)
        .unwrap_err();
    assert!(matches!(error, EncodeError::Oversized { .. }), "{error}");
    let error = Request::Ping.encode(&mut out, 1, 1).unwrap_err();
    assert_eq!(
        error,
        EncodeError::Address {
            kind: Kind::Ping,
            stream: 1,
            correlation: 1
        }
    );
    let seek = Request::Seek(Seek {
        to: SeekTo::Latest,
        subscription: None,
    });
    let error = seek.encode(&mut out, 0, 1).unwrap_err();
    let violation = Violation::Missing {
        field: "subscription",
    };
    assert_eq!(
        error,
        EncodeError::Field {
            kind: Kind::Seek,
            violation
        }
    );
    assert_eq!(
        out, b"kept",
        "a frame that cannot be written leaves nothing behind"
    );
}

#[test]
fn places_that_do_not_fit_into_one_frame_are_an_error() {
    let places = (0..TOPIC_PARTITIONS_MAX)
        .map(|number| PartitionPlace {
            partition: i32::try_from(number).unwrap(),
            id: PartitionId(1),
            address: format!("{number}.{}:1", "x".repeat(200)).leak(),
        })
        .collect();
    let located = Reply::Located(Located {
        topic: "orders".parse().unwrap(),
        places,
    });
    let error = located.encode(&mut Vec::new(), 0, 1).unwrap_err();
    assert!(
        matches!(error, EncodeError::ControlTooLarge { bytes } if bytes > FRAME_CONTROL_BYTES_MAX)
    );
}

#[test]
fn a_long_message_of_an_error_is_cut_between_characters() {
    let message = "ä".repeat(ERROR_MESSAGE_BYTES_MAX);
    let mut out = Vec::new();
    Reply::Error(ErrorReply::new(Status::Internal, &message))
        .encode(&mut out, 0, 0)
        .unwrap();
    let (frame, _) = cut(&out);
    let Ok(Reply::Error(error)) = Reply::decode(&frame) else {
        panic!("an ERROR")
    };
    assert_eq!(error.message, "ä".repeat(ERROR_MESSAGE_BYTES_MAX / 2));
}

#[test]
fn a_status_of_a_newer_broker_is_kept() {
    let error = ErrorReply {
        status: StatusCode(60_000),
        ..ErrorReply::new(Status::Internal, "?")
    };
    let mut out = Vec::new();
    Reply::Error(error).encode(&mut out, 1, 1).unwrap();
    assert_eq!(Reply::decode(&cut(&out).0), Ok(Reply::Error(error)));
    assert_eq!(error.status.known(), None);
    assert!(!error.status.retryable());
    assert_eq!(error.status.to_string(), "STATUS_60000");
    assert_eq!(StatusCode::from(Status::DiskFull), Status::DiskFull);
}

#[test]
fn a_frame_without_control_and_payload_is_its_header() {
    let mut out = Vec::new();
    Request::Ping.encode(&mut out, 0, 7).unwrap();
    assert_eq!(out.len(), FRAME_HEADER_BYTES);
}
