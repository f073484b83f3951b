//! Hulse beside Redis and NATS, which run in turn with it: unbatched publishes.

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{Lab, Produced, WAYS};
use crate::peers::nats::Nats;
use crate::peers::redis::{Added, Redis, Sync};
use crate::result::{Row, Side};
use crate::target::{Target, median};

/// A load of Hulse's beside one of Redis.
struct OneByOne {
    name: &'static str,
    work: &'static str,
    /// Of `hulse bench produce`.
    load: &'static str,
    messages: fn(&Lab) -> u64,
    sync: Sync,
    connections: u32,
    pipeline: u32,
    target: Target,
}

/// Beside Redis, in turn.
///
/// # Errors
/// When either side fails.
pub(crate) fn redis(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let rows = [
        OneByOne {
            name: "redis-disk-one",
            work: "disk, 1 KiB, one message at a time, one producer",
            load: "--ack disk --batch 1 --window 1",
            messages: |lab| lab.few_messages() / 2,
            sync: Sync::Always,
            connections: 1,
            pipeline: 1,
            target: Target::AtLeast(1.2),
        },
        OneByOne {
            name: "redis-disk-50",
            work: "disk, 1 KiB, one message at a time, 50 producers",
            load: "--ack disk --batch 1 --window 1 --producers 50",
            messages: |lab| lab.few_messages() * 5,
            sync: Sync::Always,
            connections: 50,
            pipeline: 1,
            target: Target::AtLeast(1.5),
        },
        OneByOne {
            name: "redis-pipelined",
            work: "memory, 1 KiB, unbatched and pipelined from one connection",
            load: "--ack memory --batch 1 --window 256",
            messages: |lab| lab.few_messages() * 10,
            sync: Sync::EverySecond,
            connections: 1,
            pipeline: 100,
            target: Target::AtLeast(2.5),
        },
        OneByOne {
            name: "redis-memory-one",
            work: "memory, 1 KiB, one message at a time, one producer",
            load: "--ack memory --batch 1 --window 1",
            messages: Lab::few_messages,
            sync: Sync::EverySecond,
            connections: 1,
            pipeline: 1,
            target: Target::Ahead,
        },
    ];
    let mut made = Vec::new();
    for row in &rows {
        // Where much is on the way nobody waits to be woken, so there is one way to measure it.
        let ways = if row.pipeline > 1 || row.connections > 1 {
            vec![(Waiting::Sleeping, "", true)]
        } else {
            WAYS.to_vec()
        };
        for way in ways {
            made.push(beside_redis(lab, row, way)?);
        }
    }
    Ok(made)
}

fn beside_redis(
    lab: &Lab,
    row: &OneByOne,
    (waiting, suffix, has_target): (Waiting, &str, bool),
) -> Result<Row, Failure> {
    let redis = Redis::start(lab, row.sync)?;
    let broker = lab.program.broker(waiting)?;
    let messages = (row.messages)(lab);
    let mut ours_us = Vec::new();
    let mut theirs_ms: Vec<Added> = Vec::new();
    let (ours, theirs) = lab.in_turn(
        |round| {
            let produced = unbatched(lab, &broker, &format!("one-{round}"), row.load, messages)?;
            ours_us.push(produced);
            Ok(produced.messages_per_second)
        },
        |_| {
            let added = redis.add(messages, row.connections, row.pipeline)?;
            theirs_ms.push(added);
            Ok(added.per_second)
        },
    )?;
    let unit = "messages/s";
    let made = Row::of(
        &format!("{}{suffix}", row.name),
        row.work,
        has_target.then_some(row.target),
        Side::new(format!("Hulse, one core, {}", waiting.word()), unit, ours),
        Side::new(
            format!(
                "Redis {}, appendfsync {}, {} connections, pipeline {}",
                redis.version,
                match row.sync {
                    Sync::Always => "always",
                    Sync::EverySecond => "everysec",
                },
                row.connections,
                row.pipeline
            ),
            unit,
            theirs,
        ),
    );
    let us = |pick: fn(&Produced) -> u64| {
        median(
            &ours_us
                .iter()
                .map(|one| pick(one) as f64)
                .collect::<Vec<_>>(),
        )
    };
    let ms =
        |pick: fn(&Added) -> f64| median(&theirs_ms.iter().map(pick).collect::<Vec<_>>()) * 1e3;
    Ok(made.note(format!(
        "p50 {:.0} us and p99 {:.0} us against {:.0} us and {:.0} us.",
        us(|one| one.latency.p50_us),
        us(|one| one.latency.p99_us),
        ms(|one| one.p50_ms),
        ms(|one| one.p99_ms),
    )))
}

fn unbatched(
    lab: &Lab,
    broker: &Broker,
    topic: &str,
    load: &str,
    messages: u64,
) -> Result<Produced, Failure> {
    let spin = match broker.waiting() {
        Waiting::Spinning => "--spin",
        Waiting::Sleeping => "",
    };
    let warmup = lab.warmup();
    let produced = broker.run(&format!(
        "bench produce {topic} {load} --size 1024 --messages {messages} --warmup {warmup} {spin}"
    ))?;
    broker.delete(topic)?;
    Ok(produced)
}

/// Beside NATS JetStream, in turn.
///
/// # Errors
/// When either side fails.
pub(crate) fn nats(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let nats = Nats::start(lab)?;
    let broker = lab.program.broker(Waiting::Sleeping)?;
    let messages = lab.few_messages() * 10;
    let (mut ours_us, mut theirs_us) = (Vec::new(), Vec::new());
    let (ours, theirs) = lab.in_turn(
        |round| {
            let load = "--ack memory --batch 1 --window 256";
            let produced = unbatched(lab, &broker, &format!("one-{round}"), load, messages)?;
            ours_us.push(produced.latency.p99_us as f64);
            Ok(produced.messages_per_second)
        },
        |_| {
            let published = nats.publish(messages, 256)?;
            theirs_us.push(published.p99_us);
            Ok(published.per_second)
        },
    )?;
    let unit = "messages/s";
    let row = Row::of(
        "nats-pipelined",
        "memory, 1 KiB, unbatched and pipelined from one connection",
        Some(Target::AtLeast(2.5)),
        Side::new("Hulse, one core", unit, ours),
        Side::new(
            format!("NATS {}, JetStream in files, 256 on the way", nats.version),
            unit,
            theirs,
        ),
    );
    Ok(vec![row.note(format!(
        "p99 {:.0} us against {:.0} us.",
        median(&ours_us),
        median(&theirs_us)
    ))])
}
