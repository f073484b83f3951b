//! The bytes of a journal file: its header, and rounds that begin at multiples of a block.

use hulse_model::{Offset, PartitionId};

use crate::field::Field;
use crate::segment::{LogKind, OFFSET_LIMIT};

/// The version of the journal that this program reads and writes.
pub const JOURNAL_VERSION: u32 = 1;
/// Rounds begin at multiples of this many bytes, so that writing one never touches a page that
/// holds another.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Length of a journal file's header, in bytes. It has the first block to itself, and a copy of it
/// the last.
pub(crate) const FILE_HEADER_BYTES: usize = 40;
/// Length of a round's header, in bytes; the chunks' table follows.
pub(crate) const ROUND_HEADER_BYTES: usize = 64;
/// Length of one line of the table, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64;

const FILE_MAGIC: &[u8; 8] = b"HULSEJNL";
const ROUND_MAGIC: &[u8; 8] = b"HULSERND";

const J_MAGIC: Field = Field::first("magic", 8);
const J_VERSION: Field = J_MAGIC.then("version", 4);
const J_CORE: Field = J_VERSION.then("core", 4);
const J_NUMBER: Field = J_CORE.then("number", 8);
const J_SEAL: Field = J_NUMBER.then("seal", 8);
const J_RESERVED: Field = J_SEAL.then("reserved", 4);
const J_CRC: Field = J_RESERVED.then("crc", 4);

/// The fields of a journal file's header.
pub(crate) const FILE_FIELDS: &[Field] = &[
    J_MAGIC, J_VERSION, J_CORE, J_NUMBER, J_SEAL, J_RESERVED, J_CRC,
];

const R_MAGIC: Field = Field::first("magic", 8);
const R_SEQUENCE: Field = R_MAGIC.then("sequence", 8);
const R_SYNCED: Field = R_SEQUENCE.then("synced_before", 8);
const R_RETIRED: Field = R_SYNCED.then("retired_before", 8);
const R_CHUNKS: Field = R_RETIRED.then("chunks", 4);
const R_BODY_BYTES: Field = R_CHUNKS.then("body_bytes", 4);
const R_BODY_CRC: Field = R_BODY_BYTES.then("body_crc", 4);
const R_RESERVED: Field = R_BODY_CRC.then("reserved", 16);
const R_CRC: Field = R_RESERVED.then("crc", 4);

/// The fields of a round's header.
pub(crate) const ROUND_FIELDS: &[Field] = &[
    R_MAGIC,
    R_SEQUENCE,
    R_SYNCED,
    R_RETIRED,
    R_CHUNKS,
    R_BODY_BYTES,
    R_BODY_CRC,
    R_RESERVED,
    R_CRC,
];

const C_PARTITION: Field = Field::first("partition", 16);
const C_BASE: Field = C_PARTITION.then("base_offset", 8);
const C_END: Field = C_BASE.then("end_offset", 8);
const C_GENERATION: Field = C_END.then("generation", 8);
const C_HOME: Field = C_GENERATION.then("home_generation", 8);
const C_KIND: Field = C_HOME.then("kind", 4);
const C_POSITION: Field = C_KIND.then("position", 4);
const C_LENGTH: Field = C_POSITION.then("length", 4);
const C_RESERVED: Field = C_LENGTH.then("reserved", 4);

/// The fields of one line of a round's table.
pub(crate) const CHUNK_FIELDS: &[Field] = &[
    C_PARTITION,
    C_BASE,
    C_END,
    C_GENERATION,
    C_HOME,
    C_KIND,
    C_POSITION,
    C_LENGTH,
    C_RESERVED,
];

const _: () = assert!(J_CRC.end() == FILE_HEADER_BYTES);
const _: () = assert!(R_CRC.end() == ROUND_HEADER_BYTES);
const _: () = assert!(C_RESERVED.end() == CHUNK_BYTES);

