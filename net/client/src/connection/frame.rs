//! A frame that came in, as a slice of the buffer that it was read into.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use hulse_wire::{Frame, FrameError, Kind, Reply, decode_frame, needed};

/// A whole frame whose checksums match. It shares the bytes of the receive buffer.
#[derive(Debug, Clone)]
pub(crate) struct IncomingFrame {
    bytes: Bytes,
    kind: Kind,
    stream: u32,
    correlation: u64,
    control: Range<usize>,
    payload: Range<usize>,
}

impl IncomingFrame {
    /// Cuts the first frame out of `buffer`; `None` while it is not complete.
    ///
    /// # Errors
    /// When the bytes are no frame.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some((frame, length)) = decode_frame(buffer)? else {
            return Ok(None);
        };
        let (kind, stream, correlation) = (frame.kind, frame.stream, frame.correlation);
        let payload = length - frame.payload.len()..length;
        let control = payload.start - frame.control.len()..payload.start;
        let bytes = buffer.split_to(length).freeze();
        Ok(Some(Self {
            bytes,
            kind,
            stream,
            correlation,
            control,
            payload,
        }))
    }

    /// How many bytes `buffer` must have room for until its first frame is complete.
    pub(super) fn needed(buffer: &BytesMut) -> usize {
        needed(buffer)
    }

    /// What kind of frame it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The stream that it concerns.
    pub(crate) const fn stream(&self) -> u32 {
        self.stream
    }

    /// The request that it answers; 0 for none.
    pub(crate) const fn correlation(&self) -> u64 {
        self.correlation
    }

    /// The payload, without a copy.
    pub(crate) fn payload(&self) -> Bytes {
        self.bytes.slice(self.payload.clone())
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is nothing that a broker may say.
    pub(crate) fn reply(&self) -> Result<Reply<'_>, FrameError> {
        Reply::decode(&Frame {
            kind: self.kind,
            stream: self.stream,
            correlation: self.correlation,
            control: &self.bytes[self.control.clone()],
            payload: &self.bytes[self.payload.clone()],
            payload_crc: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::Offset;
    use hulse_wire::{AckRange, Deliver};

    #[test]
    fn frames_are_cut_out_whole_and_share_the_buffer() {
        let mut bytes = Vec::new();
        let acked = [AckRange::entry(Offset(3))];
        let deliver = Reply::Deliver(Deliver {
            redelivery_count: 2,
            acked: acked[..].into(),
            entry: b"the entry",
        });
        deliver.encode(&mut bytes, 9, 0).unwrap();
        Reply::Acked.encode(&mut bytes, 9, 77).unwrap();

        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[byte]);
            assert!(IncomingFrame::needed(&buffer) >= buffer.len());
            frames.extend(IncomingFrame::take(&mut buffer).unwrap());
        }
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].reply().unwrap(), deliver);
        assert_eq!(&frames[0].payload()[..], b"the entry");
        assert_eq!((frames[1].stream(), frames[1].correlation()), (9, 77));
        assert_eq!(frames[1].reply().unwrap(), Reply::Acked);
        assert!(buffer.is_empty());
    }
}
