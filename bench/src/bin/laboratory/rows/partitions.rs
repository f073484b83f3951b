//! What many partitions cost.

use std::time::Duration;

use serde_json::Value;

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{Lab, Produced};
use crate::result::{Row, Side, figure};
use crate::target::{Target, median};

/// Partitions of a topic here: below the limit of the streams of one connection.
const TOPIC_PARTITIONS: u32 = 1000;
/// What an idle partition may take.
const MEMORY_BYTES: f64 = 32.0 * 1024.0;
const DISK_BYTES: f64 = 64.0 * 1024.0;
/// What "restart in seconds" is taken for.
const RESTART: Duration = Duration::from_secs(10);

/// The topics that so many partitions make, and the partitions of each.
pub(crate) fn shape(partitions: u32) -> (u32, u32) {
    let topics = partitions.div_ceil(TOPIC_PARTITIONS).max(1);
    (topics, partitions.div_ceil(topics).max(1))
}

/// What partitions take that hold one message each and are left alone.
///
/// # Errors
/// When the load fails.
pub(crate) fn idle(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut broker = lab.program.broker(Waiting::Sleeping)?;
    let (topics, each) = shape(lab.scale.partitions);
    let count = f64::from(topics * each);
    let (memory, disk) = (broker.memory()?, broker.disk()?);
    let line = format!(
        "bench produce idle --topics {topics} --partitions {each} --producers {topics} --batch 1 \
         --messages {} --warmup 0 --ack disk",
        topics * each
    );
    let _: Value = broker.run(&line)?;
    let grown = |now: u64, before: u64| now.saturating_sub(before) as f64 / count;
    let of_memory = grown(broker.memory()?, memory);
    let of_disk = grown(broker.disk()?, disk);
    let restart = broker.restart()?;
    let after = grown(broker.memory()?, memory);
    let idle = format!("{} idle partitions on one core", figure(count));
    let row = |name: &str, what: &str, unit: &str, ours: f64, allowed: f64| {
        Row::of(
            name,
            &format!("{what} of {idle}, with one message in each"),
            Some(Target::AtMost(1.0)),
            Side::new("Hulse", unit, vec![ours]),
            Side::new("what is allowed", unit, vec![allowed]),
        )
    };
    let unit = "bytes each";
    Ok(vec![
        row("idle-memory", "memory", unit, of_memory, MEMORY_BYTES)
            .note(format!("After a restart {} bytes each.", figure(after))),
        row("idle-disk", "disk space", unit, of_disk, DISK_BYTES),
        row(
            "idle-restart",
            "restart",
            "s",
            restart.as_secs_f64(),
            RESTART.as_secs_f64(),
        )
        .note("The bound is our reading of \"in seconds\"."),
    ])
}

/// One load over so many partitions.
///
/// # Errors
/// When the load fails.
fn spread(
    lab: &Lab,
    broker: &Broker,
    partitions: u32,
    producers: u32,
    name: &str,
) -> Result<(f64, f64), Failure> {
    let (topics, each) = shape(partitions);
    // Every partition gets a few rounds of 16 KiB.
    let messages = lab.messages(1024).max(u64::from(partitions) * 16 * 2);
    let before = broker.work()?;
    let produced: Produced = broker.run(&format!(
        "bench produce {name} --topics {topics} --partitions {each} --producers {producers} \
         --size 1024 --batch 16 --window 1000 --messages {messages} --warmup 0 --ack memory"
    ))?;
    let cpu_us = broker.work()?.cpu_us_since(&before);
    for topic in 0..topics {
        broker.delete(&format!("{name}-{topic}"))?;
    }
    Ok((produced.megabytes_per_second, cpu_us))
}

/// Ingest into many partitions against ingest into one, 16 KiB at a time.
///
/// # Errors
/// When the load fails.
pub(crate) fn active(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let partitions = lab.scale.partitions;
    let (topics, each) = shape(partitions);
    let (mut cpu_many, mut cpu_one) = (Vec::new(), Vec::new());
    let (ours, theirs) = lab.in_turn(
        |round| {
            let name = format!("many-{round}");
            let (rate, cpu_us) = spread(lab, &broker, partitions, topics, &name)?;
            cpu_many.push(cpu_us);
            Ok(rate)
        },
        |round| {
            let (rate, cpu_us) = spread(lab, &broker, 1, topics, &format!("one-{round}"))?;
            cpu_one.push(cpu_us);
            Ok(rate)
        },
    )?;
    let row = Row::of(
        "active-partitions",
        &format!(
            "ingest at memory into {} partitions, 16 KiB for each at a time",
            figure(f64::from(topics * each))
        ),
        Some(Target::AtLeast(0.7)),
        Side::new(format!("Hulse, {topics} producers"), "MB/s", ours),
        Side::new("Hulse, as many producers to one partition", "MB/s", theirs),
    );
    Ok(vec![row.note(format!(
        "{:.2} us of the broker's processor time a message against {:.2} us.",
        median(&cpu_many),
        median(&cpu_one)
    ))])
}

/// What a message costs the broker when there are so many partitions, in microseconds.
///
/// # Errors
/// When the load fails.
pub(crate) fn cost(lab: &Lab, broker: &Broker, partitions: u32) -> Result<f64, Failure> {
    let (topics, _) = shape(partitions);
    let name = format!("cost-{partitions}");
    spread(lab, broker, partitions, topics, &name).map(|(_, cpu_us)| cpu_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_share_the_partitions_evenly() {
        for (partitions, expected) in [
            (1, (1, 1)),
            (1000, (1, 1000)),
            (1001, (2, 501)),
            (10_000, (10, 1000)),
        ] {
            assert_eq!(shape(partitions), expected);
        }
    }
}
