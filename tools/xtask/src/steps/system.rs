//! The system tests: whole brokers as processes of this machine.

use std::fs;

use super::Options;
use crate::command::{cargo, is_installed, run};
use crate::{Failure, debian};

/// What makes the file systems that lose their power, and the packages that it comes in.
const PROGRAMS: [(&str, &str); 4] = [
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("perl", "perl-base"),
];

/// The tests of the package `hulse-tests` with its feature `system`, as released code.
pub(super) fn tests(options: &Options) -> Result<(), Failure> {
    install_programs()?;
    say_what_fails_instead_of_a_device();
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

fn install_programs() -> Result<(), Failure> {
    let missing = PROGRAMS.iter().filter(|(name, _)| !is_installed(name));
    let mut packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    debian::install(&packages, "the proofs of power loss")
}

/// Says by what the tests stand in for a device that fails: nobody is to take one for the other.
fn say_what_fails_instead_of_a_device() {
    let devices = fs::read_to_string("/proc/misc").unwrap_or_default();
    let kernel = if devices.contains("device-mapper") {
        "has and the tests do not use"
    } else {
        "lacks"
    };
    println!(
        "failed writes and syncs come from the shutdown request of ext4, and pages that cannot be \
         read from files that are cut off; no errors of single blocks by device-mapper, which this \
         kernel {kernel}"
    );
}
