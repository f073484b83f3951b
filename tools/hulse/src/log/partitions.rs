//! Finds the partitions of a directory, and keeps brokers away while they are read.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hulse_log::{
    OpenError, OsDisk, PARTITIONS_DIR, ReplayedDisk, VerifyReport, list_partitions, verify,
};
use hulse_model::PartitionId;
use rustix::fs::{FlockOperation, flock};

use crate::exit::Failure;

/// The file that a broker locks in its data directory.
const LOCK_FILE: &str = "LOCK";
/// The file that says which format a data directory has.
const FORMAT_FILE: &str = "FORMAT";

/// Partitions that nobody writes to as long as this lives.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// With what the journals hold and the segments may lack, as the next start will find it.
    disk: ReplayedDisk<OsDisk>,
    ids: Vec<PartitionId>,
    /// Held for its lock; absent where no broker has ever run.
    _lock: Option<File>,
}

impl Partitions {
    /// The partitions of a data directory, or the one whose directory it is.
    ///
    /// # Errors
    /// When a broker uses it, it is neither, or it cannot be read.
    pub(crate) fn find(dir: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| {
            Failure::failed(format_args!("{} cannot be read: {error}", dir.display()))
        };
        let dir = dir.canonicalize().map_err(unreadable)?;
        let (root, only) = match one_partition(&dir) {
            Some((root, id)) => (root, Some(id)),
            None => (dir.clone(), None),
        };
        if !root.join(PARTITIONS_DIR).is_dir() && !root.join(FORMAT_FILE).is_file() {
            return Err(Failure::failed(format_args!(
                "{} is neither a broker's data directory nor the directory of a partition in one",
                dir.display()
            )));
        }
        let lock = lock(&root)?;
        let disk = ReplayedDisk::new(OsDisk::read_only(root))
            .map_err(|error| Failure::failed(error.to_string()))?;
        let ids = match only {
            Some(id) => vec![id],
            None => list_partitions(&disk).map_err(unreadable)?,
        };
        Ok(Self {
            disk,
            ids,
            _lock: lock,
        })
    }

    /// The partitions, in the order of their ids.
    pub(crate) fn ids(&self) -> &[PartitionId] {
        &self.ids
    }

    /// Reads all of a partition's files; `None` when the making of the partition was cut off, so
    /// that there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn verify(&self, id: PartitionId) -> Result<Option<VerifyReport>, Failure> {
        match verify(&self.disk, &format!("{PARTITIONS_DIR}/{id}")) {
            Ok(report) => Ok(Some(report)),
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(Failure::failed(format_args!("partition {id}: {error}"))),
        }
    }
}

/// The data directory and the id of the partition whose directory `dir` is.
fn one_partition(dir: &Path) -> Option<(PathBuf, PartitionId)> {
    let id = dir.file_name()?.to_str()?.parse().ok()?;
    let parent = dir.parent()?;
    (parent.file_name()? == PARTITIONS_DIR).then_some(())?;
    Some((parent.parent()?.to_owned(), id))
}

/// Locks the data directory against brokers.
fn lock(root: &Path) -> Result<Option<File>, Failure> {
    let file = match File::open(root.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::failed(format_args!(
                "{}/{LOCK_FILE} cannot be opened: {error}",
                root.display()
            )));
        }
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let holder = io::read_to_string(&file).unwrap_or_default();
            let holder = match holder.trim() {
                "" => String::new(),
                process => format!(" (process {process})"),
            };
            Err(Failure::failed(format_args!(
                "a broker uses {}{holder}; stop it first",
                root.display()
            )))
        }
        Err(error) => Err(Failure::failed(format_args!(
            "{}/{LOCK_FILE} cannot be locked: {error}",
            root.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_log::PartitionStore;

    fn data_dir_with(id: PartitionId) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::new(dir.path());
        PartitionStore::create(&disk, id, &"orders".parse().unwrap()).unwrap();
        dir
    }

    #[test]
    fn a_data_directory_and_a_partitions_are_both_understood() {
        let id = PartitionId(7);
        let dir = data_dir_with(id);
        for path in [
            dir.path().to_owned(),
            dir.path().join(format!("partitions/{id}")),
        ] {
            let partitions = Partitions::find(&path).unwrap();
            assert_eq!(partitions.ids(), [id]);
            assert!(partitions.verify(id).unwrap().unwrap().is_sound());
        }
    }

    #[test]
    fn anything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("none")] {
            let said = Partitions::find(&path).unwrap_err().to_string();
            assert!(
                said.contains(&*dir.path().file_name().unwrap().to_string_lossy()),
                "{said}"
            );
        }
    }

    #[test]
    fn a_partition_whose_making_was_cut_off_is_none() {
        let dir = data_dir_with(PartitionId(7));
        let other = PartitionId(8);
        std::fs::create_dir(dir.path().join(format!("partitions/{other}"))).unwrap();
        let partitions = Partitions::find(dir.path()).unwrap();
        assert_eq!(partitions.ids(), [PartitionId(7), other]);
        assert!(partitions.verify(other).unwrap().is_none());
    }

    #[test]
    fn a_broker_that_runs_keeps_its_files_to_itself() {
        let dir = data_dir_with(PartitionId(7));
        let path = dir.path().join(LOCK_FILE);
        std::fs::write(&path, "4711").unwrap();
        let broker = File::open(&path).unwrap();
        flock(&broker, FlockOperation::NonBlockingLockExclusive).unwrap();
        let said = Partitions::find(dir.path()).unwrap_err().to_string();
        assert!(said.contains("(process 4711); stop it first"), "{said}");
        drop(broker);
        let held = Partitions::find(dir.path()).unwrap();
        let broker = File::open(&path).unwrap();
        assert!(flock(&broker, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(held);
        flock(&broker, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
