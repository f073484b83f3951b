//! The manifest: the small file that says whose files a partition's directory holds, how far its
//! logs were durable when it was written, and whether a truncation was under way.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hulse_model::{NameError, Offset, PartitionId, Term, TopicName};

use crate::disk::Disk;
use crate::field::Field;
use crate::segment::{LogKind, OFFSET_LIMIT};

/// The version of the manifest, and with it of the partition's directory, that this program reads
/// and writes.
pub const MANIFEST_VERSION: u32 = 1;
/// Length of the manifest's fixed part, in bytes; the topic's name and a checksum follow.
pub(crate) const MANIFEST_BYTES: usize = 96;

pub(crate) const MANIFEST_NAME: &str = "MANIFEST";
const MAGIC: &[u8; 8] = b"HULSEMAN";
const CRC_BYTES: usize = 4;

const F_MAGIC: Field = Field::first("magic", 8);
const F_VERSION: Field = F_MAGIC.then("version", 4);
const F_TOPIC_BYTES: Field = F_VERSION.then("topic_bytes", 4);
const F_PARTITION: Field = F_TOPIC_BYTES.then("partition", 16);
const F_HOME: Field = F_PARTITION.then("home_generation", 8);
const F_ENTRIES_TO: Field = F_HOME.then("entries_flushed_to", 8);
const F_ENTRIES_GENERATION: Field = F_ENTRIES_TO.then("entries_generation", 8);
const F_SIBLING_TO: Field = F_ENTRIES_GENERATION.then("sibling_flushed_to", 8);
const F_SIBLING_GENERATION: Field = F_SIBLING_TO.then("sibling_generation", 8);
const F_INTENT_LOG: Field = F_SIBLING_GENERATION.then("truncate_log", 4);
const F_RESERVED: Field = F_INTENT_LOG.then("reserved", 4);
const F_INTENT_OFFSET: Field = F_RESERVED.then("truncate_offset", 8);
const F_INTENT_TERM: Field = F_INTENT_OFFSET.then("truncate_term", 8);

/// The fields of the manifest's fixed part.
pub(crate) const MANIFEST_FIELDS: &[Field] = &[
    F_MAGIC,
    F_VERSION,
    F_TOPIC_BYTES,
    F_PARTITION,
    F_HOME,
    F_ENTRIES_TO,
    F_ENTRIES_GENERATION,
    F_SIBLING_TO,
    F_SIBLING_GENERATION,
    F_INTENT_LOG,
    F_RESERVED,
    F_INTENT_OFFSET,
    F_INTENT_TERM,
];

const _: () = assert!(F_INTENT_TERM.end() == MANIFEST_BYTES);

/// What the manifest says of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogMark {
    /// Entries below this were durable when the manifest was written. More may be.
    pub flushed_to: Offset,
    /// How often the log was truncated. New segments carry it.
    pub generation: u64,
}

/// A truncation that was begun. It is finished when the partition is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruncateIntent {
    /// The log that is cut.
    pub log: LogKind,
    /// Entries from here on go.
    pub offset: Offset,
    /// The term of the last entry that stays.
    pub term: Term,
}

/// The content of a partition's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The partition whose files these are.
    pub partition: PartitionId,
    /// The topic that it belongs to, with its partition's number.
    pub topic: TopicName,
    /// Which home journal's records are about this directory; rises with every change of home.
    pub home_generation: u64,
    /// The log of entries.
    pub entries: LogMark,
    /// The sibling log.
    pub sibling: LogMark,
    /// A truncation that has not finished.
    pub intent: Option<TruncateIntent>,
}

