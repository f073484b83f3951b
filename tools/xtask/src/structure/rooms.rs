//! Unsafe code has few rooms, and each is named here.

use crate::repository::TextFile;

/// The files that may contain unsafe code.
pub const ROOMS: [&str; 3] = [
    "engine/log/src/map.rs",             // the memory map of a segment
    "engine/runtime/src/adopt.rs",       // adopting a raw descriptor
    "net/schema/src/hulse_generated.rs", // accessors that the FlatBuffers compiler wrote
];

/// Every place outside the rooms where the keyword stands, as `path:line`.
#[must_use]
pub fn outside(files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files
        .iter()
        .filter(|file| !ROOMS.contains(&file.path.as_str()))
    {
        for (index, line) in code_of(&file.text).lines().enumerate() {
            if has_word(line, "unsafe") {
                found.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    found
}

/// Whether `word` stands in `line` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

/// The text without comments and without the insides of string literals; line ends stay.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            string_bytes(rest)
        } else if let Some(hashes) = raw_string_hashes(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            rest[body..]
                .find(&end)
                .map_or(rest.len(), |at| body + at + end.len())
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// Length of the string literal that `text` begins with, quotes included.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// How many `#` the raw string literal has that `text` begins with, if it begins with one.
fn raw_string_hashes(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<String> {
        outside(&[TextFile {
            path: path.into(),
            text: text.into(),
        }])
    }

    #[test]
    fn the_keyword_is_found_outside_the_rooms_alone() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(
            lines("engine/log/src/segment.rs", text),
            ["engine/log/src/segment.rs:2"]
        );
        assert_eq!(lines("engine/log/src/map.rs", text), [""; 0]);
    }

    #[test]
    fn comments_strings_and_longer_words_do_not_count() {
        for text in [
            "// unsafe",
            "/* unsafe\n */",
            "let a = \"unsafe \\\" unsafe\";",
            "let a = r#\"unsafe \" unsafe\"#;",
            "#![forbid(unsafe_code)]",
        ] {
            assert_eq!(lines("a.rs", text), [""; 0], "{text}");
        }
        assert_eq!(lines("a.rs", "let a = '\"'; unsafe { g() } // \"").len(), 1);
        assert_eq!(lines("a.rs", "/* x\n */ unsafe {}"), ["a.rs:2"]);
    }
}
