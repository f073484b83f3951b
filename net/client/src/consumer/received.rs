//! A message in the hands of the application.

use std::ops::Range;

use bytes::Bytes;
use hulse_model::entry::ENTRY_HEADER_BYTES;
use hulse_model::{EntryHeader, MessageId};

/// A message that was received. It owns its bytes: it shares those that came from the broker,
/// with the other messages of its batch, and copies nothing.
///
/// To keep a few small messages for long keeps a whole receive buffer (128 KiB or a batch) in
/// memory; copy their values then.
#[derive(Debug, Clone)]
pub struct Received {
    entry: Bytes,
    key: Option<Range<usize>>,
    value: Range<usize>,
    header: EntryHeader,
    id: MessageId,
    redelivery_count: u32,
}

impl Received {
    pub(super) const fn new(
        entry: Bytes,
        key: Option<Range<usize>>,
        value: Range<usize>,
        header: EntryHeader,
        id: MessageId,
        redelivery_count: u32,
    ) -> Self {
        Self {
            entry,
            key,
            value,
            header,
            id,
            redelivery_count,
        }
    }

    /// The message's id: the same that its producer was told.
    #[must_use]
    pub const fn message_id(&self) -> MessageId {
        self.id
    }

    /// The key, if the message has one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.clone().map(|key| &self.entry[key])
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.entry[self.value.clone()]
    }

    /// The value as shared bytes, without a copy.
    #[must_use]
    pub fn value_bytes(&self) -> Bytes {
        self.entry.slice(self.value.clone())
    }

    /// How often the message's batch was delivered to this subscription before.
    #[must_use]
    pub const fn redelivery_count(&self) -> u32 {
        self.redelivery_count
    }

    /// The partition that it came from; -1 for a topic without partitions.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.id.partition
    }

    /// How many messages the batch has that it came in, itself included.
    #[must_use]
    pub const fn batch_messages(&self) -> u32 {
        self.header.messages
    }

    /// When the broker stored it, in milliseconds since 1970.
    #[must_use]
    pub const fn appended_ms(&self) -> u64 {
        self.header.appended_ms
    }

    /// When its producer wanted it delivered at the earliest, in milliseconds since 1970, if it had a
    /// time at all: see [`Message::deliver_at`](crate::Message::deliver_at).
    #[must_use]
    pub fn deliver_at_ms(&self) -> Option<u64> {
        let payload = self.entry.get(ENTRY_HEADER_BYTES..)?;
        self.header.format.due_ms(payload)
    }

    /// The sequence number that its producer gave it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.header.sequence.saturating_add(self.id.index as u64)
    }
}
