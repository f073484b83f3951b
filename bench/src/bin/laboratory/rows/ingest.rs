//! How much a broker takes in.

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{Lab, Produced};
use crate::limits::copy;
use crate::limits::disk::Disk;
use crate::result::{Row, Side};
use crate::target::{Target, median};

/// What a producer sends at a time: 1,000 messages of 1 KiB.
const BATCH_BYTES: usize = 1000 * 1024;

/// The load of these rows: one producer, one partition.
const LOAD: &str = "--size 1024 --batch 1000 --window 4";

/// A measurement of ingest, and what it cost.
struct Ingest {
    produced: Produced,
    round_bytes: u64,
    cpu_us: f64,
}

fn ingest(lab: &Lab, broker: &Broker, ack: &str, round: usize) -> Result<Ingest, Failure> {
    let messages = lab.messages(1024);
    let warmup = lab.warmup();
    let topic = format!("ingest-{round}");
    let before = broker.work()?;
    let produced = broker.run(&format!(
        "bench produce {topic} --ack {ack} {LOAD} --messages {messages} --warmup {warmup}"
    ))?;
    let after = broker.work()?;
    broker.delete(&topic)?;
    Ok(Ingest {
        produced,
        round_bytes: after.round_bytes_since(&before),
        cpu_us: after.cpu_us_since(&before),
    })
}

/// Durable ingest against bare writes that are committed in groups of the same size.
///
/// # Errors
/// When either side fails.
pub(crate) fn durable(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let mut disk = Disk::new(&lab.program.files, lab.messages(1024) * 1024, BATCH_BYTES)?;
    let round_bytes = std::cell::Cell::new(0);
    let mut cpu = Vec::new();
    let mut batches = Vec::new();
    let (ours, theirs) = lab.in_turn(
        |round| {
            let ingest = ingest(lab, &broker, "disk", round)?;
            round_bytes.set(ingest.round_bytes);
            cpu.push(ingest.cpu_us);
            batches.push(ingest.produced.messages_per_entry);
            Ok(ingest.produced.megabytes_per_second)
        },
        |_| Ok(disk.group_commit(round_bytes.get())? / 1e6),
    )?;
    let row = Row::of(
        "durable-ingest",
        "durable ingest: one producer, one partition, 1 KiB messages in batches of 1,000",
        Some(Target::AtLeast(0.6)),
        Side::new("Hulse, acknowledged at disk, one core", "MB/s", ours),
        Side::new(
            "positioned writes of the same batches into a pre-written file, one fdatasync for as \
             many bytes as Hulse syncs at a time",
            "MB/s",
            theirs,
        ),
    );
    Ok(vec![row.note(costs(&cpu)).note(format!(
        "One sync for {} KiB on average; {:.0} messages a batch.",
        round_bytes.get() / 1024,
        median(&batches)
    ))])
}

/// Ingest at `memory` against a bare copy loop over the loopback.
///
/// # Errors
/// When either side fails.
pub(crate) fn memory(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let bytes = lab.messages(1024) * 1024;
    let mut cpu = Vec::new();
    let (ours, theirs) = lab.in_turn(
        |round| {
            let ingest = ingest(lab, &broker, "memory", round)?;
            cpu.push(ingest.cpu_us);
            Ok(ingest.produced.megabytes_per_second)
        },
        |_| Ok(copy::tcp(bytes, BATCH_BYTES, &lab.program.processors)? / 1e6),
    )?;
    let row = Row::of(
        "memory-ingest",
        "ingest over loopback: one producer, one partition, 1 KiB messages in batches of 1,000",
        Some(Target::AtLeast(0.5)),
        Side::new("Hulse, acknowledged at memory, one core", "MB/s", ours),
        Side::new(
            "a thread that sends as much in writes of the same size to one that reads it",
            "MB/s",
            theirs,
        ),
    );
    Ok(vec![row.note(costs(&cpu))])
}

/// What needs more processors or disks than there are: the broker's cost instead.
///
/// # Errors
/// When the load fails.
pub(crate) fn not_measurable(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let memory = ingest(lab, &broker, "memory", 0)?;
    let durable = ingest(lab, &broker, "disk", 1)?;
    let processors = lab.program.processors.count();
    let needs = format!("It needs 6 processors, and there are {processors}.");
    Ok(vec![
        Row::not_measurable(
            "two-cores",
            "two cores against one: at least 1.8 x",
            vec![needs.clone(), costs(&[memory.cpu_us])],
        ),
        Row::not_measurable(
            "replicated",
            "replicated to one secondary, at disk: at least 0.7 of unreplicated",
            vec![
                format!("{needs} And a disk each."),
                costs(&[durable.cpu_us]),
            ],
        ),
    ])
}

fn costs(cpu_us: &[f64]) -> String {
    format!(
        "{:.2} us of the broker's processor time a message.",
        median(cpu_us)
    )
}
