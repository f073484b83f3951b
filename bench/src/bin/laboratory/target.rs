//! What is aimed at, and whether it was reached. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a row aims at: a bound for Hulse's figure as a share of the other side's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// So many times the other side's figure, or more.
    AtLeast(f64),
    /// So many times the other side's figure, or less.
    AtMost(f64),
    /// More than the other side's figure.
    Ahead,
}

impl Target {
    /// Whether a ratio is what was aimed at. A ratio that is no number is not.
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
            Self::Ahead => ratio > 1.0,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound} x"),
            Self::AtMost(bound) => write!(f, "at most {bound} x"),
            Self::Ahead => write!(f, "ahead"),
        }
    }
}

/// What came of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The target was reached.
    #[serde(rename = "met")]
    Met,
    /// It was not.
    #[serde(rename = "missed")]
    Missed,
    /// This machine cannot show it.
    #[serde(rename = "not measurable here")]
    NotMeasurable,
    /// There is nothing to reach: the figures stand beside those of another row.
    #[serde(rename = "for comparison")]
    Comparison,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NotMeasurable => "not measurable here",
            Self::Comparison => "for comparison",
        })
    }
}

/// Hulse's figure as a share of the other side's: the median over the rounds, with the quartiles
/// around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// A quarter of the rounds have a lower one.
    pub(crate) lower: f64,
    /// Half of them have.
    pub(crate) median: f64,
    /// Three quarters of them have.
    pub(crate) upper: f64,
}

impl Share {
    /// Of rounds, each with Hulse's figure and the other side's. `None` without any in which both
    /// are above zero.
    pub(crate) fn of(rounds: &[(f64, f64)]) -> Option<Self> {
        let mut shares: Vec<f64> = rounds
            .iter()
            .filter(|(hulse, other)| *hulse > 0.0 && *other > 0.0)
            .map(|(hulse, other)| hulse / other)
            .collect();
        if shares.is_empty() {
            return None;
        }
        shares.sort_unstable_by(f64::total_cmp);
        let [lower, median, upper] =
            [1, 2, 3].map(|quarter| shares[(shares.len() - 1) * quarter / 4]);
        Some(Self {
            lower,
            median,
            upper,
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lower,
            median,
            upper,
        } = self;
        write!(f, "{median:.2} x ({lower:.2} to {upper:.2})")
    }
}

/// The value in the middle; 0 when there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_target_and_being_level_is_not_being_ahead() {
        for (target, met, missed) in [
            (Target::AtLeast(0.6), 0.6, 0.599),
            (Target::AtMost(3.0), 3.0, 3.001),
            (Target::Ahead, 1.001, 1.0),
        ] {
            assert!(target.is_met(met), "{target}: {met}");
            assert!(!target.is_met(missed), "{target}: {missed}");
            assert!(!target.is_met(f64::NAN), "{target}");
        }
    }

    #[test]
    fn the_share_is_taken_round_by_round() {
        // The machine was slow in the third round, for both sides.
        let rounds = [(60.0, 100.0), (70.0, 100.0), (6.5, 10.0)];
        let share = Share::of(&rounds).unwrap();
        assert_eq!((share.lower, share.median, share.upper), (0.6, 0.65, 0.65));
        assert_eq!(share.to_string(), "0.65 x (0.60 to 0.65)");
    }

    #[test]
    fn a_round_without_a_figure_does_not_count() {
        assert_eq!(Share::of(&[]), None);
        assert_eq!(Share::of(&[(0.0, 1.0), (1.0, 0.0)]), None);
        assert_eq!(Share::of(&[(0.0, 1.0), (1.0, 2.0)]).unwrap().median, 0.5);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.0);
    }
}
