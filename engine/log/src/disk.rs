//! What the log needs of a disk: a small interface, so that recovery can be tested on one that
//! forgets.

use std::fmt::Debug;
use std::io;

use hulse_model::limits::{DISK_RESERVE_BYTES, DISK_RESERVE_PARTS};
use rustix::io::Errno;

/// A directory tree. Paths are relative to its root and separated by `/`.
///
/// A handle is cheap to clone, and is sent to helper threads for the work that blocks.
pub trait Disk: Clone + Debug + Send + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a directory with its parents, and makes them durable. One that exists is fine.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Makes a file of `bytes` zeros that has all of its room on the disk, never a hole. A file that
    /// has the name already is replaced. Neither the zeros nor the entry in its directory are made
    /// durable: whoever makes it writes its headers first, so that one sync does for both.
    ///
    /// # Errors
    /// `StorageFull` when less than `reserve` would be left free, and whatever the disk answers;
    /// no file is left behind then.
    fn create_zeroed(
        &self,
        path: &str,
        bytes: u64,
        fill: Fill,
        reserve: Reserve,
    ) -> io::Result<Self::File>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Gives a file another name, and replaces the one that has it. Durable after
    /// [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn remove_dir_all(&self, path: &str) -> io::Result<()>;

    /// The names of what a directory holds, files and directories, sorted.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Reads a small file, such as a manifest.
    ///
    /// # Errors
    /// Whatever the disk answers, and `InvalidData` for a file over [`SMALL_FILE_BYTES_MAX`].
    fn read_all(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Makes or replaces a small file and syncs its content. The entry in its directory is not
    /// made durable.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
}

/// How a new file gets its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Zeros are written into all of it, which costs as much of the disk as the data will. A sync
    /// then changes data alone, which is what a small one's time depends on.
    Written,
    /// The file system sets the blocks aside and remembers that they are not written. Each is
    /// marked as written with the data's first sync, which large syncs hardly notice.
    Allocated,
}

/// What a new segment leaves free of a file system.
///
/// A disk that is full to its last byte takes no manifest and no metadata: nothing could be deleted
/// from it, and no broker could start on it. So segments leave some of it to the small files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// The whole reserve: for entries, which fill disks.
    Whole,
    /// Half of it: for the sibling log, since acknowledgements are what lets entries go.
    Half,
}

impl Reserve {
    /// Bytes to leave free on a file system of `total` bytes.
    #[must_use]
    pub const fn bytes(self, total: u64) -> u64 {
        let part = total / DISK_RESERVE_PARTS;
        let whole = if part < DISK_RESERVE_BYTES {
            part
        } else {
            DISK_RESERVE_BYTES
        };
        match self {
            Self::Whole => whole,
            Self::Half => whole / 2,
        }
    }

    /// Whether `bytes` more fit into the `free` bytes of a file system of `total` bytes.
    #[must_use]
    pub const fn allows(self, bytes: u64, free: u64, total: u64) -> bool {
        bytes.saturating_add(self.bytes(total)) <= free
    }
}

/// The largest file that [`Disk::read_all`] reads, in bytes.
pub const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// An open file. A handle is cheap to clone; the file closes with its last one.
pub trait DiskFile: Clone + Debug + Send + 'static {
    /// Bytes of the file that stay readable for as long as the slice lives, also after the file
    /// was removed.
    type Slice: AsRef<[u8]> + Clone + Debug + Send + 'static;

    /// Length of the file, in bytes.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Its path below the disk's root.
    fn path(&self) -> &str;

    /// Writes all of `bytes` at `position`, through the page cache.
    ///
    /// # Errors
    /// Whatever the disk answers; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Writes all of `parts`, one behind the other, at `position`, as [`Self::write_at`] would write
    /// them joined: with one call where the disk can.
    ///
    /// # Errors
    /// Whatever the disk answers; how much was written is then unknown.
    fn write_parts_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut at = position;
        for part in parts {
            self.write_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// The `bytes` bytes at `position`, without a copy where the disk can.
    ///
    /// # Errors
    /// `UnexpectedEof` when they lie beyond the file's end, and whatever the disk answers.
    fn slice(&self, position: u64, bytes: usize) -> io::Result<Self::Slice>;

    /// Whether reading these bytes would not wait for the disk, as far as samples tell. A disk that
    /// cannot say so says yes.
    fn is_resident(&self, position: u64, bytes: u64) -> bool {
        let _ = (position, bytes);
        true
    }

    /// Brings these bytes into memory, waits for them, and has the disk begin with the `ahead` bytes
    /// that follow. For helper threads.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn warm(&self, position: u64, bytes: u64, ahead: u64) -> io::Result<()> {
        let _ = (position, bytes, ahead);
        Ok(())
    }

    /// Makes the file's content durable, and waits for it. For helper threads, recovery and
    /// tests: a core syncs through its ring.
    ///
    /// # Errors
    /// Whatever the disk answers. What was written before is then neither durable nor known lost.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether an error says that the process, or the system, has as many files open as it may.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    let of = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    of(Errno::MFILE) || of(Errno::NFILE)
}

/// Removes a file, which somebody else may just have removed.
pub(crate) fn remove_if_there<D: Disk>(disk: &D, path: &str) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The error of a slice that reaches beyond its file.
pub(crate) fn beyond_end(path: &str, position: u64, bytes: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{path}: {bytes} bytes at {position} lie beyond the end of the file"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_smaller_on_a_small_file_system() {
        let mib = 1 << 20;
        assert_eq!(Reserve::Whole.bytes(u64::MAX), DISK_RESERVE_BYTES);
        assert_eq!(Reserve::Half.bytes(u64::MAX), DISK_RESERVE_BYTES / 2);
        assert_eq!(Reserve::Whole.bytes(160 * mib), 10 * mib);
        assert_eq!(Reserve::Half.bytes(160 * mib), 5 * mib);
        assert_eq!(Reserve::Whole.bytes(0), 0);
    }

    #[test]
    fn what_would_go_into_the_reserve_is_not_allowed() {
        let total = 1 << 40;
        let free = 100 + DISK_RESERVE_BYTES;
        assert!(Reserve::Whole.allows(100, free, total));
        assert!(!Reserve::Whole.allows(101, free, total));
        assert!(Reserve::Half.allows(100 + DISK_RESERVE_BYTES / 2, free, total));
        assert!(!Reserve::Half.allows(101 + DISK_RESERVE_BYTES / 2, free, total));
        assert!(
            !Reserve::Whole.allows(u64::MAX, u64::MAX - 1, total),
            "no overflow"
        );
    }
}
