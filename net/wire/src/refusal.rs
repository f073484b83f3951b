//! ERROR: a request is refused, a stream ends or the connection ends.

use core::fmt;

use hulse_model::{Offset, Status};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{TEXT_BYTES_MAX, Violation};

/// The longest message of an ERROR, in bytes. A longer one is cut when it is written.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

/// The number of a status as it came over the wire. A newer broker may send one that this program
/// does not know; it is kept as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusCode(pub u16);

impl StatusCode {
    /// The status, if this program knows it.
    #[must_use]
    pub const fn known(self) -> Option<Status> {
        Status::from_code(self.0)
    }

    /// Whether the same request may succeed later. What an unknown status means is unknown, so
    /// sending again is not held for safe.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self.known() {
            Some(status) => status.retryable(),
            None => false,
        }
    }
}

impl From<Status> for StatusCode {
    fn from(status: Status) -> Self {
        Self(status.code())
    }
}

impl PartialEq<Status> for StatusCode {
    fn eq(&self, status: &Status) -> bool {
        self.0 == status.code()
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(status) => status.fmt(f),
            None => write!(f, "STATUS_{}", self.0),
        }
    }
}

/// ERROR. With a correlation id above 0 it answers that request; with 0, on a stream, it ends the
/// stream; with 0 on stream 0 it ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// What kind of failure it is.
    pub status: StatusCode,
    /// One clear sentence, for people: cut at [`ERROR_MESSAGE_BYTES_MAX`] when it is written.
    pub message: &'a str,
    /// The sequence number of the first message of the batch that is refused.
    pub sequence: u64,
    /// The number of messages of that batch; 0 when no batch is meant.
    pub messages: u32,
    /// When to try again, in milliseconds from now; 0 for no advice.
    pub retry_after_ms: u32,
    /// `false`: the batch has certainly not been stored; `true`: that is not known.
    pub appended: bool,
    /// The first damaged entry of `DATA_CORRUPTED`.
    pub first_offset: Offset,
    /// The entry after the last damaged one of `DATA_CORRUPTED`.
    pub end_offset: Offset,
    /// Where the partition is served now, of `NOT_PRIMARY`, as `host:port`; empty when the broker
    /// does not say. A longer one is left out when it is written.
    pub address: &'a str,
}

impl<'a> ErrorReply<'a> {
    /// The refusal of a request that stored nothing: every field but status and message says
    /// "nothing to add", and `appended` is `false`.
    #[must_use]
    pub const fn new(status: Status, message: &'a str) -> Self {
        Self {
            status: StatusCode(status.code()),
            message,
            sequence: 0,
            messages: 0,
            retry_after_ms: 0,
            appended: false,
            first_offset: Offset::ZERO,
            end_offset: Offset::ZERO,
            address: "",
        }
    }

    /// The refusal of a batch that has certainly not been stored.
    #[must_use]
    pub const fn batch(status: Status, message: &'a str, sequence: u64, messages: u32) -> Self {
        let mut error = Self::new(status, message);
        error.sequence = sequence;
        error.messages = messages;
        error
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        if self.status.0 == 0 {
            return Err(Violation::Missing { field: "status" });
        }
        let end = self.message.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX);
        let message = builder.create_string(&self.message[..end]);
        let known = !self.address.is_empty() && self.address.len() <= TEXT_BYTES_MAX;
        let address = known.then(|| builder.create_string(self.address));
        let args = schema::ErrorArgs {
            status: self.status.0,
            message: Some(message),
            sequence: self.sequence,
            messages: self.messages,
            retry_after_ms: self.retry_after_ms,
            appended: self.appended,
            first_offset: self.first_offset.0,
            end_offset: self.end_offset.0,
            address,
        };
        let table = schema::Error::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Error<'a>>(frame)?;
        if table.status() == 0 {
            return Err(frame.refused(Violation::Missing { field: "status" }));
        }
        Ok(Self {
            status: StatusCode(table.status()),
            message: table.message().unwrap_or_default(),
            sequence: table.sequence(),
            messages: table.messages(),
            retry_after_ms: table.retry_after_ms(),
            appended: table.appended(),
            first_offset: Offset(table.first_offset()),
            end_offset: Offset(table.end_offset()),
            address: table.address().unwrap_or_default(),
        })
    }
}
