//! Programs that the steps start, and the plain sentence that says why one failed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Why a command of this tool failed: one plain sentence for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// The failure that this sentence describes.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// `cargo` as the caller started it, in the repository's root.
#[must_use]
pub fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program that runs in the repository's root, without standard input.
#[must_use]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command
        .current_dir(crate::repository::root())
        .stdin(Stdio::null());
    command
}

/// Prints the command and runs it to its end, its output passed through.
///
/// # Errors
/// When it cannot be started or does not end with status 0.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let line = line(command);
    println!("$ {line}");
    let status = command
        .status()
        .map_err(|error| Failure(format!("`{line}` could not be started: {error}.")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure(format!(
        "`{line}` failed with {status}; its own words are above."
    )))
}

/// Runs the command to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started, does not end with status 0, or writes something that is not UTF-8.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let line = line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure(format!("`{line}` could not be started: {error}.")))?;
    if !output.status.success() {
        return Err(Failure(format!("`{line}` failed with {}.", output.status)));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Failure(format!("`{line}` wrote something that is not UTF-8.")))
}

/// Whether the program can be found and answers `--version` with status 0.
#[must_use]
pub fn works(name: &str) -> bool {
    let status = Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Whether the program is on the search path. For those that answer no `--version`.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// The command as a person would type it, with the variables that it sets.
fn line(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(
                line,
                "{}={:?} ",
                name.display(),
                value.display().to_string()
            );
        }
    }
    let program = std::path::Path::new(command.get_program());
    line.push_str(
        &program
            .file_name()
            .unwrap_or(program.as_os_str())
            .display()
            .to_string(),
    );
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.display());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_status() {
        let failure = run(program("false").arg("x")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "`false x` failed with exit status: 1; its own words are above."
        );
    }

    #[test]
    fn an_absent_program_is_named() {
        let failure = run(&mut program("no-such-program-here")).unwrap_err();
        assert!(
            failure
                .0
                .starts_with("`no-such-program-here` could not be started"),
            "{failure}"
        );
        assert!(!works("no-such-program-here"));
    }

    #[test]
    fn a_program_is_found_on_the_search_path() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-here"));
    }
}
