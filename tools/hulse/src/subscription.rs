//! `hulse subscription`: lists, moves and deletes subscriptions.

mod place;

use clap::{Args, Subcommand};
use hulse_client::Client;
use hulse_client::json::{ConsumerDescription, SubscriptionDescription, SubscriptionList};
use serde::Serialize;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::Outcome;
use crate::output::{ratio, table, text_of};
use crate::topic::show;
use place::Place;

const LIST_AFTER_HELP: &str = "\
Everything before the mark (offset.index) is acknowledged; the backlog counts the entries from
there that are not. T, the partition factor, is the subscription's consumers / the topic's
partitions.";

const SEEK_AFTER_HELP: &str = "\
The next message that the subscription receives is the one at the place, or the first one that was
appended at or after the time. What lies before it counts as acknowledged, what lies behind it as
not acknowledged: seeking back makes messages come again. An id moves its own partition, anything
else moves all of them.

A place is one of
  earliest, latest
  term:offset:partition:index     an id, as produce and consume --json print it
  2026-11-22T14:30:00Z            a time (RFC 3339; UTC when it names no offset; a date is enough)
  90s, 15m, 2h, 7d                that long ago
  1795357800000                   milliseconds since 1970

Example:
  hulse subscription seek orders billing --to 2h";

/// `hulse subscription`.
#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionVerb {
    /// List the subscriptions of a topic
    #[command(after_help = LIST_AFTER_HELP)]
    List(ListArgs),
    /// Move a subscription to another place
    #[command(after_help = SEEK_AFTER_HELP)]
    Seek(SeekArgs),
    /// Delete a subscription; what only it had not acknowledged may then be removed
    Delete(DeleteArgs),
}

/// `hulse subscription list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The topic
    topic: String,
    /// Only this subscription
    subscription: Option<String>,
}

/// `hulse subscription seek`.
#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    /// The topic
    topic: String,
    /// The subscription
    subscription: String,
    /// Where to: an id, a time, earliest or latest
    #[arg(long, value_name = "ID|TIME|earliest|latest", value_parser = Place::read)]
    to: Place,
}

/// `hulse subscription delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The topic
    topic: String,
    /// The subscription
    subscription: String,
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Done<'a> {
    topic: &'a str,
    subscription: &'a str,
    done: &'static str,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or it refuses.
pub(crate) fn run(verb: &SubscriptionVerb, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let json = common.json;
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        match verb {
            SubscriptionVerb::List(args) => {
                let mut list: SubscriptionList = admin.list_subscriptions(&args.topic).await?;
                if let Some(only) = &args.subscription {
                    list.subscriptions
                        .retain(|subscription| subscription.name == *only);
                }
                show(&list, json, |list| text(&list.subscriptions))
            }
            SubscriptionVerb::Seek(args) => {
                let (topic, subscription) = (args.topic.as_str(), args.subscription.as_str());
                admin
                    .seek_subscription(topic, subscription, args.to.seek())
                    .await?;
                let done = Done {
                    topic,
                    subscription,
                    done: "moved",
                };
                show(&done, json, told)
            }
            SubscriptionVerb::Delete(args) => {
                let (topic, subscription) = (args.topic.as_str(), args.subscription.as_str());
                admin.delete_subscription(topic, subscription).await?;
                let done = Done {
                    topic,
                    subscription,
                    done: "deleted",
                };
                show(&done, json, told)
            }
        }
    })
}

fn told(done: &Done<'_>) -> String {
    format!("{} {} of {}\n", done.done, done.subscription, done.topic)
}

/// A consumer's name, and what tells it from the others of its subscription.
fn consumer_text(of: &SubscriptionDescription, consumer: &ConsumerDescription) -> String {
    let name = &consumer.name;
    match consumer.unacknowledged {
        Some(messages) => format!("{name} ({messages} unacknowledged)"),
        None if of.kind == "failover" && consumer.active => format!("{name} (active)"),
        None => name.clone(),
    }
}

/// A table of subscriptions; a sentence when there are none.
pub(crate) fn text<'a>(
    subscriptions: impl IntoIterator<Item = &'a SubscriptionDescription>,
) -> String {
    let mut rows = table([
        "subscription",
        "partition",
        "type",
        "mark",
        "backlog",
        "unordered",
        "consumers",
        "T",
    ]);
    let mut any = false;
    let mut blocked = String::new();
    for one in subscriptions {
        any = true;
        let consumers: Vec<String> = one
            .consumers
            .iter()
            .map(|consumer| consumer_text(one, consumer))
            .collect();
        rows.add_row([
            one.name.clone(),
            one.partition.to_string(),
            match one.durable {
                true => one.kind.clone(),
                false => format!("{}, not kept", one.kind),
            },
            one.mark.clone(),
            format!("{} entries", one.backlog_entries),
            one.acknowledged_ranges.to_string(),
            if consumers.is_empty() {
                "-".to_owned()
            } else {
                consumers.join("\n")
            },
            ratio(one.partition_factor),
        ]);
        // With nothing to deliver, it is no trouble that nothing is delivered.
        if let Some(reason) = one.blocked.as_ref().filter(|_| one.backlog_entries > 0) {
            let (name, partition, reason) = (&one.name, one.partition, &reason.text);
            blocked.push_str(&format!("{name}, partition {partition}: {reason}\n"));
        }
    }
    if any {
        text_of(&rows) + &blocked
    } else {
        "no subscriptions\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use hulse_client::json::BlockedDescription;

    use super::*;

    #[test]
    fn a_row_has_the_factor_and_a_reason_has_a_line() {
        let text = text(&[SubscriptionDescription {
            name: "billing".to_owned(),
            partition: 2,
            mark: "7.0".to_owned(),
            backlog_entries: 9,
            partition_factor: 0.5,
            blocked: Some(BlockedDescription {
                text: "no consumer".to_owned(),
                ..BlockedDescription::default()
            }),
            ..SubscriptionDescription::default()
        }]);
        for part in [
            "billing",
            "7.0",
            "9 entries",
            "0.5",
            "billing, partition 2: no consumer\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_topic_without_subscriptions_says_so() {
        assert_eq!(text(&[]), "no subscriptions\n");
    }
}
