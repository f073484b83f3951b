//! Paths that documents and comments name, which have to exist.

use crate::repository::TextFile;
use crate::structure::layout::FOLDERS;

/// A path that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// Where it is named, as `file:line`.
    pub place: String,
    /// The path, from the repository's root.
    pub path: String,
}

/// The paths that a Markdown document names in backticks or links to. Fenced blocks do not count:
/// they show what people type.
#[must_use]
pub fn in_document(file: &TextFile) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let place = format!("{}:{}", file.path, index + 1);
            let links = links(line).map(|link| beside(&file.path, link));
            let paths = spans(line)
                .filter(|span| is_path(span))
                .map(String::from)
                .chain(links);
            found.extend(paths.map(|path| Mention {
                place: place.clone(),
                path,
            }));
        }
    }
    found
}

/// The paths that the comments of a Rust file name in backticks.
#[must_use]
pub fn in_comments(file: &TextFile) -> Vec<Mention> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else {
            continue;
        };
        for path in spans(comment).filter(|span| is_path(span)) {
            let place = format!("{}:{}", file.path, index + 1);
            found.push(Mention {
                place,
                path: path.into(),
            });
        }
    }
    found
}

/// What stands between backticks.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Targets of links that stay inside the repository, without a section.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or(target))
}

/// Whether a span in backticks names a file or folder of the repository. Placeholders do not.
fn is_path(span: &str) -> bool {
    let plain = !span.contains(|c: char| c.is_whitespace() || "*<>{}$:…".contains(c));
    let top = span.split('/').next().unwrap_or(span);
    let known = FOLDERS.contains(&top) || ["docs", ".ci", ".cargo"].contains(&top);
    plain && known && span.contains('/')
}

/// The path of a link's target, seen from the root.
fn beside(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(mentions: &[Mention]) -> Vec<&str> {
        mentions
            .iter()
            .map(|mention| mention.path.as_str())
            .collect()
    }

    #[test]
    fn spans_and_links_are_found_and_fences_are_not() {
        let text = "`engine/log` and [ids](../a.md#x), `cargo run`, `/metrics`, `DATA/x`\n\
                    ```\n`docs/none.md`\n```\n[out](https://x.y) `tools/*`";
        let file = TextFile {
            path: "docs/adr/1.md".into(),
            text: text.into(),
        };
        let found = in_document(&file);
        assert_eq!(paths(&found), ["engine/log", "docs/a.md"]);
        assert_eq!(found[0].place, "docs/adr/1.md:1");
    }

    #[test]
    fn comments_count_and_code_does_not() {
        let text = "//! See `docs/protocol.md`.\nlet a = `docs/none.md`;\n";
        let file = TextFile {
            path: "a.rs".into(),
            text: text.into(),
        };
        assert_eq!(paths(&in_comments(&file)), ["docs/protocol.md"]);
    }
}
