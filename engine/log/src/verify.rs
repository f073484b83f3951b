//! Reading everything of a stopped partition and saying what is there, without writing anything.

use hulse_model::{Offset, PartitionId};

use crate::disk::Disk;
use crate::manifest::{Manifest, ManifestError};
use crate::recovery::OpenError;
use crate::report::{DamageReason, DamagedRange, TornTail};
use crate::segment::{LogKind, SEGMENT_HEADER_BYTES};
use crate::store::read_manifest;
use crate::survey::{FooterKind, Place, Survey, Surveyed, survey};

/// What the files of a partition hold.
#[derive(Debug)]
pub struct VerifyReport {
    /// The partition, as its directory's name says.
    pub partition: PartitionId,
    /// The manifest, or what is wrong with it.
    pub manifest: Result<Manifest, ManifestError>,
    /// The log of entries.
    pub entries: LogVerification,
    /// The sibling log.
    pub sibling: LogVerification,
}

impl VerifyReport {
    /// Whether nothing is damaged. A torn tail is not called damage: a crash leaves one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.manifest.is_ok() && self.entries.is_sound() && self.sibling.is_sound()
    }
}

/// What the files of one log hold.
#[derive(Debug)]
pub struct LogVerification {
    /// Which log.
    pub log: LogKind,
    /// Its segments, oldest first, with those that are prepared and empty.
    pub segments: Vec<SegmentVerification>,
    /// Number of whole entries.
    pub entries: u64,
    /// Length of its files, in bytes.
    pub bytes: u64,
    /// Its first entry; where one would go when there is none.
    pub first: Offset,
    /// One past its last whole entry.
    pub end: Offset,
    /// Proved to have been durable.
    pub flushed_to: Offset,
    /// What was being written when the broker stopped.
    pub torn_tail: Option<TornTail>,
    /// What is damaged. A bad entry that nothing proves to have been durable is damage here when
    /// whole entries follow it; recovery would take it, and what follows, for a torn tail.
    pub damaged: Vec<DamagedRange>,
    /// Why the log cannot be opened, if it cannot.
    pub refused: Option<String>,
}

impl LogVerification {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.refused.is_none()
    }
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentVerification {
    /// Name of its file.
    pub file: String,
    /// The log's end when it was made.
    pub base: Offset,
    /// Its first entry.
    pub first: Offset,
    /// One past its last whole entry.
    pub end: Offset,
    /// What stands in its footer's place.
    pub footer: FooterKind,
    /// Whether it has a footer that proves it.
    pub sealed: bool,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Number of whole entries.
    pub entries: u64,
    /// Terms of its entries, each with its first offset.
    pub terms: Vec<(hulse_model::Term, Offset)>,
}

/// Reads all the files of the partition in `dir` and checks every checksum. Nothing is written,
/// so the broker that owns them must be stopped.
///
/// # Errors
/// When the directory's name is no partition's id, there is no manifest in it, or the disk fails.
/// What is wrong inside the files is in the report.
pub fn verify<D: Disk>(disk: &D, dir: &str) -> Result<VerifyReport, OpenError> {
    let name = dir.rsplit('/').next().unwrap_or(dir);
    let partition: PartitionId = name.parse().map_err(|_| OpenError::NotADirectoryOfOurs {
        dir: dir.to_owned(),
    })?;
    let manifest = match read_manifest(disk, dir) {
        Ok(manifest) if manifest.partition != partition => {
            return Err(OpenError::OtherPartition {
                dir: dir.to_owned(),
                found: manifest.partition,
            });
        }
        Ok(manifest) => Ok(manifest),
        Err(OpenError::Manifest { source, .. }) => Err(source),
        Err(error) => return Err(error),
    };
    let log = |kind| verify_log(disk, dir, partition, manifest.as_ref().ok(), kind);
    let (entries, sibling) = (log(LogKind::Entries)?, log(LogKind::Sibling)?);
    Ok(VerifyReport {
        partition,
        manifest,
        entries,
        sibling,
    })
}

