//! Looking at all the files of one log, without changing any.
//!
//! Recovery and verification begin here. The survey says which segments hold what, how far the
//! log was durable for certain, and which bad places are damage and which are a torn tail.

use std::io;

use hulse_model::{Offset, PartitionId, Term};

use crate::disk::Disk;
use crate::footer::Contents;
use crate::report::{DamageReason, DamagedRange, TornTail};
use crate::scan::{Bad, Before};
use crate::segment::{HeaderFault, LogKind, SegmentHeader};

mod judge;
mod look;

use judge::{Region, find_lost_beginning, gap_before, judge, settle_blanks};
use look::look;

/// Where a log's files are and what the manifest says of them.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a str,
    pub(crate) kind: LogKind,
    pub(crate) partition: PartitionId,
    pub(crate) marked_to: Offset,
    pub(crate) generation: u64,
    /// A truncation to this offset was begun.
    pub(crate) cut: Option<Offset>,
}

impl Place<'_> {
    /// The header, when it is one of this log's segment at `base`.
    fn check(&self, header: SegmentHeader, base: Offset) -> Result<SegmentHeader, HeaderFault> {
        if header.kind != self.kind {
            Err(HeaderFault::Field("kind"))
        } else if header.partition != self.partition {
            Err(HeaderFault::Field("partition"))
        } else if header.base != base {
            Err(HeaderFault::Field("base_offset"))
        } else {
            Ok(header)
        }
    }
}

/// One file of the log.
#[derive(Debug, Clone)]
pub(crate) struct Surveyed<F> {
    pub(crate) name: String,
    pub(crate) file: F,
    pub(crate) header: SegmentHeader,
    /// Length of the file, in bytes.
    pub(crate) bytes: u64,
    pub(crate) contents: Contents,
    /// What stands in the footer's place; its content is in `contents` when it is valid.
    pub(crate) footer: FooterKind,
    /// Whether every record was read.
    pub(crate) scanned: bool,
    pub(crate) entries: u64,
    pub(crate) bad: Vec<Bad>,
    pub(crate) tail: Option<DamageReason>,
    /// Whether the opening stands in it.
    pub(crate) opened: bool,
    /// Whether both copies of the header are right.
    pub(crate) headers_agree: bool,
    blank: bool,
}

/// What stands where a footer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FooterKind {
    /// Nothing yet.
    Absent,
    /// Bytes that are no footer: torn by a crash, or rotten. It costs a scan.
    Invalid,
    /// A footer that proves the segment.
    Valid,
}

/// A file whose header cannot be used, so that it cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    pub(crate) name: String,
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
    pub(crate) fault: HeaderFault,
}

/// What the files of one log hold.
#[derive(Debug, Clone)]
pub(crate) struct Survey<F> {
    /// Segments with something in them, oldest first; a blank one only if it is the only one.
    pub(crate) segments: Vec<Surveyed<F>>,
    /// A segment that was prepared and not yet used.
    pub(crate) spare: Option<Surveyed<F>>,
    /// Files that no longer serve: preparations that were cut off or overtaken.
    pub(crate) surplus: Vec<String>,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Proved to have been durable.
    pub(crate) flushed_to: Offset,
    /// Where the log begins, with entries that cannot be read.
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) last_term: Term,
    pub(crate) damaged: Vec<DamagedRange>,
    pub(crate) torn: Option<Cut>,
    /// The places after the beginning of the torn tail that whole entries follow.
    pub(crate) unproved: Vec<DamagedRange>,
    /// What was written after the last whole entry, if that is no proved damage.
    pub(crate) last_tail: Option<TornTail>,
    /// Whether the last segment may be appended to.
    pub(crate) appendable: bool,
}

/// Where a torn tail begins.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    /// Index of the last segment that stays.
    pub(crate) segment: usize,
    /// Where its kept bytes end.
    pub(crate) position: u64,
    pub(crate) tail: TornTail,
}

/// Why a log's files cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path}: {fault}")]
    Segment { path: String, fault: HeaderFault },
    #[error("{dir}: the {log} log has no segment")]
    NoSegment { dir: String, log: LogKind },
}

