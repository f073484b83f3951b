//! The entry for fuzzing recovery: whatever the files hold, opening them neither panics nor hangs.

use hulse_model::{EntryDraft, Offset, PartitionId, PayloadFormat, ProducerId, Term};

use crate::disk::Disk;
use crate::log::{AppendError, Log, ReadError};
use crate::manifest::MANIFEST_NAME;
use crate::record::RECORD_HEADER_BYTES;
use crate::segment::{DATA_START, LogKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::sim::SimDisk;
use crate::store::{PartitionStore, partition_dir};
use crate::verify::verify;

const PARTITION: PartitionId = PartitionId(0xf022);
/// The most changes that one input makes.
const CHANGES_MAX: usize = 64;
/// The largest file that a change makes, in bytes.
const FILE_BYTES_MAX: usize = 128 * 1024;

/// Takes `bytes` for a list of changes to the files of a small, valid partition, makes them, and
/// then verifies, opens, reads, appends to and opens it again.
///
/// # Panics
/// When the log breaks a promise: that what opens once opens again with the same entries, that
/// offsets are dense but for what is reported as damaged, that appending goes on.
pub fn fuzz_recovery(bytes: &[u8]) {
    let disk = valid_partition();
    change(&disk, &mut Input(bytes));
    let report = verify(&disk, &partition_dir(PARTITION));
    let Ok((mut store, _)) = PartitionStore::open(&disk, PARTITION) else {
        return;
    };
    report.expect("what opens can be verified");
    let mut held = Vec::new();
    for kind in LogKind::ALL {
        read_all(store.log_mut(kind));
        let log = store.log_mut(kind);
        append(log, 3);
        read_all(log);
        held.push((log.start(), log.end()));
    }
    drop(store);
    let opened = PartitionStore::open(&disk, PARTITION);
    let (mut store, _) = opened.expect("what was opened and appended to opens again");
    for (kind, (start, end)) in LogKind::ALL.into_iter().zip(held) {
        let log = store.log_mut(kind);
        assert_eq!(
            (log.start(), log.end()),
            (start, end),
            "the {kind} log has changed"
        );
        read_all(log);
    }
    store.close_clean().expect("nothing fails on this disk");
}

/// A partition of a few segments with unsynced entries at its end.
fn valid_partition() -> SimDisk {
    let disk = SimDisk::new();
    let topic = "fuzz".parse().expect("it is a topic's name");
    let mut store = PartitionStore::create(&disk, PARTITION, &topic).expect("the disk is empty");
    for kind in LogKind::ALL {
        let log = store.log_mut(kind);
        append(log, 30);
        log.sync().expect("nothing fails on this disk");
        append(log, 3);
        log.write().expect("nothing fails on this disk");
    }
    disk
}

fn append<D: Disk>(log: &mut Log<D>, entries: u64) {
    let payload = [b'x'; 900];
    for number in 0..entries {
        let draft = EntryDraft {
            format: PayloadFormat::Messages,
            appended_ms: number,
            producer: ProducerId(1),
            sequence: number,
            messages: 1,
            payload: &payload,
            payload_crc: None,
        };
        let term = Term(log.last_term().0.max(1));
        let first = log.append(term, &draft);
        if let Err(AppendError::NoRoom { .. }) = first {
            let prepare = log
                .segment_wanted()
                .expect("a log without room wants a segment");
            log.segment_prepared(prepare.run())
                .expect("nothing fails on this disk");
            log.append(term, &draft).expect("the new segment has room");
        } else {
            first.expect("nothing else refuses a small entry");
        }
    }
    log.write().expect("nothing fails on this disk");
}

/// Reads the log from its start to its end, past what is damaged.
fn read_all<D: Disk>(log: &mut Log<D>) {
    let mut cursor = log.cursor(log.start());
    while cursor.offset() < log.end() {
        let at = cursor.offset();
        match log.read(&mut cursor, log.end()) {
            Ok(Some(entry)) => {
                assert_eq!(entry.header.offset, at, "entries come in order");
                assert_eq!(cursor.offset(), at.next(), "one entry at a time");
            }
            Ok(None) => panic!("entry {at} is below the log's end"),
            Err(ReadError::Damaged { first, end }) => {
                assert!(first == at && end > at, "damage leads on");
                cursor = log.cursor(end);
            }
            Err(error) => panic!("nothing fails on this disk: {error}"),
        }
    }
    log.find_time(2).expect("nothing fails on this disk");
}

/// The fuzzer's bytes, read from the front; zeros follow the last.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn long(&mut self) -> [u8; 8] {
        std::array::from_fn(|_| self.byte())
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn change(disk: &SimDisk, input: &mut Input<'_>) {
    let dir = partition_dir(PARTITION);
    for _ in 0..CHANGES_MAX {
        if input.0.is_empty() {
            return;
        }
        let files: Vec<(String, Vec<u8>)> = disk.contents().into_iter().collect();
        if files.is_empty() {
            return;
        }
        let kind = input.byte();
        let (path, mut bytes) = files[usize::from(input.byte()) % files.len()].clone();
        let at = input.word();
        match kind % 9 {
            0 => patch(&mut bytes, at, &input.long()),
            1 => {
                let length = input.word();
                patch(&mut bytes, at, input.take(length));
            }
            2 => bytes.truncate(at * 2),
            3 => bytes.resize((at * 2).min(FILE_BYTES_MAX), 0),
            4 => {
                let _ = disk.remove(&path);
                continue;
            }
            5 => {
                let base = u64::from_le_bytes(input.long());
                let log = LogKind::ALL[at % 2];
                let end = if at.is_multiple_of(3) { ".new" } else { "" };
                let name = format!("{dir}/{}-{base:020}.seg{end}", log.name());
                disk.set_content(&name, &bytes);
                continue;
            }
            6 => header(&mut bytes, at, input),
            7 => record(&mut bytes, at, input),
            _ => manifest(disk, &dir, at, input),
        }
        disk.set_content(&path, &bytes);
    }
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..(at + with.len())) {
        place.copy_from_slice(with);
    }
}

