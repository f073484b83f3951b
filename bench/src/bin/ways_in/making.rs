//! Where the segments of a log come from: a thread that makes the next one while this one fills, or
//! files that are used again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use hulse_log::{Disk, DiskFile, Fill, OsDisk, Reserve};

use crate::align::AlignedBuffer;
use crate::direct::open_direct;
use crate::segment::{Ring, Segment};

/// Direct zeros are written in pieces of this many bytes.
const DIRECT_ZEROS_BYTES: usize = 1 << 20;

/// How a new segment is made: in two of the ways by the log's own code. In each way it is durable with its name when it is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    /// Written with zeros through the page cache, a little at a time.
    Zeros,
    /// Written with zeros past the page cache: pages of it would be in the way of direct writes.
    DirectZeros,
    /// Given its room on the disk, and not written.
    Allocated,
}

impl Making {
    /// Makes a file of `bytes` bytes, durably with its name.
    pub(crate) fn make(self, path: &Path, bytes: usize) -> io::Result<()> {
        let (dir, name) = dir_and_name(path)?;
        match self {
            Self::Zeros | Self::Allocated => {
                let fill = if self == Self::Zeros {
                    Fill::Written
                } else {
                    Fill::Allocated
                };
                let disk = OsDisk::new(dir);
                let file = disk.create_zeroed(name, bytes as u64, fill, Reserve::Whole)?;
                file.sync_data()?;
            }
            Self::DirectZeros => {
                let file = open_direct(path)?;
                let zeros = AlignedBuffer::new(DIRECT_ZEROS_BYTES);
                let mut written = 0;
                while written < bytes {
                    let piece = (bytes - written).min(zeros.len());
                    file.write_all_at(&zeros[..piece], written as u64)?;
                    written += piece;
                }
                file.sync_data()?;
            }
        }
        sync_dir(dir)
    }
}

pub(crate) fn dir_and_name(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent()
        .zip(name)
        .ok_or_else(|| io::Error::other("a segment has a directory and a name"))
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Brings a file's pages into the page cache.
pub(crate) fn load_pages(path: &Path) -> io::Result<()> {
    io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
}

/// Where a log gets its next segment.
pub(crate) enum Source {
    New(Maker),
    Again(Again),
}

impl Source {
    /// The next segment. Blocks until it is there.
    pub(crate) fn next(&mut self) -> io::Result<Segment> {
        match self {
            Self::New(maker) => maker.next(),
            Self::Again(again) => again.next(),
        }
    }
}

/// Files that are used again, in turn.
pub(crate) struct Again {
    ring: Ring,
    bytes: usize,
    number: usize,
}

impl Again {
    /// Makes the files of the ring, each of `bytes` bytes.
    pub(crate) fn make(ring: &Ring, bytes: usize) -> io::Result<()> {
        (0..ring.files).try_for_each(|number| Making::Zeros.make(&ring.again(number), bytes))
    }

    /// The ring that was made, from its start.
    pub(crate) const fn new(ring: Ring, bytes: usize) -> Self {
        Self {
            ring,
            bytes,
            number: 0,
        }
    }

    fn next(&mut self) -> io::Result<Segment> {
        let path = self.ring.again(self.number);
        let segment = Segment::open(self.number, &path, self.bytes)?;
        self.number += 1;
        Ok(segment)
    }
}

/// A thread that has one segment ready, and makes another as soon as that is taken. It also removes
/// those that are so far behind that the ring has no room for them.
pub(crate) struct Maker {
    ready: Option<Receiver<io::Result<Segment>>>,
    thread: Option<JoinHandle<()>>,
}

impl Maker {
    pub(crate) fn start(making: Making, ring: Ring, bytes: usize) -> io::Result<Self> {
        // Without room in the channel, the thread waits with the segment until it is taken.
        let (hand_over, ready) = sync_channel(0);
        let make = move |number: usize| {
            let path = ring.own(number);
            making.make(&path, bytes)?;
            if let Some(gone) = ring.gone_with(number) {
                fs::remove_file(ring.own(gone))?;
            }
            Segment::open(number, &path, bytes)
        };
        let work = move || {
            for number in 0.. {
                let made = make(number);
                let failed = made.is_err();
                if hand_over.send(made).is_err() || failed {
                    return;
                }
            }
        };
        let thread = Builder::new().name("maker".to_owned()).spawn(work)?;
        Ok(Self {
            ready: Some(ready),
            thread: Some(thread),
        })
    }

    fn next(&mut self) -> io::Result<Segment> {
        let ready = self.ready.as_ref().and_then(|ready| ready.recv().ok());
        ready.unwrap_or_else(|| Err(io::Error::other("no more segments are made")))
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 3 << 20;

    #[test]
    fn a_made_segment_is_of_its_size_and_zeros_whichever_way_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for making in [Making::Zeros, Making::DirectZeros, Making::Allocated] {
            let path = dir.path().join(format!("{making:?}"));
            making.make(&path, BYTES).unwrap();
            assert!(fs::read(&path).unwrap() == vec![0; BYTES], "{making:?}");
        }
    }

    #[test]
    fn one_segment_is_made_ahead_and_those_far_behind_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Ring {
            dir: dir.path().to_owned(),
            files: 2,
        };
        let maker = Maker::start(Making::Allocated, ring.clone(), BYTES).unwrap();
        let mut source = Source::New(maker);
        for number in 0..5 {
            assert_eq!(source.next().unwrap().number, number);
        }
        drop(source);
        // Once the fifth was taken the sixth may have been made, and the fourth then went.
        let there: Vec<bool> = (0..5).map(|number| ring.own(number).exists()).collect();
        assert_eq!(there[..3], [false; 3]);
        assert!(there[4]);
    }
}
