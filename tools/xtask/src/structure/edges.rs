//! Who may depend on whom among our own packages, and who alone may use glommio.

use crate::metadata::Package;

/// Every package of the workspace with those of ours that it may be built with. `*` stands for any.
///
/// The direction is the architecture: rules below, I/O above, and no way back.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("hulse-model", &[]),
    ("hulse-schema", &[]),
    ("hulse-runtime", &[]),
    ("hulse-cluster", &[]),
    ("hulse-log", &["hulse-model"]),
    ("hulse-subscription", &["hulse-model"]),
    ("hulse-metadata", &["hulse-model"]),
    ("hulse-wire", &["hulse-model", "hulse-schema"]),
    (
        "hulse-shard",
        &["hulse-log", "hulse-model", "hulse-subscription"],
    ),
    ("hulse-client", &["hulse-model", "hulse-wire"]),
    // The server carries effects out: it opens the disk and runs the log's preparations.
    (
        "hulse-server",
        &[
            "hulse-cluster",
            "hulse-log",
            "hulse-metadata",
            "hulse-model",
            "hulse-runtime",
            "hulse-shard",
            "hulse-subscription",
            "hulse-wire",
        ],
    ),
    (
        "hulse",
        &[
            "hulse-client",
            "hulse-log",
            "hulse-model",
            "hulse-runtime",
            "hulse-server",
            "hulse-wire",
        ],
    ),
    ("hulse-bench", &["*"]),
    ("hulse-tests", &["*"]),
    ("xtask", &[]),
];

/// What a package's own tests may use beside that.
pub const ALLOWED_IN_TESTS: &[(&str, &[&str])] = &[("xtask", &["hulse-model"])];

/// The one package that names glommio.
const GLOMMIO_USER: &str = "hulse-runtime";

/// What in the workspace breaks the rules, a sentence for each.
#[must_use]
pub fn violations(packages: &[Package]) -> Vec<String> {
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some(allowed) = row(ALLOWED, name) else {
            found.push(format!(
                "{name} has no row in the table of allowed dependencies"
            ));
            continue;
        };
        let in_tests = row(ALLOWED_IN_TESTS, name).unwrap_or_default();
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            if other == "glommio" && name != GLOMMIO_USER {
                found.push(format!("{name} uses glommio; only {GLOMMIO_USER} may"));
            }
            let fine = !ours.contains(&other)
                || allowed.contains(&"*")
                || allowed.contains(&other)
                // A package's tests may turn on its own features.
                || (!dependency.is_normal() && other == name)
                || (!dependency.is_normal() && in_tests.contains(&other));
            if !fine {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                found.push(format!("{name} may not depend on {other} ({kind})"));
            }
        }
    }
    for (name, _) in ALLOWED {
        if !ours.contains(name) {
            found.push(format!(
                "the table names {name}, which is no package of the workspace"
            ));
        }
    }
    found
}

fn row(table: &[(&str, &'static [&'static str])], name: &str) -> Option<&'static [&'static str]> {
    table
        .iter()
        .find(|(package, _)| *package == name)
        .map(|(_, others)| *others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn workspace() -> Vec<Package> {
        let package = |(name, _): &(&str, _)| Package {
            name: (*name).into(),
            version: "0.1.0".into(),
            license: None,
            source: None,
            manifest_path: String::new(),
            dependencies: Vec::new(),
        };
        ALLOWED.iter().map(package).collect()
    }

    fn with(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let mut packages = workspace();
        let package = packages
            .iter_mut()
            .find(|package| package.name == from)
            .unwrap();
        package.dependencies.push(Dependency {
            name: to.into(),
            kind: kind.map(Into::into),
            uses_default_features: false,
            features: Vec::new(),
        });
        violations(&packages)
    }

    #[test]
    fn an_allowed_edge_passes_and_the_way_back_does_not() {
        assert_eq!(with("hulse-log", "hulse-model", None), [""; 0]);
        assert_eq!(
            with("hulse-model", "hulse-log", None),
            ["hulse-model may not depend on hulse-log (normal)"]
        );
        assert_eq!(with("hulse-log", "hulse-shard", Some("dev")).len(), 1);
        assert_eq!(with("hulse-log", "hulse-log", Some("dev")), [""; 0]);
        assert_eq!(with("xtask", "hulse-model", Some("dev")), [""; 0]);
        assert_eq!(with("xtask", "hulse-model", None).len(), 1);
    }

    #[test]
    fn only_the_runtime_uses_glommio() {
        assert_eq!(with("hulse-runtime", "glommio", None), [""; 0]);
        assert_eq!(
            with("hulse-server", "glommio", None),
            ["hulse-server uses glommio; only hulse-runtime may"]
        );
        assert_eq!(with("hulse-tests", "glommio", Some("dev")).len(), 1);
    }

    #[test]
    fn a_package_without_a_row_and_a_row_without_a_package_are_found() {
        let mut packages = workspace();
        packages[0].name = "hulse-extra".into();
        let found = violations(&packages);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
