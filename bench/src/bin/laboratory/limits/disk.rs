//! The bare limit of a durable log.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use hulse_bench::{BareFile, filler};

use crate::failure::Failure;

/// A file that was written before it is measured.
pub(crate) struct Disk {
    file: BareFile,
    bytes: u64,
    piece: Vec<u8>,
    _dir: tempfile::TempDir,
}

impl Disk {
    /// A file of `bytes`, to be written in pieces of `piece_bytes`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub(crate) fn new(files: &Path, bytes: u64, piece_bytes: usize) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("hulse-laboratory-")
            .tempdir_in(files)
            .map_err(Failure::io(files.display()))?;
        let bytes = bytes.max(piece_bytes as u64);
        let file = BareFile::create(dir.path(), bytes).map_err(Failure::io("the bare file"))?;
        Ok(Self {
            file,
            bytes,
            piece: filler(piece_bytes),
            _dir: dir,
        })
    }

    /// Writes the whole file once, with one sync for each `round_bytes`, and gives the bytes per
    /// second.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub(crate) fn group_commit(&mut self, round_bytes: u64) -> Result<f64, Failure> {
        let failed = "the bare file";
        let pieces = self.bytes / self.piece.len() as u64;
        let began = Instant::now();
        for _ in 0..pieces {
            self.file.write(&self.piece).map_err(Failure::io(failed))?;
            if self.file.unsynced_bytes() >= round_bytes {
                self.file.sync().map_err(Failure::io(failed))?;
            }
        }
        self.file.sync().map_err(Failure::io(failed))?;
        let bytes = pieces * self.piece.len() as u64;
        Ok(bytes as f64 / began.elapsed().as_secs_f64())
    }

    /// Writes and syncs pieces one after the other for a while; gives how long each write with
    /// its sync took.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub(crate) fn syncs(&mut self, time: Duration) -> Result<Vec<Duration>, Failure> {
        let failed = "the bare file";
        let mut times = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time {
            let before = Instant::now();
            self.file.write(&self.piece).map_err(Failure::io(failed))?;
            self.file.sync().map_err(Failure::io(failed))?;
            times.push(before.elapsed());
        }
        Ok(times)
    }
}

/// Writes a file that did not exist, in pieces, with a sync after each or one at the end; gives the
/// bytes per second.
///
/// # Errors
/// Whatever the disk answers.
pub(crate) fn fill(
    files: &Path,
    bytes: u64,
    piece_bytes: usize,
    sync_each: bool,
) -> Result<f64, Failure> {
    let mut file = tempfile::tempfile_in(files).map_err(Failure::io(files.display()))?;
    let piece = filler(piece_bytes);
    let pieces = (bytes / piece_bytes as u64).max(1);
    let began = Instant::now();
    for _ in 0..pieces {
        file.write_all(&piece)?;
        if sync_each {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let bytes = pieces * piece_bytes as u64;
    Ok(bytes as f64 / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_once_and_every_sync_is_timed() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(dir.path(), 1 << 20, 64 * 1024).unwrap();
        assert!(disk.group_commit(256 * 1024).unwrap() > 0.0);
        for sync_each in [false, true] {
            assert!(fill(dir.path(), 1 << 20, 64 * 1024, sync_each).unwrap() > 0.0);
        }
        let times = disk.syncs(Duration::from_millis(20)).unwrap();
        assert!(!times.is_empty() && times.iter().all(|time| !time.is_zero()));
        drop(disk);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
