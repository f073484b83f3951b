//! The segment file: its name, the layout of its parts, its header and its opening.
//!
//! `docs/log-format.md` has the tables and the reasons.

use hulse_model::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_TERMS_MAX};
use hulse_model::{Offset, PartitionId};

use crate::disk::Fill;
use crate::field::Field;
use crate::footer::{POINT_BYTES, TERM_BYTES, TRAILER_BYTES};

/// Length of the segment header, in bytes. A copy of it stands at the very end of the file.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 96;
/// Length of the opening, in bytes. It follows the header.
pub(crate) const OPENING_BYTES: usize = 16;
/// Where the first record begins.
pub(crate) const DATA_START: u64 = (SEGMENT_HEADER_BYTES + OPENING_BYTES) as u64;
/// The version of the layout that this program reads and writes.
pub const SEGMENT_VERSION: u32 = 1;
/// The most points of a segment's sparse index.
pub(crate) const INDEX_POINTS_MAX: u64 = 1024;
/// No offset reaches this, so that sums of offsets never overflow whatever a file says.
pub(crate) const OFFSET_LIMIT: u64 = 1 << 62;

const MAGIC: &[u8; 8] = b"HULSESEG";

const F_MAGIC: Field = Field::first("magic", 8);
const F_VERSION: Field = F_MAGIC.then("version", 4);
const F_KIND: Field = F_VERSION.then("kind", 4);
const F_SEGMENT_ID: Field = F_KIND.then("segment_id", 8);
const F_GENERATION: Field = F_SEGMENT_ID.then("generation", 8);
const F_PARTITION: Field = F_GENERATION.then("partition", 16);
const F_BASE: Field = F_PARTITION.then("base_offset", 8);
const F_CAPACITY: Field = F_BASE.then("capacity", 8);
const F_ALLOCATED: Field = F_CAPACITY.then("allocated", 4);
const F_RESERVED: Field = F_ALLOCATED.then("reserved", 24);
const F_CRC: Field = F_RESERVED.then("crc", 4);

/// The fields of the segment header.
pub(crate) const HEADER_FIELDS: &[Field] = &[
    F_MAGIC,
    F_VERSION,
    F_KIND,
    F_SEGMENT_ID,
    F_GENERATION,
    F_PARTITION,
    F_BASE,
    F_CAPACITY,
    F_ALLOCATED,
    F_RESERVED,
    F_CRC,
];

const O_FIRST: Field = Field::first("first_offset", 8);
const O_RESERVED: Field = O_FIRST.then("reserved", 4);
const O_CRC: Field = O_RESERVED.then("crc", 4);

/// The fields of the opening.
pub(crate) const OPENING_FIELDS: &[Field] = &[O_FIRST, O_RESERVED, O_CRC];

const _: () = assert!(F_CRC.end() == SEGMENT_HEADER_BYTES);
const _: () = assert!(O_CRC.end() == OPENING_BYTES);
const _: () = assert!(DATA_START.is_multiple_of(8));

/// Which of a partition's two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogKind {
    /// The log of what producers sent.
    Entries,
    /// The log of everything else that must survive.
    Sibling,
}

impl LogKind {
    /// Both, in the order in which they are recovered.
    pub const ALL: [Self; 2] = [Self::Entries, Self::Sibling];

    /// The word with which the names of its files begin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Sibling => "sibling",
        }
    }

    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Entries => 1,
            Self::Sibling => 2,
        }
    }

    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Entries),
            2 => Some(Self::Sibling),
            _ => None,
        }
    }

    /// The file name of the segment that was made when the log's end was `base`.
    pub(crate) fn segment_name(self, base: Offset) -> String {
        format!("{}-{:020}.seg", self.name(), base.0)
    }

    /// The base offset in a segment's file name, when it is one of this log.
    pub(crate) fn base_of(self, name: &str) -> Option<Offset> {
        let digits = name
            .strip_prefix(self.name())?
            .strip_prefix('-')?
            .strip_suffix(".seg")?;
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits
            .parse()
            .ok()
            .filter(|base| *base < OFFSET_LIMIT)
            .map(Offset)
    }
}

impl std::fmt::Display for LogKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the parts of a segment of a given size lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) capacity: u64,
}