fn verify_log<D: Disk>(
    disk: &D,
    dir: &str,
    partition: PartitionId,
    manifest: Option<&Manifest>,
    kind: LogKind,
) -> Result<LogVerification, OpenError> {
    let mark = manifest
        .map(|manifest| manifest.mark(kind))
        .unwrap_or_default();
    let intent = manifest.and_then(|manifest| manifest.intent);
    let place = Place {
        dir,
        kind,
        partition,
        marked_to: mark.flushed_to,
        generation: mark.generation,
        cut: intent
            .filter(|intent| intent.log == kind)
            .map(|intent| intent.offset),
    };
    let found = match survey(disk, &place, true).map_err(OpenError::from) {
        Ok(found) => found,
        Err(error @ OpenError::Io { .. }) => return Err(error),
        Err(error) => return Ok(refused(kind, &error)),
    };
    let mut damaged = found.damaged.clone();
    let torn_tail = found.last_tail.clone();
    damaged.extend(found.unproved.iter().cloned());
    damaged.extend(blemishes(&found));
    damaged.sort_by_key(|range| (range.first, range.position));
    let segments: Vec<_> = found
        .segments
        .iter()
        .chain(&found.spare)
        .map(describe)
        .collect();
    Ok(LogVerification {
        log: kind,
        entries: segments.iter().map(|segment| segment.entries).sum(),
        bytes: segments.iter().map(|segment| segment.bytes).sum::<u64>()
            + found.unreadable.iter().map(|file| file.bytes).sum::<u64>(),
        first: found.start,
        end: found.end,
        flushed_to: found.flushed_to,
        segments,
        torn_tail,
        damaged,
        refused: None,
    })
}

/// What is wrong with segments though no entry is lost by it. The range of entries is empty.
fn blemishes<F>(found: &Survey<F>) -> Vec<DamagedRange> {
    let last_sealed = found
        .segments
        .iter()
        .rposition(|at| at.footer == FooterKind::Valid);
    let mut blemishes = Vec::new();
    for (index, segment) in found.segments.iter().enumerate() {
        let contents = &segment.contents;
        let mut note = |at: Offset, position: u64, reason| {
            let name = segment.name.clone();
            blemishes.push(DamagedRange {
                first: at,
                end: at,
                segment: name,
                position,
                reason,
            });
        };
        if !segment.headers_agree {
            note(contents.first, 0, DamageReason::Header);
        }
        // The opening is as durable as the first entry.
        if !segment.opened && contents.first < found.flushed_to {
            note(
                contents.first,
                SEGMENT_HEADER_BYTES as u64,
                DamageReason::Header,
            );
        }
        // A footer may be lost in a crash, but not when a later one was made after it was synced.
        if segment.footer == FooterKind::Invalid && last_sealed.is_some_and(|last| last > index) {
            note(
                contents.end,
                segment.header.layout.data_end(),
                DamageReason::Index,
            );
        }
    }
    for file in &found.unreadable {
        let covered = found.damaged.iter().any(|range| range.segment == file.name);
        if !covered {
            blemishes.push(DamagedRange {
                first: file.base,
                end: file.base,
                segment: file.name.clone(),
                position: 0,
                reason: DamageReason::Header,
            });
        }
    }
    blemishes
}

fn describe<F>(segment: &Surveyed<F>) -> SegmentVerification {
    SegmentVerification {
        file: segment.name.clone(),
        base: segment.header.base,
        first: segment.contents.first,
        end: segment.contents.end,
        footer: segment.footer,
        sealed: segment.footer == FooterKind::Valid,
        bytes: segment.bytes,
        entries: segment.entries,
        terms: segment.contents.terms.clone(),
    }
}

fn refused(log: LogKind, error: &OpenError) -> LogVerification {
    LogVerification {
        log,
        segments: Vec::new(),
        entries: 0,
        bytes: 0,
        first: Offset::ZERO,
        end: Offset::ZERO,
        flushed_to: Offset::ZERO,
        torn_tail: None,
        damaged: Vec::new(),
        refused: Some(error.to_string()),
    }
}
