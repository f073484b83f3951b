//! Writing to stdout in a way that knows how much has been written.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Where the messages go. It has no buffer of its own: what has been written is out of the process.
#[derive(Debug)]
pub(crate) struct Outlet<W>(W);

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// All of it is out.
    All,
    /// The reader has gone away, after this many bytes were out.
    ReaderGone {
        /// How many.
        bytes: usize,
    },
    /// The system refused, after this many bytes were out.
    Failed {
        /// How many.
        bytes: usize,
        /// What it said.
        error: io::Error,
    },
}

impl Outlet<File> {
    /// Stdout, past the standard library's buffer.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn stdout() -> io::Result<Self> {
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl<W: Write> Outlet<W> {
    /// Writes all of it; blocks while the reader is slow.
    pub(crate) fn write(&mut self, data: &[u8]) -> Written {
        let mut bytes = 0;
        while bytes < data.len() {
            match self.0.write(&data[bytes..]) {
                Ok(0) => {
                    return Written::Failed {
                        bytes,
                        error: io::ErrorKind::WriteZero.into(),
                    };
                }
                Ok(more) => bytes += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Written::ReaderGone { bytes };
                }
                Err(error) => return Written::Failed { bytes, error },
            }
        }
        Written::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes at a time, and gives an error after the last.
    struct Pipe {
        pieces: Vec<usize>,
        error: io::ErrorKind,
        taken: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.pieces.is_empty() {
                return Err(self.error.into());
            }
            let count = self.pieces.remove(0).min(data.len());
            self.taken.extend_from_slice(&data[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outlet(pieces: &[usize], error: io::ErrorKind) -> Outlet<Pipe> {
        Outlet(Pipe {
            pieces: pieces.to_vec(),
            error,
            taken: Vec::new(),
        })
    }

    #[test]
    fn short_writes_go_on() {
        let mut outlet = outlet(&[2, 1, 9], io::ErrorKind::Other);
        assert!(matches!(outlet.write(b"abcdef"), Written::All));
        assert_eq!(outlet.0.taken, b"abcdef");
    }

    #[test]
    fn a_reader_that_goes_away_is_told_from_a_failure() {
        let written = outlet(&[2, 1], io::ErrorKind::BrokenPipe).write(b"abcdef");
        assert!(
            matches!(written, Written::ReaderGone { bytes: 3 }),
            "{written:?}"
        );
        let written = outlet(&[4], io::ErrorKind::StorageFull).write(b"abcdef");
        assert!(
            matches!(written, Written::Failed { bytes: 4, .. }),
            "{written:?}"
        );
        let written = outlet(&[0], io::ErrorKind::Other).write(b"abcdef");
        assert!(
            matches!(written, Written::Failed { bytes: 0, .. }),
            "{written:?}"
        );
    }
}
