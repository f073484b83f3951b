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

/// Opens the database in `file`, repairing what a crash left. All of it is read and every checksum
/// compared, and its account of the pages is made anew: what it wrote when it was closed would
/// otherwise be believed unseen, and a rotten account makes it panic.
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
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)?)
}

/// How the database's file begins: what it is, its flags, and how its pages are laid out, by five
/// numbers of four bytes. Its own documentation of the format has them.
const HEADER_BYTES: usize = 32;
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const FLAGS_AT: usize = 9;
const LAYOUT_AT: usize = 12;
/// The flag that says that it was not closed.
const NOT_CLOSED: u8 = 2;

/// Refuses a file that was closed and is shorter than it was then: a part of it is missing, and the
/// database would make its account of what is left, or panic over it.
///
/// # Errors
/// When the file cannot be read, and `InvalidData` when a part of it is missing. A file that is no
/// database passes, for the opening to refuse.
pub(super) fn check_length(file: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).open(file)?;
    let length = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    if length < HEADER_BYTES as u64 {
        return Ok(());
    }
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(MAGIC) || header[FLAGS_AT] & NOT_CLOSED != 0 {
        return Ok(());
    }
    let made = closed_length(&header);
    if length < made {
        let text = format!(
            "metadata.redb is {length} bytes long and was {made} when it was closed: a part of it \
             is missing"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(())
}

/// How long a database with this header is.
fn closed_length(header: &[u8; HEADER_BYTES]) -> u64 {
    let number = |index: usize| {
        let bytes = header[LAYOUT_AT + index * 4..].first_chunk();
        u64::from(u32::from_le_bytes(*bytes.expect("the header has five")))
    };
    let [page, header_pages, region_pages, regions, last] = [0, 1, 2, 3, 4].map(number);
    // A page for the header, the full regions, and what there is of one more; each with pages of
    // its own. Rotten numbers may be large.
    let full = regions.saturating_mul(header_pages + region_pages);
    let last = if last > 0 { header_pages + last } else { 0 };
    page.saturating_mul(1 + full.saturating_add(last).min(u64::MAX - 1))
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
