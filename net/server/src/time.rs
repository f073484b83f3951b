//! The clocks of this process, read at the rim and given to the rules as arguments.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hulse_shard::Clock;

/// Where the monotonic milliseconds of one process begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    origin: Instant,
}

impl Clocks {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Now, by both clocks.
    pub(crate) fn now(self) -> Clock {
        Clock {
            monotonic_ms: self.monotonic_ms(),
            wall_ms: wall_ms(),
        }
    }

    /// Milliseconds since the process started, by a clock that never goes back.
    pub(crate) fn monotonic_ms(self) -> u64 {
        millis(self.origin.elapsed())
    }
}

/// Milliseconds since 1970; 0 before.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
