//! The memory map through which segments are read: the one place of this crate with unsafe code.
#![expect(unsafe_code, reason = "a file can only be mapped by an unsafe call")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

/// A read-only map of a whole file.
#[derive(Debug, Clone)]
pub(crate) struct FileMap(Arc<Mmap>);

impl FileMap {
    /// Maps the first `bytes` bytes of `file`.
    pub(crate) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        // SAFETY: The files that are mapped lie in a data directory that one process holds a lock
        // on. Segments never change their size after they were made, so that no mapped page loses
        // its backing, and the bytes that are handed out lie below what was written, which is
        // never written again while the process runs, but for a truncation, which cuts only what
        // no reader was ever given. Every value of a byte is valid.
        let map = unsafe { MmapOptions::new().len(bytes).map(file) }?;
        Ok(Self(Arc::new(map)))
    }

    /// The bytes in `range`, if the map has them.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<MapSlice> {
        self.0.get(range.clone())?;
        Some(MapSlice {
            map: self.0.clone(),
            range,
        })
    }
}

/// Bytes of a mapped file. The map lives for as long as a slice of it does.
#[derive(Debug, Clone)]
pub struct MapSlice {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl AsRef<[u8]> for MapSlice {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}
