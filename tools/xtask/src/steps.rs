//! The steps of `cargo xtask test`, in the order in which they run.

mod bare;
mod plain;
mod system;

use std::process::Command;

use crate::{Failure, codegen, docs, fuzz};

/// What holds for a whole run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Proofs run at full length.
    pub long: bool,
    /// Where everything random in this run begins.
    pub seed: u64,
}

impl Options {
    /// Hands seed and length to the tests that the command runs. `HULSE_SEED` is for our own
    /// generators; proptest has a name of its own for the same thing.
    fn hand_to(self, command: &mut Command) -> &mut Command {
        let seed = self.seed.to_string();
        command
            .env("HULSE_SEED", &seed)
            .env("PROPTEST_RNG_SEED", &seed);
        if self.long {
            command.env("HULSE_LONG", "1");
        }
        command
    }
}

/// What a step needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Rust and a C compiler; it changes nothing outside target/ and temporary directories.
    Plain,
    /// Root, packages or namespaces.
    System,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What it proves, in a few words.
    pub about: &'static str,
    /// What it needs.
    pub group: Group,
    /// Does it.
    pub run: fn(&Options) -> Result<(), Failure>,
}

impl Step {
    /// Every step. The cheap ones come first, and the tests last, so that their results stand at
    /// the end of what is printed.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        const ALL: &[Step] = &[
            plain("format", "the code is formatted", plain::format),
            plain(
                "structure",
                "dependencies, unsafe code, layout, licences, docs",
                plain::structure,
            ),
            system(
                "schema",
                "the pinned compiler writes the committed code",
                codegen::check,
            ),
            plain(
                "lint",
                "clippy has no complaint about any target or feature",
                plain::lint,
            ),
            plain(
                "rustdoc",
                "the links inside the documentation lead somewhere",
                plain::rustdoc,
            ),
            plain(
                "replay",
                "the fuzz targets hold for seeds and random changes of them",
                fuzz::replay,
            ),
            plain("tests", "the tests of every package", plain::tests),
            plain(
                "docs",
                "the generated parts of the documents are what the code makes them",
                docs::generated::check,
            ),
            system(
                "bare-build",
                "a build needs Rust and a C compiler, nothing else",
                bare::build,
            ),
            system(
                "fuzz",
                "the fuzz targets hold under coverage-guided search",
                fuzz::step,
            ),
            system(
                "system",
                "whole brokers, killed and cut off, on this machine",
                system::tests,
            ),
        ];
        ALL
    }
}

type Run = fn(&Options) -> Result<(), Failure>;

const fn plain(name: &'static str, about: &'static str, run: Run) -> Step {
    Step {
        name,
        about,
        group: Group::Plain,
        run,
    }
}

const fn system(name: &'static str, about: &'static str, run: Run) -> Step {
    Step {
        name,
        about,
        group: Group::System,
        run,
    }
}
