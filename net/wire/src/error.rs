//! Why bytes are no frame, and why a frame cannot be written.

use hulse_model::Status;
use hulse_model::limits::{FRAME_BYTES_MAX, FRAME_CONTROL_BYTES_MAX};

use crate::frame::{FRAME_HEADER_BYTES, MAGIC};
use crate::kind::Kind;
use crate::table::TableFault;
use crate::violation::Violation;

/// Why bytes are no frame, or a frame is no request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The connection does not open with [`MAGIC`].
    #[error("the connection opens with {found:02x?}, not with {MAGIC:02x?}")]
    Opening {
        /// The first bytes; what has not come yet is 0.
        found: [u8; 4],
    },
    /// The stated length is 0.
    #[error("the frame's length is 0")]
    ZeroLength,
    /// The stated length is less than a header's.
    #[error("a frame of {bytes} bytes is shorter than its header of {FRAME_HEADER_BYTES}")]
    TooShort {
        /// The stated length.
        bytes: u32,
    },
    /// The stated length is over the limit.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    Oversized {
        /// The stated length.
        bytes: u32,
        /// The limit that it broke.
        limit: usize,
    },
    /// The header's bytes are not the ones that were sent.
    #[error("the header's checksum is {actual:08x}, stated is {stated:08x}")]
    HeaderChecksum {
        /// What the header says.
        stated: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// The stated length of the control part is over the limit.
    #[error("a control part of {bytes} bytes is over the limit of {FRAME_CONTROL_BYTES_MAX}")]
    ControlTooLarge {
        /// The stated length.
        bytes: u32,
    },
    /// The control part is stated to be longer than the frame's body.
    #[error("a control part of {bytes} bytes does not fit into a body of {body}")]
    ControlBeyondBody {
        /// The stated length of the control part.
        bytes: u32,
        /// The stated length of the body.
        body: u32,
    },
    /// Flags that this version does not know.
    #[error("the flags {0:#06x} are not known")]
    Flags(u16),
    /// A kind that this version does not know.
    #[error("the kind {code} is not known")]
    UnknownKind {
        /// Its number.
        code: u16,
    },
    /// The body's bytes are not the ones that were sent.
    #[error("the body's checksum is {actual:08x}, stated is {stated:08x}")]
    BodyChecksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A kind that this side does not send, nobody sends yet, or that is not the first.
    #[error("{kind} may not come here")]
    Unexpected {
        /// The kind.
        kind: Kind,
    },
    /// A stream or a correlation id that frames of this kind cannot have.
    #[error("{kind} may not carry stream {stream} with correlation id {correlation}")]
    Address {
        /// The kind.
        kind: Kind,
        /// The stream.
        stream: u32,
        /// The correlation id.
        correlation: u64,
    },
    /// A control part where the kind has none.
    #[error("{kind} has no control part, yet {bytes} bytes came")]
    UnexpectedControl {
        /// The kind.
        kind: Kind,
        /// Length of the control part.
        bytes: u32,
    },
    /// A payload where the kind has none.
    #[error("{kind} has no payload, yet {bytes} bytes came")]
    UnexpectedPayload {
        /// The kind.
        kind: Kind,
        /// Length of the payload.
        bytes: u32,
    },
    /// The control part is no FlatBuffers table of the kind.
    #[error("the control part of {kind} is no table: {fault}")]
    Table {
        /// The kind.
        kind: Kind,
        /// What is wrong with it.
        fault: TableFault,
    },
    /// A field says what it may not.
    #[error("{kind}: {violation}")]
    Field {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        violation: Violation,
    },
}

impl FrameError {
    /// The status that the peer is told.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Field { violation, .. } => violation.status(),
            Self::Unexpected { .. } | Self::Address { .. } => Status::ProtocolViolation,
            _ => Status::MalformedFrame,
        }
    }

    /// Whether the connection must end: after it nothing that the peer sends can be trusted. What
    /// is not fatal is answered with an ERROR for the frame's stream and correlation id.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::Field { .. })
    }
}

/// Why a frame cannot be written. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field says what it may not.
    #[error("{kind}: {violation}")]
    Field {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        violation: Violation,
    },
    /// A stream or a correlation id that frames of this kind cannot have.
    #[error("{kind} may not carry stream {stream} with correlation id {correlation}")]
    Address {
        /// The kind.
        kind: Kind,
        /// The stream.
        stream: u32,
        /// The correlation id.
        correlation: u64,
    },
    /// The control part would be over the limit.
    #[error("a control part of {bytes} bytes is over the limit of {FRAME_CONTROL_BYTES_MAX}")]
    ControlTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The frame would be over the limit.
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    Oversized {
        /// Its length.
        bytes: usize,
    },
}

impl EncodeError {
    /// The status that says the same to a user.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Field { violation, .. } => violation.status(),
            Self::Address { .. } => Status::ProtocolViolation,
            Self::ControlTooLarge { .. } => Status::InvalidArgument,
            Self::Oversized { .. } => Status::MessageTooLarge,
        }
    }
}
