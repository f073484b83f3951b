//! Group commit: one sync in flight, covering everything written before it began.

use std::io;

use hulse_model::Offset;

use crate::disk::{Disk, DiskFile};
use crate::log::{InFlight, Log, STAGING_KEPT_BYTES, WriteError};
use crate::segments::Stage;

/// A sync to be done. Every file must be synced before it is given to [`Log::finish_sync`].
#[derive(Debug)]
#[must_use = "a log syncs nothing more until the ticket is given back"]
pub struct SyncTicket<D: Disk> {
    files: Vec<D::File>,
    upto: Offset,
    number: u64,
}

impl<D: Disk> SyncTicket<D> {
    /// The files to sync: the active segment, and those that were filled since the last sync.
    #[must_use]
    pub fn files(&self) -> &[D::File] {
        &self.files
    }

    /// One past the last entry that is durable when the files are synced.
    #[must_use]
    pub const fn upto(&self) -> Offset {
        self.upto
    }

    /// Syncs the files here and now. For helper threads and tests: a core syncs through its ring.
    ///
    /// # Errors
    /// The first that a file gives. It goes to [`Log::finish_sync`].
    pub fn run(&self) -> io::Result<()> {
        self.files.iter().try_for_each(DiskFile::sync_data)
    }
}

/// Why a log could not be synced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// A write or a sync has failed; the log takes no more entries.
    #[error("the log takes no more entries: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// Another sync is in flight.
    #[error("another sync of the log is in flight")]
    InFlight,
}

impl From<WriteError> for SyncError {
    fn from(error: WriteError) -> Self {
        Self::Poisoned {
            reason: error.reason,
        }
    }
}

impl<D: Disk> Log<D> {
    /// Writes what is staged, and hands out the sync that makes it durable. `None` when
    /// everything is durable, when a sync, a round or a checkpoint is in flight, and when the log is
    /// poisoned.
    pub fn begin_sync(&mut self) -> Option<SyncTicket<D>> {
        // Of two syncs of one file the kernel tells only one that pages were lost.
        let busy = self.progress.in_flight.is_some() || self.progress.checkpoint.is_some();
        if busy || self.write().is_err() {
            return None;
        }
        if self.progress.flushed == self.progress.written {
            return None;
        }
        Some(self.issue())
    }

    /// Hands out the sync of the footers alone, of a log that has nothing else to sync: until it is
    /// done their files cannot close.
    pub fn begin_footer_sync(&mut self) -> Option<SyncTicket<D>> {
        self.is_footer_unsynced().then(|| self.issue())
    }

    fn issue(&mut self) -> SyncTicket<D> {
        let files = self.dirty_files();
        self.staged.clear(true);
        self.progress.syncs += 1;
        self.progress.own_syncs += u64::from(self.progress.flushed < self.progress.written);
        self.progress.in_flight = Some(InFlight::Sync(self.progress.syncs));
        self.progress.syncing_bytes = self.progress.unsynced_bytes;
        SyncTicket {
            files,
            upto: self.progress.written,
            number: self.progress.syncs,
        }
    }

    /// Takes the files that hold what the segments' files have not been synced with.
    pub(super) fn dirty_files(&mut self) -> Vec<D::File> {
        let mut files = Vec::new();
        for segment in self.segments.iter_mut().rev() {
            if segment.dirty {
                segment.dirty = false;
                files.extend(segment.header.synced_as(segment.file()));
            } else if segment.end < self.progress.synced {
                break;
            }
        }
        files.append(&mut self.footers_unsynced);
        files
    }

    /// Takes a sync back: moves [`Log::flushed`] on, or poisons the log for good. After a failed
    /// sync nobody knows what the disk has, and no later sync would tell.
    ///
    /// # Panics
    /// When the ticket is not the one in flight.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is used up when it is given back"
    )]
    pub fn finish_sync(&mut self, ticket: SyncTicket<D>, result: io::Result<()>) {
        let in_flight = self.progress.in_flight.take();
        assert_eq!(
            in_flight,
            Some(InFlight::Sync(ticket.number)),
            "the ticket is the one in flight"
        );
        if let Err(error) = result {
            let files: Vec<_> = ticket.files.iter().map(DiskFile::path).collect();
            self.poison
                .get_or_insert(format!("syncing {}: {error}", files.join(", ")));
            return;
        }
        assert!(
            ticket.upto >= self.progress.flushed,
            "a sync covers all before it"
        );
        self.progress.synced = ticket.upto;
        self.flushed_to(ticket.upto);
        self.settle_flushed();
    }

    /// Moves the durable end on.
    pub(super) fn flushed_to(&mut self, upto: Offset) {
        self.progress.flushed = upto;
        self.progress.unsynced_bytes -= std::mem::take(&mut self.progress.syncing_bytes);
        if self.progress.unsynced_bytes == 0 && self.staged.bytes.capacity() > STAGING_KEPT_BYTES {
            // An idle log keeps little memory.
            self.staged.bytes = Vec::new();
        }
    }

    /// Gives a footer to every full segment whose file is durable to its last entry. What is so in
    /// the journal alone does not count: a footer proves its file.
    pub(super) fn settle_flushed(&mut self) {
        if self.poison.is_some() {
            return;
        }
        let synced = self.progress.synced;
        for number in self.segments.numbers_from_last() {
            let Some(segment) = self.segments.get(number) else {
                break;
            };
            match segment.stage {
                Stage::Active => continue,
                Stage::Full if segment.end <= synced => {}
                Stage::Full => continue,
                Stage::Sealed | Stage::Damaged => break,
            }
            let whole = segment.contents.fits_footer(segment.header.layout)
                && !self
                    .damage
                    .ranges()
                    .iter()
                    .any(|range| range.segment == segment.name);
            if !whole {
                self.segments.settled(number, Stage::Damaged);
                continue;
            }
            let footer = segment.contents.encode_footer(&segment.header);
            let (file, header) = (segment.file().clone(), segment.header);
            if let Err(error) = file.write_at(&footer, segment.header.layout.data_end()) {
                self.poison = Some(format!("writing {}: {error}", file.path()));
                return;
            }
            self.footers_unsynced.extend(header.synced_as(&file));
            self.segments.settled(number, Stage::Sealed);
        }
    }

    /// Makes everything durable here and now. For tests, tools and the stop of a broker.
    ///
    /// # Errors
    /// When the log is poisoned, before or by this, or a sync is in flight.
    pub fn sync(&mut self) -> Result<(), SyncError> {
        if self.progress.in_flight.is_some() || self.progress.checkpoint.is_some() {
            return Err(SyncError::InFlight);
        }
        self.write()?;
        // A footer that was written on the way is synced with the next round.
        while self.progress.synced < self.progress.written || !self.footers_unsynced.is_empty() {
            let ticket = self.issue();
            let result = ticket.run();
            self.finish_sync(ticket, result);
            if let Some(reason) = &self.poison {
                return Err(SyncError::Poisoned {
                    reason: reason.clone(),
                });
            }
        }
        Ok(())
    }
}
