//! What the system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Check, Outcome, human_bytes};
use crate::cores::{IO_MEMORY_BYTES, MEMLOCK_BYTES_MIN, RINGS};

const FILES_ADVISED: u64 = 65_536;
const FILES_NEEDED: u64 = 1_024;
const MAPS_ADVISED: u64 = 262_144;

/// What one request takes in a ring's memory, in bytes: one submission (64), its index (4) and
/// two completions (16 each). Kernels before 5.12 count it as locked memory.
const REQUEST_BYTES: u64 = 64 + 4 + 2 * 16;

pub(super) fn check_memlock(cores: usize, ring_depth: usize) -> Check {
    let needed = memlock_needed(cores, ring_depth);
    judge_memlock(raised(Resource::Memlock), needed)
}

/// The locked memory of `cores` executors, in bytes.
fn memlock_needed(cores: usize, ring_depth: usize) -> u64 {
    let ring = IO_MEMORY_BYTES as u64 + (ring_depth as u64).saturating_mul(REQUEST_BYTES);
    let core = ring.saturating_mul(RINGS as u64);
    (cores as u64).saturating_mul(core).max(MEMLOCK_BYTES_MIN)
}

fn judge_memlock(limit: Option<u64>, needed: u64) -> Check {
    let found = limit.map_or_else(|| "unlimited".to_owned(), human_bytes);
    let check = Check::pass(
        "locked memory",
        format!("{} or more", human_bytes(needed)),
        found,
    );
    let Some(limit) = limit else {
        return check;
    };
    let kib = needed.div_ceil(1024);
    let remedy = format!(
        "Raise it with `ulimit -l {kib}`, LimitMEMLOCK={kib}K in a systemd unit, \
         `* - memlock {kib}` in /etc/security/limits.conf, or `--ulimit memlock=-1` for a \
         container."
    );
    if limit < MEMLOCK_BYTES_MIN {
        check.but(Outcome::Fail, remedy)
    } else if limit < needed {
        check.but(Outcome::Warn, remedy)
    } else {
        check
    }
}

pub(super) fn check_files() -> Check {
    judge_files(raised(Resource::Nofile))
}

fn judge_files(limit: Option<u64>) -> Check {
    let found = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let check = Check::pass("open files", format!("{FILES_ADVISED} or more"), found);
    let Some(limit) = limit.filter(|limit| *limit < FILES_ADVISED) else {
        return check;
    };
    let outcome = if limit < FILES_NEEDED {
        Outcome::Fail
    } else {
        Outcome::Warn
    };
    check.but(
        outcome,
        "Raise it with `ulimit -Hn 65536`, LimitNOFILE=65536 in a systemd unit, or \
         `--ulimit nofile=65536` for a container; each connection takes one, each partition in use \
         one or two, and an idle one none.",
    )
}

/// Raises the limit that holds to the most that may be had without privilege, and returns it;
/// `None` when there is none.
fn raised(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    let current = limit.current?;
    if limit.maximum.is_none_or(|maximum| maximum > current) {
        let wanted = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // The kernel may refuse, for one above fs.nr_open; then the old limit holds.
        let _ = setrlimit(resource, wanted);
    }
    getrlimit(resource).current
}

pub(super) fn check_maps() -> Check {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    judge_maps(text.and_then(|text| text.trim().parse().ok()))
}

fn judge_maps(limit: Option<u64>) -> Check {
    let found = limit.map_or_else(|| "not readable".to_owned(), |limit| limit.to_string());
    let check = Check::pass("memory maps", format!("{MAPS_ADVISED} or more"), found);
    if limit.is_some_and(|limit| limit >= MAPS_ADVISED) {
        return check;
    }
    check.but(
        Outcome::Warn,
        "Raise it with `sysctl -w vm.max_map_count=262144`, and keep it in \
         /etc/sysctl.d/hulse.conf; each open segment that is read takes one.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn locked_memory_grows_with_the_cores_and_has_a_floor() {
        assert_eq!(memlock_needed(1, 128), MEMLOCK_BYTES_MIN);
        let one = 3 * (64 * KIB + 512 * 100);
        assert_eq!(memlock_needed(64, 512), 64 * one);
        assert_eq!(
            judge_memlock(Some(64 * KIB), 512 * KIB).outcome,
            Outcome::Fail
        );
        assert_eq!(
            judge_memlock(Some(512 * KIB), 512 * KIB).outcome,
            Outcome::Pass
        );
        assert_eq!(
            judge_memlock(Some(512 * KIB), 64 * one).outcome,
            Outcome::Warn
        );
        assert_eq!(judge_memlock(None, u64::MAX).outcome, Outcome::Pass);
        let failed = judge_memlock(Some(64 * KIB), 512 * KIB);
        assert!(failed.remedy.contains("ulimit -l 512"), "{failed:?}");
    }

    #[test]
    fn few_files_or_maps_are_warned_of() {
        assert_eq!(judge_files(Some(20_000)).outcome, Outcome::Warn);
        assert_eq!(judge_files(Some(65_536)).outcome, Outcome::Pass);
        assert_eq!(judge_files(None).outcome, Outcome::Pass);
        assert_eq!(judge_files(Some(256)).outcome, Outcome::Fail);
        assert_eq!(judge_maps(Some(65_530)).outcome, Outcome::Warn);
        assert_eq!(judge_maps(Some(262_144)).outcome, Outcome::Pass);
        assert_eq!(judge_maps(None).outcome, Outcome::Warn);
    }

    #[test]
    fn limits_are_raised_to_the_hard_ones() {
        let raised = raised(Resource::Nofile);
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    }
}
