//! One entry on its way to the application. Pure.

use bytes::Bytes;
use hulse_model::batch::{BatchError, MESSAGE_HEADER_BYTES, Messages};
use hulse_model::entry::ENTRY_HEADER_BYTES;
use hulse_model::{EntryHeader, Offset};
use hulse_wire::{ACK_RANGES_MAX, AckRange};

use crate::consumer::received::Received;
use crate::consumer::seen::Seen;
use crate::consumer::window::Window;
use crate::error::ClientError;

/// One entry as it came, of which some messages may be taken already.
#[derive(Debug)]
pub(crate) struct Delivery {
    header: EntryHeader,
    entry: Bytes,
    acked: Vec<AckRange>,
    redelivery_count: u32,
    /// It comes again because that was asked for: what was handed out is handed out again.
    again: bool,
    next_index: u32,
    /// Where the next message begins.
    next_at: usize,
}

impl Delivery {
    /// `entry` is a whole entry whose header is `header`; the messages in `acked` are skipped.
    pub(crate) fn new(
        header: EntryHeader,
        entry: Bytes,
        mut acked: Vec<AckRange>,
        redelivery_count: u32,
    ) -> Self {
        acked.sort_unstable_by_key(|range| range.first_index);
        Self {
            header,
            entry,
            acked,
            redelivery_count,
            again: false,
            next_index: 0,
            next_at: ENTRY_HEADER_BYTES + header.format.messages_at().unwrap_or_default(),
        }
    }

    /// The entry's offset.
    pub(crate) const fn offset(&self) -> Offset {
        self.header.offset
    }

    /// The entry's length in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.entry.len()
    }

    /// Whether anything of it is to be handed out; it has just come.
    pub(crate) fn is_wanted(&mut self, seen: &mut Seen) -> bool {
        // Only an entry with more holes than one frame can name comes in several parts.
        let has_more_parts = self.acked.len() >= ACK_RANGES_MAX - 1;
        self.again = seen.arrives(&self.header, has_more_parts);
        self.again || !seen.has_all(&self.header)
    }

    /// It is dropped before all of it was handed out, and comes again.
    pub(crate) fn dropped(&self, seen: &mut Seen) {
        if self.again {
            seen.forget(self.header.offset);
        }
    }

    fn is_acked(&self, index: u32) -> bool {
        let behind = self
            .acked
            .partition_point(|range| range.first_index <= index);
        behind > 0 && self.acked[behind - 1].last_index >= index
    }

    /// How many of the messages that are left are not acknowledged: of a new delivery, as many as
    /// the broker counts it for.
    pub(crate) fn open(&self) -> u32 {
        let (first, messages) = (self.next_index, self.header.messages);
        if self.acked.is_empty() {
            return messages.saturating_sub(first);
        }
        let open = (first..messages)
            .filter(|index| !self.is_acked(*index))
            .count();
        u32::try_from(open).unwrap_or(messages)
    }

    /// The next message that is to be handed out; `None` when there is none left.
    pub(crate) fn next_message(
        &mut self,
        partition: i32,
        seen: &mut Seen,
        window: &mut Window,
    ) -> Option<Result<Received, ClientError>> {
        let header = self.header;
        loop {
            let index = self.next_index;
            // Nothing is left of one that ends before its messages begin.
            let rest = self.entry.get(self.next_at..).unwrap_or_default();
            let message = match Messages::new(rest).next() {
                None if index >= header.messages => return None,
                Some(Ok(message)) if index < header.messages => message,
                // More or fewer messages than the header says, or none that can be read.
                other => {
                    let source = match other {
                        Some(Err(error)) => error,
                        _ => BatchError::Truncated,
                    };
                    window.taken(self.open());
                    seen.add_all(&header);
                    let id = header.message_id(partition, -1);
                    return Some(Err(ClientError::Undecodable { id, source }));
                }
            };
            let key_bytes = message.key.map(<[u8]>::len);
            let key_at = self.next_at + MESSAGE_HEADER_BYTES;
            let value_at = key_at + key_bytes.unwrap_or(0);
            let end = value_at + message.value.len();
            self.next_index += 1;
            self.next_at = end;
            if self.is_acked(index) {
                continue;
            }
            window.taken(1);
            if !self.again && seen.has(&header, index) {
                continue;
            }
            seen.add(&header, index);
            let id = header.message_id(partition, i32::try_from(index).unwrap_or(i32::MAX));
            let key = key_bytes.map(|bytes| key_at..key_at + bytes);
            return Some(Ok(Received::new(
                self.entry.clone(),
                key,
                value_at..end,
                header,
                id,
                self.redelivery_count,
            )));
        }
    }
}
