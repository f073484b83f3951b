//! The embedded store: one crash-safe file beside the broker's data, for a broker that stands
//! alone.
//!
//! It lies in its directory as `metadata.redb`, with `metadata.epoch` ([the epoch](self#epoch))
//! and `metadata.lock`, which one process holds at a time.
//!
//! # Epoch
//! The store counts its openings, in the database and in a file beside it. When the file is ahead,
//! an older database has been put in its place, and the store does not open: it would repeat
//! versions, terms and incarnations that the brokers' logs have seen.

mod backend;
mod epoch;
mod open;
mod tables;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flume::Receiver;
use redb::Database;

use crate::ids::Ids;
use crate::store::{
    CasOutcome, Event, ManyOutcome, Store, StoreError, StoreId, Swap, Version, Versioned,
};
use crate::watchers::Watchers;
use backend::Health;
use open::FORMAT;

/// Changes at once: what one commit holds without a pause that is felt.
const SWAPS_MAX: usize = 4096;

/// Why the store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the metadata store in {dir} is held by another process")]
    Held {
        /// The store's directory.
        dir: String,
    },
    /// It was written by another release, in a format that this one does not know.
    #[error("the metadata store in {dir} has format {found}, this release knows {FORMAT}")]
    Format {
        /// The store's directory.
        dir: String,
        /// Its format.
        found: u128,
    },
    /// The database is not the one that was last opened here, but an older copy or another one.
    #[error(
        "the metadata store in {dir} was put back from a copy or moved without its metadata.epoch \
         ({reason}): a store that went back in time would give terms and ids a second time"
    )]
    Replaced {
        /// The store's directory.
        dir: String,
        /// How that was found.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("the metadata store in {dir} cannot be opened: {source}")]
    Io {
        /// The store's directory.
        dir: String,
        /// What happened.
        source: io::Error,
    },
    /// The database refused.
    #[error("the metadata store in {dir} cannot be opened: {source}")]
    Database {
        /// The store's directory.
        dir: String,
        /// What happened.
        source: Box<redb::Error>,
    },
}

/// The embedded store. Its clones are handles on the same store, which closes with the last one.
///
/// Its operations block for the time of a commit (a few milliseconds), which the control thread
/// can spare. What was answered as applied is synced. After a failed write or sync it answers
/// nothing more until it is opened again; a disk without room refuses changes and nothing else.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: StoreId,
    epoch: u64,
    file: PathBuf,
    health: Arc<Health>,
    state: Mutex<State>,
    /// Held for its lock.
    _lock: File,
}

#[derive(Debug)]
struct State {
    /// `None` between a refused growth and the next opening of the database.
    database: Option<Database>,
    watchers: Watchers,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, or makes a new one there with an identity from `ids`.
    ///
    /// # Errors
    /// When another process holds it, it is of another format, is not the one last opened here,
    /// or cannot be read or written.
    pub fn open(dir: &Path, ids: &dyn Ids) -> Result<Self, OpenError> {
        open::open(dir, ids, Arc::new(Health::new()))
    }

    /// How often the store has been opened, this time included.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }
}

impl Shared {
    /// Works on the database, opening it again first when its last growth was refused.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database, &mut Watchers) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = self.health.failed() {
            return Err(StoreError::Failed { reason });
        }
        if state.database.is_none() {
            let opened = tables::open_file(&self.file, &self.health);
            state.database = Some(opened.map_err(|error| self.judge(&error))?);
        }
        let State { database, watchers } = &mut *state;
        let Some(open) = database else {
            unreachable!("it was opened above")
        };
        let result = work(open, watchers);
        result.map_err(|error| {
            let judged = self.judge(&error);
            if judged == StoreError::Full {
                // The database refuses everything after a refused growth, though nothing that it
                // had committed has changed.
                *database = None;
            }
            judged
        })
    }

    /// Tells a disk without room from a failure, and remembers the failure.
    fn judge(&self, error: &redb::Error) -> StoreError {
        if self.health.take_full() && self.health.failed().is_none() {
            tracing::warn!(file = %self.file.display(), "no room for the metadata store to grow");
            return StoreError::Full;
        }
        self.health.fail(error.to_string());
        let reason = self.health.failed().unwrap_or_default();
        tracing::error!(file = %self.file.display(), reason, "the metadata store failed");
        StoreError::Failed { reason }
    }

    fn apply(&self, swaps: &[Swap]) -> Result<ManyOutcome, StoreError> {
        Swap::check(swaps, SWAPS_MAX)?;
        let mut committing = None;
        let result = self.with(|database, watchers| {
            let outcome = tables::apply(database, swaps, &mut committing)?;
            if let ManyOutcome::Applied { version } = outcome {
                watchers.tell(&events(swaps, version));
            }
            Ok(outcome)
        });
        match (result, committing) {
            // The commit may have reached the disk before it failed.
            (Err(StoreError::Failed { reason }), Some(_)) => {
                Ok(ManyOutcome::Indeterminate { reason })
            }
            (Err(StoreError::Full), Some(version)) => self.settle_full(swaps, version),
            (result, _) => result,
        }
    }

    /// A commit ran out of room: while it was prepared, or while it tidied up after itself. The
    /// database, opened again, says which.
    fn settle_full(&self, swaps: &[Swap], version: Version) -> Result<ManyOutcome, StoreError> {
        let reached = self.with(|database, watchers| {
            let reached = tables::version(database)? >= version;
            if reached {
                watchers.tell(&events(swaps, version));
            }
            Ok(reached)
        });
        match reached {
            Ok(true) => Ok(ManyOutcome::Applied { version }),
            Ok(false) => Err(StoreError::Full),
            Err(error) => Ok(ManyOutcome::Indeterminate {
                reason: error.to_string(),
            }),
        }
    }
}

fn events(swaps: &[Swap], version: Version) -> Vec<Event> {
    let event = |swap: &Swap| Event {
        key: swap.key.clone(),
        version,
        value: swap.value.clone(),
    };
    swaps.iter().map(event).collect()
}

impl Store for EmbeddedStore {
    async fn identity(&self) -> Result<StoreId, StoreError> {
        Ok(self.shared.identity)
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        self.shared.with(|database, _| tables::get(database, key))
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Version>,
        value: Option<&[u8]>,
    ) -> Result<CasOutcome, StoreError> {
        let swap = Swap {
            key: key.to_owned(),
            expected,
            value: value.map(<[u8]>::to_vec),
        };
        self.shared.apply(&[swap]).map(CasOutcome::from)
    }

    async fn compare_and_set_many(&self, swaps: Vec<Swap>) -> Result<ManyOutcome, StoreError> {
        self.shared.apply(&swaps)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.shared
            .with(|database, _| tables::list(database, prefix))
    }

    async fn watch(&self, prefix: &str) -> Result<Receiver<Event>, StoreError> {
        self.shared.with(|_, watchers| Ok(watchers.watch(prefix)))
    }

    fn swaps_max(&self) -> usize {
        SWAPS_MAX
    }

    fn shared(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
