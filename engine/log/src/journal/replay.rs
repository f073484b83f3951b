//! Bringing the segments up to what the journals say, before any partition is opened.

use std::collections::BTreeMap;
use std::io;

use hulse_model::PartitionId;

use crate::disk::{Disk, DiskFile, remove_if_there};
use crate::journal::format::Chunk;
use crate::journal::read::{Journals, ReadError, read_journals, segment_path};
use crate::journal::{JOURNAL_VERSION, JOURNALS_DIR};
use crate::manifest::{Manifest, ManifestFile};
use crate::recovery::OpenError;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::store::{partition_dir, read_manifest};

/// What a replay found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Journal files.
    pub files: usize,
    /// Rounds that were replayed.
    pub rounds: usize,
    /// Bytes that were written into segments.
    pub bytes: u64,
    /// Segments that were brought up to date.
    pub segments: usize,
    /// Rounds that had been durable and cannot be read. What they held may still be whole in the
    /// segments; where it is not, the partition's own recovery says so.
    pub lost_rounds: u64,
    /// Journal files that cannot be read at all.
    pub lost_files: Vec<String>,
}

/// Why the journals could not be replayed. Nothing may be opened then.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Another version of the program wrote a journal.
    #[error(
        "{path}: the journal has version {found}, and this program reads version {JOURNAL_VERSION}; \
         start and stop the version that wrote it once, so that nothing is left in it"
    )]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
}

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, source } => Self::Io { path, source },
            ReadError::Version { path, found } => Self::Version { path, found },
        }
    }
}

/// Replays the journals of all cores and removes them. Call it before the first partition is
/// opened, and after the data directory was locked. What it does can be done any number of times,
/// so a crash in the middle costs nothing.
///
/// # Errors
/// See [`ReplayError`]. The journals stay then.
pub fn replay<D: Disk>(disk: &D) -> Result<ReplayReport, ReplayError> {
    let journals = read_journals(disk)?;
    let mut report = ReplayReport {
        files: journals.names.len(),
        rounds: journals.rounds.len(),
        lost_rounds: journals.lost_rounds,
        lost_files: journals.lost_files.clone(),
        ..ReplayReport::default()
    };
    let mut manifests = Manifests::default();
    for (path, chunks) in by_segment(&journals) {
        replay_segment(disk, &path, &chunks, &mut manifests, &mut report)?;
    }
    for chunk in &journals.lost_chunks {
        mark_durable(disk, chunk)?;
    }
    for name in journals.unfinished.iter().chain(&journals.names) {
        let path = format!("{JOURNALS_DIR}/{name}");
        remove_if_there(disk, &path).map_err(|source| ReplayError::Io { path, source })?;
    }
    if !journals.names.is_empty() || !journals.unfinished.is_empty() {
        disk.sync_dir(JOURNALS_DIR)
            .map_err(|source| ReplayError::Io {
                path: JOURNALS_DIR.to_owned(),
                source,
            })?;
    }
    Ok(report)
}

/// The chunks with their bytes, in the order of the rounds, by the segment that they belong to:
/// a segment is opened, written and synced once.
pub(super) fn by_segment<F: DiskFile>(
    journals: &Journals<F>,
) -> BTreeMap<String, Vec<(Chunk, &[u8])>> {
    let mut segments: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for round in &journals.rounds {
        for (chunk, bytes) in round.chunks() {
            segments
                .entry(segment_path(chunk))
                .or_default()
                .push((*chunk, bytes));
        }
    }
    segments
}

/// The manifest of the partition that was met last.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    known: Option<(PartitionId, Found)>,
}

/// What stands where a partition's manifest should.
#[derive(Debug)]
enum Found {
    Manifest(Manifest),
    /// The partition was deleted.
    Nothing,
    /// It says nothing any more.
    Rotten,
}

