//! Where the peers' programs come from: Debian's packages.

use std::process::{Command, Stdio};

use crate::failure::Failure;

/// The packages, and the programs of them that are run.
const PACKAGES: [&str; 3] = ["redis-server", "redis-tools", "nats-server"];

/// Installs them by `apt-get`, which needs root.
///
/// # Errors
/// When that fails.
pub(crate) fn install() -> Result<(), Failure> {
    println!("installing Debian packages: {}", PACKAGES.join(" "));
    apt(&["update"])?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend(PACKAGES);
    apt(&words)
}

fn apt(words: &[&str]) -> Result<(), Failure> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(words)
        // The packages' own services are not to run: the laboratory starts what it needs.
        .envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(Failure::io("apt-get"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`apt-get {}` failed with {status}; its own words are above",
        words.join(" ")
    )))
}

/// The first line that a program says of its version.
///
/// # Errors
/// When there is no such program.
pub(crate) fn version(program: &str) -> Result<String, Failure> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|_| {
            Failure::new(format!(
                "there is no {program} here; run the laboratory with --install-peers, or install \
                 the Debian packages {}",
                PACKAGES.join(", ")
            ))
        })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().next().unwrap_or_default();
    Ok(line.trim().to_owned())
}
