//! Frames on their way to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use hulse_log::{Disk, StoredEntry};
use hulse_model::checksum::JOINED_BYTES_MIN;
use hulse_shard::{Receipt, Refusal, StreamKey};
use hulse_subscription::IndexRange;
use hulse_wire::{AckRange, Deliver, EncodeError, ErrorReply, FrameEncoder, Receipts, Reply};

/// An entry up to this size is copied behind its header: cheaper than another slice to send.
const COPIED_BYTES_MAX: usize = 4096;

/// Receipts of one stream that are sent as one frame.
const RECEIPTS_TOGETHER_MAX: usize = 512;

/// A run of bytes to send.
enum Chunk<D: Disk> {
    /// Frames, or the heads of frames.
    Bytes(Vec<u8>),
    /// An entry, where it lies in the log's map.
    Entry(StoredEntry<D>),
}

impl<D: Disk> Chunk<D> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Entry(entry) => entry.bytes(),
        }
    }
}

/// Runs of bytes that are being sent.
pub(crate) struct Batch<D: Disk> {
    chunks: Vec<Chunk<D>>,
    /// How much of the first has been sent already.
    skip: usize,
}

impl<D: Disk> Batch<D> {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The first bytes of it, so many at most.
    pub(crate) fn slices(&self, most: usize) -> impl Iterator<Item = IoSlice<'_>> {
        let first = self
            .chunks
            .iter()
            .take(1)
            .map(|chunk| &chunk.bytes()[self.skip..]);
        first
            .chain(self.chunks.iter().skip(1).map(Chunk::bytes))
            .scan(most, |left, bytes| {
                let bytes = &bytes[..bytes.len().min(*left)];
                *left -= bytes.len();
                Some(bytes)
            })
            .take_while(|bytes| !bytes.is_empty())
            .map(IoSlice::new)
    }
}

/// What is queued for one connection, in order. Owned by the connection, on its core.
///
/// It is bounded by what puts frames in: the shard stops delivering, and the reader stops reading
/// requests, when too much is queued.
pub(crate) struct Outbox<D: Disk> {
    chunks: VecDeque<Chunk<D>>,
    tail: Vec<u8>,
    /// How much of the first chunk has been sent.
    sent_of_first: usize,
    bytes: usize,
    receipts: Vec<hulse_wire::Receipt>,
    receipts_stream: u32,
    encoder: FrameEncoder,
}

