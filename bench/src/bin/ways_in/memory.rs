//! What a direct writer keeps of its tail, because its readers cannot use the page cache.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::way::PIECE_BYTES;

/// The newest bytes of a log, by their positions in it. It holds a whole number of slots, which are
/// used again in turn; a reader that falls further behind than all of them has to go to the file.
#[derive(Debug)]
pub(crate) struct TailMemory {
    slots: Vec<Mutex<Slot>>,
}

#[derive(Debug)]
struct Slot {
    /// Which stretch of the log it holds, counted in slots from the log's start.
    number: Option<usize>,
    /// How much of it is there, from its start.
    filled: usize,
    bytes: Vec<u8>,
}

impl TailMemory {
    /// Room for the newest `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let slot = || Slot {
            number: None,
            filled: 0,
            bytes: vec![0; PIECE_BYTES],
        };
        let slots = bytes.div_ceil(PIECE_BYTES).max(1);
        Self {
            slots: (0..slots).map(|_| Mutex::new(slot())).collect(),
        }
    }

    /// Keeps `bytes` as what stands at `position`. Positions rise, but may leave gaps where a
    /// segment ends.
    pub(crate) fn keep(&self, mut bytes: &[u8], mut position: usize) {
        while !bytes.is_empty() {
            let (number, within) = (position / PIECE_BYTES, position % PIECE_BYTES);
            let piece = bytes.len().min(PIECE_BYTES - within);
            let mut slot = self.slot(number);
            slot.number = Some(number);
            slot.bytes[within..within + piece].copy_from_slice(&bytes[..piece]);
            slot.filled = within + piece;
            bytes = &bytes[piece..];
            position += piece;
        }
    }

    /// Fills `to` with what stands at `position`. False when not all of it is here.
    pub(crate) fn read(&self, mut to: &mut [u8], mut position: usize) -> bool {
        while !to.is_empty() {
            let (number, within) = (position / PIECE_BYTES, position % PIECE_BYTES);
            let piece = to.len().min(PIECE_BYTES - within);
            let slot = self.slot(number);
            if slot.number != Some(number) || slot.filled < within + piece {
                return false;
            }
            to[..piece].copy_from_slice(&slot.bytes[within..within + piece]);
            to = &mut to[piece..];
            position += piece;
        }
        true
    }

    fn slot(&self, number: usize) -> MutexGuard<'_, Slot> {
        let slot = &self.slots[number % self.slots.len()];
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_bench::filler;

    #[test]
    fn the_newest_bytes_are_there_and_older_ones_are_not() {
        let log = filler(10 * PIECE_BYTES);
        let memory = TailMemory::new(3 * PIECE_BYTES);
        // Pieces that lie across the borders of slots.
        let mut end = 0;
        for piece in log.chunks(50_000) {
            memory.keep(piece, end);
            end += piece.len();
            let mut read = vec![0; piece.len()];
            assert!(memory.read(&mut read, end - piece.len()));
            assert!(read == piece);
        }
        let mut read = vec![0; 3 * PIECE_BYTES];
        assert!(memory.read(&mut read, 7 * PIECE_BYTES));
        assert!(read == log[7 * PIECE_BYTES..]);
        let mut byte = [0];
        assert!(!memory.read(&mut byte, 7 * PIECE_BYTES - 1));
        assert!(!memory.read(&mut byte, end));
    }

    #[test]
    fn bytes_of_an_earlier_turn_are_not_taken_for_newer_ones() {
        let memory = TailMemory::new(2 * PIECE_BYTES);
        memory.keep(&filler(2 * PIECE_BYTES), 0);
        memory.keep(&[7; 10], 2 * PIECE_BYTES);
        let mut read = [0; 11];
        assert!(!memory.read(&mut read, 2 * PIECE_BYTES));
        assert!(memory.read(&mut read[..10], 2 * PIECE_BYTES));
        assert_eq!(read, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
        assert!(!memory.read(&mut read, 0));
    }
}
