//! `hulse bench end-to-end`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use hulse_client::{Client, Consumer, MessageId, Received, StartFrom};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::conditions::Conditions;
use super::latency::{Latencies, Percentiles};
use super::load::{Load, LoadArgs};
use super::produce::{Produced, begin, produced, producers};
use super::sender::Counted;
use super::stamp::{STAMP_BYTES, Stamp};
use super::workers::{Gate, Role, Running, Workers};
use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::config::ClientSettings;
use crate::exit::{Failure, Outcome};
use crate::progress;
use crate::topic::show;

/// The most messages that are taken at a time.
const BATCH_MESSAGES: usize = 4096;
/// For how long nothing may come while something is missing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a consumer looks whether everything has come.
const LOOK: Duration = Duration::from_millis(20);

/// Flags of `hulse bench end-to-end`.
#[derive(Debug, Args)]
pub(crate) struct EndToEndArgs {
    #[command(flatten)]
    load: LoadArgs,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    conditions: Conditions,
    #[serde(flatten)]
    load: Load,
    produced: Produced,
    consumers: usize,
    consumed: Consumed,
}

/// What was measured at the consumers.
#[derive(Debug, Serialize)]
struct Consumed {
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    megabytes_per_second: f64,
    /// From the moment that a message was due (open loop) or that there was room for it (closed)
    /// to when a consumer had it.
    latency: Percentiles,
}

/// What a role of the load gives in the end.
enum Part {
    Produced(Counted),
    Consumed(Arrived),
}

impl From<Counted> for Part {
    fn from(counted: Counted) -> Self {
        Self::Produced(counted)
    }
}

/// What has come.
struct Arrived {
    messages: u64,
    latencies: Latencies,
    last: Option<Instant>,
}

/// How far all parts of the load are.
#[derive(Debug, Default)]
struct Progress {
    /// Producers that are done.
    done: AtomicU64,
    /// Messages that count which those have sent.
    sent: AtomicU64,
    /// Messages that count which have come.
    come: AtomicU64,
}

impl Progress {
    fn done(&self, messages: u64) {
        self.sent.fetch_add(messages, Ordering::Relaxed);
        // Whoever sees the last producer done sees what all of them have sent.
        self.done.fetch_add(1, Ordering::Release);
    }

    /// Whether all of so many producers are done, and everything has come.
    fn complete(&self, producers: u32) -> bool {
        self.done.load(Ordering::Acquire) == u64::from(producers)
            && self.come.load(Ordering::Relaxed) >= self.sent.load(Ordering::Relaxed)
    }
}

/// One consumer and what it has to know.
struct Receiver {
    consumer: Consumer,
    stamp: Stamp,
    progress: Arc<Progress>,
    producers: u32,
}

/// Measures and prints.
///
/// # Errors
/// When no server can be reached, a message fails, or one does not come.
pub(crate) fn run(args: &EndToEndArgs, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let load = &args.load;
    if load.size < STAMP_BYTES {
        return Err(Failure::usage(format_args!(
            "--size must be at least {STAMP_BYTES}: the message says when it was due"
        )));
    }
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let run = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    let subscription = format!("hulse-bench-{}-{run}", std::process::id());
    block_on(unless_interrupted(async {
        let client = connect(&settings, settings.stream_patience()).await?;
        let (topics, broker) = load.prepare(&client).await?;
        let conditions = Conditions::new(&topics, &broker)?;
        let measured = measure(load, &settings, Stamp::new(run), &subscription, conditions).await;
        // The subscriptions are this command's own, so they go whatever came of it.
        let admin = client.admin();
        let mut deleted = Ok(());
        for topic in load.names() {
            let one = admin.delete_subscription(&topic, &subscription).await;
            deleted = deleted.and(one);
        }
        let measured = measured?;
        deleted?;
        show(&measured, common.json, text)
    }))
}

async fn measure(
    load: &LoadArgs,
    settings: &ClientSettings,
    stamp: Stamp,
    subscription: &str,
    conditions: Conditions,
) -> Result<Measured, Failure> {
    let bar = progress::spinner("connecting");
    let progress = Arc::new(Progress::default());
    let mut roles = consumers(load, settings, stamp, subscription, &progress);
    let consumers = roles.len();
    let telling = |role: Role<Part>| telling(role, Arc::clone(&progress));
    roles.extend(
        producers(load, settings, Some(stamp))
            .into_iter()
            .map(telling),
    );
    let mut workers = Workers::start(roles, load.spin)?;
    workers.ready().await?;
    let threads = workers.threads();
    let from = begin(&workers, load, &bar).await;
    let mut counted = Counted::new();
    let mut arrived = Arrived::new();
    for part in workers.results().await? {
        match part {
            Part::Produced(part) => counted.add(&part),
            Part::Consumed(part) => arrived.add(&part),
        }
    }
    bar.finish_and_clear();
    Ok(Measured {
        conditions,
        load: load.told(threads),
        produced: produced(load, from, &counted),
        consumers,
        consumed: consumed(load, from, &arrived),
    })
}

