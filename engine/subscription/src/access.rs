//! Which producers may publish to a partition at the same time.
//!
//! Time is cut into **access epochs**. An epoch belongs either to one exclusive producer, or to any
//! number of shared ones, and everything that is appended in it comes from these. The epoch is
//! durable, and a new one is over those before it for good: whoever was given an older one, and comes
//! back with it after a lost connection, a restart or a crash, is fenced. (Pulsar calls it the topic's
//! epoch; there shared producers are in no epoch.)
//!
//! The number and the kind of the epoch are a fold over the sibling log. Who is open, and who waits,
//! is known to the process alone.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use hulse_model::limits::PRODUCERS_WAITING_MAX;

use crate::record::SiblingRecord;

/// How a producer wants to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Access {
    /// Beside other shared ones.
    #[default]
    Shared,
    /// Alone; refused while anybody else is there.
    Exclusive,
    /// Alone, as soon as those who are there, and those who wait already, are gone.
    Wait,
    /// Alone, at once: whoever is there, or waits, is fenced.
    Fencing,
}

/// The newest epoch of a partition. The first one is shared, and needs no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AccessEpoch {
    /// Its number.
    pub epoch: u64,
    /// Whether it is of one producer alone.
    pub exclusive: bool,
}

/// A producer may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission<K> {
    /// The epoch in which it is.
    pub epoch: AccessEpoch,
    /// Whether that is a new one, to be recorded: see [`Admission::record`].
    pub begins: bool,
    /// Those who are open, or wait, and are fenced by it.
    pub fenced: Vec<K>,
}

impl<K> Admission<K> {
    /// The record of the epoch, to be appended to the sibling log and applied before anything of the
    /// producer is appended, and to be durable before it is told that it is open. None when the log
    /// says so already.
    #[must_use]
    pub fn record(&self) -> Option<SiblingRecord> {
        let AccessEpoch { epoch, exclusive } = self.epoch;
        self.begins
            .then_some(SiblingRecord::AccessEpoch { epoch, exclusive })
    }
}

/// What became of a request for access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<K> {
    /// It is granted.
    Admitted(Admission<K>),
    /// It is to wait: see [`AccessTable::wait`].
    Waits,
}

/// Why access is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError<K: core::fmt::Debug> {
    /// The epoch that the producer was given is over.
    #[error("its access ended with epoch {stated}: epoch {epoch} has begun since")]
    Fenced {
        /// The epoch that it was given.
        stated: u64,
        /// The newest.
        epoch: u64,
    },
    /// It states an epoch that nobody was given.
    #[error("access epoch {stated} was never given; the newest is {epoch}")]
    Unknown {
        /// The epoch that it states.
        stated: u64,
        /// The newest.
        epoch: u64,
    },
    /// Another producer has exclusive access.
    #[error("another producer has exclusive access")]
    HasExclusive {
        /// Who.
        holder: K,
    },
    /// Others are open, so that nobody can be alone.
    #[error("{producers} other producers are open")]
    HasShared {
        /// The first of them.
        holder: K,
        /// How many.
        producers: usize,
    },
    /// Others wait for exclusive access, and come first.
    #[error("{producers} producers wait for exclusive access")]
    OthersWait {
        /// How many.
        producers: usize,
    },
    /// As many wait as may.
    #[error("{PRODUCERS_WAITING_MAX} producers wait for exclusive access, and no more may")]
    TooManyWait,
}

/// The producers of one partition that are open, or wait until they can be alone.
///
/// `K` names a producer's session. Every call is given the newest epoch, which the caller keeps with
/// the rest of the partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTable<K> {
    open: BTreeSet<K>,
    waiting: VecDeque<K>,
}

