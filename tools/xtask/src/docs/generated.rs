//! Parts of documents that are written from the code, between two marks.

use std::fs;

use super::limits;
use crate::{Failure, repository};

/// One generated part of one document.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The document.
    pub document: &'static str,
    /// The name in the marks.
    pub name: &'static str,
    /// Makes the text between the marks.
    pub make: fn() -> String,
}

/// Every generated part.
pub const PARTS: [Part; 1] = [Part {
    document: "docs/operations.md",
    name: "limits",
    make: || limits::table(&repository::read(limits::SOURCE)),
}];

/// Writes every generated part anew.
///
/// # Errors
/// When a document cannot be written or lacks its marks.
pub fn write() -> Result<(), Failure> {
    for part in PARTS {
        let text = repository::read(part.document);
        let renewed = renew(&text, part.name, &(part.make)())
            .ok_or_else(|| Failure(format!("{} lacks the marks of its part.", part.document)))?;
        if renewed != text {
            fs::write(repository::root().join(part.document), renewed)
                .map_err(|error| Failure(format!("{}: {error}.", part.document)))?;
            println!("wrote the part `{}` of {}", part.name, part.document);
        }
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
