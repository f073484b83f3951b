//! The rules of `xtask::docs`, held against the repository.

use xtask::docs::generated::{PARTS, Source};
use xtask::docs::mentions::{in_comments, in_document};
use xtask::repository::{files, read, root};

/// What an acknowledgement means. The README's first page and the start-up banner say it in the
/// same words.
const ACKNOWLEDGEMENT: &str = "An acknowledgement means: at `disk` (the default), synced on every \
    member of the in-sync set; at `memory`, out of the process (safe from `kill -9`, not from power \
    loss) on every member of it.";

/// The text on one line, without line ends, continued strings and backticks.
fn flat(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c == '\\' || c == '`');
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn parts_made_from_files_are_up_to_date() {
    for part in PARTS
        .into_iter()
        .filter(|part| matches!(part.source, Source::Files(_)))
    {
        let (_, changed) = part.renewed().unwrap();
        assert!(!changed, "{} is old; run `cargo xtask docs`", part.document);
    }
}

#[test]
fn every_path_that_is_named_exists() {
    let documents = files("md");
    let sources = files("rs");
    let in_rules = |path: &str| path.starts_with("tools/xtask/src/");
    let comments = sources
        .iter()
        .filter(|file| !in_rules(&file.path))
        .flat_map(in_comments);
    let mentions: Vec<_> = documents
        .iter()
        .flat_map(in_document)
        .chain(comments)
        .collect();
    assert!(mentions.len() > 10, "the documents name paths");
    let dead: Vec<_> = mentions
        .iter()
        .filter(|mention| !root().join(&mention.path).exists())
        .map(|mention| format!("{}: {}", mention.place, mention.path))
        .collect();
    assert!(
        dead.is_empty(),
        "paths that lead nowhere:\n  {}",
        dead.join("\n  ")
    );
}

#[test]
fn the_readme_and_the_banner_say_what_an_acknowledgement_means() {
    let sentence = flat(ACKNOWLEDGEMENT);
    assert!(flat(&read("README.md")).contains(&sentence), "README.md");
    let says = |folder: &str| {
        files("rs")
            .iter()
            .any(|file| file.path.starts_with(folder) && flat(&file.text).contains(&sentence))
    };
    assert!(
        says("tools/hulse/src/") || says("net/server/src/"),
        "the start-up banner"
    );
}

#[test]
fn decision_records_are_numbered_without_gaps_and_complete() {
    let files = files("md");
    let records: Vec<_> = files
        .iter()
        .filter(|file| file.path.starts_with("docs/adr/"))
        .collect();
    assert!(!records.is_empty());
    for (index, record) in records.iter().enumerate() {
        let number = format!("docs/adr/{:04}-", index + 1);
        assert!(
            record.path.starts_with(&number),
            "{} should begin with {number}",
            record.path
        );
        for heading in ["## Context", "## Decision", "## Consequences"] {
            assert!(
                record.text.contains(heading),
                "{} lacks {heading}",
                record.path
            );
        }
    }
}
