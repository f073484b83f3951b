//! Making a journal file, away from the core.

use std::io;

use crate::disk::{Disk, DiskFile, Fill, Reserve};
use crate::journal::format::{BLOCK_BYTES, encode_file_header};
use crate::journal::{JOURNALS_DIR, journal_path};

/// A journal file that is to be made. Send it to a helper thread, run it there, and give the
/// result to [`crate::Journal::prepared`].
#[derive(Debug)]
pub struct PrepareJournal<D> {
    disk: D,
    core: u32,
    number: u64,
    seal: u64,
    bytes: u64,
}

/// The outcome of a [`PrepareJournal`].
#[derive(Debug)]
pub struct PreparedJournal<D: Disk> {
    pub(super) seal: u64,
    pub(super) bytes: u64,
    pub(super) result: io::Result<D::File>,
}

impl<D: Disk> PrepareJournal<D> {
    pub(super) const fn new(disk: D, core: u32, number: u64, seal: u64, bytes: u64) -> Self {
        Self {
            disk,
            core,
            number,
            seal,
            bytes,
        }
    }

    /// Makes the file, durably with its name. Blocks for as long as the disk takes. When it fails,
    /// nothing is left behind, as far as the disk allows.
    #[must_use]
    pub fn run(self) -> PreparedJournal<D> {
        let path = journal_path(self.core, self.number);
        let new = format!("{path}.new");
        let result = self.make(&new, &path);
        if result.is_err() {
            // The first error says more than these would; the next start removes what is left.
            let _ = self.disk.remove(&new);
            let _ = self.disk.remove(&path);
        }
        PreparedJournal {
            seal: self.seal,
            bytes: self.bytes,
            result,
        }
    }

    fn make(&self, new: &str, path: &str) -> io::Result<D::File> {
        self.disk.create_dir(JOURNALS_DIR)?;
        let file = self
            .disk
            .create_zeroed(new, self.bytes, Fill::Written, Reserve::Whole)?;
        let header = encode_file_header(self.core, self.number, self.seal);
        file.write_at(&header, 0)?;
        file.write_at(&header, self.bytes - BLOCK_BYTES)?;
        file.sync_data()?;
        drop(file);
        self.disk.rename(new, path)?;
        self.disk.sync_dir(JOURNALS_DIR)?;
        self.disk.open(path)
    }
}
