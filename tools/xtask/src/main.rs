//! `cargo xtask`: the repository's own commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::steps::{Options, Step};
use xtask::{Failure, codegen, docs, fuzz, suite};

/// Checks, tests and generated files of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs every check and test; without --system it needs no root and changes nothing outside
    /// target/ and temporary directories
    Test {
        /// Also run what needs root, packages or namespaces; a proof that cannot run is a failure
        #[arg(long)]
        system: bool,
        /// Run the proofs at full length
        #[arg(long)]
        long: bool,
        /// Run only this step, in whichever group it is; may be given several times
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// List the steps and stop
        #[arg(long)]
        list: bool,
    },
    /// Writes net/schema/src/hulse_generated.rs anew from net/schema/hulse.fbs
    Codegen,
    /// Writes the generated parts of the documentation anew
    Docs,
    /// Fuzzes one target with coverage feedback
    Fuzz {
        /// The target: frames or recovery
        target: String,
        /// For how long
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Test { list: true, .. } => {
            suite::list(Step::all());
            Ok(())
        }
        Verb::Test {
            system,
            long,
            only,
            list: false,
        } => {
            let options = Options {
                long,
                seed: suite::seed()?,
            };
            suite::run(&suite::select(Step::all(), system, &only)?, &options)
        }
        Verb::Codegen => codegen::write(),
        Verb::Docs => docs::generated::write(),
        Verb::Fuzz { target, seconds } => fuzz::run_target(&target, seconds, suite::seed()?),
    }
}
