//! The proof that a build needs Rust and a C compiler and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Options;
use crate::command::{cargo, program, run};
use crate::{Failure, repository};

/// Code generators and build systems that nothing may even ask for: a call leaves a mark.
const FORBIDDEN: [&str; 6] = ["protoc", "cmake", "flatc", "bazel", "meson", "ninja"];

/// Programs that a build may look for and has to do without: these only fail.
const ABSENT: [&str; 8] = [
    "c++",
    "g++",
    "clang++",
    "make",
    "pkg-config",
    "perl",
    "python3",
    "libtool",
];

/// Builds the whole workspace, as released, with those programs out of reach.
pub(super) fn build(_: &Options) -> Result<(), Failure> {
    let shims = Shims::create(&repository::scratch("bare-build/bin"))?;
    shims.try_out()?;
    // Build scripts are what could ask for programs. Without their results all of them run again,
    // so that a build which finished earlier proves nothing in place of this one.
    let results = repository::target().join("release/build");
    if results.exists() {
        fs::remove_dir_all(&results)
            .map_err(|error| Failure(format!("{}: {error}.", results.display())))?;
    }
    run(cargo()
        .env("PATH", shims.path())
        .env_remove("PROTOC")
        .env_remove("CMAKE")
        .args(["build", "--locked", "--release", "--workspace"]))?;
    if fs::read_dir(&results).map_or(0, Iterator::count) == 0 {
        return Err(Failure::new(
            "The build ran no build script, so it proves nothing.",
        ));
    }
    match shims.marks() {
        None => {
            println!(
                "no call of {}; built without {}",
                FORBIDDEN.join(", "),
                ABSENT.join(", ")
            );
            Ok(())
        }
        Some(calls) => Err(Failure(format!(
            "The build asked for forbidden programs: {calls}"
        ))),
    }
}

/// A directory of programs that fail, put before all others.
struct Shims {
    directory: PathBuf,
    marks: PathBuf,
}

impl Shims {
    fn create(directory: &Path) -> Result<Self, Failure> {
        let marks = directory.with_extension("marks");
        let failed = |error: std::io::Error| Failure(format!("{}: {error}.", directory.display()));
        fs::create_dir_all(directory).map_err(failed)?;
        let mark = format!("echo \"$(basename \"$0\") $*\" >> '{}'\n", marks.display());
        let shims = FORBIDDEN.map(|name| (name, mark.as_str()));
        for (name, body) in shims.into_iter().chain(ABSENT.map(|name| (name, ""))) {
            let file = directory.join(name);
            fs::write(&file, format!("#!/bin/sh\n{body}exit 127\n")).map_err(failed)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        let shims = Self {
            directory: directory.to_path_buf(),
            marks,
        };
        shims.forget();
        Ok(shims)
    }

    /// The search path with the shims in front.
    fn path(&self) -> std::ffi::OsString {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let directories =
            std::iter::once(self.directory.clone()).chain(std::env::split_paths(&old));
        std::env::join_paths(directories).expect("a target directory has no colon in its name")
    }

    /// What was called, if anything was.
    fn marks(&self) -> Option<String> {
        fs::read_to_string(&self.marks).ok()
    }

    fn forget(&self) {
        // It is absent when nothing was ever called.
        let _ = fs::remove_file(&self.marks);
    }

    /// Calls one as a build script would, to see that the mark is left and the call fails.
    fn try_out(&self) -> Result<(), Failure> {
        let status = program("sh")
            .env("PATH", self.path())
            .args(["-c", "protoc --x"])
            .status();
        let failed = status.is_ok_and(|status| !status.success());
        if !failed || self.marks().as_deref() != Some("protoc --x\n") {
            return Err(Failure::new(
                "The stand-in for protoc does not work, so it proves nothing.",
            ));
        }
        self.forget();
        Ok(())
    }
}
