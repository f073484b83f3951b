//! The table of metrics, as `net/server/src/metrics.rs` states them.

use std::fmt::Write as _;

/// The file that states the metrics.
pub const SOURCE: &str = "net/server/src/metrics.rs";

/// One metric of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as a scraper sees it.
    pub name: String,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it says.
    pub about: String,
}

/// Reads the table `FIGURES` of the source's text: rows of a name, a sentence and a kind.
///
/// # Panics
/// When the table is not there or a row is not of that form.
#[must_use]
pub fn parse(source: &str) -> Vec<Metric> {
    let (_, table) = source
        .split_once("const FIGURES")
        .expect("there is a table of figures");
    let (table, _) = table.split_once("\n];").expect("the table ends");
    // Every second piece stands between quotation marks.
    let pieces: Vec<&str> = table.split('"').skip(1).collect();
    let rows = pieces.chunks_exact(4);
    assert!(rows.remainder().is_empty(), "every row has two texts");
    rows.map(|row| {
        let (name, about) = (row[0], row[2].to_owned());
        match row[3]
            .trim_start_matches([',', ' ', '\n'])
            .split(',')
            .next()
        {
            Some("Counter") => Metric {
                name: format!("hulse_{name}_total"),
                kind: "counter",
                about,
            },
            Some("Gauge") => Metric {
                name: format!("hulse_{name}"),
                kind: "gauge",
                about,
            },
            other => panic!("{name} is neither a counter nor a gauge but {other:?}"),
        }
    })
    .collect()
}

/// The metrics as a Markdown table.
#[must_use]
pub fn table(source: &str) -> String {
    let mut table = String::from("| metric | kind | meaning |\n|---|---|---|\n");
    for Metric { name, kind, about } in parse(source) {
        let _ = writeln!(table, "| `{name}` | {kind} | {about} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_however_they_are_broken() {
        let source = "const FIGURES: &[Figure] = &[\n    (\"a\", \"First\", Counter, |c| c.a),\n    \
                      (\n        \"b\",\n        \"Second\",\n        Gauge,\n        |c| c.b,\n    \
                      ),\n];\nlet help = \"x\";\n";
        let expected = "| metric | kind | meaning |\n|---|---|---|\n\
                        | `hulse_a_total` | counter | First |\n\
                        | `hulse_b` | gauge | Second |\n";
        assert_eq!(table(source), expected);
    }
}
