//! What subscriptions cost: many at rest, many consumers, and what is acknowledged out of order.

use std::collections::VecDeque;

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_model::{EntryHeader, Offset, TopicName};
use hulse_wire::{
    Ack, AckKind, AckRange, Permits, Reply, Request, StartFrom, Subscribe, SubscriptionType,
};
use serde_json::Value;

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::Lab;
use crate::result::{Curve, Line, Row, Side, figure};
use crate::rows::curves::axis;
use crate::talk::Talk;
use crate::target::Target;

/// Subscriptions of one partition: below the limit of the streams of one connection.
const PARTITION_SUBSCRIPTIONS: u32 = 1000;
/// What a subscription at rest may take, in bytes.
const MEMORY_BYTES: f64 = 4.0 * 1024.0;
/// How many messages are acknowledged with one frame.
const ACKED_AT_A_TIME: usize = 1000;
/// Numbers of consumers of one subscription.
const CONSUMERS: [u32; 6] = [1, 4, 16, 64, 256, 1000];
/// Numbers of holes, and of subscriptions at rest, below or beside what is measured.
const HOLES: [u64; 5] = [0, 1_000, 10_000, 100_000, 1_000_000];
const RESTING: [u32; 5] = [0, 100, 1_000, 10_000, 100_000];

/// What subscriptions take that are left alone.
///
/// # Errors
/// When the broker refuses one.
pub(crate) fn idle(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let partitions = if lab.scale.quick { 2 } else { 100 };
    let count = f64::from(partitions * PARTITION_SUBSCRIPTIONS);
    let mut broker = lab.program.broker(Waiting::Sleeping)?;
    let line = format!(
        "bench produce rest --partitions {partitions} --batch 1 --messages {partitions} \
         --warmup 0 --ack disk"
    );
    let _: Value = broker.run(&line)?;
    let before = broker.memory()?;
    let mut talk = Talk::open(&broker)?;
    for partition in 0..partitions {
        rest(
            &mut talk,
            "rest",
            number_of(partition, partitions),
            0..PARTITION_SUBSCRIPTIONS,
        )?;
    }
    drop(talk);
    let memory = broker.memory()?.saturating_sub(before) as f64 / count;
    let restart = broker.restart()?;
    let after = broker.memory()? as f64 / count;
    let row = Row::of(
        "idle-subscriptions",
        &format!(
            "memory of {} subscriptions at rest, over {partitions} partitions of one core",
            figure(count)
        ),
        Some(Target::AtMost(1.0)),
        Side::new("Hulse", "bytes each", vec![memory]),
        Side::new("what is allowed", "bytes each", vec![MEMORY_BYTES]),
    );
    Ok(vec![row.note(format!(
        "After a restart, which took {:.1} s, {} bytes each, with everything else that the broker \
         holds.",
        restart.as_secs_f64(),
        figure(after)
    ))])
}

/// The number of a partition as the protocol has it.
fn number_of(partition: u32, partitions: u32) -> i32 {
    if partitions == 1 {
        return -1;
    }
    i32::try_from(partition).expect("there are few")
}

/// Makes subscriptions of these numbers and leaves them alone.
fn rest(
    talk: &mut Talk,
    topic: &str,
    partition: i32,
    numbers: std::ops::Range<u32>,
) -> Result<(), Failure> {
    for number in numbers.clone() {
        let name = format!("rest-{number}");
        let kind = SubscriptionType::Exclusive;
        subscribe(talk, number + 1, (topic, partition), &name, kind, 0)?;
    }
    for _ in numbers.clone() {
        talk.hear(|_, reply| matches!(reply, Reply::Subscribed(_)).then_some(()))?;
    }
    for number in numbers.clone() {
        talk.say(number + 1, 1, &Request::Close)?;
    }
    for _ in numbers {
        talk.hear(|_, reply| matches!(reply, Reply::Closed).then_some(()))?;
    }
    Ok(())
}

fn subscribe(
    talk: &mut Talk,
    stream: u32,
    (topic, partition): (&str, i32),
    subscription: &str,
    kind: SubscriptionType,
    permits: u32,
) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let topic: TopicName = topic.parse().map_err(|error| wrong(&error))?;
    let request = Request::Subscribe(Subscribe {
        topic,
        partition,
        subscription: subscription.parse().map_err(|error| wrong(&error))?,
        kind,
        start: StartFrom::Earliest,
        consumer: "laboratory",
        permits,
        priority: 0,
        member: 0,
        durable: true,
    });
    talk.say(stream, 1, &request)
}

