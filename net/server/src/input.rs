//! The bytes of a connection that have been read and not handled.

use hulse_wire::needed;

/// The read buffer of a connection that has said little.
const BUFFER_BYTES_MIN: usize = 4 * 1024;
/// The read buffer of a connection that says much. It grows beyond only for a larger frame.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// After so many reads in a row that did not need a larger buffer, its memory is given back. While a
/// client sends large frames it is kept: to get it anew for each of them costs more than its bytes.
const SMALL_READS: u32 = 16;

/// What has been read and not handled.
pub(crate) struct Input {
    bytes: Vec<u8>,
    filled: usize,
    taken: usize,
    /// How many reads in a row would have fitted into a buffer of the usual size.
    small_reads: u32,
    /// The four opening bytes have come.
    pub(crate) opened: bool,
}

impl Input {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER_BYTES_MIN],
            filled: 0,
            taken: 0,
            small_reads: 0,
            opened: false,
        }
    }

    /// Where the next bytes go; never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// So many bytes were put into the room.
    pub(crate) const fn came(&mut self, count: usize) {
        self.filled += count;
    }

    /// What has come and is not handled.
    pub(crate) fn unhandled(&self) -> &[u8] {
        &self.bytes[self.taken..self.filled]
    }

    /// So many bytes are handled.
    pub(crate) const fn take(&mut self, count: usize) {
        self.taken += count;
    }

    /// Moves what is left to the front, and makes the buffer as large as what comes asks for.
    pub(crate) fn make_room(&mut self) {
        let full = self.filled == self.bytes.len();
        let large = self.filled > BUFFER_BYTES_MAX / 2;
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let wanted = if self.opened {
            needed(&self.bytes[..self.filled])
        } else {
            0
        };
        let size = self.bytes.len();
        self.small_reads = if large || wanted > BUFFER_BYTES_MAX {
            0
        } else {
            self.small_reads.saturating_add(1)
        };
        if wanted > size {
            self.bytes.resize(wanted.max(BUFFER_BYTES_MAX), 0);
        } else if full && size < BUFFER_BYTES_MAX {
            self.bytes.resize((size * 4).min(BUFFER_BYTES_MAX), 0);
        } else if size > BUFFER_BYTES_MAX && self.small_reads >= SMALL_READS {
            self.bytes.truncate(BUFFER_BYTES_MAX);
            self.bytes.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use hulse_wire::{Produce, Request, decode_frame};

    use super::*;

    /// A frame with a payload of so many bytes.
    fn frame(payload_bytes: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        let produce = Produce {
            sequence: 0,
            messages: 1,
            payload: &vec![7; payload_bytes],
            skipped: false,
            delayed: false,
        };
        let encoded = Request::Produce(produce).encode(&mut frame, 1, 1);
        encoded.expect("it is within bounds");
        frame
    }

    /// Reads frames that come as fast as they are taken, and gives the largest size of the buffer.
    fn read(input: &mut Input, mut bytes: &[u8]) -> usize {
        let mut largest = 0;
        while !bytes.is_empty() {
            let room = input.room();
            assert!(!room.is_empty());
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            input.came(count);
            while let Some((frame, length)) = decode_frame(input.unhandled()).expect("a frame") {
                assert!(frame.payload.iter().all(|byte| *byte == 7));
                input.take(length);
            }
            input.make_room();
            largest = largest.max(input.bytes.len());
        }
        assert!(input.unhandled().is_empty(), "everything is handled");
        largest
    }

    fn opened() -> Input {
        let mut input = Input::new();
        input.opened = true;
        input
    }

    #[test]
    fn the_buffer_is_as_large_as_what_comes_asks_for() {
        let mut input = opened();
        assert_eq!(read(&mut input, &frame(100)), BUFFER_BYTES_MIN);
        let large = frame(1_000_000);
        assert_eq!(read(&mut input, &large), large.len());
    }

    #[test]
    fn the_memory_of_large_frames_is_kept_while_they_come_and_then_given_back() {
        let mut input = opened();
        let large = frame(1_000_000);
        for _ in 0..100 {
            read(&mut input, &large);
            assert_eq!(input.bytes.len(), large.len());
            read(&mut input, &frame(10));
        }
        for _ in 0..SMALL_READS {
            read(&mut input, &frame(10));
        }
        assert_eq!(input.bytes.capacity(), BUFFER_BYTES_MAX);
    }
}
