//! A small file system of a test's own.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// How often the free bytes are looked at.
const LOOK: Duration = Duration::from_micros(200);

/// A file system in memory on a temporary directory. It is unmounted when this is dropped, even
/// while somebody still uses it.
pub(crate) struct Mount {
    dir: TempDir,
}

impl Mount {
    /// A file system that holds so many bytes.
    pub(crate) fn with_bytes(bytes: u64) -> Self {
        let mount = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let options = format!("size={bytes},mode=0755");
        mount.call("mount", &["-t", "tmpfs", "-o", &options, "hulse-tests"]);
        mount
    }

    /// A directory on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Allows writing, or not.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let how = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        self.call("mount", &["-o", how]);
    }

    /// Sets how many bytes it holds.
    pub(crate) fn resize(&self, bytes: u64) {
        self.call("mount", &["-o", &format!("remount,size={bytes}")]);
    }

    /// Bytes that are free.
    pub(crate) fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Fills it to its last byte with a new file.
    pub(crate) fn fill(&self, path: &Path) {
        let mut file = File::create(path).unwrap();
        for bytes in [MIB, 4096] {
            let piece = vec![0; bytes];
            let error = loop {
                if let Err(error) = file.write_all(&piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
        assert_eq!(self.free_bytes(), 0);
    }

    /// Looks at the free bytes all the time while `act` runs. Gives the least that was seen.
    pub(crate) fn least_free_while<R>(&self, act: impl FnOnce() -> R) -> (u64, R) {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut least = u64::MAX;
                while !ended.load(Ordering::SeqCst) {
                    least = least.min(self.free_bytes());
                    thread::sleep(LOOK);
                }
                least
            });
            let done = catch_unwind(AssertUnwindSafe(act));
            ended.store(true, Ordering::SeqCst);
            let least = looking.join().unwrap();
            (least, done.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn call(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .arg(self.path())
            .output();
        let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {said}; this test needs root"
        );
    }
}

/// Unmounts what a test has mounted, also when it has failed, and whoever still uses it.
///
/// # Panics
/// When it stays mounted.
pub(crate) fn unmount(path: &Path) {
    let unmounted = Command::new("umount").arg("--lazy").arg(path).status();
    if !unmounted.is_ok_and(|status| status.success()) && !thread::panicking() {
        panic!("{} stays mounted", path.display());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(self.path());
    }
}
