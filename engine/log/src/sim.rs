//! A disk in memory that forgets: for every file it keeps what is durable beside what was
//! written, and a crash keeps any part of the rest.
//!
//! Pages of 4 KiB, and 512-byte sectors of them, survive or vanish one by one until their file is
//! synced; creations, renames and removals until their directory is. Each step that changes
//! something is counted, and the machine can be stopped after any number of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;

use crate::disk::{Disk, DiskFile, Fill, Reserve, beyond_end};

mod image;
mod rng;

use image::{Change, Image, Inode};
pub use rng::SimRng;

/// Size of a page, in bytes: what survives or vanishes as one.
pub const PAGE_BYTES: usize = 4096;
/// Size of a sector, in bytes: what a page can be torn into.
pub const SECTOR_BYTES: usize = 512;

/// Which part of what was not synced a crash keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: the disk never got to it.
    Nothing,
    /// Everything: only the process died.
    All,
    /// Any part, drawn from this seed.
    Random(u64),
}

/// What the disk does next, other than what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next write fails, after half of it.
    Write,
    /// The next sync of a file fails, and its pages pass for clean though they are not durable.
    Sync,
    /// The next sync of a directory fails.
    SyncDir,
    /// The next opening of a file fails, as it does when too many are open.
    Open,
}

/// A simulated disk. Clones share one disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Clone, Default)]
struct State {
    image: Image,
    operations: u64,
    /// The machine stops after so many operations.
    stop_after: Option<u64>,
    faults: Vec<Fault>,
    /// Bytes that files may still grow by.
    free_bytes: Option<u64>,
    /// A small file that cannot be read.
    unreadable: Option<String>,
    /// What is in memory, as files' numbers with ranges; without it everything is.
    resident: Option<Vec<(u64, Range<u64>)>>,
    /// The paths of files that were opened, for as long as a handle of them is left.
    open: Vec<Weak<str>>,
    /// So many files may be open.
    open_max: Option<usize>,
}

