//! The kernel and its ring.

use rustix::io::Errno;

use super::{Check, Outcome};
use crate::adopt::{self, RingRefused};

const NEEDED: (u32, u32) = (5, 8);
const ADVISED: (u32, u32) = (5, 15);

pub(super) fn check_release() -> Check {
    let uname = rustix::system::uname();
    judge_release(&uname.release().to_string_lossy())
}

fn judge_release(release: &str) -> Check {
    let check = Check::pass(
        "kernel",
        "Linux 5.8 or later, 5.15 or later advised",
        release,
    );
    match version(release) {
        None => check.but(
            Outcome::Warn,
            "Its version could not be read; see `uname -r`.",
        ),
        Some(found) if found < NEEDED => check.but(
            Outcome::Fail,
            "Run Hulse on a machine with a newer kernel; a newer container image does not help.",
        ),
        Some(found) if found < ADVISED => check.but(
            Outcome::Warn,
            "Plan an update to a kernel of 5.15 or later.",
        ),
        Some(_) => check,
    }
}

/// The first two numbers of a release such as "6.1.0-18-amd64".
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

pub(super) fn check_ring() -> Check {
    judge_ring(adopt::probe_ring(), disabled_setting())
}

/// The value of `kernel.io_uring_disabled`, where the kernel has it.
fn disabled_setting() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

fn judge_ring(probe: Result<(), RingRefused>, disabled: Option<u32>) -> Check {
    let check = Check::pass("io_uring", "permitted", "permitted");
    let Err(RingRefused { call, errno }) = probe else {
        return check;
    };
    let check = Check {
        found: format!("{call} is refused ({errno})"),
        ..check
    };
    let profile = "In a container, start it with `--security-opt seccomp=unconfined`, or with a \
                   seccomp profile that allows io_uring_setup, io_uring_enter and \
                   io_uring_register.";
    let remedy = match errno {
        Errno::PERM | Errno::ACCESS => match disabled {
            Some(value) if value > 0 => format!(
                "The setting kernel.io_uring_disabled is {value}; allow it with \
                 `sysctl -w kernel.io_uring_disabled=0`. {profile}"
            ),
            _ => profile.to_owned(),
        },
        Errno::NOSYS => format!(
            "The kernel has no io_uring (it needs 5.8 or later, built with CONFIG_IO_URING), or a \
             filter hides it. {profile}"
        ),
        Errno::NOMEM => "The limit of locked memory is too low; raise it with `ulimit -l 8192`, \
                         LimitMEMLOCK=8M in a systemd unit, or `--ulimit memlock=-1` for a \
                         container."
            .to_owned(),
        Errno::MFILE | Errno::NFILE => {
            "No more files may be opened; raise the limit with `ulimit -n 65536`.".to_owned()
        }
        _ => format!("See `dmesg` for the reason. {profile}"),
    };
    check.but(Outcome::Fail, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let outcome = |release| judge_release(release).outcome;
        assert_eq!(outcome("6.18.44-fc"), Outcome::Pass);
        assert_eq!(outcome("5.15.0-91-generic"), Outcome::Pass);
        assert_eq!(outcome("5.10.0"), Outcome::Warn);
        assert_eq!(outcome("5.8"), Outcome::Warn);
        assert_eq!(outcome("5.7.19"), Outcome::Fail);
        assert_eq!(outcome("4.19.0-27-amd64"), Outcome::Fail);
        assert_eq!(outcome("next"), Outcome::Warn);
        assert_eq!(outcome(""), Outcome::Warn);
        assert_eq!(outcome("99999999999.1"), Outcome::Warn);
    }

    #[test]
    fn a_refused_ring_names_the_flag_and_the_setting() {
        let refused = |call, errno| Err(RingRefused { call, errno });
        let permitted = judge_ring(Ok(()), Some(2));
        assert_eq!(permitted.outcome, Outcome::Pass);

        let filtered = judge_ring(refused("io_uring_setup", Errno::PERM), Some(0));
        assert_eq!(filtered.outcome, Outcome::Fail);
        assert!(filtered.found.contains("io_uring_setup"), "{filtered:?}");
        assert!(
            filtered
                .remedy
                .contains("--security-opt seccomp=unconfined"),
            "{filtered:?}"
        );
        assert!(!filtered.remedy.contains("sysctl"), "{filtered:?}");

        let disabled = judge_ring(refused("io_uring_setup", Errno::PERM), Some(2));
        assert!(
            disabled
                .remedy
                .contains("sysctl -w kernel.io_uring_disabled=0"),
            "{disabled:?}"
        );

        let absent = judge_ring(refused("io_uring_enter", Errno::NOSYS), None);
        assert!(absent.remedy.contains("5.8"), "{absent:?}");
        assert!(absent.remedy.contains("seccomp"), "{absent:?}");
    }
}
