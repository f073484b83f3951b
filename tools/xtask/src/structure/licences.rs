//! Licences of everything that we are built with, held against the allow-list of `deny.toml`.

use serde::Deserialize;

use crate::metadata::Package;

/// The part of `deny.toml` that says which licences are accepted.
#[derive(Debug, Deserialize)]
pub struct Policy {
    licenses: Licenses,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    allow: Vec<String>,
    #[serde(rename = "crate")]
    package: String,
}

impl Policy {
    /// Reads the text of `deny.toml`.
    ///
    /// # Errors
    /// When it is not in the form that it should have.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The packages whose licence is not accepted, a sentence for each.
    #[must_use]
    pub fn violations(&self, packages: &[Package]) -> Vec<String> {
        packages
            .iter()
            .filter_map(|package| self.objection(package))
            .collect()
    }

    fn objection(&self, package: &Package) -> Option<String> {
        let Package { name, version, .. } = package;
        let Some(expression) = &package.license else {
            return Some(format!("{name} {version} states no licence"));
        };
        let exceptions = self
            .licenses
            .exceptions
            .iter()
            .filter(|e| e.package == *name);
        let extra: Vec<&String> = exceptions.flat_map(|exception| &exception.allow).collect();
        let accepted = |id: &str| {
            // "MPL-2.0+" is the old way to write "or any later one".
            let id = id.trim_end_matches('+');
            self.licenses
                .allow
                .iter()
                .chain(extra.iter().copied())
                .any(|allowed| allowed == id)
        };
        match satisfied(expression, &accepted) {
            Some(true) => None,
            Some(false) => Some(format!("{name} {version}: {expression} is not accepted")),
            None => Some(format!(
                "{name} {version}: {expression:?} is no licence expression"
            )),
        }
    }
}

/// Whether a licence expression can be satisfied with accepted licences; `None` for a malformed one.
fn satisfied(expression: &str, accepted: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        accepted,
    };
    let result = parser.alternatives()?;
    parser.words.is_empty().then_some(result)
}

struct Parser<'a> {
    words: &'a [&'a str],
    accepted: &'a dyn Fn(&str) -> bool,
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn alternatives(&mut self) -> Option<bool> {
        let mut result = self.conjunction()?;
        while self.take("OR") {
            result |= self.conjunction()?;
        }
        Some(result)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut result = self.operand()?;
        while self.take("AND") {
            result &= self.operand()?;
        }
        Some(result)
    }

    fn operand(&mut self) -> Option<bool> {
        if self.take("(") {
            let result = self.alternatives()?;
            return self.take(")").then_some(result);
        }
        let (id, rest) = self.words.split_first()?;
        if ["OR", "AND", "WITH", ")"].contains(id) {
            return None;
        }
        self.words = rest;
        if self.take("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            return Some((self.accepted)(&format!("{id} WITH {exception}")));
        }
        Some((self.accepted)(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_they_are_meant() {
        let accepted = |id: &str| ["MIT", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("GPL-3.0-only", Some(false)),
            ("GPL-3.0-only OR MIT", Some(true)),
            ("GPL-3.0-only/MIT", Some(true)),
            ("GPL-3.0-only AND MIT", Some(false)),
            ("MIT OR GPL-3.0-only AND ISC", Some(true)),
            ("(MIT OR GPL-3.0-only) AND ISC", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("Apache-2.0", Some(false)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("", None),
        ] {
            assert_eq!(satisfied(expression, &accepted), expected, "{expression}");
        }
    }

    #[test]
    fn an_exception_is_for_one_package() {
        let policy = Policy::parse(
            "[licenses]\nallow = ['MIT']\nexceptions = [{ allow = ['MPL-2.0'], crate = 'a' }]",
        )
        .unwrap();
        let package = |name: &str, license: Option<&str>| Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
            source: None,
            manifest_path: String::new(),
            dependencies: Vec::new(),
        };
        assert_eq!(
            policy.violations(&[package("a", Some("MPL-2.0+"))]),
            [""; 0]
        );
        assert_eq!(
            policy.violations(&[package("b", Some("MPL-2.0+"))]).len(),
            1
        );
        assert_eq!(
            policy.violations(&[package("b", None)]),
            ["b 1.0.0 states no licence"]
        );
    }
}
