//! The fuzz targets of `tests/fuzz`, run in two ways.
//!
//! *Replay* needs nothing but Rust: it feeds each target its seeds and a number of random changes
//! of them. *Search* is libFuzzer with coverage feedback; it needs a C++ compiler, but neither a
//! nightly compiler nor a further tool: what instruments the code are code generation flags that a
//! stable compiler takes, given by `INSTRUMENT`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, cargo, output, program, run, works};
use crate::steps::Options;
use crate::{debian, repository};

/// The manifest of the fuzz project, which is a workspace of its own.
pub const MANIFEST: &str = "tests/fuzz/Cargo.toml";

/// The targets.
pub const TARGETS: [&str; 2] = ["frames", "recovery"];

/// Random changes of seeds that a replay tries, for each target.
const REPLAY_RUNS: u64 = 20_000;

/// How long each target is searched, in seconds, in short and in long runs.
const SEARCH_SECONDS: (u64, u64) = (60, 900);

/// Memory that a target may take while it is searched, in MiB.
const MEMORY_MIB: u64 = 2048;

/// A target that is built without the instruments has fewer counters than this.
const COUNTERS_MIN: u64 = 200;

/// Coverage counters for libFuzzer, and its view of comparisons.
const INSTRUMENT: &str = "-Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares \
     --cfg fuzzing";

/// Feeds every target its seeds and random changes of them, after the fuzz project's own tests.
///
/// # Errors
/// When a target fails; the input is then in a file that is named.
pub fn replay(options: &Options) -> Result<(), Failure> {
    run(inside().args(["test", "--quiet", "--locked", "--manifest-path", MANIFEST]))?;
    let runs = if options.long {
        REPLAY_RUNS * 20
    } else {
        REPLAY_RUNS
    };
    for target in TARGETS {
        run(replayer()
            .args(["run", target, "--runs", &runs.to_string()])
            .args(["--seed", &options.seed.to_string(), "--failed"])
            .arg(repository::scratch(&format!("fuzz/{target}.failed"))))?;
    }
    Ok(())
}

/// Searches every target for a while.
///
/// # Errors
/// When a target fails or cannot be built.
pub fn step(options: &Options) -> Result<(), Failure> {
    let seconds = if options.long {
        SEARCH_SECONDS.1
    } else {
        SEARCH_SECONDS.0
    };
    for target in TARGETS {
        search(target, seconds, options.seed)?;
    }
    Ok(())
}

/// Searches one target.
///
/// # Errors
/// When there is no such target, it fails, or it cannot be built.
pub fn run_target(target: &str, seconds: u64, seed: u64) -> Result<(), Failure> {
    if !TARGETS.contains(&target) {
        let known = TARGETS.join(", ");
        return Err(Failure(format!(
            "There is no fuzz target `{target}`; there are: {known}."
        )));
    }
    search(target, seconds, seed)
}

fn search(target: &str, seconds: u64, seed: u64) -> Result<(), Failure> {
    if !works("c++") {
        debian::install(&["g++"], "libFuzzer")?;
    }
    let triple = host()?;
    // Naming the target triple keeps build scripts and macros, which run on their own, free of the
    // instruments.
    run(inside()
        .env("RUSTFLAGS", INSTRUMENT)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--features",
            "libfuzzer",
        ])
        .args([
            "--manifest-path",
            MANIFEST,
            "--bin",
            target,
            "--target",
            &triple,
        ]))?;
    let seeds = repository::scratch(&format!("fuzz/{target}/seeds"));
    let corpus = repository::scratch(&format!("fuzz/{target}/corpus"));
    let failed = repository::scratch(&format!("fuzz/{target}/failed/input-"));
    for directory in [&seeds, &corpus] {
        fs::create_dir_all(directory)
            .map_err(|error| Failure(format!("{}: {error}.", directory.display())))?;
    }
    run(replayer().args(["seeds", target]).arg(&seeds))?;
    // libFuzzer's seed has 32 bits, and 0 would let it choose one.
    let seed = (seed % u64::from(u32::MAX)).max(1);
    let binary = target_directory()
        .join(&triple)
        .join("release")
        .join(target);
    // Its own words are many; the end of them is all that matters when nothing was found.
    let log = repository::scratch(&format!("fuzz/{target}/log"));
    let words =
        fs::File::create(&log).map_err(|error| Failure(format!("{}: {error}.", log.display())))?;
    let searched = run(program(binary)
        .arg(&corpus)
        .arg(&seeds)
        .arg(format!("-artifact_prefix={}", failed.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-seed={seed}"))
        .args([
            "-timeout=10",
            "-use_value_profile=1",
            "-max_len=65536",
            "-print_final_stats=1",
        ])
        .stderr(words));
    let words = fs::read_to_string(&log)
        .map_err(|error| Failure(format!("{}: {error}.", log.display())))?;
    report(target, &words, searched.is_err());
    searched.and_then(|()| match counters(&words) {
        Some(count) if count >= COUNTERS_MIN => Ok(()),
        count => Err(Failure(format!(
            "{target} ran with {} coverage counters, so the code was not instrumented.",
            count.unwrap_or(0)
        ))),
    })
}

/// Prints what a search said: its totals, or after a failure everything about that.
fn report(target: &str, words: &str, failed: bool) {
    let about_failure = |line: &&str| {
        !line.starts_with('#') && !line.starts_with("INFO") && !line.contains("# Uses:")
    };
    let about_totals = |line: &&str| line.contains("\tDONE") || line.starts_with("stat::");
    let lines = words.lines().filter(|line| match failed {
        true => about_failure(line),
        false => about_totals(line),
    });
    for line in lines {
        println!("{target}: {line}");
    }
}

/// How many places the instrumented code counts visits of.
fn counters(words: &str) -> Option<u64> {
    let (before, _) = words.split_once(" inline 8-bit counters)")?;
    before.rsplit('(').next()?.parse().ok()
}

/// The program of the fuzz project that works without libFuzzer.
fn replayer() -> Command {
    let mut command = inside();
    command
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .args([MANIFEST, "--bin", "replay", "--"]);
    command
}

/// Cargo with the fuzz project's own build directory.
pub(crate) fn inside() -> Command {
    let mut command = cargo();
    command.env("CARGO_TARGET_DIR", target_directory());
    command
}

fn target_directory() -> PathBuf {
    repository::target().join("fuzz")
}

/// The triple of this machine, as the compiler calls it.
fn host() -> Result<String, Failure> {
    let text = output(program("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(String::from)
        .ok_or_else(|| Failure::new("`rustc -vV` names no host."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_counters_is_read() {
        let words = "INFO: Seed: 5\nINFO: Loaded 1 modules   (118 inline 8-bit counters): 118 [0x5";
        assert_eq!(counters(words), Some(118));
        assert_eq!(counters("INFO: Seed: 5"), None);
    }

    #[test]
    fn an_unknown_target_is_refused() {
        let failure = run_target("frame", 1, 1).unwrap_err();
        assert_eq!(
            failure.0,
            "There is no fuzz target `frame`; there are: frames, recovery."
        );
    }
}
