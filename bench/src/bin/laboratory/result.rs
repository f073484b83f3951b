//! What a run of the laboratory found, in the form of its JSON file.

use std::fmt::Write as _;

use hulse_bench::Conditions;
use serde::{Deserialize, Serialize};

use crate::target::{Share, Target, Verdict, median};

/// The number of this form; it rises when a reader has to know of a change.
pub(crate) const FORM: u32 = 1;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The number of the form.
    pub(crate) form: u32,
    /// The machine and the code.
    pub(crate) conditions: Conditions,
    /// What the broker says of its version.
    pub(crate) hulse: String,
    /// Seconds since 1970 at which it began.
    pub(crate) began_s: u64,
    /// Whether it was only to see that every row works: its figures are worth nothing.
    pub(crate) quick: bool,
    /// How often each side was measured.
    pub(crate) rounds: usize,
    /// The rows, in the order in which they were measured.
    pub(crate) rows: Vec<Row>,
    /// The curves.
    pub(crate) curves: Vec<Curve>,
}

/// One row: both sides, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: String,
    /// What is measured.
    pub(crate) work: String,
    /// What is aimed at.
    pub(crate) target: Option<Target>,
    /// Hulse's side, if the machine can show it.
    pub(crate) hulse: Option<Side>,
    /// The other side.
    pub(crate) other: Option<Side>,
    /// Hulse's figure as a share of the other one.
    pub(crate) share: Option<Share>,
    /// What came of it.
    pub(crate) verdict: Verdict,
    /// What has to be known beside it, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// One side's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Side {
    /// Who, and how.
    pub(crate) name: String,
    /// The unit of the figures.
    pub(crate) unit: String,
    /// The median of the rounds.
    pub(crate) figure: f64,
    /// The figure of each round, in their order.
    pub(crate) rounds: Vec<f64>,
}

impl Side {
    /// A side with the figures of its rounds.
    pub(crate) fn new(name: impl Into<String>, unit: &str, rounds: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            figure: median(&rounds),
            rounds,
        }
    }
}

impl Row {
    /// The row of two sides that were measured in turn, as often as each other.
    pub(crate) fn of(
        name: &str,
        work: &str,
        target: Option<Target>,
        hulse: Side,
        other: Side,
    ) -> Self {
        let rounds = hulse
            .rounds
            .iter()
            .copied()
            .zip(other.rounds.iter().copied());
        let share = Share::of(&rounds.collect::<Vec<_>>());
        let verdict = match (target, share) {
            (None, _) => Verdict::Comparison,
            (Some(target), Some(share)) if target.is_met(share.median) => Verdict::Met,
            (Some(_), _) => Verdict::Missed,
        };
        Self {
            name: name.to_owned(),
            work: work.to_owned(),
            target,
            hulse: Some(hulse),
            other: Some(other),
            share,
            verdict,
            notes: Vec::new(),
        }
    }

    /// A row that this machine cannot show, and what it shows instead.
    pub(crate) fn not_measurable(name: &str, work: &str, notes: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            work: work.to_owned(),
            target: None,
            hulse: None,
            other: None,
            share: None,
            verdict: Verdict::NotMeasurable,
            notes,
        }
    }

    /// With a sentence more.
    pub(crate) fn note(mut self, sentence: impl Into<String>) -> Self {
        self.notes.push(sentence.into());
        self
    }

    /// With a second condition, which has to hold for the target to be met.
    pub(crate) fn also(mut self, holds: bool, sentence: impl Into<String>) -> Self {
        if !holds && self.verdict == Verdict::Met {
            self.verdict = Verdict::Missed;
        }
        self.notes.push(sentence.into());
        self
    }

    /// The row for the terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}: {}\n  {}", self.name, self.verdict, self.work);
        let mut line = |line: String| {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {line}");
        };
        for side in [&self.hulse, &self.other].into_iter().flatten() {
            line(format!(
                "{:>14} {:<16} {}",
                figure(side.figure),
                side.unit,
                side.name
            ));
        }
        match (self.share, self.target) {
            (Some(share), Some(target)) => line(format!("ratio {share}, target {target}")),
            (Some(share), None) => line(format!("ratio {share}")),
            _ => {}
        }
        for note in &self.notes {
            line(note.clone());
        }
        text
    }
}

/// One plot: lines over a common axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Its name on the command line, and that of its file.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    /// What goes to the right.
    pub(crate) x: Axis,
    /// What goes up.
    pub(crate) y: Axis,
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// Under which conditions, in a sentence.
    pub(crate) note: String,
}

/// An axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Axis {
    /// What it is, with its unit.
    pub(crate) label: String,
    /// Whether a step is a factor.
    pub(crate) logarithmic: bool,
}

