//! The frame: a fixed header of 32 bytes, a control part and a payload. All integers are
//! little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | `length` | length of the whole frame, header included |
//! | 4..6 | `kind` | what the frame is: see [`Kind`] |
//! | 6..8 | `flags` | 0; reserved |
//! | 8..12 | `stream` | the producer or consumer that it concerns; 0 for the connection |
//! | 12..16 | `control_bytes` | length of the control part |
//! | 16..24 | `correlation` | joins an answer to its request |
//! | 24..28 | `header_crc` | CRC-32 (IEEE) of bytes 0 to 24 |
//! | 28..32 | `body_crc` | CRC-32 (IEEE) of control part and payload |

use alloc::vec::Vec;

use hulse_model::checksum::{JOINED_BYTES_MIN, of_second};
use hulse_model::limits::{FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX};

use crate::error::FrameError;
use crate::kind::{Direction, Kind};
use crate::violation::Violation;

/// What a client sends before its first frame.
pub const MAGIC: [u8; 4] = *b"HULS";

/// Length of a frame's header, in bytes.
pub const FRAME_HEADER_BYTES: usize = 32;

/// The longest HELLO frame, in bytes: more than this is not held for a peer that has not introduced
/// itself.
pub const HELLO_FRAME_BYTES_MAX: usize = 4096;

/// Where the checksum of the header stands: it covers everything before.
const HEADER_CRC_AT: usize = 24;

/// The fields of a frame's header, checked against their bounds and the header's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the whole frame, in bytes.
    pub length: u32,
    /// What the frame is.
    pub kind: Kind,
    /// The producer or consumer that it concerns; 0 for the connection.
    pub stream: u32,
    /// Length of the control part, in bytes.
    pub control_bytes: u32,
    /// Joins an answer to its request.
    pub correlation: u64,
    /// CRC-32 of control part and payload.
    pub body_crc: u32,
}

impl FrameHeader {
    /// Reads the header at the start of `buf`: `None` while its 32 bytes are not all there.
    ///
    /// # Errors
    /// In this order: the length out of its bounds, the checksum, the control part out of its
    /// bounds, flags, an unknown kind, a part that the kind has not. So nothing is ever awaited
    /// that would be refused when it came.
    pub fn decode(buf: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(bytes) = buf.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32_at(bytes, 0);
        match length as usize {
            0 => return Err(FrameError::ZeroLength),
            1..FRAME_HEADER_BYTES => return Err(FrameError::TooShort { bytes: length }),
            FRAME_HEADER_BYTES..=FRAME_BYTES_MAX => {}
            _ => {
                return Err(FrameError::Oversized {
                    bytes: length,
                    limit: FRAME_BYTES_MAX,
                });
            }
        }
        let stated = u32_at(bytes, HEADER_CRC_AT);
        let actual = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        if stated != actual {
            return Err(FrameError::HeaderChecksum { stated, actual });
        }
        let control_bytes = u32_at(bytes, 12);
        if control_bytes as usize > FRAME_CONTROL_BYTES_MAX {
            return Err(FrameError::ControlTooLarge {
                bytes: control_bytes,
            });
        }
        let header_bytes = u32::try_from(FRAME_HEADER_BYTES).expect("32 fits into 32 bits");
        let body = length - header_bytes;
        if control_bytes > body {
            return Err(FrameError::ControlBeyondBody {
                bytes: control_bytes,
                body,
            });
        }
        let flags = u16_at(bytes, 6);
        if flags != 0 {
            return Err(FrameError::Flags(flags));
        }
        let code = u16_at(bytes, 4);
        let kind = Kind::from_code(code).ok_or(FrameError::UnknownKind { code })?;
        if kind.table().is_none() && control_bytes > 0 {
            return Err(FrameError::UnexpectedControl {
                kind,
                bytes: control_bytes,
            });
        }
        if !kind.has_payload() && body > control_bytes {
            return Err(FrameError::UnexpectedPayload {
                kind,
                bytes: body - control_bytes,
            });
        }
        Ok(Some(Self {
            length,
            kind,
            stream: u32_at(bytes, 8),
            control_bytes,
            correlation: u64::from(u32_at(bytes, 16)) | u64::from(u32_at(bytes, 20)) << 32,
            body_crc: u32_at(bytes, 28),
        }))
    }

