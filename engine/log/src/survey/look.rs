//! Looking at one file of a log.

use std::io;

use hulse_model::{Offset, Term};

use crate::disk::{Disk, DiskFile};
use crate::footer::{Contents, FooterState, decode_footer};
use crate::report::DamageReason;
use crate::scan::{Bad, Before, scan};
use crate::segment::{HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::survey::{FooterKind, Place, SurveyError, Surveyed, Unreadable, io_error};

/// A file that could be read, with what it proves durable and its last term, or one that could
/// not.
pub(super) type Looked<F> = Result<(Surveyed<F>, Offset, Term), Unreadable>;

/// Looks at one file.
pub(super) fn look<D: Disk>(
    disk: &D,
    place: &Place<'_>,
    name: &str,
    base: Offset,
    before: Before,
    all: bool,
) -> Result<Option<Looked<D::File>>, SurveyError> {
    let path = format!("{}/{name}", place.dir);
    let failed = |source| io_error(&path, source);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
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
        Err(fault) => return Ok(Some(Err(unreadable(fault)))),
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
        return Ok(Some(Err(unreadable(HeaderFault::Field("base_offset")))));
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
            return Ok(Some(Err(unreadable(HeaderFault::Field("base_offset")))));
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
            return Ok(Some(Ok((segment, proven, stated_term.unwrap_or_default()))));
        }
        return Ok(Some(Ok((segment, scan.proven, scan.last_term))));
    }
    if let Some(stated) = stated {
        segment.entries = stated.end.0 - stated.first.0;
        segment.contents = stated;
    }
    Ok(Some(Ok((segment, proven, stated_term.unwrap_or_default()))))
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

/// A length within one segment.
fn small(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a segment fits into memory")
}
