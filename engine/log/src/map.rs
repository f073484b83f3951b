//! The memory map through which segments are read: the one place of this crate with unsafe code.
#![expect(
    unsafe_code,
    reason = "a file can only be mapped by an unsafe call, and so can the fault of a map be met"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "ways")]
use memmap2::MmapMut;
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

/// A map of a file through which bytes are stored into it. No part of the log writes in this way:
/// it is here for the benchmark that compares it with positioned writes.
#[cfg(feature = "ways")]
#[derive(Debug)]
pub struct WritableMap(MmapMut);

#[cfg(feature = "ways")]
impl WritableMap {
    /// Maps the first `bytes` bytes of `file`, which is open for reading and writing and is not cut
    /// off for as long as it is mapped.
    ///
    /// # Errors
    /// `InvalidInput` when the file is shorter, and whatever the system answers.
    pub fn new(file: &File, bytes: usize) -> io::Result<Self> {
        if file.metadata()?.len() < bytes as u64 {
            let text = format!("a file of less than {bytes} bytes cannot be mapped so far");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // SAFETY: The file has all the bytes that are mapped, and is not cut off meanwhile, so that
        // no page loses its backing. The bytes are never read through this map, and are stored to
        // through a `&mut` of it alone. Every value of a byte is valid.
        let map = unsafe { MmapOptions::new().len(bytes).map_mut(file) }?;
        Ok(Self(map))
    }

    /// Stores `bytes` at `position`. They are durable after a sync of the file.
    ///
    /// # Errors
    /// `InvalidInput` when not all of them lie within the map; none is stored then.
    pub fn write_at(&mut self, bytes: &[u8], position: usize) -> io::Result<()> {
        let mapped = self.0.len();
        let end = position.checked_add(bytes.len());
        let Some(room) = end.and_then(|end| self.0.get_mut(position..end)) else {
            let text = format!(
                "{} bytes at {position} are beyond the {mapped} that are mapped",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        room.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(feature = "ways")]
#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 8192;

    fn mapped() -> (File, WritableMap) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(BYTES as u64).unwrap();
        let map = WritableMap::new(&file, BYTES).unwrap();
        (file, map)
    }

    fn read(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_is_stored_is_in_the_file_up_to_the_last_byte() {
        let (file, mut map) = mapped();
        map.write_at(b"first", 0).unwrap();
        map.write_at(b"over a page", 4090).unwrap();
        map.write_at(b"last", BYTES - 4).unwrap();
        map.write_at(b"", BYTES).unwrap();
        file.sync_data().unwrap();
        let mut expected = vec![0; BYTES];
        expected[..5].copy_from_slice(b"first");
        expected[4090..4101].copy_from_slice(b"over a page");
        expected[BYTES - 4..].copy_from_slice(b"last");
        assert!(read(&file) == expected);
    }

    #[test]
    fn nothing_is_stored_beyond_the_end() {
        let (file, mut map) = mapped();
        for position in [BYTES - 3, BYTES, BYTES + 1, usize::MAX - 3, usize::MAX] {
            let refused = map.write_at(b"four", position).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
        }
        assert!(map.write_at(b"", BYTES + 1).is_err());
        assert!(read(&file).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_more_is_mapped_than_the_file_has() {
        let (file, _) = mapped();
        let refused = WritableMap::new(&file, BYTES + 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
    }
}
