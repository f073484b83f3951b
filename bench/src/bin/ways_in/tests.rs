//! Goal: every way puts into its files exactly the bytes that it was given, so that their figures
//! are of the same work.
//!
//! Method: logs of a few MB in small segments, with records and syncs that leave a partly filled
//! block behind, read back by plain reads.

use std::path::Path;

use hulse_bench::filler;

use crate::fill::{Load, fill};
use crate::making::{Again, Maker, Making, Source};
use crate::runs::{Fill, Place, Run, run};
use crate::segment::{Ring, Segment};
use crate::way::{PIECE_BYTES, WAYS, Way};

const SEGMENT_BYTES: usize = 1 << 20;

/// Records that fill no block, and leave room at the end of a segment.
const RECORD_BYTES: usize = 1000;

const LOAD: Load = Load {
    record: RECORD_BYTES,
    bytes: 2_500_000,
    time: None,
    sync: 200_000,
    unsynced_max: 400_000,
    rate: None,
};

fn ring(dir: &Path) -> Ring {
    Ring {
        dir: dir.to_owned(),
        files: 8,
    }
}

/// The log's bytes, segment by segment, as the records say them.
fn expected(load: &Load) -> Vec<Vec<u8>> {
    let piece = filler(load.piece_records() * load.record);
    let fits = SEGMENT_BYTES / load.record;
    let (mut written, mut number) = (0, 0_u64);
    let mut segments = Vec::new();
    while written < load.bytes {
        let mut segment = Vec::new();
        let mut room = fits;
        while room > 0 && written < load.bytes {
            let records = room.min(load.piece_records());
            for record in piece.chunks_exact(load.record).take(records) {
                segment.extend_from_slice(&number.to_le_bytes());
                segment.extend_from_slice(&record[8..]);
                number += 1;
            }
            room -= records;
            written += (records * load.record) as u64;
        }
        segments.push(segment);
    }
    segments
}

#[track_caller]
fn assert_filled(way: Way, load: &Load, path: impl Fn(usize) -> std::path::PathBuf) {
    let segments = expected(load);
    assert_eq!(segments.len(), 3);
    for (number, expected) in segments.iter().enumerate() {
        let found = std::fs::read(path(number)).unwrap();
        assert_eq!(found.len(), SEGMENT_BYTES);
        let (found, rest) = found.split_at(expected.len());
        let wrong = found.iter().zip(expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{}: segment {number}", way.name());
        assert!(rest.iter().all(|byte| *byte == 0), "{}", way.name());
    }
}

#[test]
fn each_way_writes_what_it_was_given_into_new_segments() {
    for way in WAYS {
        for sync in [5_000, 200_000] {
            let dir = tempfile::tempdir().unwrap();
            let maker = Maker::start(way.making(), ring(dir.path()), SEGMENT_BYTES).unwrap();
            let mut source = Source::New(maker);
            let load = Load { sync, ..LOAD };
            let mut at_work = way.start(SEGMENT_BYTES).unwrap();
            fill(at_work.as_mut(), &mut source, &load, None).unwrap();
            assert_filled(way, &load, |number| ring(dir.path()).own(number));
        }
    }
}

#[test]
fn each_way_writes_what_it_was_given_into_segments_that_are_used_again() {
    for way in WAYS.into_iter().filter(|way| Fill::Recycled.is_for(*way)) {
        let dir = tempfile::tempdir().unwrap();
        let ring = ring(dir.path());
        Again::make(&ring, SEGMENT_BYTES).unwrap();
        for record in [100, RECORD_BYTES] {
            // The second log covers all that the first one wrote.
            let bytes = if record == 100 { 1_000_000 } else { LOAD.bytes };
            let load = Load {
                record,
                bytes,
                ..LOAD
            };
            let mut source = Source::Again(Again::new(ring.clone(), SEGMENT_BYTES));
            let mut at_work = way.start(SEGMENT_BYTES).unwrap();
            fill(at_work.as_mut(), &mut source, &load, None).unwrap();
        }
        assert_filled(way, &LOAD, |number| ring.again(number));
    }
}

#[test]
fn what_was_settled_is_in_the_file_before_more_comes() {
    // Pieces that end within a block, at its end, and one that fills none.
    let pieces = [10_000, 100, 50, 4096 - 10_150 % 4096, PIECE_BYTES, 1];
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        way.making().make(&path, SEGMENT_BYTES).unwrap();
        let segment = Segment::open(0, &path, SEGMENT_BYTES).unwrap();
        let bytes = filler(pieces.iter().sum());
        let mut at_work = way.start(SEGMENT_BYTES).unwrap();
        at_work.begin(&segment).unwrap();
        let mut end = 0;
        for piece in pieces {
            at_work.append(&bytes[end..end + piece], end).unwrap();
            end += piece;
            at_work.settle().unwrap()().unwrap();
            segment.file.sync_data().unwrap();
            let found = std::fs::read(&path).unwrap();
            assert!(found[..end] == bytes[..end], "{} at {end}", way.name());
            assert!(found[end..].iter().all(|byte| *byte == 0));
        }
        if let Some(memory) = at_work.memory() {
            let mut tail = vec![0; end];
            assert!(memory.read(&mut tail, 0));
            assert!(tail == bytes);
        }
    }
}

#[test]
fn every_run_measures_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::new(dir.path().to_owned(), SEGMENT_BYTES, 4);
    let paced = Load {
        rate: Some(100_000_000),
        ..LOAD
    };
    for (kind, load) in [
        (Run::Burst, LOAD),
        (Run::Sustained, LOAD),
        (Run::Tail, paced),
        (Run::Lagging, paced),
    ] {
        for fill in kind.fills() {
            for way in WAYS.into_iter().filter(|way| fill.is_for(*way)) {
                let figures = run(kind, *fill, way, &load, &mut place).unwrap();
                let of = |name: &str| {
                    let mut columns = crate::figures::COLUMNS.iter();
                    let column = columns.find(|column| column.name == name).unwrap();
                    column.of(&[figures])
                };
                assert!(of("mb_per_s").unwrap() > 0.0);
                assert!(of("sync_p50_us").unwrap() > 0.0);
                let reads = matches!(kind, Run::Tail | Run::Lagging);
                assert_eq!(of("read_mb_per_s").is_some(), reads);
                if kind == Run::Tail {
                    assert_eq!(of("read_missed"), Some(0.0));
                }
            }
        }
    }
}

#[test]
fn segments_are_made_as_the_way_needs_them() {
    assert_eq!(Way::BufferedWritten.making(), Making::Zeros);
    assert_eq!(Way::MappedWritten.making(), Making::Zeros);
    assert_eq!(Way::DirectWritten.making(), Making::DirectZeros);
}
