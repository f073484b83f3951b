//! A disk of a test's own that can lose its power.

use std::fs::{self, File};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hulse_tests::{LIMIT, wait_until};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::mount::unmount;

/// Number of the request `EXT4_IOC_SHUTDOWN`, which takes a pointer to 32 bits.
const EXT4_IOC_SHUTDOWN: u32 = 0x8004_587d;

/// What a disk still gets when the power goes. The numbers are those of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything: it is as if the machine had died when all was written out.
    WrittenOut = 0,
    /// What the file system has in its journal, and none of the files' own pages.
    Journal = 1,
    /// Nothing. What was not synced is gone, names and lengths of files too.
    Nothing = 2,
}

/// An ext4 file system in a file, mounted through a loop device on a temporary directory. It is
/// unmounted when this is dropped, even while somebody still uses it.
pub(crate) struct Volume {
    /// Holds the image and the directory that it is mounted on.
    dir: TempDir,
}

impl Volume {
    /// A file system of about so many bytes.
    pub(crate) fn with_bytes(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volume = Self { dir };
        let image = File::create(volume.image()).unwrap();
        image.set_len(bytes).unwrap();
        fs::create_dir(volume.path()).unwrap();
        call(
            Command::new("mkfs.ext4")
                // Not that anything is encrypted: without the feature the kernel keeps, and writes
                // out, large runs of pages as one.
                .args(["-q", "-F", "-O", "encrypt"])
                .arg(volume.image()),
        );
        volume.mount();
        volume
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// A directory on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn mount(&self) {
        call(
            Command::new("mount")
                .args(["-t", "ext4", "-o", "loop"])
                .arg(self.image())
                .arg(self.path()),
        );
    }

    /// Cuts the power: from now on every write and every sync fails, and what the disk does not
    /// have is lost when the file system is mounted again.
    ///
    /// A program that may call the kernel as it likes does it, so that no code of this repository
    /// has to be unsafe for it.
    pub(crate) fn cut_power(&self, cut: Cut) {
        let program = r#"open(my $dir, "<", $ARGV[0]) or die "$ARGV[0]: $!\n";
            my $how = pack("L", $ARGV[2]);
            ioctl($dir, $ARGV[1], $how) or die "shutdown of $ARGV[0]: $!\n";"#;
        call(
            Command::new("perl")
                .args(["-e", program])
                .arg(self.path())
                .args([EXT4_IOC_SHUTDOWN.to_string(), (cut as u32).to_string()]),
        );
    }

    /// Gives the power back: the file system is unmounted and mounted again, which replays its
    /// journal. Nobody may use it any more.
    pub(crate) fn restore_power(&self) {
        // The kernel lets go of the files of a process that was killed with requests in its rings
        // a moment after that process is gone.
        wait_until("the volume can be unmounted", LIMIT, || {
            let output = Command::new("umount").arg(self.path()).output().unwrap();
            output.status.success().then_some(())
        });
        self.mount();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// Has the kernel write out the pages of a part of a file, as it may at any time by itself. They
/// are on their way to the disk when this returns, and no power that is cut holds them up.
pub(crate) fn write_out(path: &Path, bytes: Range<u64>) {
    // A file may go while it is looked at.
    let Ok(file) = File::open(path) else { return };
    let length = NonZeroU64::new(bytes.end - bytes.start);
    fadvise(&file, bytes.start, length, Advice::DontNeed).unwrap();
}

fn call(command: &mut Command) {
    let Output { status, stderr, .. } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let said = String::from_utf8_lossy(&stderr);
    assert!(
        status.success(),
        "{command:?}: {said}; this test needs root and loop devices"
    );
}

#[test]
fn a_volume_loses_what_was_not_synced_and_keeps_the_pages_that_were_written_out() {
    const PAGE: usize = 4096;
    let volume = Volume::with_bytes(64 << 20);
    let path = volume.path().join("file");
    let fill = |byte: u8| vec![byte; 16 * PAGE];
    let write = |byte: u8| {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &fill(byte), 0).unwrap();
        file
    };
    let synced = |byte: u8| {
        write(byte).sync_all().unwrap();
        File::open(volume.path()).unwrap().sync_all().unwrap();
    };
    for cut in [Cut::Nothing, Cut::Journal, Cut::WrittenOut] {
        synced(b'a');
        let file = write(b'b');
        write_out(&path, 3 * PAGE as u64..5 * PAGE as u64);
        fs::write(volume.path().join("other"), b"never synced").unwrap();
        volume.cut_power(cut);
        for failed in [file.sync_data(), fs::write(volume.path().join("late"), b"")] {
            let error = failed.unwrap_err().raw_os_error();
            assert_eq!(
                error,
                Some(rustix::io::Errno::IO.raw_os_error()),
                "{cut:?}: {error:?}"
            );
        }
        drop(file);
        volume.restore_power();
        let mut expected = fill(b'a');
        if cut == Cut::WrittenOut {
            expected = fill(b'b');
        }
        expected[3 * PAGE..5 * PAGE].fill(b'b');
        let first_bytes = |bytes: &[u8]| -> String {
            let pages = bytes.chunks(PAGE);
            pages.map(|page| char::from(page[0])).collect()
        };
        let found = fs::read(&path).unwrap();
        assert_eq!(first_bytes(&found), first_bytes(&expected), "{cut:?}");
        assert!(found == expected, "{cut:?}");
        let other = fs::read(volume.path().join("other")).ok();
        match cut {
            Cut::Nothing => assert_eq!(other, None),
            // The name is in the journal, and the bytes were not allocated yet.
            Cut::Journal => assert_eq!(other.as_deref(), Some(&b""[..])),
            Cut::WrittenOut => assert_eq!(other.as_deref(), Some(&b"never synced"[..])),
        }
        let _ = fs::remove_file(volume.path().join("other"));
    }
}
