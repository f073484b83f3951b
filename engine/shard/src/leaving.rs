//! A partition's way to another core of the same broker: how it lets go of its core's journal while
//! it is served, how it comes to a stand, and what is handed over.
//!
//! Nothing is read or recovered on the other side: the open logs and the folded state are handed
//! over as they are, which the core that gives them away keeps nothing of. What must be true before
//! an entry is appended elsewhere (no round in flight, segments synced, the manifest's home
//! generation raised and synced) comes about while the partition is still served, so that the pause
//! is one sync and one change of the catalog long.

use std::fmt;

use hulse_log::{Disk, LogKind};
use hulse_model::{PartitionId, Term, TopicName};

use crate::partition::Partition;
use crate::stats::PartitionCounters;

/// How far a partition is on its way to another core.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It stays.
    #[default]
    No,
    /// It has no share in rounds of the journal any more, and what the journal holds of it is being
    /// synced into its own files.
    Clearing,
    /// A helper notes in its manifest that it has another home.
    Noting,
    /// No journal holds anything of it that counts.
    Cleared,
    /// It takes nothing more, and finishes what it has begun.
    Frozen,
}

/// How far partitions are that are to leave their core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// Something is still to be done before they can be frozen. They are served meanwhile.
    Preparing,
    /// They can be frozen.
    Ready,
    /// They are frozen, and something is still under way.
    Frozen,
    /// They are frozen, and can be taken.
    Still,
    /// They cannot leave: why.
    Impossible(String),
}

/// A partition that has been taken from its core: its open logs and its state. It is served by nobody
/// until a shard adopts it.
pub struct Taken<D: Disk>(pub(crate) Box<Partition<D>>);

impl<D: Disk> Taken<D> {
    /// The partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.0.spec.id
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.0.spec.topic
    }

    /// Its number within the topic; -1 when the topic has no partitions.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.0.spec.index
    }

    /// The term in which it was served.
    #[must_use]
    pub fn term(&self) -> Term {
        self.0.spec.term
    }
}

impl<D: Disk> fmt::Debug for Taken<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").field(&self.id()).finish()
    }
}

impl<D: Disk> Partition<D> {
    /// Whether it takes nothing more.
    pub(crate) fn is_frozen(&self) -> bool {
        self.leaving == Leaving::Frozen
    }

    /// Whether its logs may have a share in rounds of the journal.
    pub(crate) fn may_use_journal(&self) -> bool {
        self.leaving == Leaving::No && !self.homeless
    }

    /// Whether the core's journal holds something of it that its own files may lack.
    pub(crate) fn leans_on_journal(&self) -> bool {
        LogKind::ALL
            .iter()
            .any(|kind| self.store.log(*kind).leans_on_journal())
    }

    /// How far it is.
    pub(crate) fn departure(&self) -> Departure {
        if let Some(refusal) = self.fenced() {
            return Departure::Impossible(refusal.message);
        }
        if self.homeless {
            let topic = &self.spec.topic;
            return Departure::Impossible(format!(
                "it could not be noted that a partition of {topic} changes its core"
            ));
        }
        match self.leaving {
            Leaving::No => Departure::Impossible("it has not been prepared".to_owned()),
            Leaving::Clearing | Leaving::Noting => Departure::Preparing,
            // A frozen one would wait for the segment, which can take long.
            Leaving::Cleared if self.is_making_segment() => Departure::Preparing,
            Leaving::Cleared => Departure::Ready,
            Leaving::Frozen if self.is_still() => Departure::Still,
            Leaving::Frozen => Departure::Frozen,
        }
    }

    fn is_making_segment(&self) -> bool {
        LogKind::ALL
            .iter()
            .any(|kind| self.store.log(*kind).is_making_segment())
    }

    /// Whether everything that was taken is stored at the partition's level and answered, and
    /// nothing is under way whose result would come back to this core.
    fn is_still(&self) -> bool {
        let stored = self.high_watermark() == self.store.entries.end()
            && self.sibling_watermark() == self.store.sibling.end();
        stored
            && self.sibling.is_idle()
            && self.receipts.is_empty()
            && LogKind::ALL
                .iter()
                .all(|kind| self.store.log(*kind).is_still())
    }

    /// What it keeps of the core that it leaves is forgotten. Its counters stay there.
    pub(crate) fn let_go(&mut self) -> PartitionCounters {
        self.leaving = Leaving::No;
        self.dirty = false;
        self.waits = [false; 2];
        self.unsynced_counted = 0;
        // What is being read ahead comes back to the core that asked for it.
        self.consumers.forget_reading();
        std::mem::take(&mut self.counters)
    }
}
