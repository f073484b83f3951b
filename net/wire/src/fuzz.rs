//! The entry for fuzzers.

use alloc::vec::Vec;

use hulse_model::limits::FRAME_CONTROL_BYTES_MAX;

use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, decode_frame, needed};
use crate::kind::Kind;
use crate::reply::Reply;
use crate::request::Request;

/// Entry for fuzzers: feeds `bytes` to everything that reads what a peer sent.
///
/// The bytes are read twice: as a stream of frames, and, since random bytes hardly ever carry a
/// right checksum, as one frame whose kind, stream, split and body they choose and whose header is
/// made to fit.
///
/// # Panics
/// When a request or a reply that was read is not the same after it has been written and read
/// again, or when anything else that must never be false is.
pub fn fuzz_frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((frame, length))) = decode_frame(rest) {
        assert!(length >= FRAME_HEADER_BYTES && length == needed(rest));
        read_and_write(&frame);
        rest = &rest[length..];
    }
    if let Some(framed) = frame_around(bytes) {
        let (frame, length) = decode_frame(&framed)
            .expect("the header was made to fit")
            .expect("the frame is complete");
        assert_eq!(length, framed.len());
        read_and_write(&frame);
    }
}

/// A frame with a right header whose kind, stream, correlation id and split the first four bytes
/// choose, and whose body are the others.
fn frame_around(bytes: &[u8]) -> Option<Vec<u8>> {
    let ([kind, address, split_low, split_high], body) = bytes.split_first_chunk::<4>()?;
    if body.len() > FRAME_CONTROL_BYTES_MAX {
        return None;
    }
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let split = usize::from(u16::from_le_bytes([*split_low, *split_high]));
    let control_bytes = match (kind.table().is_some(), kind.has_payload()) {
        (true, true) => split.min(body.len()),
        (true, false) => body.len(),
        (false, _) => 0,
    };
    let body = if kind.has_payload() {
        body
    } else {
        &body[..control_bytes]
    };
    let header = FrameHeader {
        length: u32::try_from(FRAME_HEADER_BYTES + body.len()).ok()?,
        kind,
        stream: u32::from(address & 1),
        control_bytes: u32::try_from(control_bytes).ok()?,
        correlation: u64::from(address >> 1 & 1),
        body_crc: crc32fast::hash(body),
    };
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    header.encode(&mut out);
    out.extend_from_slice(body);
    Some(out)
}

fn read_and_write(frame: &Frame<'_>) {
    let mut out = Vec::new();
    if let Ok(request) = Request::decode(frame) {
        request
            .encode(&mut out, frame.stream, frame.correlation)
            .expect("what could be read can be written");
        let (again, length) = decode_frame(&out).expect("sound").expect("complete");
        assert_eq!(length, out.len());
        assert_eq!(Request::decode(&again).as_ref(), Ok(&request));
    }
    out.clear();
    if let Ok(reply) = Reply::decode(frame) {
        // A broker's message may be longer than the ones this program writes, which are cut.
        let cut = matches!(&reply, Reply::Error(error)
            if error.message.len() > crate::refusal::ERROR_MESSAGE_BYTES_MAX);
        reply
            .encode(&mut out, frame.stream, frame.correlation)
            .expect("what could be read can be written");
        let (again, length) = decode_frame(&out).expect("sound").expect("complete");
        assert_eq!(length, out.len());
        let again = Reply::decode(&again).expect("what was written can be read");
        assert!(cut || again == reply, "{again:?} is not {reply:?}");
    }
}
