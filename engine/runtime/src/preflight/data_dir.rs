//! The directory that the broker keeps its data in.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, Outcome, human_bytes};

const FREE_NEEDED: u64 = 64 << 20;
const FREE_ADVISED: u64 = 1 << 30;

/// A sync of 4 KiB that takes longer than this is worth a word.
const SYNC_ADVISED: Duration = Duration::from_millis(20);

/// How many times the sync is measured; the middle one counts.
const SYNCS: usize = 5;

/// Looks at the data directory: that it is there or can be made, that data can be written and
/// made durable and how long that takes, the kind of file system, and the space left.
///
/// A directory that was not there is made for the test and removed again; nothing else is left
/// behind either.
pub fn check_data_dir(path: &Path) -> Vec<Check> {
    let made = match make(path) {
        Ok(made) => made,
        Err(error) => return vec![judge_made(path, Err(error))],
    };
    let mut checks = vec![judge_made(path, Ok(!made.is_empty()))];
    checks.push(judge_write(measure_sync(path)));
    checks.push(judge_kind(
        rustix::fs::statfs(path).map(|stat| magic(stat.f_type as u64)),
    ));
    checks.push(judge_free(
        rustix::fs::statvfs(path).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize)),
    ));
    for directory in made {
        // Deepest first; it is left if somebody has put something into it meanwhile.
        let _ = fs::remove_dir(directory);
    }
    checks
}

/// Makes the directory with its parents and returns what was made, the deepest first.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<PathBuf> = path
        .ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .take_while(|ancestor| fs::symlink_metadata(ancestor).is_err())
        .map(Path::to_path_buf)
        .collect();
    fs::create_dir_all(path)?;
    if fs::metadata(path)?.is_dir() {
        Ok(missing)
    } else {
        Err(io::Error::from(io::ErrorKind::NotADirectory))
    }
}

fn judge_made(path: &Path, made: io::Result<bool>) -> Check {
    let shown = path.display();
    let check = Check::pass(
        "data directory",
        "a directory that is there or can be made",
        "",
    );
    match made {
        Ok(false) => Check {
            found: format!("{shown}"),
            ..check
        },
        Ok(true) => Check {
            found: format!("{shown} can be made"),
            ..check
        },
        Err(error) => Check {
            found: format!("{shown}: {error}"),
            ..check
        }
        .but(
            Outcome::Fail,
            format!("Make it with `mkdir -p {shown}`, or name another with `--data DIR`."),
        ),
    }
}

/// The middle time of a few 4 KiB writes with `fdatasync`.
fn measure_sync(path: &Path) -> io::Result<Duration> {
    let file_path = path.join(format!(".preflight-{}", std::process::id()));
    let measured = measure_sync_of(&file_path);
    let removed = fs::remove_file(&file_path);
    let measured = measured?;
    removed?;
    Ok(measured)
}

fn measure_sync_of(file_path: &Path) -> io::Result<Duration> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file_path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

fn judge_write(measured: io::Result<Duration>) -> Check {
    let wanted = format!("4 KiB durable within {} ms", SYNC_ADVISED.as_millis());
    let check = Check::pass("durable writes", wanted, "");
    match measured {
        Ok(time) => {
            let check = Check {
                found: format!("4 KiB durable in {} us", time.as_micros()),
                ..check
            };
            if time <= SYNC_ADVISED {
                return check;
            }
            check.but(
                Outcome::Warn,
                "Put the data on a faster disk with `--data DIR`; each acknowledgement of `disk` \
                 waits for this.",
            )
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "Free some room on that file system; nothing in the data directory is to be \
                     removed by hand."
                }
                _ => {
                    "Give this user the right to write there (`chown`), or name another directory \
                     with `--data DIR`."
                }
            };
            Check {
                found: error.to_string(),
                ..check
            }
            .but(Outcome::Fail, remedy)
        }
    }
}

/// What is known of a kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    /// Why it is not the best choice, if it is not.
    reason: Option<&'static str>,
}

/// The kind of a file system by its number in statfs(2).
fn magic(number: u64) -> Kind {
    const VOLATILE: Option<&str> = Some("its data is lost when the machine stops");
    const LAYERED: Option<&str> =
        Some("its data is lost with the container, and its writes are slow");
    const REMOTE: Option<&str> = Some("its syncs are slow and its promises depend on the server");
    const COPYING: Option<&str> =
        Some("it copies what is overwritten, so segments written in advance gain nothing");
    let (name, reason) = match number {
        0xEF53 => ("ext4", None),
        0x5846_5342 => ("xfs", None),
        0xF2F5_2010 => ("f2fs", None),
        0x9123_683E => ("btrfs", COPYING),
        0x2FC1_2FC1 => ("zfs", COPYING),
        0x0102_1994 => ("tmpfs", VOLATILE),
        0x8584_58F6 => ("ramfs", VOLATILE),
        0x794C_7630 => ("overlayfs", LAYERED),
        0x6969 => ("nfs", REMOTE),
        0xFF53_4D42 => ("cifs", REMOTE),
        0xFE53_4D42 => ("smb", REMOTE),
        0x0102_1997 => ("9p", REMOTE),
        0x00C3_6400 => ("ceph", REMOTE),
        0x6573_5546 => ("fuse", REMOTE),
        _ => ("an unknown kind", Some("Hulse has not been tried on it")),
    };
    Kind { name, reason }
}

