//! What a simulated disk holds, as the process sees it and as a crash may leave it.

use std::collections::{BTreeMap, BTreeSet};

use crate::sim::{Keep, PAGE_BYTES, SECTOR_BYTES, SimRng, parent};

/// All files and directories.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) next_inode: u64,
    /// Paths as the process sees them.
    pub(super) names: BTreeMap<String, u64>,
    /// Paths that a crash leaves for certain, but for the pending changes.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names that are not synced, oldest first.
    pub(super) pending: Vec<Change>,
    /// Directories; their creation is durable at once.
    pub(super) dirs: BTreeSet<String>,
}

/// A change of names.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Name(String, u64),
    Rename(String, String, u64),
    Remove(String),
}

/// A file's content.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Numbers of the pages that were written since the last sync.
    pub(super) dirty: BTreeSet<usize>,
    /// Whether the length changed since the last sync.
    pub(super) resized: bool,
}

impl Inode {
    /// Notes a write of `bytes` bytes at `at`.
    pub(super) fn touch(&mut self, at: usize, bytes: usize) {
        if bytes > 0 {
            self.dirty
                .extend(at / PAGE_BYTES..=(at + bytes - 1) / PAGE_BYTES);
        }
    }

    pub(super) fn sync(&mut self) {
        if self.resized {
            self.durable.resize(self.live.len(), 0);
            self.resized = false;
        }
        for page in std::mem::take(&mut self.dirty) {
            let range = page_range(page, self.live.len());
            self.durable[range.clone()].copy_from_slice(&self.live[range]);
        }
    }

    /// After a failed sync the pages pass for clean, and later syncs do not write them.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// What a crash leaves of the file.
    fn crashed(&self, draw: &mut impl FnMut() -> Draw) -> Vec<u8> {
        let mut left = self.durable.clone();
        if self.resized && draw() != Draw::Lost {
            left.resize(self.live.len(), 0);
        }
        for page in &self.dirty {
            let kept = draw();
            let range = page_range(*page, self.live.len());
            for at in range.clone().step_by(SECTOR_BYTES) {
                let sector = at..(at + SECTOR_BYTES).min(range.end);
                let keep = match kept {
                    Draw::Kept => true,
                    Draw::Lost => false,
                    Draw::Torn => draw() == Draw::Kept,
                };
                if keep && sector.end <= left.len() {
                    left[sector.clone()].copy_from_slice(&self.live[sector]);
                }
            }
        }
        left
    }
}

/// What becomes of something that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draw {
    Kept,
    Lost,
    Torn,
}

impl Image {
    /// Makes the changes of names in one directory durable.
    pub(super) fn sync_dir(&mut self, dir: &str) {
        let (synced, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change| change.is_in(dir));
        self.pending = pending;
        let synced: Vec<Change> = synced;
        for change in synced {
            change.apply(&mut self.durable_names);
        }
    }

    /// What a crash leaves.
    pub(super) fn crashed(&self, keep: Keep) -> Self {
        let mut rng = SimRng::new(match keep {
            Keep::Random(seed) => seed,
            Keep::Nothing | Keep::All => 0,
        });
        let mut draw = move || match keep {
            Keep::Nothing => Draw::Lost,
            Keep::All => Draw::Kept,
            Keep::Random(_) => match rng.below(5) {
                0 => Draw::Torn,
                1 | 2 => Draw::Kept,
                _ => Draw::Lost,
            },
        };
        let mut names = self.durable_names.clone();
        for change in &self.pending {
            if draw() == Draw::Kept {
                change.apply(&mut names);
            }
        }
        let mut inodes = BTreeMap::new();
        for inode in names.values() {
            let left = self.inodes[inode].crashed(&mut draw);
            let file = Inode {
                live: left.clone(),
                durable: left,
                ..Inode::default()
            };
            inodes.insert(*inode, file);
        }
        Self {
            inodes,
            next_inode: self.next_inode,
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            dirs: self.dirs.clone(),
        }
    }
}

impl Change {
    fn is_in(&self, dir: &str) -> bool {
        let (Self::Name(path, _) | Self::Rename(path, ..) | Self::Remove(path)) = self;
        parent(path) == dir
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Name(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

fn page_range(page: usize, length: usize) -> std::ops::Range<usize> {
    let start = (page * PAGE_BYTES).min(length);
    start..(start + PAGE_BYTES).min(length)
}
