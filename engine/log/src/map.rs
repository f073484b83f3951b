//! The memory map through which segments are read: the one place of this crate with unsafe code.
#![expect(
    unsafe_code,
    reason = "a file can only be mapped by an unsafe call, and so can the fault of a map be met"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};
use rustix::process::Signal;

/// What is said before the process ends over a page that cannot be read.
const FAULT: &str = "hulse: a page of a segment cannot be read (SIGBUS): the disk has failed under \
     it, or the file has been cut off; this process ends, and the kernel's log says more\n";

/// Has the process say why it ends when a page of a map cannot be read, and end at once. The kernel
/// tells of such a page by a signal in the middle of whatever reads it, and there is nothing that
/// could be read in its place.
///
/// # Errors
/// When the signal cannot be caught.
pub fn announce_faults() -> io::Result<()> {
    let end = || {
        // A handler may neither lock nor allocate. If nothing can be said, it ends without a word.
        let _ = rustix::io::write(io::stderr(), FAULT.as_bytes());
        std::process::abort();
    };
    // SAFETY: The action calls `write` and `abort` alone, with a constant and the number of
    // stderr: both may be called in a signal's handler, and neither unwinds.
    let registered = unsafe { signal_hook_registry::register(Signal::BUS.as_raw(), end) };
    registered.map(|_| ())
}

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
