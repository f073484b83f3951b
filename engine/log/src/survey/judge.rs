//! Telling damage from a torn tail.

use hulse_model::Offset;

use crate::report::{DamageReason, DamagedRange, TornTail};
use crate::scan::Bad;
use crate::survey::{Cut, FooterKind, Place, Survey, Surveyed, Unreadable};

/// A place between two whole entries, or after the last, where entries are absent.
#[derive(Debug, Clone)]
pub(super) struct Region {
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

/// The entries between what was found so far and the next segment, if they are absent.
pub(super) fn gap_before<F>(
    found: &Survey<F>,
    next: &Surveyed<F>,
    blanks: &[Surveyed<F>],
) -> Option<Region> {
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

/// Finds the entries of a first segment that a crash has left blank, while later ones have kept
/// theirs: a round had filled it and gone on, and was never synced. A log that retention has
/// shortened is proved durable up to its first entry, so that it is never taken for one.
pub(super) fn find_lost_beginning<F>(
    found: &mut Survey<F>,
    blanks: &mut Vec<Surveyed<F>>,
    gaps: &mut Vec<Region>,
) {
    let (Some(next), Some(blank)) = (found.segments.first(), blanks.first()) else {
        return;
    };
    let (base, end) = (blank.header.base, next.contents.first);
    let lost = base < next.header.base && base <= found.flushed_to && found.flushed_to < end;
    if !lost || found.unreadable.iter().any(|file| file.base < end) {
        return;
    }
    let mut blank = blanks.remove(0);
    blank.opened = false;
    for gap in gaps.iter_mut() {
        gap.segment += 1;
    }
    gaps.insert(
        0,
        Region {
            segment: 0,
            name: blank.name.clone(),
            position: blank.contents.data_end,
            cut_at: blank.contents.data_end,
            first: base,
            end,
            reason: DamageReason::Missing,
        },
    );
    found.segments.insert(0, blank);
}

/// Finds out which blank segment is the prepared one. The others serve no more.
pub(super) fn settle_blanks<F>(found: &mut Survey<F>, blanks: Vec<Surveyed<F>>, place: &Place<'_>) {
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
pub(super) fn judge<F>(found: &mut Survey<F>, gaps: Vec<Region>) {
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
    let (Some(first), Some(last)) = (found.segments.first(), found.segments.last()) else {
        return;
    };
    found.start = first.contents.first;
    // Files before the first segment that can be read: their entries are there, and lost.
    let before = |file: &&Unreadable| file.base < first.header.base;
    if let Some(file) = found.unreadable.iter().find(before) {
        found.damaged.push(DamagedRange {
            first: file.base,
            end: found.start,
            segment: file.name.clone(),
            position: 0,
            reason: DamageReason::Header,
        });
        found.start = file.base;
    }
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
