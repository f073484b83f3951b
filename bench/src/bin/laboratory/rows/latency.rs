//! How long messages take, at a tenth of the load that the broker takes at most.

use std::cell::Cell;

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{EndToEnd, Lab, Produced, WAYS};
use crate::limits::disk::Disk;
use crate::limits::{p99_us, ping_pong};
use crate::result::{Row, Side};
use crate::target::{Target, median};

/// The file of the bare syncs.
const FILE_BYTES: u64 = 256 << 20;
/// The smallest piece that is synced: a page.
const PIECE_BYTES_MIN: u64 = 4096;

/// The rate that is a tenth of the peak, and the words of the load at it.
fn tenth(
    lab: &Lab,
    broker: &Broker,
    ack: &str,
    waiting: Waiting,
) -> Result<(f64, String), Failure> {
    let rate = (lab.peak(broker, ack)? / 10.0).max(1.0).round();
    let spin = match waiting {
        Waiting::Spinning => "--spin",
        Waiting::Sleeping => "",
    };
    let (seconds, warmup) = (lab.seconds(), lab.warmup());
    let words = format!("--ack {ack} --rate {rate} --duration {seconds} --warmup {warmup} {spin}");
    Ok((rate, words))
}

fn late(produced: &[Produced]) -> String {
    let of = |pick: fn(&Produced) -> u64| {
        median(
            &produced
                .iter()
                .map(|one| pick(one) as f64)
                .collect::<Vec<_>>(),
        )
    };
    let late = of(|one| one.sent_late.map_or(0, |late| late.p99_us));
    format!(
        "Publish p50 {:.0}, p99 {:.0}, p99.9 {:.0} us; the load itself was late by up to {late:.0} \
         us (p99), which is part of it.",
        of(|one| one.latency.p50_us),
        of(|one| one.latency.p99_us),
        of(|one| one.latency.p999_us),
    )
}

/// Publishing at `memory` against a bare ping-pong.
///
/// # Errors
/// When either side fails.
pub(crate) fn memory(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (waiting, suffix, has_target) in WAYS {
        let broker = lab.program.broker(waiting)?;
        let (rate, words) = tenth(lab, &broker, "memory", waiting)?;
        let mut all = Vec::new();
        let (ours, theirs) = lab.in_turn(
            |round| {
                let produced: Produced =
                    broker.run(&format!("bench produce latency-{round} {words}"))?;
                all.push(produced);
                Ok(produced.latency.p99_us as f64)
            },
            |_| {
                let times = ping_pong::times(lab.time(), waiting, &lab.program.processors)?;
                Ok(p99_us(&times))
            },
        )?;
        let how = waiting.word();
        let row = Row::of(
            &format!("publish-latency-memory{suffix}"),
            "p99 of the acknowledged publish of 1 KiB at a tenth of the peak, at memory",
            has_target.then_some(Target::AtMost(3.0)),
            Side::new(format!("Hulse at {rate} messages/s, {how}"), "us", ours),
            Side::new(format!("a ping-pong of 64 bytes, {how}"), "us", theirs),
        );
        rows.push(row.note(late(&all)));
    }
    Ok(rows)
}

/// Publishing at `disk` against syncs and a ping-pong.
///
/// # Errors
/// When either side fails.
pub(crate) fn durable(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (waiting, suffix, has_target) in WAYS {
        let broker = lab.program.broker(waiting)?;
        let (rate, words) = tenth(lab, &broker, "disk", waiting)?;
        let mut all = Vec::new();
        let round_bytes = Cell::new(0);
        let (ours, theirs) = lab.in_turn(
            |round| {
                let before = broker.work()?;
                let produced: Produced =
                    broker.run(&format!("bench produce latency-{round} {words}"))?;
                round_bytes.set(broker.work()?.round_bytes_since(&before));
                all.push(produced);
                Ok(produced.latency.p99_us as f64)
            },
            |_| {
                let pages = round_bytes.get().div_ceil(PIECE_BYTES_MIN).max(1);
                let piece = usize::try_from(pages * PIECE_BYTES_MIN).unwrap_or(usize::MAX);
                let syncs = Disk::new(&lab.program.files, FILE_BYTES, piece)?.syncs(lab.time())?;
                let times = ping_pong::times(lab.time(), waiting, &lab.program.processors)?;
                Ok(2.0 * p99_us(&syncs) + p99_us(&times))
            },
        )?;
        let how = waiting.word();
        let row = Row::of(
            &format!("publish-latency-disk{suffix}"),
            "p99 of the acknowledged publish of 1 KiB at a tenth of the peak, at disk",
            has_target.then_some(Target::AtMost(1.0)),
            Side::new(format!("Hulse at {rate} messages/s, {how}"), "us", ours),
            Side::new(
                format!(
                    "2 x the p99 of a write of {} KiB with fdatasync, and the p99 of a ping-pong, \
                     {how}",
                    round_bytes.get().div_ceil(1024)
                ),
                "us",
                theirs,
            ),
        );
        rows.push(row.note(late(&all)));
    }
    Ok(rows)
}

/// From producing to receiving, against publishing, of the same messages.
///
/// # Errors
/// When the load fails.
pub(crate) fn end_to_end(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for ack in ["memory", "disk"] {
        for (waiting, suffix, has_target) in WAYS {
            let broker = lab.program.broker(waiting)?;
            let (rate, words) = tenth(lab, &broker, ack, waiting)?;
            let (mut ours, mut publish, mut all) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..lab.scale.rounds {
                let run: EndToEnd = broker.run(&format!("bench end-to-end e-{round} {words}"))?;
                ours.push(run.consumed.latency.p99_us as f64);
                publish.push(run.produced.latency.p99_us as f64);
                all.push(run.produced);
            }
            let how = waiting.word();
            let row = Row::of(
                &format!("end-to-end-{ack}{suffix}"),
                &format!("p99 from producing to receiving 1 KiB at a tenth of the peak, at {ack}"),
                has_target.then_some(Target::AtMost(2.0)),
                Side::new(format!("Hulse at {rate} messages/s, {how}"), "us", ours),
                Side::new("the publish p99 of the same messages", "us", publish),
            );
            rows.push(row.note(late(&all)));
        }
    }
    Ok(rows)
}
