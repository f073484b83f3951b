//! How many bytes lie behind an offset.

use hulse_model::Offset;

use crate::disk::Disk;
use crate::log::Log;
use crate::segment::DATA_START;

impl<D: Disk> Log<D> {
    /// About how many bytes the entries from `offset` on take in the files, without their room to
    /// grow. Exact at the beginning of a segment; within one the entries count as equally large
    /// between two points of its index, or, when that is not in memory, in all of it.
    #[must_use]
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let mut bytes = 0;
        for segment in self.segments.iter().rev() {
            let contents = &segment.contents;
            let held = contents.data_end.saturating_sub(DATA_START);
            if contents.first >= offset {
                bytes += held;
                continue;
            }
            if offset < contents.end {
                let (from, position) =
                    contents
                        .point_before(offset)
                        .map_or((contents.first.0, DATA_START), |point| {
                            let first = contents.first.0 + u64::from(point.relative);
                            (first, u64::from(point.position))
                        });
                let next = contents
                    .points
                    .iter()
                    .find(|point| contents.first.0 + u64::from(point.relative) > offset.0);
                let (to, end) = next.map_or((contents.end.0, contents.data_end), |point| {
                    let first = contents.first.0 + u64::from(point.relative);
                    (first, u64::from(point.position))
                });
                let part = u128::from(end.saturating_sub(position)) * u128::from(offset.0 - from)
                    / u128::from((to - from).max(1));
                let part = u64::try_from(part).unwrap_or(u64::MAX);
                bytes += contents.data_end.saturating_sub(position + part);
            }
            break;
        }
        bytes
    }
}
