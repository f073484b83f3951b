//! Reading and writing the few shapes that records and snapshots are made of.

use alloc::vec::Vec;

use crate::record::RecordError;

/// The longest form of a variable-length integer, in bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Reads fields off the front of a slice. It never allocates and never reads past the end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Seven bits per byte, the lowest first; the top bit says that more bytes follow.
    pub(crate) fn varint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if place == VARINT_BYTES_MAX - 1 && bits > 1 {
                break;
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Field("a variable-length integer"))
    }

    /// A count of items that take at least `item_bytes` each. One that cannot be true is refused
    /// before anybody makes room for it.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.varint()?).map_err(|_| RecordError::Truncated)?;
        if count > self.remaining() / item_bytes {
            return Err(RecordError::Truncated);
        }
        Ok(count)
    }

    /// A text: its length in two bytes, then UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(RecordError::Truncated)?;
        self.rest = rest;
        core::str::from_utf8(text).map_err(|_| RecordError::Field("a name"))
    }

    /// Everything that is left.
    pub(crate) fn tail(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), RecordError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(RecordError::Trailing { bytes }),
        }
    }
}

/// Writes `value` as [`Reader::varint`] reads it.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Writes a count.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

/// Writes `text` as [`Reader::text`] reads it.
///
/// # Panics
/// When it is longer than 65,535 bytes: the names of the model are at most 255.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a name is at most 255 bytes long");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_as_written(value in any::<u64>(), shift in 0..64_u32) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_varint_that_does_not_fit_is_refused() {
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(
            Reader::new(&too_large).varint(),
            Err(RecordError::Field(_))
        ));
        let endless = [0x80; 11];
        assert!(matches!(
            Reader::new(&endless).varint(),
            Err(RecordError::Field(_))
        ));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(RecordError::Truncated));
    }

    #[test]
    fn a_count_that_cannot_be_true_is_refused() {
        let mut out = Vec::new();
        put_count(&mut out, 3);
        out.extend_from_slice(&[0; 5]);
        assert_eq!(Reader::new(&out).count(2), Err(RecordError::Truncated));
        assert_eq!(Reader::new(&out).count(1), Ok(3));
    }
}
