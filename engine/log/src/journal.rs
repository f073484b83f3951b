//! The journal of one core: one file to sync for rounds that touch many logs.
//!
//! A round copies what several logs have written and not yet synced into the journal, and one sync
//! of the journal makes all of it durable. The logs' own files are synced later, behind it; then
//! the round is *retired*, and its room is used again. A start replays what was not retired.
//!
//! The journal is never needed: when it has no room, the logs' files are synced one by one, which
//! is slower and just as safe. So it is bounded without anybody waiting for it.

use std::io;

use hulse_model::limits::{JOURNAL_FILE_BYTES, JOURNAL_FILES_MAX, JOURNAL_ROUND_BYTES_MAX};

use crate::disk::{Disk, DiskFile};
use crate::log::WriteError;
use crate::segment::mixed;

pub(crate) mod format;
mod prepare;
mod read;
mod replay;
mod replayed;

pub use format::JOURNAL_VERSION;
use format::{
    BLOCK_BYTES, CHUNK_BYTES, Chunk, ROUND_HEADER_BYTES, RoundHeader, body_crc, encode_round,
    round_room,
};
pub use prepare::{PrepareJournal, PreparedJournal};
pub use replay::{ReplayError, ReplayReport, replay};
pub use replayed::{ReplayedDisk, ReplayedFile, ReplayedSlice};

/// The directory of all journals, below the disk's root.
pub const JOURNALS_DIR: &str = "journals";

/// How long no file is made after one that could not be, in milliseconds.
const RETRY_MS: u64 = 1_000;
/// Memory that the body's buffer keeps between rounds, in bytes.
const BODY_KEPT_BYTES: usize = 1024 * 1024;

/// How large a journal may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSizes {
    /// Length of each of its files, in bytes.
    pub file_bytes: u64,
    /// The most files.
    pub files_max: usize,
    /// The most bytes of one round.
    pub round_bytes_max: u64,
}

impl Default for JournalSizes {
    fn default() -> Self {
        Self {
            file_bytes: JOURNAL_FILE_BYTES,
            files_max: JOURNAL_FILES_MAX,
            round_bytes_max: JOURNAL_ROUND_BYTES_MAX,
        }
    }
}

/// One core's journal. It belongs to the core.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    core: u32,
    /// What the files' seals are made of.
    secret: u64,
    sizes: JournalSizes,
    files: Vec<JournalFile<D::File>>,
    /// Which of the files takes the next round.
    active: Option<usize>,
    /// The number of the next file.
    number: u64,
    /// The number of the next round.
    sequence: u64,
    /// Rounds below this are durable.
    synced: u64,
    /// What rounds below this hold is durable in the segments.
    retired: u64,
    in_flight: bool,
    in_making: bool,
    /// No file is made before this time.
    not_before_ms: u64,
    /// Bytes that rounds have taken so far, and how many of them were retired.
    taken_bytes: u64,
    retired_bytes: u64,
    /// When the oldest round that is not retired was written.
    oldest_ms: u64,
    failed: Option<String>,
    /// An emptied round, kept for its memory.
    spare: Option<Round>,
}

#[derive(Debug)]
struct JournalFile<F> {
    file: F,
    seal: u64,
    /// Where the rounds' room ends.
    bytes: u64,
    /// Where the next round goes.
    end: u64,
    /// One past the newest round in it.
    rounds_end: u64,
}

/// A round that is being put together.
#[derive(Debug, Default)]
pub struct Round {
    table: Vec<u8>,
    body: Vec<u8>,
}

impl Round {
    /// How many logs it has bytes of.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.table.len() / CHUNK_BYTES
    }

    /// Bytes that it takes in the journal with one more chunk of `bytes` bytes.
    #[must_use]
    pub fn room_with(&self, bytes: usize) -> u64 {
        let head = ROUND_HEADER_BYTES + self.table.len() + CHUNK_BYTES;
        round_room(head, self.body.len() + bytes)
    }

    pub(crate) fn add(&mut self, chunk: &Chunk, bytes: &[u8]) {
        debug_assert_eq!(chunk.bytes as usize, bytes.len());
        self.table.extend_from_slice(&chunk.encode());
        self.body.extend_from_slice(bytes);
    }
}

