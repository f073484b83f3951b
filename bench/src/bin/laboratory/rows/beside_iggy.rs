//! Hulse beside Apache Iggy, whose figures are scaled.

use std::cell::{Cell, RefCell};

use serde_json::Value;

use crate::broker::Waiting;
use crate::failure::Failure;
use crate::lab::{EndToEnd, Lab, Produced, Read};
use crate::peers::iggy::{Figure, Limit};
use crate::result::{Row, Side};
use crate::target::{Target, median};

/// The load of the batched rows: as much on the way as keeps both sides busy, and no more.
const BATCHED_MEMORY: &str = "--ack memory --producers 2 --topics 2 --batch 1000 --window 4";
const BATCHED_DISK: &str = "--ack disk --producers 2 --topics 2 --batch 1000 --window 4";

/// A load beside a figure of Iggy's.
struct Beside {
    name: &'static str,
    work: &'static str,
    load: &'static str,
    size: u64,
    /// How many bytes, when not as many as elsewhere.
    bytes: Option<u64>,
    bound: f64,
    figure: Figure,
    /// Takes the figure's unit from what was measured.
    rate: fn(&Produced) -> f64,
}

fn beside(lab: &Lab, row: &Beside) -> Result<Row, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let bytes = match row.bytes {
        Some(bytes) if !lab.scale.quick => bytes,
        _ => lab.messages(row.size) * row.size,
    };
    let messages = bytes / row.size;
    let warmup = if row.bytes.is_some() { 0 } else { lab.warmup() };
    let mut p99 = Vec::new();
    let scale = Cell::new(1.0);
    let (ours, theirs) = lab.in_turn(
        |round| {
            let name = format!("{}-{round}", row.name);
            let produced: Produced = broker.run(&format!(
                "bench produce {name} {} --size {} --messages {messages} --warmup {warmup}",
                row.load, row.size
            ))?;
            for topic in 0..2 {
                broker.delete(&format!("{name}-{topic}"))?;
            }
            p99.push(produced.latency.p99_us as f64);
            Ok((row.rate)(&produced))
        },
        |_| {
            scale.set(row.figure.scale(lab, bytes)?);
            Ok(row.figure.rate * scale.get())
        },
    )?;
    let unit = row.figure.unit;
    let made = Row::of(
        row.name,
        row.work,
        Some(Target::AtLeast(row.bound)),
        Side::new("Hulse, one core, 2 producers", unit, ours),
        Side::new(row.figure.name(), unit, theirs),
    );
    Ok(with_p99(made, median(&p99), &row.figure, scale.get()))
}

fn with_p99(row: Row, p99_us: f64, figure: &Figure, scale: f64) -> Row {
    match figure.scaled_p99_us(scale) {
        None => row.note(format!("p99 {p99_us:.0} us.")),
        Some(theirs) => row.also(
            p99_us < theirs,
            format!(
                "p99 {p99_us:.0} us against {theirs:.0} us (scaled), which is part of the target."
            ),
        ),
    }
}

/// Batches of 1,000 from two producers.
///
/// # Errors
/// When either side fails.
pub(crate) fn batched(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let rows = [
        Beside {
            name: "iggy-memory",
            work: "memory, 1 KiB, batches of 1,000, two producers",
            load: BATCHED_MEMORY,
            size: 1024,
            bytes: None,
            bound: 1.5,
            figure: Figure {
                rate: 1_613.0,
                unit: "MB/s",
                p99_us: Some(2_800.0),
                limit: Limit::Loopback,
            },
            rate: |produced| produced.megabytes_per_second,
        },
        Beside {
            name: "iggy-memory-256",
            work: "memory, 256 bytes, batches of 1,000, two producers",
            load: BATCHED_MEMORY,
            size: 256,
            bytes: None,
            bound: 1.5,
            figure: Figure {
                rate: 5_070_000.0,
                unit: "messages/s",
                p99_us: None,
                limit: Limit::Loopback,
            },
            rate: |produced| produced.messages_per_second,
        },
        Beside {
            name: "iggy-disk",
            work: "disk, 1 KiB, batches of 1,000, two producers",
            load: BATCHED_DISK,
            size: 1024,
            bytes: None,
            bound: 1.5,
            figure: Figure {
                rate: 668.0,
                unit: "MB/s",
                p99_us: Some(5_000.0),
                limit: Limit::Synced,
            },
            rate: |produced| produced.megabytes_per_second,
        },
    ];
    rows.iter().map(|row| beside(lab, row)).collect()
}

