//! The handshake: HELLO and WELCOME, and what the two sides agree on.

use hulse_model::limits::{BEACON_INTERVAL_MS, BEACON_TIMEOUT_MS, BEACON_TIMEOUT_RANGE_MS};
use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{TEXT_BYTES_MAX, Violation, check_text};

/// The newest version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The oldest version of the protocol that this program speaks.
pub const PROTOCOL_VERSION_MIN: u16 = 1;

/// How many beacons fit into a time-out: this many may be late or lost before a peer is held for
/// dead.
const BEACONS_PER_TIMEOUT: u32 = BEACON_TIMEOUT_MS / BEACON_INTERVAL_MS;

/// HELLO: a client's first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The oldest version that the client speaks.
    pub version_min: u16,
    /// The newest version that the client speaks.
    pub version_max: u16,
    /// Program and version, for logs: up to 255 bytes without control characters.
    pub client: &'a str,
    /// How long either side may be silent, in milliseconds; 0 asks for the broker's default.
    pub beacon_timeout_ms: u32,
}

/// How often each side of a connection says something, and how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacons {
    /// How often a side with nothing to say sends a beacon, in milliseconds.
    pub interval_ms: u32,
    /// How long a side may be silent before it is held for dead, in milliseconds.
    pub timeout_ms: u32,
}

impl Hello<'_> {
    /// The newest version that both sides speak; `None` when there is none, which is answered with
    /// `UNSUPPORTED_VERSION`.
    #[must_use]
    pub fn common_version(&self) -> Option<u16> {
        let newest = self.version_max.min(PROTOCOL_VERSION);
        (newest >= self.version_min.max(PROTOCOL_VERSION_MIN)).then_some(newest)
    }

    /// The beacons that hold when this is asked for: the broker's default for 0, otherwise what is
    /// asked for within the range of [`BEACON_TIMEOUT_RANGE_MS`].
    #[must_use]
    pub fn agreed_beacons(&self) -> Beacons {
        let (shortest, longest) = BEACON_TIMEOUT_RANGE_MS;
        let timeout_ms = match self.beacon_timeout_ms {
            0 => BEACON_TIMEOUT_MS,
            asked => asked.clamp(shortest, longest),
        };
        Beacons {
            interval_ms: timeout_ms / BEACONS_PER_TIMEOUT,
            timeout_ms,
        }
    }

    fn check(&self) -> Result<(), Violation> {
        if self.version_min > self.version_max {
            let value = i128::from(self.version_min);
            return Err(Violation::OutOfRange {
                field: "version_min",
                value,
            });
        }
        check_text("client", self.client, TEXT_BYTES_MAX)
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let client = builder.create_string(self.client);
        let args = schema::HelloArgs {
            version_min: self.version_min,
            version_max: self.version_max,
            client: Some(client),
            beacon_timeout_ms: self.beacon_timeout_ms,
        };
        let table = schema::Hello::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }
}

impl<'a> Hello<'a> {
    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Hello<'a>>(frame)?;
        let hello = Self {
            version_min: table.version_min(),
            version_max: table.version_max(),
            client: table.client().unwrap_or_default(),
            beacon_timeout_ms: table.beacon_timeout_ms(),
        };
        hello
            .check()
            .map_err(|violation| frame.refused(violation))?;
        Ok(hello)
    }
}

/// WELCOME: the broker's answer to HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The version that both sides speak from now on.
    pub version: u16,
    /// The broker's name.
    pub broker: &'a str,
    /// The name of its region.
    pub region: &'a str,
    /// How often each side sends a beacon, and how long it may be silent.
    pub beacons: Beacons,
    /// The largest message, in bytes.
    pub message_bytes_max: u32,
    /// The largest frame, in bytes.
    pub frame_bytes_max: u32,
    /// The most requests without an answer that the broker reads from this connection.
    pub inflight_max: u32,
}

impl Welcome<'_> {
    fn check(&self) -> Result<(), Violation> {
        if self.version == 0 {
            return Err(Violation::Missing { field: "version" });
        }
        check_text("broker", self.broker, TEXT_BYTES_MAX)?;
        check_text("region", self.region, TEXT_BYTES_MAX)
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        self.check()?;
        let broker = builder.create_string(self.broker);
        let region = builder.create_string(self.region);
        let args = schema::WelcomeArgs {
            version: self.version,
            broker: Some(broker),
            region: Some(region),
            beacon_interval_ms: self.beacons.interval_ms,
            beacon_timeout_ms: self.beacons.timeout_ms,
            message_bytes_max: self.message_bytes_max,
            frame_bytes_max: self.frame_bytes_max,
            inflight_max: self.inflight_max,
        };
        let table = schema::Welcome::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }
}

impl<'a> Welcome<'a> {
    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Welcome<'a>>(frame)?;
        let welcome = Self {
            version: table.version(),
            broker: table.broker().unwrap_or_default(),
            region: table.region().unwrap_or_default(),
            beacons: Beacons {
                interval_ms: table.beacon_interval_ms(),
                timeout_ms: table.beacon_timeout_ms(),
            },
            message_bytes_max: table.message_bytes_max(),
            frame_bytes_max: table.frame_bytes_max(),
            inflight_max: table.inflight_max(),
        };
        welcome
            .check()
            .map_err(|violation| frame.refused(violation))?;
        Ok(welcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version_min: u16, version_max: u16, beacon_timeout_ms: u32) -> Hello<'static> {
        Hello {
            version_min,
            version_max,
            client: "",
            beacon_timeout_ms,
        }
    }

    #[test]
    fn the_newest_common_version_is_taken() {
        assert_eq!(hello(1, 1, 0).common_version(), Some(1));
        assert_eq!(hello(0, 9, 0).common_version(), Some(PROTOCOL_VERSION));
        assert_eq!(hello(PROTOCOL_VERSION + 1, 9, 0).common_version(), None);
        assert_eq!(hello(0, PROTOCOL_VERSION_MIN - 1, 0).common_version(), None);
    }

    #[test]
    fn a_time_out_is_agreed_within_its_range() {
        let default = Beacons {
            interval_ms: BEACON_INTERVAL_MS,
            timeout_ms: BEACON_TIMEOUT_MS,
        };
        assert_eq!(hello(1, 1, 0).agreed_beacons(), default);
        assert_eq!(
            hello(1, 1, 1).agreed_beacons().timeout_ms,
            BEACON_TIMEOUT_RANGE_MS.0
        );
        assert_eq!(
            hello(1, 1, u32::MAX).agreed_beacons().timeout_ms,
            BEACON_TIMEOUT_RANGE_MS.1
        );
        for asked in [0, 1, 200, 777, 60_000, u32::MAX] {
            let beacons = hello(1, 1, asked).agreed_beacons();
            assert!(beacons.interval_ms > 0 && beacons.interval_ms * 2 <= beacons.timeout_ms);
        }
    }
}
