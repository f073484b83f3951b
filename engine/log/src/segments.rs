//! The segments of an open log, in order, with the few whose files are open.

use std::collections::VecDeque;
use std::io;

use hulse_model::{Offset, Term};

use crate::disk::{Disk, DiskFile};
use crate::footer::{Contents, FooterState, decode_footer};
use crate::segment::SegmentHeader;
use crate::survey::{FooterKind, Surveyed};

/// How many sealed segments of one log are kept open, with their maps and indexes.
const SEALED_OPEN_MAX: usize = 4;

/// How far a segment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Records are appended to it.
    Active,
    /// It is full; not all of it is durable yet.
    Full,
    /// All of it is durable, and a footer says so.
    Sealed,
    /// It is durable and damaged: it never gets a footer, and its index stays in memory.
    Damaged,
}

/// One segment of an open log.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    /// Length of the file, in bytes.
    pub(crate) bytes: u64,
    pub(crate) stage: Stage,
    /// What it holds. Of a sealed segment that is not open, the tables are empty.
    pub(crate) contents: Contents,
    /// One past the last entry, also of those that are damaged and missing in `contents`.
    pub(crate) end: Offset,
    /// Whether its opening was written or staged.
    pub(crate) opened: bool,
    /// Whether something was written since the last sync began. The file is open then.
    pub(crate) dirty: bool,
    /// Whether it was read while it was written.
    read: bool,
    file: Option<F>,
}

impl<F: DiskFile> Segment<F> {
    /// A prepared segment that takes its first entry at `first`. It is not open yet.
    pub(crate) const fn fresh(name: String, header: SegmentHeader, first: Offset) -> Self {
        Self {
            name,
            header,
            bytes: header.layout.capacity,
            stage: Stage::Active,
            contents: Contents::starting(first),
            end: first,
            opened: false,
            dirty: false,
            read: false,
            file: None,
        }
    }

    /// A segment that recovery found. It is not open: a core that starts has thousands.
    pub(crate) fn found(surveyed: Surveyed<F>, stage: Stage, end: Offset) -> Self {
        let mut contents = surveyed.contents;
        if stage == Stage::Sealed {
            contents.points = Vec::new();
            contents.terms = Vec::new();
        }
        Self {
            name: surveyed.name,
            header: surveyed.header,
            bytes: surveyed.bytes,
            stage,
            contents,
            end,
            opened: surveyed.opened,
            dirty: false,
            read: false,
            file: None,
        }
    }

    /// Gives it its file.
    pub(crate) fn opened_with(&mut self, file: F) {
        self.file = Some(file);
    }

    /// Whether it is only read.
    const fn is_sealed(&self) -> bool {
        matches!(self.stage, Stage::Sealed | Stage::Damaged)
    }

    /// Whether its file is open.
    pub(crate) const fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// The file of a segment with something staged, written and not synced, or durable without a
    /// footer: it was opened before that came to be, and is not closed until it is over.
    pub(crate) fn file(&self) -> &F {
        self.file
            .as_ref()
            .expect("a segment that is written is open")
    }

    /// Bytes between the last record and the end of the records' room.
    pub(crate) fn room(&self) -> u64 {
        self.header.layout.data_end() - self.contents.data_end
    }
}

/// The segments of an open log. Each has a number that it keeps while the log is open.
#[derive(Debug)]
pub(crate) struct Segments<D: Disk> {
    list: VecDeque<Segment<D::File>>,
    /// The number of the first.
    first_number: u64,
    /// The numbers of sealed segments that are open, the latest used last.
    open: VecDeque<u64>,
    bytes: u64,
}

impl<D: Disk> Segments<D> {
    /// No segments yet; the first gets the number `first_number`.
    pub(crate) const fn starting_at(first_number: u64) -> Self {
        Self {
            list: VecDeque::new(),
            first_number,
            open: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, segment: Segment<D::File>) {
        self.bytes += segment.bytes;
        self.list.push_back(segment);
    }

    pub(crate) fn pop_first(&mut self) -> Option<Segment<D::File>> {
        let segment = self.list.pop_front()?;
        self.open.retain(|number| *number != self.first_number);
        self.first_number += 1;
        self.bytes -= segment.bytes;
        Some(segment)
    }

    /// Takes back the newest segment, which has no entries.
    pub(crate) fn pop_last(&mut self) -> Option<Segment<D::File>> {
        let segment = self.list.pop_back()?;
        self.bytes -= segment.bytes;
        Some(segment)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The number that the next segment gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.first_number + self.list.len() as u64
    }

    /// The numbers of the segments, the newest first.
    pub(crate) fn numbers_from_last(&self) -> impl Iterator<Item = u64> + use<D> {
        (self.first_number..self.next_number()).rev()
    }

    /// Length of all the files, in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment<D::File>> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Segment<D::File>> {
        self.list.iter_mut()
    }

    pub(crate) fn first(&self) -> Option<&Segment<D::File>> {
        self.list.front()
    }

    pub(crate) fn second(&self) -> Option<&Segment<D::File>> {
        self.list.get(1)
    }

