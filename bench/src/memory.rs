//! How much memory the process has.

/// Bytes of memory that the process has now, or `None` where the kernel does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads the line of `/proc/self/status` that says it, in KiB.
fn resident_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_among_the_others() {
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   1234 kB\nThreads:\t1\n";
        assert_eq!(resident_in(status), Some(1234 * 1024));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert_eq!(resident_in("VmRSS:\t12 MB\n"), None);
    }

    #[test]
    fn memory_that_is_taken_shows() {
        let before = resident_bytes().unwrap();
        let taken = crate::filler(64 * 1024 * 1024);
        let after = resident_bytes().unwrap();
        assert!(after - before > 48 * 1024 * 1024, "{before} to {after}");
        assert!(taken.iter().any(|byte| *byte != 0));
    }
}
