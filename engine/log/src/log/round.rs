//! The log's share in a round of the journal, and the checkpoint behind it.

use std::io;

use hulse_model::Offset;

use crate::disk::{Disk, DiskFile};
use crate::journal::Round;
use crate::journal::format::Chunk;
use crate::log::{InFlight, Log};

/// What a round of the journal makes durable of one log. It is given back to
/// [`Log::finish_round`].
#[derive(Debug)]
#[must_use = "a log syncs nothing more until its share is given back"]
pub struct RoundShare {
    upto: Offset,
    number: u64,
}

/// The files of a log behind a round of the journal. They must be synced before the ticket is
/// given back to [`Log::finish_checkpoint`].
#[derive(Debug)]
#[must_use = "a log begins no other sync until the ticket is given back"]
pub struct CheckpointTicket<D: Disk> {
    files: Vec<D::File>,
    upto: Offset,
    number: u64,
}

impl<D: Disk> CheckpointTicket<D> {
    /// Syncs the files here and now, which blocks: for helper threads.
    ///
    /// # Errors
    /// The first that a file gives. It goes to [`Log::finish_checkpoint`].
    pub fn run(&self) -> io::Result<()> {
        self.files.iter().try_for_each(DiskFile::sync_data)
    }
}

/// Whether a log has something for a checkpoint.
#[derive(Debug)]
pub enum Checkpoint<D: Disk> {
    /// Its files are durable as far as the log is.
    None,
    /// A sync of its files is in flight. Ask again.
    Busy,
    /// These files are to be synced.
    Sync(CheckpointTicket<D>),
    /// The log is poisoned: its files will not be synced any more.
    Poisoned,
}

impl<D: Disk> Log<D> {
    /// Keeps what is written until it is durable, so that it can have a share in a round.
    pub fn keep_for_journal(&mut self) {
        self.staged.keep = true;
    }

    /// Bytes that the log's share in a round would take, when everything that is not durable yet
    /// is written and can go through the journal.
    #[must_use]
    pub fn round_bytes(&self) -> Option<usize> {
        let staged = &self.staged;
        let ready = self.poison.is_none()
            && self.progress.in_flight.is_none()
            && staged.keep
            && staged.whole
            && !staged.bytes.is_empty()
            && staged.written == staged.bytes.len();
        ready.then_some(staged.bytes.len())
    }

    /// Adds what is written and not durable to a round. `None` when there is nothing, or
    /// [`Self::round_bytes`] says that it cannot be.
    pub fn begin_round(&mut self, round: &mut Round) -> Option<RoundShare> {
        let bytes = u32::try_from(self.round_bytes()?).ok()?;
        let segment = self.segments.active()?;
        let (generation, home_generation) = {
            let manifest = self.home.manifest.content();
            let mark = manifest.mark(self.home.kind);
            (mark.generation, manifest.home_generation)
        };
        let chunk = Chunk {
            partition: self.home.partition,
            kind: self.home.kind,
            base: segment.header.base,
            end: self.progress.written,
            generation,
            home_generation,
            position: u32::try_from(self.staged.position).ok()?,
            bytes,
        };
        round.add(&chunk, &self.staged.bytes);
        self.staged.clear(true);
        self.progress.syncs += 1;
        self.progress.in_flight = Some(InFlight::Round(self.progress.syncs));
        self.progress.syncing_bytes = self.progress.unsynced_bytes;
        Some(RoundShare {
            upto: self.progress.written,
            number: self.progress.syncs,
        })
    }

    /// Takes the share back when the round is durable, or has failed: then the log is poisoned,
    /// since nobody knows whether the round will be replayed.
    ///
    /// # Panics
    /// When the share is not the one in flight.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a share is used up when it is given back"
    )]
    pub fn finish_round(&mut self, share: RoundShare, result: Result<(), &str>) {
        let in_flight = self.progress.in_flight.take();
        assert_eq!(
            in_flight,
            Some(InFlight::Round(share.number)),
            "the share is the one in flight"
        );
        match result {
            Ok(()) => self.flushed_to(share.upto),
            Err(reason) => {
                self.poison.get_or_insert(reason.to_owned());
            }
        }
    }

    /// Whether something of the log is durable in a journal alone, or may be soon: a round with its
    /// bytes is in flight, or the segments' own files have not been synced behind one.
    #[must_use]
    pub const fn leans_on_journal(&self) -> bool {
        matches!(self.progress.in_flight, Some(InFlight::Round(_)))
            || self.progress.synced.0 < self.progress.flushed.0
    }

    /// Whether nothing of the log is under way: nothing staged, no sync, no round, no checkpoint, no
    /// segment in the making. Only such a log can change its core, since the results of these come
    /// back to the core that began them.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.staged_bytes() == 0
            && self.progress.in_flight.is_none()
            && self.progress.checkpoint.is_none()
            && !self.spare.in_making
    }

    /// Whether a segment is being made for the log.
    #[must_use]
    pub const fn is_making_segment(&self) -> bool {
        self.spare.in_making
    }

    /// What has to be synced so that the log's own files are as durable as the log is.
    pub fn begin_checkpoint(&mut self) -> Checkpoint<D> {
        let progress = &self.progress;
        if progress.synced >= progress.flushed {
            return Checkpoint::None;
        }
        if self.poison.is_some() {
            return Checkpoint::Poisoned;
        }
        if progress.checkpoint.is_some() || matches!(progress.in_flight, Some(InFlight::Sync(_))) {
            return Checkpoint::Busy;
        }
        let upto = progress.flushed;
        let files = self.dirty_files();
        self.progress.syncs += 1;
        self.progress.checkpoint = Some(self.progress.syncs);
        Checkpoint::Sync(CheckpointTicket {
            files,
            upto,
            number: self.progress.syncs,
        })
    }

    /// Takes a checkpoint back. After a failed one the log is poisoned; what the journal holds of
    /// it is replayed by the next start.
    ///
    /// # Panics
    /// When the ticket is not the one in flight.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is used up when it is given back"
    )]
    pub fn finish_checkpoint(&mut self, ticket: CheckpointTicket<D>, result: io::Result<()>) {
        let in_flight = self.progress.checkpoint.take();
        assert_eq!(
            in_flight,
            Some(ticket.number),
            "the ticket is the one in flight"
        );
        match result {
            Ok(()) => {
                self.progress.synced = self.progress.synced.max(ticket.upto);
                self.settle_flushed();
            }
            Err(error) => {
                let files: Vec<_> = ticket.files.iter().map(DiskFile::path).collect();
                self.poison
                    .get_or_insert(format!("syncing {}: {error}", files.join(", ")));
            }
        }
    }
}