impl<K> Default for AccessTable<K> {
    fn default() -> Self {
        Self {
            open: BTreeSet::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord + core::fmt::Debug> AccessTable<K> {
    /// Finds out what a request for access means, without changing anything.
    ///
    /// `stated` is the epoch that the producer was given when it was open before. `replaces` is an
    /// older session of the same producer, which does not stand in its way.
    ///
    /// When it is admitted, the caller appends and applies the record and calls [`Self::admitted`].
    ///
    /// # Errors
    /// When it is refused.
    pub fn ask(
        &self,
        newest: AccessEpoch,
        who: K,
        access: Access,
        stated: Option<u64>,
        replaces: Option<K>,
    ) -> Result<Asked<K>, AccessError<K>> {
        let epoch = newest.epoch;
        let others = || self.open.iter().filter(|it| Some(**it) != replaces);
        let mut returns = false;
        if let Some(stated) = stated {
            if stated < epoch {
                return Err(AccessError::Fenced { stated, epoch });
            }
            if stated > epoch {
                return Err(AccessError::Unknown { stated, epoch });
            }
            returns = newest.exclusive == (access != Access::Shared);
        }
        if returns {
            // Of an exclusive epoch, only its own producer was given the number: who is open is an
            // older session of it. A shared one comes back to its own epoch, whoever waits.
            let fenced = others().filter(|_| newest.exclusive).copied().collect();
            return Ok(Asked::Admitted(Admission {
                epoch: newest,
                begins: false,
                fenced,
            }));
        }
        let first = others().next().copied();
        let producers = others().count();
        let waiting = self.waiting.iter().position(|it| *it == who);
        let before = waiting.unwrap_or(self.waiting.len());
        let obstacle = match first {
            Some(holder) if newest.exclusive => Some(AccessError::HasExclusive { holder }),
            Some(holder) if access != Access::Shared => {
                Some(AccessError::HasShared { holder, producers })
            }
            _ if before > 0 => Some(AccessError::OthersWait { producers: before }),
            _ => None,
        };
        let mut fenced = Vec::new();
        match (access, obstacle) {
            (Access::Fencing, _) => {
                let waiting = self.waiting.iter().filter(|it| **it != who);
                fenced = others().chain(waiting).copied().collect();
            }
            (_, None) => {}
            (Access::Wait, Some(_)) => {
                if waiting.is_none() && before >= PRODUCERS_WAITING_MAX {
                    return Err(AccessError::TooManyWait);
                }
                return Ok(Asked::Waits);
            }
            (Access::Shared | Access::Exclusive, Some(error)) => return Err(error),
        }
        let exclusive = access != Access::Shared;
        let begins = exclusive || newest.exclusive;
        let epoch = AccessEpoch {
            epoch: epoch.saturating_add(u64::from(begins)),
            exclusive,
        };
        Ok(Asked::Admitted(Admission {
            epoch,
            begins,
            fenced,
        }))
    }

    /// The producer is open; those whom it fences, and its older session, are not any more.
    pub fn admitted(&mut self, who: K, admission: &Admission<K>, replaces: Option<K>) {
        for gone in admission.fenced.iter().copied().chain(replaces) {
            self.released(gone);
        }
        self.waiting.retain(|it| *it != who);
        self.open.insert(who);
    }

    /// The producer waits for its turn.
    pub fn wait(&mut self, who: K) {
        if !self.waiting.contains(&who) {
            self.waiting.push_back(who);
        }
    }

    /// The session has ended, or waits no more.
    pub fn released(&mut self, who: K) {
        if !self.open.remove(&who) {
            self.waiting.retain(|it| *it != who);
        }
    }

    /// Whose turn it is: nobody is open, and it has waited longest. Asking again, it is admitted.
    #[must_use]
    pub fn next_turn(&self) -> Option<K> {
        self.waiting
            .front()
            .copied()
            .filter(|_| self.open.is_empty())
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self, who: K) -> bool {
        self.open.contains(&who)
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Stops the process when two are open of whom one must be alone.
    ///
    /// # Panics
    /// When that is so.
    pub fn check_invariants(&self, newest: AccessEpoch) {
        assert!(
            !newest.exclusive || self.open.len() <= 1,
            "{} producers are open in an exclusive epoch",
            self.open.len()
        );
        let twice = self.waiting.iter().any(|it| self.open.contains(it));
        assert!(!twice, "a producer is open and waits");
    }
}