/// A line of a plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// Its points, from left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A figure for people: three digits or more, with separators.
pub(crate) fn figure(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 {
        grouped.insert(0, '-');
    }
    grouped
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn row(hulse: &[f64], other: &[f64], target: Option<Target>) -> Row {
        Row::of(
            "durable-ingest",
            "1 KiB messages",
            target,
            Side::new("Hulse", "MB/s", hulse.to_vec()),
            Side::new("bare writes", "MB/s", other.to_vec()),
        )
    }

    /// A run with one row of each kind and a curve.
    pub(crate) fn sample() -> Run {
        Run {
            form: FORM,
            conditions: Conditions {
                kernel: "6.1.2".into(),
                processor: "Some Processor".into(),
                cores: 2,
                load: "0.25".into(),
                file_system: "ext4".into(),
                commit: "abc1234".into(),
                optimised: true,
            },
            hulse: "0.1.0".into(),
            began_s: 1_700_000_000,
            quick: false,
            rounds: 3,
            rows: vec![
                row(
                    &[600.0, 650.0, 700.0],
                    &[1000.0; 3],
                    Some(Target::AtLeast(0.6)),
                )
                .note("0.5 us of the broker's CPU a message."),
                row(&[600.0], &[1000.0], Some(Target::Ahead)),
                Row::not_measurable(
                    "two-cores",
                    "two cores against one",
                    vec!["needs 6.".into()],
                ),
            ],
            curves: vec![Curve {
                name: "latency-against-load".into(),
                title: "Latency against load".into(),
                x: Axis {
                    label: "messages/s".into(),
                    logarithmic: false,
                },
                y: Axis {
                    label: "us".into(),
                    logarithmic: true,
                },
                lines: vec![Line {
                    name: "p99".into(),
                    points: vec![(1.0, 100.0), (2.0, 1_000.0)],
                }],
                note: "memory".into(),
            }],
        }
    }

    #[test]
    fn the_verdict_follows_from_the_median_of_the_rounds() {
        let verdict = |hulse: &[f64], other: &[f64], target| row(hulse, other, target).verdict;
        let at_least = Some(Target::AtLeast(0.6));
        assert_eq!(
            verdict(&[6.0, 1.0, 7.0], &[10.0; 3], at_least),
            Verdict::Met
        );
        assert_eq!(
            verdict(&[6.0, 1.0, 5.0], &[10.0; 3], at_least),
            Verdict::Missed
        );
        assert_eq!(
            verdict(&[], &[], at_least),
            Verdict::Missed,
            "no figure at all"
        );
        assert_eq!(verdict(&[6.0], &[10.0], None), Verdict::Comparison);
    }

    #[test]
    fn a_second_condition_can_only_take_a_verdict_away() {
        let met = || row(&[6.0], &[10.0], Some(Target::AtLeast(0.6)));
        let missed = || row(&[5.0], &[10.0], Some(Target::AtLeast(0.6)));
        assert_eq!(met().also(true, "p99").verdict, Verdict::Met);
        assert_eq!(met().also(false, "p99").verdict, Verdict::Missed);
        assert_eq!(missed().also(true, "p99").verdict, Verdict::Missed);
    }

    #[test]
    fn the_file_has_what_a_reader_needs_and_reads_back() {
        let run = sample();
        let value = serde_json::to_value(&run).unwrap();
        let first = &value["rows"][0];
        for (at, expected) in [
            (&value["form"], json!(1)),
            (&value["conditions"]["kernel"], json!("6.1.2")),
            (&value["conditions"]["cores"], json!(2)),
            (&value["conditions"]["file_system"], json!("ext4")),
            (&value["conditions"]["commit"], json!("abc1234")),
            (&value["quick"], json!(false)),
            (&first["target"], json!({"at_least": 0.6})),
            (&first["hulse"]["figure"], json!(650.0)),
            (&first["other"]["rounds"], json!([1000.0, 1000.0, 1000.0])),
            (&first["share"]["median"], json!(0.65)),
            (&first["verdict"], json!("met")),
            (&value["rows"][1]["target"], json!("ahead")),
            (&value["rows"][1]["verdict"], json!("missed")),
            (&value["rows"][2]["verdict"], json!("not measurable here")),
            (&value["rows"][2]["hulse"], Value::Null),
            (
                &value["curves"][0]["lines"][0]["points"][1],
                json!([2.0, 1000.0]),
            ),
        ] {
            assert_eq!(*at, expected);
        }
        let read: Run = serde_json::from_value(value).unwrap();
        assert_eq!(read, run);
    }

    #[test]
    fn a_row_prints_both_sides_their_ratio_and_what_is_to_be_known() {
        let text = sample().rows[0].text();
        for part in [
            "durable-ingest: met",
            "650.0 MB/s",
            "1,000 MB/s",
            "bare writes",
            "ratio 0.65 x (0.60 to 0.65), target at least 0.6 x",
            "0.5 us of the broker's CPU a message.",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let missing = sample().rows[2].text();
        assert!(
            missing.starts_with("two-cores: not measurable here\n"),
            "{missing}"
        );
    }

    #[test]
    fn figures_are_short_and_grouped() {
        for (value, text) in [
            (0.0, "0.00"),
            (9.876, "9.88"),
            (42.0, "42.0"),
            (999.94, "999.9"),
            (1_000.0, "1,000"),
            (1_234_567.8, "1,234,568"),
            (-12_345.0, "-12,345"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
