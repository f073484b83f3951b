//! Stores through a map of the file.

use std::io;

use hulse_log::WritableMap;

use crate::segment::Segment;
use crate::way::{Settle, WayIn};

#[derive(Debug, Default)]
pub(crate) struct Mapped {
    map: Option<WritableMap>,
}

impl WayIn for Mapped {
    fn begin(&mut self, segment: &Segment) -> io::Result<()> {
        // The one before goes first: an address space holds two of them, and needs one.
        self.map = None;
        self.map = Some(WritableMap::new(&segment.file, segment.bytes)?);
        Ok(())
    }

    fn append(&mut self, piece: &[u8], position: usize) -> io::Result<()> {
        let map = self.map.as_mut().expect("a segment was begun");
        map.write_at(piece, position)
    }

    fn settle(&mut self) -> io::Result<Settle> {
        Ok(Box::new(|| Ok(())))
    }
}
