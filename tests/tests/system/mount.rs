//! A small file system of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

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

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
        if !unmounted.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("{} stays mounted", self.path().display());
        }
    }
}
