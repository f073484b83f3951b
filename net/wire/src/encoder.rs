//! Writes frames. One encoder serves one connection (or one core): the buffer in which control
//! parts are built is kept, so that a frame costs no allocation.

use alloc::vec::Vec;
use core::fmt;

use flatbuffers::FlatBufferBuilder;
use hulse_model::checksum::joined;
use hulse_model::limits::{FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX};

use crate::deliver::Deliver;
use crate::error::EncodeError;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::kind::Kind;
use crate::reply::Reply;
use crate::request::Request;
use crate::violation::Violation;

/// What control parts are built in.
pub(crate) type Builder = FlatBufferBuilder<'static>;

/// Room for the control part of every frame of the hot path.
const BUILDER_BYTES: usize = 256;

/// Writes frames to the end of a buffer that the caller owns.
pub struct FrameEncoder {
    builder: Builder,
}

impl FrameEncoder {
    /// An encoder. It allocates a few hundred bytes, which it keeps.
    #[must_use]
    pub fn new() -> Self {
        Self {
            builder: Builder::with_capacity(BUILDER_BYTES),
        }
    }

    /// Writes a request to the end of `out`, its payload included.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn request(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
        request: &Request<'_>,
    ) -> Result<(), EncodeError> {
        self.request_head(out, stream, correlation, request)?;
        out.extend_from_slice(request.payload());
        Ok(())
    }

    /// Writes a request to the end of `out` up to its payload, which the caller sends right behind:
    /// exactly [`Request::payload`], over which the checksum has been taken.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn request_head(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
        request: &Request<'_>,
    ) -> Result<(), EncodeError> {
        let kind = request.kind();
        self.head(
            out,
            kind,
            stream,
            correlation,
            request.payload().into(),
            |builder| request.build(builder, stream),
        )
    }

    /// Writes a reply to the end of `out`, its payload included.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn reply(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
        reply: &Reply<'_>,
    ) -> Result<(), EncodeError> {
        self.reply_head(out, stream, correlation, reply)?;
        out.extend_from_slice(reply.payload());
        Ok(())
    }

    /// Writes a reply to the end of `out` up to its payload, which the caller sends right behind:
    /// exactly [`Reply::payload`], over which the checksum has been taken.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn reply_head(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
        reply: &Reply<'_>,
    ) -> Result<(), EncodeError> {
        let kind = reply.kind();
        self.head(
            out,
            kind,
            stream,
            correlation,
            reply.payload().into(),
            |builder| reply.build(builder),
        )
    }

    /// Writes a delivery to the end of `out` up to the entry, which the caller sends right behind
    /// from where it lies: header and control part are a few dozen bytes, and the entry is never
    /// copied. Where the checksum of its bytes is known, they are not read either.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn deliver_head(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        deliver: &Deliver<'_>,
        entry_crc: Option<u32>,
    ) -> Result<(), EncodeError> {
        let payload = Payload {
            bytes: deliver.entry,
            crc: entry_crc,
        };
        self.head(out, Kind::Deliver, stream, 0, payload, |builder| {
            deliver.build(builder)
        })
    }

    fn head(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        stream: u32,
        correlation: u64,
        payload: Payload<'_>,
        build: impl FnOnce(&mut Builder) -> Result<(), Violation>,
    ) -> Result<(), EncodeError> {
        if !kind.may_carry(stream, correlation) {
            return Err(EncodeError::Address {
                kind,
                stream,
                correlation,
            });
        }
        self.builder.reset();
        build(&mut self.builder).map_err(|violation| EncodeError::Field { kind, violation })?;
        let control = match kind.table() {
            Some(_) => self.builder.finished_data(),
            None => &[],
        };
        if control.len() > FRAME_CONTROL_BYTES_MAX {
            return Err(EncodeError::ControlTooLarge {
                bytes: control.len(),
            });
        }
        let bytes = FRAME_HEADER_BYTES + control.len() + payload.bytes.len();
        let length = u32::try_from(bytes)
            .ok()
            .filter(|_| bytes <= FRAME_BYTES_MAX)
            .ok_or(EncodeError::Oversized { bytes })?;
        let mut body_crc = crc32fast::Hasher::new();
        body_crc.update(control);
        let body_crc = match payload.crc {
            Some(crc) => {
                debug_assert_eq!(crc, crc32fast::hash(payload.bytes));
                joined(body_crc.finalize(), crc, payload.bytes.len())
            }
            None => {
                body_crc.update(payload.bytes);
                body_crc.finalize()
            }
        };
        let header = FrameHeader {
            length,
            kind,
            stream,
            control_bytes: u32::try_from(control.len()).expect("the limit fits into 32 bits"),
            correlation,
            body_crc,
        };
        out.reserve(FRAME_HEADER_BYTES + control.len());
        header.encode(out);
        out.extend_from_slice(control);
        Ok(())
    }
}

/// What stands behind a frame's control part.
#[derive(Clone, Copy)]
struct Payload<'a> {
    bytes: &'a [u8],
    /// Its checksum, if it is known.
    crc: Option<u32>,
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, crc: None }
    }
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameEncoder").finish_non_exhaustive()
    }
}