    /// Writes the header to the end of `out`, with its checksum.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stream.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.control_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.correlation.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// One frame, cut out of the bytes around it and found sound: both checksums match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the frame is.
    pub kind: Kind,
    /// The producer or consumer that it concerns; 0 for the connection.
    pub stream: u32,
    /// Joins an answer to its request.
    pub correlation: u64,
    /// The FlatBuffers table, not verified yet; empty for kinds without one.
    pub control: &'a [u8],
    /// The bytes behind it.
    pub payload: &'a [u8],
    /// Checksum of the payload, where it came out of the frame's own: for a large one.
    pub payload_crc: Option<u32>,
}

impl Frame<'_> {
    /// Checks what is the same for every kind: that it comes from the right side, and carries a
    /// stream and a correlation id that it may.
    pub(crate) fn check(&self, direction: Direction) -> Result<(), FrameError> {
        let kind = self.kind;
        if kind.direction() != direction {
            return Err(FrameError::Unexpected { kind });
        }
        if !kind.may_carry(self.stream, self.correlation) {
            let (stream, correlation) = (self.stream, self.correlation);
            return Err(FrameError::Address {
                kind,
                stream,
                correlation,
            });
        }
        Ok(())
    }

    /// The error that says that a field of this frame breaks a rule.
    pub(crate) const fn refused(&self, violation: Violation) -> FrameError {
        FrameError::Field {
            kind: self.kind,
            violation,
        }
    }
}

/// Cuts the frame at the start of `buf` out of it, with the number of bytes that it takes. `None`
/// means that more bytes are needed: [`needed`] says how many.
///
/// The header is checked as soon as its 32 bytes are there, so a peer's length is never waited for
/// before it is known to be within bounds; the body when it is complete.
///
/// # Errors
/// When the bytes are no frame. The connection they came from cannot be read on.
pub fn decode_frame(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    match FrameHeader::decode(buf)? {
        Some(header) => cut(buf, &header),
        None => Ok(None),
    }
}

/// Cuts the first frame of a connection out of `buf`, as [`decode_frame`] does: it must be a HELLO
/// of at most [`HELLO_FRAME_BYTES_MAX`] bytes. Anything else is refused by its header alone, so a
/// peer that has not introduced itself makes a broker hold no more than that.
///
/// # Errors
/// When the bytes are no frame or not that one.
pub fn decode_hello(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some(header) = FrameHeader::decode(buf)? else {
        return Ok(None);
    };
    if header.kind != Kind::Hello {
        return Err(FrameError::Unexpected { kind: header.kind });
    }
    if header.length as usize > HELLO_FRAME_BYTES_MAX {
        return Err(FrameError::Oversized {
            bytes: header.length,
            limit: HELLO_FRAME_BYTES_MAX,
        });
    }
    cut(buf, &header)
}

fn cut<'a>(buf: &'a [u8], header: &FrameHeader) -> Result<Option<(Frame<'a>, usize)>, FrameError> {
    let length = header.length as usize;
    let Some(body) = buf.get(FRAME_HEADER_BYTES..length) else {
        return Ok(None);
    };
    let actual = crc32fast::hash(body);
    if actual != header.body_crc {
        return Err(FrameError::BodyChecksum {
            stated: header.body_crc,
            actual,
        });
    }
    let (control, payload) = body.split_at(header.control_bytes as usize);
    let payload_crc = (payload.len() >= JOINED_BYTES_MIN)
        .then(|| of_second(actual, crc32fast::hash(control), payload.len()));
    let frame = Frame {
        kind: header.kind,
        stream: header.stream,
        correlation: header.correlation,
        control,
        payload,
        payload_crc,
    };
    Ok(Some((frame, length)))
}

/// How many bytes `buf` must hold, from its start, before [`decode_frame`] gets any further: a
/// header's, or the whole frame's once the header is there. A wrong header needs nothing more.
#[must_use]
pub fn needed(buf: &[u8]) -> usize {
    match FrameHeader::decode(buf) {
        Ok(Some(header)) => header.length as usize,
        Ok(None) | Err(_) => FRAME_HEADER_BYTES,
    }
}

/// Checks the bytes that a connection opens with: `false` while fewer than four have come.
///
/// # Errors
/// At the first byte that differs from [`MAGIC`].
pub fn check_opening(buf: &[u8]) -> Result<bool, FrameError> {
    let came = buf.len().min(MAGIC.len());
    if buf[..came] == MAGIC[..came] {
        return Ok(came == MAGIC.len());
    }
    let mut found = [0; 4];
    found[..came].copy_from_slice(&buf[..came]);
    Err(FrameError::Opening { found })
}

/// The little-endian u16 at `at`.
fn u16_at(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The little-endian u32 at `at`.
fn u32_at(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
