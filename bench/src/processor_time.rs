//! How long processors have worked.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What all threads of this process have used so far, in user and system, the kernel's workers for
/// it included.
#[must_use]
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// What all processors of the machine have done so far that was not idling, or `None` where the
/// kernel does not say. Here is also what the kernel's own threads do, which write out what a
/// process has left in the page cache.
#[must_use]
pub fn machine_time() -> Option<Duration> {
    busy_in(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Reads the first line of `/proc/stat`, in hundredths of a second.
fn busy_in(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user, nice, system, idle, waiting for a disk, interrupts, soft interrupts; what guests had
    // is in user already, and what was stolen was no work.
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(7)
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, interrupts, soft] = fields[..] else {
        return None;
    };
    Some(Duration::from_millis(
        (user + nice + system + interrupts + soft) * 10,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_busy_with_all_but_idling() {
        let stat = "cpu  1 20 300 9999 9999 4000 50000 77 88 99\ncpu0 1 1 1 1\n";
        assert_eq!(busy_in(stat), Some(Duration::from_millis(543_210)));
        assert_eq!(busy_in("cpu  1 20 300\n"), None);
        assert_eq!(busy_in(""), None);
    }

    #[test]
    fn work_takes_processor_time() {
        let before = processor_time();
        while processor_time() == before {
            std::hint::black_box(crate::filler(4096));
        }
        assert!(machine_time().is_some());
    }
}
