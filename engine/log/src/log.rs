//! One of a partition's two logs: appending, and what it is made of.

use std::sync::Arc;

use hulse_model::entry::{ENTRY_HEADER_BYTES, encode_entry_header};
use hulse_model::limits::{
    ENTRY_MESSAGES_MAX, ENTRY_PAYLOAD_BYTES_MAX, JOURNAL_CHUNK_BYTES_MAX, LOG_STAGED_BYTES_TARGET,
    LOG_UNSYNCED_BYTES_MAX, SEGMENT_TERMS_MAX,
};
use hulse_model::{EntryDraft, EntryHeader, Offset, PartitionId, Term};

use crate::damage::Damage;
use crate::disk::{Disk, DiskFile};
use crate::manifest::ManifestFile;
use crate::record::{LocalHeader, RECORD_ALIGNMENT, record_bytes};
use crate::recovery::{OpenError, recover};
use crate::report::{DamagedRange, LogRecovery};
use crate::segment::{LogKind, SEGMENT_HEADER_BYTES};
use crate::segments::{Segment, Segments, Stage, add_terms, stage_of};

mod files;
mod read;
mod retain;
mod round;
mod span;
mod spare;
mod sync;
mod truncate;
mod warm;

use files::Uses;
pub use read::{ReadCursor, ReadError, StoredEntry};
pub use retain::{Removal, Retention};
pub use round::{Checkpoint, CheckpointTicket, RoundShare};
use spare::{Ready, Spare};
pub use sync::{SyncError, SyncTicket};
pub use truncate::TruncateError;
pub use warm::WarmUp;

/// Room that the staging buffer keeps between rounds, in bytes.
const STAGING_KEPT_BYTES: usize = 4096;

/// One of a partition's two logs. It belongs to one core.
///
/// An entry is *staged* by [`Log::append`], *written* (in the page cache, safe from the end of the
/// process) by [`Log::write`], and *flushed* (safe from the end of the machine) when the sync that
/// [`Log::begin_sync`] hands out has been given back to [`Log::finish_sync`], or when a round of the
/// journal that it had a share in has.
#[derive(Debug)]
pub struct Log<D: Disk> {
    home: Home<D>,
    segments: Segments<D>,
    /// The first entry; it may be damaged, and in none of the segments.
    start: Offset,
    /// Files that cannot be read, by the log's end when they were made. They stay for as long as
    /// what they held would.
    lost: Vec<(Offset, String)>,
    staged: Staged,
    progress: Progress,
    spare: Spare,
    /// Segments whose footer was written and not yet synced.
    footers_unsynced: Vec<D::File>,
    /// First offsets of the terms that the log holds entries of.
    terms: Vec<(Term, Offset)>,
    damage: Damage,
    poison: Option<String>,
    /// Unsynced bytes beyond which nothing is appended.
    unsynced_bytes_max: usize,
    /// Rises with every truncation, so that older cursors and preparations are told.
    epoch: u64,
    uses: Uses,
}

/// Where a log's files are.
#[derive(Debug)]
struct Home<D> {
    disk: D,
    dir: String,
    kind: LogKind,
    partition: PartitionId,
    manifest: Arc<ManifestFile<D>>,
}

/// Records that were appended and not yet written; of a log that may go through the journal also
/// those that were written and wait for a round.
#[derive(Debug)]
struct Staged {
    bytes: Vec<u8>,
    /// Where they go in the active segment.
    position: u64,
    /// How many of the bytes are written.
    written: usize,
    /// Written bytes are kept for a round of the journal.
    keep: bool,
    /// The bytes are all that is neither durable nor on its way to be: a round can be made of them.
    whole: bool,
}

impl Default for Staged {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            position: 0,
            written: 0,
            keep: false,
            whole: true,
        }
    }
}

impl Staged {
    /// Forgets the bytes, which are written; `whole` says whether they are on their way to be
    /// durable.
    fn clear(&mut self, whole: bool) {
        self.bytes.clear();
        self.written = 0;
        self.whole = whole;
    }
}

/// How far the log's entries have come.
#[derive(Debug)]
struct Progress {
    end: Offset,
    written: Offset,
    flushed: Offset,
    /// How far the segments' own files are durable. What lies above it and below `flushed` is so
    /// in the journal.
    synced: Offset,
    last_term: Term,
    /// Length of the records that are staged or written and not flushed.
    unsynced_bytes: usize,
    /// The part of them that the sync or the round in flight covers.
    syncing_bytes: usize,
    /// The sync or the round in flight.
    in_flight: Option<InFlight>,
    /// The number of the checkpoint in flight.
    checkpoint: Option<u64>,
    /// How many syncs, rounds and checkpoints were begun.
    syncs: u64,
    /// How many of them were syncs of the log's own files, checkpoints aside.
    own_syncs: u64,
    /// Length of all records that were appended since the log was opened.
    appended_bytes: u64,
}

