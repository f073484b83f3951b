//! Aligned writes past the page cache, several of them under way at a time.
//!
//! What comes is gathered in memory until there are 64 KiB of it, at a multiple of them in the
//! segment, or until a sync is due. A sync sends off what is there in whole blocks: the last one with
//! zeros behind the bytes, and once more with what follows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::align::{AlignedBuffer, BLOCK_BYTES, block_start};
use crate::memory::TailMemory;
use crate::segment::Segment;
use crate::way::{PIECE_BYTES, Settle, WayIn};
use crate::writers::Writers;

/// Opens a file for direct writes; it is made if it does not exist.
pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    options.custom_flags(flags).open(path).map_err(|error| {
        let text = format!("{}: direct writes: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

pub(crate) struct Direct {
    writers: Writers,
    memory: Arc<TailMemory>,
    file: Option<Arc<File>>,
    /// Where the segment begins in the log.
    log_position: usize,
    gathered: Gathered,
}

/// What the next write has, from the start of a block on.
#[derive(Debug, Default)]
struct Gathered {
    /// Taken when there is something to gather.
    buffer: Option<AlignedBuffer>,
    /// Where the buffer's first block lies in the segment.
    position: usize,
    bytes: usize,
    /// How many of the bytes were sent off before: the beginning of the first block.
    sent: usize,
    /// The write that sent them. The block may not be written again before it has ended: nothing
    /// says which of two writes under way comes last.
    write: Option<u64>,
}

impl Gathered {
    /// How many bytes it takes until it ends at a multiple of a piece.
    const fn room(&self) -> usize {
        PIECE_BYTES - self.position % PIECE_BYTES - self.bytes
    }
}

impl Direct {
    pub(crate) fn start(segment_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            writers: Writers::start()?,
            memory: Arc::new(TailMemory::new(segment_bytes)),
            file: None,
            log_position: 0,
            gathered: Gathered::default(),
        })
    }

    /// Sends off what was gathered, and gathers from its last block on if that is not full.
    fn send(&mut self) -> io::Result<()> {
        let gathered = &mut self.gathered;
        if gathered.bytes == gathered.sent {
            return Ok(());
        }
        if let Some(write) = gathered.write.take() {
            self.writers.wait_for(write)?;
        }
        let mut buffer = gathered.buffer.take().expect("it has bytes");
        let blocks = gathered.bytes.next_multiple_of(BLOCK_BYTES);
        buffer[gathered.bytes..blocks].fill(0);
        let full = block_start(gathered.bytes);
        let rest = gathered.bytes - full;
        if rest > 0 {
            let mut next = self.writers.buffer()?;
            next[..rest].copy_from_slice(&buffer[full..gathered.bytes]);
            gathered.buffer = Some(next);
        }
        let file = self.file.clone().expect("a segment was begun");
        let write = self.writers.send(file, buffer, blocks, gathered.position);
        gathered.write = (rest > 0).then_some(write);
        gathered.position += full;
        gathered.bytes = rest;
        gathered.sent = rest;
        Ok(())
    }
}

impl WayIn for Direct {
    fn begin(&mut self, segment: &Segment) -> io::Result<()> {
        self.send()?;
        if let Some(buffer) = self.gathered.buffer.take() {
            self.writers.give_back(buffer);
        }
        self.gathered = Gathered::default();
        self.file = Some(Arc::new(open_direct(&segment.path)?));
        self.log_position = segment.log_position();
        Ok(())
    }

    fn append(&mut self, mut piece: &[u8], position: usize) -> io::Result<()> {
        let end = self.gathered.position + self.gathered.bytes;
        assert_eq!(position, end, "pieces leave no gap");
        self.memory.keep(piece, self.log_position + position);
        while !piece.is_empty() {
            let gathered = &mut self.gathered;
            let (now, later) = piece.split_at(piece.len().min(gathered.room()));
            let buffer = match &mut gathered.buffer {
                Some(buffer) => buffer,
                none => none.insert(self.writers.buffer()?),
            };
            buffer[gathered.bytes..gathered.bytes + now.len()].copy_from_slice(now);
            gathered.bytes += now.len();
            piece = later;
            if gathered.room() == 0 {
                self.send()?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<Settle> {
        self.send()?;
        Ok(self.writers.settle())
    }

    fn memory(&self) -> Option<Arc<TailMemory>> {
        Some(self.memory.clone())
    }
}
