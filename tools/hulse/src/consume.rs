//! `hulse consume`: receives messages as lines.

mod asking;
mod batch;
mod ends;
mod form;
mod outlet;
mod pump;
mod receipts;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use hulse_client::{Client, Consumer, MessageId, Position, StartFrom, SubscriptionType};

use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::exit::{Exit, Failure, Outcome};
pub(crate) use asking::Asking;
pub(crate) use ends::Ends;
use form::Form;
use pump::{Pump, Wanted};
use receipts::Acknowledging;

/// Messages that a consumer of a shared subscription has sent ahead at the most.
const QUEUE_MESSAGES: u64 = 50_000;
/// After how long of waiting for a subscription somebody is told.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// Messages that --ack auto acknowledges before its interval is over.
const COMMIT_MESSAGES: usize = 65_536;

const AFTER_HELP: &str = "\
Each message is written to stdout with a LF after it. It is written before it is acknowledged, and
no id is written twice in one run. What is acknowledged with a receipt never comes again to this
subscription; what is not comes again to its next consumer.

  --type exclusive   one consumer at a time: a second one waits a while, and fails
  --type failover    one at a time for each partition; when it goes, another takes over
  --type shared      each message goes to one of them, in any order; acknowledged one by one

  --ack receipt   acknowledge what has been written, and wait for the receipts before exit
  --ack auto      acknowledge every --commit-interval, and before exit
  --ack none      acknowledge nothing: the next run gets the same messages

Without -s it reads: from --from on, acknowledging nothing, beside all subscriptions, and the broker
keeps nothing of it. A broker that is restarted in the middle costs nothing then, too.

--count N writes exactly N messages and exits. --until-end notes how far the topic goes at the
start, and exits when everything up to there has been written and acknowledged, be it by this
consumer or by others of its subscription; on an empty topic at once. Without either it waits for
more. A broker that is restarted in the middle costs nothing. With SIGINT, what has been written is
acknowledged; the exit status is 130.

Examples:
  hulse consume orders -s billing
  hulse consume orders -s copy --until-end > orders.jsonl
  hulse consume orders -s workers --type shared
  hulse consume orders --from latest
  hulse consume orders -s look --count 10 --ack none --json";

/// Flags of `hulse consume`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConsumeArgs {
    /// Topic: `orders`, `persistent://tenant/namespace/orders`, or one partition, `orders-partition-0`
    topic: String,
    /// Name under which progress is kept; made when it does not exist. Without it nothing is kept or
    /// acknowledged, and others are not concerned
    #[arg(short, long, value_name = "SUBSCRIPTION")]
    subscription: Option<String>,
    /// How consumers of the subscription share its messages
    #[arg(long = "type", value_name = "TYPE", default_value = "exclusive")]
    kind: Kind,
    /// Where a new subscription, or a reader without one, begins: earliest, latest, or the id of the
    /// first message; a subscription that exists goes on where it is
    #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = place)]
    from: StartFrom,
    /// Exit after exactly so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Exit at the end that the topic has at the start
    #[arg(long)]
    until_end: bool,
    /// How to acknowledge
    #[arg(long, value_name = "HOW", default_value = "receipt")]
    ack: Ack,
    /// How often --ack auto acknowledges at the least, in milliseconds
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000)
    )]
    commit_interval: u64,
    /// Write the key and a TAB before each payload; nothing before the TAB when there is no key
    #[arg(long)]
    keys: bool,
}

/// A name that no other reader has.
fn reader_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!("reader-{}-{nanos}", std::process::id())
}

/// A place in a topic.
fn place(text: &str) -> Result<StartFrom, String> {
    match text {
        "earliest" => Ok(StartFrom::Earliest),
        "latest" => Ok(StartFrom::Latest),
        id => {
            let id: MessageId = id.parse().map_err(|_| {
                "a place is earliest, latest or the id of a message, term:offset:partition:index"
                    .to_owned()
            })?;
            Ok(StartFrom::Position(Position {
                offset: id.offset,
                index: u32::try_from(id.index).unwrap_or(0),
            }))
        }
    }
}

