//! `hulse bench consume`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use hulse_client::{
    Client, ClientError, Consumer, MessageId, Received, StartFrom, SubscriptionType,
};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::conditions::Conditions;
use super::latency::{Latencies, Percentiles};
use super::workers::{Gate, Role, Running, Workers};
use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::config::ClientSettings;
use crate::consume::{Asking, Ends};
use crate::exit::{Failure, Outcome};
use crate::progress;
use crate::topic::show;

/// The most messages that are taken at a time.
const BATCH_MESSAGES: usize = 4096;
/// How long it is measured with --from latest when nothing says otherwise.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// Flags of `hulse bench consume`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConsumeArgs {
    /// Topic to read
    topic: String,
    /// Read so many topics at a time, TOPIC-0, TOPIC-1 and so on, each over a connection of its
    /// own [default: TOPIC alone]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    topics: Option<u32>,
    /// How the consumers of a topic share its messages
    #[arg(long = "type", value_name = "TYPE", default_value = "exclusive")]
    kind: Kind,
    /// So many consumers of each topic, each over a connection of its own; more than one with
    /// --type shared alone
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    consumers: u32,
    /// Where to begin: at the oldest message, or after the newest
    #[arg(long, value_name = "PLACE", default_value = "earliest")]
    from: From,
    /// End after so many messages of each topic; with one consumer alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// End after so many seconds from the first message [default: 10 with --from latest]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: Option<u64>,
    /// Keep the load's processors busy, so that their waking up is not measured; give it
    /// processors of its own
    #[arg(long)]
    spin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The oldest message that there is
    Earliest,
    /// After the newest message
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One consumer, which acknowledges cumulatively
    Exclusive,
    /// Each message to one of the consumers, which acknowledge one by one
    Shared,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    conditions: Conditions,
    #[serde(rename = "type")]
    kind: &'static str,
    from: &'static str,
    consumers: usize,
    spin: bool,
    threads: usize,
    /// From subscribing (earliest) or the first message (latest) to the last message.
    seconds: f64,
    messages: u64,
    bytes: u64,
    messages_per_second: f64,
    megabytes_per_second: f64,
    /// From when the broker stored a message to when it was received, by both machines' clocks.
    age: Percentiles,
}

/// What has been received.
struct Counted {
    messages: u64,
    bytes: u64,
    ages: Latencies,
    first: Option<Instant>,
    last: Instant,
}

/// Measures and prints.
///
/// # Errors
/// When no server can be reached, or receiving fails.
pub(crate) fn run(args: &ConsumeArgs, common: &CommonFlags) -> Outcome {
    if args.consumers > 1 && args.kind == Kind::Exclusive {
        return Err(Failure::usage(
            "several --consumers of a topic share a subscription: add --type shared",
        ));
    }
    if args.consumers > 1 && args.messages.is_some() {
        return Err(Failure::usage(
            "--messages counts what one consumer gets; with several --consumers use --duration, or \
             neither to read to the end",
        ));
    }
    let settings = common.client_settings()?;
    let subscription = format!(
        "hulse-bench-{}-{}",
        std::process::id(),
        since_1970().as_millis()
    );
    block_on(unless_interrupted(async {
        let client = connect(&settings, settings.stream_patience()).await?;
        let admin = client.admin();
        let mut topics = Vec::new();
        for name in args.names() {
            topics.push(admin.describe_topic(&name).await?);
        }
        let conditions = Conditions::new(&topics, &admin.status().await?)?;
        let measured = measure(args, &settings, &subscription, conditions).await;
        // The subscriptions are this command's own, so they go whatever came of it.
        let mut deleted = Ok(());
        for topic in args.names() {
            let one = admin.delete_subscription(&topic, &subscription).await;
            deleted = deleted.and(one);
        }
        let measured = measured?;
        deleted?;
        show(&measured, common.json, text)
    }))
}

