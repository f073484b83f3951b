//! Readers beside the writer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hulse_log::{Disk, DiskFile, OsDisk, OsFile};

use hulse_bench::drop_pages;

use crate::figures::Reading;
use crate::fill::{Appended, Load, NUMBER_BYTES};
use crate::making::dir_and_name;
use crate::memory::TailMemory;
use crate::way::PIECE_BYTES;

fn open(path: &Path) -> io::Result<OsFile> {
    let (dir, name) = dir_and_name(path)?;
    OsDisk::new(dir).open(name)
}

/// Reads every record as soon as it is appended, by copying it as a send would, and sees that it is
/// the one that was written. It ends when the writer does.
pub(crate) fn follow(
    appended: impl IntoIterator<Item = Appended>,
    record_bytes: usize,
    memory: Option<&TailMemory>,
) -> io::Result<Reading> {
    let began = Instant::now();
    let mut reading = Reading::default();
    let mut open_file: Option<(usize, OsFile)> = None;
    let mut record = vec![0; record_bytes];
    for piece in appended {
        let segment = &piece.segment;
        let records = (0..).zip((0..piece.bytes).step_by(record_bytes));
        for (index, within) in records {
            let position = piece.position + within;
            let in_memory =
                memory.is_some_and(|it| it.read(&mut record, segment.log_position() + position));
            if !in_memory {
                reading.missed += u64::from(memory.is_some());
                let file = match open_file.take() {
                    Some((number, file)) if number == segment.number => file,
                    _ => open(&segment.path)?,
                };
                let slice = file.slice(position as u64, record_bytes)?;
                record.copy_from_slice(slice.as_ref());
                open_file = Some((segment.number, file));
            }
            let number = &record[..NUMBER_BYTES];
            if number != (piece.first + index).to_le_bytes() {
                let text = format!("record {} was read as {number:?}", piece.first + index);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        reading.behind.record(piece.at.elapsed());
        reading.bytes += piece.bytes as u64;
    }
    reading.took = began.elapsed();
    Ok(reading)
}

/// Reads old segments through maps at the load's rate until it is told to stop, over and over, each
/// with its pages dropped before. What it says is how long after its moment each piece was read.
pub(crate) fn lag(
    old: &[PathBuf],
    segment_bytes: usize,
    load: &Load,
    stop: &AtomicBool,
) -> io::Result<Reading> {
    let began = Instant::now();
    let mut reading = Reading::default();
    let mut record = vec![0; load.record];
    for path in old.iter().cycle() {
        drop_pages(path)?;
        let file = open(path)?;
        for position in (0..segment_bytes).step_by(PIECE_BYTES) {
            if stop.load(Ordering::Relaxed) {
                reading.took = began.elapsed();
                return Ok(reading);
            }
            let due = load.due(reading.bytes);
            if let Some(early) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(early);
            }
            let bytes = PIECE_BYTES.min(segment_bytes - position);
            let slice = file.slice(position as u64, bytes)?;
            for from in slice.as_ref().chunks_exact(load.record) {
                record.copy_from_slice(from);
                std::hint::black_box(&mut record);
            }
            reading.behind.record(began.elapsed().saturating_sub(due));
            reading.bytes += bytes as u64;
        }
    }
    Err(io::Error::other("there is no old segment"))
}
