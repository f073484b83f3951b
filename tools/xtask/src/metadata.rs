//! What `cargo metadata` says about the workspace and the packages that it depends on.

use serde::Deserialize;

use crate::Failure;
use crate::command::{cargo, output};

/// The part of the answer that the rules look at.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// The packages.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, if it states one.
    pub license: Option<String>,
    /// Absent for the workspace's own packages.
    pub source: Option<String>,
    /// The manifest's path.
    pub manifest_path: String,
    /// What it declares to depend on.
    pub dependencies: Vec<Dependency>,
}

/// One declared dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Absent for a normal one, else `dev` or `build`.
    pub kind: Option<String>,
    /// Whether its default features are on.
    pub uses_default_features: bool,
    /// The features asked for.
    pub features: Vec<String>,
}

impl Dependency {
    /// Whether the product itself is built with it.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.kind.is_none()
    }
}

impl Metadata {
    /// The workspace's own packages.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn of_workspace() -> Result<Self, Failure> {
        Self::read(&["--no-deps"])
    }

    /// Every package that is built for a Linux server, the workspace's own included.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn of_everything() -> Result<Self, Failure> {
        Self::read(&[
            "--all-features",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
    }

    fn read(options: &[&str]) -> Result<Self, Failure> {
        let mut command = cargo();
        command
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(options);
        serde_json::from_str(&output(&mut command)?)
            .map_err(|error| Failure(format!("The answer of `cargo metadata` is odd: {error}.")))
    }
}
