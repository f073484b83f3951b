//! The memory that a connection reads into.

use bytes::BytesMut;

/// How much is read at once, at the most, unless a frame is larger.
const READ_BYTES: usize = 128 * 1024;
/// Free space of the buffer below which another one is taken.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Buffers that are kept until the messages in them have been dropped, to be read into again: memory
/// that comes anew from the system for each large frame costs more than the frame's bytes.
const KEPT: usize = 4;

/// After so many reads in a row without a large frame the kept memory is given back.
const SMALL_READS: u32 = 64;

/// The buffer that is being filled, and those whose messages may still be in use.
#[derive(Debug)]
pub(super) struct Buffers {
    filling: BytesMut,
    /// What is left of earlier buffers, the oldest first: each holds on to its memory.
    earlier: [BytesMut; KEPT],
    /// Which of them is the oldest.
    oldest: usize,
    /// How many reads in a row were not for a large frame.
    small_reads: u32,
    /// Length of the latest large frame: the next is expected to be as long, so that it need not
    /// move once its header has come.
    large: usize,
}

impl Buffers {
    /// `filling` holds what has come already.
    pub(super) fn new(filling: BytesMut) -> Self {
        Self {
            filling,
            earlier: Default::default(),
            oldest: 0,
            small_reads: 0,
            large: 0,
        }
    }

    /// What has come and has not been cut off the front.
    pub(super) const fn filling(&mut self) -> &mut BytesMut {
        &mut self.filling
    }

    /// Makes room for so many bytes that a frame still lacks, and for what may come with them.
    pub(super) fn make_room(&mut self, missing: usize) {
        if missing > READ_BYTES {
            self.small_reads = 0;
            self.large = self.filling.len() + missing;
        } else if self.small_reads < SMALL_READS {
            self.small_reads += 1;
            if self.small_reads == SMALL_READS {
                self.earlier = Default::default();
                self.large = 0;
            }
        }
        if self.filling.capacity() - self.filling.len() >= missing.max(READ_BYTES_MIN) {
            return;
        }
        if self.small_reads == SMALL_READS {
            self.filling.reserve(missing.max(READ_BYTES));
            return;
        }
        let wanted = (self.filling.len() + missing.max(READ_BYTES)).max(self.large);
        let oldest = &mut self.earlier[self.oldest];
        oldest.clear();
        if !oldest.try_reclaim(wanted) {
            *oldest = BytesMut::with_capacity(wanted);
        }
        oldest.extend_from_slice(&self.filling);
        std::mem::swap(&mut self.filling, oldest);
        self.oldest = (self.oldest + 1) % KEPT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of so many bytes comes, and is cut off the front.
    fn take(buffers: &mut Buffers, bytes: usize) -> bytes::Bytes {
        buffers.make_room(bytes);
        let filling = buffers.filling();
        assert!(filling.capacity() - filling.len() >= bytes);
        filling.extend_from_slice(&vec![7; bytes]);
        filling.split_to(bytes).freeze()
    }

    #[test]
    fn memory_is_read_into_again_when_its_messages_are_dropped() {
        let mut buffers = Buffers::new(BytesMut::new());
        let mut places = Vec::new();
        for _ in 0..20 {
            places.push(take(&mut buffers, 1_000_000).as_ptr());
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.len() <= KEPT + 1, "{} places", places.len());
    }

    #[test]
    fn what_somebody_holds_is_not_written_over() {
        let mut buffers = Buffers::new(BytesMut::new());
        let held: Vec<_> = (0..20).map(|_| take(&mut buffers, 1_000_000)).collect();
        let mut places: Vec<_> = held.iter().map(|frame| frame.as_ptr()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 20);
    }

    #[test]
    fn what_has_come_moves_along() {
        let mut buffers = Buffers::new(BytesMut::from(&b"the start of"[..]));
        buffers.make_room(1_000_000);
        buffers.filling().extend_from_slice(b" a frame");
        assert_eq!(&buffers.filling()[..], b"the start of a frame");
    }

    #[test]
    fn a_connection_that_says_little_keeps_little() {
        let mut buffers = Buffers::new(BytesMut::new());
        for _ in 0..KEPT * 2 {
            take(&mut buffers, 1_000_000);
        }
        for _ in 0..10_000 {
            take(&mut buffers, 100);
        }
        let kept: usize = buffers.earlier.iter().map(BytesMut::capacity).sum();
        assert_eq!(kept, 0);
    }
}
