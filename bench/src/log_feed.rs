//! A partition's log that can be fed without end.

use std::path::Path;

use hulse_log::{AppendError, Log, OsDisk, PartitionStore, Retention};
use hulse_model::limits::{LOG_UNSYNCED_BYTES_MAX, SEGMENT_BYTES_MAX};
use hulse_model::{EntryDraft, PartitionId, PayloadFormat, ProducerId, Term};
use tempfile::TempDir;

/// Bytes of segments that are kept: enough for the active one, the next, and the one before.
const KEPT_BYTES: u64 = 4 * SEGMENT_BYTES_MAX;

const TERM: Term = Term(1);

/// The entries log of a partition of its own, in a directory that goes with it. What a core
/// leaves to helper threads (making the next segment, removing old ones) happens in
/// [`Self::settle`], outside of what is measured.
#[derive(Debug)]
pub struct LogFeed {
    store: PartitionStore<OsDisk>,
    sequence: u64,
    /// Held so that the directory stays as long as the log.
    _dir: TempDir,
}

impl LogFeed {
    /// A new partition in a directory below `parent`.
    ///
    /// # Panics
    /// When the disk fails, here and in everything else: there is nothing left to measure then.
    #[must_use]
    pub fn new(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a directory can be made");
        let disk = OsDisk::new(dir.path());
        let topic = "bench".parse().expect("it is a topic's name");
        let partition = PartitionId(1);
        let store =
            PartitionStore::create(&disk, partition, &topic).expect("a partition can be made");
        Self {
            store,
            sequence: 0,
            _dir: dir,
        }
    }

    /// The log.
    pub const fn log(&mut self) -> &mut Log<OsDisk> {
        &mut self.store.entries
    }

    /// Fills the small segments that a partition begins with, so that the active one is of the
    /// largest size, as it is in a partition that has been busy for a second.
    pub fn grow(&mut self) {
        let payload = crate::filler(128 * 1024);
        let mut appended = 0;
        // Each segment is four times as large as the one before, so all the smaller ones together
        // are less than half of the largest.
        while appended < SEGMENT_BYTES_MAX / 2 {
            appended += self.append(&payload, 1) as u64;
            self.write();
            self.settle();
        }
    }

    /// Appends an entry of `messages` messages and returns how many bytes it takes in the log.
    /// When there is no room, the next segment is made at once; after [`Self::settle`] there is
    /// room for some megabytes in a log that [`Self::grow`] has grown.
    pub fn append(&mut self, payload: &[u8], messages: u32) -> usize {
        let draft = EntryDraft {
            format: PayloadFormat::Messages,
            appended_ms: 1_700_000_000_000,
            producer: ProducerId(1),
            sequence: self.sequence,
            messages,
            payload,
            payload_crc: None,
        };
        self.sequence += u64::from(messages);
        let first = self.store.entries.append(TERM, &draft);
        let appended = match first {
            Err(AppendError::NoRoom { .. }) => {
                self.prepare();
                self.store.entries.append(TERM, &draft)
            }
            other => other,
        };
        appended.expect("the log takes the entry").bytes
    }

    /// Writes what is staged.
    pub fn write(&mut self) {
        self.store
            .entries
            .write()
            .expect("a pre-written file can be written");
    }

    /// Writes what was appended since the last time and makes it durable, by the calls that a core
    /// uses.
    ///
    /// # Panics
    /// When nothing was appended: then there was nothing to measure.
    pub fn commit(&mut self) {
        let log = &mut self.store.entries;
        let ticket = log.begin_sync().expect("something was appended");
        let result = ticket.run();
        log.finish_sync(ticket, result);
        assert_eq!(log.poisoned(), None);
    }

    /// Does what is not to be measured: syncs when much is unsynced, makes the segment that will
    /// be needed next, removes old ones.
    pub fn settle(&mut self) {
        if self.store.entries.unsynced_bytes() > LOG_UNSYNCED_BYTES_MAX / 2 {
            self.commit();
        }
        self.prepare();
        let policy = Retention {
            max_bytes: Some(KEPT_BYTES),
            max_age_ms: None,
        };
        let log = &mut self.store.entries;
        let floor = log.flushed();
        if let Some(removal) = log.retain(&policy, 0, floor) {
            removal.run().expect("a file can be removed");
        }
    }

    fn prepare(&mut self) {
        if let Some(prepare) = self.store.entries.segment_wanted() {
            let prepared = prepare.run();
            self.store
                .entries
                .segment_prepared(prepared)
                .expect("the disk has room for a segment");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fed_is_durable_and_reads_back_over_many_segments() {
        let parent = tempfile::tempdir().unwrap();
        let mut feed = LogFeed::new(parent.path());
        let payload = crate::filler(20_000);
        for _ in 0..50 {
            assert!(feed.append(&payload, 3) > payload.len());
            feed.commit();
            feed.settle();
        }
        let log = feed.log();
        assert!(log.segments() > 2, "{} segments", log.segments());
        let (mut cursor, end) = (log.cursor(log.start()), log.flushed());
        let mut sequence = 0;
        while let Some(entry) = log.read(&mut cursor, end).unwrap() {
            assert_eq!(entry.payload(), payload);
            assert_eq!(entry.header.sequence, sequence);
            sequence += 3;
        }
        assert_eq!(sequence, 150);
    }

    #[test]
    fn the_directory_goes_with_the_feed() {
        let parent = tempfile::tempdir().unwrap();
        let feed = LogFeed::new(parent.path());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        drop(feed);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
