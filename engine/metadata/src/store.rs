//! The interface of a configuration manager: read, compare and set, watch.
//!
//! # What every store must keep (checked by the conformance suite)
//! 1. **Versions rise.** Every change of the store takes a version that is higher than every one
//!    before it, over all keys, and is never reused: not after a delete, not after a restart.
//! 2. **Compare and set is atomic.** A change is applied only if the key's version is the expected
//!    one at that instant. Of several that expect the same version, at most one is applied.
//! 3. **All or nothing.** Of [`Store::compare_and_set_many`], every change is applied, with one
//!    version for all, or none is.
//! 4. **Reads are linearizable.** What was answered as applied is seen by every read that begins
//!    afterwards, also after the store has been killed and opened again.
//! 5. **An outcome that is not known is said to be so.** [`CasOutcome::Indeterminate`] stays open
//!    until a read shows a version above the compared one; reading the same version again proves
//!    nothing. No store repeats a compare-and-set by itself.
//! 6. **A watch misses nothing.** It yields every change made after it was opened, in the order of
//!    versions, until it ends. One that ends (the reader was too slow, the store went away) must
//!    be opened again and the keys listed anew.
//! 7. **The identity names the store**, is random, made at its first start, and changes before the
//!    store answers after a restore from a copy.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;

use hulse_model::Status;

/// The random identity of a store, made at its first start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u128);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// The place of a change in the history of a store: 1 is the first, and none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key holds, and the change that put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The version of the key's latest change.
    pub version: Version,
    /// The bytes.
    pub value: Vec<u8>,
}

/// One conditional change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The version that the key must have; `None` when the key must not exist.
    pub expected: Option<Version>,
    /// The new value, up to [`VALUE_BYTES_MAX`] bytes; `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

impl Swap {
    /// Checks what every store demands of a set of changes.
    ///
    /// # Errors
    /// When there are none or more than `limit`, a key is not legal or named twice, a value is too
    /// large, or a key is to be deleted that must not exist.
    pub fn check(swaps: &[Self], limit: usize) -> Result<(), StoreError> {
        if swaps.is_empty() || swaps.len() > limit {
            return Err(StoreError::Swaps {
                swaps: swaps.len(),
                limit,
            });
        }
        let mut keys = BTreeSet::new();
        for swap in swaps {
            let refuse = |reason| StoreError::Key {
                key: swap.key.clone(),
                reason,
            };
            if swap.key.is_empty() {
                return Err(refuse("it is empty"));
            }
            if swap.key.len() > KEY_BYTES_MAX {
                return Err(refuse("it is too long"));
            }
            if !keys.insert(swap.key.as_str()) {
                return Err(refuse("it is named twice"));
            }
            match &swap.value {
                None if swap.expected.is_none() => {
                    return Err(refuse("it must not exist, so it cannot be deleted"));
                }
                Some(value) if value.len() > VALUE_BYTES_MAX => {
                    return Err(StoreError::ValueTooLarge { bytes: value.len() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What became of a change to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CasOutcome {
    /// It is done and durable.
    Applied {
        /// The version of the change.
        version: Version,
    },
    /// Nothing was changed, as the key was not what the caller expected.
    Refused {
        /// What the key holds instead; `None` when it does not exist.
        current: Option<Versioned>,
    },
    /// It may have been done, or may still be done later.
    Indeterminate {
        /// Why that is not known.
        reason: String,
    },
}

/// What became of a set of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManyOutcome {
    /// All are done and durable.
    Applied {
        /// The version of every one of the changes.
        version: Version,
    },
    /// Nothing was changed, as a key was not what the caller expected.
    Refused {
        /// The first such key in the order given.
        key: String,
        /// What it holds instead; `None` when it does not exist.
        current: Option<Versioned>,
    },
    /// All may have been done, or may still be done later, or none.
    Indeterminate {
        /// Why that is not known.
        reason: String,
    },
}

impl From<ManyOutcome> for CasOutcome {
    /// The outcome of a set of one change.
    fn from(outcome: ManyOutcome) -> Self {
        match outcome {
            ManyOutcome::Applied { version } => Self::Applied { version },
            ManyOutcome::Refused { current, .. } => Self::Refused { current },
            ManyOutcome::Indeterminate { reason } => Self::Indeterminate { reason },
        }
    }
}

/// A change, as a watch tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key that changed.
    pub key: String,
    /// The version of the change.
    pub version: Version,
    /// The value put; `None` when the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// The longest key, in bytes. A topic's key holds three name parts.
pub const KEY_BYTES_MAX: usize = 1024;

/// The largest value, in bytes. The record of a topic of the most partitions takes a tenth of it.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The changes that a watch holds for a slow reader before it ends.
pub const WATCH_EVENTS_MAX: usize = 16 * 1024;

/// Why a store could not do what it was asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or is closing; later it may be.
    #[error("the metadata store is not available: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The store's disk has no room for the change.
    #[error("the disk of the metadata store is full")]
    Full,
    /// Reading or writing failed, or did so earlier: the store must be opened again.
    #[error("the metadata store failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// A key that may not be changed like this.
    #[error("{key:?} cannot be a key here: {reason}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value over the limit.
    #[error("a value of {bytes} bytes is over the limit of {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More changes at once than the store takes, or none at all.
    #[error("{swaps} changes at once; a store takes 1 to {limit}")]
    Swaps {
        /// How many there were.
        swaps: usize,
        /// The store's limit.
        limit: usize,
    },
}

impl StoreError {
    /// What a client is told.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Unavailable { .. } => Status::NotReady,
            Self::Full => Status::DiskFull,
            Self::Failed { .. } => Status::StorageFailed,
            Self::Key { .. } | Self::ValueTooLarge { .. } | Self::Swaps { .. } => Status::Internal,
        }
    }
}

/// A configuration manager. The module's documentation lists the rules that it must keep.
///
/// It belongs to the control thread and lives as long as the broker. Futures are `Send`, so that a
/// store which speaks to a server may be used from any executor.
pub trait Store: Send + Sync + 'static {
    /// The store's identity.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn identity(&self) -> impl Future<Output = Result<StoreId, StoreError>> + Send;

    /// What a key holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Versioned>, StoreError>> + Send;

    /// Puts or deletes (`value` = `None`) a key, if its version is `expected` (`None`: if it does
    /// not exist).
    ///
    /// # Errors
    /// When nothing was changed for a reason other than the expectation.
    fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Version>,
        value: Option<&[u8]>,
    ) -> impl Future<Output = Result<CasOutcome, StoreError>> + Send;

    /// Makes several changes of different keys, all or none.
    ///
    /// # Errors
    /// When nothing was changed for a reason other than an expectation.
    fn compare_and_set_many(
        &self,
        swaps: Vec<Swap>,
    ) -> impl Future<Output = Result<ManyOutcome, StoreError>> + Send;

    /// Every key that begins with `prefix`, in the order of keys, as of one instant.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<(String, Versioned)>, StoreError>> + Send;

    /// The changes of keys that begin with `prefix`, from now on. The receiver is disconnected when
    /// its reader falls [`WATCH_EVENTS_MAX`] changes behind or the store goes away; it must then be
    /// opened again and the keys listed anew.
    ///
    /// # Errors
    /// When the store is not available.
    fn watch(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<flume::Receiver<Event>, StoreError>> + Send;

    /// The most changes that [`Store::compare_and_set_many`] takes at once, at least 16.
    fn swaps_max(&self) -> usize;

    /// Whether several brokers may register here. The embedded store serves the one broker that
    /// opened it.
    fn shared(&self) -> bool;
}
