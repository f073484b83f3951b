//! Places that people name: an id, a time, the beginning, the end.

use std::time::Duration;

use hulse_client::{MessageId, SeekTo};

use crate::moment::{duration, milliseconds, moment, now};

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
        Self::read_at(text, now())
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
        let ago_ms = || duration(text).map(|ago| milliseconds(now.saturating_sub(ago)));
        moment(text).or_else(ago_ms).map(Self::Time).ok_or_else(|| {
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
}
