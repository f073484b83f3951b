//! Times and durations as people write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::value::{Datetime, Offset};

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time, in milliseconds since 1970: such a number, or as RFC 3339 has it.
pub(crate) fn moment(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        text.parse::<Datetime>()
            .ok()
            .and_then(|datetime| since_1970(&datetime))
    })
}

/// A length of time: `250ms`, `90s`, `15m`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60 * 1_000),
        ("h", 60 * 60 * 1_000),
        ("d", 24 * 60 * 60 * 1_000),
    ];
    units.into_iter().find_map(|(unit, ms)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(ms).map(Duration::from_millis)
    })
}

/// Milliseconds since 1970; UTC when no offset is named, midnight when no time is.
fn since_1970(datetime: &Datetime) -> Option<u64> {
    let date = datetime.date?;
    let days = days_since_1970(
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let mut ms = days * 24 * 60 * 60 * 1000;
    if let Some(time) = datetime.time {
        let minutes = i64::from(time.hour) * 60 + i64::from(time.minute);
        let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
        ms += seconds * 1000 + i64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
    }
    if let Some(Offset::Custom { minutes }) = datetime.offset {
        ms -= i64::from(minutes) * 60 * 1000;
    }
    u64::try_from(ms).ok()
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so that
/// the day that comes and goes is their last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("90s", Some(90_000)),
            ("15m", Some(900_000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("1.5s", None),
            ("99999999999999999999d", None),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn days_are_counted_without_a_gap_over_four_hundred_years() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut expected = 0;
        for year in 1970..2370 {
            for month in 1..=12 {
                let length = match month {
                    2 => 28 + i64::from(leap(year)),
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                for day in 1..=length {
                    assert_eq!(
                        days_since_1970(year, month, day),
                        expected,
                        "{year}-{month}-{day}"
                    );
                    expected += 1;
                }
            }
        }
    }
}
