//! What direct writes ask of positions and of memory: both must be multiples of a block.

use std::ops::{Deref, DerefMut};

/// Positions, lengths and addresses of direct writes are multiples of this. Disks of today ask for
/// 512 or 4096 bytes.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// The start of the block that `position` lies in.
pub(crate) const fn block_start(position: usize) -> usize {
    position - position % BLOCK_BYTES
}

/// How many bytes an address must rise to be a block's start.
const fn gap(address: usize) -> usize {
    (BLOCK_BYTES - address % BLOCK_BYTES) % BLOCK_BYTES
}

/// Memory whose address is a multiple of a block. It is part of a vector that is longer by a block
/// and never grows, so that it needs no allocator of its own.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    whole: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl AlignedBuffer {
    /// Zeros, in as many blocks as `bytes` need.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let whole = vec![0; bytes + BLOCK_BYTES];
        let start = gap(whole.as_ptr().addr());
        Self {
            whole,
            start,
            bytes,
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.start..self.start + self.bytes]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.whole[self.start..self.start + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_starts_at_or_before_each_of_its_positions() {
        assert_eq!(block_start(0), 0);
        assert_eq!(block_start(4095), 0);
        assert_eq!(block_start(4096), 4096);
        assert_eq!(block_start(3 * 4096 + 1), 3 * 4096);
    }

    #[test]
    fn an_address_rises_to_the_next_block_unless_it_is_one() {
        assert_eq!(gap(0), 0);
        assert_eq!(gap(1), 4095);
        assert_eq!(gap(4095), 1);
        assert_eq!(gap(8192), 0);
        assert_eq!(gap(8192 + 16), 4080);
    }

    #[test]
    fn buffers_lie_at_blocks_and_hold_whole_ones() {
        // Many sizes, so that the allocator answers with many addresses.
        for bytes in [1, 100, 4096, 4097, 65_536, 1 << 20] {
            let mut buffers: Vec<AlignedBuffer> =
                (0..8).map(|_| AlignedBuffer::new(bytes)).collect();
            for buffer in &mut buffers {
                assert_eq!(buffer.as_ptr().addr() % BLOCK_BYTES, 0);
                assert_eq!(buffer.len(), bytes.next_multiple_of(BLOCK_BYTES));
                assert!(buffer.iter().all(|byte| *byte == 0));
                buffer.fill(1);
            }
        }
    }
}
