//! The table of settings for the documentation.

use std::fmt::Write as _;

use super::settings::{SETTINGS, Scope};

/// The settings as a Markdown table.
pub(crate) fn markdown() -> String {
    let mut table = String::from(
        "| setting | flag | environment | for | unit | default | range | what for |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let scope = match setting.scope {
            Scope::Serve => "serve",
            Scope::Client => "client commands",
        };
        let value = match setting.value {
            "" => String::new(),
            value => format!(" {}", cell(value)),
        };
        let unit = if setting.unit.is_empty() {
            "-"
        } else {
            setting.unit
        };
        let _ = writeln!(
            table,
            "| `{}` | `--{}{value}` | `{}` | {scope} | {unit} | {} | {} | {} |",
            setting.name,
            setting.flag,
            setting.env,
            cell(setting.default),
            cell(setting.range),
            cell(setting.about),
        );
    }
    table
}

/// A text that cannot end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_eight_cells() {
        let table = markdown();
        assert_eq!(table.lines().count(), SETTINGS.len() + 2);
        for line in table.lines() {
            let bars = line.matches('|').count() - line.matches("\\|").count();
            assert_eq!(bars, 9, "{line}");
        }
        assert!(table.contains("| `admin` | `--admin H:P\\|off` | `HULSE_ADMIN` | serve | - |"));
    }
}
