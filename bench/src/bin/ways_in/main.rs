//! In which way bytes get into a segment file at the least cost: by positioned writes through the
//! page cache, by stores through a map, or by direct writes; into files that were written before,
//! or only given their room.
//!
//! Each way fills the same log, without sockets and without the log's own code: records of 1 KiB,
//! in pieces of 64 KiB, in segments of 64 MiB. The ways run in turn, a few times each;
//! `docs/benchmarks.md` says how to run it, and the notes below the table say how to read it.
#![forbid(unsafe_code)]

mod align;
mod buffered;
mod direct;
mod figures;
mod fill;
mod group_commit;
mod making;
mod mapped;
mod memory;
mod reader;
mod report;
mod runs;
mod segment;
mod way;
mod writers;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hulse_bench::Conditions;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::fill::Load;
use crate::report::{NOTES, Title};
use crate::runs::{Fill, Place, Run};
use crate::way::{WAYS, Way};

/// Bytes of a segment.
const SEGMENT_BYTES: usize = 64 << 20;

/// So many segments are used again, and so many are kept behind the one that is filled first.
const SEGMENTS_MAX: usize = 32;

/// Between syncs of the runs that are not a burst.
const PACED_SYNC_BYTES: u64 = 1 << 20;
const SUSTAINED_SYNC_BYTES: u64 = 4 << 20;

/// Compare the ways in which bytes get into a segment file
///
/// Direct ways write by 8 threads, so that 8 writes are under way at a time. A ring would do the
/// same with one thread and cost less processor time.
#[derive(Debug, Parser)]
#[command(name = "ways_in")]
struct Args {
    /// What to run
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["burst", "tail", "lagging"])]
    run: Vec<Run>,
    /// Which ways [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    way: Vec<Way>,
    /// Bytes between two syncs of a burst
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 65536, 262_144, 1_048_576, 4_194_304], value_parser = clap::value_parser!(u64).range(1..))]
    sync: Vec<u64>,
    /// The writer waits when so many bytes are not durable, or those between two syncs if that is
    /// more; with 0 it waits for every sync
    #[arg(long, default_value_t = 16 << 20)]
    unsynced: u64,
    /// Seconds that a burst takes at most, and that the runs at a rate take
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes of a burst
    #[arg(long, default_value_t = 512_000_000)]
    burst_bytes: u64,
    /// Bytes of a sustained run
    #[arg(long, default_value_t = 16_000_000_000)]
    bytes: u64,
    /// Bytes a second of the runs at a rate
    #[arg(long, default_value_t = 200_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Bytes of a record
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    record: u32,
    /// How often each is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// Where the files are made; a sustained run needs 5 GB there, the others 3
    #[arg(long, default_value = "target/tmp")]
    files: PathBuf,
    /// A file for the figures, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ways_in: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> io::Result<()> {
    std::fs::create_dir_all(&args.files)?;
    let files = args.files.canonicalize()?;
    let conditions = Conditions::read(&files);
    println!("{conditions}\n{}", report::header());
    let mut place = Place::new(files, SEGMENT_BYTES, SEGMENTS_MAX);
    let mut rows = Vec::new();
    for &run in &args.run {
        for &fill in run.fills() {
            for load in loads(args, run) {
                compare(args, run, fill, &load, &mut place, &mut rows)?;
            }
        }
    }
    println!("{NOTES}");
    let Some(path) = &args.json else {
        return Ok(());
    };
    let all = json!({
        "conditions": conditions,
        "record_bytes": args.record,
        "unsynced_bytes_max": args.unsynced,
        "rate_bytes_per_s": args.rate,
        "turns": args.turns,
        "rows": rows,
        "notes": NOTES,
    });
    std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")
}

/// Runs the ways in turn, and tells their rows.
fn compare(
    args: &Args,
    run: Run,
    fill: Fill,
    load: &Load,
    place: &mut Place,
    rows: &mut Vec<Value>,
) -> io::Result<()> {
    let wanted = |way: &Way| args.way.is_empty() || args.way.contains(way);
    let ways = WAYS.into_iter().filter(wanted);
    let mut runs: Vec<(Way, Vec<Figures>)> = ways
        .filter(|way| fill.is_for(*way))
        .map(|way| (way, Vec::new()))
        .collect();
    for _ in 0..args.turns {
        for (way, runs) in &mut runs {
            runs.push(runs::run(run, fill, *way, load, place)?);
        }
    }
    for (way, runs) in &runs {
        let title = Title {
            run: run.name(),
            fill: fill.name(),
            way: way.name(),
            sync_bytes: load.sync,
        };
        println!("{}", report::row(&title, runs));
        rows.push(report::json_row(&title, runs));
    }
    Ok(())
}

/// What the logs of a run are filled with.
fn loads(args: &Args, run: Run) -> Vec<Load> {
    let record = args.record as usize;
    let time = Duration::from_secs_f64(args.seconds);
    let base = Load {
        record,
        bytes: args.burst_bytes,
        time: Some(time),
        sync: PACED_SYNC_BYTES,
        unsynced_max: args.unsynced,
        rate: None,
    };
    match run {
        Run::Burst => {
            let of = |&sync: &u64| Load { sync, ..base };
            args.sync.iter().map(of).collect()
        }
        Run::Sustained => vec![Load {
            bytes: args.bytes,
            time: None,
            sync: SUSTAINED_SYNC_BYTES,
            ..base
        }],
        Run::Tail | Run::Lagging => {
            let bytes = u128::from(args.rate) * time.as_nanos() / 1_000_000_000;
            vec![Load {
                bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
                time: None,
                rate: Some(args.rate),
                ..base
            }]
        }
    }
}
