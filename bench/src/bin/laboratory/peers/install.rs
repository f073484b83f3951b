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

/// The version of a program, without the letters around it.
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
    Ok(version_in(&String::from_utf8_lossy(&output.stdout)))
}

/// The first word that has a number with a point in it, from that number on.
fn version_in(said: &str) -> String {
    let number = |word: &str| {
        let at = word.find(|letter: char| letter.is_ascii_digit())?;
        word[at..].contains('.').then(|| word[at..].to_owned())
    };
    let found = said.split_whitespace().find_map(number);
    found.unwrap_or_else(|| "of an unknown version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0",
                "7.0.15",
            ),
            ("redis-benchmark 7.0.15\n", "7.0.15"),
            ("nats-server: v2.9.10\n", "2.9.10"),
            ("", "of an unknown version"),
        ] {
            assert_eq!(version_in(said), version);
        }
    }
}
