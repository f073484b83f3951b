//! The program that is tested.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The path of `hulse`, built from this repository once for each test process, as released code
/// when the tests are. `HULSE_BINARY` names another one to test in its place.
///
/// # Panics
/// When it cannot be built.
pub fn hulse() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match env::var_os("HULSE_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// A command of the program in which none of the caller's settings are left.
pub(crate) fn command() -> Command {
    let mut command = Command::new(hulse());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HULSE_") {
            command.env_remove(name);
        }
    }
    command
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", "hulse", "--bin", "hulse"]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "hulse is not built: {}",
        output.status
    );
    // Cargo says itself where it has put the program, whatever directory it was told to use.
    let built = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|said| said["executable"].as_str().map(PathBuf::from));
    built.expect("cargo names the program that it has built")
}
