//! A segment file, and which of them a log goes through.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file of the log, open for reading and writing.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Which segment of the log it is, from 0.
    pub(crate) number: usize,
    pub(crate) path: Arc<Path>,
    pub(crate) file: Arc<File>,
    pub(crate) bytes: usize,
}

impl Segment {
    /// Opens a file that exists.
    pub(crate) fn open(number: usize, path: &Path, bytes: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self {
            number,
            path: path.into(),
            file: Arc::new(file),
            bytes,
        })
    }

    /// Where it begins in the log. Positions in a log count the room that a segment leaves at its
    /// end too.
    pub(crate) const fn log_position(&self) -> usize {
        self.number * self.bytes
    }
}

/// The files of segments in a directory, of which so many are there at a time.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) dir: PathBuf,
    pub(crate) files: usize,
}

impl Ring {
    /// The file of a segment when files are used again.
    pub(crate) fn again(&self, number: usize) -> PathBuf {
        self.dir.join(name(number % self.files))
    }

    /// The file of a segment when each has its own.
    pub(crate) fn own(&self, number: usize) -> PathBuf {
        self.dir.join(name(number))
    }

    /// The segment that goes when this one has been made.
    pub(crate) const fn gone_with(&self, number: usize) -> Option<usize> {
        number.checked_sub(self.files)
    }
}

fn name(number: usize) -> String {
    format!("{number:08}.segment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_used_again_in_turn_or_go_in_turn() {
        let ring = Ring {
            dir: "d".into(),
            files: 3,
        };
        let names = |of: fn(&Ring, usize) -> PathBuf| {
            let numbers = 0..5;
            let names = numbers.map(|number| of(&ring, number).display().to_string());
            let short = |name: String| name.replace("d/0000000", "").replace(".segment", "");
            names.map(short).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Ring::again), "0 1 2 0 1");
        assert_eq!(names(Ring::own), "0 1 2 3 4");
        assert_eq!(ring.gone_with(2), None);
        assert_eq!(ring.gone_with(3), Some(0));
        assert_eq!(ring.gone_with(7), Some(4));
    }
}
