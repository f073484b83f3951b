//! Retention: dropping the oldest segments.

use std::io;

use hulse_model::Offset;

use crate::disk::{Disk, remove_if_there};
use crate::log::Log;
use crate::segments::Stage;

/// How much of a log is kept. What no limit asks to go stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// The files may take so many bytes.
    pub max_bytes: Option<u64>,
    /// Entries may be so old, in milliseconds.
    pub max_age_ms: Option<u64>,
}

/// Segments that the log has given up. Run it on a helper thread.
#[derive(Debug)]
#[must_use = "the files stay until it is run"]
pub struct Removal<D> {
    disk: D,
    dir: String,
    names: Vec<String>,
}

impl<D: Disk> Removal<D> {
    /// Names of the files, oldest first.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.names
    }

    /// Removes the files, for good. Whatever is left by an error is removed, or served again,
    /// after the next start.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn run(self) -> io::Result<()> {
        for name in &self.names {
            remove_if_there(&self.disk, &format!("{}/{name}", self.dir))?;
            // One after the other: a crash must not leave a gap between segments.
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

impl<D: Disk> Log<D> {
    /// Gives up the oldest segments that `policy` does not keep, as far as all of their entries
    /// lie below `floor`. The newest segment stays. From now on reading them answers
    /// [`crate::ReadError::BelowStart`]; what was read before stays readable.
    pub fn retain(&mut self, policy: &Retention, now_ms: u64, floor: Offset) -> Option<Removal<D>> {
        let mut names = Vec::new();
        while self.would_drop(policy, now_ms, floor) {
            names.extend(self.segments.pop_first().map(|segment| segment.name));
        }
        if names.is_empty() {
            return None;
        }
        self.begin_at(
            self.segments
                .first()
                .map_or(self.progress.end, |at| at.contents.first),
        );
        if let Some(base) = self.segments.first().map(|first| first.header.base) {
            names.extend(
                self.lost
                    .extract_if(.., |(lost, _)| *lost < base)
                    .map(|(_, name)| name),
            );
        }
        names.sort_unstable();
        Some(Removal {
            disk: self.home.disk.clone(),
            dir: self.home.dir.clone(),
            names,
        })
    }

    /// Whether [`Self::retain`] would give up a segment.
    #[must_use]
    pub fn would_drop(&self, policy: &Retention, now_ms: u64, floor: Offset) -> bool {
        let Some(first) = self.segments.first() else {
            return false;
        };
        let over = policy.max_bytes.is_some_and(|most| self.bytes() > most);
        let old = policy
            .max_age_ms
            .is_some_and(|age_ms| first.contents.max_ms.saturating_add(age_ms) < now_ms);
        let settled = matches!(first.stage, Stage::Sealed | Stage::Damaged);
        // Until the next segment's opening is durable, nothing but this one says where the log
        // begins.
        let followed = self
            .segments
            .second()
            .is_some_and(|next| next.opened && next.contents.first < self.progress.flushed);
        (over || old) && settled && followed && first.end <= floor
    }

    /// Forgets what lies below `start`.
    pub(super) fn begin_at(&mut self, start: Offset) {
        self.start = start;
        self.damage.forget_below(start);
        let gone = self.terms.partition_point(|(_, first)| *first <= start);
        self.terms.drain(..gone.saturating_sub(1));
        if let Some((_, first)) = self.terms.first_mut() {
            *first = (*first).max(start);
        }
    }
}