/// A round that was written. Its file must be synced before it is given to [`Journal::finish`].
#[derive(Debug)]
#[must_use = "the journal takes no other round until the ticket is given back"]
pub struct JournalTicket<D: Disk> {
    file: D::File,
    sequence: u64,
}

impl<D: Disk> JournalTicket<D> {
    /// The file to sync.
    pub const fn file(&self) -> &D::File {
        &self.file
    }
}

/// How far the journal had come at some moment: what can be retired together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalMark {
    sequence: u64,
    taken_bytes: u64,
}

impl<D: Disk> Journal<D> {
    /// The journal of core number `core`, without any file yet. What earlier journals held must
    /// have been replayed: see [`replay()`]. `secret` is a random number, and tells this life of the
    /// journal from all others.
    #[must_use]
    pub fn new(disk: D, core: u32, secret: u64, sizes: JournalSizes) -> Self {
        Self {
            disk,
            core,
            secret,
            sizes,
            files: Vec::new(),
            active: None,
            number: 0,
            sequence: 0,
            synced: 0,
            retired: 0,
            in_flight: false,
            in_making: false,
            not_before_ms: 0,
            taken_bytes: 0,
            retired_bytes: 0,
            oldest_ms: 0,
            failed: None,
            spare: None,
        }
    }

    /// Bytes that the next round may take; 0 when it can take none.
    pub fn room(&mut self) -> u64 {
        if self.in_flight || self.failed.is_some() {
            return 0;
        }
        let left = |file: &JournalFile<D::File>| file.bytes - file.end;
        let in_active = self.active.map_or(0, |at| left(&self.files[at]));
        let most = self.sizes.round_bytes_max;
        if in_active >= most {
            return most;
        }
        let (active, retired) = (self.active, self.retired);
        let free = |(at, file): &(usize, &JournalFile<D::File>)| {
            Some(*at) != active && file.rounds_end <= retired
        };
        let Some((at, _)) = self.files.iter().enumerate().find(free) else {
            return in_active;
        };
        self.files[at].end = BLOCK_BYTES;
        self.active = Some(at);
        most
    }

    /// An empty round.
    pub fn round(&mut self) -> Round {
        self.spare.take().unwrap_or_default()
    }

