//! When the messages of a payload are due, as its producer wrote it.
//!
//! An entry of the format [`PayloadFormat::Delayed`] is delivered to the consumers of shared and
//! key-shared subscriptions at its time and not before. The time stands in the payload, which the
//! producer makes and nobody changes, so it is the same on every replica and for every retry. All
//! integers are little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..8 | `due_ms` | when the messages are due, milliseconds since 1970 |
//! | 8.. | `messages` | the messages, in the layout of [`crate::batch`] |

use alloc::vec::Vec;

use crate::batch::Messages;
use crate::entry::PayloadFormat;

/// Bytes of the due time before the messages.
pub const DUE_TIME_BYTES: usize = size_of::<u64>();

/// Begins a payload whose messages are due at `due_ms`: they are written behind it.
pub fn begin_delayed(due_ms: u64, payload: &mut Vec<u8>) {
    payload.extend_from_slice(&due_ms.to_le_bytes());
}

impl PayloadFormat {
    /// Where the messages of a payload begin; none when it holds no messages.
    #[must_use]
    pub const fn messages_at(self) -> Option<usize> {
        match self {
            Self::Record => None,
            Self::Messages => Some(0),
            Self::Delayed => Some(DUE_TIME_BYTES),
        }
    }

    /// When the messages of `payload` are due, in milliseconds since 1970, if they have to wait for a
    /// time at all. What is too short to name one has none.
    #[must_use]
    pub fn due_ms(self, payload: &[u8]) -> Option<u64> {
        match self {
            Self::Record | Self::Messages => None,
            Self::Delayed => payload.first_chunk().copied().map(u64::from_le_bytes),
        }
    }

    /// The messages of `payload`; none when it holds no messages, or is too short to name its time.
    #[must_use]
    pub fn messages(self, payload: &[u8]) -> Option<Messages<'_>> {
        self.messages_at()
            .and_then(|at| payload.get(at..))
            .map(Messages::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Message;

    #[test]
    fn the_time_stands_before_the_messages() {
        let mut payload = Vec::new();
        begin_delayed(1_795_357_800_250, &mut payload);
        let message = Message {
            key: Some(b"k"),
            value: b"v",
        };
        message.encode(&mut payload).unwrap();
        let format = PayloadFormat::Delayed;
        assert_eq!(format.due_ms(&payload), Some(1_795_357_800_250));
        let read: Vec<_> = format.messages(&payload).unwrap().collect();
        assert_eq!(read, [Ok(message)]);
        let plain = PayloadFormat::Messages;
        assert_eq!(plain.due_ms(&payload), None);
        let rest = &payload[DUE_TIME_BYTES..];
        assert_eq!(plain.messages(rest).unwrap().next(), Some(Ok(message)));
        assert!(PayloadFormat::Record.messages(&payload).is_none());
    }

    #[test]
    fn a_payload_that_ends_within_its_time_has_none() {
        let short = [7; DUE_TIME_BYTES - 1];
        assert_eq!(PayloadFormat::Delayed.due_ms(&short), None);
        assert!(PayloadFormat::Delayed.messages(&short).is_none());
    }
}
