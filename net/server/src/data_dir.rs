//! The data directory: one process at a time, one format, one broker.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use hulse_log::{OsDisk, remove_leftovers};
use rustix::fs::{FlockOperation, flock};

use crate::config::ServeError;

/// The format of the data directory that this program writes.
pub const DATA_FORMAT: u32 = 1;

const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";

/// A data directory that this process holds. It is released when this is dropped, or when the
/// process dies, however it dies: the lock belongs to the open file.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl DataDir {
    /// Takes the directory, and makes it if it does not exist. What a process that was killed left
    /// half made is removed from its partitions.
    ///
    /// # Errors
    /// When another process holds it, when it has another format, or when it cannot be written.
    pub fn take(path: &Path) -> Result<Self, ServeError> {
        let wrong = |source| ServeError::Data {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(wrong)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(wrong)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error == rustix::io::Errno::WOULDBLOCK {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => String::new(),
                    pid => format!(" (process {pid})"),
                };
                return Err(ServeError::DataInUse {
                    path: path.to_owned(),
                    holder,
                });
            }
            return Err(wrong(error.into()));
        }
        check_format(path)?;
        // Before the first byte is written: they may be what fills the disk.
        let left = remove_leftovers(&OsDisk::new(path)).map_err(wrong)?;
        for path in left {
            tracing::info!(path, "removed a file that was being made at the last end");
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .map_err(wrong)?;
        write!(lock, "{}", std::process::id()).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads the format, or writes it into a directory that has none.
fn check_format(path: &Path) -> Result<(), ServeError> {
    let wrong = |source| ServeError::Data {
        path: path.to_owned(),
        source,
    };
    let file = path.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) if text.trim() == DATA_FORMAT.to_string() => Ok(()),
        Ok(text) => Err(ServeError::DataVersion {
            path: path.to_owned(),
            found: text.trim().chars().take(20).collect(),
            known: DATA_FORMAT,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Written aside and renamed, so that a crash leaves either no format or a whole one.
            let aside = path.join("FORMAT.new");
            let mut new = File::create(&aside).map_err(wrong)?;
            writeln!(new, "{DATA_FORMAT}")
                .and_then(|()| new.sync_all())
                .map_err(wrong)?;
            fs::rename(&aside, &file).map_err(wrong)?;
            File::open(path)
                .and_then(|dir| dir.sync_all())
                .map_err(wrong)
        }
        Err(error) => {
            let text = format!("its file {FORMAT_FILE} cannot be read: {error}");
            Err(wrong(io::Error::new(error.kind(), text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let held = DataDir::take(&path).unwrap();
        let error = DataDir::take(&path).unwrap_err();
        assert!(matches!(error, ServeError::DataInUse { .. }), "{error}");
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(held);
        DataDir::take(&path).unwrap();
    }

    /// The path of a segment of a partition in `dir` that a killed process was making.
    fn half_made(dir: &Path) -> PathBuf {
        let partition = dir.join("partitions").join("0".repeat(32));
        fs::create_dir_all(&partition).unwrap();
        let path = partition.join("entries-00000000000000000000.seg.new");
        fs::write(&path, "half").unwrap();
        path
    }

    #[test]
    fn what_was_half_made_is_removed_by_whom_the_directory_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::take(dir.path()).unwrap();
        let path = half_made(dir.path());
        DataDir::take(dir.path()).unwrap_err();
        assert!(path.exists(), "its holder may be making it");
        drop(held);
        drop(DataDir::take(dir.path()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn another_format_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::take(dir.path()).unwrap());
        fs::write(dir.path().join(FORMAT_FILE), "2\n").unwrap();
        let path = half_made(dir.path());
        let error = DataDir::take(dir.path()).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        assert!(error.to_string().contains("reads format 1"), "{error}");
        assert_eq!(
            fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap(),
            "2\n"
        );
        assert!(path.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::take(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