impl<D: Disk> Outbox<D> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            tail: Vec::new(),
            sent_of_first: 0,
            bytes: 0,
            receipts: Vec::new(),
            receipts_stream: 0,
            encoder: FrameEncoder::new(),
        }
    }

    /// How many bytes wait to be sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Adds a reply. Returns how many bytes it takes.
    pub(crate) fn reply(&mut self, stream: u32, correlation: u64, reply: &Reply<'_>) -> usize {
        let flushed = self.flush_receipts();
        let before = self.tail.len();
        match self
            .encoder
            .reply(&mut self.tail, stream, correlation, reply)
        {
            Ok(()) => flushed + self.grown_from(before),
            Err(error) => flushed + self.unencodable(stream, correlation, &error),
        }
    }

    /// Adds the refusal of a request, or the end of a stream.
    pub(crate) fn refuse(&mut self, to: StreamKey, correlation: u64, refusal: &Refusal) -> usize {
        let mut error = ErrorReply::new(refusal.status, &refusal.message);
        if let Some((sequence, messages)) = refusal.batch {
            (error.sequence, error.messages) = (sequence, messages);
        }
        error.appended = refusal.appended;
        if let Some((first, end)) = refusal.damaged {
            (error.first_offset, error.end_offset) = (first, end);
        }
        if let Some(address) = &refusal.moved_to {
            error.address = address;
        }
        self.reply(to.stream, correlation, &Reply::Error(error))
    }

    /// Adds a receipt. Receipts of one stream that follow each other leave as one frame, when
    /// something else is added or [`Self::flush_receipts`] is called.
    pub(crate) fn receipt(&mut self, stream: u32, receipt: &Receipt) -> usize {
        let mut flushed = 0;
        if self.receipts_stream != stream || self.receipts.len() >= RECEIPTS_TOGETHER_MAX {
            flushed = self.flush_receipts();
            self.receipts_stream = stream;
        }
        self.receipts.push(hulse_wire::Receipt {
            sequence: receipt.sequence,
            messages: receipt.messages,
            id: receipt.id,
            duplicate: receipt.duplicate,
        });
        flushed
    }

    /// Writes the receipts that have gathered. Returns how many bytes they take.
    pub(crate) fn flush_receipts(&mut self) -> usize {
        if self.receipts.is_empty() {
            return 0;
        }
        let before = self.tail.len();
        let reply = Reply::Receipts(Receipts {
            receipts: self.receipts.as_slice().into(),
        });
        let encoded = self
            .encoder
            .reply(&mut self.tail, self.receipts_stream, 0, &reply);
        self.receipts.clear();
        match encoded {
            Ok(()) => self.grown_from(before),
            Err(error) => self.unencodable(self.receipts_stream, 0, &error),
        }
    }

    /// Adds a delivery. A large entry is not copied.
    pub(crate) fn deliver(
        &mut self,
        stream: u32,
        redelivery_count: u32,
        acked: &[IndexRange],
        entry: &StoredEntry<D>,
    ) -> usize {
        let flushed = self.flush_receipts();
        let offset = entry.header.offset;
        let acked: Vec<AckRange> = acked
            .iter()
            .map(|range| AckRange {
                offset,
                first_index: range.first,
                last_index: range.last,
            })
            .collect();
        let mut bytes = flushed;
        // One list, unless so many messages are acknowledged that a frame cannot name them.
        for acked in Deliver::skip_lists(&acked) {
            bytes += self.deliver_once(stream, redelivery_count, &acked, entry);
        }
        bytes
    }

    fn deliver_once(
        &mut self,
        stream: u32,
        redelivery_count: u32,
        acked: &[AckRange],
        entry: &StoredEntry<D>,
    ) -> usize {
        let deliver = Deliver {
            redelivery_count,
            acked: acked.into(),
            entry: entry.bytes(),
        };
        let before = self.tail.len();
        let length = entry.bytes().len();
        // The log has just compared the entry's checksum with its bytes.
        let crc = (length >= JOINED_BYTES_MIN).then(|| entry.header.stored_crc());
        let encoded = self
            .encoder
            .deliver_head(&mut self.tail, stream, &deliver, crc);
        if let Err(error) = encoded {
            return self.unencodable(stream, 0, &error);
        }
        if length <= COPIED_BYTES_MAX {
            self.tail.extend_from_slice(entry.bytes());
            return self.grown_from(before);
        }
        let head = self.grown_from(before);
        self.chunks
            .push_back(Chunk::Bytes(std::mem::take(&mut self.tail)));
        self.chunks.push_back(Chunk::Entry(entry.clone()));
        self.bytes += length;
        head + length
    }

    /// Takes out what is to be sent next, at most so many runs of bytes. [`Self::put_back`] must
    /// follow before the next.
    pub(crate) fn take(&mut self, most: usize) -> Batch<D> {
        if !self.tail.is_empty() {
            self.chunks
                .push_back(Chunk::Bytes(std::mem::take(&mut self.tail)));
        }
        let count = self.chunks.len().min(most);
        Batch {
            chunks: self.chunks.drain(..count).collect(),
            skip: self.sent_of_first,
        }
    }

    /// Puts back what was taken out, of which the first `count` bytes have been sent.
    pub(crate) fn put_back(&mut self, batch: Batch<D>, count: usize) {
        self.bytes -= count;
        let mut left = count + batch.skip;
        let mut chunks = batch.chunks.into_iter().peekable();
        while let Some(chunk) = chunks.next_if(|chunk| chunk.bytes().len() <= left) {
            left -= chunk.bytes().len();
        }
        self.sent_of_first = left;
        let rest: Vec<_> = chunks.collect();
        for chunk in rest.into_iter().rev() {
            self.chunks.push_front(chunk);
        }
    }

    fn grown_from(&mut self, before: usize) -> usize {
        let grown = self.tail.len() - before;
        self.bytes += grown;
        grown
    }

    /// A reply that does not fit its own format is the broker's fault; the client is told so.
    fn unencodable(&mut self, stream: u32, correlation: u64, error: &EncodeError) -> usize {
        tracing::error!(%error, "a reply could not be encoded");
        let text = "the broker could not encode its answer";
        let reply = Reply::Error(ErrorReply::new(hulse_model::Status::Internal, text));
        let before = self.tail.len();
        match self
            .encoder
            .reply(&mut self.tail, stream, correlation, &reply)
        {
            Ok(()) => self.grown_from(before),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use hulse_log::OsDisk;

    use super::*;

    #[test]
    fn a_batch_is_sent_in_parts_that_are_no_larger_than_asked_for() {
        let mut outbox = Outbox::<OsDisk>::new();
        let mut expected = Vec::new();
        for correlation in 0..5 {
            let _ = outbox.reply(7, correlation, &Reply::Pong);
            expected.extend_from_slice(&outbox.tail);
            // Each in a chunk of its own, as entries are.
            let chunk = Chunk::Bytes(std::mem::take(&mut outbox.tail));
            outbox.chunks.push_back(chunk);
        }
        let mut sent = Vec::new();
        while outbox.len() > 0 {
            let batch = outbox.take(3);
            let part: Vec<u8> = batch.slices(50).flat_map(|slice| slice.to_vec()).collect();
            assert!((1..=50).contains(&part.len()));
            outbox.put_back(batch, part.len());
            sent.extend_from_slice(&part);
        }
        assert_eq!(sent, expected);
    }
}
