//! What a figure depends on beside the code.

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine and the build that figures were taken with, for the line above them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Release of the kernel.
    pub kernel: String,
    /// The processor's own name.
    pub processor: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// How many tasks wanted to run over the last minute, when it was asked: well below the
    /// number of cores, or the figures are of a busy machine.
    pub load: String,
    /// The file system that the files lie on.
    pub file_system: String,
    /// The commit that was built, with `+changes` when the tree is not as committed.
    pub commit: String,
    /// Whether the optimiser was at work: figures without it are worth nothing.
    pub optimised: bool,
}

impl Conditions {
    /// Asks the kernel and git. What cannot be found out is `unknown`.
    #[must_use]
    pub fn read(files: &Path) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: known(file("/proc/sys/kernel/osrelease").trim()),
            processor: known(processor_in(&file("/proc/cpuinfo"))),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: known(file("/proc/loadavg").split(' ').next().unwrap_or_default()),
            file_system: known(&file_system_in(&file("/proc/self/mounts"), files)),
            commit: commit(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            processor,
            cores,
            load,
            file_system,
            commit,
            optimised,
        } = self;
        let build = if *optimised {
            "release"
        } else {
            "NOT a release build"
        };
        write!(
            f,
            "conditions: kernel {kernel}; {cores} cores of {processor}; load {load}; \
             files on {file_system}; commit {commit}; {build}"
        )
    }
}

fn known(text: &str) -> String {
    if text.is_empty() { "unknown" } else { text }.to_owned()
}

/// The first processor's name in the text of `/proc/cpuinfo`; empty where it has none.
fn processor_in(cpuinfo: &str) -> &str {
    let mut names = cpuinfo.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then_some(value.trim())
    });
    names.next().unwrap_or_default()
}

/// The kind of the file system that `path` lies on, by the text of `/proc/self/mounts`; empty when
/// there is none.
fn file_system_in(mounts: &str, path: &Path) -> String {
    let mut best = (0, "");
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(place), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        // Of two mounts at the same place the later one is seen.
        if path.starts_with(place) && place.len() >= best.0 {
            best = (place.len(), kind);
        }
    }
    best.1.to_owned()
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return known("");
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        Some(_) => format!("{commit}+changes"),
        None => format!("{commit}+unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_stands_in_the_line() {
        let line = Conditions {
            kernel: "6.1.2".into(),
            processor: "Some Processor".into(),
            cores: 3,
            load: "0.25".into(),
            file_system: "ext4".into(),
            commit: "abc1234".into(),
            optimised: true,
        }
        .to_string();
        assert_eq!(
            line,
            "conditions: kernel 6.1.2; 3 cores of Some Processor; load 0.25; files on ext4; \
             commit abc1234; release"
        );
    }

    #[test]
    fn this_machine_tells_its_kernel_cores_and_load() {
        let here = Conditions::read(Path::new("/"));
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(here.kernel, release.trim());
        assert!(here.cores >= 1);
        assert!(here.load.parse::<f64>().is_ok(), "{}", here.load);
        assert_ne!(here.file_system, "unknown");
    }

    #[test]
    fn the_processor_is_the_first_one_named() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A B\n\nprocessor\t: 1\nmodel name\t: C\n";
        assert_eq!(processor_in(cpuinfo), "A B");
        assert_eq!(processor_in("processor\t: 0\nBogoMIPS\t: 48.00\n"), "");
    }

    #[test]
    fn the_innermost_mount_counts_and_the_later_one_of_two() {
        let mounts = "a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tmp/x xfs rw 0 0\nd /tmp/x btrfs rw 0 0\nodd\n";
        let on = |path| file_system_in(mounts, Path::new(path));
        assert_eq!(on("/var"), "ext4");
        assert_eq!(on("/tmpfile"), "ext4");
        assert_eq!(on("/tmp/y"), "tmpfs");
        assert_eq!(on("/tmp/x/z"), "btrfs");
        assert_eq!(file_system_in("", Path::new("/")), "");
    }
}
