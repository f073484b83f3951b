//! Places that people name: an id, a time, the beginning, the end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hulse_client::{MessageId, SeekTo};
use toml::value::{Datetime, Offset};

/// Where a subscription is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The oldest message.
    Earliest,
    /// After the newest.
    Latest,
    /// A message.
    Id(MessageId),
    /// A time, in milliseconds since 1970.
    Time(u64),
}

impl Place {
    /// Reads a place.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::read_at(text, now)
    }

    fn read_at(text: &str, now: Duration) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let plain_number = || text.parse::<u64>().ok();
        let ago_ms = || ago(text).map(|ago| milliseconds(now.saturating_sub(ago)));
        let dated = || {
            text.parse::<Datetime>()
                .ok()
                .and_then(|datetime| since_1970(&datetime))
        };
        plain_number()
            .or_else(ago_ms)
            .or_else(dated)
            .map(Self::Time)
            .ok_or_else(|| {
                "it is earliest, latest, an id such as 1:25:-1:0, a time such as \
             2026-11-22T14:30:00Z, or how long ago, such as 15m"
                    .to_owned()
            })
    }

    /// The place as the broker is told.
    pub(crate) const fn seek(self) -> SeekTo {
        match self {
            Self::Earliest => SeekTo::Earliest,
            Self::Latest => SeekTo::Latest,
            Self::Id(id) => SeekTo::Position(id),
            Self::Time(ms) => SeekTo::Time(ms),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `90s`, `15m`, `2h`, `7d`.
fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    count.checked_mul(seconds).map(Duration::from_secs)
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

    fn read(text: &str) -> Result<Place, String> {
        Place::read_at(text, Duration::from_secs(1_000_000))
    }

    #[test]
    fn places_are_read() {
        let cases = [
            ("earliest", Place::Earliest),
            ("latest", Place::Latest),
            ("1:25:-1:0", Place::Id("1:25:-1:0".parse().unwrap())),
            ("1795357800000", Place::Time(1_795_357_800_000)),
            ("90s", Place::Time(999_910_000)),
            ("15m", Place::Time(999_100_000)),
            ("2h", Place::Time(992_800_000)),
            ("1d", Place::Time(913_600_000)),
            ("999d", Place::Time(0)),
            ("1970-01-01", Place::Time(0)),
            ("1970-01-02T00:00:01Z", Place::Time(86_401_000)),
            ("2026-11-22T14:30:00Z", Place::Time(1_795_357_800_000)),
            (
                "2026-11-22T15:30:00.250+01:00",
                Place::Time(1_795_357_800_250),
            ),
            ("2026-11-22 14:30:00", Place::Time(1_795_357_800_000)),
            ("2024-02-29T00:00:00Z", Place::Time(1_709_164_800_000)),
        ];
        for (text, place) in cases {
            assert_eq!(read(text), Ok(place), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "soon",
            "1:2:3",
            "-5m",
            "5w",
            "m",
            "2026-13-01",
            "14:30:00",
            "1960-01-01",
        ] {
            assert!(read(bad).is_err(), "{bad}");
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
