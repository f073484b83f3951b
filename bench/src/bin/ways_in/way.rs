//! The ways into a segment, and the interface that all of them are behind.

use std::io;
use std::sync::Arc;

use clap::ValueEnum;

use crate::buffered::Buffered;
use crate::direct::Direct;
use crate::making::Making;
use crate::mapped::Mapped;
use crate::memory::TailMemory;
use crate::segment::Segment;

/// At most this many bytes are put into a segment at a time. Segments are a multiple of it.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// What a sync does before it asks the disk: waiting for writes that are still under way. It runs
/// on the thread that syncs.
pub(crate) type Settle = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// How bytes get into segments.
pub(crate) trait WayIn {
    /// Goes over to `segment`, which is filled from its start. The one before gets nothing more.
    fn begin(&mut self, segment: &Segment) -> io::Result<()>;

    /// Puts `piece` at `position` of the segment, right behind the one before it. The bytes may be
    /// used for something else afterwards.
    fn append(&mut self, piece: &[u8], position: usize) -> io::Result<()>;

    /// Sends off what is still held back. Once what it answers has run, a sync of the files covers
    /// everything that was appended until now.
    fn settle(&mut self) -> io::Result<Settle>;

    /// Where the tail is to be read, if not through a map of the file.
    fn memory(&self) -> Option<Arc<TailMemory>> {
        None
    }
}

/// A way by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    BufferedWritten,
    BufferedAllocated,
    MappedWritten,
    DirectWritten,
    DirectAllocated,
}

pub(crate) const WAYS: [Way; 5] = [
    Way::BufferedWritten,
    Way::BufferedAllocated,
    Way::MappedWritten,
    Way::DirectWritten,
    Way::DirectAllocated,
];

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BufferedWritten => "buffered, written",
            Self::BufferedAllocated => "buffered, allocated",
            Self::MappedWritten => "mapped, written",
            Self::DirectWritten => "direct, written",
            Self::DirectAllocated => "direct, allocated",
        }
    }

    /// How a new segment is made for it.
    pub(crate) const fn making(self) -> Making {
        match self {
            Self::BufferedWritten | Self::MappedWritten => Making::Zeros,
            Self::DirectWritten => Making::DirectZeros,
            Self::BufferedAllocated | Self::DirectAllocated => Making::Allocated,
        }
    }

    pub(crate) const fn is_direct(self) -> bool {
        matches!(self, Self::DirectWritten | Self::DirectAllocated)
    }

    /// Whether it starts with segments that nothing was ever written to. A segment that is used
    /// again is none of those, whichever way it was made.
    pub(crate) const fn is_allocated(self) -> bool {
        matches!(self, Self::BufferedAllocated | Self::DirectAllocated)
    }

    /// The way at work, for a log with segments of so many bytes.
    pub(crate) fn start(self, segment_bytes: usize) -> io::Result<Box<dyn WayIn>> {
        Ok(match self {
            Self::BufferedWritten | Self::BufferedAllocated => Box::new(Buffered::default()),
            Self::MappedWritten => Box::new(Mapped::default()),
            Self::DirectWritten | Self::DirectAllocated => Box::new(Direct::start(segment_bytes)?),
        })
    }
}