fn judge_kind(kind: Result<Kind, rustix::io::Errno>) -> Check {
    let check = Check::pass("file system", "ext4 or xfs on a disk of this machine", "");
    match kind {
        Ok(Kind { name, reason: None }) => Check {
            found: name.to_owned(),
            ..check
        },
        Ok(Kind {
            name,
            reason: Some(reason),
        }) => Check {
            found: format!("{name}: {reason}"),
            ..check
        }
        .but(
            Outcome::Warn,
            "Name a directory on ext4 or xfs with `--data DIR`; in a container, mount one \
                 with `--volume`.",
        ),
        Err(errno) => Check {
            found: errno.to_string(),
            ..check
        }
        .but(Outcome::Warn, "See `stat -f` of the directory."),
    }
}

fn judge_free(free: Result<u64, rustix::io::Errno>) -> Check {
    let check = Check::pass(
        "free space",
        format!("{} or more", human_bytes(FREE_ADVISED)),
        "",
    );
    let free = match free {
        Ok(free) => free,
        Err(errno) => {
            return Check {
                found: errno.to_string(),
                ..check
            }
            .but(Outcome::Warn, "See `df` of the directory.");
        }
    };
    let check = Check {
        found: human_bytes(free),
        ..check
    };
    let remedy = "Free some on that file system, or name another directory with `--data DIR`.";
    // A broker that has filled its disk must be able to come back: to serve what is there, and to
    // delete topics.
    if free < FREE_NEEDED {
        let remedy = format!("{remedy} Until then writes are refused.");
        check.but(Outcome::Warn, remedy)
    } else if free < FREE_ADVISED {
        check.but(Outcome::Warn, remedy)
    } else {
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(checks: &[Check]) -> Vec<(&'static str, Outcome)> {
        checks
            .iter()
            .map(|check| (check.name, check.outcome))
            .collect()
    }

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let checks = check_data_dir(folder.path());
        let names: Vec<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(
            names,
            [
                "data directory",
                "durable writes",
                "file system",
                "free space"
            ]
        );
        assert_eq!(super::super::first_failure(&checks), None);
        assert!(
            checks[1].found.starts_with("4 KiB durable in "),
            "{:?}",
            checks[1]
        );
        assert_eq!(
            fs::read_dir(folder.path()).expect("there").count(),
            0,
            "nothing is left"
        );

        let deep = folder.path().join("a/b/c");
        let checks = check_data_dir(&deep);
        assert_eq!(super::super::first_failure(&checks), None);
        assert!(checks[0].found.ends_with("can be made"), "{:?}", checks[0]);
        assert!(
            !folder.path().join("a").exists(),
            "what was made is removed"
        );
    }

    #[test]
    fn what_is_no_directory_or_not_writable_fails_with_the_way_to_mend_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        for path in [file.clone(), file.join("below")] {
            let checks = check_data_dir(&path);
            assert_eq!(
                outcomes(&checks),
                [("data directory", Outcome::Fail)],
                "{checks:?}"
            );
            assert!(checks[0].remedy.contains("--data DIR"), "{checks:?}");
        }
        // Nobody may make files here, whatever their privilege.
        let checks = check_data_dir(Path::new("/proc/self"));
        let failed = super::super::first_failure(&checks).expect("not writable");
        assert_eq!(failed.name, "durable writes");
        assert!(failed.remedy.contains("chown"), "{failed:?}");
    }

    #[test]
    fn slow_disks_odd_file_systems_and_little_space_are_told() {
        assert_eq!(
            judge_write(Ok(Duration::from_micros(90))).outcome,
            Outcome::Pass
        );
        assert_eq!(
            judge_write(Ok(Duration::from_millis(80))).outcome,
            Outcome::Warn
        );

        let full = judge_write(Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.outcome, Outcome::Fail);
        assert!(full.remedy.contains("Free some room"), "{full:?}");

        assert_eq!(judge_kind(Ok(magic(0xEF53))).outcome, Outcome::Pass);
        for number in [0x0102_1994, 0x794C_7630, 0x6969, 0x1234] {
            let check = judge_kind(Ok(magic(number)));
            assert_eq!(check.outcome, Outcome::Warn, "{check:?}");
        }
        assert!(
            judge_kind(Ok(magic(0x0102_1994)))
                .found
                .starts_with("tmpfs: ")
        );

        let full = judge_free(Ok(FREE_NEEDED - 1));
        assert_eq!(full.outcome, Outcome::Warn);
        assert!(full.remedy.contains("writes are refused"), "{full:?}");
        assert_eq!(judge_free(Ok(FREE_NEEDED)).outcome, Outcome::Warn);
        assert_eq!(judge_free(Ok(FREE_ADVISED)).outcome, Outcome::Pass);
    }
}
