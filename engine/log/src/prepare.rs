//! Making the next segment, away from the core: zeros and a sync take tens of milliseconds.

use std::io;

use crate::disk::{Disk, DiskFile, Fill, Reserve, remove_if_there};
use crate::segment::{LogKind, SegmentHeader};

/// A segment that a log wants made. Send it to a helper thread, run it there, and give the result
/// to [`crate::Log::segment_prepared`].
#[derive(Debug)]
pub struct Prepare<D> {
    pub(crate) disk: D,
    pub(crate) dir: String,
    pub(crate) header: SegmentHeader,
}

/// The outcome of a [`Prepare`].
#[derive(Debug)]
pub struct Prepared<D> {
    pub(crate) disk: D,
    pub(crate) dir: String,
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// Whether the segment got its name, and perhaps took it from an earlier one.
    pub(crate) named: bool,
    pub(crate) result: io::Result<()>,
}

/// Why no segment could be made. The log goes on with the room that it has.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The disk is full, but for what is kept for small files.
    #[error("{path}: no room on the disk for a segment of {bytes} bytes")]
    Full {
        /// The segment that was to be made.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The disk failed otherwise.
    #[error("{path}: {source}")]
    Io {
        /// The segment that was to be made.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
}

impl<D: Disk> Prepare<D> {
    /// Size of the segment, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.header.layout.capacity
    }

    /// How the segment gets its room.
    #[must_use]
    pub const fn fill(&self) -> Fill {
        self.header.fill
    }

    pub(crate) fn name(&self) -> String {
        self.header.kind.segment_name(self.header.base)
    }

    /// Makes the segment, durably with its name, and leaves it closed. Blocks for as long as the
    /// disk takes. When it fails, no part of the segment is left behind.
    #[must_use]
    pub fn run(self) -> Prepared<D> {
        let name = self.name();
        let path = format!("{}/{name}", self.dir);
        let new = format!("{path}.new");
        let mut named = false;
        let result = self.make(&new, &path, &mut named);
        if result.is_err() {
            // The first error says more than these would; recovery removes what is left.
            let _ = self.disk.remove(if named { &path } else { &new });
        }
        Prepared {
            disk: self.disk,
            dir: self.dir,
            name,
            header: self.header,
            named,
            result,
        }
    }

    fn make(&self, new: &str, path: &str, named: &mut bool) -> io::Result<()> {
        let reserve = match self.header.kind {
            LogKind::Entries => Reserve::Whole,
            LogKind::Sibling => Reserve::Half,
        };
        let file = self
            .disk
            .create_zeroed(new, self.bytes(), self.header.fill, reserve)?;
        let header = self.header.encode();
        file.write_at(&header, 0)?;
        file.write_at(&header, self.header.layout.header_copy_at())?;
        file.sync_data()?;
        drop(file);
        self.disk.rename(new, path)?;
        *named = true;
        self.disk.sync_dir(&self.dir)
    }
}

impl<D: Disk> Prepared<D> {
    /// Takes the segment back, because the log was truncated while it was made.
    pub(crate) fn discard(self) -> Result<(), PrepareError> {
        let path = format!("{}/{}", self.dir, self.name);
        match self.result {
            Ok(()) => remove_if_there(&self.disk, &path)
                .map_err(|source| PrepareError::Io { path, source }),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn into_segment(self) -> Result<(String, SegmentHeader), PrepareError> {
        match self.result {
            Ok(()) => Ok((self.name, self.header)),
            Err(source) => {
                let path = format!("{}/{}", self.dir, self.name);
                let full = matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                );
                Err(if full {
                    PrepareError::Full {
                        path,
                        bytes: self.header.layout.capacity,
                    }
                } else {
                    PrepareError::Io { path, source }
                })
            }
        }
    }
}