impl Manifests {
    /// Whether the chunk is of this life of its log: a truncation, or a change of the partition's
    /// home, makes all older ones void. With a rotten manifest nobody can tell; the partition is
    /// refused until its manifest is put back, and must not lack then what it had acknowledged.
    ///
    /// # Errors
    /// When the disk fails: what is not known must not be taken for void.
    pub(super) fn hold<D: Disk>(&mut self, disk: &D, chunk: &Chunk) -> Result<bool, ReplayError> {
        let known = self.known.take().filter(|(of, _)| *of == chunk.partition);
        let found = match known {
            Some((_, found)) => found,
            None => match read_manifest(disk, &partition_dir(chunk.partition)) {
                Ok(manifest) => Found::Manifest(manifest),
                Err(OpenError::NotFound { .. }) => Found::Nothing,
                Err(OpenError::Io { path, source }) => {
                    return Err(ReplayError::Io { path, source });
                }
                Err(_) => Found::Rotten,
            },
        };
        let holds = match &found {
            Found::Manifest(manifest) => {
                manifest.mark(chunk.kind).generation == chunk.generation
                    && manifest.home_generation == chunk.home_generation
            }
            Found::Nothing => false,
            Found::Rotten => true,
        };
        self.known = Some((chunk.partition, found));
        Ok(holds)
    }
}

/// Whether a file is the segment that a chunk belongs to, and has room for it. Without a valid copy
/// of its header its name is believed: the partition is refused or its entries are reported when it
/// is opened, and what the chunk holds must be there for whoever mends it.
pub(super) fn takes<F: DiskFile>(file: &F, chunk: &Chunk) -> io::Result<bool> {
    let length = file.len()?;
    let header_bytes = SEGMENT_HEADER_BYTES as u64;
    let (from, to) = (
        u64::from(chunk.position),
        u64::from(chunk.position) + u64::from(chunk.bytes),
    );
    let Some(copy_at) = length.checked_sub(header_bytes) else {
        return Ok(false);
    };
    if from < header_bytes || to > copy_at {
        return Ok(false);
    }
    for at in [0, copy_at] {
        let header = file.slice(at, SEGMENT_HEADER_BYTES)?;
        if let Ok(header) = SegmentHeader::decode(header.as_ref()) {
            return Ok(header.partition == chunk.partition
                && header.kind == chunk.kind
                && header.base == chunk.base
                && to <= header.layout.data_end());
        }
    }
    Ok(true)
}

fn replay_segment<D: Disk>(
    disk: &D,
    path: &str,
    chunks: &[(Chunk, &[u8])],
    manifests: &mut Manifests,
    report: &mut ReplayReport,
) -> Result<(), ReplayError> {
    let failed = |source| ReplayError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match disk.open(path) {
        Ok(file) => file,
        // It was removed: by retention, or with its topic.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut written = 0;
    for (chunk, bytes) in chunks {
        if manifests.hold(disk, chunk)? && takes(&file, chunk).map_err(failed)? {
            file.write_at(bytes, u64::from(chunk.position))
                .map_err(failed)?;
            written += bytes.len() as u64;
        }
    }
    if written > 0 {
        file.sync_data().map_err(failed)?;
        // The segment may have been allocated only: see `SegmentHeader::synced_as`.
        file.sync_data().map_err(failed)?;
        report.segments += 1;
        report.bytes += written;
    }
    Ok(())
}

/// Notes that a log had been durable to the end of a chunk that is lost, so that its recovery
/// finds damage where the entries are lost in the segment too, and not a torn tail.
fn mark_durable<D: Disk>(disk: &D, chunk: &Chunk) -> Result<(), ReplayError> {
    if !Manifests::default().hold(disk, chunk)? {
        return Ok(());
    }
    let dir = partition_dir(chunk.partition);
    let path = dir.clone();
    let content = match read_manifest(disk, &dir) {
        Ok(content) => content,
        Err(OpenError::Io { path, source }) => return Err(ReplayError::Io { path, source }),
        // There is nothing left to note it in, and the partition is refused.
        Err(_) => return Ok(()),
    };
    ManifestFile::new(disk.clone(), dir, content)
        .update(|content| {
            let mark = content.mark_mut(chunk.kind);
            mark.flushed_to = mark.flushed_to.max(chunk.end);
        })
        .map_err(|source| ReplayError::Io { path, source })
}
