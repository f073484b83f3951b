//! Looking at all the files of one log, without changing any.
//!
//! Recovery and verification begin here. The survey says which segments hold what, how far the
//! log was durable for certain, and which bad places are damage and which are a torn tail
//! (REPLICATION rule 23).

use std::io;

use hulse_model::{Offset, PartitionId, Term};

use crate::disk::{Disk, DiskFile};
use crate::footer::{Contents, FooterState, decode_footer};
use crate::report::{DamageReason, DamagedRange, TornTail};
use crate::scan::{Bad, Before, scan};
use crate::segment::{HeaderFault, LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};

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

/// A place between two whole entries, or after the last, where entries are absent.
#[derive(Debug, Clone)]
struct Region {
    /// Index of the segment in which it begins.
    segment: usize,
    name: String,
    position: u64,
    /// Where that segment's kept bytes end, if the log is to be cut here.
    cut_at: u64,
    first: Offset,
    end: Offset,
    reason: DamageReason,
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
    let last = names
        .iter()
        .rposition(|name| place.kind.base_of(name).is_some());
    let Some(last) = last else {
        return Err(SurveyError::NoSegment {
            dir: place.dir.to_owned(),
            log: place.kind,
        });
    };
    let mut blanks: Vec<Surveyed<D::File>> = Vec::new();
    let mut gaps: Vec<Region> = Vec::new();
    for (index, name) in names.iter().enumerate() {
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
        let looked = look(disk, place, name, base, before, all)?;
        let (segment, proven, last_term) = match looked {
            Ok(looked) => looked,
            Err(unreadable) if index == last => {
                let path = format!("{}/{name}", place.dir);
                return Err(SurveyError::Segment {
                    path,
                    fault: unreadable.fault,
                });
            }
            Err(unreadable) => {
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
    settle_blanks(&mut found, blanks, place);
    judge(&mut found, gaps);
    Ok(found)
}

/// The least offset that a segment may hold.
fn header_or_first<F>(segment: &Surveyed<F>) -> Offset {
    segment.header.base.max(segment.contents.first)
}

type Looked<F> = Result<(Surveyed<F>, Offset, Term), Unreadable>;

/// Looks at one file.
fn look<D: Disk>(
    disk: &D,
    place: &Place<'_>,
    name: &str,
    base: Offset,
    before: Before,
    all: bool,
) -> Result<Looked<D::File>, SurveyError> {
    let path = format!("{}/{name}", place.dir);
    let failed = |source| io_error(&path, source);
    let file = disk.open(&path).map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    let unreadable = |fault| Unreadable {
        name: name.to_owned(),
        base,
        bytes,
        fault,
    };
    let (header, headers_agree) = match read_header(&file, bytes, place, base).map_err(failed)? {
        Ok(found) => found,
        Err(fault @ HeaderFault::Version { .. }) => {
            return Err(SurveyError::Segment {
                path: path.clone(),
                fault,
            });
        }
        Err(fault) => return Ok(Err(unreadable(fault))),
    };
    let footer = if bytes == header.layout.capacity {
        let at = header.layout.data_end();
        let length = small(header.layout.header_copy_at() - at);
        decode_footer(&header, file.slice(at, length).map_err(failed)?.as_ref())
    } else {
        FooterState::Invalid
    };
    let (kind, stated) = match footer {
        FooterState::Absent => (FooterKind::Absent, None),
        FooterState::Invalid => (FooterKind::Invalid, None),
        // The footer of a segment that is to be cut does not count.
        FooterState::Valid(stated) if place.cut.is_some_and(|cut| stated.end > cut) => {
            (FooterKind::Invalid, None)
        }
        FooterState::Valid(stated) => (FooterKind::Valid, Some(stated)),
    };
    let proven = stated.as_ref().map_or(Offset::ZERO, |stated| stated.end);
    let stated_term = stated
        .as_ref()
        .and_then(|stated| stated.terms.last())
        .map(|(term, _)| *term);
    let mut segment = Surveyed {
        name: name.to_owned(),
        file: file.clone(),
        header,
        bytes,
        contents: Contents::starting(base),
        footer: kind,
        scanned: false,
        entries: 0,
        bad: Vec::new(),
        tail: None,
        opened: true,
        headers_agree,
        blank: false,
    };
    let behind = before
        .end
        .is_some_and(|end| stated.as_ref().is_some_and(|stated| stated.first < end));
    if behind {
        return Ok(Err(unreadable(HeaderFault::Field("base_offset"))));
    }
    if all || stated.is_none() {
        let length = small(bytes.min(header.layout.capacity));
        let content = file.slice(0, length).map_err(failed)?;
        let before = Before {
            end: stated.as_ref().map(|s| s.first).or(before.end),
            ..before
        };
        let scan = scan(&header, content.as_ref(), before);
        let before_end = before.end.unwrap_or(header.base);
        if scan.contents.first < before_end && stated.is_none() {
            return Ok(Err(unreadable(HeaderFault::Field("base_offset"))));
        }
        segment.scanned = true;
        segment.entries = scan.entries;
        segment.opened = scan.opening.is_some();
        segment.blank = stated.is_none() && kind == FooterKind::Absent && scan.is_blank();
        segment.bad.clone_from(&scan.bad);
        segment.tail = scan.tail.filter(|_| place.cut != Some(scan.contents.end));
        segment.contents = scan.contents;
        if let Some(stated) = stated {
            reconcile(&mut segment, stated);
            return Ok(Ok((segment, proven, stated_term.unwrap_or_default())));
        }
        return Ok(Ok((segment, scan.proven, scan.last_term)));
    }
    if let Some(stated) = stated {
        segment.entries = stated.end.0 - stated.first.0;
        segment.contents = stated;
    }
    Ok(Ok((segment, proven, stated_term.unwrap_or_default())))
}

/// Takes a footer's word for what a scan could not read.
fn reconcile<F>(segment: &mut Surveyed<F>, stated: Contents) {
    let read_to = segment.contents.end;
    if read_to < stated.end {
        segment.bad.push(Bad {
            position: segment.contents.data_end,
            first: read_to.max(stated.first),
            end: stated.end,
            reason: segment.tail.unwrap_or(DamageReason::Missing),
        });
    } else if read_to != stated.end
        || (segment.bad.is_empty() && segment.contents.points != stated.points)
    {
        segment.footer = FooterKind::Invalid;
    }
    segment.tail = None;
    segment.contents = stated;
}

/// The header of a file, from either of its copies, and whether they agree.
fn read_header<F: DiskFile>(
    file: &F,
    bytes: u64,
    place: &Place<'_>,
    base: Offset,
) -> io::Result<Result<(SegmentHeader, bool), HeaderFault>> {
    let length = SEGMENT_HEADER_BYTES as u64;
    if bytes < length {
        return Ok(Err(HeaderFault::Magic));
    }
    let copy = |at| -> io::Result<_> {
        let copy = file.slice(at, SEGMENT_HEADER_BYTES)?;
        Ok(SegmentHeader::decode(copy.as_ref()).and_then(|header| place.check(header, base)))
    };
    Ok(match (copy(0)?, copy(bytes - length)?) {
        (Ok(header), second) => Ok((header, second == Ok(header))),
        (Err(_), Ok(header)) => Ok((header, false)),
        // The first copy's fault tells more than the second's, unless it is not there at all.
        (Err(HeaderFault::Magic), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
    })
}

/// The entries between what was found so far and the next segment, if they are absent.
fn gap_before<F>(found: &Survey<F>, next: &Surveyed<F>, blanks: &[Surveyed<F>]) -> Option<Region> {
    let last = found.segments.last()?;
    if last.contents.end >= next.contents.first {
        return None;
    }
    let lost = found
        .unreadable
        .iter()
        .find(|file| file.base >= last.header.base && file.base < next.header.base);
    let (name, position, reason) = match lost {
        Some(file) => (file.name.clone(), 0, DamageReason::Header),
        None if last.tail.is_none() && !blanks.is_empty() => {
            (blanks[0].name.clone(), 0, DamageReason::Missing)
        }
        None => {
            let reason = last.tail.unwrap_or(DamageReason::Missing);
            (last.name.clone(), last.contents.data_end, reason)
        }
    };
    Some(Region {
        segment: found.segments.len() - 1,
        name,
        position,
        cut_at: last.contents.data_end,
        first: last.contents.end,
        end: next.contents.first,
        reason,
    })
}

/// Finds out which blank segment is the prepared one. The others serve no more.
fn settle_blanks<F>(found: &mut Survey<F>, blanks: Vec<Surveyed<F>>, place: &Place<'_>) {
    let end = found
        .segments
        .last()
        .map(|segment| (segment.header.base, segment.contents.end));
    for mut blank in blanks {
        match end {
            None if found.segments.is_empty() => {
                blank.opened = false;
                found.segments.push(blank);
            }
            Some((base, end))
                if found.spare.is_none()
                    && place.cut.is_none()
                    && blank.header.base > base
                    && blank.header.base <= end
                    && blank.header.seal.generation == place.generation
                    && blank.bytes == blank.header.layout.capacity =>
            {
                found.spare = Some(blank);
            }
            _ => found.surplus.push(blank.name),
        }
    }
}

/// Tells damage from a torn tail, and finds the log's end.
fn judge<F>(found: &mut Survey<F>, gaps: Vec<Region>) {
    let mut gaps = gaps.into_iter().peekable();
    let mut regions = Vec::new();
    for (index, segment) in found.segments.iter().enumerate() {
        regions.extend(segment.bad.iter().map(|bad| Region {
            segment: index,
            name: segment.name.clone(),
            position: bad.position,
            cut_at: bad.position,
            first: bad.first,
            end: bad.end,
            reason: bad.reason,
        }));
        regions.extend(gaps.next_if(|gap| gap.segment == index));
    }
    let Some(last) = found.segments.last() else {
        return;
    };
    let flushed_to = found.flushed_to;
    let last_index = found.segments.len() - 1;
    found.end = last.contents.end;
    found.appendable = last.footer != FooterKind::Valid
        && last.bytes == last.header.layout.capacity
        && last.bad.is_empty();
    if found.end < flushed_to {
        regions.push(Region {
            segment: last_index,
            name: last.name.clone(),
            position: last.contents.data_end,
            cut_at: last.contents.data_end,
            first: found.end,
            end: flushed_to,
            reason: last.tail.unwrap_or(DamageReason::Missing),
        });
        found.end = flushed_to;
        found.appendable = false;
    } else if let Some(reason) = last.tail {
        regions.push(Region {
            segment: last_index,
            name: last.name.clone(),
            position: last.contents.data_end,
            cut_at: last.contents.data_end,
            first: found.end,
            end: found.end,
            reason,
        });
    }
    let torn = regions.iter().position(|region| region.first >= flushed_to);
    let mut cut = torn.map(|at| regions.split_off(at)).unwrap_or_default();
    found
        .damaged
        .extend(regions.into_iter().map(Region::into_range));
    if let Some(region) = cut.first() {
        found.torn = Some(Cut {
            segment: region.segment,
            position: region.cut_at,
            tail: torn_at(found, region),
        });
    }
    if let Some(region) = cut.pop_if(|region| region.first == region.end) {
        found.last_tail = Some(torn_at(found, &region));
    }
    found
        .unproved
        .extend(cut.into_iter().map(Region::into_range));
}

impl Region {
    fn into_range(self) -> DamagedRange {
        DamagedRange {
            first: self.first,
            end: self.end,
            segment: self.name,
            position: self.position,
            reason: self.reason,
        }
    }
}

fn torn_at<F>(found: &Survey<F>, region: &Region) -> TornTail {
    // What stands after the cut are the whole entries at or above its offset.
    let kept = |segment: &Surveyed<F>| {
        let below = |bad: &&Bad| bad.first < region.first;
        let absent: u64 = segment
            .bad
            .iter()
            .filter(below)
            .map(|bad| bad.end.0 - bad.first.0)
            .sum();
        let to = segment.contents.end.min(region.first);
        (to.0.saturating_sub(segment.contents.first.0)).saturating_sub(absent)
    };
    let after = found.segments[region.segment..]
        .iter()
        .map(|segment| segment.entries.saturating_sub(kept(segment)))
        .sum();
    TornTail {
        segment: region.name.clone(),
        position: region.position,
        offset: region.first,
        reason: region.reason,
        entries_after: after,
    }
}

fn io_error(path: &str, source: io::Error) -> SurveyError {
    SurveyError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A length within one segment.
fn small(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a segment fits into memory")
}
