//! The broker's lives, kept on its own disk: the one that it had, and the one that it intends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use hulse_metadata::records::Incarnation;

const FILE: &str = "INCARNATION";

/// The pair of lives that the protocol of registration needs (see `Catalog::register_broker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lives {
    pub(crate) held: Option<Incarnation>,
    pub(crate) intent: Option<Incarnation>,
}

impl Lives {
    /// Reads the pair from a data directory; nothing is there before the first start.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                let (held, intent) = read.map_err(|error| {
                    let text = format!("its file {FILE} is damaged: {error}");
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
                Ok(Self { held, intent })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the pair and syncs it, whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let aside = dir.join("INCARNATION.new");
        let mut file = File::create(&aside)?;
        file.write_all(&serde_json::to_vec(&(self.held, self.intent))?)?;
        file.sync_all()?;
        fs::rename(&aside, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }

    /// The pair of a start that finds `registered` in the store: an intent that an earlier start
    /// got registered is the life that was held.
    pub(crate) fn next(self, registered: Option<Incarnation>, nonce: u64) -> Self {
        let held = if registered.is_some() && registered == self.intent {
            self.intent
        } else {
            self.held
        };
        Self {
            held,
            intent: Some(Incarnation::after(held, nonce)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"[null,null").unwrap();
        let error = Lives::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("INCARNATION is damaged"), "{error}");
    }

    #[test]
    fn the_pair_survives_and_a_registered_intent_becomes_the_life_held() {
        let dir = tempfile::tempdir().unwrap();
        let none = Lives::read(dir.path()).unwrap();
        assert_eq!(none, Lives::default());
        let first = none.next(None, 7);
        assert_eq!(
            (first.held, first.intent.map(|i| i.number)),
            (None, Some(1))
        );
        first.write(dir.path()).unwrap();
        let read = Lives::read(dir.path()).unwrap();
        assert_eq!(read, first);
        let second = read.next(first.intent, 8);
        assert_eq!(
            (second.held, second.intent.map(|i| i.number)),
            (first.intent, Some(2))
        );
        let unregistered = read.next(None, 9);
        assert_eq!(
            (unregistered.held, unregistered.intent.map(|i| i.number)),
            (None, Some(1))
        );
    }
}
