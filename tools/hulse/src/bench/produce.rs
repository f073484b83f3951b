//! `hulse bench produce`.

use clap::Args;
use hulse_client::Client;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::conditions::Conditions;
use super::latency::Percentiles;
use super::load::{Load, LoadArgs};
use super::sender::{Counted, Sender, payload};
use super::stamp::Stamp;
use super::timer::Timer;
use super::workers::{Gate, Role, Running, Workers};
use crate::cli::CommonFlags;
use crate::client::{block_on, connect, unless_interrupted};
use crate::config::ClientSettings;
use crate::exit::{Failure, Outcome};
use crate::progress;
use crate::topic::show;

/// Flags of `hulse bench produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    load: LoadArgs,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    conditions: Conditions,
    #[serde(flatten)]
    load: Load,
    #[serde(flatten)]
    produced: Produced,
}

/// What was measured at the producers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Produced {
    seconds: f64,
    messages: u64,
    /// Messages in an entry, on average.
    messages_per_entry: f64,
    messages_per_second: f64,
    megabytes_per_second: f64,
    /// From the moment that a message was due (open loop) or that there was room for it (closed)
    /// to its receipt.
    latency: Percentiles,
    /// From the moment that a message was due to its sending: it is part of the latency. None in
    /// a closed loop.
    sent_late: Option<Percentiles>,
}

/// Measures and prints.
///
/// # Errors
/// When no server can be reached, or a message fails.
pub(crate) fn run(args: &ProduceArgs, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let load = &args.load;
    block_on(unless_interrupted(async {
        let client = connect(&settings, settings.stream_patience()).await?;
        let (topics, broker) = load.prepare(&client).await?;
        let conditions = Conditions::new(&topics, &broker)?;
        let bar = progress::spinner("connecting");
        let mut workers = Workers::start(producers(load, &settings, None), load.spin)?;
        workers.ready().await?;
        let threads = workers.threads();
        let from = begin(&workers, load, &bar).await;
        let mut counted = Counted::new();
        for one in workers.results().await? {
            counted.add(&one);
        }
        bar.finish_and_clear();
        let measured = Measured {
            conditions,
            load: load.told(threads),
            produced: produced(load, from, &counted),
        };
        show(&measured, common.json, text)
    }))
}

/// Opens the gate and waits until the warm-up is over. Gives the moment from which is measured.
pub(super) async fn begin<T: Send + 'static>(
    workers: &Workers<T>,
    load: &LoadArgs,
    bar: &ProgressBar,
) -> Instant {
    let start = Instant::now();
    bar.set_message("warming up");
    workers.begin(start);
    let from = start + load.warmup();
    sleep_until(from).await;
    bar.set_message("measuring");
    from
}

/// The producers of a load; the messages of each carry `stamp`, if there is one.
pub(super) fn producers<T: From<Counted> + 'static>(
    load: &LoadArgs,
    settings: &ClientSettings,
    stamp: Option<Stamp>,
) -> Vec<Role<T>> {
    let names = load.names();
    let spans = load.spans();
    let schedules = load.schedules();
    let role = |((at, span), schedule)| -> Role<T> {
        let (load, settings) = (load.clone(), settings.clone());
        let topic = names[at as usize % names.len()].clone();
        let role = move |gate: Gate| -> Running<T> {
            Box::pin(async move {
                // A client shares its connections, so each producer has a client of its own.
                let client: Client = connect(&settings, settings.stream_patience()).await?;
                let sender = Sender {
                    producer: load.producer(&client, &topic).await?,
                    schedule,
                    timer: Timer::new(load.spin).map_err(Failure::failed)?,
                    span,
                    window_messages: load.window_messages(),
                    payload: payload(load.size),
                    stamp,
                };
                let start = gate.pass().await?;
                Ok(sender.run(start).await?.into())
            })
        };
        Box::new(role)
    };
    (0_u32..).zip(spans).zip(schedules).map(role).collect()
}

#[expect(clippy::cast_precision_loss, reason = "these are figures for people")]
pub(super) fn produced(load: &LoadArgs, from: Instant, counted: &Counted) -> Produced {
    let span = counted
        .last
        .map(|last| last.saturating_duration_since(from));
    let seconds = span.unwrap_or_default().as_secs_f64().max(1e-6);
    let messages = counted.messages as f64;
    Produced {
        seconds,
        messages: counted.messages,
        messages_per_entry: messages / counted.entries.max(1) as f64,
        messages_per_second: messages / seconds,
        megabytes_per_second: messages * f64::from(load.size) / seconds / 1e6,
        latency: counted.latencies.percentiles(),
        sent_late: load.rate.map(|_| counted.late.percentiles()),
    }
}

impl std::fmt::Display for Produced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} messages in {:.2} s: {:.0} messages/s, {:.1} MB/s; {:.1} messages a batch\n\
             latency to the acknowledgement: {}",
            self.messages,
            self.seconds,
            self.messages_per_second,
            self.megabytes_per_second,
            self.messages_per_entry,
            self.latency
        )?;
        match &self.sent_late {
            Some(late) => write!(f, "\nof that, late in sending:       {late}"),
            None => Ok(()),
        }
    }
}

fn text(measured: &Measured) -> String {
    let Measured {
        conditions,
        load,
        produced,
    } = measured;
    format!("{conditions}\n{load}\n{produced}\n")
}