/// Surveys the log at `place`. With `all`, segments with a valid footer are read in full too.
pub(crate) fn survey<D: Disk>(
    disk: &D,
    place: &Place<'_>,
    all: bool,
) -> Result<Survey<D::File>, SurveyError> {
    let mut found = Survey {
        segments: Vec::new(),
        spare: None,
        surplus: Vec::new(),
        unreadable: Vec::new(),
        flushed_to: place
            .cut
            .map_or(place.marked_to, |cut| place.marked_to.min(cut)),
        start: Offset::ZERO,
        end: Offset::ZERO,
        last_term: Term(0),
        damaged: Vec::new(),
        torn: None,
        unproved: Vec::new(),
        last_tail: None,
        appendable: false,
    };
    let names = disk
        .list(place.dir)
        .map_err(|source| io_error(place.dir, source))?;
    if !names.iter().any(|name| place.kind.base_of(name).is_some()) {
        return Err(SurveyError::NoSegment {
            dir: place.dir.to_owned(),
            log: place.kind,
        });
    }
    let mut blanks: Vec<Surveyed<D::File>> = Vec::new();
    let mut gaps: Vec<Region> = Vec::new();
    for name in &names {
        if name
            .strip_suffix(".new")
            .is_some_and(|name| place.kind.base_of(name).is_some())
        {
            found.surplus.push(name.clone());
        }
        let Some(base) = place.kind.base_of(name) else {
            continue;
        };
        let before = Before {
            end: found.segments.last().map(|segment| segment.contents.end),
            last_term: found.last_term,
            cut: place.cut,
        };
        let (segment, proven, last_term) = match look(disk, place, name, base, before, all)? {
            // A removal that was under way has come to it since the names were listed.
            None => continue,
            Some(Ok(looked)) => looked,
            Some(Err(unreadable)) if place.cut.is_some_and(|cut| unreadable.base >= cut) => {
                found.surplus.push(unreadable.name);
                continue;
            }
            Some(Err(unreadable)) => {
                found.unreadable.push(unreadable);
                continue;
            }
        };
        let goes = |cut: Offset| header_or_first(&segment) >= cut && !found.segments.is_empty();
        if place.cut.is_some_and(goes) {
            found.surplus.push(segment.name);
            continue;
        }
        if segment.blank {
            blanks.push(segment);
            continue;
        }
        if let Some(gap) = gap_before(&found, &segment, &blanks) {
            gaps.push(gap);
        }
        found.flushed_to = found.flushed_to.max(proven);
        found.last_term = found.last_term.max(last_term);
        found.segments.push(segment);
    }
    let newest = found.segments.last().map(|segment| segment.header.base);
    let unreadable = found
        .unreadable
        .last()
        .filter(|file| newest.is_none_or(|at| file.base > at));
    if let Some(file) = unreadable {
        // Nobody can say where the log ends.
        return Err(SurveyError::Segment {
            path: format!("{}/{}", place.dir, file.name),
            fault: file.fault,
        });
    }
    if let Some(fault) = found.segments.last().and_then(cut_off) {
        // No crash does that. What was in the rest cannot be told from what never was.
        let name = found.segments.last().map_or("", |last| &last.name);
        return Err(SurveyError::Segment {
            path: format!("{}/{name}", place.dir),
            fault,
        });
    }
    if place.cut.is_none() {
        find_lost_beginning(&mut found, &mut blanks, &mut gaps);
    }
    settle_blanks(&mut found, blanks, place);
    judge(&mut found, gaps);
    Ok(found)
}

/// The least offset that a segment may hold.
fn header_or_first<F>(segment: &Surveyed<F>) -> Offset {
    segment.header.base.max(segment.contents.first)
}

/// The fault of a file that is shorter than it was made.
fn cut_off<F>(segment: &Surveyed<F>) -> Option<HeaderFault> {
    let (found, made) = (segment.bytes, segment.header.layout.capacity);
    (found < made).then_some(HeaderFault::Length { found, made })
}

fn io_error(path: &str, source: io::Error) -> SurveyError {
    SurveyError::Io {
        path: path.to_owned(),
        source,
    }
}
