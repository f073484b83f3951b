//! The load that the benchmarks put on a broker, as the command line describes it.

use std::time::Duration;

use clap::Args;
use hulse_client::json::{BrokerStatus, TopicDescription};
use hulse_client::{Admin, Client, ClientError, Producer, Status, TopicSpec};
use hulse_model::batch::MESSAGE_HEADER_BYTES;
use hulse_model::limits::MESSAGE_BYTES_MAX;
use serde::Serialize;

use super::schedule::Schedule;
use super::sender::Span;
use crate::exit::Failure;
use crate::produce::rate;
use crate::topic::Ack;

/// Messages without a receipt that a producer may have unless something else is asked for.
const WINDOW_MESSAGES: usize = 100_000;
/// Bytes without a receipt that a producer may have, whatever its window.
const WINDOW_BYTES: usize = 64 * 1024 * 1024;

/// What is sent, where to and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// Topic; created when it does not exist, and kept afterwards
    pub(super) topic: String,
    /// Use so many topics, TOPIC-0, TOPIC-1 and so on, the producers taking them in turn
    /// [default: TOPIC alone]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) topics: Option<u32>,
    /// Partitions, for a topic that does not exist yet [default: a topic without partitions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
    /// What an acknowledgement means, for a topic that does not exist yet [default: disk]
    #[arg(long, value_name = "LEVEL")]
    ack: Option<Ack>,
    /// Size of a message, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(0..=5_242_880)
    )]
    pub(super) size: u32,
    /// The most messages of a batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    pub(super) batch: u32,
    /// How many producers send at a time, each over a connection of its own
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(super) producers: u32,
    /// Messages per second, of all producers together, on a schedule that is fixed in advance
    /// [default: as many as there is room for]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Batches without a receipt that each producer may have, up to 64 MiB of them [default:
    /// 100,000 messages]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    window: Option<u32>,
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
    /// Keep the load's processors busy, so that their waking up is not measured; give it
    /// processors of its own
    #[arg(long)]
    pub(super) spin: bool,
}

/// The load, in the result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Load {
    /// `open` or `closed`.
    r#loop: &'static str,
    rate_asked: Option<f64>,
    topics: usize,
    size_bytes: u32,
    batch_messages_max: u32,
    producers: u32,
    window_messages: usize,
    warmup_s: u64,
    spin: bool,
    threads: usize,
}

impl LoadArgs {
    /// The names of the topics.
    pub(super) fn names(&self) -> Vec<String> {
        match self.topics {
            None => vec![self.topic.clone()],
            Some(count) => (0..count)
                .map(|at| format!("{}-{at}", self.topic))
                .collect(),
        }
    }

    /// How many messages a producer may have without a receipt.
    pub(super) fn window_messages(&self) -> usize {
        let asked = self.window.map_or(WINDOW_MESSAGES, |batches| {
            (batches as usize).saturating_mul(self.batch as usize)
        });
        asked.min(WINDOW_BYTES / self.message_bytes()).max(1)
    }

    /// What a message takes of a batch.
    const fn message_bytes(&self) -> usize {
        self.size as usize + MESSAGE_HEADER_BYTES
    }

    /// The schedule of each producer, when the loop is open.
    pub(super) fn schedules(&self) -> Vec<Option<Schedule>> {
        match self.rate {
            None => vec![None; self.producers as usize],
            Some(rate) => Schedule::shared(self.producers, rate).map(Some).collect(),
        }
    }

