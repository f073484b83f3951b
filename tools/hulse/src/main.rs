//! `hulse`: the broker and its command line, in one binary.

mod bench;
mod cli;
mod client;
mod config;
mod consume;
mod doctor;
mod exit;
mod explain;
mod log;
mod moment;
mod namespace;
mod output;
mod permission;
mod policies;
mod produce;
mod progress;
mod serve;
mod subscription;
mod tenant;
mod topic;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Wrong usage ends within, with exit status 2, and --help and --version with 0.
    exit::report(cli::Cli::parse().run())
}
