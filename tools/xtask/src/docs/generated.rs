//! Parts of documents that are written from the code, between two marks.

use std::fs;
use std::path::PathBuf;

use super::{limits, metrics};
use crate::command::{cargo, output, program, run};
use crate::steps::Options;
use crate::{Failure, repository};

/// One generated part of one document.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The document.
    pub document: &'static str,
    /// The name in the marks.
    pub name: &'static str,
    /// Where its text comes from.
    pub source: Source,
}

/// Where the text of a part comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The repository's files.
    Files(fn() -> String),
    /// What the program prints with these arguments.
    Program(&'static [&'static str]),
}

/// Every generated part.
pub const PARTS: [Part; 3] = [
    Part {
        document: "docs/operations.md",
        name: "metrics",
        source: Source::Files(|| metrics::table(&repository::read(metrics::SOURCE))),
    },
    Part {
        document: "docs/operations.md",
        name: "limits",
        source: Source::Files(|| limits::table(&repository::read(limits::SOURCE))),
    },
    Part {
        document: "docs/operations.md",
        name: "settings",
        source: Source::Program(&["docs", "config-table"]),
    },
];

impl Part {
    /// Makes the document's text with this part renewed, and whether that changes anything.
    ///
    /// # Errors
    /// When the document lacks the marks, or the program cannot be built or fails.
    pub fn renewed(&self) -> Result<(String, bool), Failure> {
        let made = match self.source {
            Source::Files(make) => make(),
            Source::Program(arguments) => output(program(built()?).args(arguments))?,
        };
        let text = repository::read(self.document);
        let renewed = renew(&text, self.name, &made).ok_or_else(|| {
            Failure(format!(
                "{} lacks the marks of its part `{}`.",
                self.document, self.name
            ))
        })?;
        let changed = renewed != text;
        Ok((renewed, changed))
    }
}

/// The program, built as the tests build it, so that neither builds anything twice.
fn built() -> Result<PathBuf, Failure> {
    let arguments = [
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--no-run",
    ];
    run(cargo().args(arguments))?;
    Ok(repository::target().join("debug/hulse"))
}

/// Writes every generated part anew.
///
/// # Errors
/// When a document cannot be written or lacks its marks, or the program cannot be built.
pub fn write() -> Result<(), Failure> {
    for part in PARTS {
        let (text, changed) = part.renewed()?;
        if changed {
            fs::write(repository::root().join(part.document), text)
                .map_err(|error| Failure(format!("{}: {error}.", part.document)))?;
            println!("wrote the part `{}` of {}", part.name, part.document);
        }
    }
    Ok(())
}

/// Fails unless every generated part is what the code makes it.
///
/// # Errors
/// When one is not, and as [`write()`].
pub fn check(_: &Options) -> Result<(), Failure> {
    for part in PARTS {
        if part.renewed()?.1 {
            return Err(Failure(format!(
                "The part `{}` of {} is old; run `cargo xtask docs`.",
                part.name, part.document
            )));
        }
        println!(
            "the part `{}` of {} is up to date",
            part.name, part.document
        );
    }
    Ok(())
}

/// The document with `made` between its marks, or `None` when it lacks them.
#[must_use]
pub fn renew(text: &str, name: &str, made: &str) -> Option<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let end = format!("<!-- end: {name} -->");
    let from = text.find(&begin)? + begin.len();
    let to = from + text[from..].find(&end)?;
    Some(format!("{}{made}{}", &text[..from], &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n";
        let renewed = renew(text, "x", "new\n").unwrap();
        assert_eq!(
            renewed,
            "a\n<!-- generated: x -->\nnew\n<!-- end: x -->\nb\n"
        );
        assert_eq!(renew(text, "y", ""), None);
    }
}
