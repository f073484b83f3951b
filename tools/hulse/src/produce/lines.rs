//! Cuts a stream of bytes into lines, many at a time.
//!
//! A line ends at LF and nowhere else: a CR before it belongs to the line, an empty line is a line,
//! and what follows the last LF is a line unless it is empty.

use std::io::{self, BufRead, BufReader, Read};

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Reads blocks of whole lines.
///
/// It reads ahead only as far as the source gives at once, so that a line that somebody types is
/// there when it has been typed.
#[derive(Debug)]
pub(crate) struct LineBlocks<R> {
    source: BufReader<R>,
    /// The beginning of a line whose end has not been read.
    unfinished: Vec<u8>,
    /// Lines given out so far.
    lines: u64,
    line_bytes_max: usize,
    ended: bool,
}

/// Whole lines, and the number of the first of them, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    first_line: u64,
}

/// Why there are no more lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// A line is over the limit.
    #[error("line {line} is over the limit of {limit} bytes for a message")]
    TooLong {
        /// Its number, counted from 1.
        line: u64,
        /// The limit in bytes, without the LF.
        limit: usize,
    },
    /// The source failed.
    #[error("the input cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl<R: Read> LineBlocks<R> {
    /// Lines of at most `line_bytes_max` bytes, without their LF.
    pub(crate) fn new(source: R, line_bytes_max: usize) -> Self {
        Self::with_read_bytes(source, line_bytes_max, READ_BYTES)
    }

    fn with_read_bytes(source: R, line_bytes_max: usize, read_bytes: usize) -> Self {
        Self {
            source: BufReader::with_capacity(read_bytes, source),
            unfinished: Vec::new(),
            lines: 0,
            line_bytes_max,
            ended: false,
        }
    }

    /// The next whole lines, at least one; `None` at the end.
    ///
    /// # Errors
    /// When the source fails, or a line is over the limit. Every line before that one has been
    /// given out; nothing comes after an error.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, LineError> {
        while !self.ended {
            let chunk = match self.source.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.unfinished = Vec::new();
                    return Err(error.into());
                }
            };
            if chunk.is_empty() {
                self.ended = true;
                break;
            }
            let read = chunk.len();
            let Some(last_end) = chunk.iter().rposition(|byte| *byte == b'\n') else {
                self.unfinished.extend_from_slice(chunk);
                self.source.consume(read);
                if self.unfinished.len() > self.line_bytes_max {
                    return Err(self.too_long());
                }
                continue;
            };
            let (whole, rest) = chunk.split_at(last_end + 1);
            let mut bytes = std::mem::replace(&mut self.unfinished, rest.to_vec());
            bytes.extend_from_slice(whole);
            self.source.consume(read);
            return self.checked(bytes);
        }
        if self.unfinished.is_empty() {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.unfinished);
        self.checked(bytes)
    }

    /// The block of `bytes`, as far as its lines are within the limit.
    fn checked(&mut self, mut bytes: Vec<u8>) -> Result<Option<Block>, LineError> {
        let first_line = self.lines + 1;
        let mut good_bytes = 0;
        for line in Lines(&bytes) {
            if line.len() > self.line_bytes_max {
                if good_bytes == 0 {
                    return Err(self.too_long());
                }
                // The error comes with the next call, which finds the long line at its beginning.
                self.unfinished = bytes.split_off(good_bytes);
                self.ended = true;
                break;
            }
            good_bytes += line.len() + 1;
            self.lines += 1;
        }
        Ok(Some(Block { bytes, first_line }))
    }

    fn too_long(&mut self) -> LineError {
        self.ended = true;
        self.unfinished = Vec::new();
        LineError::TooLong {
            line: self.lines + 1,
            limit: self.line_bytes_max,
        }
    }
}

impl Block {
    /// The number of the first line, counted from 1 over the whole input.
    pub(crate) const fn first_line(&self) -> u64 {
        self.first_line
    }

    /// How long the block is, ends of lines included, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The lines, without their LF.
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines(&self.bytes)
    }
}

