//! The messages inside an entry's payload, as the native client writes them.
//!
//! The broker stores and delivers the payload without reading it. Each message is written after
//! the other; all integers are little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | `value_bytes` | length of the value |
//! | 4..6 | `key_bytes` | length of the key, at most [`KEY_BYTES_MAX`] |
//! | 6..8 | `flags` | bit 0: the message has a key (an empty key is not the same as none) |
//! | 8.. | `key`, `value` | the bytes |

use alloc::vec::Vec;

use crate::limits::{KEY_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Length of a message's header, in bytes.
pub const MESSAGE_HEADER_BYTES: usize = 8;

const HAS_KEY: u16 = 1;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
}

impl Message<'_> {
    /// How many bytes the message takes in a payload.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        MESSAGE_HEADER_BYTES + self.key.map_or(0, <[u8]>::len) + self.value.len()
    }

    /// Writes the message to the end of `out`.
    ///
    /// # Errors
    /// When the value or the key is over its limit; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), BatchError> {
        let key = self.key.unwrap_or_default();
        if self.value.len() > MESSAGE_BYTES_MAX {
            return Err(BatchError::ValueTooLarge {
                bytes: self.value.len(),
            });
        }
        let key_bytes = u16::try_from(key.len())
            .ok()
            .filter(|_| key.len() <= KEY_BYTES_MAX)
            .ok_or(BatchError::KeyTooLarge { bytes: key.len() })?;
        let value_bytes = u32::try_from(self.value.len()).expect("the limit fits into 32 bits");
        let flags = if self.key.is_some() { HAS_KEY } else { 0 };
        out.reserve(self.encoded_bytes());
        out.extend_from_slice(&value_bytes.to_le_bytes());
        out.extend_from_slice(&key_bytes.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(self.value);
        Ok(())
    }
}

/// Reads the messages of a payload, one after the other.
///
/// After the first error it gives nothing more.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages that `payload` holds.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    fn split(&mut self) -> Result<Message<'a>, BatchError> {
        let (header, body) = self
            .rest
            .split_first_chunk::<MESSAGE_HEADER_BYTES>()
            .ok_or(BatchError::Truncated)?;
        let value_bytes = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let key_bytes = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let flags = u16::from_le_bytes([header[6], header[7]]);
        if flags > HAS_KEY || (flags == 0 && key_bytes > 0) {
            return Err(BatchError::Flags(flags));
        }
        if key_bytes > KEY_BYTES_MAX {
            return Err(BatchError::KeyTooLarge { bytes: key_bytes });
        }
        if value_bytes > MESSAGE_BYTES_MAX {
            return Err(BatchError::ValueTooLarge { bytes: value_bytes });
        }
        let (key, body) = body
            .split_at_checked(key_bytes)
            .ok_or(BatchError::Truncated)?;
        let (value, rest) = body
            .split_at_checked(value_bytes)
            .ok_or(BatchError::Truncated)?;
        self.rest = rest;
        Ok(Message {
            key: (flags & HAS_KEY != 0).then_some(key),
            value,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.split();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

/// Why a payload is no batch, or a message cannot be put into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The payload ends within a message.
    #[error("the payload ends within a message")]
    Truncated,
    /// Flags that this program does not know.
    #[error("the message's flags {0:#06x} are not known")]
    Flags(u16),
    /// The value is over the limit.
    #[error("a message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The key is over the limit.
    #[error("a key of {bytes} bytes is over the limit of {KEY_BYTES_MAX}")]
    KeyTooLarge {
        /// Its length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_read_back_as_written(
            messages in prop::collection::vec((prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), prop::collection::vec(any::<u8>(), 0..200)), 0..20)
        ) {
            let mut payload = Vec::new();
            for (key, value) in &messages {
                Message { key: key.as_deref(), value }.encode(&mut payload).unwrap();
            }
            let read: Result<Vec<_>, _> = Messages::new(&payload).collect();
            let expected: Vec<_> = messages.iter().map(|(key, value)| Message { key: key.as_deref(), value }).collect();
            prop_assert_eq!(read.unwrap(), expected);
        }

        #[test]
        fn any_bytes_end_in_messages_or_one_error(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let errors = Messages::new(&payload).filter(Result::is_err).count();
            prop_assert!(errors <= 1);
        }
    }

    #[test]
    fn an_empty_key_is_not_the_same_as_none() {
        let mut payload = Vec::new();
        Message {
            key: Some(b""),
            value: b"",
        }
        .encode(&mut payload)
        .unwrap();
        Message {
            key: None,
            value: b"",
        }
        .encode(&mut payload)
        .unwrap();
        let keys: Vec<_> = Messages::new(&payload).map(|m| m.unwrap().key).collect();
        assert_eq!(keys, [Some(&b""[..]), None]);
    }

    #[test]
    fn what_is_over_a_limit_is_refused_and_leaves_nothing_behind() {
        let mut payload = Vec::new();
        let value = alloc::vec![0; MESSAGE_BYTES_MAX + 1];
        let error = Message {
            key: None,
            value: &value,
        }
        .encode(&mut payload);
        assert_eq!(error, Err(BatchError::ValueTooLarge { bytes: value.len() }));
        let key = alloc::vec![0; KEY_BYTES_MAX + 1];
        let error = Message {
            key: Some(&key),
            value: b"",
        }
        .encode(&mut payload);
        assert_eq!(error, Err(BatchError::KeyTooLarge { bytes: key.len() }));
        assert!(payload.is_empty());
    }
}
