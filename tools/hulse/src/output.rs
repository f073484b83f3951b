//! What commands print on stdout: text, tables and JSON.

use std::io::{self, ErrorKind, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, LineStyle, Table};
use serde::Serialize;

use crate::exit::{Exit, Failure, Outcome};

/// Writes a text to stdout. A reader that has gone away has seen what it wanted.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::failed(format_args!(
            "stdout cannot be written: {error}"
        ))),
    }
}

/// Writes a value to stdout as JSON for programs.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_json(value: &impl Serialize) -> Outcome {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format_args!("the answer is no JSON: {error}")))?;
    text.push('\n');
    print(&text)
}

/// A table with these headings, as wide as the terminal allows.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING.header_separator(LineStyle::none().fill('-').junction('-')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings);
    table
}

/// A table as text that ends with a line end.
pub(crate) fn text_of(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Bytes for people: "512 B", "1.5 GiB".
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(scale);
    if tenths % 10 == 0 {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A ratio such as R or T: "1", "1.5".
pub(crate) fn ratio(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (3 << 29, "1.5 GiB"),
            (5 << 20, "5 MiB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (0.333, "0.33"),
            (0.0, "0"),
            (10.0, "10"),
        ] {
            assert_eq!(ratio(value), text);
        }
    }

    #[test]
    fn a_table_has_its_headings_and_rows() {
        let mut table = table(["name", "size"]);
        table.add_row(["a", "1"]);
        let text = text_of(&table);
        assert!(
            text.contains("name") && text.contains('a') && text.ends_with('\n'),
            "{text}"
        );
    }
}