async fn measure(
    args: &ConsumeArgs,
    settings: &ClientSettings,
    subscription: &str,
    conditions: Conditions,
) -> Result<Measured, Failure> {
    let bar = progress::spinner("receiving");
    let role = |topic: String| -> Role<Counted> {
        let (args, settings) = (args.clone(), settings.clone());
        let subscription = subscription.to_owned();
        let role = move |gate: Gate| -> Running<Counted> {
            Box::pin(async move {
                let client: Client = connect(&settings, settings.stream_patience()).await?;
                let start = match args.from {
                    From::Earliest => StartFrom::Earliest,
                    From::Latest => StartFrom::Latest,
                };
                gate.pass().await?;
                // The broker sends as soon as there is a consumer, so its making counts.
                let began = Instant::now();
                let consumer = client.consumer(&topic, &subscription).start(start);
                let consumer = match args.kind {
                    Kind::Exclusive => consumer,
                    Kind::Shared => consumer.subscription_type(SubscriptionType::Shared),
                };
                let consumer = consumer.build().await?;
                let place = Place {
                    client: &client,
                    topic: &topic,
                    subscription: &subscription,
                };
                let counted = receive(&consumer, &args, &place, began).await;
                consumer.close().await?;
                counted
            })
        };
        Box::new(role)
    };
    let names = args.names().into_iter();
    let each = names.flat_map(|name| (0..args.consumers).map(move |_| name.clone()));
    let roles: Vec<_> = each.map(role).collect();
    let consumers = roles.len();
    let mut workers = Workers::start(roles, args.spin)?;
    workers.ready().await?;
    let threads = workers.threads();
    workers.begin(Instant::now());
    let mut all: Option<Counted> = None;
    for counted in workers.results().await? {
        match &mut all {
            None => all = Some(counted),
            Some(all) => all.merge(&counted),
        }
    }
    bar.finish_and_clear();
    let counted = all.ok_or_else(|| Failure::failed("there is no topic to read"))?;
    Ok(measured(args, conditions, (consumers, threads), &counted))
}

/// What is read.
struct Place<'a> {
    client: &'a Client,
    topic: &'a str,
    subscription: &'a str,
}

impl Place<'_> {
    /// Asks the broker how far the subscription has come.
    async fn ask(&self, ends: &mut Ends) -> Result<(), ClientError> {
        let list = self.client.admin().list_subscriptions(self.topic).await?;
        let all = list.subscriptions.iter();
        for one in all.filter(|one| one.name == self.subscription) {
            ends.stands(one);
        }
        Ok(())
    }
}

/// Has done with these messages.
fn acknowledge(consumer: &Consumer, kind: Kind, messages: &[Received]) -> Result<(), ClientError> {
    match kind {
        Kind::Exclusive => {
            let last: BTreeMap<i32, MessageId> = messages
                .iter()
                .map(|message| (message.partition(), message.message_id()))
                .collect();
            last.values()
                .try_for_each(|id| consumer.acknowledge_cumulative(id))
        }
        Kind::Shared => messages
            .iter()
            .try_for_each(|message| consumer.acknowledge(&message.message_id())),
    }
}

