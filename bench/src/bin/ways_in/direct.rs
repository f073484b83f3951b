//! Aligned writes past the page cache, several of them under way at a time.
//!
//! A direct write has whole blocks. What does not fill one is held back until more comes, or a sync
//! does: then its block is written with zeros behind it, and once more with what follows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::align::{BLOCK_BYTES, block_start};
use crate::memory::TailMemory;
use crate::segment::Segment;
use crate::way::{Settle, WayIn};
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
    held: Held,
}

/// The bytes of the last block, as long as it is not full.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where the block begins in the segment.
    position: usize,
    /// How many of the bytes were sent off by a sync.
    sent: usize,
    /// The write that sent them. The block may not be written again before it has ended: nothing
    /// says which of two writes under way comes last.
    write: Option<u64>,
}

impl Direct {
    pub(crate) fn start(segment_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            writers: Writers::start()?,
            memory: Arc::new(TailMemory::new(segment_bytes)),
            file: None,
            log_position: 0,
            held: Held::default(),
        })
    }

    fn file(&self) -> Arc<File> {
        self.file.clone().expect("a segment was begun")
    }

    /// Writes the last block as far as it goes, unless that was done.
    fn send_held(&mut self) -> io::Result<()> {
        let held = self.held.bytes.len();
        if held == self.held.sent {
            return Ok(());
        }
        self.await_block()?;
        let mut buffer = self.writers.buffer()?;
        buffer[..held].copy_from_slice(&self.held.bytes);
        buffer[held..BLOCK_BYTES].fill(0);
        let position = self.held.position;
        let write = self
            .writers
            .send(self.file(), buffer, BLOCK_BYTES, position);
        self.held.sent = held;
        self.held.write = Some(write);
        Ok(())
    }

    /// Waits until no write of the last block is under way.
    fn await_block(&mut self) -> io::Result<()> {
        match self.held.write.take() {
            Some(write) => self.writers.wait_for(write),
            None => Ok(()),
        }
    }
}

impl WayIn for Direct {
    fn begin(&mut self, segment: &Segment) -> io::Result<()> {
        if self.file.is_some() {
            self.send_held()?;
        }
        self.file = Some(Arc::new(open_direct(&segment.path)?));
        self.log_position = segment.log_position();
        self.held = Held::default();
        Ok(())
    }

    fn append(&mut self, piece: &[u8], position: usize) -> io::Result<()> {
        let held = self.held.bytes.len();
        assert_eq!(position, self.held.position + held, "pieces leave no gap");
        self.memory.keep(piece, self.log_position + position);
        let whole = block_start(held + piece.len());
        if whole == 0 {
            self.held.bytes.extend_from_slice(piece);
            return Ok(());
        }
        self.await_block()?;
        let (now, later) = piece.split_at(whole - held);
        let mut buffer = self.writers.buffer()?;
        buffer[..held].copy_from_slice(&self.held.bytes);
        buffer[held..whole].copy_from_slice(now);
        let position = self.held.position;
        self.writers.send(self.file(), buffer, whole, position);
        self.held.bytes.clear();
        self.held.bytes.extend_from_slice(later);
        self.held.position += whole;
        self.held.sent = 0;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<Settle> {
        self.send_held()?;
        Ok(self.writers.settle())
    }

    fn memory(&self) -> Option<Arc<TailMemory>> {
        Some(self.memory.clone())
    }
}
