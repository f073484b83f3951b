//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// What only a hang takes, on a machine that does much else.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Looks until `look` gives something, and gives that.
///
/// # Panics
/// When that takes longer than `limit`; the message names `what`.
pub fn wait_until<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    wait_looking(what, limit, LOOK, look)
}

/// The same, looking once in `every`: for what costs much to look at.
///
/// # Panics
/// As [`wait_until`].
pub fn wait_looking<T>(
    what: &str,
    limit: Duration,
    every: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(every);
    }
}
