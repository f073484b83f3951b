//! `hulse topic`: creates, lists, describes and deletes topics.

use clap::{Args, Subcommand, ValueEnum};
use hulse_client::json::{PartitionDescription, TopicDescription, TopicList};
use hulse_client::{AckLevel, Client, TopicSpec};
use serde::Serialize;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::{Failure, Outcome};
use crate::output::{self, human_bytes, ratio, table, text_of};
use crate::policies::{self, PolicyFlags};

const CREATE_AFTER_HELP: &str = "\
A topic comes into being by itself when it is first produced to or subscribed to, with the
defaults; create it to choose. R, the replication factor, is replicas divided by regions.

What an acknowledgement means: at `disk`, the message is synced on every member of the in-sync
set; at `memory`, it is out of the process (safe from `kill -9`, not from power loss) on every
member of it.

Example:
  hulse topic create orders --partitions 4 --ack disk";

const DESCRIBE_AFTER_HELP: &str = "\
Offsets count entries (a message or a batch) from 0. log_start is the oldest that is kept,
high_watermark the end of what is acknowledged and may be consumed, log_end the end of all.
R is replicas / regions; T, of a subscription, is consumers / partitions.";

/// `hulse topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicVerb {
    /// Create a topic
    Create(CreateArgs),
    /// List all topics
    List,
    /// Describe a topic, its partitions and its subscriptions
    #[command(after_help = DESCRIBE_AFTER_HELP)]
    Describe(TopicArgs),
    /// Give a topic more partitions (not available yet)
    Grow(GrowArgs),
    /// Set policies for one topic
    #[command(after_help = policies::HELP)]
    Set(SetArgs),
    /// Delete a topic with everything that it holds
    Delete(TopicArgs),
}

/// `hulse topic set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Topic: `orders` or `persistent://tenant/namespace/orders`
    topic: String,
    #[command(flatten)]
    policies: PolicyFlags,
}

/// A topic.
#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    /// Topic: `orders` or `persistent://tenant/namespace/orders`
    topic: String,
}

/// `hulse topic create`.
#[derive(Debug, Args)]
#[command(after_help = CREATE_AFTER_HELP)]
pub(crate) struct CreateArgs {
    /// Topic: `orders` or `persistent://tenant/namespace/orders`
    topic: String,
    /// Number of partitions, 1 to 1024 [default: a topic without partitions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: Option<u32>,
    /// Number of copies [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replicas: Option<u32>,
    /// Regions that hold the copies, the first one taking writes [default: the broker's]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    regions: Vec<String>,
    /// What an acknowledgement means [default: disk]
    #[arg(long, value_name = "LEVEL")]
    ack: Option<Ack>,
    /// The fewest members that the in-sync set may shrink to [default: 1, of 3 replicas or more 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    min_isr: Option<u32>,
}

/// `hulse topic grow`.
#[derive(Debug, Args)]
pub(crate) struct GrowArgs {
    /// The topic
    topic: String,
    /// Number of partitions that it is to have
    #[arg(long, value_name = "N")]
    partitions: u32,
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// Synced on every member of the in-sync set
    Disk,
    /// Out of the process on every member of the in-sync set
    Memory,
}

impl Ack {
    /// Its name, as descriptions have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }

    /// What the broker is told; what was left out is its choice.
    pub(crate) const fn level(ack: Option<Self>) -> AckLevel {
        match ack {
            None => AckLevel::Default,
            Some(Self::Disk) => AckLevel::Disk,
            Some(Self::Memory) => AckLevel::Memory,
        }
    }
}

/// A topic that is gone, as JSON.
#[derive(Serialize)]
struct Deleted<'a> {
    deleted: &'a str,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or it refuses.
pub(crate) fn run(verb: &TopicVerb, common: &CommonFlags) -> Outcome {
    if let TopicVerb::Grow(_) = verb {
        return Err(Failure::not_available_yet(
            "growing a topic (hulse topic grow); create it with all the --partitions it will need",
        ));
    }
    if let TopicVerb::Set(args) = verb {
        args.policies.some_changes()?;
    }
    let settings = common.client_settings()?;
    let json = common.json;
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        match verb {
            TopicVerb::Create(args) => {
                let created = admin.create_topic(&args.topic, &args.settings()).await?;
                show(&created, json, |created| {
                    format!("created {}\n", created.name)
                })
            }
            TopicVerb::List => show(&admin.list_topics().await?, json, list),
            TopicVerb::Describe(args) => {
                show(&admin.describe_topic(&args.topic).await?, json, describe)
            }
            TopicVerb::Set(args) => {
                let changes = args.policies.changes();
                let scope = full_name(&args.topic);
                let changed = admin.set_policies(&scope, &changes).await?;
                show(&changed, json, policies::describe)
            }
            TopicVerb::Delete(args) => {
                admin.delete_topic(&args.topic).await?;
                let deleted = Deleted {
                    deleted: &args.topic,
                };
                show(&deleted, json, |deleted| {
                    format!("deleted {}\n", deleted.deleted)
                })
            }
            TopicVerb::Grow(_) => unreachable!("it was refused before"),
        }
    })
}

