//! Bringing one log's files into a state that can be appended to.
//!
//! Every step leaves files from which the same steps lead to the same end, so that a crash in the
//! middle of recovery costs nothing: evidence is made durable in the manifest before what it came
//! from is removed, and what is kept is synced before a footer says so.

use std::io;

use hulse_model::{Offset, PartitionId};

use crate::disk::{Disk, DiskFile, remove_if_there};
use crate::manifest::{ManifestError, ManifestFile};
use crate::report::{LogRecovery, TornTail};
use crate::scan::is_zero;
use crate::segment::{HeaderFault, LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::survey::{Cut, FooterKind, Place, Survey, SurveyError, Surveyed, survey};

/// Why a partition's files cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no manifest: no partition of this id was ever completely made here.
    #[error("{dir}: there is no partition")]
    NotFound {
        /// The partition's directory.
        dir: String,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The manifest cannot be used.
    #[error("{path}: {source}")]
    Manifest {
        /// The file.
        path: String,
        /// Why.
        source: ManifestError,
    },
    /// The files belong to another partition than their directory's name says.
    #[error("{dir}: the files belong to partition {found}")]
    OtherPartition {
        /// The partition's directory.
        dir: String,
        /// What the manifest says.
        found: PartitionId,
    },
    /// The newest segment, or one of another version, cannot be used. Nothing was changed.
    #[error("{path}: {fault}")]
    Segment {
        /// The file.
        path: String,
        /// What is wrong with it.
        fault: HeaderFault,
    },
    /// A log has lost all of its files.
    #[error("{dir}: the {log} log has no segment")]
    NoSegment {
        /// The partition's directory.
        dir: String,
        /// Which log.
        log: LogKind,
    },
    /// The directory's name is no partition's id.
    #[error("{dir}: not the directory of a partition")]
    NotADirectoryOfOurs {
        /// The directory.
        dir: String,
    },
}

impl From<SurveyError> for OpenError {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Io { path, source } => Self::Io { path, source },
            SurveyError::Segment { path, fault } => Self::Segment { path, fault },
            SurveyError::NoSegment { dir, log } => Self::NoSegment { dir, log },
        }
    }
}

/// Pages are looked at and zeroed in pieces of this many bytes.
const ZERO_BYTES: usize = 4096;

/// Records are written once more in pieces of this many bytes.
const REWRITE_BYTES: usize = 1024 * 1024;

/// Recovers one log of the partition in `dir`.
pub(crate) fn recover<D: Disk>(
    disk: &D,
    dir: &str,
    manifest: &ManifestFile<D>,
    kind: LogKind,
) -> Result<(Survey<D::File>, LogRecovery), OpenError> {
    let dir_error = |source| OpenError::Io {
        path: dir.to_owned(),
        source,
    };
    let truncation_finished = finish_truncation(disk, dir, manifest, kind)?;
    let (partition, mark) = {
        let content = manifest.content();
        (content.partition, content.mark(kind))
    };
    let mut place = Place {
        dir,
        kind,
        partition,
        marked_to: mark.flushed_to,
        generation: mark.generation,
        cut: None,
    };
    let mut found = survey(disk, &place, false)?;
    let scanned = |found: &Survey<D::File>| {
        let scanned = found.segments.iter().filter(|segment| segment.scanned);
        scanned.fold((0, 0), |(count, bytes), segment| {
            (count + 1, bytes + segment.bytes)
        })
    };
    let (segments_scanned, bytes_scanned) = scanned(&found);
    let flushed_to = found.flushed_to;
    let mut files_removed = Vec::new();
    let mut torn_tail = None;
    // A round may have been torn in several segments: with one tail cut off, the next is seen.
    for _ in 0..found.segments.len() {
        let Some(cut) = found.torn.take() else {
            break;
        };
        if flushed_to > place.marked_to {
            // What proves this end may lie in what is about to go.
            let proved = |content: &mut crate::Manifest| {
                content.mark_mut(kind).flushed_to = flushed_to;
            };
            manifest.update(proved).map_err(dir_error)?;
            place.marked_to = flushed_to;
        }
        files_removed.extend(cut_tail(disk, &place, &found, &cut)?);
        let before = torn_tail.map_or(0, |tail: TornTail| tail.entries_after);
        torn_tail = Some(TornTail {
            entries_after: before + cut.tail.entries_after,
            ..cut.tail
        });
        found = survey(disk, &place, false)?;
    }
    if found.torn.is_some() {
        let text = "the torn tail is still there after it was cut off";
        return Err(dir_error(io::Error::other(text)));
    }
    settle(&mut found, flushed_to)?;
    for name in std::mem::take(&mut found.surplus) {
        remove_if_there(disk, &format!("{dir}/{name}")).map_err(dir_error)?;
        files_removed.push(name);
    }
    if !files_removed.is_empty() {
        disk.sync_dir(dir).map_err(dir_error)?;
    }
    let report = LogRecovery {
        log: kind,
        start: found.start,
        end: found.end,
        marked_to: mark.flushed_to,
        flushed_to,
        segments: found.segments.len(),
        segments_scanned,
        bytes_scanned,
        damaged: found.damaged.clone(),
        torn_tail,
        truncation_finished,
        files_removed,
    };
    Ok((found, report))
}

