//! The thread that reads the input, so that a slow one holds up nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use hulse_model::limits::MESSAGE_BYTES_MAX;
use tokio::sync::mpsc;

use super::lines::{Block, LineBlocks, LineError};
use crate::exit::Failure;

/// Blocks that may wait to be sent.
const BLOCKS_AHEAD: usize = 8;

/// Where lines come from.
#[derive(Debug)]
pub(crate) struct Source {
    blocks: mpsc::Receiver<Result<Block, LineError>>,
    /// Length of the input in bytes, if it is known.
    pub(crate) bytes: Option<u64>,
}

impl Source {
    /// Reads a file; `-` and none are stdin.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Self::read(io::stdin(), None);
        };
        let unreadable = |error: io::Error| {
            Failure::failed(format_args!("{} cannot be read: {error}", path.display()))
        };
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        Self::read(file, about.is_file().then_some(about.len()))
    }

    fn read(input: impl Read + Send + 'static, bytes: Option<u64>) -> Result<Self, Failure> {
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
        let read = move || {
            let mut lines = LineBlocks::new(input, MESSAGE_BYTES_MAX);
            while let Some(block) = lines.next_block().transpose() {
                let ends = block.is_err();
                // Nobody wants more once the command is over.
                if sender.blocking_send(block).is_err() || ends {
                    return;
                }
            }
        };
        // The thread is not joined: it may wait for input that never comes.
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(read)
            .map_err(|error| Failure::failed(format_args!("no thread can be started: {error}")))?;
        Ok(Self { blocks, bytes })
    }

    /// The next block of lines; `None` at the end.
    ///
    /// # Errors
    /// When the input fails, or a line is over the limit.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>, LineError> {
        self.blocks.recv().await.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocks_come_in_order_to_the_end() {
        let input: Vec<u8> = (0..200_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        let mut source = Source::read(io::Cursor::new(input), None).unwrap();
        let mut next = 0;
        while let Some(block) = source.next().await.unwrap() {
            for line in block.lines() {
                assert_eq!(line, next.to_string().as_bytes());
                next += 1;
            }
        }
        assert_eq!(next, 200_000);
    }

    #[tokio::test]
    async fn an_error_is_the_end() {
        let line = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        let mut source = Source::read(io::Cursor::new(line), None).unwrap();
        assert!(matches!(
            source.next().await,
            Err(LineError::TooLong { line: 1, .. })
        ));
        assert!(source.next().await.unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = Source::open(Some(Path::new("/no/such/file"))).unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("/no/such/file cannot be read: ")
        );
    }
}