/// Prints an answer of the broker: its JSON, or what `text` makes of it.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn show<T: Serialize>(
    answer: &T,
    json: bool,
    text: impl FnOnce(&T) -> String,
) -> Outcome {
    if json {
        output::print_json(answer)
    } else {
        output::print(&text(answer))
    }
}

/// The form of a topic's name that is taken for nothing else.
fn full_name(topic: &str) -> String {
    if topic.contains("://") {
        topic.to_owned()
    } else if topic.contains('/') {
        format!("persistent://{topic}")
    } else {
        format!("persistent://public/default/{topic}")
    }
}

fn list(topics: &TopicList) -> String {
    topics
        .topics
        .iter()
        .map(|topic| format!("{topic}\n"))
        .collect()
}

fn describe(topic: &TopicDescription) -> String {
    let mut text = format!("{}\n", topic.name);
    let holds = policies::cells(&topic.effective);
    let rows = [
        ("id", topic.id.clone()),
        ("ack", topic.ack.clone()),
        ("replicas", topic.replicas.to_string()),
        ("regions", topic.regions.join(", ")),
        (
            "R",
            format!("{} (replicas / regions)", ratio(topic.replication_factor)),
        ),
        ("min_isr", topic.min_isr.to_string()),
        ("retention", holds[0].clone()),
        ("ttl", holds[1].clone()),
        ("backlog", holds[2].clone()),
    ];
    for (name, value) in rows {
        text.push_str(&format!("  {name:<9} {value}\n"));
    }
    let mut partitions = table([
        "partition",
        "core",
        "address",
        "primary",
        "term",
        "log_start",
        "high_watermark",
        "log_end",
        "size",
        "segments",
        "producers",
        "consumers",
    ]);
    for partition in &topic.partitions {
        partitions.add_row([
            partition.partition.to_string(),
            partition.core.to_string(),
            partition.address.clone(),
            partition.primary.clone(),
            partition.term.to_string(),
            partition.log_start.to_string(),
            partition.high_watermark.to_string(),
            partition.log_end.to_string(),
            human_bytes(partition.bytes),
            partition.segments.to_string(),
            producers(partition),
            partition.consumers.to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&text_of(&partitions));
    for partition in &topic.partitions {
        let number = partition.partition;
        if let Some(reason) = &partition.poisoned {
            text.push_str(&format!("partition {number} takes no writes: {reason}\n"));
        }
        for range in &partition.damaged {
            let (first, end) = (range.first, range.end);
            text.push_str(&format!(
                "partition {number}: entries {first} to {end} (exclusive) are damaged\n"
            ));
        }
    }
    for held in &topic.held_back {
        text.push_str(&format!("producers are held back: {}\n", held.text));
    }
    let subscriptions: Vec<_> = topic
        .partitions
        .iter()
        .flat_map(|partition| &partition.subscriptions)
        .collect();
    text.push('\n');
    text.push_str(&crate::subscription::text(subscriptions));
    text
}

/// How many producers there are, and whether one of them is alone, or others wait for that.
fn producers(partition: &PartitionDescription) -> String {
    let mut text = partition.producers.to_string();
    if partition.access == "exclusive" {
        text.push_str(" exclusive");
    }
    if partition.producers_waiting > 0 {
        text.push_str(&format!(", {} waiting", partition.producers_waiting));
    }
    text
}

impl CreateArgs {
    /// What the broker is asked for; what was left out is its choice.
    fn settings(&self) -> TopicSpec {
        TopicSpec {
            partitions: self.partitions.unwrap_or(0),
            replicas: self.replicas.unwrap_or(0),
            regions: self.regions.clone(),
            ack: Ack::level(self.ack),
            min_isr: self.min_isr.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_client::json::{ConsumerDescription, DamagedRange, SubscriptionDescription};

    #[test]
    fn a_description_shows_both_factors_and_what_is_wrong() {
        let text = describe(&TopicDescription {
            name: "persistent://public/default/orders".to_owned(),
            ack: "disk".to_owned(),
            replicas: 3,
            regions: vec!["a".to_owned(), "b".to_owned()],
            replication_factor: 1.5,
            partitions: vec![PartitionDescription {
                partition: 4,
                bytes: 3 << 20,
                high_watermark: 77,
                producers: 1,
                access: "exclusive".to_owned(),
                producers_waiting: 2,
                poisoned: Some("a sync failed".to_owned()),
                damaged: vec![DamagedRange { first: 5, end: 6 }],
                subscriptions: vec![SubscriptionDescription {
                    name: "billing".to_owned(),
                    partition_factor: 0.25,
                    mark: "12.0".to_owned(),
                    consumers: vec![ConsumerDescription::default()],
                    ..SubscriptionDescription::default()
                }],
                ..PartitionDescription::default()
            }],
            ..TopicDescription::default()
        });
        for part in [
            "persistent://public/default/orders\n",
            "R         1.5 (replicas / regions)",
            "3 MiB",
            "77",
            "1 exclusive, 2 waiting",
            "partition 4 takes no writes: a sync failed\n",
            "partition 4: entries 5 to 6 (exclusive) are damaged\n",
            "billing",
            "0.25",
            "12.0",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
