//! Opening the store: the lock, the format, the epoch.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::Database;

use super::backend::{Health, is_full};
use super::epoch::Epoch;
use super::tables::{self, Facts};
use super::{EmbeddedStore, OpenError, Shared, State};
use crate::ids::Ids;
use crate::store::StoreId;
use crate::watchers::Watchers;

/// The format of the database. Another one is refused.
pub(super) const FORMAT: u128 = 1;

const DATABASE_FILE: &str = "metadata.redb";
const DATABASE_TEMPORARY: &str = "metadata.redb.new";
const LOCK_FILE: &str = "metadata.lock";

pub(super) fn open(
    dir: &Path,
    ids: &dyn Ids,
    health: Arc<Health>,
) -> Result<EmbeddedStore, OpenError> {
    let io_error = |source: io::Error| OpenError::Io {
        dir: shown(dir),
        source,
    };
    fs::create_dir_all(dir).map_err(io_error)?;
    let lock = lock(dir)?;
    let file = dir.join(DATABASE_FILE);
    if !file.try_exists().map_err(io_error)? {
        create(dir, StoreId(ids.random()))?;
    }
    tables::check_length(&file).map_err(io_error)?;
    let database = tables::open_file(&file, &health).map_err(|error| refuse(dir, error))?;
    let found = tables::facts(&database).map_err(|error| refuse(dir, error))?;
    let facts = found.ok_or_else(|| {
        let reason = "metadata.redb holds something else";
        io_error(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    if facts.format != FORMAT {
        return Err(OpenError::Format {
            dir: shown(dir),
            found: facts.format,
        });
    }
    check_epoch(dir, facts)?;
    let (database, epoch) = raise_epoch(dir, &file, database, facts, &health)?;
    let state = State {
        database: Some(database),
        watchers: Watchers::default(),
    };
    let shared = Shared {
        identity: facts.identity,
        epoch,
        file,
        health,
        state: Mutex::new(state),
        _lock: lock,
    };
    Ok(EmbeddedStore {
        shared: Arc::new(shared),
    })
}

fn refuse(dir: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::Held { dir: shown(dir) },
        error => OpenError::Database {
            dir: shown(dir),
            source: Box::new(error),
        },
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let io_error = |source: io::Error| OpenError::Io {
        dir: shown(dir),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
        .map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held { dir: shown(dir) }),
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

/// Makes a new store. It takes its name only when it is whole, after its epoch has been written.
fn create(dir: &Path, identity: StoreId) -> Result<(), OpenError> {
    let io_error = |source: io::Error| OpenError::Io {
        dir: shown(dir),
        source,
    };
    let replaced = |reason: String| OpenError::Replaced {
        dir: shown(dir),
        reason,
    };
    // A crash while a store is made leaves epoch 0 at the most.
    match Epoch::read(dir).map_err(io_error)? {
        Some(known) if known.epoch > 0 => {
            return Err(replaced(format!(
                "metadata.redb of store {} is missing",
                known.store
            )));
        }
        _ => {}
    }
    let temporary = dir.join(DATABASE_TEMPORARY);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    let health = Arc::new(Health::new());
    let database = tables::open_file(&temporary, &health).map_err(|error| refuse(dir, error))?;
    let facts = Facts {
        format: FORMAT,
        identity,
        epoch: 0,
    };
    tables::initialise(&database, facts).map_err(|error| refuse(dir, error))?;
    drop(database);
    Epoch {
        store: identity,
        epoch: 0,
    }
    .write(dir)
    .map_err(io_error)?;
    fs::rename(&temporary, dir.join(DATABASE_FILE)).map_err(io_error)?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error)
}

fn check_epoch(dir: &Path, facts: Facts) -> Result<(), OpenError> {
    let io_error = |source: io::Error| OpenError::Io {
        dir: shown(dir),
        source,
    };
    let reason = match Epoch::read(dir).map_err(io_error)? {
        None => "metadata.epoch is missing".to_owned(),
        Some(known) if known.store != facts.identity => {
            format!(
                "it is store {}, where store {} was",
                facts.identity, known.store
            )
        }
        Some(known) if known.epoch > facts.epoch => {
            format!(
                "its epoch is {}, where {} had been reached",
                facts.epoch, known.epoch
            )
        }
        Some(_) => return Ok(()),
    };
    Err(OpenError::Replaced {
        dir: shown(dir),
        reason,
    })
}

fn shown(dir: &Path) -> String {
    dir.display().to_string()
}

/// Raises the epoch, first in the database and then in the file. A disk without room keeps neither
/// from being opened: the file may stay behind, and so may both.
fn raise_epoch(
    dir: &Path,
    file: &Path,
    database: Database,
    facts: Facts,
    health: &Arc<Health>,
) -> Result<(Database, u64), OpenError> {
    let Facts {
        identity, epoch, ..
    } = facts;
    let epoch = epoch + 1;
    match tables::set_epoch(&database, epoch) {
        Ok(()) => {}
        Err(_) if health.take_full() && health.failed().is_none() => {
            tracing::warn!(dir = %dir.display(), "no room to raise the metadata store's epoch");
            // The database refuses everything after a refused growth.
            drop(database);
            let again = tables::open_file(file, health).map_err(|error| refuse(dir, error))?;
            return Ok((again, facts.epoch));
        }
        Err(error) => return Err(refuse(dir, error)),
    }
    match (Epoch {
        store: identity,
        epoch,
    })
    .write(dir)
    {
        Err(error) if is_full(&error) => {
            tracing::warn!(dir = %dir.display(), "no room to write the metadata store's epoch");
        }
        other => other.map_err(|source| OpenError::Io {
            dir: shown(dir),
            source,
        })?,
    }
    Ok((database, epoch))
}
