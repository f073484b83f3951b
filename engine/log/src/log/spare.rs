//! The segment after the active one: when it is wanted, and how it is taken in.

use hulse_model::limits::{SEGMENT_BYTES_MIN, SEGMENT_GROWTH, SEGMENT_TERMS_MAX};

use crate::disk::{Disk, Fill};
use crate::log::{Log, Progress};
use crate::prepare::{Prepare, PrepareError, Prepared};
use crate::segment::{Layout, SegmentHeader};
use crate::segments::Segment;

/// A log whose syncs of its own files are at least this large on average, in bytes, gets segments
/// that are only allocated. `docs/adr/0008-the-way-bytes-get-in.md` has the measurement.
const LARGE_SYNC_BYTES: u64 = 32 * 1024;

/// So many segments of a log that filled one before the next was written with zeros are only
/// allocated.
const OUTPACED_SEGMENTS: u32 = 8;

/// The segment after the active one.
#[derive(Debug, Default)]
pub(super) struct Spare {
    pub(super) ready: Option<Ready>,
    /// One that was ready and too small, until its successor is.
    pub(super) outgrown: Option<Ready>,
    /// The one in the making takes the place and the name of the active segment, which is empty
    /// and too small. Nothing is appended meanwhile.
    pub(super) replaces_active: bool,
    /// One was handed out to be made and has not come back.
    pub(super) in_making: bool,
    /// The last one failed. It is tried again when an append finds no room.
    pub(super) failed: bool,
    /// Length of the record that found no room, or 0.
    pub(super) wanted_bytes: u64,
    /// The next so many segments are only allocated.
    pub(super) outpaced: u32,
    /// How many syncs of its own files the log had begun when it last wanted a segment.
    pub(super) syncs_before: u64,
    /// Where the log's bytes ended then, counted since it was opened.
    pub(super) bytes_before: u64,
}

/// A segment that was made: its name and header. It stays closed until it is the active one: a spare
/// may wait for days.
pub(super) type Ready = (String, SegmentHeader);

impl<D: Disk> Log<D> {
    /// The segment to make next, if one will be needed soon and none is being made.
    pub fn segment_wanted(&mut self) -> Option<Prepare<D>> {
        if self.poison.is_some() || self.spare.in_making {
            return None;
        }
        let wanted = self.spare.wanted_bytes;
        let half_full = self.segments.active().is_none_or(|active| {
            active.room() < active.header.layout.room() / 2
                || active.contents.terms.len() > SEGMENT_TERMS_MAX / 2
        });
        let soon = half_full && self.spare.ready.is_none() && !self.spare.failed;
        if wanted == 0 && !soon {
            return None;
        }
        let last = self.segments.iter().next_back();
        let grown = last.map_or(SEGMENT_BYTES_MIN, |last| last.bytes * SEGMENT_GROWTH);
        let layout = Layout::for_room(grown, wanted).expect("every entry fits into some segment");
        let generation = self.home.manifest.content().mark(self.home.kind).generation;
        let fill = self.next_fill();
        let header = SegmentHeader::new(
            self.home.kind,
            self.home.partition,
            self.progress.end,
            generation,
            layout,
            fill,
        );
        let prepare = Prepare {
            disk: self.home.disk.clone(),
            dir: self.home.dir.clone(),
            header,
        };
        let name = prepare.name();
        self.spare.outgrown = self.spare.ready.take();
        self.spare.replaces_active = self.segments.active().is_some_and(|at| at.name == name);
        self.spare.in_making = true;
        self.spare.failed = false;
        Some(prepare)
    }

    /// How the next segment gets its room: by what the log has done since it last wanted one. Zeros
    /// are worth their price only to a log whose own files are synced often, a little at a time: not
    /// to one whose rounds go through the journal, nor to one at `memory`, nor to one that stores
    /// megabytes with each sync, for which writing everything twice is what limits it, nor to one that
    /// would have to wait for them.
    fn next_fill(&mut self) -> Fill {
        let Progress {
            own_syncs,
            appended_bytes,
            ..
        } = self.progress;
        let syncs = own_syncs - self.spare.syncs_before;
        let bytes = appended_bytes - self.spare.bytes_before;
        self.spare.syncs_before = own_syncs;
        self.spare.bytes_before = appended_bytes;
        let outpaced = self.spare.outpaced > 0;
        self.spare.outpaced = self.spare.outpaced.saturating_sub(1);
        if bytes < syncs * LARGE_SYNC_BYTES && !outpaced {
            Fill::Written
        } else {
            Fill::Allocated
        }
    }

    /// A record of so many bytes found no room.
    pub(super) fn found_no_room(&mut self, bytes: usize) {
        let spare = &mut self.spare;
        if spare.in_making && spare.wanted_bytes == 0 {
            spare.outpaced = OUTPACED_SEGMENTS;
        }
        spare.wanted_bytes = bytes as u64;
    }

    /// Takes the segment that a [`Prepare`] made.
    ///
    /// # Errors
    /// When it could not be made. The log keeps the room that it has, and asks again when an
    /// append finds none.
    pub fn segment_prepared(&mut self, prepared: Prepared<D>) -> Result<(), PrepareError> {
        self.spare.in_making = false;
        let generation = self.home.manifest.content().mark(self.home.kind).generation;
        if prepared.header.seal.generation != generation {
            return prepared.discard();
        }
        self.spare.wanted_bytes = 0;
        let outgrown = self.spare.outgrown.take();
        let replaces_active = std::mem::take(&mut self.spare.replaces_active);
        let named = prepared.named;
        match prepared.into_segment() {
            Ok(ready) if replaces_active => {
                let (name, header) = ready;
                self.segments.pop_last();
                self.segments
                    .push(Segment::fresh(name, header, self.progress.end));
                Ok(())
            }
            Ok(ready) => {
                if let Some((name, ..)) = outgrown.filter(|(name, ..)| *name != ready.0) {
                    // Should this fail, the next start removes it.
                    let _ = self.home.disk.remove(&format!("{}/{name}", self.home.dir));
                }
                self.spare.ready = Some(ready);
                Ok(())
            }
            Err(error) => {
                if replaces_active && named {
                    // The active segment has lost its name.
                    self.poison = Some(error.to_string());
                }
                self.spare.ready = outgrown.filter(|_| !named);
                self.spare.failed = true;
                Err(error)
            }
        }
    }
}