/// A consumer of a topic without partitions that has as many permits as it may.
struct Reader {
    talk: Talk,
    /// What was delivered while an answer was waited for.
    waiting: VecDeque<Offset>,
    got: u64,
    /// Acknowledgements that were sent and answered.
    asked: u64,
    answered: u64,
}

impl Reader {
    fn open(broker: &Broker, topic: &str) -> Result<Self, Failure> {
        let mut talk = Talk::open(broker)?;
        let kind = SubscriptionType::Exclusive;
        subscribe(&mut talk, 1, (topic, -1), "s", kind, CONSUMER_PERMITS_MAX)?;
        talk.hear(|_, reply| matches!(reply, Reply::Subscribed(_)).then_some(()))?;
        Ok(Self {
            talk,
            waiting: VecDeque::new(),
            got: 0,
            asked: 0,
            answered: 0,
        })
    }

    /// Receives so many messages, each an entry of its own, and acknowledges one in `step` of them,
    /// so many with each frame. Comes back when the last of them is durable. Gives how many it has
    /// acknowledged.
    fn acknowledge(&mut self, messages: u64, step: u64) -> Result<u64, Failure> {
        let (mut ranges, mut acknowledged) = (Vec::new(), 0);
        for number in 1..=messages {
            while self.waiting.is_empty() {
                self.hear()?;
            }
            let offset = self.waiting.pop_front().expect("it is not empty");
            self.got += 1;
            if self.got.is_multiple_of(u64::from(CONSUMER_PERMITS_MAX) / 2) {
                let messages = CONSUMER_PERMITS_MAX / 2;
                self.talk
                    .say(1, 0, &Request::Permits(Permits { messages }))?;
            }
            if number % step == 0 {
                ranges.push(AckRange::entry(offset));
            }
            let last = number == messages;
            if ranges.len() == ACKED_AT_A_TIME || (last && !ranges.is_empty()) {
                acknowledged += ranges.len() as u64;
                self.asked += 1;
                let ack = Ack {
                    kind: AckKind::Individual,
                    ranges: ranges.as_slice().into(),
                };
                self.talk.say(1, self.asked, &Request::Ack(ack))?;
                ranges.clear();
            }
        }
        while self.answered < self.asked {
            self.hear()?;
        }
        Ok(acknowledged)
    }

    /// Takes the next delivery or answer.
    fn hear(&mut self) -> Result<(), Failure> {
        let delivered = self.talk.hear(|_, reply| match reply {
            Reply::Deliver(deliver) => {
                let header = EntryHeader::decode(deliver.entry);
                header.ok().map(|header| Some(header.offset))
            }
            Reply::Acked => Some(None),
            _ => None,
        })?;
        match delivered {
            Some(offset) => self.waiting.push_back(offset),
            None => self.answered += 1,
        }
        Ok(())
    }
}

/// Puts so many small messages into a topic, each an entry of its own.
fn fill(broker: &Broker, topic: &str, messages: u64) -> Result<(), Failure> {
    let line = format!(
        "bench produce {topic} --ack memory --size 16 --batch 1 --window 4000 --warmup 0 \
         --messages {messages}"
    );
    broker.run::<Value>(&line).map(drop)
}

