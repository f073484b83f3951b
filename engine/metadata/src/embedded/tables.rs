//! The tables of the database and the transactions on them.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use super::backend::{Health, ReservingFile};
use crate::store::{ManyOutcome, StoreId, Swap, Version, Versioned};

/// The database's own cache, in bytes. The whole store of a large broker is a few MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Facts about the store itself.
const FACTS: TableDefinition<'_, &str, u128> = TableDefinition::new("facts");
const FORMAT: &str = "format";
const IDENTITY: &str = "identity";
const EPOCH: &str = "epoch";
const VERSION: &str = "version";

/// The records: the version of the latest change, and the bytes.
const RECORDS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("records");

/// What the database says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) format: u128,
    pub(super) identity: StoreId,
    pub(super) epoch: u64,
}

/// Opens the database in `file`, repairing what a crash left.
pub(super) fn open_file(file: &Path, health: &Arc<Health>) -> Result<Database, redb::Error> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)?;
    let backend = ReservingFile::new(opened, Arc::clone(health))?;
    Ok(Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)?)
}

/// Where the database's header has its flags, and the flag that says that it was not closed.
const FLAGS_AT: u64 = 9;
const NOT_CLOSED: u8 = 2;

/// Has the next opening take the database for one that was not closed: it then compares checksums
/// before it believes anything, and makes its account of the pages anew. The one that it keeps when
/// it is closed is believed unseen, and a rotten one would make it panic.
pub(super) fn distrust(file: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let mut flags = [0];
    file.read_exact_at(&mut flags, FLAGS_AT)?;
    file.write_all_at(&[flags[0] | NOT_CLOSED], FLAGS_AT)
}

/// Reads all of it and compares every checksum, which opening it does not.
pub(super) fn check(database: &mut Database) -> Result<(), redb::Error> {
    let clean = database.check_integrity()?;
    if !clean {
        tracing::warn!("the metadata store's own account of its pages was wrong and is mended");
    }
    Ok(())
}

/// A change that is durable, all of it or nothing, when it is committed. The commit that is there
/// stays valid until the next one is synced as a whole. So the newest one never has to be given up
/// for the one before it, which would forget what was answered as applied: if it is damaged, the
/// store does not open.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Makes the tables of a new store.
pub(super) fn initialise(database: &Database, facts: Facts) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    {
        let mut table = transaction.open_table(FACTS)?;
        table.insert(FORMAT, facts.format)?;
        table.insert(IDENTITY, facts.identity.0)?;
        table.insert(EPOCH, u128::from(facts.epoch))?;
        table.insert(VERSION, 0)?;
        transaction.open_table(RECORDS)?;
    }
    Ok(transaction.commit()?)
}

/// Reads what the database says about itself; `None` when it is no store of this kind.
pub(super) fn facts(database: &Database) -> Result<Option<Facts>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(FACTS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let fact = |name| Ok::<_, redb::Error>(table.get(name)?.map(|guard| guard.value()));
    let Some(format) = fact(FORMAT)? else {
        return Ok(None);
    };
    let identity = fact(IDENTITY)?.unwrap_or_default();
    let epoch = fact(EPOCH)?
        .and_then(|epoch| u64::try_from(epoch).ok())
        .unwrap_or_default();
    Ok(Some(Facts {
        format,
        identity: StoreId(identity),
        epoch,
    }))
}

/// Sets the epoch, durably.
pub(super) fn set_epoch(database: &Database, epoch: u64) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    transaction
        .open_table(FACTS)?
        .insert(EPOCH, u128::from(epoch))?;
    Ok(transaction.commit()?)
}

/// What `key` holds.
pub(super) fn get(database: &Database, key: &str) -> Result<Option<Versioned>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    Ok(table.get(key)?.map(|guard| versioned(guard.value())))
}

/// Every key that begins with `prefix`.
pub(super) fn list(
    database: &Database,
    prefix: &str,
) -> Result<Vec<(String, Versioned)>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut found = Vec::new();
    for item in table.range(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_owned(), versioned(value.value())));
    }
    Ok(found)
}

/// The version of the latest change, 0 before the first.
pub(super) fn version(database: &Database) -> Result<Version, redb::Error> {
    let table = database.begin_read()?.open_table(FACTS)?;
    let last = table.get(VERSION)?.map_or(0, |guard| guard.value());
    Ok(Version(
        u64::try_from(last).expect("a store has changed 2^64 times"),
    ))
}

/// Makes the changes durably, all or none. `committing` tells their version as soon as a failure
/// leaves it open which of the two it was.
pub(super) fn apply(
    database: &Database,
    swaps: &[Swap],
    committing: &mut Option<Version>,
) -> Result<ManyOutcome, redb::Error> {
    let transaction = begin(database)?;
    let version = {
        let mut records = transaction.open_table(RECORDS)?;
        for swap in swaps {
            let current = records
                .get(swap.key.as_str())?
                .map(|guard| versioned(guard.value()));
            if current.as_ref().map(|current| current.version) != swap.expected {
                drop(records);
                transaction.abort()?;
                return Ok(ManyOutcome::Refused {
                    key: swap.key.clone(),
                    current,
                });
            }
        }
        let mut facts = transaction.open_table(FACTS)?;
        let last = facts.get(VERSION)?.map_or(0, |guard| guard.value());
        let version = u64::try_from(last + 1).expect("a store has changed 2^64 times");
        facts.insert(VERSION, u128::from(version))?;
        for swap in swaps {
            match &swap.value {
                Some(value) => records.insert(swap.key.as_str(), (version, value.as_slice()))?,
                None => records.remove(swap.key.as_str())?,
            };
        }
        Version(version)
    };
    *committing = Some(version);
    transaction.commit()?;
    Ok(ManyOutcome::Applied { version })
}

fn versioned((version, value): (u64, &[u8])) -> Versioned {
    Versioned {
        version: Version(version),
        value: value.to_vec(),
    }
}