impl State {
    /// Counts an operation, unless the machine has stopped.
    fn step(&mut self) -> io::Result<()> {
        if self.stop_after.is_some_and(|most| self.operations >= most) {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.operations += 1;
        Ok(())
    }

    fn take_fault(&mut self, fault: Fault) -> bool {
        let found = self.faults.iter().position(|waiting| *waiting == fault);
        found.map(|at| self.faults.remove(at)).is_some()
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(free) = &mut self.free_bytes {
            *free = free
                .checked_sub(bytes)
                .ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        }
        Ok(())
    }

    /// Whether a segment of `bytes` bytes leaves enough: a disk that may grow by so much and no
    /// further is one of that size.
    fn check_room(&self, bytes: u64, reserve: Reserve) -> io::Result<()> {
        let used: usize = self
            .image
            .names
            .values()
            .map(|inode| self.image.inodes[inode].live.len())
            .sum();
        match self.free_bytes {
            Some(free) if !reserve.allows(bytes, free, free.saturating_add(used as u64)) => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }

    fn release(&mut self, bytes: u64) {
        if let Some(free) = &mut self.free_bytes {
            *free += bytes;
        }
    }

    /// Notes that a file is being opened, if it may be. The file lives for as long as the path that
    /// this gives.
    fn open(&mut self, path: &str) -> io::Result<Arc<str>> {
        if self.open.len().is_power_of_two() {
            self.open.retain(|path| path.strong_count() > 0);
        }
        let full = self.open_max.is_some_and(|most| self.live_files() >= most);
        if full || self.take_fault(Fault::Open) {
            return Err(Errno::MFILE.into());
        }
        let path: Arc<str> = path.into();
        self.open.push(Arc::downgrade(&path));
        Ok(path)
    }

    fn live_files(&self) -> usize {
        let live = self.open.iter().filter(|path| path.strong_count() > 0);
        live.count()
    }

    fn inode(&mut self, path: &str) -> io::Result<u64> {
        self.image
            .names
            .get(path)
            .copied()
            .ok_or_else(|| not_found(path))
    }

    /// Gives up the name of a file; what it holds stays for those who have it open.
    fn unlink(&mut self, path: &str) -> io::Result<()> {
        let inode = self
            .image
            .names
            .remove(path)
            .ok_or_else(|| not_found(path))?;
        let bytes = self
            .image
            .inodes
            .get(&inode)
            .map_or(0, |file| file.live.len());
        self.release(bytes as u64);
        Ok(())
    }

    /// A new, empty file under a name, which another file loses.
    fn create(&mut self, path: &str) -> io::Result<u64> {
        let dir = parent(path);
        if !self.image.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        if self.image.names.contains_key(path) {
            self.unlink(path)?;
        }
        let number = self.image.next_inode;
        self.image.next_inode += 1;
        self.image.inodes.insert(number, Inode::default());
        self.image.names.insert(path.to_owned(), number);
        self.image
            .pending
            .push(Change::Name(path.to_owned(), number));
        Ok(number)
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the machine after `operations` more operations: everything fails from then on.
    pub fn stop_after(&self, operations: u64) {
        let mut state = self.state();
        state.stop_after = Some(state.operations + operations);
    }

    /// How many operations changed, or tried to change, the disk so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the next operation of a kind fail.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Lets every reading of this small file fail from now on, as a bad block under it would; or of
    /// none.
    pub fn fail_reads_of(&self, path: Option<&str>) {
        self.state().unreadable = path.map(str::to_owned);
    }

    /// Lets so many files be open at a time from now on, and no more.
    pub fn set_open_files_max(&self, most: Option<usize>) {
        self.state().open_max = most;
    }

    /// The paths of the files that are open, sorted; one that was opened twice comes twice.
    #[must_use]
    pub fn open_files(&self) -> Vec<String> {
        let state = self.state();
        let live = state.open.iter().filter_map(Weak::upgrade);
        let mut paths: Vec<_> = live.map(|path| path.to_string()).collect();
        paths.sort_unstable();
        paths
    }

    /// Lets files grow by so many bytes from now on, and no further.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.state().free_bytes = bytes;
    }

    /// Lets the machine's memory forget what the files hold: from now on only what was warmed is in
    /// it.
    pub fn cool(&self) {
        self.state().resident = Some(Vec::new());
    }

    /// The disk that another start of the machine finds after a crash at this moment. This one
    /// stays as it is, so that several crashes can be tried.
    #[must_use]
    pub fn crashed(&self, keep: Keep) -> Self {
        let image = self.state().image.crashed(keep);
        Self(Arc::new(Mutex::new(State {
            image,
            ..State::default()
        })))
    }

    /// A copy with its own life, synced or not as this one is.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state();
        let copy = State {
            image: state.image.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Every file with its content.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |inode: &u64| state.image.inodes[inode].live.clone();
        state
            .image
            .names
            .iter()
            .map(|(name, inode)| (name.clone(), content(inode)))
            .collect()
    }

    /// Sets a file's content, durably, as an editor would; it is made if it is not there.
    ///
    /// # Panics
    /// When its directory does not exist.
    pub fn set_content(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = match state.inode(path) {
            Ok(inode) => inode,
            Err(_) => state.create(path).expect("the directory exists"),
        };
        let file = Inode {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..Inode::default()
        };
        state.image.inodes.insert(inode, file);
        state.image.sync_dir(parent(path));
    }

    /// Flips one bit of a file, as rot would: durably.
    ///
    /// # Panics
    /// When there is no such bit.
    pub fn flip_bit(&self, path: &str, byte: usize, bit: u32) {
        let mut state = self.state();
        let inode = state.inode(path).expect("the file exists");
        let file = state
            .image
            .inodes
            .get_mut(&inode)
            .expect("a name has its file");
        file.live[byte] ^= 1 << bit;
        if let Some(durable) = file.durable.get_mut(byte) {
            *durable ^= 1 << bit;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, path: Arc<str>, inode: u64) -> SimFile {
        SimFile {
            disk: self.clone(),
            inode,
            path,
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let mut dir = path;
        loop {
            state.image.dirs.insert(dir.to_owned());
            if dir.is_empty() {
                return Ok(());
            }
            dir = parent(dir);
        }
    }

    fn create_zeroed(
        &self,
        path: &str,
        bytes: u64,
        _: Fill,
        reserve: Reserve,
    ) -> io::Result<SimFile> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let (path, inode) = {
            let mut state = self.state();
            state.step()?;
            state.check_room(bytes, reserve)?;
            let open = state.open(path)?;
            state.reserve(bytes)?;
            let inode = state.create(path)?;
            let mut file = Inode {
                live: vec![0; length],
                resized: true,
                ..Inode::default()
            };
            file.touch(0, length);
            state.image.inodes.insert(inode, file);
            (open, inode)
        };
        Ok(self.file(path, inode))
    }

    fn open(&self, path: &str) -> io::Result<SimFile> {
        let (path, inode) = {
            let mut state = self.state();
            let inode = state.inode(path)?;
            (state.open(path)?, inode)
        };
        Ok(self.file(path, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.inode(from)?;
        if state.image.names.contains_key(to) {
            state.unlink(to)?;
        }
        state.image.names.remove(from);
        state.image.names.insert(to.to_owned(), inode);
        state
            .image
            .pending
            .push(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.unlink(path)?;
        state.image.pending.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        let names: Vec<String> = {
            let state = self.state();
            let inside = |name: &&String| name.starts_with(&format!("{path}/"));
            state.image.names.keys().filter(inside).cloned().collect()
        };
        for name in names {
            self.remove(&name)?;
        }
        let mut state = self.state();
        state.step()?;
        state.image.dirs.remove(path);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.image.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let paths = state.image.names.keys().chain(&state.image.dirs);
        let inside = paths.filter(|path| !path.is_empty() && parent(path) == dir);
        let mut names: Vec<String> = inside
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.take_fault(Fault::SyncDir) {
            return Err(io::Error::other("injected: the directory was not synced"));
        }
        state.image.sync_dir(dir);
        Ok(())
    }

    fn read_all(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        if state.unreadable.as_deref() == Some(path) {
            return Err(io::Error::other("injected: the file cannot be read"));
        }
        let inode = state.inode(path)?;
        Ok(state.image.inodes[&inode].live.clone())
    }

    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let inode = {
            let mut state = self.state();
            state.step()?;
            state.reserve(bytes.len() as u64)?;
            state.create(path)?
        };
        {
            let mut state = self.state();
            state.step()?;
            let file = Inode {
                live: bytes.to_vec(),
                resized: true,
                ..Inode::default()
            };
            state.image.inodes.insert(inode, file);
            if let Some(file) = state.image.inodes.get_mut(&inode) {
                file.touch(0, bytes.len());
            }
        }
        self.file(path.into(), inode).sync_data()
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug, Clone)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
    path: Arc<str>,
}

impl DiskFile for SimFile {
    type Slice = Arc<[u8]>;

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().image.inodes[&self.inode].live.len() as u64)
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let failed = state.take_fault(Fault::Write);
        let bytes = if failed {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let beyond = || beyond_end(&self.path, position, bytes.len());
        let file = state.image.inodes.get_mut(&self.inode).ok_or_else(beyond)?;
        // Segments never grow, so that this is a mistake and not a way to write.
        file.live
            .get_mut(at..at + bytes.len())
            .ok_or_else(beyond)?
            .copy_from_slice(bytes);
        file.touch(at, bytes.len());
        if failed {
            Err(io::Error::other("injected: the write failed"))
        } else {
            Ok(())
        }
    }

    fn slice(&self, position: u64, bytes: usize) -> io::Result<Arc<[u8]>> {
        let state = self.disk.state();
        let beyond = || beyond_end(&self.path, position, bytes);
        let at = usize::try_from(position).map_err(|_| beyond())?;
        let end = at.checked_add(bytes).ok_or_else(beyond)?;
        let file = &state.image.inodes[&self.inode];
        file.live.get(at..end).map(Into::into).ok_or_else(beyond)
    }

    fn is_resident(&self, position: u64, bytes: u64) -> bool {
        let wanted = position..position + bytes;
        self.disk.state().resident.as_ref().is_none_or(|resident| {
            resident.iter().any(|(inode, range)| {
                *inode == self.inode && range.start <= wanted.start && range.end >= wanted.end
            })
        })
    }

    fn warm(&self, position: u64, bytes: u64, ahead: u64) -> io::Result<()> {
        if let Some(resident) = &mut self.disk.state().resident {
            resident.push((self.inode, position..position + bytes + ahead));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let failed = state.take_fault(Fault::Sync);
        let Some(file) = state.image.inodes.get_mut(&self.inode) else {
            return Ok(());
        };
        if failed {
            file.forget_dirty();
            return Err(io::Error::other("injected: the sync failed"));
        }
        file.sync();
        Ok(())
    }
}

/// The directory that a path lies in; the root is the empty path.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: not found"))
}

#[cfg(test)]
mod tests;
