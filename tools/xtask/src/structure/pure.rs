//! The pure packages: rules without a socket, a file, a thread or a clock.

use crate::metadata::Package;

/// The packages that are `no_std` and free of unsafe code, with the folder of each.
pub const PURE: [(&str, &str); 4] = [
    ("hulse-cluster", "engine/cluster"),
    ("hulse-model", "engine/model"),
    ("hulse-subscription", "engine/subscription"),
    ("hulse-wire", "net/wire"),
];

/// Outside packages that work without the standard library, which a pure package may use.
const WITHOUT_STD: [&str; 6] = [
    "crc32fast",
    "flatbuffers",
    "serde",
    "serde_json",
    "thiserror",
    "hashbrown",
];

/// What in a pure package's `lib.rs` is missing.
#[must_use]
pub fn missing_attributes(package: &str, lib: &str) -> Vec<String> {
    let absent = |attribute: &&str| !lib.lines().any(|line| line.trim() == *attribute);
    let attributes = ["#![no_std]", "#![forbid(unsafe_code)]"];
    let sentence = |attribute| format!("{package}: lib.rs lacks {attribute}");
    attributes
        .into_iter()
        .filter(absent)
        .map(sentence)
        .collect()
}

/// Which normal dependencies of a pure package bring the standard library in.
#[must_use]
pub fn std_dependencies(package: &Package) -> Vec<String> {
    let name = &package.name;
    let mut found = Vec::new();
    for dependency in package
        .dependencies
        .iter()
        .filter(|dependency| dependency.is_normal())
    {
        let other = dependency.name.as_str();
        if other.starts_with("hulse-") {
            continue;
        }
        if !WITHOUT_STD.contains(&other) {
            found.push(format!(
                "{name}: {other} is not known to work without the standard library"
            ));
        }
        if dependency.uses_default_features || dependency.features.iter().any(|f| f == "std") {
            found.push(format!("{name}: {other} is used with its std feature"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    #[test]
    fn both_attributes_are_asked_for() {
        let lib = "//! Docs.\n#![no_std]\n#![forbid(unsafe_code)]\n";
        assert_eq!(missing_attributes("p", lib), [""; 0]);
        assert_eq!(missing_attributes("p", "// #![no_std]").len(), 2);
    }

    #[test]
    fn std_comes_in_by_name_or_by_feature() {
        let with = |name: &str, defaults, features: &[&str]| {
            let dependency = Dependency {
                name: name.into(),
                kind: None,
                uses_default_features: defaults,
                features: features.iter().map(|f| (*f).into()).collect(),
            };
            std_dependencies(&Package {
                name: "p".into(),
                version: String::new(),
                license: None,
                source: None,
                manifest_path: String::new(),
                dependencies: vec![dependency],
            })
        };
        assert_eq!(with("crc32fast", false, &[]), [""; 0]);
        assert_eq!(with("crc32fast", true, &[]).len(), 1);
        assert_eq!(with("crc32fast", false, &["std"]).len(), 1);
        assert_eq!(with("tokio", false, &[]).len(), 1);
    }
}
