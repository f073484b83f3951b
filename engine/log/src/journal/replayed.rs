//! The segments as they will be when the journals are replayed, for tools that write nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, Fill, Reserve};
use crate::journal::read::read_journals;
use crate::journal::replay::{Manifests, ReplayError, by_segment, takes};

/// A disk that shows every segment as a replay of the journals would leave it, and takes no
/// writes. The disk below it stays as it is.
#[derive(Debug, Clone)]
pub struct ReplayedDisk<D: Disk> {
    disk: D,
    patches: Arc<BTreeMap<String, Arc<Patches>>>,
}

/// What a replay would write into one segment: positions with bytes, in this order.
type Patches = Vec<(u64, Vec<u8>)>;

impl<D: Disk> ReplayedDisk<D> {
    /// The disk with its journals laid over it.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn new(disk: D) -> Result<Self, ReplayError> {
        let journals = read_journals(&disk)?;
        let mut manifests = Manifests::default();
        let mut patches = BTreeMap::new();
        for (path, chunks) in by_segment(&journals) {
            let failed = |source| ReplayError::Io {
                path: path.clone(),
                source,
            };
            let file = match disk.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let mut these = Patches::new();
            for (chunk, bytes) in chunks {
                if manifests.hold(&disk, &chunk)? && takes(&file, &chunk).map_err(failed)? {
                    these.push((u64::from(chunk.position), bytes.to_vec()));
                }
            }
            patches.insert(path, Arc::new(these));
        }
        Ok(Self {
            disk,
            patches: Arc::new(patches),
        })
    }
}

impl<D: Disk> Disk for ReplayedDisk<D> {
    type File = ReplayedFile<D::File>;

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn create_zeroed(&self, _: &str, _: u64, _: Fill, _: Reserve) -> io::Result<Self::File> {
        Err(read_only())
    }

    fn open(&self, path: &str) -> io::Result<Self::File> {
        Ok(ReplayedFile {
            file: self.disk.open(path)?,
            patches: self.patches.get(path).cloned().unwrap_or_default(),
        })
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn remove_dir_all(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Err(read_only())
    }

    fn read_all(&self, path: &str) -> io::Result<Vec<u8>> {
        self.disk.read_all(path)
    }

    fn write_new(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }
}

/// A file of a [`ReplayedDisk`].
#[derive(Debug, Clone)]
pub struct ReplayedFile<F> {
    file: F,
    patches: Arc<Patches>,
}

/// Bytes of a [`ReplayedFile`].
#[derive(Debug, Clone)]
pub enum ReplayedSlice<S> {
    /// As the file has them.
    Plain(S),
    /// With what the journals add.
    Patched(Arc<[u8]>),
}

impl<S: AsRef<[u8]>> AsRef<[u8]> for ReplayedSlice<S> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes.as_ref(),
            Self::Patched(bytes) => bytes,
        }
    }
}

impl<F: DiskFile> DiskFile for ReplayedFile<F> {
    type Slice = ReplayedSlice<F::Slice>;

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn path(&self) -> &str {
        self.file.path()
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn slice(&self, position: u64, bytes: usize) -> io::Result<Self::Slice> {
        let plain = self.file.slice(position, bytes)?;
        let end = position + bytes as u64;
        let meets = |(at, patch): &&(u64, Vec<u8>)| *at < end && at + patch.len() as u64 > position;
        if !self.patches.iter().any(|patch| meets(&patch)) {
            return Ok(ReplayedSlice::Plain(plain));
        }
        let mut patched = plain.as_ref().to_vec();
        for (at, patch) in self.patches.iter().filter(meets) {
            let from = (*at).max(position);
            let to = (at + patch.len() as u64).min(end);
            let range = |base: u64| {
                let index = |value: u64| usize::try_from(value - base).map_err(io::Error::other);
                Ok::<_, io::Error>(index(from)?..index(to)?)
            };
            patched[range(position)?].copy_from_slice(&patch[range(*at)?]);
        }
        Ok(ReplayedSlice::Patched(patched.into()))
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }
}

fn read_only() -> io::Error {
    let text = "a disk with its journals laid over it is only read";
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, text)
}
