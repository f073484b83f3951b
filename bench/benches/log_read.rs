//! Reading a log from its start, warm: through the map, with both checksums of every entry
//! verified, against the checksum alone and against a copy of the same bytes where they lie.

use std::hint::black_box;
use std::path::Path;

use criterion::Throughput;
use hulse_bench::{Limit, LogFeed, Suite, Work, filler, timed};
use hulse_log::MapSlice;

fn main() {
    let mut suite = Suite::from_args(Path::new(env!("CARGO_TARGET_TMPDIR")));
    read(&mut suite, "1 KiB", 1, 1024);
    read(&mut suite, "128 KiB", 128, 128 * 1024);
    suite.finish();
}

fn read(suite: &mut Suite, name: &str, messages: u32, payload_bytes: usize) {
    // Several segments, the last one of the largest size, and more than a processor's cache.
    let bytes = suite.scale().pick(64 * 1024 * 1024, 4 * payload_bytes);
    let mut feed = LogFeed::new(suite.files());
    let payload = filler(payload_bytes);
    for _ in 0..bytes / payload_bytes {
        feed.append(&payload, messages);
        feed.settle();
    }
    feed.log().sync().expect("the disk syncs");
    let stored = stored_entries(&mut feed);
    let total: usize = stored.iter().map(|entry| entry.as_ref().len()).sum();
    for (against, limit_name) in [
        (Against::Checksum, "CRC-32 of the same bytes of the map"),
        (Against::Copy, "a copy of the same bytes of the map"),
    ] {
        let work = Work {
            group: "read from the start",
            name: format!("{name} against {}", against.word()),
            throughput: Throughput::Bytes(total as u64),
            samples: 30,
        };
        let mut copy = Vec::with_capacity(payload_bytes + 1024);
        suite.compare(
            &work,
            |pieces| timed(pieces, || assert_eq!(scan(&mut feed), stored.len())),
            Limit {
                name: limit_name,
                run: |pieces| {
                    timed(pieces, || match against {
                        Against::Checksum => {
                            for entry in &stored {
                                black_box(crc32fast::hash(black_box(entry.as_ref())));
                            }
                        }
                        Against::Copy => {
                            for entry in &stored {
                                copy.clear();
                                copy.extend_from_slice(black_box(entry.as_ref()));
                                black_box(&copy);
                            }
                        }
                    })
                },
            },
        );
    }
}

/// The limits of reading.
#[derive(Debug, Clone, Copy)]
enum Against {
    Checksum,
    Copy,
}

impl Against {
    const fn word(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Copy => "copy",
        }
    }
}

/// Reads every entry and returns how many there were.
fn scan(feed: &mut LogFeed) -> usize {
    let log = feed.log();
    let (mut cursor, end) = (log.cursor(log.start()), log.flushed());
    let mut entries = 0;
    while let Some(entry) = log.read(&mut cursor, end).expect("nothing is damaged") {
        black_box(entry.bytes());
        entries += 1;
    }
    entries
}

/// The bytes of every entry, in the map: other memory may be slower or faster to read.
fn stored_entries(feed: &mut LogFeed) -> Vec<MapSlice> {
    let log = feed.log();
    let (mut cursor, end) = (log.cursor(log.start()), log.flushed());
    let mut stored = Vec::new();
    while let Some(entry) = log.read(&mut cursor, end).expect("nothing is damaged") {
        stored.push(entry.into_slice());
    }
    stored
}
