//! Filling a log in one way: the loop that is measured.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hulse_bench::{filler, machine_time, processor_time};

use crate::figures::{Figures, Times};
use crate::group_commit::GroupCommit;
use crate::making::Source;
use crate::segment::Segment;
use crate::way::{PIECE_BYTES, WayIn};

/// Each record begins with its number, of so many bytes.
pub(crate) const NUMBER_BYTES: usize = 8;

/// What a log is filled with, and when its syncs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Bytes of one record.
    pub(crate) record: usize,
    /// It ends with so many bytes, or a piece less.
    pub(crate) bytes: u64,
    /// It ends then at the latest.
    pub(crate) time: Option<Duration>,
    /// A sync begins when so much is not durable and none is running.
    pub(crate) sync: u64,
    /// The writer waits when so much is not durable, or `sync` if that is more.
    pub(crate) unsynced_max: u64,
    /// Bytes a second, or as fast as possible.
    pub(crate) rate: Option<u64>,
}

impl Load {
    /// Records in a piece: no more than are synced at a time.
    pub(crate) fn piece_records(&self) -> usize {
        let sync = usize::try_from(self.sync).unwrap_or(PIECE_BYTES);
        (sync.min(PIECE_BYTES) / self.record).max(1)
    }

    /// When the piece that begins at `written` is due, from the start on.
    pub(crate) fn due(&self, written: u64) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let nanoseconds = u128::from(written) * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// A piece that a reader may read from now on.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) segment: Segment,
    pub(crate) position: usize,
    pub(crate) bytes: usize,
    /// The number of its first record.
    pub(crate) first: u64,
    pub(crate) at: Instant,
}

/// Fills segments from `source`, makes everything durable, and says how it went. Readers hear of
/// every piece.
pub(crate) fn fill(
    way: &mut dyn WayIn,
    source: &mut Source,
    load: &Load,
    readers: Option<&Sender<Appended>>,
) -> io::Result<Figures> {
    // The first segment is there before anything comes, as it is for an open partition.
    let mut segment = source.next()?;
    let mut is_new = true;
    let mut position = 0;
    let mut pieces = Pieces::new(load);
    let mut syncs = Syncs::new(load)?;
    let mut times = Times::default();
    let mut waited = Duration::ZERO;
    let (own, machine) = (processor_time(), machine_time());
    let began = Instant::now();
    while syncs.written < load.bytes && load.time.is_none_or(|time| began.elapsed() < time) {
        let mut room = (segment.bytes - position) / load.record;
        if room == 0 {
            let from = Instant::now();
            segment = source.next()?;
            waited += from.elapsed();
            is_new = true;
            position = 0;
            room = segment.bytes / load.record;
        }
        let first = pieces.next;
        let piece = pieces.take(room);
        if let Some(early) = load.due(syncs.written).checked_sub(began.elapsed()) {
            std::thread::sleep(early);
        }
        syncs.await_room(way, piece.len() as u64)?;
        let from = Instant::now();
        if is_new {
            way.begin(&segment)?;
            syncs.dirty.push(segment.file.clone());
            is_new = false;
        }
        way.append(piece, position)?;
        let at = Instant::now();
        times.append.record(at - from);
        if let Some(readers) = readers {
            let appended = Appended {
                segment: segment.clone(),
                position,
                bytes: piece.len(),
                first,
                at,
            };
            readers.send(appended).map_err(io::Error::other)?;
        }
        position += piece.len();
        syncs.written += piece.len() as u64;
        syncs.begin_if_due(way)?;
    }
    syncs.finish(way)?;
    let took = began.elapsed();
    for time in &syncs.commit.times {
        times.sync.record(*time);
    }
    let own = processor_time().saturating_sub(own);
    let machine = machine_time()
        .zip(machine)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Figures::new(
        syncs.written,
        took,
        &times,
        own,
        machine,
        waited,
    ))
}

/// The records, piece by piece.
struct Pieces {
    bytes: Vec<u8>,
    record: usize,
    /// The number of the next record.
    next: u64,
}

