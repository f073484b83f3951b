//! Processors and memory.

use super::{Check, Outcome, human_bytes};
use crate::cpus::available_cpus;

/// Memory that a broker wants beside the page cache, in bytes.
const MEMORY_ADVISED: u64 = 256 << 20;
/// And for each core: what it may hold unsynced, and what it may hold for its connections.
const MEMORY_ADVISED_PER_CORE: u64 = 320 << 20;
/// Below this there is no point in starting.
const MEMORY_NEEDED: u64 = 64 << 20;

pub(super) fn check_cores(cores: usize) -> Check {
    judge_cores(cores, available_cpus().len())
}

fn judge_cores(cores: usize, available: usize) -> Check {
    let check = Check::pass(
        "cores",
        format!("{cores} processors"),
        format!("{available} processors may be used"),
    );
    if cores == 0 {
        return check.but(Outcome::Fail, "Give `--cores 1` or more.");
    }
    if cores > available {
        let remedy = format!(
            "Give `--cores {available}` or fewer, or allow this process more processors \
             (`taskset`, CPUAffinity= in a systemd unit, `--cpuset-cpus` for a container)."
        );
        return check.but(Outcome::Fail, remedy);
    }
    check
}

pub(super) fn check_memory(cores: usize) -> Check {
    judge_memory(cores, available_memory())
}

fn judge_memory(cores: usize, available: Option<u64>) -> Check {
    let advised =
        MEMORY_ADVISED.saturating_add(MEMORY_ADVISED_PER_CORE.saturating_mul(cores as u64));
    let found = available.map_or_else(|| "not readable".to_owned(), human_bytes);
    let wanted = format!("{} or more for {cores} cores", human_bytes(advised));
    let check = Check::pass("available memory", wanted, found);
    let Some(available) = available else {
        return check.but(Outcome::Warn, "See `free -m`.");
    };
    let remedy = "Free some, give the container more with `--memory`, or give fewer `--cores`.";
    if available < MEMORY_NEEDED {
        check.but(Outcome::Fail, remedy)
    } else if available < advised {
        check.but(Outcome::Warn, remedy)
    } else {
        check
    }
}

/// What the machine has left, or this process's control group where that is less, in bytes.
fn available_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_available(&text));
    let group = group_memory();
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What this process's control group (version 2) may still take, in bytes; `None` without a limit.
fn group_memory() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?
        .trim();
    let folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
    let limit = std::fs::read_to_string(format!("{folder}/memory.max")).ok()?;
    let used = std::fs::read_to_string(format!("{folder}/memory.current")).ok()?;
    // "max" is no number, and no limit.
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_compared_with_the_processors_of_this_process() {
        assert_eq!(judge_cores(2, 2).outcome, Outcome::Pass);
        assert_eq!(judge_cores(0, 2).outcome, Outcome::Fail);
        let failed = judge_cores(3, 2);
        assert_eq!(failed.outcome, Outcome::Fail);
        assert!(failed.remedy.contains("--cores 2"), "{failed:?}");
    }

    #[test]
    fn memory_is_read_and_judged() {
        let meminfo = "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   24351660 kB\n";
        assert_eq!(mem_available(meminfo), Some(24_351_660 * 1024));
        assert_eq!(mem_available("MemTotal: 100 kB\n"), None);
        assert_eq!(mem_available("MemAvailable: many kB\n"), None);
        assert!(available_memory().is_some_and(|bytes| bytes > 0));
        assert_eq!(judge_memory(1, Some(32 << 20)).outcome, Outcome::Fail);
        assert_eq!(judge_memory(1, Some(128 << 20)).outcome, Outcome::Warn);
        assert_eq!(judge_memory(1, Some(1 << 30)).outcome, Outcome::Pass);
        assert_eq!(judge_memory(1, None).outcome, Outcome::Warn);
    }
}