    /// The segment that records are appended to.
    pub(crate) fn active(&self) -> Option<&Segment<D::File>> {
        self.list
            .back()
            .filter(|segment| segment.stage == Stage::Active)
    }

    pub(crate) fn active_mut(&mut self) -> Option<&mut Segment<D::File>> {
        self.list
            .back_mut()
            .filter(|segment| segment.stage == Stage::Active)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Segment<D::File>> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        self.list.get(index)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Segment<D::File>> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        self.list.get_mut(index)
    }

    /// The number of the segment that `offset` belongs to: the last that begins at or before it.
    pub(crate) fn number_of(&self, offset: Offset) -> Option<u64> {
        let after = self
            .list
            .partition_point(|segment| segment.contents.first <= offset);
        Some(self.first_number + after.checked_sub(1)? as u64)
    }

    /// The number of the first segment with an entry of time `ms` or later.
    pub(crate) fn number_at_time(&self, ms: u64) -> Option<u64> {
        let index = self
            .list
            .iter()
            .position(|segment| segment.contents.max_ms >= ms)?;
        Some(self.first_number + index as u64)
    }

    /// Opens a segment for reading, if it is not open yet, with its index.
    ///
    /// # Errors
    /// Whatever the disk answers; the segment is as it was then.
    pub(crate) fn open(&mut self, disk: &D, dir: &str, number: u64) -> io::Result<()> {
        let index = number
            .checked_sub(self.first_number)
            .and_then(|at| usize::try_from(at).ok());
        let Some(segment) = index.and_then(|index| self.list.get_mut(index)) else {
            return Ok(());
        };
        let written = !segment.is_sealed();
        segment.read |= written;
        if segment.file.is_some() && (written || self.open.back() == Some(&number)) {
            return Ok(());
        }
        if segment.file.is_none() {
            let file = disk.open(&format!("{dir}/{}", segment.name))?;
            if segment.stage == Stage::Sealed && segment.contents.points.is_empty() {
                load_index(segment, &file)?;
            }
            segment.file = Some(file);
        }
        if !written {
            self.touch(number);
        }
        Ok(())
    }

    /// The file of a segment that was opened, or is written.
    pub(crate) fn file(&self, number: u64) -> Option<&D::File> {
        self.get(number)?.file.as_ref()
    }

    /// Closes every sealed segment that is open, as if nobody had ever read.
    pub(crate) fn close_sealed(&mut self) {
        while let Some(number) = self.open.pop_front() {
            self.close(number);
        }
        let written = self.list.iter_mut().rev();
        for segment in written.take_while(|segment| !segment.is_sealed()) {
            segment.read = false;
        }
    }

    /// Closes every segment, of a log that has nothing to write and nothing to sync.
    ///
    /// # Panics
    /// When that is not so.
    pub(crate) fn close_all(&mut self) {
        self.close_sealed();
        if let Some(active) = self.active_mut() {
            assert!(!active.dirty, "a segment that is to be synced stays open");
            active.file = None;
        }
    }

    /// Notes that a segment that was written is now only read. One that nobody has read closes at
    /// once.
    pub(crate) fn settled(&mut self, number: u64, stage: Stage) {
        let Some(segment) = self.get_mut(number) else {
            return;
        };
        segment.stage = stage;
        if segment.read {
            self.touch(number);
        } else {
            self.close(number);
        }
    }

    /// Notes the use of a sealed segment, and closes the one that was not used for longest.
    fn touch(&mut self, number: u64) {
        self.open.retain(|open| *open != number);
        self.open.push_back(number);
        if self.open.len() > SEALED_OPEN_MAX
            && let Some(oldest) = self.open.pop_front()
        {
            self.close(oldest);
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(segment) = self.get_mut(number) {
            segment.file = None;
            if segment.stage == Stage::Sealed {
                segment.contents.points = Vec::new();
                segment.contents.terms = Vec::new();
            }
        }
    }
}

/// Reads the index of a sealed segment from its footer. Without one, reading begins at the first
/// record, which costs time alone.
fn load_index<F: DiskFile>(segment: &mut Segment<F>, file: &F) -> io::Result<()> {
    let layout = segment.header.layout;
    let at = layout.data_end();
    let bytes = usize::try_from(layout.header_copy_at() - at).map_err(io::Error::other)?;
    let footer = file.slice(at, bytes)?;
    if let FooterState::Valid(stated) = decode_footer(&segment.header, footer.as_ref())
        && stated.first == segment.contents.first
        && stated.end == segment.contents.end
    {
        segment.contents = stated;
    }
    Ok(())
}

/// How far a segment that recovery found is in its life.
pub(crate) fn stage_of<F>(surveyed: &Surveyed<F>, active: bool, damaged: bool) -> Stage {
    if active {
        Stage::Active
    } else if surveyed.footer == FooterKind::Valid && !damaged {
        Stage::Sealed
    } else {
        Stage::Damaged
    }
}

/// The term table of a whole log.
pub(crate) fn add_terms(terms: &mut Vec<(Term, Offset)>, more: &[(Term, Offset)]) {
    for (term, first) in more {
        if terms.last().is_none_or(|(last, _)| last < term) {
            terms.push((*term, *first));
        }
    }
}