/// The same for 16 GB, where the disk is the limit.
///
/// # Errors
/// When either side fails.
pub(crate) fn sustained(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let row = Beside {
        name: "iggy-sustained",
        work: "memory, 1 KiB, batches of 1,000, two producers, sustained for 16 GB",
        load: BATCHED_MEMORY,
        size: 1024,
        bytes: Some(16_000_000_000),
        bound: 1.5,
        figure: Figure {
            rate: 403.0,
            unit: "MB/s",
            p99_us: Some(13_000.0),
            limit: Limit::Buffered,
        },
        rate: |produced| produced.megabytes_per_second,
    };
    Ok(vec![beside(lab, &row)?])
}

/// Producing and consuming together, one of each and two of each.
///
/// # Errors
/// When either side fails.
pub(crate) fn mixed(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows: Vec<Row> = Vec::new();
    let mut p99_of_one = None;
    for (count, theirs, p99_us) in [(1, 930.0, 3_800.0), (2, 667.0, 332_000.0)] {
        let broker = lab.program.broker(Waiting::Sleeping)?;
        let figure = Figure {
            rate: theirs,
            unit: "MB/s",
            p99_us: Some(p99_us),
            limit: Limit::Loopback,
        };
        let messages = lab.messages(1024);
        let warmup = lab.warmup();
        let mut p99 = Vec::new();
        let scale = Cell::new(1.0);
        let (ours, others) = lab.in_turn(
            |round| {
                let name = format!("mixed-{count}-{round}");
                let run: EndToEnd = broker.run(&format!(
                    "bench end-to-end {name} --ack memory --producers {count} --topics {count} \
                     --batch 1000 --window 8 --messages {messages} --warmup {warmup}"
                ))?;
                for topic in 0..count {
                    broker.delete(&format!("{name}-{topic}"))?;
                }
                p99.push(run.consumed.latency.p99_us as f64);
                // Each way counts, so the slower one does.
                let produced = run.produced.megabytes_per_second;
                Ok(run.consumed.megabytes_per_second.min(produced))
            },
            |_| {
                scale.set(figure.scale(lab, messages * 1024)?);
                Ok(figure.rate * scale.get())
            },
        )?;
        let row = Row::of(
            &format!("iggy-mixed-{count}"),
            &format!(
                "produce and consume together, 1 KiB, batches of 1,000, {count}+{count}, each way"
            ),
            Some(Target::AtLeast(1.5)),
            Side::new("Hulse, one core", "MB/s", ours),
            Side::new(figure.name(), "MB/s", others),
        );
        let p99 = median(&p99);
        let row = row.note(format!("p99 end to end {p99:.0} us."));
        rows.push(match p99_of_one {
            None => row,
            Some(one) => row.also(
                p99 <= one * 1.5,
                format!("It is to stay flat from 1+1, where it was {one:.0} us: 1.5 x at most."),
            ),
        });
        p99_of_one = Some(p99);
    }
    Ok(rows)
}

/// Reading from the start what lies in the page cache.
///
/// # Errors
/// When either side fails.
pub(crate) fn reading(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let messages = lab.messages(1024);
    let _: Value = broker.run(&format!(
        "bench produce read --ack memory --size 1024 --batch 1000 --messages {messages} --warmup 0"
    ))?;
    let figure = Figure {
        rate: 1_223.0,
        unit: "MB/s",
        p99_us: None,
        limit: Limit::Loopback,
    };
    let before = broker.work()?.cpu();
    let bare = RefCell::new(Vec::new());
    let (ours, theirs) = lab.in_turn(
        |_| {
            let read: Read = broker.run("bench consume read")?;
            Ok(read.megabytes_per_second)
        },
        |_| {
            let scale = figure.scale(lab, messages * 1024)?;
            bare.borrow_mut().push(figure.bare_mb_s(scale));
            Ok(figure.rate * scale)
        },
    )?;
    let delivered = messages * lab.scale.rounds as u64;
    let cpu_us = (broker.work()?.cpu() - before).as_secs_f64() * 1e6 / delivered as f64;
    let row = Row::of(
        "reading",
        "reading 1 KiB messages from the start, warm, one consumer",
        Some(Target::AtLeast(2.0)),
        Side::new("Hulse, one core", "MB/s", ours),
        Side::new(figure.name(), "MB/s", theirs),
    );
    Ok(vec![row.note(format!(
        "The bare copy loop makes {:.0} MB/s here. {cpu_us:.2} us of the broker's processor time a \
         message.",
        median(&bare.borrow())
    ))])
}