/// Why a file is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It does not begin like one, or is too short.
    #[error("it is not a manifest of a partition")]
    Magic,
    /// It was written by another version of the program.
    #[error("it has version {found}, and this program reads version {MANIFEST_VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The bytes are not the ones that were written.
    #[error("its checksum is {actual:08x}, stored is {stored:08x}")]
    Checksum {
        /// What the file says.
        stored: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// A field holds what it cannot hold.
    #[error("its field {0} is out of range")]
    Field(&'static str),
    /// The topic is no topic's name.
    #[error("it names no topic: {0}")]
    Topic(#[from] NameError),
}

impl Manifest {
    pub(crate) const fn new(partition: PartitionId, topic: TopicName) -> Self {
        let mark = LogMark {
            flushed_to: Offset::ZERO,
            generation: 0,
        };
        Self {
            partition,
            topic,
            home_generation: 0,
            entries: mark,
            sibling: mark,
            intent: None,
        }
    }

    /// What it says of one log.
    #[must_use]
    pub const fn mark(&self, log: LogKind) -> LogMark {
        match log {
            LogKind::Entries => self.entries,
            LogKind::Sibling => self.sibling,
        }
    }

    pub(crate) const fn mark_mut(&mut self, log: LogKind) -> &mut LogMark {
        match log {
            LogKind::Entries => &mut self.entries,
            LogKind::Sibling => &mut self.sibling,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let topic = self.topic.to_string();
        let topic_bytes = u32::try_from(topic.len()).expect("a name is at most 1 KiB long");
        let mut bytes = vec![0; MANIFEST_BYTES];
        F_MAGIC.put(&mut bytes, MAGIC);
        F_VERSION.put(&mut bytes, &MANIFEST_VERSION.to_le_bytes());
        F_TOPIC_BYTES.put(&mut bytes, &topic_bytes.to_le_bytes());
        F_PARTITION.put(&mut bytes, &self.partition.0.to_le_bytes());
        F_HOME.put(&mut bytes, &self.home_generation.to_le_bytes());
        F_ENTRIES_TO.put(&mut bytes, &self.entries.flushed_to.0.to_le_bytes());
        F_ENTRIES_GENERATION.put(&mut bytes, &self.entries.generation.to_le_bytes());
        F_SIBLING_TO.put(&mut bytes, &self.sibling.flushed_to.0.to_le_bytes());
        F_SIBLING_GENERATION.put(&mut bytes, &self.sibling.generation.to_le_bytes());
        if let Some(intent) = self.intent {
            F_INTENT_LOG.put(&mut bytes, &intent.log.code().to_le_bytes());
            F_INTENT_OFFSET.put(&mut bytes, &intent.offset.0.to_le_bytes());
            F_INTENT_TERM.put(&mut bytes, &intent.term.0.to_le_bytes());
        }
        bytes.extend_from_slice(topic.as_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        // The version comes first: another version's checksum may stand elsewhere.
        if bytes.len() < F_VERSION.end() || F_MAGIC.of(bytes) != MAGIC {
            return Err(ManifestError::Magic);
        }
        let found = F_VERSION.u32(bytes);
        if found != MANIFEST_VERSION {
            return Err(ManifestError::Version { found });
        }
        if bytes.len() < MANIFEST_BYTES + CRC_BYTES {
            return Err(ManifestError::Magic);
        }
        let (content, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        let stored = Field::first("crc", CRC_BYTES).u32(crc);
        let actual = crc32fast::hash(content);
        if stored != actual {
            return Err(ManifestError::Checksum { stored, actual });
        }
        let (fixed, topic) = content.split_at(MANIFEST_BYTES);
        if topic.len() != F_TOPIC_BYTES.u32(fixed) as usize {
            return Err(ManifestError::Field(F_TOPIC_BYTES.name));
        }
        let topic = std::str::from_utf8(topic).map_err(|_| ManifestError::Field("topic"))?;
        let mark = |to: Field, generation: Field| -> Result<LogMark, ManifestError> {
            Ok(LogMark {
                flushed_to: offset(fixed, to)?,
                generation: generation.u64(fixed),
            })
        };
        let intent = match F_INTENT_LOG.u32(fixed) {
            0 => None,
            code => Some(TruncateIntent {
                log: LogKind::from_code(code).ok_or(ManifestError::Field(F_INTENT_LOG.name))?,
                offset: offset(fixed, F_INTENT_OFFSET)?,
                term: Term(F_INTENT_TERM.u64(fixed)),
            }),
        };
        Ok(Self {
            partition: PartitionId(F_PARTITION.u128(fixed)),
            topic: topic.parse()?,
            home_generation: F_HOME.u64(fixed),
            entries: mark(F_ENTRIES_TO, F_ENTRIES_GENERATION)?,
            sibling: mark(F_SIBLING_TO, F_SIBLING_GENERATION)?,
            intent,
        })
    }
}

fn offset(fixed: &[u8], field: Field) -> Result<Offset, ManifestError> {
    let value = field.u64(fixed);
    if value < OFFSET_LIMIT {
        Ok(Offset(value))
    } else {
        Err(ManifestError::Field(field.name))
    }
}

/// The manifest of an open partition, shared by its two logs on one core, and by the helper that
/// marks them flushed.
#[derive(Debug)]
pub(crate) struct ManifestFile<D> {
    disk: D,
    dir: String,
    /// What the disk holds. It is held for moments only, because the core looks at it.
    content: Mutex<Manifest>,
    /// Held for as long as a change takes, so that no change is lost to another.
    changing: Mutex<()>,
}

impl<D: Disk> ManifestFile<D> {
    pub(crate) fn new(disk: D, dir: String, content: Manifest) -> Arc<Self> {
        Arc::new(Self {
            disk,
            dir,
            content: Mutex::new(content),
            changing: Mutex::new(()),
        })
    }

    pub(crate) fn content(&self) -> MutexGuard<'_, Manifest> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the manifest, on the disk first. When it fails, what the disk holds is either the
    /// old or the new one. Blocks for the disk, and for another change that is under way.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.content().clone();
        let mut changed = before.clone();
        change(&mut changed);
        if changed != before {
            self.store(&changed)?;
            *self.content() = changed;
        }
        Ok(())
    }

    /// Writes the first manifest of a partition.
    pub(crate) fn create(&self) -> io::Result<()> {
        let content = self.content().clone();
        self.store(&content)
    }

    fn store(&self, content: &Manifest) -> io::Result<()> {
        let name = format!("{}/{MANIFEST_NAME}", self.dir);
        let new = format!("{name}.new");
        let written = self.disk.write_new(&new, &content.encode());
        if let Err(error) = written.and_then(|()| self.disk.rename(&new, &name)) {
            // The first error says more than this one would; the next start removes what is left.
            let _ = self.disk.remove(&new);
            return Err(error);
        }
        self.disk.sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests;
