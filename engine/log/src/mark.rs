//! Noting in the manifest how far a partition's logs are durable, away from the core: it takes two
//! syncs.

use std::io;
use std::sync::Arc;

use hulse_model::Offset;

use crate::disk::Disk;
use crate::manifest::{LogMark, ManifestFile};
use crate::segment::LogKind;

/// A note of how far a partition's two logs are durable. Send it to a helper thread and run it
/// there.
///
/// Only what was known to be durable when it was made is noted. It may run while the core goes on:
/// a log that was truncated meanwhile keeps the mark that the truncation left.
#[derive(Debug)]
pub struct MarkFlushed<D> {
    manifest: Arc<ManifestFile<D>>,
    entries: LogMark,
    sibling: LogMark,
}

impl<D: Disk> MarkFlushed<D> {
    /// The note, unless the manifest says as much already.
    pub(crate) fn new(
        manifest: &Arc<ManifestFile<D>>,
        entries: Offset,
        sibling: Offset,
    ) -> Option<Self> {
        let content = manifest.content();
        let at = |kind, flushed_to| LogMark {
            flushed_to,
            ..content.mark(kind)
        };
        let note = Self {
            manifest: Arc::clone(manifest),
            entries: at(LogKind::Entries, entries),
            sibling: at(LogKind::Sibling, sibling),
        };
        let news = entries > content.entries.flushed_to || sibling > content.sibling.flushed_to;
        news.then_some(note)
    }

    /// Writes the note, durably. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Whatever the disk answers. The manifest then says what it said before, or this: both are
    /// true.
    pub fn run(self) -> io::Result<()> {
        self.manifest.update(|content| {
            raise(&mut content.entries, self.entries);
            raise(&mut content.sibling, self.sibling);
        })
    }
}

/// Raises a mark to what was durable, if the log has not been truncated since.
pub(crate) fn raise(mark: &mut LogMark, durable: LogMark) {
    if mark.generation == durable.generation {
        mark.flushed_to = mark.flushed_to.max(durable.flushed_to);
    }
}
