//! The laboratory: what the broker as a whole does, beside the least that any program would have to
//! do and beside other brokers, measured in one run on one machine.
//!
//! It starts the real `hulse serve` with one core, drives it with the real `hulse bench`, and
//! measures the other side in turn with it. `docs/benchmarks.md` says how to run it.
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_precision_loss,
    reason = "these are figures for people: 2^53 of anything are more than are counted"
)]

mod broker;
mod failure;
mod http;
mod lab;
mod limits;
mod open_files;
mod peers;
mod process;
mod processors;
mod publish;
mod result;
mod rows;
mod talk;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use hulse_bench::Conditions;

use crate::broker::Program;
use crate::failure::Failure;
use crate::lab::{Lab, Scale, seconds_since_1970};
use crate::processors::Processors;
use crate::result::{FORM, Run};
use crate::rows::{Measure, PIECES, Piece};

/// Measures the broker as a whole beside bare limits and beside other brokers
#[derive(Debug, Parser)]
#[command(name = "laboratory")]
struct Arguments {
    /// What to measure [default: everything]; --list names what there is
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// List what there is to measure, and stop
    #[arg(long)]
    list: bool,
    /// Only see that it works: little of everything, one round; the figures are worth nothing
    #[arg(long)]
    quick: bool,
    /// How often each side is measured [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Partitions of the rows with many
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    partitions: u32,
    /// Minutes that the soak takes
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    soak: u32,
    /// Where the JSON file goes, and the plots [default: target/laboratory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The folder for the brokers' files, on the disk that is to be measured [default: the
    /// system's for temporary files]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The program to measure [default: it is built from this repository]
    #[arg(long, value_name = "PATH")]
    hulse: Option<PathBuf>,
    /// Install Redis and NATS from Debian's packages before (needs root)
    #[arg(long)]
    install_peers: bool,
    /// Write what was measured into docs/benchmarks.md and docs/benchmarks/
    #[arg(long)]
    publish: bool,
    /// Measure nothing, and write what an earlier run's JSON file says, as --publish does
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "quick", "publish"])]
    render: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("laboratory: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for. False when something could not be measured.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    if arguments.list {
        for piece in PIECES {
            println!("{:24} {}", piece.name, piece.about);
        }
        return Ok(true);
    }
    if let Some(file) = &arguments.render {
        let text = fs::read_to_string(file).map_err(Failure::io(file.display()))?;
        let run: Run = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        tell(&publish::publish(&run, &docs())?);
        return Ok(true);
    }
    let pieces = rows::select(&arguments.rows)?;
    if arguments.install_peers {
        peers::install::install()?;
    }
    if let Some(refused) = open_files::raise(arguments.partitions) {
        eprintln!("laboratory: {refused}");
    }
    let lab = lab(arguments)?;
    let (run, failed) = measure(&lab, &pieces, |run| save(run, arguments).map(drop))?;
    write(&run, arguments)?;
    for (name, failure) in &failed {
        eprintln!("laboratory: {name} could not be measured: {failure}");
    }
    Ok(failed.is_empty())
}

fn lab(arguments: &Arguments) -> Result<Lab, Failure> {
    let path = match &arguments.hulse {
        Some(path) => path.clone(),
        None => build()?,
    };
    let files = arguments.data.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&files).map_err(Failure::io(files.display()))?;
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 1 } else { 5 });
    Ok(Lab {
        program: Program {
            path,
            files: files.canonicalize().map_err(Failure::io(files.display()))?,
            processors: Processors::of_process().map_err(Failure::io("the processors"))?,
        },
        scale: Scale {
            quick: arguments.quick,
            rounds: rounds as usize,
            partitions: arguments.partitions,
            soak_minutes: arguments.soak,
        },
    })
}

/// The name of a piece that could not be measured, and why.
type Failed = (&'static str, Failure);

/// Measures the pieces one after the other, and has `keep` keep what is there after each. One that
/// fails does not keep the others from being measured.
fn measure(
    lab: &Lab,
    pieces: &[&'static Piece],
    keep: impl Fn(&Run) -> Result<(), Failure>,
) -> Result<(Run, Vec<Failed>), Failure> {
    let conditions = Conditions::read(&lab.program.files);
    println!("{conditions}");
    let mut run = Run {
        form: FORM,
        conditions,
        hulse: version(&lab.program.path)?,
        began_s: seconds_since_1970(),
        quick: lab.scale.quick,
        rounds: lab.scale.rounds,
        rows: Vec::new(),
        curves: Vec::new(),
    };
    let mut failed = Vec::new();
    for piece in pieces {
        eprintln!("measuring {}: {}", piece.name, piece.about);
        let measured = match piece.measure {
            Measure::Rows(rows) => rows(lab).map(|rows| {
                for row in &rows {
                    println!("\n{}", row.text());
                }
                run.rows.extend(rows);
            }),
            Measure::Curves(curves) => curves(lab).map(|curves| {
                for curve in &curves {
                    println!("\n{}: {}", curve.name, curve.note);
                    for line in &curve.lines {
                        println!("  {} {:?}", line.name, line.points);
                    }
                }
                run.curves.extend(curves);
            }),
        };
        if let Err(failure) = measured {
            eprintln!("laboratory: {}: {failure}", piece.name);
            failed.push((piece.name, failure));
        }
        keep(&run)?;
    }
    Ok((run, failed))
}

fn write(run: &Run, arguments: &Arguments) -> Result<(), Failure> {
    let file = save(run, arguments)?;
    let plots = publish::plots(run, file.parent().unwrap_or(Path::new(".")))?;
    println!();
    tell(&[file]);
    tell(&plots);
    if arguments.publish {
        tell(&publish::publish(run, &docs())?);
    }
    Ok(())
}

/// Writes the JSON file, and says where it is.
fn save(run: &Run, arguments: &Arguments) -> Result<PathBuf, Failure> {
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => root().join("target/laboratory"),
    };
    fs::create_dir_all(&out).map_err(Failure::io(out.display()))?;
    let name = format!("{}-{}.json", publish::date(run.began_s), run.began_s);
    let file = out.join(name);
    let text = serde_json::to_string_pretty(run)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    fs::write(&file, text + "\n").map_err(Failure::io(file.display()))?;
    Ok(file)
}

fn tell(paths: &[PathBuf]) {
    for path in paths {
        println!("wrote {}", path.display());
    }
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn docs() -> PathBuf {
    root().join("docs")
}

/// Builds `hulse` as it is released, and gives its path.
fn build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--release", "--package", "hulse", "--bin", "hulse"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::io("cargo"))?;
    if !output.status.success() {
        return Err(Failure::new("hulse is not built; why is said above"));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let path = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    path.ok_or_else(|| Failure::new("cargo does not say where it has put hulse"))
}

/// What the program says of its version.
fn version(path: &Path) -> Result<String, Failure> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io(path.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.trim();
    Ok(version.strip_prefix("hulse ").unwrap_or(version).to_owned())
}
