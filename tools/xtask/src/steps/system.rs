//! The system tests: whole brokers as processes of this machine.

use super::Options;
use crate::Failure;
use crate::command::{cargo, run};

/// The tests of the package `hulse-tests` with its feature `system`, as released code.
pub(super) fn tests(options: &Options) -> Result<(), Failure> {
    // The tests start the binary that people run.
    run(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "hulse",
    ]))?;
    let mut command = cargo();
    command.env("HULSE_SEED", options.seed.to_string());
    if options.long {
        command.env("HULSE_LONG", "1");
    }
    run(command
        .args(["test", "--locked", "--release", "--package", "hulse-tests"])
        .args(["--features", "system"]))
}
