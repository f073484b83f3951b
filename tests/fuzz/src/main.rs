//! Replays the fuzz targets without libFuzzer, and writes their seeds to files.
//!
//! ```text
//! replay run TARGET --runs N --seed N --failed FILE
//! replay file TARGET FILE...
//! replay seeds TARGET DIRECTORY
//! ```

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use hulse_fuzz::change::Changer;
use hulse_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match act(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("replay: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        [
            "run",
            name,
            "--runs",
            runs,
            "--seed",
            seed,
            "--failed",
            failed,
        ] => {
            let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
            run(
                target(name)?,
                number(runs)?,
                number(seed)?,
                Path::new(failed),
            )
        }
        ["file", name, files @ ..] => {
            let target = target(name)?;
            for file in files {
                (target.run)(&fs::read(file).map_err(|error| format!("{file}: {error}"))?);
                println!("{name}: {file} holds");
            }
            Ok(())
        }
        ["seeds", name, directory] => {
            for seed in (target(name)?.seeds)() {
                let path = Path::new(directory).join(seed.name);
                fs::write(&path, seed.bytes)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Ok(())
        }
        _ => Err("the arguments are not understood; see the top of tests/fuzz/src/main.rs".into()),
    }
}

fn target(name: &str) -> Result<Target, String> {
    TARGETS
        .into_iter()
        .find(|target| target.name == name)
        .ok_or(format!("no target {name}"))
}

/// Every seed as it is, then `runs` changes of them. The input that is being tried stands in the
/// file `failed` when the target panics.
fn run(target: Target, runs: u64, seed: u64, failed: &Path) -> Result<(), String> {
    let seeds = (target.seeds)();
    if seeds.is_empty() {
        return Err(format!("{} has no seeds", target.name));
    }
    let guard = |bytes: &[u8]| -> Result<(), String> {
        let result = std::panic::catch_unwind(|| (target.run)(bytes));
        if result.is_ok() {
            return Ok(());
        }
        fs::write(failed, bytes).map_err(|error| format!("{}: {error}", failed.display()))?;
        let (name, path) = (target.name, failed.display());
        Err(format!(
            "{name} failed at seed {seed}; `replay file {name} {path}` repeats it"
        ))
    };
    for seed in &seeds {
        guard(&seed.bytes)?;
    }
    let mut changer = Changer::new(seed);
    for _ in 0..runs {
        guard(&changer.input(&seeds))?;
    }
    let (name, known) = (target.name, seeds.len());
    println!("{name}: {known} seeds and {runs} changes of them hold (seed {seed})");
    Ok(())
}
