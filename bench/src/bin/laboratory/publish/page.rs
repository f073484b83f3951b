//! The generated section of `docs/benchmarks.md`. Pure.

use std::fmt::Write as _;

use crate::result::{Row, Run, Side, figure};

/// What stands around the section.
const BEGIN: &str = "<!-- measured: written by the laboratory, not by hand -->";
const END: &str = "<!-- measured: end -->";

/// The page with its section written anew; `None` when its markers are missing.
pub(crate) fn with_section(page: &str, run: &Run) -> Option<String> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    let section = section(run);
    Some(format!("{}\n{section}{}", &page[..begin], &page[end..]))
}

/// The section.
fn section(run: &Run) -> String {
    let mut text = String::new();
    let mut add = |part: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(part);
    };
    let conditions = run.conditions.to_string();
    add(format_args!(
        "\nMeasured on {}, each side {} times, in turn. Hulse {}. {}.\n",
        date(run.began_s),
        run.rounds,
        run.hulse,
        capital(&conditions)
    ));
    if run.quick {
        add(format_args!(
            "\n**A quick run, to see that every row works: its figures are worth nothing.**\n"
        ));
    }
    add(format_args!(
        "\n| row | work | Hulse | the other side | ratio (quartiles) | target | |\n\
         |---|---|---|---|---|---|---|\n"
    ));
    for row in &run.rows {
        add(format_args!("{}", table_row(row)));
    }
    let noted = run.rows.iter().filter(|row| !row.notes.is_empty());
    for (at, row) in noted.enumerate() {
        let lead = if at == 0 { "\n" } else { "" };
        add(format_args!(
            "{lead}- `{}`: {}\n",
            row.name,
            row.notes.join(" ")
        ));
    }
    for curve in &run.curves {
        add(format_args!(
            "\n![{}](benchmarks/{}.svg)\n",
            curve.title, curve.name
        ));
    }
    add(format_args!("\n"));
    text
}

fn table_row(row: &Row) -> String {
    let side = |side: &Option<Side>| {
        side.as_ref().map_or(String::new(), |side| {
            format!("{} {} ({})", figure(side.figure), side.unit, side.name)
        })
    };
    let share = row.share.map_or(String::new(), |share| share.to_string());
    let target = row
        .target
        .map_or(String::new(), |target| target.to_string());
    let cells = [
        format!("`{}`", row.name),
        row.work.clone(),
        side(&row.hulse),
        side(&row.other),
        share,
        target,
        row.verdict.to_string(),
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

/// The day of a moment, as `year-month-day`, in the calendar that the world uses (the algorithm is
/// that of Howard Hinnant's "chrono-compatible low-level date algorithms").
pub(crate) fn date(seconds_since_1970: u64) -> String {
    let days = seconds_since_1970 / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample;

    #[test]
    fn the_section_replaces_what_was_there_and_nothing_else() {
        let page = format!("# Title\n\nabove\n\n{BEGIN}\n\nold\n\n{END}\n\nbelow\n");
        let once = with_section(&page, &sample()).unwrap();
        assert!(once.starts_with("# Title\n\nabove\n\n") && once.ends_with("\n\nbelow\n"));
        assert!(!once.contains("old"), "{once}");
        assert_eq!(
            with_section(&once, &sample()).unwrap(),
            once,
            "again, nothing changes"
        );
        assert_eq!(with_section("no markers", &sample()), None);
        assert_eq!(with_section(&format!("{END} {BEGIN}"), &sample()), None);
    }

    #[test]
    fn the_section_has_conditions_rows_notes_and_plots() {
        let text = section(&sample());
        for part in [
            "Measured on 2023-11-14, each side 3 times, in turn. Hulse 0.1.0. Conditions: kernel 6.1.2;",
            "| `durable-ingest` | 1 KiB messages | 650.0 MB/s (Hulse) | 1,000 MB/s (bare writes) | \
             0.65 x (0.60 to 0.65) | at least 0.6 x | met |",
            "| MISSED |",
            "| `two-cores` | two cores against one |  |  |  |  | not measurable here |",
            "- `durable-ingest`: 0.5 us of the broker's CPU a message.\n",
            "![Latency against load](benchmarks/latency-against-load.svg)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("worth nothing"));
        let quick = Run {
            quick: true,
            ..sample()
        };
        assert!(section(&quick).contains("worth nothing"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_767_225_599, "2025-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
