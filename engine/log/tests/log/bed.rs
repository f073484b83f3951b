//! What the tests share: a partition, entries that can be told apart, and reading them back.

use hulse_log::{
    AppendError, Appended, Disk, Log, OpenError, PartitionStore, ReadError, RecoveryReport,
    partition_dir,
};
use hulse_model::{EntryDraft, Offset, PartitionId, PayloadFormat, ProducerId, Term, TopicName};

/// The partition of every test.
pub(crate) const PARTITION: PartitionId = PartitionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// Its topic.
pub(crate) fn topic() -> TopicName {
    "tests/log/orders-partition-3".parse().unwrap()
}

/// Its directory.
pub(crate) fn dir() -> String {
    partition_dir(PARTITION)
}

/// The path of one of its files.
pub(crate) fn path(name: &str) -> String {
    format!("{}/{name}", dir())
}

/// A new partition on `disk`.
pub(crate) fn create<D: Disk>(disk: &D) -> PartitionStore<D> {
    PartitionStore::create(disk, PARTITION, &topic()).unwrap()
}

/// Recovers it.
pub(crate) fn open<D: Disk>(disk: &D) -> Result<(PartitionStore<D>, RecoveryReport), OpenError> {
    PartitionStore::open(disk, PARTITION)
}

/// A draft with this payload, appended at `ms`.
pub(crate) fn draft(payload: &[u8], ms: u64) -> EntryDraft<'_> {
    EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: ms,
        producer: ProducerId(9),
        sequence: 0,
        messages: 1,
        payload,
        payload_crc: None,
    }
}

/// A payload of `bytes` bytes that no other `tag` gives.
pub(crate) fn payload(tag: u64, bytes: usize) -> Vec<u8> {
    let mut rng = hulse_log::sim::SimRng::new(tag);
    let mut payload = Vec::with_capacity(bytes + 8);
    while payload.len() < bytes {
        payload.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    payload.truncate(bytes);
    payload
}

/// Appends, and makes a segment whenever one is needed.
pub(crate) fn append<D: Disk>(
    log: &mut Log<D>,
    term: Term,
    draft: &EntryDraft<'_>,
) -> Result<Appended, AppendError> {
    match log.append(term, draft) {
        Err(AppendError::NoRoom { .. }) => {
            if let Some(prepare) = log.segment_wanted() {
                // When it fails, the append below says that there is still no room.
                let _ = log.segment_prepared(prepare.run());
            }
            log.append(term, draft)
        }
        appended => appended,
    }
}

/// Appends entries of 100 bytes in term 1, tagged with their offsets, and syncs them.
pub(crate) fn append_synced<D: Disk>(log: &mut Log<D>, entries: u64) {
    for _ in 0..entries {
        let offset = log.end().0;
        append(log, Term(1), &draft(&payload(offset, 100), offset)).unwrap();
    }
    log.sync().unwrap();
}

/// What a log holds: payloads by offset, and the ranges that are damaged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Offset, term and payload of every entry that can be read.
    pub(crate) entries: Vec<(u64, u64, Vec<u8>)>,
    /// First and end of every range that cannot.
    pub(crate) damaged: Vec<(u64, u64)>,
}

/// Reads everything that is written, from the start.
pub(crate) fn read_all<D: Disk>(log: &mut Log<D>) -> Held {
    let mut held = Held::default();
    let end = log.written();
    let mut cursor = log.cursor(log.start());
    loop {
        let at = cursor.offset();
        match log.read(&mut cursor, end) {
            Ok(Some(entry)) => {
                let header = entry.header;
                assert_eq!(header.offset, at);
                held.entries
                    .push((at.0, header.term.0, entry.payload().to_vec()));
            }
            Ok(None) => {
                assert_eq!(cursor.offset(), end);
                return held;
            }
            Err(ReadError::Damaged { first, end }) => {
                assert_eq!(first, at);
                held.damaged.push((first.0, end.0));
                cursor = log.cursor(end);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The payload of the entry at `offset`.
pub(crate) fn read_one<D: Disk>(
    log: &mut Log<D>,
    offset: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut cursor = log.cursor(Offset(offset));
    let end = log.end();
    Ok(log
        .read(&mut cursor, end)?
        .map(|entry| entry.payload().to_vec()))
}

/// The seeds of a random test: `count` fixed ones, or the one in `HULSE_SEED`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("HULSE_SEED") {
        Ok(seed) => vec![seed.parse().expect("HULSE_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Says which seed is running, so that a failure shows it.
pub(crate) fn announce(seed: u64) {
    println!("HULSE_SEED={seed}");
}

/// The disk has stopped, and with it the life that a test scripts.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Any failure ends a scripted life: nothing else than the stop of the disk makes one.
pub(crate) trait OrStop<T> {
    fn or_stop(self) -> Result<T, Stopped>;
}

impl<T, E> OrStop<T> for Result<T, E> {
    fn or_stop(self) -> Result<T, Stopped> {
        self.map_err(|_| Stopped)
    }
}