async fn receive(
    consumer: &Consumer,
    args: &ConsumeArgs,
    place: &Place<'_>,
    began: Instant,
) -> Result<Counted, Failure> {
    let mut counted = Counted {
        messages: 0,
        bytes: 0,
        ages: Latencies::new(),
        // What came before the command began to wait is read from then on, what comes later from
        // its first message on.
        first: (args.from == From::Earliest).then_some(began),
        last: began,
    };
    let duration = match (args.duration, args.messages, args.from) {
        (Some(seconds), _, _) => Some(Duration::from_secs(seconds)),
        (None, None, From::Latest) => Some(DURATION_DEFAULT),
        (None, _, _) => None,
    };
    let to_the_end = args.from == From::Earliest && args.messages.is_none() && duration.is_none();
    let in_order = args.kind == Kind::Exclusive;
    let mut ends = to_the_end.then(|| {
        let marks = consumer.marks();
        if in_order {
            Ends::new(&marks)
        } else {
            Ends::of_many(&marks)
        }
    });
    let mut asking = Asking::new(in_order, began);
    loop {
        let left = args.messages.map_or(u64::MAX, |all| all - counted.messages);
        if left == 0 || ends.as_ref().is_some_and(Ends::reached) {
            break;
        }
        let until = counted.first.and_then(|first| Some(first + duration?));
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let at_most = usize::try_from(left)
            .unwrap_or(BATCH_MESSAGES)
            .min(BATCH_MESSAGES);
        let messages = tokio::select! {
            biased;
            () = over => break,
            () = sleep_until(asking.at()), if to_the_end && !in_order => {
                let asked = Instant::now();
                if let Some(ends) = &mut ends {
                    place.ask(ends).await?;
                }
                asking.asked(Instant::now(), asked.elapsed());
                continue;
            }
            messages = consumer.receive_many(at_most) => messages?,
        };
        counted.add(&messages, &mut ends);
        asking.received(Instant::now());
        acknowledge(consumer, args.kind, &messages)?;
    }
    Ok(counted)
}

impl Counted {
    fn add(&mut self, messages: &[Received], ends: &mut Option<Ends>) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
        let now_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        let mut age: Option<(u64, u64)> = None;
        for message in messages {
            if let Some(ends) = ends {
                ends.received(&message.message_id(), message.batch_messages());
            }
            self.messages += 1;
            self.bytes += message.value().len() as u64;
            // The messages of a batch are of one age.
            let age_ms = now_ms.saturating_sub(message.appended_ms());
            match &mut age {
                Some((of, count)) if *of == age_ms => *count += 1,
                _ => self.record(age.replace((age_ms, 1))),
            }
        }
        self.record(age);
    }

    fn record(&mut self, age: Option<(u64, u64)>) {
        if let Some((ms, count)) = age {
            self.ages.record_many(Duration::from_millis(ms), count);
        }
    }

    /// What another consumer has received as well.
    fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.ages.add(&other.ages);
        self.first = match (self.first, other.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.last = self.last.max(other.last);
    }
}

impl ConsumeArgs {
    /// The names of the topics.
    fn names(&self) -> Vec<String> {
        match self.topics {
            None => vec![self.topic.clone()],
            Some(count) => (0..count)
                .map(|at| format!("{}-{at}", self.topic))
                .collect(),
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
fn measured(
    args: &ConsumeArgs,
    conditions: Conditions,
    (consumers, threads): (usize, usize),
    counted: &Counted,
) -> Measured {
    let span = counted
        .last
        .saturating_duration_since(counted.first.unwrap_or(counted.last));
    let seconds = span.as_secs_f64().max(1e-6);
    Measured {
        conditions,
        kind: match args.kind {
            Kind::Exclusive => "exclusive",
            Kind::Shared => "shared",
        },
        from: match args.from {
            From::Earliest => "earliest",
            From::Latest => "latest",
        },
        consumers,
        spin: args.spin,
        threads,
        seconds,
        messages: counted.messages,
        bytes: counted.bytes,
        messages_per_second: counted.messages as f64 / seconds,
        megabytes_per_second: counted.bytes as f64 / seconds / 1e6,
        age: counted.ages.percentiles(),
    }
}

fn text(measured: &Measured) -> String {
    format!(
        "{}\nfrom {}, {} consumers ({}) on {} threads\n{} messages of {} bytes together in {:.2} s: \
         {:.0} messages/s, {:.1} MB/s\nage when received: {}\n",
        measured.conditions,
        measured.from,
        measured.consumers,
        measured.kind,
        measured.threads,
        measured.messages,
        measured.bytes,
        measured.seconds,
        measured.messages_per_second,
        measured.megabytes_per_second,
        measured.age,
    )
}
