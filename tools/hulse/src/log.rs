//! `hulse log`: reads a stopped broker's files. Nothing is written.

mod partitions;
mod report;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::CommonFlags;
use crate::exit::{Exit, Failure, Outcome};
use crate::{output, progress};
use partitions::Partitions;
use report::{PartitionReport, Report};

const AFTER_HELP: &str = "\
DIR is a broker's data directory (./hulse-data), or the directory of one partition in it
(./hulse-data/partitions/ID). The broker must be stopped: its files change under a running one.

A torn tail is an end that is not whole and that nothing proves to have been durable: a crash leaves
one when it cuts off a write. The broker removes it when it starts. It is not called damage, though
rot of the last write before a kill or a loss of power looks the same.

Exit status: 0 when nothing is damaged, 10 when something is (verify), 1 when DIR cannot be read.";

/// `hulse log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogVerb {
    /// Show partitions, their segments and offsets
    #[command(after_help = AFTER_HELP)]
    Inspect(DirArgs),
    /// Read everything, check every checksum, and name what is damaged
    #[command(after_help = AFTER_HELP)]
    Verify(DirArgs),
}

/// What a verb of `hulse log` reads.
#[derive(Debug, Args)]
pub(crate) struct DirArgs {
    /// Data directory of a broker, or directory of one partition
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Reads the files and prints what is in them.
///
/// # Errors
/// When a broker uses the directory, or it cannot be read.
pub(crate) fn run(verb: &LogVerb, common: &CommonFlags) -> Outcome {
    let (LogVerb::Inspect(args) | LogVerb::Verify(args)) = verb;
    hulse_log::announce_faults().map_err(Failure::failed)?;
    // Held until everything has been read, so that no broker starts meanwhile.
    let partitions = Partitions::find(&args.dir)?;
    let bar = progress::steps(partitions.ids().len() as u64);
    let mut found = Vec::new();
    for id in partitions.ids() {
        bar.set_message(id.to_string());
        found.push(PartitionReport::new(*id, partitions.verify(*id)?));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = Report::new(found);
    let healthy = report.healthy;
    if common.json {
        output::print_json(&report)?;
    } else if matches!(verb, LogVerb::Inspect(_)) {
        output::print(&report.inspection())?;
    } else {
        output::print(&report.verdict())?;
    }
    let unhealthy = !healthy && matches!(verb, LogVerb::Verify(_));
    Ok(if unhealthy {
        Exit::Unhealthy
    } else {
        Exit::Done
    })
}
