//! What is printed, and what goes into a file.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::figures::{COLUMNS, Figures};

/// What a reader of the table has to know.
pub(crate) const NOTES: &str = "\
notes:
- Times are in microseconds, of one append (a piece: 64 KiB, or what a sync covers if that is less)
  and of one sync. Figures are medians over the turns; each max is the worst of all turns.
- A sync begins when so many bytes are not durable and none is running, and covers all that was
  written when it began: `KiB/syn` says how much that was. MB/s are of durable bytes. With
  `--unsynced 0` the writer waits for every sync, and a sync covers what it is named after.
- `cpu` is this process, with the thread that makes segments; `all` is the whole machine, with the
  kernel's own threads that write out the page cache, and with whatever else was running: a row in
  which it is far above `cpu` was disturbed. The kernel samples it, and finds too little where work
  comes in short bits, as at a rate.
- `wait` is for segments that were not made yet. `first`: segments are made while the log fills.
  `recycled`: they were written before; an allocated segment that is used again is a written one.
- Direct ways gather 64 KiB, or what there is when a sync begins. They keep the last segment's bytes
  in memory, a copy that their appends pay for. Their tail is read there: read through the map, what
  a direct write has just put on the disk must come back from it, which was measured to be slower by
  a factor of 20. They write by 8 threads, which have to be woken up, and take the processor from
  a reader; a ring would cost less.
- `rd` is the reader's: in `tail` from when a piece was appended until its last record was read, in
  `lagging` from when a piece was due. `missed` are records that the memory no longer had.";

/// What a row is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Title {
    pub(crate) run: &'static str,
    pub(crate) fill: &'static str,
    pub(crate) way: &'static str,
    pub(crate) sync_bytes: u64,
}

pub(crate) fn header() -> String {
    let mut line = format!(
        "{:<9} {:<13} {:<19} {:>8}",
        "run", "fill", "way", "sync KiB"
    );
    for column in COLUMNS {
        let _ = write!(line, " {:>8}", column.head);
    }
    line
}

/// A row of the table. A figure that the runs do not have is a dash.
pub(crate) fn row(title: &Title, runs: &[Figures]) -> String {
    let mut line = format!(
        "{:<9} {:<13} {:<19} {:>8}",
        title.run,
        title.fill,
        title.way,
        title.sync_bytes / 1024
    );
    for column in COLUMNS {
        let _ = match column.of(runs) {
            Some(figure) => write!(line, " {figure:>8.*}", column.digits),
            None => write!(line, " {:>8}", "-"),
        };
    }
    line
}

/// A row of the file. A figure that the runs do not have is absent.
pub(crate) fn json_row(title: &Title, runs: &[Figures]) -> Value {
    let mut row = Map::new();
    row.insert("run".to_owned(), json!(title.run));
    row.insert("fill".to_owned(), json!(title.fill));
    row.insert("way".to_owned(), json!(title.way));
    row.insert("sync_bytes".to_owned(), json!(title.sync_bytes));
    for column in COLUMNS {
        if let Some(figure) = column.of(runs) {
            row.insert(column.name.to_owned(), json!(figure));
        }
    }
    Value::Object(row)
}
