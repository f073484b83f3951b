//! What a field of a well-formed frame may not say: checked the same way when a frame is read and
//! when one is written.

use core::str::FromStr;

use hulse_model::{NameError, Status};

/// The longest free text of a request (a client's or a consumer's name for people, a region's, a
/// broker's), in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// What is wrong with a field. The frame around it is sound, so the connection goes on and only
/// this request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field's name in the schema.
        field: &'static str,
    },
    /// A name that is none.
    #[error("{field}: {source}")]
    Name {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// A text or an address that is too long.
    #[error("{field} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// The field's name in the schema.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit that it broke.
        limit: usize,
    },
    /// A list with too many elements.
    #[error("{field} has {count} elements, the limit is {limit}")]
    TooMany {
        /// The field's name in the schema.
        field: &'static str,
        /// Their number.
        count: usize,
        /// The limit that it broke.
        limit: usize,
    },
    /// A number that is outside its range.
    #[error("{field} may not be {value}")]
    OutOfRange {
        /// The field's name in the schema.
        field: &'static str,
        /// The number.
        value: i128,
    },
    /// A batch with more messages than an entry may hold.
    #[error("a batch of {messages} messages is over the limit of {limit}")]
    BatchTooLong {
        /// Number of messages.
        messages: u32,
        /// The limit that it broke.
        limit: u32,
    },
    /// A batch with more bytes than an entry may hold.
    #[error("a payload of {bytes} bytes is over the limit of {limit}")]
    PayloadTooLarge {
        /// Length of the payload.
        bytes: usize,
        /// The limit that it broke.
        limit: usize,
    },
}

impl Violation {
    /// The status that a broker refuses the request with.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Name { .. } => Status::InvalidName,
            Self::BatchTooLong { .. } | Self::PayloadTooLarge { .. } => Status::MessageTooLarge,
            Self::Missing { .. }
            | Self::TooLong { .. }
            | Self::TooMany { .. }
            | Self::OutOfRange { .. } => Status::InvalidArgument,
        }
    }
}

/// The value of a field that must be there.
pub(crate) fn present<T>(field: &'static str, value: Option<T>) -> Result<T, Violation> {
    value.ok_or(Violation::Missing { field })
}

/// Reads a name that must be there.
pub(crate) fn name<T>(field: &'static str, text: Option<&str>) -> Result<T, Violation>
where
    T: FromStr<Err = NameError>,
{
    present(field, text)?
        .parse()
        .map_err(|source| Violation::Name { field, source })
}

/// Reads a name that may be absent.
pub(crate) fn optional_name<T>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Violation>
where
    T: FromStr<Err = NameError>,
{
    text.map(|text| name(field, Some(text))).transpose()
}

/// Checks a text for people: bounded, and free of control characters, since it goes to logs and
/// terminals. It may be empty.
pub(crate) fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), Violation> {
    if text.len() > limit {
        return Err(Violation::TooLong {
            field,
            bytes: text.len(),
            limit,
        });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Violation::Name {
            field,
            source: NameError::Character(bad),
        }),
        None => Ok(()),
    }
}

/// Checks the length of a list.
pub(crate) fn check_count(
    field: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), Violation> {
    if count > limit {
        return Err(Violation::TooMany {
            field,
            count,
            limit,
        });
    }
    Ok(())
}

/// Checks a partition's number: -1 for a topic without partitions, or below the limit.
pub(crate) fn check_partition(partition: i32) -> Result<(), Violation> {
    let limit = hulse_model::limits::TOPIC_PARTITIONS_MAX;
    if partition == -1 || u32::try_from(partition).is_ok_and(|number| number < limit) {
        return Ok(());
    }
    Err(Violation::OutOfRange {
        field: "partition",
        value: i128::from(partition),
    })
}
