//! The least that any program would have to do for the same work.

pub(crate) mod copy;
pub(crate) mod disk;
pub(crate) mod ping_pong;

use std::time::Duration;

/// The time that 99 in 100 do not exceed, in microseconds; 0 when there are none.
pub(crate) fn p99_us(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_is_above_it() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        assert!((p99_us(&times) - 198.0).abs() < 1e-9);
        assert!((p99_us(&times[..1]) - 200.0).abs() < 1e-9);
        assert_eq!(p99_us(&[]), 0.0);
    }
}
