//! Changing a partition's home: the core whose journal its rounds go through.
//!
//! A round of the journal names the home generation that the partition's manifest had. Once the
//! manifest says a higher one, everything that any journal holds of the partition is void, and a
//! replay passes it over. So the change is noted when the journals have nothing to give any more:
//! the segments' own files are as durable as the logs are.

use std::io;
use std::sync::Arc;

use hulse_model::Offset;

use crate::disk::Disk;
use crate::manifest::{LogMark, ManifestFile};
use crate::mark::raise;
use crate::segment::LogKind;

/// The note that a partition has another home. Send it to a helper thread and run it there: it
/// takes two syncs.
///
/// From when it is made until it has been run, and for good if it fails, no round of a journal may
/// take anything of the partition: nobody knows then which generation the disk has.
#[derive(Debug)]
pub struct ChangeHome<D> {
    manifest: Arc<ManifestFile<D>>,
    entries: LogMark,
    sibling: LogMark,
}

impl<D: Disk> ChangeHome<D> {
    /// The note. The segments' own files hold everything below `entries` and `sibling`.
    pub(crate) fn new(manifest: &Arc<ManifestFile<D>>, entries: Offset, sibling: Offset) -> Self {
        let content = manifest.content();
        let at = |kind, flushed_to| LogMark {
            flushed_to,
            ..content.mark(kind)
        };
        Self {
            manifest: Arc::clone(manifest),
            entries: at(LogKind::Entries, entries),
            sibling: at(LogKind::Sibling, sibling),
        }
    }

    /// Writes the note, durably: the home generation rises by one, and the marks to what is
    /// durable. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Whatever the disk answers. The manifest then says what it said before, or this.
    pub fn run(self) -> io::Result<()> {
        self.manifest.update(|content| {
            content.home_generation += 1;
            raise(&mut content.entries, self.entries);
            raise(&mut content.sibling, self.sibling);
        })
    }
}
