//! Verbs whose time has not come. They parse as they will, and end with "not available yet".

use clap::{Args, Subcommand};

/// Verbs of the contract that are not there yet.
#[derive(Debug, Subcommand)]
pub(crate) enum PlannedVerb {
    /// Serve a metadata store to the brokers of a small site (not available yet)
    Witness(WitnessArgs),
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
            Self::Demo(_) => "the demonstration of two regions (hulse demo regions)",
        }
    }
}
