//! The bare limit of a log: one file, written in place.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Zeros are written in pieces of this size, as those of a segment are: the page cache may
/// keep a file in blocks as large as the writes that made it, and a later write into large ones
/// is cheaper.
const ZEROS: &[u8] = &[0; 256 * 1024];

/// A file that was written with zeros and synced before it is used, as a segment is, and then
/// takes positioned writes one behind the other, from the start again when it is full. It has no
/// checksum, no header, no copy and no index: nothing durable can be faster on the same file
/// system without going around the page cache.
#[derive(Debug)]
pub struct BareFile {
    file: File,
    bytes: u64,
    position: u64,
    unsynced_bytes: u64,
}

impl AsFd for BareFile {
    /// The file's descriptor, so that an executor can sync it through its ring.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl BareFile {
    /// Makes the file `bare` of `bytes` bytes in `dir`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create(dir: &Path, bytes: u64) -> io::Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.join("bare"))?;
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            file.write_all(&ZEROS[..piece])?;
            left -= piece as u64;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            bytes,
            position: 0,
            unsynced_bytes: 0,
        })
    }

    /// Writes `bytes` behind what was written last, with one positioned write.
    ///
    /// # Errors
    /// Whatever the disk answers.
    ///
    /// # Panics
    /// When `bytes` is longer than the file.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        assert!(length <= self.bytes, "{length} bytes into {}", self.bytes);
        if self.position + length > self.bytes {
            self.position = 0;
        }
        self.file.write_all_at(bytes, self.position)?;
        self.position += length;
        self.unsynced_bytes += length;
        Ok(())
    }

    /// Makes what was written durable: `fdatasync`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced_bytes = 0;
        Ok(())
    }

    /// Bytes that were written since the last sync.
    #[must_use]
    pub const fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_stand_one_behind_the_other_and_the_file_keeps_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bare");
        let mut bare = BareFile::create(dir.path(), 10).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 10]);

        bare.write(b"aaaa").unwrap();
        bare.write(b"bbbb").unwrap();
        assert_eq!(bare.unsynced_bytes(), 8);
        assert_eq!(std::fs::read(&path).unwrap(), b"aaaabbbb\0\0");
        bare.sync().unwrap();
        assert_eq!(bare.unsynced_bytes(), 0);

        // Two bytes are left, which is too few: from the start again.
        bare.write(b"cccc").unwrap();
        bare.write(b"dd").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ccccddbb\0\0");
    }

    #[test]
    fn a_file_of_more_than_one_piece_is_as_long_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 2 * ZEROS.len() + 1;
        BareFile::create(dir.path(), bytes as u64).unwrap();
        let content = std::fs::read(dir.path().join("bare")).unwrap();
        assert_eq!(content.len(), bytes);
        assert!(content.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_earlier_file_is_not_taken_for_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let _first = BareFile::create(dir.path(), 8).unwrap();
        let second = BareFile::create(dir.path(), 8);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