/// How consumers of a subscription share its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One consumer at a time
    Exclusive,
    /// One at a time, and another takes over
    Failover,
    /// Each message to one of them, in turn
    Shared,
    /// Each key to one of them
    KeyShared,
}

impl Kind {
    /// Whether several consumers have its messages at a time, so that they come in no order here.
    const fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::KeyShared)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    /// What has been written, with receipts
    Receipt,
    /// Every --commit-interval
    Auto,
    /// Not at all
    None,
}

/// Receives messages and writes them.
///
/// # Errors
/// When no server can be reached, it refuses, or stdout cannot be written.
pub(crate) fn run(args: &ConsumeArgs, common: &CommonFlags) -> Outcome {
    let kind = args.subscription_type();
    if args.kind.is_shared() && args.until_end && args.ack == Ack::None {
        return Err(Failure::usage(
            "--until-end on a shared subscription ends when all is acknowledged, which --ack none \
             never does; use --count",
        ));
    }
    if args.subscription.is_none() && args.kind != Kind::Exclusive {
        return Err(Failure::usage(
            "--type says how a subscription is shared: name one with --subscription",
        ));
    }
    let settings = common.client_settings()?;
    let form = match (common.json, args.keys) {
        (true, _) => Form::Json,
        (false, true) => Form::KeyAndPayload,
        (false, false) => Form::Payload,
    };
    block_on(async {
        let mut opened = None;
        let interrupted = unless_interrupted(async {
            let client = connect(&settings, settings.stream_patience()).await?;
            let consumer = subscribe(&client, args, kind).await?;
            opened = Some((client, consumer));
            Ok(Exit::Done)
        });
        let before = interrupted.await?;
        let Some((client, consumer)) = opened else {
            return Ok(before);
        };
        let ends = args.until_end.then(|| {
            let marks = consumer.marks();
            if args.kind.is_shared() {
                Ends::of_many(&marks)
            } else {
                Ends::new(&marks)
            }
        });
        let wanted = Wanted::new(args.count, ends);
        Pump::new(&client, &consumer, args, form, wanted)?
            .run()
            .await
    })
}

async fn subscribe(
    client: &Client,
    args: &ConsumeArgs,
    kind: SubscriptionType,
) -> Result<Consumer, Failure> {
    let name = format!("hulse-{}", std::process::id());
    let subscription = match &args.subscription {
        Some(subscription) => subscription.clone(),
        None => reader_name(),
    };
    let mut consumer = client
        .consumer(&args.topic, &subscription)
        .durable(args.subscription.is_some())
        .subscription_type(kind)
        .start(args.from)
        .name(&name)
        .skip_seen(true);
    if let (true, Some(count)) = (args.kind.is_shared(), args.count) {
        // What is sent ahead and not wanted is kept from the other consumers meanwhile.
        let ahead = u32::try_from(count.min(QUEUE_MESSAGES)).unwrap_or(u32::MAX);
        consumer = consumer.receive_queue(ahead);
    }
    if args.ack == Ack::Auto {
        let interval = Duration::from_millis(args.commit_interval);
        consumer = consumer.auto_commit(interval, COMMIT_MESSAGES);
    }
    let subscribed = consumer.build();
    tokio::pin!(subscribed);
    let subscribed = tokio::select! {
        subscribed = &mut subscribed => subscribed,
        () = tokio::time::sleep(NOTICE_AFTER) => {
            eprintln!(
                "hulse: still subscribing; perhaps another consumer has the subscription `{subscription}`"
            );
            subscribed.await
        }
    };
    Ok(subscribed?)
}

impl ConsumeArgs {
    const fn subscription_type(&self) -> SubscriptionType {
        match self.kind {
            Kind::Exclusive => SubscriptionType::Exclusive,
            Kind::Failover => SubscriptionType::Failover,
            Kind::Shared => SubscriptionType::Shared,
            Kind::KeyShared => SubscriptionType::KeyShared,
        }
    }

    fn acknowledging(&self) -> Acknowledging {
        if self.subscription.is_none() {
            return Acknowledging::Nothing;
        }
        match self.ack {
            Ack::Receipt => Acknowledging::WhatIsWritten,
            Ack::Auto => Acknowledging::ByItself,
            Ack::None => Acknowledging::Nothing,
        }
    }
}
