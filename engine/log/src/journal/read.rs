//! Reading the journals that an earlier life of the broker left.

use std::collections::BTreeMap;
use std::io;

use crate::disk::{Disk, DiskFile};
use crate::journal::format::{
    BLOCK_BYTES, Chunk, FILE_HEADER_BYTES, FileHeader, RoundHead, body_crc, decode_file_header,
    decode_round,
};
use crate::journal::{JOURNALS_DIR, is_journal};
use crate::store::partition_dir;

/// Why a journal cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io { path: String, source: io::Error },
    Version { path: String, found: u32 },
}

/// What the journals hold that the segments may lack.
#[derive(Debug)]
pub(super) struct Journals<F: DiskFile> {
    /// The names of their files.
    pub(super) names: Vec<String>,
    /// Other files of the directory: some that were being made.
    pub(super) unfinished: Vec<String>,
    /// Rounds to replay, in the order in which they were written, by core.
    pub(super) rounds: Vec<FoundRound<F::Slice>>,
    /// Journal files that cannot be read at all.
    pub(super) lost_files: Vec<String>,
    /// Rounds that were durable and cannot be read any more.
    pub(super) lost_rounds: u64,
    /// Chunks of which only the table's line is left, although they were durable.
    pub(super) lost_chunks: Vec<Chunk>,
}

/// A round that was read.
#[derive(Debug)]
pub(super) struct FoundRound<S> {
    seal: u64,
    bytes: S,
    head: RoundHead,
}

impl<S: AsRef<[u8]>> FoundRound<S> {
    /// The chunks with their bytes.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (&Chunk, &[u8])> {
        let mut at = self.head.body_at;
        self.head.chunks.iter().map(move |chunk| {
            let from = at;
            at += chunk.bytes as usize;
            (chunk, &self.bytes.as_ref()[from..at])
        })
    }

    fn is_whole(&self) -> bool {
        let body = &self.bytes.as_ref()[self.head.body_at..][..self.head.body_bytes];
        body_crc(self.seal, body) == self.head.header.body_crc
    }
}

/// The segment's path that a chunk belongs to.
pub(super) fn segment_path(chunk: &Chunk) -> String {
    let dir = partition_dir(chunk.partition);
    format!("{dir}/{}", chunk.kind.segment_name(chunk.base))
}

/// Reads all journals, and says what of them is to be replayed. Nothing is changed.
pub(super) fn read_journals<D: Disk>(disk: &D) -> Result<Journals<D::File>, ReadError> {
    let mut found = Journals {
        names: Vec::new(),
        unfinished: Vec::new(),
        rounds: Vec::new(),
        lost_files: Vec::new(),
        lost_rounds: 0,
        lost_chunks: Vec::new(),
    };
    let names = match disk.list(JOURNALS_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(source) => {
            let path = JOURNALS_DIR.to_owned();
            return Err(ReadError::Io { path, source });
        }
    };
    let mut by_core: BTreeMap<String, Vec<FoundRound<_>>> = BTreeMap::new();
    for name in names {
        if !is_journal(&name) {
            found.unfinished.push(name);
            continue;
        }
        let path = format!("{JOURNALS_DIR}/{name}");
        // `core-N-` and the file's number: rounds are numbered by core.
        let core = name
            .rsplit_once('-')
            .map_or(name.as_str(), |(core, _)| core);
        let rounds = by_core.entry(core.to_owned()).or_default();
        if !read_file(disk, &path, rounds)? {
            found.lost_files.push(path);
        }
        found.names.push(name);
    }
    for rounds in by_core.into_values() {
        judge(rounds, &mut found);
    }
    Ok(found)
}

/// Reads every round of one file. Rounds that were retired and not yet overwritten are among them.
/// False when both copies of the file's header are lost, and with them all of its rounds.
fn read_file<D: Disk>(
    disk: &D,
    path: &str,
    rounds: &mut Vec<FoundRound<<D::File as DiskFile>::Slice>>,
) -> Result<bool, ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let file = disk.open(path).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    let mut seal = None;
    for at in [0, length.saturating_sub(BLOCK_BYTES)] {
        if length - at < FILE_HEADER_BYTES as u64 {
            continue;
        }
        let header = file.slice(at, FILE_HEADER_BYTES).map_err(failed)?;
        match decode_file_header(header.as_ref()) {
            FileHeader::Valid { seal: found } => seal = seal.or(Some(found)),
            FileHeader::Version { found } => {
                let path = path.to_owned();
                return Err(ReadError::Version { path, found });
            }
            FileHeader::Invalid => {}
        }
    }
    let Some(seal) = seal else {
        return Ok(false);
    };
    let whole = usize::try_from(length).map_err(|e| failed(io::Error::other(e)))?;
    let whole = file.slice(0, whole).map_err(failed)?;
    let mut at = BLOCK_BYTES;
    while let Some(rest) = whole
        .as_ref()
        .get(index(at)..)
        .filter(|rest| !rest.is_empty())
    {
        match decode_round(seal, rest) {
            Some(head) => {
                let bytes = head.body_at + head.body_bytes;
                let room = head.room();
                let bytes = file.slice(at, bytes).map_err(failed)?;
                rounds.push(FoundRound { seal, bytes, head });
                at += room;
            }
            None => at += BLOCK_BYTES,
        }
    }
    Ok(true)
}

/// A position in a file that is mapped as a whole.
fn index(at: u64) -> usize {
    usize::try_from(at).expect("a mapped file's positions fit into memory")
}

/// Tells the rounds of one core that are to be replayed from those that were retired, from the
/// last one, which a crash may have torn, and from those that rot has taken.
fn judge<F: DiskFile>(mut rounds: Vec<FoundRound<F::Slice>>, found: &mut Journals<F>) {
    let headers = rounds.iter().map(|round| round.head.header);
    let retired = headers.clone().map(|header| header.retired_before).max();
    let synced = headers.map(|header| header.synced_before).max();
    let (retired, synced) = (retired.unwrap_or(0), synced.unwrap_or(0));
    rounds.retain(|round| round.head.header.sequence >= retired);
    rounds.sort_by_key(|round| round.head.header.sequence);
    let mut expected = retired;
    for round in rounds {
        let sequence = round.head.header.sequence;
        found.lost_rounds += sequence.min(synced).saturating_sub(expected);
        expected = sequence + 1;
        if round.is_whole() {
            found.rounds.push(round);
        } else if sequence < synced {
            found.lost_rounds += 1;
            found.lost_chunks.extend(&round.head.chunks);
        }
    }
    found.lost_rounds += synced.saturating_sub(expected);
}
