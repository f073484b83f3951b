//! Making a file's data durable through the ring.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::adopt::LentFile;
use crate::net::io_error;
use crate::scheduler::SyncUnderWay;

/// A file whose written data this core makes durable without blocking.
///
/// It holds an open descriptor and nothing else: no registration, no buffer, nothing to be closed
/// with care. A descriptor opened for reading is enough for the kernel.
#[derive(Debug)]
pub struct SyncFile {
    fd: OwnedFd,
}

impl SyncFile {
    /// A file that is already open. Clone the descriptor first
    /// (`BorrowedFd::try_clone_to_owned`) where the owner keeps its own.
    pub fn new(file: impl Into<OwnedFd>) -> Self {
        Self { fd: file.into() }
    }

    /// Opens the file at `path`. It blocks for as long as the path's directories take to look up.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self::new)
    }

    /// `fdatasync` through this core's ring: what was written before the call is durable when it
    /// returns `Ok`.
    ///
    /// # Errors
    ///
    /// What the kernel says. After an error the state of the data is unknown and another attempt
    /// may report success wrongly: never retry, give the replica up.
    ///
    /// # Panics
    ///
    /// When this thread is not a core.
    pub async fn sync_data(&self) -> io::Result<()> {
        sync_data(&self.fd).await
    }
}

impl AsFd for SyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `fdatasync` of a borrowed file through this core's ring; as [`SyncFile::sync_data`].
///
/// Nothing is opened, duplicated or closed for it. Dropping the future leaves the sync to finish
/// in the kernel, which holds the file itself; whether it did is then unknown.
///
/// # Errors
///
/// What the kernel says; never retry.
///
/// # Panics
///
/// When this thread is not a core.
pub async fn sync_data(file: impl AsFd) -> io::Result<()> {
    let _under_way = SyncUnderWay::begin();
    let lent = LentFile::new(file.as_fd());
    lent.file().fdatasync().await.map_err(io_error)
}
