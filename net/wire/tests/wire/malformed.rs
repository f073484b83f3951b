//! Frames that are none: each is refused with the error that says what is wrong with it, as early
//! as can be, and never by a panic.

use hulse_model::Status;
use hulse_model::limits::{FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX};
use hulse_wire::{
    FRAME_HEADER_BYTES, FrameError, HELLO_FRAME_BYTES_MAX, Kind, MAGIC, Reply, Request,
    check_opening, decode_frame, decode_hello, needed,
};

use crate::samples;

/// A header with right checksum over whatever it states.
fn header(length: u32, kind: u16, flags: u16, control_bytes: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&control_bytes.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    bytes
}

fn refused(bytes: &[u8]) -> FrameError {
    let error = decode_frame(bytes).expect_err("no frame");
    assert!(error.is_fatal(), "{error}");
    assert_eq!(
        needed(bytes),
        FRAME_HEADER_BYTES,
        "nothing is awaited behind a wrong header"
    );
    error
}

#[test]
fn a_truncated_frame_needs_more_bytes() {
    for (kind, frame) in samples::frames() {
        for length in 0..frame.len() {
            assert_eq!(
                decode_frame(&frame[..length]),
                Ok(None),
                "{kind} cut at {length}"
            );
            let wanted = if length < FRAME_HEADER_BYTES {
                FRAME_HEADER_BYTES
            } else {
                frame.len()
            };
            assert_eq!(needed(&frame[..length]), wanted, "{kind} cut at {length}");
        }
        assert!(decode_frame(&frame).unwrap().is_some());
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for (kind, mut frame) in samples::frames() {
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            let found = decode_frame(&frame);
            assert!(
                found.is_err(),
                "{kind}: bit {bit} of {} was not found",
                frame.len() * 8
            );
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(decode_frame(&frame).is_ok());
    }
}

#[test]
fn lengths_out_of_bounds_are_told_apart_before_anything_is_awaited() {
    let header_bytes = u32::try_from(FRAME_HEADER_BYTES).unwrap();
    let frame_max = u32::try_from(FRAME_BYTES_MAX).unwrap();
    let control_max = u32::try_from(FRAME_CONTROL_BYTES_MAX).unwrap();
    let produce = Kind::Produce.code();
    assert_eq!(
        refused(&header(0, produce, 0, 0, b"")),
        FrameError::ZeroLength
    );
    for bytes in 1..header_bytes {
        assert_eq!(
            refused(&header(bytes, produce, 0, 0, b"")),
            FrameError::TooShort { bytes }
        );
    }
    for bytes in [frame_max + 1, u32::MAX] {
        let limit = FRAME_BYTES_MAX;
        assert_eq!(
            refused(&header(bytes, produce, 0, 0, b"")),
            FrameError::Oversized { bytes, limit }
        );
    }
    for bytes in [control_max + 1, u32::MAX] {
        assert_eq!(
            refused(&header(frame_max, produce, 0, bytes, b"")),
            FrameError::ControlTooLarge { bytes }
        );
    }
    assert_eq!(
        refused(&header(header_bytes + 7, produce, 0, 8, b"")),
        FrameError::ControlBeyondBody { bytes: 8, body: 7 }
    );
    let whole = header(frame_max, produce, 0, control_max, b"");
    assert_eq!(
        decode_frame(&whole),
        Ok(None),
        "the longest frame is awaited"
    );
    assert_eq!(needed(&whole), FRAME_BYTES_MAX);
}

#[test]
fn zeros_are_no_frame() {
    assert_eq!(decode_frame(&[0; 200]), Err(FrameError::ZeroLength));
    assert_eq!(decode_frame(&[]), Ok(None));
}

#[test]
fn unknown_flags_and_kinds_are_told_apart() {
    let ping = Kind::Ping.code();
    assert_eq!(refused(&header(32, ping, 1, 0, b"")), FrameError::Flags(1));
    assert_eq!(
        refused(&header(32, ping, 0x8000, 0, b"")),
        FrameError::Flags(0x8000)
    );
    for code in (0..=u16::MAX).filter(|code| Kind::from_code(*code).is_none()) {
        assert_eq!(
            refused(&header(32, code, 0, 0, b"")),
            FrameError::UnknownKind { code }
        );
    }
}

#[test]
fn checksums_are_told_apart() {
    let mut frame = header(35, Kind::AdminDone.code(), 0, 0, b"{}!");
    frame.extend_from_slice(b"{}!");
    assert!(decode_frame(&frame).unwrap().is_some());
    frame[34] = b'?';
    assert!(matches!(
        decode_frame(&frame),
        Err(FrameError::BodyChecksum { .. })
    ));
    frame[8] = 1;
    assert!(matches!(
        decode_frame(&frame),
        Err(FrameError::HeaderChecksum { .. })
    ));
}

#[test]
fn parts_that_a_kind_has_not_are_refused_by_the_header_alone() {
    let kind = Kind::Ping;
    assert_eq!(
        refused(&header(32 + 60_000, kind.code(), 0, 60_000, b"")),
        FrameError::UnexpectedControl {
            kind,
            bytes: 60_000
        }
    );
    let kind = Kind::Subscribe;
    assert_eq!(
        refused(&header(32 + 5_000_000, kind.code(), 0, 40, b"")),
        FrameError::UnexpectedPayload {
            kind,
            bytes: 4_999_960
        }
    );
}

#[test]
fn a_kind_from_the_wrong_side_is_a_violation() {
    for (kind, frame) in samples::frames() {
        let (frame, _) = decode_frame(&frame).unwrap().unwrap();
        let wrong = match Request::decode(&frame) {
            Ok(_) => Reply::decode(&frame).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(wrong, FrameError::Unexpected { kind });
        assert_eq!(wrong.status(), Status::ProtocolViolation);
        assert!(wrong.is_fatal());
    }
}

#[test]
fn a_stream_or_a_correlation_id_that_cannot_be_is_a_violation() {
    for (stream, correlation, request) in samples::requests() {
        let mut bytes = Vec::new();
        request.encode(&mut bytes, stream, correlation).unwrap();
        for (stream, correlation) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (mut frame, _) = decode_frame(&bytes).unwrap().unwrap();
            (frame.stream, frame.correlation) = (stream, correlation);
            let kind = request.kind();
            let read = Request::decode(&frame);
            if kind.may_carry(stream, correlation) {
                assert!(read.is_ok(), "{kind} {stream} {correlation}: {read:?}");
            } else {
                assert_eq!(
                    read,
                    Err(FrameError::Address {
                        kind,
                        stream,
                        correlation
                    })
                );
            }
        }
    }
}

#[test]
fn the_first_frame_is_a_short_hello() {
    let mut bytes = Vec::new();
    let (_, _, hello) = samples::requests().swap_remove(0);
    hello.encode(&mut bytes, 0, 0).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(decode_hello(&bytes[..length]), Ok(None));
    }
    let (frame, length) = decode_hello(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    assert_eq!(Request::decode(&frame), Ok(hello));

    let produce = header(5_000_000, Kind::Produce.code(), 0, 40, b"");
    assert_eq!(
        decode_hello(&produce),
        Err(FrameError::Unexpected {
            kind: Kind::Produce
        })
    );
    let long = header(4_097, Kind::Hello.code(), 0, 4_065, b"");
    let limit = HELLO_FRAME_BYTES_MAX;
    assert_eq!(
        decode_hello(&long),
        Err(FrameError::Oversized {
            bytes: 4_097,
            limit
        })
    );
    assert_eq!(
        decode_frame(&long),
        Ok(None),
        "later on its length would be no matter"
    );
}

#[test]
fn a_connection_opens_with_four_bytes() {
    for length in 0..MAGIC.len() {
        assert_eq!(check_opening(&MAGIC[..length]), Ok(false));
    }
    assert_eq!(check_opening(&MAGIC), Ok(true));
    assert_eq!(check_opening(b"HULS and more"), Ok(true));
    for (other, found) in [
        (&b"GET / HTTP/1.1\r\n"[..], *b"GET "),
        (b"\x16\x03\x01\x02\x00", [0x16, 3, 1, 2]),
        (b"HUT", *b"HUT\0"),
        (b"\0", [0; 4]),
    ] {
        let error = check_opening(other).unwrap_err();
        assert_eq!(error, FrameError::Opening { found });
        assert_eq!(error.status(), Status::MalformedFrame);
    }
}