/// What the first bytes of a journal file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileHeader {
    Valid {
        seal: u64,
    },
    /// Another version of the program wrote it.
    Version {
        found: u32,
    },
    /// Rotten. The other copy serves.
    Invalid,
}

/// The header of the file with this number. `seal` is a random number that no client knows: every
/// checksum in the file covers it, so that no message's payload can pass for a round.
pub(crate) fn encode_file_header(core: u32, number: u64, seal: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    J_MAGIC.put(&mut bytes, FILE_MAGIC);
    J_VERSION.put(&mut bytes, &JOURNAL_VERSION.to_le_bytes());
    J_CORE.put(&mut bytes, &core.to_le_bytes());
    J_NUMBER.put(&mut bytes, &number.to_le_bytes());
    J_SEAL.put(&mut bytes, &seal.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..J_CRC.at]);
    J_CRC.put(&mut bytes, &crc.to_le_bytes());
    bytes
}

/// Looks at the first bytes of a journal file.
pub(crate) fn decode_file_header(bytes: &[u8]) -> FileHeader {
    let Some(bytes) = bytes.first_chunk::<FILE_HEADER_BYTES>() else {
        return FileHeader::Invalid;
    };
    let whole = crc32fast::hash(&bytes[..J_CRC.at]) == J_CRC.u32(bytes);
    if J_MAGIC.of(bytes) != FILE_MAGIC || !whole {
        return FileHeader::Invalid;
    }
    match J_VERSION.u32(bytes) {
        JOURNAL_VERSION => FileHeader::Valid {
            seal: J_SEAL.u64(bytes),
        },
        found => FileHeader::Version { found },
    }
}

/// One line of a round's table: where the bytes of one log belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) partition: PartitionId,
    pub(crate) kind: LogKind,
    /// The segment, by the base in its name.
    pub(crate) base: Offset,
    /// One past the last entry in the bytes.
    pub(crate) end: Offset,
    /// How often the log had been truncated.
    pub(crate) generation: u64,
    pub(crate) home_generation: u64,
    pub(crate) position: u32,
    pub(crate) bytes: u32,
}

impl Chunk {
    pub(crate) fn encode(&self) -> [u8; CHUNK_BYTES] {
        let mut bytes = [0; CHUNK_BYTES];
        C_PARTITION.put(&mut bytes, &self.partition.0.to_le_bytes());
        C_BASE.put(&mut bytes, &self.base.0.to_le_bytes());
        C_END.put(&mut bytes, &self.end.0.to_le_bytes());
        C_GENERATION.put(&mut bytes, &self.generation.to_le_bytes());
        C_HOME.put(&mut bytes, &self.home_generation.to_le_bytes());
        C_KIND.put(&mut bytes, &self.kind.code().to_le_bytes());
        C_POSITION.put(&mut bytes, &self.position.to_le_bytes());
        C_LENGTH.put(&mut bytes, &self.bytes.to_le_bytes());
        bytes
    }

    fn decode(line: &[u8]) -> Option<Self> {
        let offset = |field: Field| {
            let value = field.u64(line);
            (value < OFFSET_LIMIT).then_some(Offset(value))
        };
        Some(Self {
            partition: PartitionId(C_PARTITION.u128(line)),
            kind: LogKind::from_code(C_KIND.u32(line))?,
            base: offset(C_BASE)?,
            end: offset(C_END)?,
            generation: C_GENERATION.u64(line),
            home_generation: C_HOME.u64(line),
            position: C_POSITION.u32(line),
            bytes: C_LENGTH.u32(line),
        })
    }
}

/// A round's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundHeader {
    /// Rounds of one core are numbered without gaps, over all of its journal files.
    pub(crate) sequence: u64,
    /// Rounds below this were durable when it was written.
    pub(crate) synced_before: u64,
    /// What rounds below this hold was durable in the segments when it was written.
    pub(crate) retired_before: u64,
    pub(crate) body_crc: u32,
}

