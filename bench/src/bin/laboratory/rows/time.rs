//! How figures change with what has gathered and with how long a broker runs.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::Lab;
use crate::result::{Curve, Line};
use crate::rows::curves::axis;

/// Backlogs, in GiB; the quick ones in hundreds of MiB.
const BACKLOGS: [u32; 5] = [1, 2, 4, 8, 16];
/// Messages a second of the load that goes on for long, and their size in bytes.
const STEADY: (u32, u32) = (5_000, 256);
/// How often the broker is looked at meanwhile, in a run of any length.
const LOOKS: u32 = 60;
/// The part of a run in which buffers and tables still grow to their size.
const SETTLING: f64 = 0.2;

/// What a message and a restart cost, against what was stored before.
///
/// # Errors
/// When the load fails.
pub(crate) fn backlog(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    let mut broker = lab.program.broker(Waiting::Sleeping)?;
    let step: u32 = if lab.scale.quick { 1 << 4 } else { 1 << 20 };
    let (mut stored, mut costs, mut restarts) = (0, Vec::new(), Vec::new());
    for backlog in BACKLOGS {
        // The last of the messages on the way to each backlog are those that count.
        let (before, counted) = (
            (backlog - stored) * step * 7 / 8,
            (backlog - stored) * step / 8,
        );
        produce(&broker, before)?;
        let work = broker.work()?;
        produce(&broker, counted)?;
        costs.push((f64::from(backlog), broker.work()?.cpu_us_since(&work)));
        restarts.push((f64::from(backlog), broker.restart()?.as_secs_f64() * 1e3));
        stored = backlog;
    }
    let curve = |name: &str, title: &str, y: &str, points| Curve {
        name: name.to_owned(),
        title: title.to_owned(),
        x: axis("GiB stored before", true),
        y: axis(y, false),
        lines: vec![line("Hulse", points)],
        note: "one core, memory, 1 KiB messages, batches of 1,000, one partition".to_owned(),
    };
    Ok(vec![
        curve(
            "cost-against-backlog",
            "The broker's cost of a message against the backlog",
            "us of processor time",
            costs,
        ),
        curve(
            "restart-against-backlog",
            "Stop and start of a broker against the backlog",
            "ms until it serves",
            restarts,
        ),
    ])
}

fn produce(broker: &Broker, messages: u32) -> Result<(), Failure> {
    let line = format!("bench produce backlog --ack memory --messages {messages} --warmup 0");
    broker.run::<Value>(&line).map(drop)
}

/// Memory and open files of a broker that a steady load keeps busy for `--soak` minutes.
///
/// # Errors
/// When the load fails.
pub(crate) fn soak(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let length = if lab.scale.quick {
        Duration::from_secs(6)
    } else {
        Duration::from_secs(60) * lab.scale.soak_minutes
    };
    let (rate, size) = STEADY;
    let load = format!(
        "bench end-to-end steady --ack disk --partitions 4 --producers 2 --rate {rate} --size {size} \
         --duration {} --warmup 0",
        length.as_secs()
    );
    let (mut memory, mut files) = (Vec::new(), Vec::new());
    let began = Instant::now();
    thread::scope(|scope| {
        let running = scope.spawn(|| broker.run::<Value>(&load));
        while !running.is_finished() {
            thread::sleep(length / LOOKS);
            let minutes = began.elapsed().as_secs_f64() / 60.0;
            memory.push((minutes, broker.memory()? as f64 / f64::from(1 << 20)));
            files.push((minutes, broker.open_files()? as f64));
        }
        running
            .join()
            .unwrap_or_else(|_| Err(Failure::new("the load's thread fails")))
    })?;
    let curve = |name: &str, title: &str, y: &str, points: Vec<(f64, f64)>| Curve {
        name: name.to_owned(),
        title: title.to_owned(),
        x: axis("minutes", false),
        y: axis(y, false),
        note: format!(
            "one core, disk, {rate} messages of {size} bytes a second, two producers, four \
             partitions, one consumer each; {}",
            growth(&points)
        ),
        lines: vec![line("Hulse", points)],
    };
    Ok(vec![
        curve(
            "memory-against-uptime",
            "A broker's own memory against its uptime",
            "MiB",
            memory,
        ),
        curve(
            "files-against-uptime",
            "A broker's open files against its uptime",
            "open files",
            files,
        ),
    ])
}

/// What the last fifth of a run took on average, and what the one after the settling did.
fn growth(points: &[(f64, f64)]) -> String {
    let end = points.last().map_or(0.0, |point| point.0);
    let mean = |from: f64, to: f64| {
        let chosen = points
            .iter()
            .filter(|(x, _)| (from * end..=to * end).contains(x));
        let (sum, count) = chosen.fold((0.0, 0.0), |(sum, count), (_, y)| (sum + y, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let (early, late) = (mean(SETTLING, 2.0 * SETTLING), mean(1.0 - SETTLING, 1.0));
    format!("{early:.1} on average in the second fifth of the time, {late:.1} in the last")
}

fn line(name: &str, points: Vec<(f64, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_by_fifths() {
        let points: Vec<_> = (0..=10)
            .map(|at| (f64::from(at), f64::from(at * 2)))
            .collect();
        assert_eq!(
            growth(&points),
            "6.0 on average in the second fifth of the time, 18.0 in the last"
        );
        assert!(growth(&[]).starts_with("0.0 "));
    }
}