/// Removes everything after the cut, durably.
fn cut_tail<D: Disk>(
    disk: &D,
    place: &Place<'_>,
    found: &Survey<D::File>,
    cut: &Cut,
) -> Result<Vec<String>, OpenError> {
    let last = &found.segments[cut.segment];
    let dir_error = |source| OpenError::Io {
        path: place.dir.to_owned(),
        source,
    };
    let names = disk.list(place.dir).map_err(dir_error)?;
    let later = |name: &&String| {
        place
            .kind
            .base_of(name)
            .is_some_and(|base| base > last.header.base)
    };
    let mut removed = Vec::new();
    // From the end, and each for good before the next, so that no gap ever appears.
    for name in names.iter().rev().filter(later) {
        remove_if_there(disk, &format!("{}/{name}", place.dir)).map_err(dir_error)?;
        disk.sync_dir(place.dir).map_err(dir_error)?;
        removed.push(name.clone());
    }
    zero(last, cut.position, last.header.layout.data_end())?;
    Ok(removed)
}

/// Makes what was found durable, and gives a footer to every whole segment that lacks one.
fn settle<F: DiskFile>(found: &mut Survey<F>, flushed_to: Offset) -> Result<(), OpenError> {
    for segment in found.segments.iter_mut().filter(|segment| segment.scanned) {
        let failed = |source| file_error(&segment.file, source);
        let contents = &segment.contents;
        if !segment.opened && contents.first < contents.end {
            // The first record says what the opening would.
            if segment.bad.is_empty() {
                let opening = segment.header.encode_opening(contents.first);
                let at = SEGMENT_HEADER_BYTES as u64;
                let written = segment.file.write_at(&opening, at);
                written
                    .and_then(|()| sync_segment(&segment.file, &segment.header))
                    .map_err(failed)?;
            }
            segment.opened = true;
        }
        if contents.end > flushed_to {
            rewrite(segment, flushed_to).map_err(failed)?;
        }
    }
    let last = found.segments.len().saturating_sub(1);
    let damaged = &found.damaged;
    for segment in &mut found.segments[..last] {
        let layout = segment.header.layout;
        if segment.footer != FooterKind::Valid
            && segment.bad.is_empty()
            && segment.bytes == layout.capacity
            && segment.contents.fits_footer(layout)
            && !damaged.iter().any(|range| range.segment == segment.name)
        {
            let footer = segment.contents.encode_footer(&segment.header);
            let written = segment.file.write_at(&footer, layout.data_end());
            written
                .and_then(|()| sync_segment(&segment.file, &segment.header))
                .map_err(|source| file_error(&segment.file, source))?;
            segment.footer = FooterKind::Valid;
        }
    }
    Ok(())
}

