//! `hulse bench produce`.

use std::time::Duration;

use clap::Args;
use hulse_client::json::TopicDescription;
use hulse_client::{Admin, ClientError, Producer, SendHandle, Status, TopicSpec};
use hulse_model::batch::MESSAGE_HEADER_BYTES;
use hulse_model::limits::MESSAGE_BYTES_MAX;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conditions::Conditions;
use super::latency::{Latencies, Percentiles};
use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::exit::{Failure, Outcome};
use crate::produce::{Pace, rate};
use crate::progress;
use crate::topic::{Ack, show};

/// Sent messages that are looked at together.
const HANDLES_AT_ONCE: usize = 1024;
/// Bytes without a receipt that each producer may have, whatever its window.
const WINDOW_BYTES: usize = 64 * 1024 * 1024;

/// Flags of `hulse bench produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// Topic; created when it does not exist, and kept afterwards
    topic: String,
    /// What an acknowledgement means, for a topic that does not exist yet [default: disk]
    #[arg(long, value_name = "LEVEL")]
    ack: Option<Ack>,
    /// Partitions, for a topic that does not exist yet [default: a topic without partitions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
    /// Size of a message, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(0..=5_242_880)
    )]
    size: u32,
    /// The most messages of a batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    batch: u32,
    /// How many producers send at a time, each over a connection of its own
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    producers: u32,
    /// Messages per second, of all producers together, on a schedule that is fixed in advance
    /// [default: as many as there is room for]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure, in seconds
    #[arg(
        long,
        value_name = "S",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    duration: u64,
    /// Measure so many messages instead, of all producers together
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "duration",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    messages: Option<u64>,
    /// How long to send before measuring, in seconds
    #[arg(
        long,
        value_name = "S",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(0..=3_600)
    )]
    warmup: u64,
    /// Messages without a receipt that each producer may have, up to 64 MiB of them
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000)
    )]
    window: u32,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    conditions: Conditions,
    /// `open` or `closed, saturating`.
    r#loop: &'static str,
    rate_asked: Option<f64>,
    size_bytes: u32,
    batch_messages: u32,
    producers: u32,
    window_messages: u32,
    warmup_s: u64,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    megabytes_per_second: f64,
    /// From the moment that a message was due (open) or given to the client (closed) to its
    /// receipt.
    latency: Percentiles,
}

/// What is measured of the messages of one producer.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Messages that are due from here on count.
    from: Instant,
    /// Messages that are due from here on are not sent.
    until: Option<Instant>,
    /// How many that count are sent.
    messages: Option<u64>,
}

/// What came of the messages of one producer.
struct Counted {
    latencies: Latencies,
    messages: u64,
    /// When the last receipt came.
    last: Instant,
}

/// A message that is on its way.
struct Sent {
    due: Instant,
    counts: bool,
    handle: SendHandle,
}

/// Measures and prints.
///
/// # Errors
/// When no server can be reached, or a message fails.
pub(crate) fn run(args: &ProduceArgs, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    block_on(unless_interrupted(async {
        let client = connect(&settings, settings.stream_patience()).await?;
        let topic = topic(&client.admin(), args).await?;
        let conditions = Conditions::new(&topic, &client.admin().status().await?);
        let mut producers = Vec::new();
        for _ in 0..args.producers {
            // A client shares its connections, so each producer has a client of its own.
            let client = connect(&settings, settings.stream_patience()).await?;
            producers.push(producer(&client, args).await?);
        }
        let bar = progress::spinner("warming up");
        let from = Instant::now() + Duration::from_secs(args.warmup);
        let counted = measure(producers, args, from, &bar).await?;
        bar.finish_and_clear();
        show(
            &measured(args, conditions, from, &counted),
            common.json,
            text,
        )
    }))
}

