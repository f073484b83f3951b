//! The file under the database: growth reserves real disk blocks, and the first failure is kept.

use std::fs::File;
use std::io;
use std::ops::Bound;
#[cfg(test)]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::FallocateFlags;

/// What has gone wrong with the file so far. The database itself remembers only that something
/// has.
#[derive(Debug)]
pub(crate) struct Health {
    /// Growing was refused for want of room, which spoils nothing that was there before.
    full: AtomicBool,
    /// The first failure of any other kind: what is on the disk is not known any more.
    failed: Mutex<Option<String>>,
    /// The largest size that the file may have, in bytes.
    #[cfg(test)]
    bytes_max: AtomicU64,
    /// How often the file has been synced.
    #[cfg(test)]
    syncs: AtomicU64,
    /// Whether the next sync fails.
    #[cfg(test)]
    sync_fails: AtomicBool,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            full: AtomicBool::new(false),
            failed: Mutex::new(None),
            #[cfg(test)]
            bytes_max: AtomicU64::new(u64::MAX),
            #[cfg(test)]
            syncs: AtomicU64::new(0),
            #[cfg(test)]
            sync_fails: AtomicBool::new(false),
        }
    }

    /// Whether growing was refused since this was last asked.
    pub(crate) fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn fail(&self, reason: String) {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
    }

    #[cfg(test)]
    pub(crate) fn limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn fail_next_sync(&self) {
        self.sync_fails.store(true, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn note<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.fail(format!("{what} failed: {error}"));
        }
        result
    }
}

/// The file, as the database sees it.
#[derive(Debug)]
pub(crate) struct ReservingFile {
    inner: FileBackend,
    /// The same file again, to reserve room in it.
    file: File,
    health: Arc<Health>,
}

impl ReservingFile {
    pub(crate) fn new(file: File, health: Arc<Health>) -> Result<Self, redb::DatabaseError> {
        let again = file.try_clone().map_err(redb::StorageError::from)?;
        Ok(Self {
            inner: FileBackend::new(file)?,
            file: again,
            health,
        })
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let present = self.file.metadata()?.len();
        if len <= present {
            return Ok(());
        }
        #[cfg(test)]
        if len > self.health.bytes_max.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), present, len - present) {
            // A file system without reservations: a full disk will fail a write instead.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }
}

/// Whether a disk or a quota has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl StorageBackend for ReservingFile {
    fn len(&self) -> io::Result<u64> {
        self.health
            .note("reading the file's size", self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.health.note("reading", self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.reserve(len) {
            Err(error) if is_full(&error) => {
                self.health.full.store(true, Ordering::Relaxed);
                Err(error)
            }
            other => {
                let result = other.and_then(|()| self.inner.set_len(len));
                self.health.note("growing the file", result)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.health.sync_fails.swap(false, Ordering::Relaxed) {
            return self
                .health
                .note("syncing", Err(io::Error::other("a test said so")));
        }
        #[cfg(test)]
        self.health.syncs.fetch_add(1, Ordering::Relaxed);
        self.health.note("syncing", self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.health.note("writing", self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
