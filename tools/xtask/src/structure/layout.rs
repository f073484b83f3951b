//! Names, places and sizes of files.

use crate::repository::TextFile;

/// The folders of the top level.
pub const FOLDERS: [&str; 5] = ["engine", "net", "bench", "tests", "tools"];

/// The single files of the top level, and the folder of documents.
const OTHERS: [&str; 9] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "docs",
    "rustfmt.toml",
];

/// What a build or a broker leaves at the top level; version control does not know it.
const PRODUCTS: [&str; 2] = ["target", "hulse-data"];

/// The longest file, in lines.
pub const LINES_MAX: usize = 800;

/// Files whose length nobody chose.
const GENERATED: [&str; 1] = ["net/schema/src/hulse_generated.rs"];

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 6] = ["common", "helper", "helpers", "manager", "util", "utils"];

/// The entries of the top level that do not belong there.
#[must_use]
pub fn strangers(top_level: &[String]) -> Vec<String> {
    let known = |name: &&String| {
        let name = name.as_str();
        name.starts_with('.')
            || FOLDERS.contains(&name)
            || OTHERS.contains(&name)
            || PRODUCTS.contains(&name)
    };
    top_level
        .iter()
        .filter(|name| !known(name))
        .cloned()
        .collect()
}

/// What is wrong with the names and sizes of these source files, a sentence for each.
#[must_use]
pub fn violations(files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for TextFile { path, text } in files {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.strip_suffix(".rs").unwrap_or(name);
        let lines = text.lines().count();
        if name == "mod.rs" {
            found.push(format!(
                "{path}: a module `foo` is foo.rs beside a folder foo"
            ));
        }
        if EMPTY_WORDS.contains(&stem) {
            found.push(format!(
                "{path}: name the file for the one thing that it holds"
            ));
        }
        if lines > LINES_MAX && !GENERATED.contains(&path.as_str()) {
            found.push(format!(
                "{path}: {lines} lines; split what is over {LINES_MAX}"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_at_the_top_is_named() {
        let names = ["engine", ".ci", "target", "src", "NOTES.md"].map(String::from);
        assert_eq!(strangers(&names), ["src", "NOTES.md"]);
    }

    #[test]
    fn long_badly_named_and_old_style_files_are_named() {
        let file = |path: &str, lines| TextFile {
            path: path.into(),
            text: "x\n".repeat(lines),
        };
        assert_eq!(violations(&[file("a/b.rs", LINES_MAX)]), [""; 0]);
        assert_eq!(violations(&[file("a/b.rs", LINES_MAX + 1)]).len(), 1);
        assert_eq!(violations(&[file(GENERATED[0], LINES_MAX + 1)]), [""; 0]);
        assert_eq!(
            violations(&[file("a/mod.rs", 1), file("a/utils.rs", 1)]).len(),
            2
        );
    }
}
