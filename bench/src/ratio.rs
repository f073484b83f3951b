//! How near to its limit something is.

use std::fmt;
use std::time::Duration;

/// The speed of Hulse's code as a share of the speed of the bare limit: 1 when they are equally
/// fast, 0.5 when Hulse takes twice as long.
///
/// It is the median over many pairs of measurements, each taken one right after the other, so that
/// what slows the machine down for a while slows both sides of most pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// A quarter of the pairs have a lower share.
    pub lower: f64,
    /// Half of them have.
    pub median: f64,
    /// Three quarters of them have.
    pub upper: f64,
    /// The median of what one piece of work took with Hulse's code.
    pub hulse: Duration,
    /// The same for the limit.
    pub limit: Duration,
}

/// The same pieces of work, done by both sides one right after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// How many pieces each side did.
    pub pieces: u64,
    /// How long all of them took with Hulse's code.
    pub hulse: Duration,
    /// How long they took at the limit.
    pub limit: Duration,
}

impl Ratio {
    /// The ratio of many pairs. `None` without any whose times are both above zero.
    #[must_use]
    pub fn of(pairs: &[Pair]) -> Option<Self> {
        let counted = pairs
            .iter()
            .filter(|pair| pair.pieces > 0 && !pair.hulse.is_zero() && !pair.limit.is_zero());
        let seconds: Vec<(f64, f64)> = counted
            .map(|pair| {
                let one = |time: Duration| time.as_secs_f64() / pair.pieces as f64;
                (one(pair.hulse), one(pair.limit))
            })
            .collect();
        if seconds.is_empty() {
            return None;
        }
        let [lower, median, upper] = quartiles(seconds.iter().map(|(hulse, limit)| limit / hulse));
        let [_, hulse, _] = quartiles(seconds.iter().map(|(hulse, _)| *hulse));
        let [_, limit, _] = quartiles(seconds.iter().map(|(_, limit)| *limit));
        Some(Self {
            lower,
            median,
            upper,
            hulse: Duration::from_secs_f64(hulse),
            limit: Duration::from_secs_f64(limit),
        })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lower,
            median,
            upper,
            hulse,
            limit,
        } = self;
        write!(
            f,
            "{median:.2} (quartiles {lower:.2} to {upper:.2}; {hulse:.2?} against {limit:.2?})"
        )
    }
}

/// The values at a quarter, a half and three quarters of the way from the lowest to the highest.
///
/// # Panics
/// When there are no values.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarters| sorted[(sorted.len() - 1) * quarters / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    const fn pair(hulse: Duration, limit: Duration) -> Pair {
        Pair {
            pieces: 1,
            hulse,
            limit,
        }
    }

    /// Lower quartile, median and upper quartile.
    fn shares(pairs: &[Pair]) -> [f64; 3] {
        let ratio = Ratio::of(pairs).unwrap();
        [ratio.lower, ratio.median, ratio.upper]
    }

    #[test]
    fn twice_the_time_is_half_the_speed() {
        assert_eq!(shares(&[pair(us(20), us(10))]), [0.5; 3]);
        assert_eq!(shares(&[pair(us(10), us(20))]), [2.0; 3]);
    }

    #[test]
    fn times_are_told_for_one_piece() {
        let ratio = Ratio::of(&[Pair {
            pieces: 10,
            hulse: us(200),
            limit: us(100),
        }])
        .unwrap();
        assert_eq!((ratio.hulse, ratio.limit), (us(20), us(10)));
    }

    #[test]
    fn a_hiccup_on_one_side_does_not_move_the_median() {
        let mut pairs = vec![pair(us(20), us(10)); 9];
        pairs.push(pair(us(20), us(1_000)));
        pairs.push(pair(us(9_000), us(10)));
        assert_eq!(shares(&pairs), [0.5; 3]);
    }

    #[test]
    fn the_quartiles_stand_around_the_median() {
        let pairs: Vec<_> = (1..=5).map(|share| pair(us(64), us(share * 64))).collect();
        assert_eq!(shares(&pairs), [2.0, 3.0, 4.0]);
    }

    #[test]
    fn times_that_the_clock_could_not_tell_from_nothing_do_not_count() {
        assert_eq!(Ratio::of(&[]), None);
        let nothing = pair(Duration::ZERO, us(1));
        assert_eq!(Ratio::of(&[nothing, pair(us(1), Duration::ZERO)]), None);
        assert_eq!(shares(&[nothing, pair(us(2), us(1))]), [0.5; 3]);
    }

    #[test]
    fn the_line_has_the_share_its_spread_and_both_times() {
        let ratio = Ratio::of(&[pair(us(20), us(15))]).unwrap();
        assert_eq!(
            ratio.to_string(),
            "0.75 (quartiles 0.75 to 0.75; 20.00µs against 15.00µs)"
        );
    }
}
