//! The epoch of an embedded store, kept outside its data so that a copy put in its place is found.
//!
//! Every opening raises the epoch, first in the database and then in the file beside it. The file
//! can so be behind the database (after a crash between the two), but never ahead of it, unless an
//! older database was put back. A copy of the whole directory, or one put back before the store
//! was opened again, cannot be told.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::store::StoreId;

const FILE: &str = "metadata.epoch";
const TEMPORARY: &str = "metadata.epoch.new";
const TITLE: &str = "hulse metadata epoch, format 1";

/// What stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// The store that it belongs to.
    pub(crate) store: StoreId,
    /// How often that store had been opened.
    pub(crate) epoch: u64,
}

impl Epoch {
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match Self::parse(&text) {
            Some(epoch) => Ok(Some(epoch)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{FILE} is damaged"),
            )),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let digits = lines.next()?.strip_prefix("store ")?;
        let store = StoreId(u128::from_str_radix(digits, 16).ok()?);
        let epoch = lines.next()?.strip_prefix("epoch ")?.parse().ok()?;
        Some(Self { store, epoch })
    }

    /// Replaces the file, durably.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        write!(
            file,
            "{TITLE}\nstore {}\nepoch {}\n",
            self.store, self.epoch
        )?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }
}
