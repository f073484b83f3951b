//! `hulse explain`: why a subscription does not move.

use clap::Args;
use hulse_client::Client;
use hulse_client::json::{HeldBack, SubscriptionDescription, SubscriptionList};

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::{Failure, Outcome};
use crate::topic::show;

const AFTER_HELP: &str = "\
For each partition it says what the subscription waits for: the entry, the consumer and the reason,
and what to do about it. docs/delivery.md has all the reasons. With --json the reason is one word.
It also says which quota holds the topic's producers back, and which subscription the quota waits
for.

Examples:
  hulse explain orders billing
  hulse explain orders";

/// Flags of `hulse explain`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ExplainArgs {
    /// The topic
    topic: String,
    /// The subscription [default: all that the topic has]
    subscription: Option<String>,
}

/// Asks the broker, and says what it answers.
///
/// # Errors
/// When no server can be reached, it refuses, or there is no such subscription.
pub(crate) fn run(args: &ExplainArgs, common: &CommonFlags) -> Outcome {
    let settings = common.client_settings()?;
    let json = common.json;
    request(&settings, |client: Client| async move {
        let admin = client.admin();
        let mut list: SubscriptionList = admin.list_subscriptions(&args.topic).await?;
        if let Some(name) = &args.subscription {
            list.subscriptions
                .retain(|subscription| subscription.name == *name);
        }
        if let Some(name) = &args.subscription
            && list.subscriptions.is_empty()
        {
            let topic = &list.topic;
            return Err(Failure::failed(format_args!(
                "{topic} has no subscription {name}; `hulse subscription list` shows those that it \
                 has"
            )));
        }
        show(&list, json, |list| {
            let nobody = || format!("no quota holds producers of {} back\n", list.topic);
            // Of a single subscription only what concerns it is told.
            let producers = match &args.subscription {
                None => Some(producers(list).unwrap_or_else(nobody)),
                Some(_) => producers(list),
            };
            let subscriptions = list.subscriptions.iter().map(explained);
            producers.into_iter().chain(subscriptions).collect()
        })
    })
}

/// What holds the producers back, in words; nothing while nothing does.
fn producers(list: &SubscriptionList) -> Option<String> {
    let sentence = |held: &HeldBack| {
        let remedy = match held.reason.as_str() {
            "backlog-quota" => {
                "acknowledge what it holds, delete it with `hulse subscription delete`, or raise the \
                 quota with `hulse namespace set NS --backlog N`"
            }
            "rate" => {
                "publish more slowly, or raise the rate with `--rate` of `hulse namespace set`"
            }
            _ => "nothing needs to be done",
        };
        format!("  {}\n  {remedy}\n", held.text)
    };
    let topic = &list.topic;
    (!list.held_back.is_empty()).then(|| {
        let sentences: String = list.held_back.iter().map(sentence).collect();
        format!("producers of {topic} are held back\n{sentences}")
    })
}

/// One partition in words.
fn explained(one: &SubscriptionDescription) -> String {
    let place = match one.partition {
        -1 => one.name.clone(),
        number => format!("{}, partition {number}", one.name),
    };
    let behind = format!(
        "{place} ({}, {} consumers): {} entries behind",
        one.kind,
        one.consumers.len(),
        one.backlog_entries
    );
    let holds = match &one.holds_back {
        Some(text) => format!("  it holds the producers back: {text}\n"),
        None => String::new(),
    };
    let Some(blocked) = &one.blocked else {
        return format!("{behind}, and being delivered\n{holds}");
    };
    let remedy = remedy(&blocked.reason);
    format!("{behind}\n  {}\n  {remedy}\n{holds}", blocked.text)
}

/// What to do about a reason.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "no-consumer" => "start a consumer",
        "no-permits" => "it receives nothing: look at the application that it runs in",
        "paused" => "its machine or network is slow, or its application does not read",
        "consumer-full" | "subscription-full" | "unacknowledged" => {
            "it does not acknowledge: look at the application that it runs in, or close it, which \
             gives what it has to the others"
        }
        "draining" => {
            "wait, or close the consumer that has the key, which gives what it has to the others"
        }
        "delayed" => "nothing needs to be done: it is delivered when it is due",
        "no-owner" => "start a consumer that wants the key",
        "handing-over" => "wait: it takes a second at most",
        "unreadable" => {
            "the log is damaged there: `hulse subscription seek` moves the subscription behind it"
        }
        _ => "nothing needs to be done",
    }
}

#[cfg(test)]
mod tests {
    use hulse_client::json::BlockedDescription;

    use super::*;

    #[test]
    fn a_subscription_that_stands_still_is_explained() {
        let mut one = SubscriptionDescription {
            name: "billing".to_owned(),
            kind: "shared".to_owned(),
            partition: 2,
            backlog_entries: 7,
            ..SubscriptionDescription::default()
        };
        assert_eq!(
            explained(&one),
            "billing, partition 2 (shared, 0 consumers): 7 entries behind, and being delivered\n"
        );
        one.blocked = Some(BlockedDescription {
            reason: "no-consumer".to_owned(),
            text: "no consumer is attached".to_owned(),
            ..BlockedDescription::default()
        });
        assert_eq!(
            explained(&one),
            "billing, partition 2 (shared, 0 consumers): 7 entries behind\n  no consumer is \
             attached\n  start a consumer\n"
        );
        one.holds_back = Some("its quota is used up".to_owned());
        let text = explained(&one);
        assert!(
            text.ends_with("  it holds the producers back: its quota is used up\n"),
            "{text}"
        );
    }

    #[test]
    fn producers_that_are_held_back_are_explained() {
        let mut list = SubscriptionList {
            topic: "orders".to_owned(),
            ..SubscriptionList::default()
        };
        assert_eq!(producers(&list), None);
        let held = |reason: &str| HeldBack {
            reason: reason.to_owned(),
            text: format!("because of {reason}"),
            ..HeldBack::default()
        };
        list.held_back = vec![held("backlog-quota"), held("rate")];
        let text = producers(&list).unwrap();
        assert!(text.starts_with("producers of orders are held back\n"));
        for part in [
            "because of backlog-quota",
            "subscription delete",
            "because of rate",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