    /// Writes a round. It is durable when the ticket's file is synced.
    ///
    /// # Errors
    /// When the write fails. The journal takes no more rounds then, and nobody knows whether this
    /// one will be replayed.
    ///
    /// # Panics
    /// When the round is larger than [`Self::room`].
    pub fn begin(&mut self, round: Round, now_ms: u64) -> Result<JournalTicket<D>, WriteError> {
        let active = self.active.expect("there is room, so there is a file");
        let target = &self.files[active];
        let header = RoundHeader {
            sequence: self.sequence,
            synced_before: self.synced,
            retired_before: self.retired,
            body_crc: body_crc(target.seal, &round.body),
        };
        let head = encode_round(target.seal, &header, &round.table, round.body.len());
        let room = round_room(head.len(), round.body.len());
        assert!(
            !self.in_flight && target.end + room <= target.bytes,
            "the round fits"
        );
        let (file, at) = (target.file.clone(), target.end);
        let written = file.write_parts_at(&[&head, &round.body], at);
        self.keep(round);
        if let Err(error) = written {
            let reason = format!("writing {}: {error}", file.path());
            self.failed = Some(reason.clone());
            return Err(WriteError { reason });
        }
        let target = &mut self.files[active];
        target.end += room;
        target.rounds_end = self.sequence + 1;
        if self.retired == self.sequence {
            self.oldest_ms = now_ms;
        }
        let ticket = JournalTicket {
            file,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.taken_bytes += room;
        self.in_flight = true;
        Ok(ticket)
    }

    /// Takes a round back that was begun. After a failed sync the journal takes no more rounds:
    /// nobody knows what the disk has of it, and no later sync would tell.
    ///
    /// # Panics
    /// When the ticket is not the one in flight.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is used up when it is given back"
    )]
    pub fn finish(&mut self, ticket: JournalTicket<D>, result: &io::Result<()>) {
        let expected = std::mem::take(&mut self.in_flight) && ticket.sequence + 1 == self.sequence;
        assert!(expected, "the ticket is the one in flight");
        match result {
            Ok(()) => self.synced = self.sequence,
            Err(error) => self.failed = Some(format!("syncing {}: {error}", ticket.file.path())),
        }
    }

    /// The file to make next, if one will be needed soon and may be made.
    pub fn wanted(&mut self, now_ms: u64) -> Option<PrepareJournal<D>> {
        let (active, retired) = (self.active, self.retired);
        let free = |(at, file): (usize, &JournalFile<D::File>)| {
            Some(at) != active && file.rounds_end <= retired
        };
        let soon = active.is_none_or(|at| self.files[at].end > self.files[at].bytes / 2);
        let refused = self.in_making
            || self.failed.is_some()
            || now_ms < self.not_before_ms
            || self.files.len() >= self.sizes.files_max;
        if refused || !soon || self.files.iter().enumerate().any(free) {
            return None;
        }
        self.in_making = true;
        self.number += 1;
        Some(PrepareJournal::new(
            self.disk.clone(),
            self.core,
            self.number,
            // No two files share a seal.
            mixed(self.secret.wrapping_add(self.number)),
            self.sizes.file_bytes,
        ))
    }

    /// Takes the file that a [`PrepareJournal`] made.
    ///
    /// # Errors
    /// When it could not be made. Another is tried a while later; the journal goes on with what it
    /// has.
    pub fn prepared(&mut self, prepared: PreparedJournal<D>, now_ms: u64) -> io::Result<()> {
        self.in_making = false;
        let (seal, bytes) = (prepared.seal, prepared.bytes - BLOCK_BYTES);
        match prepared.result {
            Ok(file) => {
                self.files.push(JournalFile {
                    file,
                    seal,
                    bytes,
                    end: BLOCK_BYTES,
                    rounds_end: 0,
                });
                Ok(())
            }
            Err(error) => {
                self.not_before_ms = now_ms.saturating_add(RETRY_MS);
                Err(error)
            }
        }
    }

    /// How far it has come with durable rounds.
    #[must_use]
    pub const fn mark(&self) -> JournalMark {
        JournalMark {
            sequence: self.synced,
            taken_bytes: self.taken_bytes,
        }
    }

    /// Gives up the rounds before the mark: what they hold is durable in the segments.
    pub fn retire(&mut self, mark: JournalMark, now_ms: u64) {
        self.retired = self.retired.max(mark.sequence);
        self.retired_bytes = self.retired_bytes.max(mark.taken_bytes);
        self.oldest_ms = now_ms;
    }

    /// Bytes of rounds that are not retired.
    #[must_use]
    pub const fn unretired_bytes(&self) -> u64 {
        self.taken_bytes - self.retired_bytes
    }

    /// How long the oldest round that is not retired has been there, in milliseconds; a little
    /// less after a retirement. `None` when all are retired.
    #[must_use]
    pub const fn unretired_ms(&self, now_ms: u64) -> Option<u64> {
        if self.retired == self.sequence {
            return None;
        }
        Some(now_ms.saturating_sub(self.oldest_ms))
    }

    /// Why it takes no more rounds, if it does not.
    #[must_use]
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Removes its files: everything that they hold is durable in the segments. Should it fail,
    /// the next start replays them, which changes nothing.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn remove(&mut self) -> io::Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        self.active = None;
        for file in std::mem::take(&mut self.files) {
            self.disk.remove(file.file.path())?;
        }
        self.disk.sync_dir(JOURNALS_DIR)
    }

    fn keep(&mut self, mut round: Round) {
        round.table.clear();
        round.body.clear();
        if round.body.capacity() <= BODY_KEPT_BYTES {
            self.spare = Some(round);
        }
    }
}

/// The name of a journal file, below the disk's root.
fn journal_path(core: u32, number: u64) -> String {
    format!("{JOURNALS_DIR}/core-{core}-{number:08}.jnl")
}

/// Whether a file of the journals' directory is a journal.
fn is_journal(name: &str) -> bool {
    name.starts_with("core-") && name.ends_with(".jnl")
}