/// Writes the records that are not proved durable once more, as they are, and syncs them. If a
/// sync failed before the start, their pages may pass for clean in the page cache though the disk
/// never got them, and a sync alone would then do nothing.
fn rewrite<F: DiskFile>(segment: &Surveyed<F>, flushed_to: Offset) -> io::Result<()> {
    let contents = &segment.contents;
    let from = match contents.point_before(flushed_to) {
        Some(point) if contents.first < flushed_to => u64::from(point.position),
        _ => SEGMENT_HEADER_BYTES as u64,
    };
    let mut at = from;
    while at < contents.data_end {
        let piece = usize::try_from(contents.data_end - at)
            .map_or(REWRITE_BYTES, |left| left.min(REWRITE_BYTES));
        let bytes = segment.file.slice(at, piece)?.as_ref().to_vec();
        segment.file.write_at(&bytes, at)?;
        at += piece as u64;
    }
    sync_segment(&segment.file, &segment.header)
}

/// Does what the manifest says had been begun.
fn finish_truncation<D: Disk>(
    disk: &D,
    dir: &str,
    manifest: &ManifestFile<D>,
    kind: LogKind,
) -> Result<Option<Offset>, OpenError> {
    let (partition, mark, intent) = {
        let content = manifest.content();
        (content.partition, content.mark(kind), content.intent)
    };
    let Some(intent) = intent.filter(|intent| intent.log == kind) else {
        return Ok(None);
    };
    let place = Place {
        dir,
        kind,
        partition,
        marked_to: mark.flushed_to,
        generation: mark.generation,
        cut: Some(intent.offset),
    };
    cut_files(disk, &place)?;
    manifest
        .update(|content| content.intent = None)
        .map_err(|source| OpenError::Io {
            path: dir.to_owned(),
            source,
        })?;
    Ok(Some(intent.offset))
}

/// Removes every entry at or above the place's cut from the files, durably.
fn cut_files<D: Disk>(disk: &D, place: &Place<'_>) -> Result<(), OpenError> {
    let dir_error = |source| OpenError::Io {
        path: place.dir.to_owned(),
        source,
    };
    let found = survey(disk, place, false)?;
    for name in found.surplus.iter().rev() {
        remove_if_there(disk, &format!("{}/{name}", place.dir)).map_err(dir_error)?;
    }
    disk.sync_dir(place.dir).map_err(dir_error)?;
    if let Some(last) = found
        .segments
        .last()
        .filter(|last| last.footer != FooterKind::Valid)
    {
        if last.contents.first == last.contents.end {
            // Nothing else says where the log goes on.
            let opening = last.header.encode_opening(last.contents.first);
            let at = SEGMENT_HEADER_BYTES as u64;
            last.file
                .write_at(&opening, at)
                .map_err(|source| file_error(&last.file, source))?;
        }
        let to = last.bytes.min(last.header.layout.header_copy_at());
        zero(last, last.contents.data_end, to)?;
    }
    Ok(())
}

/// Writes zeros over whatever is not zero in a part of a segment, and syncs the segment.
fn zero<F: DiskFile>(segment: &Surveyed<F>, from: u64, to: u64) -> Result<(), OpenError> {
    let failed = |source| file_error(&segment.file, source);
    let to = to.min(segment.bytes);
    let mut at = from;
    while at < to {
        let piece = usize::try_from(to - at)
            .unwrap_or(ZERO_BYTES)
            .min(ZERO_BYTES);
        let written = {
            let bytes = segment.file.slice(at, piece).map_err(failed)?;
            !is_zero(bytes.as_ref())
        };
        if written {
            segment
                .file
                .write_at(&[0; ZERO_BYTES][..piece], at)
                .map_err(failed)?;
        }
        at += piece as u64;
    }
    sync_segment(&segment.file, &segment.header).map_err(failed)
}

/// Makes a segment durable.
fn sync_segment<F: DiskFile>(file: &F, header: &SegmentHeader) -> io::Result<()> {
    header.synced_as(file).try_for_each(|file| file.sync_data())
}

fn file_error<F: DiskFile>(file: &F, source: io::Error) -> OpenError {
    OpenError::Io {
        path: file.path().to_owned(),
        source,
    }
}
