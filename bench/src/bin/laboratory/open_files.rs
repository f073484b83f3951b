//! How many files the broker may have open, which it inherits from the laboratory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files of a partition that is in use: one for each of its two logs, until one of them is idle. An idle
/// partition has none, but the rows use all of theirs within a second.
const PARTITION_FILES: u64 = 2;
/// Files and sockets beside those.
const OTHERS: u64 = 4_000;

/// Raises the limit to what so many partitions need, where the system lets this process do that.
/// Gives a sentence when it does not.
pub(crate) fn raise(partitions: u32) -> Option<String> {
    let needed = u64::from(partitions) * PARTITION_FILES + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let wanted = raised(&limit, needed)?;
    setrlimit(Resource::Nofile, wanted).err().map(|error| {
        format!(
            "{partitions} partitions in use may need {needed} open files, and the limit cannot be \
             raised to that ({error}): rows with that many partitions may be slowed down by \
             refusals. `ulimit -n` sets it."
        )
    })
}

/// The limit that leaves room for so many; `None` when there is room already.
fn raised(limit: &Rlimit, needed: u64) -> Option<Rlimit> {
    let has_room = |bound: Option<u64>| bound.is_none_or(|bound| bound >= needed);
    if has_room(limit.current) {
        return None;
    }
    Some(Rlimit {
        current: Some(needed),
        maximum: if has_room(limit.maximum) {
            limit.maximum
        } else {
            Some(needed)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_only_as_far_as_needed() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(raised(&limit(Some(100), Some(100)), 100), None);
        assert_eq!(raised(&limit(None, None), 100), None);
        assert_eq!(
            raised(&limit(Some(10), Some(200)), 100),
            Some(limit(Some(100), Some(200)))
        );
        assert_eq!(
            raised(&limit(Some(10), Some(20)), 100),
            Some(limit(Some(100), Some(100)))
        );
        assert_eq!(
            raised(&limit(Some(10), None), 100),
            Some(limit(Some(100), None))
        );
    }
}