/// Changes a field of a segment's header, or its opening, and mends the checksums after it.
fn header(bytes: &mut [u8], at: usize, input: &mut Input<'_>) {
    const CRC_AT: usize = SEGMENT_HEADER_BYTES - 4;
    if bytes.len() < 2 * SEGMENT_HEADER_BYTES {
        return;
    }
    patch(
        &mut bytes[..CRC_AT],
        at % CRC_AT,
        &input.long()[..1 + at % 8],
    );
    let crc = crc32fast::hash(&bytes[..CRC_AT]);
    patch(bytes, CRC_AT, &crc.to_le_bytes());
    if let Ok(header) = SegmentHeader::decode(bytes)
        && at % 2 == 1
    {
        let first = Offset(u64::from_le_bytes(input.long()));
        patch(bytes, SEGMENT_HEADER_BYTES, &header.encode_opening(first));
    }
}

/// Changes a record's entry, or how far its local header says the log was durable, and mends both
/// checksums.
fn record(bytes: &mut [u8], skip: usize, input: &mut Input<'_>) {
    let Ok(header) = SegmentHeader::decode(bytes) else {
        return;
    };
    let mut at = usize::try_from(DATA_START).expect("it is a small number");
    let local = |bytes: &[u8], at: usize| {
        let rest = bytes.get(at..)?;
        crate::record::LocalHeader::decode(header.seal, rest)
    };
    for _ in 0..skip % 32 {
        let Some(found) = local(bytes, at) else {
            return;
        };
        at += usize::try_from(found.record_bytes()).expect("a record is small");
    }
    let Some(found) = local(bytes, at) else {
        return;
    };
    let entry_at = at + RECORD_HEADER_BYTES;
    let Some(entry) = bytes.get_mut(entry_at..entry_at + found.entry_bytes) else {
        return;
    };
    let choice = usize::from(input.byte());
    patch(
        &mut entry[4..],
        choice % 52,
        &input.long()[..1 + choice % 8],
    );
    let crc = crc32fast::hash(&entry[4..]);
    patch(entry, 0, &crc.to_le_bytes());
    let synced = if choice > 127 {
        Offset(u64::from_le_bytes(input.long()))
    } else {
        found.synced_before
    };
    let local = crate::record::LocalHeader::encode(header.seal, found.entry_bytes, crc, synced);
    patch(bytes, at, &local);
}

/// Changes the manifest and mends its checksum.
fn manifest(disk: &SimDisk, dir: &str, at: usize, input: &mut Input<'_>) {
    let path = format!("{dir}/{MANIFEST_NAME}");
    let Some(mut bytes) = disk.contents().remove(&path) else {
        return;
    };
    let Some(content) = bytes.len().checked_sub(4).filter(|length| *length > 12) else {
        return;
    };
    patch(
        &mut bytes[..content],
        12 + at % (content - 12),
        &input.long()[..1 + at % 8],
    );
    let crc = crc32fast::hash(&bytes[..content]);
    patch(&mut bytes, content, &crc.to_le_bytes());
    disk.set_content(&path, &bytes);
}
