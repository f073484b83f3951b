//! `hulse bench consume`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use hulse_client::{Consumer, MessageId, Received, StartFrom};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::conditions::Conditions;
use super::latency::{Latencies, Percentiles};
use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::consume::Ends;
use crate::exit::{Failure, Outcome};
use crate::progress;
use crate::topic::show;

/// The most messages that are taken at a time.
const BATCH_MESSAGES: usize = 4096;
/// How long it is measured with --from latest when nothing says otherwise.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// Flags of `hulse bench consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// Topic to read
    topic: String,
    /// Where to begin: at the oldest message, or after the newest
    #[arg(long, value_name = "PLACE", default_value = "earliest")]
    from: From,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// End after so many seconds from the first message [default: 10 with --from latest]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The oldest message that there is
    Earliest,
    /// After the newest message
    Latest,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    conditions: Conditions,
    from: &'static str,
    /// From the first message to the last.
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
    let settings = common.client_settings()?;
    let subscription = format!(
        "hulse-bench-{}-{}",
        std::process::id(),
        since_1970().as_millis()
    );
    block_on(unless_interrupted(async {
        let client = connect(&settings, settings.stream_patience()).await?;
        let admin = client.admin();
        let topic = admin.describe_topic(&args.topic).await?;
        let conditions = Conditions::new(&topic, &admin.status().await?);
        let start = match args.from {
            From::Earliest => StartFrom::Earliest,
            From::Latest => StartFrom::Latest,
        };
        let consumer = client
            .consumer(&args.topic, &subscription)
            .start(start)
            .build()
            .await?;
        let counted = receive(&consumer, args).await;
        // The subscription is this command's own, so it goes whatever came of the measurement.
        let closed = consumer.close().await;
        let deleted = admin.delete_subscription(&args.topic, &subscription).await;
        let counted = counted?;
        closed?;
        deleted?;
        show(&measured(args, conditions, &counted), common.json, text)
    }))
}

async fn receive(consumer: &Consumer, args: &ConsumeArgs) -> Result<Counted, Failure> {
    let bar = progress::spinner("receiving");
    let mut counted = Counted {
        messages: 0,
        bytes: 0,
        ages: Latencies::new(),
        first: None,
        last: Instant::now(),
    };
    let duration = match (args.duration, args.messages, args.from) {
        (Some(seconds), _, _) => Some(Duration::from_secs(seconds)),
        (None, None, From::Latest) => Some(DURATION_DEFAULT),
        (None, _, _) => None,
    };
    let to_the_end = args.from == From::Earliest && args.messages.is_none() && duration.is_none();
    let mut ends = to_the_end.then(|| Ends::new(&consumer.marks()));
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
            messages = consumer.receive_many(at_most) => messages?,
        };
        counted.add(&messages, &mut ends);
        let last: BTreeMap<i32, MessageId> = messages
            .iter()
            .map(|message| (message.partition(), message.message_id()))
            .collect();
        for id in last.values() {
            consumer.acknowledge_cumulative(id)?;
        }
        bar.set_message(format!("{} messages", counted.messages));
    }
    bar.finish_and_clear();
    Ok(counted)
}

impl Counted {
    fn add(&mut self, messages: &[Received], ends: &mut Option<Ends>) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
        let now_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        for message in messages {
            if let Some(ends) = ends {
                ends.received(&message.message_id(), message.batch_messages());
            }
            self.messages += 1;
            self.bytes += message.value().len() as u64;
            let age_ms = now_ms.saturating_sub(message.appended_ms());
            self.ages.record(Duration::from_millis(age_ms));
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
fn measured(args: &ConsumeArgs, conditions: Conditions, counted: &Counted) -> Measured {
    let span = counted
        .last
        .saturating_duration_since(counted.first.unwrap_or(counted.last));
    let seconds = span.as_secs_f64().max(1e-6);
    Measured {
        conditions,
        from: match args.from {
            From::Earliest => "earliest",
            From::Latest => "latest",
        },
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
        "{}\nfrom {}, acknowledging cumulatively\n{} messages of {} bytes together in {:.2} s: \
         {:.0} messages/s, {:.1} MB/s\nage when received: {}\n",
        measured.conditions,
        measured.from,
        measured.messages,
        measured.bytes,
        measured.seconds,
        measured.messages_per_second,
        measured.megabytes_per_second,
        measured.age,
    )
}
