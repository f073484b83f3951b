//! Truncation: dropping the newest entries, which a new primary does not have.

use std::io;
use std::sync::Arc;

use hulse_model::{Offset, Term};

use crate::disk::Disk;
use crate::log::Log;
use crate::manifest::TruncateIntent;
use crate::recovery::OpenError;

/// Why a log was not truncated.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// A write or a sync has failed before.
    #[error("the log takes no more changes: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// A sync is in flight; its result must come first.
    #[error("a sync of the log is in flight")]
    SyncInFlight,
    /// The offset lies outside the log.
    #[error("the log holds entries {start} to {end}, without the last, and cannot end at {offset}")]
    OutOfRange {
        /// The end asked for.
        offset: Offset,
        /// The log's first entry.
        start: Offset,
        /// One past its last entry.
        end: Offset,
    },
    /// The entry that would be the last is damaged, so that nobody knows its term. Nothing has
    /// changed.
    #[error("entry {offset} is damaged, so that the log cannot be cut there")]
    Damaged {
        /// That entry.
        offset: Offset,
    },
    /// The entry that would be the last has another term. Nothing has changed.
    #[error("the last entry to keep has term {found}, not {asked}")]
    OtherTerm {
        /// The term asked for.
        asked: Term,
        /// The term of that entry.
        found: Term,
    },
    /// The disk failed half-way. The log is poisoned; the next start finishes the truncation.
    #[error("the truncation was begun and could not be finished: {0}")]
    Unfinished(Box<OpenError>),
    /// The disk failed when the truncation was to be noted. The log is poisoned: the next start
    /// finds either the old end or the new one.
    #[error("the truncation could not be noted: {0}")]
    Unnoted(io::Error),
}

impl<D: Disk> Log<D> {
    /// Drops every entry at `offset` and after, durably. The last entry that stays has `term`;
    /// when none stays, the term does not matter.
    ///
    /// Blocks for the disk. Nobody may hold an entry at or after `offset` that was read before:
    /// its bytes become zeros.
    ///
    /// # Errors
    /// See [`TruncateError`].
    pub fn truncate_to(&mut self, term: Term, offset: Offset) -> Result<(), TruncateError> {
        if let Some(reason) = &self.poison {
            return Err(TruncateError::Poisoned {
                reason: reason.clone(),
            });
        }
        if self.progress.in_flight.is_some() || self.progress.checkpoint.is_some() {
            return Err(TruncateError::SyncInFlight);
        }
        let (start, end) = (self.start(), self.end());
        if offset < start || offset > end {
            return Err(TruncateError::OutOfRange { offset, start, end });
        }
        let kept = self.terms.partition_point(|(_, first)| *first < offset);
        let last = kept
            .checked_sub(1)
            .and_then(|at| self.terms.get(at))
            .map(|(term, _)| *term);
        if let Some(found) = last.filter(|found| offset > start && *found != term) {
            return Err(TruncateError::OtherTerm { asked: term, found });
        }
        let last_damaged = match offset.0.checked_sub(1).map(Offset) {
            Some(last) if offset > start => self.damage.at(last).map(|_| last),
            // There is no file that could say where the log goes on.
            _ => self
                .segments
                .first()
                .filter(|first| first.contents.first > start)
                .map(|_| start),
        };
        if let Some(offset) = last_damaged {
            return Err(TruncateError::Damaged { offset });
        }
        if offset == end {
            return Ok(());
        }
        if self.home.manifest.content().intent.is_some() {
            let reason = "a truncation of the partition's other log is unfinished".to_owned();
            return Err(TruncateError::Poisoned { reason });
        }
        // The generation rises with the cut, which makes the journal's rounds of this log void: what
        // stays must not depend on them.
        let made_durable = if self.progress.synced < self.progress.flushed {
            self.sync().map_err(|error| error.to_string())
        } else {
            self.write().map_err(|error| error.reason)
        };
        if let Err(reason) = made_durable {
            return Err(TruncateError::Poisoned { reason });
        }
        let flushed_to = self.progress.flushed.min(offset);
        let kind = self.home.kind;
        let noted = self.home.manifest.update(|content| {
            let mark = content.mark_mut(kind);
            mark.flushed_to = mark.flushed_to.max(flushed_to).min(offset);
            mark.generation += 1;
            content.intent = Some(TruncateIntent {
                log: kind,
                offset,
                term,
            });
        });
        if let Err(error) = noted {
            self.poison = Some(format!("noting a truncation to {offset}: {error}"));
            return Err(TruncateError::Unnoted(error));
        }
        self.reload().inspect_err(|error| {
            self.poison = Some(format!("truncating to {offset}: {error}"));
        })
    }

    /// Opens the log anew; recovery does what the manifest says had been begun.
    fn reload(&mut self) -> Result<(), TruncateError> {
        let (disk, dir) = (self.home.disk.clone(), self.home.dir.clone());
        let manifest = Arc::clone(&self.home.manifest);
        let next_number = self.segments.next_number();
        let opened = Self::open(&disk, &dir, &manifest, self.home.kind, next_number);
        let (mut log, _) = opened.map_err(|error| TruncateError::Unfinished(Box::new(error)))?;
        log.epoch = self.epoch + 1;
        log.spare.in_making = self.spare.in_making;
        log.progress.syncs = self.progress.syncs;
        log.uses = self.uses;
        log.uses.all += 1;
        log.staged.keep = self.staged.keep;
        // Segments that were given up may not have been removed yet.
        log.give_up_below(self.start);
        *self = log;
        Ok(())
    }

    /// Leaves out the segments that retention gave up before.
    fn give_up_below(&mut self, start: Offset) {
        while self
            .segments
            .first()
            .is_some_and(|first| first.contents.first < start)
        {
            self.segments.pop_first();
        }
        self.lost.retain(|(base, _)| *base >= start);
        self.begin_at(start.max(self.start));
    }
}