/// What is to make written entries durable, with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InFlight {
    /// A sync of the log's own files.
    Sync(u64),
    /// A round of the journal.
    Round(u64),
}

/// An entry that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its header, with the offset and the term that it was given.
    pub header: EntryHeader,
    /// Its offset.
    pub offset: Offset,
    /// Bytes that it takes in the log.
    pub bytes: usize,
}

/// Why an entry was not appended. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A segment must be prepared first: see [`Log::segment_wanted`].
    #[error("no room for {bytes} bytes until a segment is prepared")]
    NoRoom {
        /// Bytes that the entry would take.
        bytes: usize,
    },
    /// Too much is not synced yet. A sync makes room.
    #[error("{unsynced_bytes} bytes are not synced yet")]
    Held {
        /// Bytes that are staged or written and not synced.
        unsynced_bytes: usize,
    },
    /// A write or a sync has failed, perhaps this entry's own, and the log takes nothing more.
    #[error("the log takes no more entries: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// A segment that was closed could not be opened again. It may be tried again at any time.
    #[error("{path}: {reason}")]
    Unopened {
        /// The segment.
        path: String,
        /// What the disk said.
        reason: String,
        /// As many files are open as may be.
        out_of_files: bool,
    },
    /// The term is older than the log's last.
    #[error("term {term} is older than the log's last, {last}")]
    TermWentBack {
        /// The term asked for.
        term: Term,
        /// The log's last.
        last: Term,
    },
    /// No entry may look like this.
    #[error("an entry of {messages} messages and {payload_bytes} bytes is out of bounds")]
    Draft {
        /// Its number of messages.
        messages: u32,
        /// Length of its payload.
        payload_bytes: usize,
    },
}

/// Why staged entries were not written. The log is poisoned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log takes no more entries: {reason}")]
pub struct WriteError {
    /// What failed.
    pub reason: String,
}

impl<D: Disk> Log<D> {
    /// Recovers the log of `kind` in `dir` and opens it.
    pub(crate) fn open(
        disk: &D,
        dir: &str,
        manifest: &Arc<ManifestFile<D>>,
        kind: LogKind,
        first_number: u64,
    ) -> Result<(Self, LogRecovery), OpenError> {
        let (found, report) = recover(disk, dir, manifest, kind)?;
        let home = Home {
            disk: disk.clone(),
            dir: dir.to_owned(),
            kind,
            partition: manifest.content().partition,
            manifest: Arc::clone(manifest),
        };
        let mut segments = Segments::starting_at(first_number);
        let mut terms = Vec::new();
        let count = found.segments.len();
        let nexts: Vec<Offset> = found
            .segments
            .iter()
            .skip(1)
            .map(|next| next.contents.first)
            .chain([found.end])
            .collect();
        for ((index, surveyed), end) in found.segments.into_iter().enumerate().zip(nexts) {
            add_terms(&mut terms, &surveyed.contents.terms);
            let active = index + 1 == count && found.appendable;
            let damaged = found
                .damaged
                .iter()
                .any(|range| range.segment == surveyed.name);
            let stage = stage_of(&surveyed, active, damaged);
            segments.push(Segment::found(surveyed, stage, end));
        }
        let progress = Progress {
            end: found.end,
            written: found.end,
            flushed: found.end,
            synced: found.end,
            last_term: found.last_term,
            unsynced_bytes: 0,
            syncing_bytes: 0,
            in_flight: None,
            checkpoint: None,
            syncs: 0,
            own_syncs: 0,
            appended_bytes: 0,
        };
        let ready = found.spare.map(|spare| (spare.name, spare.header));
        let lost = found
            .unreadable
            .into_iter()
            .map(|file| (file.base, file.name))
            .collect();
        let log = Self {
            home,
            segments,
            start: found.start,
            lost,
            staged: Staged::default(),
            progress,
            spare: Spare {
                ready,
                ..Spare::default()
            },
            footers_unsynced: Vec::new(),
            terms,
            damage: Damage::new(found.damaged),
            poison: None,
            unsynced_bytes_max: LOG_UNSYNCED_BYTES_MAX,
            epoch: 0,
            uses: Uses::default(),
        };
        Ok((log, report))
    }