/// The topic, which is created if it does not exist.
async fn topic(admin: &Admin, args: &ProduceArgs) -> Result<TopicDescription, Failure> {
    match admin.describe_topic(&args.topic).await {
        Ok(topic) => match args.ack.map(Ack::name) {
            Some(ack) if ack != topic.ack => Err(Failure::failed(format_args!(
                "the topic {} has ack={}, not {ack}; name one that does not exist yet",
                topic.name, topic.ack
            ))),
            _ => Ok(topic),
        },
        Err(error) if error.status() == Some(Status::TopicNotFound) => {
            let spec = TopicSpec {
                partitions: args.partitions.unwrap_or(0),
                ack: Ack::level(args.ack),
                ..TopicSpec::default()
            };
            Ok(admin.create_topic(&args.topic, &spec).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn producer(
    client: &hulse_client::Client,
    args: &ProduceArgs,
) -> Result<Producer, ClientError> {
    let size = args.size as usize;
    let batch_bytes = (size + MESSAGE_HEADER_BYTES).saturating_mul(args.batch as usize);
    client
        .producer(&args.topic)
        .batch_messages(args.batch)
        .batch_bytes(batch_bytes.min(MESSAGE_BYTES_MAX))
        .max_in_flight_messages(args.window as usize)
        .max_in_flight_bytes(WINDOW_BYTES)
        .build()
        .await
}

async fn measure(
    producers: Vec<Producer>,
    args: &ProduceArgs,
    from: Instant,
    bar: &ProgressBar,
) -> Result<Counted, Failure> {
    let count = u64::from(args.producers);
    let mut running = JoinSet::new();
    for (at, producer) in (0..).zip(producers) {
        let span = Span {
            from,
            until: match args.messages {
                Some(_) => None,
                None => Some(from + Duration::from_secs(args.duration)),
            },
            // The first ones take what does not divide evenly.
            messages: args
                .messages
                .map(|all| all / count + u64::from(at < all % count)),
        };
        let pace = args
            .rate
            .map(|rate| Pace::new(rate / f64::from(args.producers)));
        let (sent, handles) = mpsc::unbounded_channel();
        let payload = payload(args.size);
        running.spawn(async move {
            let sending = send(&producer, &payload, pace, span, sent);
            let (sending, counted) = tokio::join!(sending, count_receipts(handles));
            sending?;
            let counted = counted?;
            producer.close().await?;
            Ok::<_, ClientError>(counted)
        });
    }
    tokio::time::sleep_until(from).await;
    bar.set_message("measuring");
    let mut all = Counted {
        latencies: Latencies::new(),
        messages: 0,
        last: from,
    };
    while let Some(counted) = running.join_next().await {
        let counted = counted.map_err(Failure::failed)??;
        all.latencies.add(&counted.latencies);
        all.messages += counted.messages;
        all.last = all.last.max(counted.last);
    }
    Ok(all)
}

/// Sends until the span is over.
async fn send(
    producer: &Producer,
    payload: &[u8],
    mut pace: Option<Pace>,
    span: Span,
    sent: mpsc::UnboundedSender<Sent>,
) -> Result<(), ClientError> {
    let mut left = span.messages;
    while left != Some(0) {
        let due = match &mut pace {
            Some(pace) => pace.due().await,
            None => Instant::now(),
        };
        if span.until.is_some_and(|until| due >= until) {
            break;
        }
        let counts = due >= span.from;
        if counts {
            left = left.map(|left| left - 1);
        }
        let handle = producer.send(payload).await?;
        if sent
            .send(Sent {
                due,
                counts,
                handle,
            })
            .is_err()
        {
            // A message has failed; the one who counts says so.
            break;
        }
    }
    Ok(())
}

/// Waits for every receipt, in the order of sending.
async fn count_receipts(
    mut handles: mpsc::UnboundedReceiver<Sent>,
) -> Result<Counted, ClientError> {
    let mut counted = Counted {
        latencies: Latencies::new(),
        messages: 0,
        last: Instant::now(),
    };
    let mut some = Vec::with_capacity(HANDLES_AT_ONCE);
    while handles.recv_many(&mut some, HANDLES_AT_ONCE).await > 0 {
        for Sent {
            due,
            counts,
            handle,
        } in some.drain(..)
        {
            handle.await?;
            if counts {
                counted.last = Instant::now();
                counted
                    .latencies
                    .record(counted.last.saturating_duration_since(due));
                counted.messages += 1;
            }
        }
    }
    Ok(counted)
}

/// Bytes that are neither all the same nor random.
fn payload(size: u32) -> Vec<u8> {
    (0..size)
        .map(|at| b'a' + u8::try_from(at % 26).expect("it is below 26"))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
fn measured(
    args: &ProduceArgs,
    conditions: Conditions,
    from: Instant,
    counted: &Counted,
) -> Measured {
    let seconds = counted
        .last
        .saturating_duration_since(from)
        .as_secs_f64()
        .max(1e-6);
    let bytes = counted.messages as f64 * f64::from(args.size);
    Measured {
        conditions,
        r#loop: if args.rate.is_some() {
            "open"
        } else {
            "closed, saturating"
        },
        rate_asked: args.rate,
        size_bytes: args.size,
        batch_messages: args.batch,
        producers: args.producers,
        window_messages: args.window,
        warmup_s: args.warmup,
        seconds,
        messages: counted.messages,
        messages_per_second: counted.messages as f64 / seconds,
        megabytes_per_second: bytes / seconds / 1e6,
        latency: counted.latencies.percentiles(),
    }
}

fn text(measured: &Measured) -> String {
    let rate = match measured.rate_asked {
        Some(rate) => format!("open loop, {rate} messages/s asked for"),
        None => "closed loop, saturating".to_owned(),
    };
    format!(
        "{}\n{rate}; {} bytes a message, batches of up to {}, {} producers with a window of {}, \
         {} s of warm-up\n{} messages in {:.2} s: {:.0} messages/s, {:.1} MB/s\n\
         latency to the acknowledgement: {}\n",
        measured.conditions,
        measured.size_bytes,
        measured.batch_messages,
        measured.producers,
        measured.window_messages,
        measured.warmup_s,
        measured.messages,
        measured.seconds,
        measured.messages_per_second,
        measured.megabytes_per_second,
        measured.latency,
    )
}
