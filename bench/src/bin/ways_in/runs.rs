//! The kinds of runs: what each does with a way, and with which files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use clap::ValueEnum;
use tempfile::TempDir;

use hulse_bench::drop_pages;

use crate::figures::Figures;
use crate::fill::{Load, fill};
use crate::making::{Again, Maker, Source, load_pages, sync_dir};
use crate::reader::{follow, lag};
use crate::segment::Ring;
use crate::way::Way;

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Run {
    /// As fast as possible, for as many bytes as fit into the page cache
    Burst,
    /// As fast as possible, for so many bytes that the disk is the limit
    Sustained,
    /// At a rate, with a reader right behind
    Tail,
    /// At a rate, with a reader of old segments that are not in the page cache
    Lagging,
}

impl Run {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Sustained => "sustained",
            Self::Tail => "tail",
            Self::Lagging => "lagging",
        }
    }

    pub(crate) const fn fills(self) -> &'static [Fill] {
        match self {
            Self::Burst => &[Fill::First, Fill::Recycled, Fill::RecycledCold],
            Self::Sustained => &[Fill::First, Fill::Recycled],
            Self::Tail | Self::Lagging => &[Fill::First],
        }
    }
}

/// What the segments are before they are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// New: each is made while the one before it fills.
    First,
    /// Used before. In a burst their pages are in the page cache, but for direct ways.
    Recycled,
    /// Used before, and not in the page cache.
    RecycledCold,
}

impl Fill {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Recycled => "recycled",
            Self::RecycledCold => "recycled cold",
        }
    }

    /// Whether it is a run of its own for this way.
    pub(crate) const fn is_for(self, way: Way) -> bool {
        match self {
            Self::First => true,
            Self::Recycled => !way.is_allocated(),
            Self::RecycledCold => !way.is_direct() && !way.is_allocated(),
        }
    }
}

/// Where the files of all runs lie, and of which size they are.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) files: PathBuf,
    pub(crate) segment_bytes: usize,
    /// How many segments are kept: of those that are used again, and behind one that is filled
    /// first.
    pub(crate) segments_max: usize,
    /// The files that are used again. They are made when they are first needed.
    ring: Option<(TempDir, Ring)>,
}

impl Place {
    pub(crate) const fn new(files: PathBuf, segment_bytes: usize, segments_max: usize) -> Self {
        Self {
            files,
            segment_bytes,
            segments_max,
            ring: None,
        }
    }

    /// Files that were written before, enough for `bytes` bytes, or as many as are kept.
    fn ring(&mut self, bytes: u64) -> io::Result<Ring> {
        let segments = bytes.div_ceil(self.segment_bytes as u64) + 1;
        let files = usize::try_from(segments).map_or(self.segments_max, |segments| {
            segments.min(self.segments_max)
        });
        if let Some((_, ring)) = &self.ring
            && ring.files >= files
        {
            return Ok(ring.clone());
        }
        // The smaller one goes first.
        self.ring = None;
        let dir = tempfile::tempdir_in(&self.files)?;
        let ring = Ring {
            dir: dir.path().to_owned(),
            files,
        };
        Again::make(&ring, self.segment_bytes)?;
        self.ring = Some((dir, ring.clone()));
        Ok(ring)
    }

    fn new_files(&self, way: Way, dir: &Path, kept: usize) -> io::Result<Source> {
        let ring = Ring {
            dir: dir.to_owned(),
            files: kept,
        };
        let maker = Maker::start(way.making(), ring, self.segment_bytes)?;
        Ok(Source::New(maker))
    }
}

/// One run of one way.
pub(crate) fn run(
    run: Run,
    fill_of: Fill,
    way: Way,
    load: &Load,
    place: &mut Place,
) -> io::Result<Figures> {
    let dir = tempfile::tempdir_in(&place.files)?;
    // What was removed before this run is not to be this run's work.
    sync_dir(&place.files)?;
    match run {
        Run::Burst | Run::Sustained => {
            let mut source = match fill_of {
                Fill::First => place.new_files(way, dir.path(), place.segments_max)?,
                Fill::Recycled | Fill::RecycledCold => {
                    let ring = place.ring(load.bytes)?;
                    if run == Run::Burst {
                        prepare_pages(&ring, fill_of, way)?;
                    }
                    Source::Again(Again::new(ring, place.segment_bytes))
                }
            };
            let mut way = way.start(place.segment_bytes)?;
            fill(way.as_mut(), &mut source, load, None)
        }
        Run::Tail => {
            // A reader may be anywhere behind: nothing is removed.
            let source = place.new_files(way, dir.path(), usize::MAX)?;
            tail(way, source, load, place.segment_bytes)
        }
        Run::Lagging => {
            let source = place.new_files(way, dir.path(), usize::MAX)?;
            let ring = place.ring(load.bytes)?;
            let old: Vec<PathBuf> = (0..ring.files).map(|number| ring.again(number)).collect();
            lagging(way, source, load, &old, place.segment_bytes)
        }
    }
}

fn prepare_pages(ring: &Ring, fill: Fill, way: Way) -> io::Result<()> {
    let is_cached = fill == Fill::Recycled && !way.is_direct();
    (0..ring.files).try_for_each(|number| {
        let path = ring.again(number);
        drop_pages(&path)?;
        if is_cached { load_pages(&path) } else { Ok(()) }
    })
}

fn tail(way: Way, mut source: Source, load: &Load, segment_bytes: usize) -> io::Result<Figures> {
    let mut way = way.start(segment_bytes)?;
    let memory = way.memory();
    let (tell, appended) = channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || follow(appended, load.record, memory.as_deref()));
        let figures = fill(way.as_mut(), &mut source, load, Some(&tell));
        drop(tell);
        let reading = reader
            .join()
            .map_err(|_| io::Error::other("the reader"))??;
        Ok(figures?.with_reading(&reading))
    })
}

fn lagging(
    way: Way,
    mut source: Source,
    load: &Load,
    old: &[PathBuf],
    segment_bytes: usize,
) -> io::Result<Figures> {
    let mut way = way.start(segment_bytes)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| lag(old, segment_bytes, load, &stop));
        let figures = fill(way.as_mut(), &mut source, load, None);
        stop.store(true, Ordering::Relaxed);
        let reading = reader
            .join()
            .map_err(|_| io::Error::other("the reader"))??;
        Ok(figures?.with_reading(&reading))
    })
}
