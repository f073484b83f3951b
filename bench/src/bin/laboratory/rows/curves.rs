//! How figures change with the load, with partitions and with connections.

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{Lab, Produced};
use crate::result::{Axis, Curve, Line};
use crate::rows::partitions;

/// Shares of the peak at which latency is measured.
const SHARES: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9];
/// Numbers of connections.
const CONNECTIONS: [u32; 4] = [1, 10, 100, 1000];

/// Which of the percentiles.
type Pick = fn(&Produced) -> u64;

/// Latency against load, at both levels.
///
/// # Errors
/// When the load fails.
pub(crate) fn load(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    ["memory", "disk"]
        .into_iter()
        .map(|ack| load_at(lab, ack))
        .collect()
}

fn load_at(lab: &Lab, ack: &str) -> Result<Curve, Failure> {
    let broker = lab.program.broker(Waiting::Spinning)?;
    let peak = lab.peak(&broker, ack)?;
    let (seconds, warmup) = (lab.seconds(), lab.warmup());
    let picks: [(&str, Pick); 3] = [
        ("p50", |one| one.latency.p50_us),
        ("p99", |one| one.latency.p99_us),
        ("p99.9", |one| one.latency.p999_us),
    ];
    let mut lines = picks.map(|(name, _)| Line {
        name: name.to_owned(),
        points: Vec::new(),
    });
    for share in SHARES {
        let rate = (peak * share).max(1.0).round();
        let produced: Produced = broker.run(&format!(
            "bench produce load --ack {ack} --rate {rate} --duration {seconds} --warmup {warmup} \
             --spin"
        ))?;
        broker.delete("load")?;
        for (line, (_, pick)) in lines.iter_mut().zip(picks) {
            let us = pick(&produced);
            line.points.push((rate, us as f64));
        }
    }
    Ok(Curve {
        name: format!("latency-against-load-{ack}"),
        title: format!("Publish latency against load, at {ack}"),
        x: axis("messages/s (open loop, 1 KiB)", false),
        y: axis("us", true),
        lines: lines.to_vec(),
        note: format!(
            "one core, one producer, one partition, spinning; the peak was {peak:.0} messages/s"
        ),
    })
}

/// What a message costs against the number of partitions, and against that of connections.
///
/// # Errors
/// When the load fails.
pub(crate) fn costs(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let mut counts = vec![1, 10, 100, 1000, lab.scale.partitions];
    counts.retain(|count| *count <= lab.scale.partitions);
    counts.dedup();
    let mut by_partitions = Vec::new();
    for count in counts {
        let cost = partitions::cost(lab, &broker, count)?;
        by_partitions.push((f64::from(count), cost));
    }
    let mut by_connections = Vec::new();
    for count in CONNECTIONS {
        by_connections.push((f64::from(count), connections(lab, &broker, count)?));
    }
    let curve = |name: &str, title: &str, x: &str, points, note: &str| Curve {
        name: name.to_owned(),
        title: title.to_owned(),
        x: axis(x, true),
        y: axis("us of processor time", false),
        lines: vec![Line {
            name: "Hulse".to_owned(),
            points,
        }],
        note: note.to_owned(),
    };
    Ok(vec![
        curve(
            "cost-against-partitions",
            "The broker's cost of a message against partitions",
            "partitions",
            by_partitions,
            "one core, memory, 1 KiB messages, batches of 16, spread over all partitions",
        ),
        curve(
            "cost-against-connections",
            "The broker's cost of a message against connections",
            "connections",
            by_connections,
            "one core, memory, 1 KiB messages, each connection with one message on the way",
        ),
    ])
}

fn connections(lab: &Lab, broker: &Broker, count: u32) -> Result<f64, Failure> {
    let messages = lab.few_messages() * 2;
    let before = broker.work()?;
    let _: Produced = broker.run(&format!(
        "bench produce crowd --ack memory --size 1024 --producers {count} --batch 1 --window 1 \
         --messages {messages} --warmup 0"
    ))?;
    let cost = broker.work()?.cpu_us_since(&before);
    broker.delete("crowd")?;
    Ok(cost)
}

pub(super) fn axis(label: &str, logarithmic: bool) -> Axis {
    Axis {
        label: label.to_owned(),
        logarithmic,
    }
}