    /// Appends an entry: gives it the next offset and stages its record. Nothing is written yet,
    /// unless the payload is large: then it is written from where it lies, together with what was
    /// staged before it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(&mut self, term: Term, draft: &EntryDraft<'_>) -> Result<Appended, AppendError> {
        let bytes = self.check(term, draft)?;
        self.uses.all += 1;
        self.make_room(term, bytes)?;
        let offset = self.progress.end;
        let segment = self
            .segments
            .active_mut()
            .expect("room was found in the active segment");
        if self.staged.bytes.is_empty() {
            self.staged.position = segment.contents.data_end;
        }
        if !segment.opened {
            // The opening stands right before the first record and is written with it.
            self.staged.position = SEGMENT_HEADER_BYTES as u64;
            self.staged
                .bytes
                .extend_from_slice(&segment.header.encode_opening(offset));
            segment.opened = true;
        }
        let (header, entry) = encode_entry_header(draft, term, offset);
        let synced_before = self.progress.flushed;
        let seal = segment.header.seal;
        let local = LocalHeader::encode(seal, header.entry_bytes(), header.crc, synced_before);
        let staged = &mut self.staged;
        staged.bytes.extend_from_slice(&local);
        staged.bytes.extend_from_slice(&entry);
        let padding = bytes - local.len() - entry.len() - draft.payload.len();
        let padding = &[0; RECORD_ALIGNMENT][..padding];
        // So much is due to be written, and too much for the journal: staging it would be one more
        // copy and no write fewer. Below, a copy costs less than a write of its own.
        let written = draft.payload.len() >= LOG_STAGED_BYTES_TARGET;
        if written {
            let position = staged.position + staged.written as u64;
            let parts = [&staged.bytes[staged.written..], draft.payload, padding];
            let result = segment.file().write_parts_at(&parts, position);
            staged.clear(false);
            if let Err(error) = result {
                let reason = format!("writing {}: {error}", segment.file().path());
                self.poison = Some(reason.clone());
                return Err(AppendError::Poisoned { reason });
            }
            segment.dirty = true;
        } else {
            staged.bytes.extend_from_slice(draft.payload);
            staged.bytes.extend_from_slice(padding);
        }
        let position = segment.contents.data_end;
        segment
            .contents
            .add(segment.header.layout, &header, position, bytes as u64);
        segment.end = segment.contents.end;
        add_terms(&mut self.terms, &[(term, offset)]);
        self.progress.last_term = term;
        self.progress.end = offset.next();
        if written {
            self.progress.written = self.progress.end;
        }
        self.progress.unsynced_bytes += bytes;
        self.progress.appended_bytes += bytes as u64;
        Ok(Appended {
            header,
            offset,
            bytes,
        })
    }

    /// Checks what can be refused without looking for room, and says how long the record is.
    fn check(&self, term: Term, draft: &EntryDraft<'_>) -> Result<usize, AppendError> {
        if let Some(reason) = &self.poison {
            return Err(AppendError::Poisoned {
                reason: reason.clone(),
            });
        }
        let payload_bytes = draft.payload.len();
        if payload_bytes > ENTRY_PAYLOAD_BYTES_MAX
            || !(1..=ENTRY_MESSAGES_MAX).contains(&draft.messages)
        {
            return Err(AppendError::Draft {
                messages: draft.messages,
                payload_bytes,
            });
        }
        if term < self.progress.last_term {
            return Err(AppendError::TermWentBack {
                term,
                last: self.progress.last_term,
            });
        }
        let bytes = record_bytes(ENTRY_HEADER_BYTES + payload_bytes);
        let unsynced_bytes = self.progress.unsynced_bytes;
        if unsynced_bytes > 0 && unsynced_bytes + bytes > self.unsynced_bytes_max {
            return Err(AppendError::Held { unsynced_bytes });
        }
        Ok(bytes)
    }

    /// Makes sure that the active segment takes a record of `bytes` bytes and this term, and is open.
    fn make_room(&mut self, term: Term, bytes: usize) -> Result<(), AppendError> {
        let takes = |segment: &Segment<D::File>| {
            let terms = &segment.contents.terms;
            let new_term = terms.last().is_none_or(|(last, _)| *last != term);
            segment.room() >= bytes as u64 && (!new_term || terms.len() < SEGMENT_TERMS_MAX)
        };
        if self.segments.active().is_some_and(takes) && !self.spare.replaces_active {
            return self.open_active();
        }
        let fits = |(_, header): &Ready| header.layout.room() >= bytes as u64;
        if !self.spare.ready.as_ref().is_some_and(fits) {
            self.found_no_room(bytes);
            return Err(AppendError::NoRoom { bytes });
        }
        // The segment that is left gets its footer at once, if it is durable. What cannot be opened
        // is known before anything changes.
        self.open_active()?;
        let opened = self
            .spare
            .ready
            .as_ref()
            .map(|(name, _)| self.open_file(name));
        let file = opened.expect("it was there just now")?;
        // What is staged belongs into the segment that is left now.
        if let Err(error) = self.write() {
            return Err(AppendError::Poisoned {
                reason: error.reason,
            });
        }
        if !self.staged.bytes.is_empty() {
            // A round is made of one segment's bytes alone.
            self.staged.clear(false);
        }
        let (name, header) = self.spare.ready.take().expect("it was there just now");
        self.spare.wanted_bytes = 0;
        let first = self.progress.end;
        let mut next = Segment::fresh(name, header, first);
        next.opened_with(file);
        if let Some(active) = self.segments.active_mut() {
            active.end = first;
            active.stage = Stage::Full;
        }
        self.segments.push(next);
        self.settle_flushed();
        Ok(())
    }

    /// Lets the log hold so many bytes that are not synced, in place of
    /// [`LOG_UNSYNCED_BYTES_MAX`].
    pub const fn allow_unsynced(&mut self, bytes: usize) {
        self.unsynced_bytes_max = bytes;
    }

    /// Writes what is staged, with one write.
    ///
    /// # Errors
    /// When the write fails: the log is poisoned then. The room was written before, so that a
    /// full disk is no reason.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if let Some(reason) = &self.poison {
            return Err(WriteError {
                reason: reason.clone(),
            });
        }
        let staged = &mut self.staged;
        let (position, fresh) = (staged.position, &staged.bytes[staged.written..]);
        if fresh.is_empty() {
            return Ok(());
        }
        let segment = self
            .segments
            .active_mut()
            .expect("records are staged for a segment");
        let position = position + staged.written as u64;
        let result = segment.file().write_at(fresh, position);
        if let Err(error) = result {
            let reason = format!("writing {}: {error}", segment.file().path());
            self.poison = Some(reason.clone());
            return Err(WriteError { reason });
        }
        segment.dirty = true;
        if staged.keep && staged.whole && staged.bytes.len() <= JOURNAL_CHUNK_BYTES_MAX {
            staged.written = staged.bytes.len();
        } else {
            staged.clear(false);
        }
        self.progress.written = self.progress.end;
        Ok(())
    }

    /// The first entry that the log still has.
    #[must_use]
    pub const fn start(&self) -> Offset {
        self.start
    }

    /// One past the last entry, staged ones included.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.progress.end
    }

    /// One past the last entry that is written.
    #[must_use]
    pub const fn written(&self) -> Offset {
        self.progress.written
    }

    /// One past the last entry that is durable.
    #[must_use]
    pub const fn flushed(&self) -> Offset {
        self.progress.flushed
    }

    /// Bytes that are staged and not written.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        self.staged.bytes.len() - self.staged.written
    }

    /// Bytes that are staged or written and not durable.
    #[must_use]
    pub const fn unsynced_bytes(&self) -> usize {
        self.progress.unsynced_bytes
    }

    /// Whether a sync, or a round of the journal, is in flight that makes entries durable.
    #[must_use]
    pub const fn syncing(&self) -> bool {
        self.progress.in_flight.is_some()
    }

    /// The terms of which the log holds entries, each with its first offset, in rising order.
    #[must_use]
    pub fn terms(&self) -> &[(Term, Offset)] {
        &self.terms
    }

    /// The term of the newest entry; 0 when there is none.
    #[must_use]
    pub const fn last_term(&self) -> Term {
        self.progress.last_term
    }

    /// Why the log takes no more entries, if it does not.
    #[must_use]
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Length of the log's files, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let spare = self
            .spare
            .ready
            .as_ref()
            .map_or(0, |(_, header)| header.layout.capacity);
        self.segments.bytes() + spare
    }

    /// Number of segments that entries are, or can be, in.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Entries that are known to be damaged, in rising order. More may be found by reading.
    #[must_use]
    pub fn damaged(&self) -> &[DamagedRange] {
        self.damage.ranges()
    }

    /// Which of the partition's logs this is.
    #[must_use]
    pub const fn kind(&self) -> LogKind {
        self.home.kind
    }
}
