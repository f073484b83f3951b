//! Appending to a log: against positioned writes of the same bytes into a pre-written file,
//! without a sync and with one for every group.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Throughput;
use hulse_bench::{BareFile, Limit, LogFeed, Scale, Suite, Work, filler};
use hulse_model::limits::{LOG_STAGED_BYTES_TARGET, LOG_UNSYNCED_BYTES_MAX, SEGMENT_BYTES_MAX};
use tempfile::TempDir;

fn main() {
    let mut suite = Suite::from_args(Path::new(env!("CARGO_TARGET_TMPDIR")));
    // As the shard does it: small entries are written when enough of them are staged, a large one
    // at once.
    write(&mut suite, "1 KiB", 1, 1024, LOG_STAGED_BYTES_TARGET / 1024);
    write(&mut suite, "16 KiB", 16, 16 * 1024, 4);
    write(&mut suite, "128 KiB", 128, 128 * 1024, 1);
    write(&mut suite, "1 MiB", 1000, 1024 * 1024, 1);
    for entries in [1, 16, 256] {
        group_commit(&mut suite, entries);
    }
    suite.finish();
}

/// A log and a bare file on the same disk, and the bytes to put into both.
struct Sides {
    feed: LogFeed,
    bare: BareFile,
    payload: Vec<u8>,
    messages: u32,
    /// Entries that one piece of work appends.
    entries: usize,
    /// What they are in the log, headers included.
    stored: Vec<u8>,
    _dir: TempDir,
}

impl Sides {
    fn new(suite: &Suite, messages: u32, payload_bytes: usize, entries: usize) -> Self {
        let dir = tempfile::tempdir_in(suite.files()).expect("a directory can be made");
        let payload = filler(payload_bytes);
        let mut feed = LogFeed::new(dir.path());
        if suite.scale() == Scale::Full {
            feed.grow();
        }
        let record_bytes = feed.append(&payload, messages);
        feed.commit();
        let stored = filler(record_bytes * entries);
        let bytes = suite
            .scale()
            .pick(SEGMENT_BYTES_MAX, 2 * stored.len() as u64);
        let bare = BareFile::create(dir.path(), bytes).expect("a file can be made");
        Self {
            feed,
            bare,
            payload,
            messages,
            entries,
            stored,
            _dir: dir,
        }
    }

    fn work(&self, group: &'static str, name: String) -> Work {
        Work {
            group,
            name,
            throughput: Throughput::Bytes((self.payload.len() * self.entries) as u64),
            samples: 50,
        }
    }
}

/// Runs `piece` so many times, each after `settle`, which does not count.
fn timed_after<S>(
    pieces: u64,
    side: &mut S,
    settle: impl Fn(&mut S),
    piece: impl Fn(&mut S),
) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..pieces {
        settle(side);
        let start = Instant::now();
        piece(side);
        total += start.elapsed();
    }
    total
}

/// Appends entries and writes them, without a sync.
fn write(suite: &mut Suite, name: &str, messages: u32, payload_bytes: usize, entries: usize) {
    let mut sides = Sides::new(suite, messages, payload_bytes, entries);
    let work = sides.work("append and write", format!("{entries} x {name}"));
    let Sides {
        feed,
        bare,
        payload,
        stored,
        ..
    } = &mut sides;
    suite.compare(
        &work,
        |pieces| {
            timed_after(pieces, feed, LogFeed::settle, |feed| {
                for _ in 0..entries {
                    feed.append(black_box(payload), messages);
                }
                feed.write();
            })
        },
        Limit {
            name: "one positioned write of the same bytes",
            run: |pieces| {
                // Synced as often as the feed is, and as little counted.
                let settle = |bare: &mut BareFile| {
                    if bare.unsynced_bytes() > LOG_UNSYNCED_BYTES_MAX as u64 / 2 {
                        bare.sync().expect("the file can be synced");
                    }
                };
                timed_after(pieces, bare, settle, |bare| {
                    bare.write(black_box(stored))
                        .expect("a pre-written file can be written");
                })
            },
        },
    );
}

/// Appends a group of entries and makes them durable with one sync.
fn group_commit(suite: &mut Suite, entries: usize) {
    let mut sides = Sides::new(suite, 1, 1024, entries);
    let work = sides.work("group commit", format!("{entries} x 1 KiB"));
    let Sides {
        feed,
        bare,
        payload,
        messages,
        stored,
        ..
    } = &mut sides;
    suite.compare(
        &work,
        |pieces| {
            timed_after(pieces, feed, LogFeed::settle, |feed| {
                for _ in 0..entries {
                    feed.append(black_box(payload), *messages);
                }
                feed.commit();
            })
        },
        Limit {
            name: "one positioned write of the same bytes and fdatasync",
            run: |pieces| {
                timed_after(
                    pieces,
                    bare,
                    |_| {},
                    |bare| {
                        bare.write(black_box(stored))
                            .expect("a pre-written file can be written");
                        bare.sync().expect("the file can be synced");
                    },
                )
            },
        },
    );
}