    /// What is measured of the messages of each producer.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        let warmup = Duration::from_secs(self.warmup);
        let end = warmup + Duration::from_secs(self.duration);
        let (all, count) = (self.messages, u64::from(self.producers));
        (0..count).map(move |at| Span {
            warmup,
            end: all.is_none().then_some(end),
            // The first ones take what does not divide evenly.
            messages: all.map(|all| all / count + u64::from(at < all % count)),
        })
    }

    /// How long to send before measuring.
    pub(super) const fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    /// The topics, created if they do not exist, and the broker.
    ///
    /// # Errors
    /// When the broker refuses, or a topic has another level than the one that is asked for.
    pub(super) async fn prepare(
        &self,
        client: &Client,
    ) -> Result<(Vec<TopicDescription>, BrokerStatus), Failure> {
        let admin = client.admin();
        let mut topics = Vec::new();
        for name in self.names() {
            topics.push(self.topic(&admin, &name).await?);
        }
        Ok((topics, admin.status().await?))
    }

    async fn topic(&self, admin: &Admin, name: &str) -> Result<TopicDescription, Failure> {
        match admin.describe_topic(name).await {
            Ok(topic) => match self.ack.map(Ack::name) {
                Some(ack) if ack != topic.ack => Err(Failure::failed(format_args!(
                    "the topic {} has ack={}, not {ack}; name one that does not exist yet",
                    topic.name, topic.ack
                ))),
                _ => Ok(topic),
            },
            Err(error) if error.status() == Some(Status::TopicNotFound) => {
                let spec = TopicSpec {
                    partitions: self.partitions.unwrap_or(0),
                    ack: Ack::level(self.ack),
                    ..TopicSpec::default()
                };
                Ok(admin.create_topic(name, &spec).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A producer of one of the topics.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(super) async fn producer(
        &self,
        client: &Client,
        topic: &str,
    ) -> Result<Producer, ClientError> {
        let batch_bytes = self.message_bytes().saturating_mul(self.batch as usize);
        let window = self.window_messages();
        client
            .producer(topic)
            .batch_messages(self.batch)
            .batch_bytes(batch_bytes.min(MESSAGE_BYTES_MAX))
            // The window counts; the client's own limits are only not to be in its way.
            .max_in_flight_messages(window)
            .max_in_flight_bytes(window.saturating_mul(self.message_bytes()))
            .build()
            .await
    }

    /// What the result says of the load.
    pub(super) fn told(&self, threads: usize) -> Load {
        Load {
            r#loop: if self.rate.is_some() {
                "open"
            } else {
                "closed"
            },
            rate_asked: self.rate,
            topics: self.names().len(),
            size_bytes: self.size,
            batch_messages_max: self.batch,
            producers: self.producers,
            window_messages: self.window_messages(),
            warmup_s: self.warmup,
            spin: self.spin,
            threads,
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rate_asked {
            Some(rate) => write!(f, "open loop, {rate} messages/s asked for")?,
            None => write!(f, "closed loop, saturating its window")?,
        }
        write!(
            f,
            "; {} bytes a message, batches of up to {}, {} producers to {} topics, each with a \
             window of {} messages, on {} threads that {}; {} s of warm-up",
            self.size_bytes,
            self.batch_messages_max,
            self.producers,
            self.topics,
            self.window_messages,
            self.threads,
            if self.spin { "spin" } else { "sleep when idle" },
            self.warmup_s,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn load(line: &str) -> LoadArgs {
        Line::parse_from(["x"].into_iter().chain(line.split(' '))).load
    }

    #[test]
    fn the_window_counts_batches_and_keeps_to_its_bytes() {
        assert_eq!(
            load("t --size 100").window_messages(),
            WINDOW_MESSAGES,
            "the default"
        );
        assert_eq!(load("t --window 1 --batch 1").window_messages(), 1);
        assert_eq!(load("t --window 8 --batch 100").window_messages(), 800);
        let large = load("t --size 5242880 --window 100").window_messages();
        assert_eq!(large, 12);
        assert_eq!(load("t --size 0 --window 1").window_messages(), 1000);
    }

    #[test]
    fn messages_are_shared_out_to_the_last_one() {
        let spans: Vec<_> = load("t --producers 3 --messages 8 --warmup 2")
            .spans()
            .collect();
        let shares: Vec<_> = spans.iter().map(|span| span.messages.unwrap()).collect();
        assert_eq!(shares, [3, 3, 2]);
        assert!(spans.iter().all(|span| span.end.is_none()));
        let span = load("t --duration 3 --warmup 2").spans().next().unwrap();
        assert_eq!(
            (span.messages, span.end),
            (None, Some(Duration::from_secs(5)))
        );
        assert_eq!(span.warmup, Duration::from_secs(2));
    }

    #[test]
    fn several_topics_are_numbered() {
        assert_eq!(load("t").names(), ["t"]);
        assert_eq!(load("t --topics 2").names(), ["t-0", "t-1"]);
        assert_eq!(load("t --topics 1").names(), ["t-0"]);
    }

    #[test]
    fn a_rate_is_kept_by_all_producers_together() {
        assert!(
            load("t --producers 2")
                .schedules()
                .iter()
                .all(Option::is_none)
        );
        let mut schedules = load("t --producers 2 --rate 1000").schedules();
        let second = Duration::from_secs(1);
        let taken: usize = schedules
            .iter_mut()
            .map(|schedule| {
                let schedule = schedule.as_mut().unwrap();
                std::iter::from_fn(|| schedule.take(second)).count()
            })
            .sum();
        assert_eq!(taken, 1_001, "both ends of the second");
    }
}
