//! The fields of the byte layouts, each stated once: the codecs read and write through them, and
//! a test compares them with the tables of `docs/log-format.md`.

/// One field of a fixed layout. All integers are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Where it begins, in bytes from the layout's start.
    pub at: usize,
    /// Its length, in bytes.
    pub bytes: usize,
}

impl Field {
    /// The first field of a layout.
    pub(crate) const fn first(name: &'static str, bytes: usize) -> Self {
        Self { name, at: 0, bytes }
    }

    /// The field that follows this one without a gap.
    pub(crate) const fn then(self, name: &'static str, bytes: usize) -> Self {
        Self {
            name,
            at: self.end(),
            bytes,
        }
    }

    /// Where the next field begins.
    #[must_use]
    pub const fn end(self) -> usize {
        self.at + self.bytes
    }

    /// The field's bytes. The caller's layout is at least as long as its last field.
    pub(crate) fn of(self, layout: &[u8]) -> &[u8] {
        &layout[self.at..self.end()]
    }

    pub(crate) fn put(self, layout: &mut [u8], value: &[u8]) {
        layout[self.at..self.end()].copy_from_slice(value);
    }

    pub(crate) fn u32(self, layout: &[u8]) -> u32 {
        let bytes = layout[self.at..self.end()]
            .first_chunk()
            .expect("the field has four bytes");
        u32::from_le_bytes(*bytes)
    }

    pub(crate) fn u64(self, layout: &[u8]) -> u64 {
        let bytes = layout[self.at..self.end()]
            .first_chunk()
            .expect("the field has eight bytes");
        u64::from_le_bytes(*bytes)
    }

    pub(crate) fn u128(self, layout: &[u8]) -> u128 {
        let bytes = layout[self.at..self.end()]
            .first_chunk()
            .expect("the field has sixteen bytes");
        u128::from_le_bytes(*bytes)
    }
}

/// Every layout of this crate with its fields, in the order of the documentation.
pub const LAYOUTS: &[(&str, &[Field])] = &[
    ("segment header", crate::segment::HEADER_FIELDS),
    ("opening", crate::segment::OPENING_FIELDS),
    ("record", crate::record::RECORD_FIELDS),
    ("index point", crate::footer::POINT_FIELDS),
    ("term", crate::footer::TERM_FIELDS),
    ("trailer", crate::footer::TRAILER_FIELDS),
    ("manifest", crate::manifest::MANIFEST_FIELDS),
    ("journal file", crate::journal::format::FILE_FIELDS),
    ("round", crate::journal::format::ROUND_FIELDS),
    ("chunk", crate::journal::format::CHUNK_FIELDS),
];
