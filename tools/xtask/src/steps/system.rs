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
    run(options
        .hand_to(&mut cargo())
        .args(["test", "--locked", "--release", "--package", "hulse-tests"])
        .args(["--features", "system"]))
}
