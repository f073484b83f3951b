//! The real disk: files below a root directory, written in place and read through maps.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev, retry_on_intr};

use crate::disk::{Disk, DiskFile, Fill, Reserve, SMALL_FILE_BYTES_MAX, beyond_end};
use crate::map::{FileMap, MapSlice};

/// Zeros are written in pieces of this many bytes.
const ZEROS_BYTES: usize = 256 * 1024;

/// Whether bytes are in memory is asked of one in so many: the kernel brings and drops them by more.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// Bytes are brought into memory in pieces of this many.
const WARM_BYTES: usize = 256 * 1024;

/// A directory of a real file system.
#[derive(Debug, Clone)]
pub struct OsDisk {
    root: Arc<Path>,
    read_only: bool,
}

impl OsDisk {
    /// The tree below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into().into(),
            read_only: false,
        }
    }

    /// The tree below `root`, opened for reading alone: for tools that look at a stopped broker's
    /// files, perhaps on a file system that takes no writes.
    #[must_use]
    pub fn read_only(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into().into(),
            read_only: true,
        }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn make_zeros(path: &Path, bytes: u64, fill: Fill, reserve: Reserve) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        if fill == Fill::Allocated {
            check_room(&file, bytes, reserve)?;
            match retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, bytes)) {
                Ok(()) => return Ok(file),
                // Some file systems set nothing aside; there the zeros are written.
                Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let zeros = vec![0; ZEROS_BYTES];
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left)
                .unwrap_or(ZEROS_BYTES)
                .min(ZEROS_BYTES);
            // Each piece looks anew: others write to the disk too, another helper among them.
            check_room(&file, left, reserve)?;
            file.write_all(&zeros[..piece])?;
            left -= piece as u64;
            if left > 0 {
                // Syncs that somebody waits for stand behind what is on its way to the disk: so
                // little of it at a time, and as much time for them as for this.
                let began = Instant::now();
                file.sync_data()?;
                thread::sleep(began.elapsed());
            }
        }
        Ok(file)
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn create_dir(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(&*self.root)?;
        let mut parent = self.root.to_path_buf();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let dir = parent.join(part);
            match fs::create_dir(&dir) {
                Ok(()) => File::open(&parent)?.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            parent = dir;
        }
        Ok(())
    }

    fn create_zeroed(
        &self,
        path: &str,
        bytes: u64,
        fill: Fill,
        reserve: Reserve,
    ) -> io::Result<OsFile> {
        let full = self.at(path);
        match Self::make_zeros(&full, bytes, fill, reserve) {
            Ok(file) => OsFile::new(path, file),
            Err(error) => {
                // The first error says more than a second one would.
                let _ = fs::remove_file(&full);
                Err(error)
            }
        }
    }

    fn open(&self, path: &str) -> io::Result<OsFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .open(self.at(path))?;
        OsFile::new(path, file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        fs::remove_dir_all(self.at(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.at(dir))?.sync_all()
    }

    fn read_all(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.at(path))?
            .take(SMALL_FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
            let text = format!("{path}: larger than {SMALL_FILE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let full = self.at(path);
        let written = File::create(&full).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if written.is_err() {
            let _ = fs::remove_file(&full);
        }
        written
    }
}

/// Whether the file's file system has room for `bytes` more and the reserve.
fn check_room(file: &File, bytes: u64, reserve: Reserve) -> io::Result<()> {
    let Ok(found) = rustix::fs::fstatvfs(file) else {
        // The writing itself will find out.
        return Ok(());
    };
    let of = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let (free, total) = (of(found.f_bavail), of(found.f_blocks));
    // One without a size of its own, such as a tmpfs without a limit, says 0 of both.
    if total == 0 || reserve.allows(bytes, free, total) {
        return Ok(());
    }
    let kept = reserve.bytes(total);
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("{bytes} bytes more would leave less than {kept} of the {free} that are free"),
    ))
}

/// An open file of an [`OsDisk`]. It is mapped at the first read.
#[derive(Debug, Clone)]
pub struct OsFile(Arc<Inner>);

impl AsFd for OsFile {
    /// The file's descriptor, so that an executor can sync it through its ring.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

#[derive(Debug)]
struct Inner {
    path: String,
    file: File,
    bytes: u64,
    map: OnceLock<FileMap>,
}

impl OsFile {
    fn new(path: &str, file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            file,
            bytes,
            map: OnceLock::new(),
        })))
    }

    fn map(&self) -> io::Result<&FileMap> {
        if let Some(map) = self.0.map.get() {
            return Ok(map);
        }
        let bytes = usize::try_from(self.0.bytes).map_err(io::Error::other)?;
        let map = FileMap::new(&self.0.file, bytes)?;
        Ok(self.0.map.get_or_init(|| map))
    }
}

impl DiskFile for OsFile {
    type Slice = MapSlice;

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes)
    }

    fn path(&self) -> &str {
        &self.0.path
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.file.write_all_at(bytes, position)
    }

    fn write_parts_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        let mut at = position;
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let written = retry_on_intr(|| pwritev(&self.0.file, left, at))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += written as u64;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    fn slice(&self, position: u64, bytes: usize) -> io::Result<MapSlice> {
        let beyond = || beyond_end(&self.0.path, position, bytes);
        let start = usize::try_from(position).map_err(|_| beyond())?;
        let end = start.checked_add(bytes).ok_or_else(beyond)?;
        if end as u64 > self.0.bytes {
            return Err(beyond());
        }
        self.map()?.slice(start..end).ok_or_else(beyond)
    }

    fn is_resident(&self, position: u64, bytes: u64) -> bool {
        let end = position + bytes;
        let mut at = position;
        while at < end {
            let mut byte = [0];
            let mut slice = [IoSliceMut::new(&mut byte)];
            let read = preadv2(&self.0.file, &mut slice, at, ReadWriteFlags::NOWAIT);
            // Whatever else it says, the map will say better.
            if read == Err(Errno::AGAIN) {
                return false;
            }
            at = if at + SAMPLE_BYTES < end || at + 1 >= end {
                at + SAMPLE_BYTES
            } else {
                end - 1
            };
        }
        true
    }

    fn warm(&self, position: u64, bytes: u64, ahead: u64) -> io::Result<()> {
        let mut scratch = vec![0; WARM_BYTES];
        let end = (position + bytes).min(self.0.bytes);
        let mut at = position;
        while at < end {
            let piece = usize::try_from(end - at).map_or(WARM_BYTES, |left| left.min(WARM_BYTES));
            self.0.file.read_exact_at(&mut scratch[..piece], at)?;
            at += piece as u64;
        }
        if let Some(bytes) = NonZeroU64::new(ahead) {
            fadvise(&self.0.file, end, Some(bytes), Advice::WillNeed)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.file.sync_data()
    }
}
