//! Which of a log's files are open: they open when they are needed, and an idle log has none.
//!
//! A core may have ten thousand partitions, and a host may allow twenty thousand open files for
//! everything. A file closes only when a sync has covered all that was written to it: the kernel tells
//! of a page that it could not write to those who had the file open when that happened.

use crate::disk::{Disk, is_out_of_files};
use crate::log::{AppendError, Log};

/// How often a log was used since it was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses {
    /// Reads, appends, and whatever else opens files or has something to write.
    pub(super) all: u64,
    /// Reads alone.
    pub(super) reads: u64,
}

impl<D: Disk> Log<D> {
    /// A number that changes with every use that may open a file. For as long as it stays, files
    /// that were closed are closed.
    #[must_use]
    pub const fn uses(&self) -> u64 {
        self.uses.all
    }

    /// A number that changes with every read.
    #[must_use]
    pub const fn reads(&self) -> u64 {
        self.uses.reads
    }

    /// Closes every file and map, when nothing is staged, waits for a sync, or is in flight. They
    /// open again when they are needed, and what was read stays readable. Returns whether
    /// none of the files is open now.
    pub fn close_idle(&mut self) -> bool {
        let idle = self.poison.is_none()
            && self.is_settled()
            && self.footers_unsynced.is_empty()
            && self.staged.bytes.is_empty();
        if idle {
            self.segments.close_all();
        } else {
            self.segments.close_sealed();
        }
        idle
    }

    /// Closes the files and maps of the segments that are only read: nobody has read for a while.
    pub fn close_unread(&mut self) {
        self.segments.close_sealed();
    }

    /// Whether nothing but a footer's sync keeps files open: see [`Self::begin_footer_sync`].
    #[must_use]
    pub fn is_footer_unsynced(&self) -> bool {
        self.poison.is_none() && self.is_settled() && !self.footers_unsynced.is_empty()
    }

    /// Whether the segments' own files are durable to the last entry, and no sync of them is in
    /// flight.
    pub(super) fn is_settled(&self) -> bool {
        let progress = &self.progress;
        progress.in_flight.is_none()
            && progress.checkpoint.is_none()
            && progress.synced == progress.end
    }

    /// Opens the segment that records are appended to, if there is one and it is closed.
    pub(super) fn open_active(&mut self) -> Result<(), AppendError> {
        let Some(active) = self.segments.active().filter(|active| !active.is_open()) else {
            return Ok(());
        };
        let file = self.open_file(&active.name)?;
        if let Some(active) = self.segments.active_mut() {
            active.opened_with(file);
        }
        Ok(())
    }

    /// Opens one of the log's files.
    pub(super) fn open_file(&self, name: &str) -> Result<D::File, AppendError> {
        let path = format!("{}/{name}", self.home.dir);
        self.home
            .disk
            .open(&path)
            .map_err(|error| AppendError::Unopened {
                path,
                reason: error.to_string(),
                out_of_files: is_out_of_files(&error),
            })
    }
}
