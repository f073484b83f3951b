//! Steps that any machine with Rust and a C compiler can take.

use super::Options;
use crate::command::{cargo, run};
use crate::{Failure, fuzz};

/// The formatting of every package, the fuzz project included.
pub(super) fn format(_: &Options) -> Result<(), Failure> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--manifest-path", fuzz::MANIFEST, "--check"]))
}

/// This package's own tests: the rules about the repository.
pub(super) fn structure(_: &Options) -> Result<(), Failure> {
    run(cargo().args(["test", "--quiet", "--locked", "--package", "xtask"]))
}

/// Clippy on everything.
pub(super) fn lint(_: &Options) -> Result<(), Failure> {
    run(cargo()
        .args([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--all-features",
        ])
        .args(["--", "--deny", "warnings"]))?;
    run(fuzz::inside()
        .args([
            "clippy",
            "--quiet",
            "--locked",
            "--manifest-path",
            fuzz::MANIFEST,
        ])
        .args(["--all-targets", "--", "--deny", "warnings"]))
}

/// Links inside the documentation.
pub(super) fn rustdoc(_: &Options) -> Result<(), Failure> {
    run(cargo()
        .env("RUSTDOCFLAGS", "--deny rustdoc::broken_intra_doc_links")
        .args([
            "doc",
            "--quiet",
            "--locked",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]))
}

/// Unit, property and integration tests, one tiny run of each benchmark, and the examples in the
/// documentation.
pub(super) fn tests(options: &Options) -> Result<(), Failure> {
    for what in ["--all-targets", "--doc"] {
        run(options
            .hand_to(&mut cargo())
            .args(["test", "--locked", "--workspace", what]))?;
    }
    Ok(())
}