/// Acknowledging every second message, so that each is a hole, against acknowledging all.
///
/// # Errors
/// When the load fails.
pub(crate) fn holes(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let holes: u64 = if lab.scale.quick { 10_000 } else { 1_000_000 };
    let mut found: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..lab.scale.rounds {
        for (step, found) in [2, 1].into_iter().zip(&mut found) {
            let mut broker = lab.program.broker(Waiting::Sleeping)?;
            fill(&broker, "holes", 2 * holes)?;
            let (memory, work) = (broker.memory()?, broker.work()?);
            let mut reader = Reader::open(&broker, "holes")?;
            let acknowledged = reader.acknowledge(2 * holes, step)?;
            drop(reader);
            let memory = broker.memory()?.saturating_sub(memory) as f64 / 1e6;
            let cost = broker.work()?.cpu_us_of(acknowledged, &work);
            let restart = broker.restart()?.as_secs_f64();
            for (figures, figure) in found.iter_mut().zip([memory, cost, restart]) {
                figures.push(figure);
            }
        }
    }
    let many = figure(holes as f64);
    let row = |name: &str, work: String, unit: &str, at: usize| {
        let side = |name: &str, step: usize| Side::new(name, unit, found[step][at].clone());
        Row::of(
            name,
            &work,
            None,
            side("every second message acknowledged", 0),
            side("all acknowledged", 1),
        )
    };
    Ok(vec![
        row(
            "holes-memory",
            format!("what the broker's memory grows by with {many} acknowledgement holes"),
            "MB",
            0,
        ),
        row(
            "holes-cost",
            format!(
                "processor time to deliver {} messages and acknowledge {many} of them, or all, \
                 for each that is acknowledged",
                figure(2.0 * holes as f64)
            ),
            "us",
            1,
        ),
        row(
            "holes-restart",
            format!("stop and start with {many} acknowledgement holes"),
            "s",
            2,
        ),
    ])
}

/// What a message costs against consumers, against holes, and against subscriptions at rest.
///
/// # Errors
/// When the load fails.
pub(crate) fn costs(lab: &Lab) -> Result<Vec<Curve>, Failure> {
    let messages = if lab.scale.quick { 10_000 } else { 500_000 };
    let most: u64 = if lab.scale.quick { 1_000 } else { u64::MAX };
    let mut by_consumers = Vec::new();
    for count in CONSUMERS {
        let broker = lab.program.broker(Waiting::Sleeping)?;
        fill(&broker, "crowd", messages)?;
        let work = broker.work()?;
        let line = format!("bench consume crowd --type shared --consumers {count}");
        let _: Value = broker.run(&line)?;
        let cost = broker.work()?.cpu_us_delivered_since(&work);
        by_consumers.push((f64::from(count), cost));
    }
    let mut by_holes = Vec::new();
    for holes in HOLES.into_iter().filter(|holes| *holes <= most) {
        let broker = lab.program.broker(Waiting::Sleeping)?;
        fill(&broker, "holes", 2 * holes + messages)?;
        let mut reader = Reader::open(&broker, "holes")?;
        reader.acknowledge(2 * holes, 2)?;
        let work = broker.work()?;
        reader.acknowledge(messages, 1)?;
        let cost = broker.work()?.cpu_us_of(messages, &work);
        by_holes.push((holes.max(1) as f64, cost));
    }
    let mut by_resting = Vec::new();
    for count in RESTING
        .into_iter()
        .filter(|count| u64::from(*count) <= most)
    {
        let broker = lab.program.broker(Waiting::Sleeping)?;
        fill(&broker, "rest", 1)?;
        let mut talk = Talk::open(&broker)?;
        for first in (0..count).step_by(PARTITION_SUBSCRIPTIONS as usize) {
            let end = count.min(first + PARTITION_SUBSCRIPTIONS);
            rest(&mut talk, "rest", -1, first..end)?;
        }
        drop(talk);
        let work = broker.work()?;
        fill(&broker, "rest", messages)?;
        Reader::open(&broker, "rest")?.acknowledge(messages, 1)?;
        let cost = broker.work()?.cpu_us_of(messages, &work);
        by_resting.push((f64::from(count.max(1)), cost));
    }
    let curve = |against: &str, x: &str, points, note: &str| Curve {
        name: format!("cost-against-{against}"),
        title: format!("The broker's cost of a message against {x}"),
        x: axis(x, true),
        y: axis("us of processor time", false),
        lines: vec![Line {
            name: "Hulse".to_owned(),
            points,
        }],
        note: format!("one core, messages of 16 bytes, each an entry of its own; {note}"),
    };
    Ok(vec![
        curve(
            "consumers",
            "consumers",
            by_consumers,
            "delivered to the consumers of one Shared subscription in turn and acknowledged one by \
             one",
        ),
        curve(
            "holes",
            "acknowledgement holes",
            by_holes,
            "delivered and acknowledged above so many holes (1 stands for none)",
        ),
        curve(
            "subscriptions",
            "subscriptions at rest",
            by_resting,
            "produced, delivered and acknowledged beside so many subscriptions of the same \
             partition that nobody consumes from (1 stands for none)",
        ),
    ])
}
