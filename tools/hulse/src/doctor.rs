//! `hulse doctor`: whether this machine can run a broker, and how to mend what is missing.

use std::path::PathBuf;

use clap::Args;
use hulse_runtime::preflight::{self, Check};
use hulse_runtime::{CoresConfig, available_cpus};
use serde::Serialize;

use crate::cli::CommonFlags;
use crate::exit::{Exit, Outcome};
use crate::output;

const AFTER_HELP: &str = "\
`hulse serve` makes the same checks and does not start when one fails. Exit status: 0 when none
fails (warnings are allowed), 10 when one does.";

/// Flags of `hulse doctor`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    /// Also check this data directory: that it can be written, how long a sync takes, the space
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Check for a broker with so many cores [default: the CPUs that this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
}

/// A check as JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    outcome: String,
    found: &'a str,
    wanted: &'a str,
    remedy: &'a str,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    healthy: bool,
    checks: Vec<Row<'a>>,
}

/// Makes the checks and prints them.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(args: &DoctorArgs, common: &CommonFlags) -> Outcome {
    let cores = match args.cores {
        Some(cores) => usize::from(cores),
        None => available_cpus().len(),
    };
    let mut checks = preflight::check_machine(cores, CoresConfig::default().ring_depth);
    if let Some(data) = &args.data {
        checks.extend(preflight::check_data_dir(data));
    }
    let healthy = preflight::first_failure(&checks).is_none();
    if common.json {
        let checks = checks.iter().map(row).collect();
        output::print_json(&Report { healthy, checks })?;
    } else {
        output::print(&report(&checks))?;
    }
    Ok(if healthy { Exit::Done } else { Exit::Unhealthy })
}

fn row(check: &Check) -> Row<'_> {
    Row {
        name: check.name,
        outcome: check.outcome.to_string(),
        found: &check.found,
        wanted: &check.wanted,
        remedy: &check.remedy,
    }
}

fn report(checks: &[Check]) -> String {
    let mut table = output::table(["check", "result", "found", "wanted"]);
    for check in checks {
        table.add_row([
            check.name,
            &check.outcome.to_string(),
            &check.found,
            &check.wanted,
        ]);
    }
    let mut text = output::text_of(&table);
    for check in checks.iter().filter(|check| !check.remedy.is_empty()) {
        text.push_str(&format!(
            "\n{} ({}): {}\n",
            check.name, check.outcome, check.remedy
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_fails_is_shown_with_its_remedy() {
        // No machine has so many processors.
        let checks = preflight::check_machine(100_000, 512);
        let text = report(&checks);
        assert!(text.contains("\ncores (failed): "), "{text}");
        assert!(text.contains("kernel"), "{text}");
    }
}