/// A producer that says when it is done.
fn telling(role: Role<Part>, progress: Arc<Progress>) -> Role<Part> {
    Box::new(move |gate| {
        Box::pin(async move {
            let part = role(gate).await?;
            if let Part::Produced(counted) = &part {
                progress.done(counted.messages);
            }
            Ok(part)
        })
    })
}

/// One consumer for each topic.
fn consumers(
    load: &LoadArgs,
    settings: &ClientSettings,
    stamp: Stamp,
    subscription: &str,
    progress: &Arc<Progress>,
) -> Vec<Role<Part>> {
    let producers = load.producers;
    let role = |topic: String| -> Role<Part> {
        let (settings, subscription) = (settings.clone(), subscription.to_owned());
        let progress = Arc::clone(progress);
        let role = move |gate: Gate| -> Running<Part> {
            Box::pin(async move {
                let client: Client = connect(&settings, settings.stream_patience()).await?;
                let consumer = client.consumer(&topic, &subscription);
                let receiver = Receiver {
                    consumer: consumer.start(StartFrom::Latest).build().await?,
                    stamp,
                    progress,
                    producers,
                };
                gate.pass().await?;
                let received = receiver.run().await;
                receiver.consumer.close().await?;
                Ok(Part::Consumed(received?))
            })
        };
        Box::new(role)
    };
    load.names().into_iter().map(role).collect()
}

impl Receiver {
    async fn run(&self) -> Result<Arrived, Failure> {
        let mut arrived = Arrived::new();
        let mut last = Instant::now();
        while !self.progress.complete(self.producers) {
            let Ok(messages) = timeout(LOOK, self.consumer.receive_many(BATCH_MESSAGES)).await
            else {
                let done = self.progress.done.load(Ordering::Acquire);
                if done == u64::from(self.producers) && last.elapsed() > PATIENCE {
                    return Err(Failure::failed(format_args!(
                        "only {} of {} messages have come",
                        self.progress.come.load(Ordering::Relaxed),
                        self.progress.sent.load(Ordering::Relaxed)
                    )));
                }
                continue;
            };
            last = Instant::now();
            let messages = messages?;
            let come = arrived.take(&messages, self.stamp, last);
            self.progress.come.fetch_add(come, Ordering::Relaxed);
            let newest: BTreeMap<i32, MessageId> = messages
                .iter()
                .map(|message| (message.partition(), message.message_id()))
                .collect();
            for id in newest.values() {
                self.consumer.acknowledge_cumulative(id)?;
            }
        }
        Ok(arrived)
    }
}

impl Arrived {
    fn new() -> Self {
        Self {
            messages: 0,
            latencies: Latencies::new(),
            last: None,
        }
    }

    /// Counts messages that came at `now`; gives how many of them count.
    fn take(&mut self, messages: &[Received], stamp: Stamp, now: Instant) -> u64 {
        let stamps = messages
            .iter()
            .filter_map(|message| stamp.read(message.value()));
        let mut come = 0;
        for stamped in stamps.filter(|stamped| stamped.counts) {
            self.latencies
                .record(now.saturating_duration_since(stamped.due));
            come += 1;
        }
        if come > 0 {
            self.messages += come;
            self.last = Some(now);
        }
        come
    }

    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.latencies.add(&other.latencies);
        self.last = self.last.max(other.last);
    }
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
fn consumed(load: &LoadArgs, from: Instant, arrived: &Arrived) -> Consumed {
    let span = arrived
        .last
        .map(|last| last.saturating_duration_since(from));
    let seconds = span.unwrap_or_default().as_secs_f64().max(1e-6);
    let messages = arrived.messages as f64;
    Consumed {
        seconds,
        messages: arrived.messages,
        messages_per_second: messages / seconds,
        megabytes_per_second: messages * f64::from(load.size) / seconds / 1e6,
        latency: arrived.latencies.percentiles(),
    }
}

fn text(measured: &Measured) -> String {
    let Measured {
        conditions,
        load,
        produced,
        consumers,
        consumed,
    } = measured;
    format!(
        "{conditions}\n{load}\n{produced}\n{consumers} consumers, acknowledging cumulatively: \
         {} messages in {:.2} s: {:.0} messages/s, {:.1} MB/s\nlatency end to end:             \
         {}\n",
        consumed.messages,
        consumed.seconds,
        consumed.messages_per_second,
        consumed.megabytes_per_second,
        consumed.latency,
    )
}