/// The header of a round and its table, in one piece; the body follows.
pub(crate) fn encode_round(
    seal: u64,
    header: &RoundHeader,
    table: &[u8],
    body_bytes: usize,
) -> Vec<u8> {
    let chunks = u32::try_from(table.len() / CHUNK_BYTES).expect("a round is bounded");
    let body_bytes = u32::try_from(body_bytes).expect("a round is bounded");
    let mut bytes = vec![0; ROUND_HEADER_BYTES];
    bytes.extend_from_slice(table);
    R_MAGIC.put(&mut bytes, ROUND_MAGIC);
    R_SEQUENCE.put(&mut bytes, &header.sequence.to_le_bytes());
    R_SYNCED.put(&mut bytes, &header.synced_before.to_le_bytes());
    R_RETIRED.put(&mut bytes, &header.retired_before.to_le_bytes());
    R_CHUNKS.put(&mut bytes, &chunks.to_le_bytes());
    R_BODY_BYTES.put(&mut bytes, &body_bytes.to_le_bytes());
    R_BODY_CRC.put(&mut bytes, &header.body_crc.to_le_bytes());
    let crc = round_crc(seal, &bytes);
    R_CRC.put(&mut bytes, &crc.to_le_bytes());
    bytes
}

/// The checksum of a round's body.
pub(crate) fn body_crc(seal: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seal.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// Over the header without this field, and the table.
fn round_crc(seal: u64, head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seal.to_le_bytes());
    crc.update(&head[..R_CRC.at]);
    crc.update(&head[ROUND_HEADER_BYTES..]);
    crc.finalize()
}

/// A round whose header and table are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoundHead {
    pub(crate) header: RoundHeader,
    pub(crate) chunks: Vec<Chunk>,
    /// Where the body begins, counted from the round's begin.
    pub(crate) body_at: usize,
    pub(crate) body_bytes: usize,
}

impl RoundHead {
    /// Bytes from the round's begin to the next block after it.
    pub(crate) fn room(&self) -> u64 {
        round_room(self.body_at, self.body_bytes)
    }
}

/// Bytes that a round takes in its file.
pub(crate) fn round_room(head_bytes: usize, body_bytes: usize) -> u64 {
    ((head_bytes + body_bytes) as u64).next_multiple_of(BLOCK_BYTES)
}

/// Reads the header and the table of the round at the start of `bytes`, which end with the file.
pub(crate) fn decode_round(seal: u64, bytes: &[u8]) -> Option<RoundHead> {
    let fixed = bytes.first_chunk::<ROUND_HEADER_BYTES>()?;
    if R_MAGIC.of(fixed) != ROUND_MAGIC {
        return None;
    }
    let table_bytes = (R_CHUNKS.u32(fixed) as usize).checked_mul(CHUNK_BYTES)?;
    let body_at = ROUND_HEADER_BYTES.checked_add(table_bytes)?;
    let head = bytes.get(..body_at)?;
    if round_crc(seal, head) != R_CRC.u32(fixed) {
        return None;
    }
    let body_bytes = R_BODY_BYTES.u32(fixed) as usize;
    bytes.get(body_at..body_at.checked_add(body_bytes)?)?;
    let lines = head[ROUND_HEADER_BYTES..].chunks_exact(CHUNK_BYTES);
    let chunks: Vec<Chunk> = lines.map(Chunk::decode).collect::<Option<_>>()?;
    let said: u64 = chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    let header = RoundHeader {
        sequence: R_SEQUENCE.u64(fixed),
        synced_before: R_SYNCED.u64(fixed),
        retired_before: R_RETIRED.u64(fixed),
        body_crc: R_BODY_CRC.u32(fixed),
    };
    (said == body_bytes as u64).then_some(RoundHead {
        header,
        chunks,
        body_at,
        body_bytes,
    })
}

#[cfg(test)]
mod tests;
