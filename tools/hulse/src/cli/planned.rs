//! Verbs whose time has not come. They parse as they will, and end with "not available yet".

use clap::{Args, Subcommand};

/// Verbs of the contract that are not there yet.
#[derive(Debug, Subcommand)]
pub(crate) enum PlannedVerb {
    /// Serve a metadata store to the brokers of a small site (not available yet)
    Witness(WitnessArgs),
    /// Look after several brokers (not available yet)
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Show what Hulse does, on this machine alone (not available yet)
    #[command(subcommand)]
    Demo(DemoVerb),
}

/// `hulse witness`.
#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Data directory
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on [default: 127.0.0.1:6640]
    #[arg(long, value_name = "H:P")]
    listen: Option<String>,
}

/// `hulse cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// List brokers, regions and groups
    Status,
    /// Say whether all is well; exit status 10 when it is not
    Health(HealthArgs),
    /// Move a group to another broker
    Move(MoveArgs),
    /// Make the local replica of a group its primary
    Promote(PromoteArgs),
    /// Take over the metadata of a store that is gone
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
pub(crate) struct MoveArgs {
    /// The group
    group: String,
    /// The broker that is to own it
    #[arg(long, value_name = "BROKER")]
    to: String,
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

/// `hulse demo`.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoVerb {
    /// Two regions, one of which is killed
    Regions,
}

impl PlannedVerb {
    /// What it will be, and what there is so far.
    pub(crate) const fn what(&self) -> &'static str {
        match self {
            Self::Witness(_) => {
                "the witness (hulse witness); a broker keeps its metadata embedded so far"
            }
            Self::Cluster(_) => {
                "clusters (hulse cluster); one broker stands alone so far, and its admin port \
                 serves /healthz and /status"
            }
            Self::Demo(_) => "the demonstration of two regions (hulse demo regions)",
        }
    }
}
