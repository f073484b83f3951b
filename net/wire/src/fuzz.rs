//! The entry for fuzzers.

use alloc::vec::Vec;

use hulse_model::limits::FRAME_CONTROL_BYTES_MAX;

use crate::error::EncodeError;
use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, decode_frame, needed};
use crate::kind::{Kind, StreamUse};
use crate::refusal::ERROR_MESSAGE_BYTES_MAX;
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

/// A frame with a right header whose kind, stream and split the first four bytes choose, and whose
/// body are the others.
fn frame_around(bytes: &[u8]) -> Option<Vec<u8>> {
    let ([kind, stream, split_low, split_high], body) = bytes.split_first_chunk::<4>()?;
    if body.len() > FRAME_CONTROL_BYTES_MAX {
        return None;
    }
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let split = usize::from(u16::from_le_bytes([*split_low, *split_high])).min(body.len());
    let (control_bytes, body) = match (kind.table().is_some(), kind.has_payload()) {
        (true, true) => (split, body),
        (true, false) => (body.len(), body),
        (false, true) => (0, body),
        (false, false) => (0, &[][..]),
    };
    let stream = match kind.stream_use() {
        StreamUse::Connection => 0,
        StreamUse::Own => 1,
        StreamUse::Either => u32::from(stream & 1),
    };
    let header = FrameHeader {
        length: u32::try_from(FRAME_HEADER_BYTES + body.len()).ok()?,
        kind,
        stream,
        control_bytes: u32::try_from(control_bytes).ok()?,
        correlation: 1,
        body_crc: crc32fast::hash(body),
    };
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    header.encode(&mut out);
    out.extend_from_slice(body);
    Some(out)
}

fn read_and_write(frame: &Frame<'_>) {
    let mut out = Vec::new();
    if let Ok(request) = Request::decode(frame)
        && written(request.encode(&mut out, frame.stream, frame.correlation))
    {
        let again = decode_frame(&out).expect("sound").expect("complete").0;
        assert_eq!(Request::decode(&again).as_ref(), Ok(&request));
    }
    out.clear();
    if let Ok(reply) = Reply::decode(frame)
        && written(reply.encode(&mut out, frame.stream, frame.correlation))
    {
        let again = decode_frame(&out).expect("sound").expect("complete").0;
        let again = Reply::decode(&again).expect("what was written can be read");
        // A broker's message may be longer than the ones that this program writes.
        let cut = matches!(&reply, Reply::Error(error)
            if error.message.len() > ERROR_MESSAGE_BYTES_MAX);
        assert!(cut || again == reply, "{again:?} is not {reply:?}");
    }
}

/// Whether what was read has been written. What a peer packs tightly, one text for many tables,
/// takes more room when it is written plainly, and need not fit; nothing else may be in the way.
fn written(result: Result<(), EncodeError>) -> bool {
    match result {
        Ok(()) => true,
        Err(EncodeError::ControlTooLarge { .. }) => false,
        Err(error) => panic!("what could be read cannot be written: {error}"),
    }
}
