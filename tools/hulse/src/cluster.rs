//! `hulse cluster`: moves groups between the cores of a broker. What concerns several brokers is not
//! there yet.

use clap::{Args, Subcommand};
use hulse_client::Client;
use hulse_client::json::GroupMove;

use crate::cli::CommonFlags;
use crate::client::request;
use crate::exit::{Failure, Outcome};
use crate::topic::show;

const MOVE_AFTER_HELP: &str = "\
A group is a fixed set of partitions that are owned and moved together; `hulse topic describe` shows
the group and the core of each partition. Producers and consumers go on by themselves: nothing that
was acknowledged is lost, and a message that was sent twice keeps its first id.

Cores balance themselves, unless the broker was started with --balance off.

Example:
  hulse cluster move 8f3c0a5e6d1b4f7a9c2e0d8b7a6f5e4d --to-core 1";

/// `hulse cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// List brokers, regions and groups (not available yet)
    Status,
    /// Say whether all is well; exit status 10 when it is not (not available yet)
    Health(HealthArgs),
    /// Move a group to another core of its broker
    Move(MoveArgs),
    /// Make the local replica of a group its primary (not available yet)
    Promote(PromoteArgs),
    /// Take over the metadata of a store that is gone (not available yet)
    AdoptStore,
}

/// `hulse cluster health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Print again whenever it changes
    #[arg(long)]
    watch: bool,
    /// Wait until all is well, for at most so many seconds
    #[arg(long, value_name = "S")]
    until_healthy: Option<String>,
}

/// `hulse cluster move`.
#[derive(Debug, Args)]
#[command(after_help = MOVE_AFTER_HELP)]
pub(crate) struct MoveArgs {
    /// The group, as `hulse topic describe` shows it
    group: String,
    /// The core that is to serve it, from 0
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "to",
        conflicts_with = "to"
    )]
    to_core: Option<u32>,
    /// The broker that is to own it (not available yet)
    #[arg(long, value_name = "BROKER")]
    to: Option<String>,
}

/// `hulse cluster promote`.
#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The group
    group: String,
    /// Accept that acknowledged messages may be lost
    #[arg(long)]
    unclean: bool,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, it refuses, or the verb is not there yet.
pub(crate) fn run(verb: &ClusterVerb, common: &CommonFlags) -> Outcome {
    let ClusterVerb::Move(MoveArgs {
        group,
        to_core: Some(core),
        ..
    }) = verb
    else {
        return Err(Failure::not_available_yet(
            "clusters (hulse cluster); one broker stands alone so far: its admin port serves /healthz \
             and /status, and `hulse cluster move GROUP --to-core N` moves a group between its cores",
        ));
    };
    let settings = common.client_settings()?;
    let json = common.json;
    request(&settings, |client: Client| async move {
        let moved = client.admin().move_group(group, *core).await?;
        show(&moved, json, told)
    })
}

/// What came of it, in a sentence.
fn told(moved: &GroupMove) -> String {
    let GroupMove {
        group,
        from,
        to,
        address,
        term,
        partitions,
        pause_us,
    } = moved;
    if from == to {
        return format!("group {group} is on core {to} already\n");
    }
    let ms = *pause_us as f64 / 1000.0;
    format!(
        "moved group {group} with {partitions} partitions from core {from} to core {to} ({address}), \
         in term {term}; nobody served it for {ms:.1} ms\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_told_in_one_sentence() {
        let mut moved = GroupMove {
            group: "8f".to_owned(),
            from: 0,
            to: 1,
            address: "127.0.0.1:6651".to_owned(),
            term: 4,
            partitions: 2,
            pause_us: 2_340,
        };
        assert_eq!(
            told(&moved),
            "moved group 8f with 2 partitions from core 0 to core 1 (127.0.0.1:6651), in term 4; \
             nobody served it for 2.3 ms\n"
        );
        moved.from = 1;
        assert_eq!(told(&moved), "group 8f is on core 1 already\n");
    }
}
