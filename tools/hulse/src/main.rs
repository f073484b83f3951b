//! `hulse`: the broker and its command line, in one binary.

mod bench;
mod cli;
mod client;
mod cluster;
mod config;
mod consume;
mod doctor;
mod exit;
mod explain;
mod log;
mod output;
mod produce;
mod progress;
mod serve;
mod subscription;
mod topic;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Wrong usage ends within, with exit status 2, and --help and --version with 0.
    exit::report(cli::Cli::parse().run())
}