/// The lines of some bytes.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let from_here = self.0;
        // The standard library's fastest search for a byte is behind this method.
        let taken = self
            .0
            .skip_until(b'\n')
            .expect("a slice can always be read");
        let line = &from_here[..taken];
        Some(line.strip_suffix(b"\n").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A source that gives what somebody typed: these pieces, one at a time.
    struct Pieces(std::collections::VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(mut piece) = self.0.pop_front() else {
                return Ok(0);
            };
            let count = piece.len().min(out.len());
            out[..count].copy_from_slice(&piece[..count]);
            if count < piece.len() {
                self.0.push_front(piece.split_off(count));
            }
            Ok(count)
        }
    }

    type Cut = (Vec<Vec<u8>>, Option<LineError>);

    /// All lines until the end or the first error; the numbers of the blocks are checked.
    fn cut(pieces: &[Vec<u8>], limit: usize, read_bytes: usize) -> Cut {
        let pieces = pieces
            .iter()
            .filter(|piece| !piece.is_empty())
            .cloned()
            .collect();
        let mut blocks = LineBlocks::with_read_bytes(Pieces(pieces), limit, read_bytes);
        let mut lines = Vec::new();
        loop {
            match blocks.next_block() {
                Ok(Some(block)) => {
                    assert_eq!(block.first_line(), lines.len() as u64 + 1);
                    let before = lines.len();
                    lines.extend(block.lines().map(<[u8]>::to_vec));
                    assert!(lines.len() > before, "a block holds a line");
                }
                Ok(None) => return (lines, None),
                Err(error) => {
                    assert!(
                        blocks.next_block().unwrap().is_none(),
                        "nothing after an error"
                    );
                    return (lines, Some(error));
                }
            }
        }
    }

    /// What the lines should be: split at LF, and no empty line after the last LF.
    fn expected(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines: Vec<_> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines
    }

    fn bytes() -> impl Strategy<Value = u8> {
        prop_oneof![2 => Just(b'\n'), 1 => Just(b'\r'), 5 => any::<u8>()]
    }

    proptest! {
        #[test]
        fn lines_are_the_input_split_at_lf_however_it_comes(
            pieces in prop::collection::vec(prop::collection::vec(bytes(), 0..40), 0..12),
            limit in 0..30_usize,
            read_bytes in 1..50_usize,
        ) {
            let whole = expected(&pieces.concat());
            let (lines, error) = cut(&pieces, limit, read_bytes);
            match whole.iter().position(|line| line.len() > limit) {
                None => {
                    prop_assert!(error.is_none(), "{error:?}");
                    prop_assert_eq!(lines, whole);
                }
                Some(long) => {
                    prop_assert_eq!(&lines[..], &whole[..long]);
                    match error {
                        Some(LineError::TooLong { line, limit: said }) => {
                            prop_assert_eq!((line, said), (long as u64 + 1, limit));
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn the_ends_of_lines_are_as_documented() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            ("\n", &[""]),
            ("\n\n", &["", ""]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\r\n\rb\n", &["a\r", "\rb"]),
            ("a\n\nb", &["a", "", "b"]),
        ];
        for (input, lines) in cases {
            let (cut, error) = cut(&[input.as_bytes().to_vec()], 100, READ_BYTES);
            assert!(error.is_none());
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!(cut, lines, "{input:?}");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        for (ends, length, passes) in [
            ("\n", 9, true),
            ("", 9, true),
            ("\n", 10, false),
            ("", 10, false),
        ] {
            let input = format!("ab\n{}{ends}", "x".repeat(length));
            let (lines, error) = cut(&[input.into_bytes()], 9, 4);
            assert_eq!(error.is_none(), passes);
            assert_eq!(lines.len(), if passes { 2 } else { 1 });
        }
    }

    #[test]
    fn a_failing_source_is_an_error_after_the_lines_before_it() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut blocks = LineBlocks::new((&b"a\nb"[..]).chain(Failing), 100);
        assert_eq!(blocks.next_block().unwrap().unwrap().lines().count(), 1);
        assert!(matches!(blocks.next_block(), Err(LineError::Read(_))));
    }
}