impl Layout {
    /// The smallest layout of at least `wanted` bytes in all whose records may take `room` bytes.
    /// `None` when no segment is that large.
    pub(crate) fn for_room(wanted: u64, room: u64) -> Option<Self> {
        let mut capacity = wanted
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
            .next_power_of_two();
        loop {
            let layout = Self { capacity };
            if layout.room() >= room {
                return Some(layout);
            }
            if capacity >= SEGMENT_BYTES_MAX {
                return None;
            }
            capacity *= 2;
        }
    }

    /// Bytes that records may take.
    pub(crate) fn room(self) -> u64 {
        self.data_end() - DATA_START
    }

    pub(crate) fn points_max(self) -> u64 {
        (self.capacity / 1024).min(INDEX_POINTS_MAX)
    }

    fn footer_bytes(self) -> u64 {
        let tables =
            self.points_max() * POINT_BYTES as u64 + (SEGMENT_TERMS_MAX * TERM_BYTES) as u64;
        tables + (TRAILER_BYTES + SEGMENT_HEADER_BYTES) as u64
    }

    /// Where the records' room ends and the footer begins.
    pub(crate) fn data_end(self) -> u64 {
        self.capacity - self.footer_bytes()
    }

    /// Where the copy of the header begins.
    pub(crate) fn header_copy_at(self) -> u64 {
        self.capacity - SEGMENT_HEADER_BYTES as u64
    }

    /// The distance between two points of the sparse index, in bytes.
    pub(crate) fn index_step(self) -> u64 {
        self.room().div_ceil(self.points_max())
    }
}

/// What ties a record to its segment: part of every local checksum, so that bytes of another
/// segment, or of an earlier life of this one, never validate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) segment_id: u64,
    pub(crate) generation: u64,
}

impl Seal {
    pub(crate) fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.segment_id.to_le_bytes());
        bytes[8..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) kind: LogKind,
    pub(crate) seal: Seal,
    pub(crate) partition: PartitionId,
    /// The log's end when the segment was made: its first entry lies here or later.
    pub(crate) base: Offset,
    pub(crate) layout: Layout,
    /// How it got its room.
    pub(crate) fill: Fill,
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not the header's first eight bytes, or not as long as a header.
    #[error("it does not begin like a segment")]
    Magic,
    /// The checksum is wrong.
    #[error("the checksum of its header is wrong")]
    Checksum,
    /// Another version's layout.
    #[error("its version is {found}, this program reads {SEGMENT_VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file is not as long as it was made.
    #[error("it is {found} bytes long and was made with {made}: a part of it is missing")]
    Length {
        /// The file's length.
        found: u64,
        /// What its header says.
        made: u64,
    },
    /// A field that no segment of this place can have.
    #[error("the field {0} of its header does not belong here")]
    Field(&'static str),
}

