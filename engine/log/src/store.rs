//! A partition's files: its two logs and its manifest.

use std::io;
use std::sync::Arc;

use hulse_model::limits::SEGMENT_BYTES_MIN;
use hulse_model::{Offset, PartitionId, TopicName};

use crate::disk::{Disk, Fill};
use crate::home::ChangeHome;
use crate::log::{Log, SyncError};
use crate::manifest::{MANIFEST_NAME, Manifest, ManifestFile};
use crate::mark::MarkFlushed;
use crate::prepare::Prepare;
use crate::recovery::OpenError;
use crate::report::RecoveryReport;
use crate::segment::{Layout, LogKind, SegmentHeader};

/// The directory in which every partition has one of its own.
pub const PARTITIONS_DIR: &str = "partitions";

/// The directory of a partition, below the disk's root.
#[must_use]
pub fn partition_dir(partition: PartitionId) -> String {
    format!("{PARTITIONS_DIR}/{partition}")
}

/// The partitions that have a directory on `disk`, in the order of their ids.
///
/// # Errors
/// Whatever the disk answers. A data directory without any partition is no error.
pub fn list_partitions<D: Disk>(disk: &D) -> io::Result<Vec<PartitionId>> {
    match disk.list(PARTITIONS_DIR) {
        Ok(names) => Ok(names.iter().filter_map(|name| name.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// An open partition's files. They belong to one core.
#[derive(Debug)]
pub struct PartitionStore<D: Disk> {
    /// What producers sent.
    pub entries: Log<D>,
    /// Everything else that must survive.
    pub sibling: Log<D>,
    manifest: Arc<ManifestFile<D>>,
}

/// Why a partition could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one already.
    #[error("{dir}: there is a partition already")]
    Exists {
        /// Its directory.
        dir: String,
    },
    /// The disk failed, or is full. Nothing is left behind, as far as the disk allows.
    #[error("{dir}: {source}")]
    Io {
        /// The partition's directory.
        dir: String,
        /// What the disk said.
        source: io::Error,
    },
    /// What was made could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a partition could not be closed cleanly. Its files are as after a crash.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A log could not be synced.
    #[error("the {log} log: {source}")]
    Sync {
        /// Which log.
        log: LogKind,
        /// Why.
        source: SyncError,
    },
    /// The manifest could not be written.
    #[error("the manifest: {0}")]
    Manifest(#[from] io::Error),
}

impl<D: Disk> PartitionStore<D> {
    /// Makes the files of a new partition, durably, and opens it.
    ///
    /// What an earlier attempt left, if it did not come to its end, is removed first.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn create(
        disk: &D,
        partition: PartitionId,
        topic: &TopicName,
    ) -> Result<Self, CreateError> {
        let dir = partition_dir(partition);
        let failed = |source| CreateError::Io {
            dir: dir.clone(),
            source,
        };
        match disk.list(&dir) {
            Ok(names) if names.iter().any(|name| name == MANIFEST_NAME) => {
                return Err(CreateError::Exists { dir });
            }
            Ok(_) => disk.remove_dir_all(&dir).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if let Err(error) = Self::make_files(disk, &dir, partition, topic) {
            // The first error says more than this one would; the next attempt removes the rest.
            let _ = disk.remove_dir_all(&dir);
            return Err(failed(error));
        }
        Ok(Self::open(disk, partition)?.0)
    }

    /// The manifest comes last: without it there is no partition.
    fn make_files(
        disk: &D,
        dir: &str,
        partition: PartitionId,
        topic: &TopicName,
    ) -> io::Result<()> {
        disk.create_dir(dir)?;
        let layout = Layout {
            capacity: SEGMENT_BYTES_MIN,
        };
        for kind in LogKind::ALL {
            let header =
                SegmentHeader::new(kind, partition, Offset::ZERO, 0, layout, Fill::Written);
            let prepare = Prepare {
                disk: disk.clone(),
                dir: dir.to_owned(),
                header,
            };
            prepare.run().result?;
        }
        let manifest = Manifest::new(partition, topic.clone());
        ManifestFile::new(disk.clone(), dir.to_owned(), manifest).create()
    }

    /// Recovers a partition and opens it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(disk: &D, partition: PartitionId) -> Result<(Self, RecoveryReport), OpenError> {
        let dir = partition_dir(partition);
        let content = read_manifest(disk, &dir)?;
        if content.partition != partition {
            return Err(OpenError::OtherPartition {
                dir,
                found: content.partition,
            });
        }
        // A process that was killed may have given a file its name without syncing the directory.
        // Nothing in the file counts for durable before its name is.
        disk.sync_dir(&dir).map_err(|source| OpenError::Io {
            path: dir.clone(),
            source,
        })?;
        let manifest = ManifestFile::new(disk.clone(), dir.clone(), content);
        let (entries, entries_report) = Log::open(disk, &dir, &manifest, LogKind::Entries, 0)?;
        let (sibling, sibling_report) = Log::open(disk, &dir, &manifest, LogKind::Sibling, 0)?;
        let report = RecoveryReport {
            entries: entries_report,
            sibling: sibling_report,
        };
        Ok((
            Self {
                entries,
                sibling,
                manifest,
            },
            report,
        ))
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.manifest.content().partition
    }

    /// The topic that the partition belongs to, with the partition's number.
    #[must_use]
    pub fn topic(&self) -> TopicName {
        self.manifest.content().topic.clone()
    }

    /// The partition's home generation: it rises with every change of its home journal.
    #[must_use]
    pub fn home_generation(&self) -> u64 {
        self.manifest.content().home_generation
    }

    /// One of the two logs.
    #[must_use]
    pub const fn log(&self, kind: LogKind) -> &Log<D> {
        match kind {
            LogKind::Entries => &self.entries,
            LogKind::Sibling => &self.sibling,
        }
    }

    /// One of the two logs.
    pub const fn log_mut(&mut self, kind: LogKind) -> &mut Log<D> {
        match kind {
            LogKind::Entries => &mut self.entries,
            LogKind::Sibling => &mut self.sibling,
        }
    }

    /// The note of how far the logs are durable, to be made by a helper; `None` when the manifest
    /// says so already, or when a log has failed.
    ///
    /// Nothing else proves the last round of an idle log: without the note, recovery takes what
    /// has rotten there for a write that was cut off.
    #[must_use]
    pub fn mark_flushed(&self) -> Option<MarkFlushed<D>> {
        let failed = |log: &Log<D>| log.poisoned().is_some();
        if failed(&self.entries) || failed(&self.sibling) {
            return None;
        }
        let (entries, sibling) = (self.entries.flushed(), self.sibling.flushed());
        MarkFlushed::new(&self.manifest, entries, sibling)
    }

    /// The note that the partition has another home, to be made by a helper; `None` while a journal
    /// may hold what the segments' own files do not, and when a log has failed.
    ///
    /// Between this and the end of [`ChangeHome::run`] neither log may have a share in a round.
    #[must_use]
    pub fn change_home(&self) -> Option<ChangeHome<D>> {
        let leans = |log: &Log<D>| log.poisoned().is_some() || log.leans_on_journal();
        if leans(&self.entries) || leans(&self.sibling) {
            return None;
        }
        let (entries, sibling) = (self.entries.flushed(), self.sibling.flushed());
        Some(ChangeHome::new(&self.manifest, entries, sibling))
    }

    /// Makes everything durable, notes that in the manifest, and closes the files.
    ///
    /// # Errors
    /// When a log is poisoned, a sync is in flight, or the disk fails.
    pub fn close_clean(mut self) -> Result<(), CloseError> {
        for log in LogKind::ALL {
            self.log_mut(log)
                .sync()
                .map_err(|source| CloseError::Sync { log, source })?;
        }
        let (entries, sibling) = (self.entries.flushed(), self.sibling.flushed());
        self.manifest.update(|content| {
            content.entries.flushed_to = entries;
            content.sibling.flushed_to = sibling;
        })?;
        Ok(())
    }
}

/// Reads the manifest of the partition in `dir`.
pub(crate) fn read_manifest<D: Disk>(disk: &D, dir: &str) -> Result<Manifest, OpenError> {
    let path = format!("{dir}/{MANIFEST_NAME}");
    let bytes = match disk.read_all(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::NotFound {
                dir: dir.to_owned(),
            });
        }
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    Manifest::decode(&bytes).map_err(|source| OpenError::Manifest { path, source })
}