impl Pieces {
    fn new(load: &Load) -> Self {
        Self {
            bytes: filler(load.piece_records() * load.record),
            record: load.record,
            next: 0,
        }
    }

    /// The next records, at most `room` of them.
    fn take(&mut self, room: usize) -> &[u8] {
        let records = room.min(self.bytes.len() / self.record);
        let piece = &mut self.bytes[..records * self.record];
        for record in piece.chunks_exact_mut(self.record) {
            record[..NUMBER_BYTES].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        piece
    }
}

/// When what is written becomes durable.
struct Syncs {
    commit: GroupCommit,
    sync: u64,
    unsynced_max: u64,
    written: u64,
    /// Files that got something since the last sync began. The last one is being filled.
    dirty: Vec<Arc<File>>,
}

impl Syncs {
    fn new(load: &Load) -> io::Result<Self> {
        Ok(Self {
            commit: GroupCommit::start()?,
            sync: load.sync,
            unsynced_max: load.unsynced_max,
            written: 0,
            dirty: Vec::new(),
        })
    }

    const fn unsynced(&self) -> u64 {
        self.written - self.commit.durable()
    }

    fn begin(&mut self, way: &mut dyn WayIn) -> io::Result<()> {
        let files = self.dirty.clone();
        // The last file is filled further, and may get something before the next sync.
        self.dirty.drain(..files.len().saturating_sub(1));
        self.commit.begin(self.written, way.settle()?, files)
    }

    fn begin_if_due(&mut self, way: &mut dyn WayIn) -> io::Result<()> {
        if !self.commit.is_running()? && self.unsynced() >= self.sync {
            self.begin(way)?;
        }
        Ok(())
    }

    /// Waits until `more` bytes may be written.
    fn await_room(&mut self, way: &mut dyn WayIn, more: u64) -> io::Result<()> {
        while self.unsynced() >= self.sync && self.unsynced() + more > self.unsynced_max {
            self.begin_if_due(way)?;
            self.commit.wait()?;
        }
        Ok(())
    }

    /// Makes everything durable.
    fn finish(&mut self, way: &mut dyn WayIn) -> io::Result<()> {
        self.commit.wait()?;
        if self.unsynced() > 0 {
            self.begin(way)?;
            self.commit.wait()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        record: 1024,
        bytes: 0,
        time: None,
        sync: 1 << 20,
        unsynced_max: 16 << 20,
        rate: Some(200_000_000),
    };

    #[test]
    fn a_piece_holds_whole_records_and_no_more_than_a_sync_covers() {
        assert_eq!(LOAD.piece_records(), 64);
        let small = Load { sync: 4096, ..LOAD };
        assert_eq!(small.piece_records(), 4);
        let odd = Load {
            record: 1000,
            ..LOAD
        };
        assert_eq!(odd.piece_records(), 65);
        let huge = Load {
            record: 100_000,
            ..LOAD
        };
        assert_eq!(huge.piece_records(), 1);
    }

    #[test]
    fn pieces_are_due_at_the_rate_or_at_once() {
        assert_eq!(LOAD.due(0), Duration::ZERO);
        assert_eq!(LOAD.due(100_000_000), Duration::from_millis(500));
        assert_eq!(LOAD.due(1 << 40).as_secs(), 5497);
        let fast = Load { rate: None, ..LOAD };
        assert_eq!(fast.due(1 << 40), Duration::ZERO);
    }

    #[test]
    fn records_carry_their_numbers() {
        let mut pieces = Pieces::new(&LOAD);
        assert_eq!(pieces.take(1000).len(), 64 * 1024);
        let piece = pieces.take(2);
        assert_eq!(piece.len(), 2048);
        assert_eq!(piece[..NUMBER_BYTES], 64_u64.to_le_bytes());
        assert_eq!(piece[1024..][..NUMBER_BYTES], 65_u64.to_le_bytes());
    }
}