impl SegmentHeader {
    /// A header for a new segment.
    pub(crate) fn new(
        kind: LogKind,
        partition: PartitionId,
        base: Offset,
        generation: u64,
        layout: Layout,
        fill: Fill,
    ) -> Self {
        let seal = Seal {
            segment_id: segment_id(kind, partition, base),
            generation,
        };
        Self {
            kind,
            seal,
            partition,
            base,
            layout,
            fill,
        }
    }

    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        F_MAGIC.put(&mut bytes, MAGIC);
        F_VERSION.put(&mut bytes, &SEGMENT_VERSION.to_le_bytes());
        F_KIND.put(&mut bytes, &self.kind.code().to_le_bytes());
        F_SEGMENT_ID.put(&mut bytes, &self.seal.segment_id.to_le_bytes());
        F_GENERATION.put(&mut bytes, &self.seal.generation.to_le_bytes());
        F_PARTITION.put(&mut bytes, &self.partition.0.to_le_bytes());
        F_BASE.put(&mut bytes, &self.base.0.to_le_bytes());
        F_CAPACITY.put(&mut bytes, &self.layout.capacity.to_le_bytes());
        let allocated = u32::from(self.fill == Fill::Allocated);
        F_ALLOCATED.put(&mut bytes, &allocated.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..F_CRC.at]);
        F_CRC.put(&mut bytes, &crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let bytes = bytes
            .first_chunk::<SEGMENT_HEADER_BYTES>()
            .ok_or(HeaderFault::Magic)?;
        if F_MAGIC.of(bytes) != MAGIC {
            return Err(HeaderFault::Magic);
        }
        if crc32fast::hash(&bytes[..F_CRC.at]) != F_CRC.u32(bytes) {
            return Err(HeaderFault::Checksum);
        }
        let found = F_VERSION.u32(bytes);
        if found != SEGMENT_VERSION {
            return Err(HeaderFault::Version { found });
        }
        let kind = LogKind::from_code(F_KIND.u32(bytes)).ok_or(HeaderFault::Field("kind"))?;
        let capacity = F_CAPACITY.u64(bytes);
        if !capacity.is_power_of_two()
            || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&capacity)
        {
            return Err(HeaderFault::Field("capacity"));
        }
        let fill = match F_ALLOCATED.u32(bytes) {
            0 => Fill::Written,
            1 => Fill::Allocated,
            _ => return Err(HeaderFault::Field("allocated")),
        };
        let base = Offset(F_BASE.u64(bytes));
        if base.0 >= OFFSET_LIMIT {
            return Err(HeaderFault::Field("base_offset"));
        }
        let seal = Seal {
            segment_id: F_SEGMENT_ID.u64(bytes),
            generation: F_GENERATION.u64(bytes),
        };
        let partition = PartitionId(F_PARTITION.u128(bytes));
        Ok(Self {
            kind,
            seal,
            partition,
            base,
            layout: Layout { capacity },
            fill,
        })
    }

    /// The segment's file as often as it has to be synced before its data is durable.
    ///
    /// One whose room was only allocated is synced twice. The file system marks its blocks as written
    /// after the data has reached the disk, and should it give up in just that moment (its journal
    /// cannot be written, or it is shut down), `fdatasync` of ext4 may say nothing of it: so 8 of 60
    /// attempts lost data that had been reported durable. The next sync of the file is told, so it is
    /// asked for before anybody believes the first, and of 150 attempts none lost anything.
    pub(crate) fn synced_as<F: Clone>(&self, file: &F) -> impl Iterator<Item = F> {
        let times = match self.fill {
            Fill::Written => 1,
            Fill::Allocated => 2,
        };
        std::iter::repeat_n(file.clone(), times)
    }

    /// The opening of this segment, for a first entry at `first`.
    pub(crate) fn encode_opening(&self, first: Offset) -> [u8; OPENING_BYTES] {
        let mut bytes = [0; OPENING_BYTES];
        O_FIRST.put(&mut bytes, &first.0.to_le_bytes());
        let crc = self.opening_crc(&bytes);
        O_CRC.put(&mut bytes, &crc.to_le_bytes());
        bytes
    }

    /// The first offset that an opening of this segment states, if it is valid.
    pub(crate) fn decode_opening(&self, bytes: &[u8]) -> Option<Offset> {
        let bytes = bytes.first_chunk::<OPENING_BYTES>()?;
        let first = O_FIRST.u64(bytes);
        let valid = self.opening_crc(bytes) == O_CRC.u32(bytes)
            && (self.base.0..OFFSET_LIMIT).contains(&first);
        valid.then_some(Offset(first))
    }

    fn opening_crc(&self, opening: &[u8; OPENING_BYTES]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.seal.bytes());
        crc.update(&opening[..O_CRC.at]);
        crc.finalize()
    }
}

/// The identity of a segment: the same for the same place in the same partition, and another
/// everywhere else. The generation tells apart the lives of one place.
fn segment_id(kind: LogKind, partition: PartitionId, base: Offset) -> u64 {
    let bytes = partition.0.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| u64::from_le_bytes(*half.first_chunk().expect("half of 16 bytes"));
    let mut id = u64::from(kind.code());
    for value in [word(low), word(high), base.0] {
        id = mixed(id.wrapping_add(value).wrapping_add(0x9e37_79b9_7f4a_7c15));
    }
    id
}

/// The finaliser of SplitMix64: it is one to one, and every bit of the outcome depends on every bit
/// of the value.
pub(crate) const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
