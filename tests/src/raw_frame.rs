//! Frames that no encoder would write.

use hulse_wire::{FRAME_HEADER_BYTES, Request};

/// A frame whose every field can be set to anything. Its checksums are right for what it says,
/// whatever that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// What the frame is.
    pub kind: u16,
    /// Reserved.
    pub flags: u16,
    /// The producer or consumer that it concerns.
    pub stream: u32,
    /// Joins an answer to its request.
    pub correlation: u64,
    /// The control part.
    pub control: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// What is stated as the length of the whole frame, when it is not its length.
    pub stated_length: Option<u32>,
    /// What is stated as the length of the control part, when it is not its length.
    pub stated_control: Option<u32>,
}

impl RawFrame {
    /// The frame of a legal request.
    ///
    /// # Panics
    /// When the request is none.
    #[must_use]
    pub fn of(request: &Request<'_>, stream: u32, correlation: u64) -> Self {
        let mut bytes = Vec::new();
        request
            .encode(&mut bytes, stream, correlation)
            .expect("a legal request");
        let control_bytes = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let payload = bytes.split_off(FRAME_HEADER_BYTES + control_bytes as usize);
        Self {
            kind: u16::from_le_bytes([bytes[4], bytes[5]]),
            flags: 0,
            stream,
            correlation,
            control: bytes.split_off(FRAME_HEADER_BYTES),
            payload,
            stated_length: None,
            stated_control: None,
        }
    }

    /// The bytes of the frame.
    ///
    /// # Panics
    /// When it is longer than 32 bits can say.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let body = [&self.control[..], &self.payload].concat();
        let whole = u32::try_from(FRAME_HEADER_BYTES + body.len()).expect("a short frame");
        let control = u32::try_from(self.control.len()).expect("a short control part");
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
        bytes.extend(self.stated_length.unwrap_or(whole).to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.stream.to_le_bytes());
        bytes.extend(self.stated_control.unwrap_or(control).to_le_bytes());
        bytes.extend(self.correlation.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// The same frame, in whose control part every `old` is `new`, which is as long: a way to put
    /// in what the encoder refuses.
    ///
    /// # Panics
    /// When the lengths differ, or there is no `old`.
    #[must_use]
    pub fn with(mut self, old: &str, new: &str) -> Self {
        assert_eq!(old.len(), new.len(), "offsets would move");
        let mut found = 0;
        for at in 0..=self.control.len() - old.len() {
            if &self.control[at..at + old.len()] == old.as_bytes() {
                self.control[at..at + new.len()].copy_from_slice(new.as_bytes());
                found += 1;
            }
        }
        assert!(found > 0, "{old:?} is not in the control part");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hello;

    #[test]
    fn a_legal_request_has_the_bytes_of_the_encoder() {
        let request = hello(1, 1);
        let mut bytes = Vec::new();
        request.encode(&mut bytes, 0, 7).unwrap();
        assert_eq!(RawFrame::of(&request, 0, 7).bytes(), bytes);
    }
}
