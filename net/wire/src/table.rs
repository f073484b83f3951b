//! Control parts: each FlatBuffers root is verified once, at the door, within tight bounds.

use flatbuffers::{Follow, InvalidFlatbuffer, Verifiable, VerifierOptions};
use hulse_model::limits::{FRAME_CONTROL_BYTES_MAX, TOPIC_PARTITIONS_MAX};

use crate::error::FrameError;
use crate::frame::Frame;

/// Bounds for what a verifier walks through. The deepest table of the schema is one below a root;
/// the widest is a LOCATED with every partition of the largest topic. Apparent size counts what is
/// reached by several ways once per way, so a small frame cannot cost much work.
const BOUNDS: VerifierOptions = VerifierOptions {
    max_depth: 4,
    max_tables: TOPIC_PARTITIONS_MAX as usize + 8,
    max_apparent_size: 8 * FRAME_CONTROL_BYTES_MAX,
    ignore_missing_null_terminator: false,
};

/// Why a control part is no FlatBuffers table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    /// An offset or a length leads out of the control part.
    #[error("an offset or a length leads out of it")]
    OutOfBounds,
    /// A value does not lie at a multiple of its size.
    #[error("a value is not aligned")]
    Unaligned,
    /// A text is no UTF-8 or does not end with a zero byte.
    #[error("a text is not UTF-8 with a zero byte behind it")]
    Text,
    /// Its tables nest too deeply, are too many or overlap.
    #[error("it is larger than it may be")]
    TooLarge,
    /// A union or a required field is not as the schema says.
    #[error("it does not match the schema")]
    Schema,
}

/// Verifies the root table of a frame's control part and gives its reader.
///
/// The verifier counts alignment from the control part's first byte and the reader reads byte by
/// byte, so the control part may lie at any address.
pub(crate) fn root<'a, T>(frame: &Frame<'a>) -> Result<T::Inner, FrameError>
where
    T: Follow<'a> + Verifiable + 'a,
{
    flatbuffers::root_with_opts::<T>(&BOUNDS, frame.control).map_err(|invalid| FrameError::Table {
        kind: frame.kind,
        fault: fault(&invalid),
    })
}

fn fault(invalid: &InvalidFlatbuffer) -> TableFault {
    match invalid {
        InvalidFlatbuffer::RangeOutOfBounds { .. }
        | InvalidFlatbuffer::SignedOffsetOutOfBounds { .. } => TableFault::OutOfBounds,
        InvalidFlatbuffer::Unaligned { .. } => TableFault::Unaligned,
        InvalidFlatbuffer::Utf8Error { .. } | InvalidFlatbuffer::MissingNullTerminator { .. } => {
            TableFault::Text
        }
        InvalidFlatbuffer::TooManyTables
        | InvalidFlatbuffer::ApparentSizeTooLarge
        | InvalidFlatbuffer::DepthLimitReached => TableFault::TooLarge,
        InvalidFlatbuffer::MissingRequiredField { .. }
        | InvalidFlatbuffer::InconsistentUnion { .. } => TableFault::Schema,
    }
}
