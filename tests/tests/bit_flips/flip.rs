//! One bit somewhere in a data directory.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use hulse_tests::Random;
use rand::RngExt;

/// Lengths in a segment's file, as `docs/log-format.md` has them.
const HEADER: usize = 96;
const OPENING: usize = 16;
const TRAILER: usize = 64;
const POINT: usize = 16;
const TERM: usize = 16;
const TERMS_MAX: usize = 64;
/// Length of what the metadata store's database writes in place.
const DATABASE_HEADER: usize = 320;

/// One bit.
pub(crate) struct Flip {
    /// The file.
    path: PathBuf,
    /// What sort of file it is.
    pub(crate) kind: String,
    /// Where in it: the name of the part, and the byte.
    part: &'static str,
    byte: usize,
    bit: u32,
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part, byte, bit, ..
        } = self;
        write!(f, "{}: bit {bit} of byte {byte}, {part}", self.name())
    }
}

impl Flip {
    /// Any bit of any file: each sort of file and each part of it is as likely as another, however
    /// long it is.
    pub(crate) fn choose(data: &Path, random: &mut Random) -> Self {
        let mut found: Vec<(String, PathBuf)> = files(data);
        found.retain(|(_, path)| path.metadata().unwrap().len() > 0);
        let mut kinds: Vec<_> = found.iter().map(|(kind, _)| kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        let kind = kinds[random.random_range(0..kinds.len())].clone();
        found.retain(|(other, _)| *other == kind);
        let path = found.swap_remove(random.random_range(0..found.len())).1;
        let bytes = fs::read(&path).unwrap();
        let parts = match kind.as_str() {
            "entries" | "sibling" => segment(&bytes),
            "metadata.redb" => database(&bytes),
            _ => vec![("somewhere", 0..bytes.len())],
        };
        let (part, range) = parts[random.random_range(0..parts.len())].clone();
        Self {
            path,
            kind,
            part,
            byte: random.random_range(range),
            bit: random.random_range(0..8),
        }
    }

    pub(crate) fn apply(&self) {
        let mut bytes = fs::read(&self.path).unwrap();
        bytes[self.byte] ^= 1 << self.bit;
        fs::write(&self.path, bytes).unwrap();
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap();
        name.to_string_lossy().into_owned()
    }

    /// The partition whose file it is, if it is one's.
    pub(crate) fn partition(&self) -> Option<String> {
        let dir = self.path.parent()?;
        let is_partition = dir.parent()?.file_name()? == "partitions";
        is_partition.then(|| dir.file_name().unwrap().to_string_lossy().into_owned())
    }

    /// Whether a sentence leads to the file: by its own name, or by what stands for its parts.
    pub(crate) fn is_named_in(&self, sentence: &str) -> bool {
        let stands_for = match self.kind.as_str() {
            "metadata.redb" | "metadata.epoch" => "metadata store in ",
            "FORMAT" => "has format",
            _ => "\0",
        };
        sentence.contains(&self.name()) || sentence.contains(stands_for)
    }
}

/// Every file below a directory, with its sort.
fn files(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut listed: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    listed.sort();
    let mut found = Vec::new();
    for path in listed {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kind = match name.split_once('-') {
                Some((kind, _)) => kind.to_owned(),
                None => name,
            };
            found.push((kind, path));
        }
    }
    found
}

/// The parts of a segment.
fn segment(bytes: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let capacity = bytes.len();
    let tables = capacity.div_euclid(1024).min(1024) * POINT + TERMS_MAX * TERM;
    let copy = capacity - HEADER;
    let trailer = copy - TRAILER;
    let records_end = trailer - tables;
    let used = bytes[..records_end].iter().rposition(|byte| *byte != 0);
    let used = used.map_or(0, |at| at + 1).max(HEADER + OPENING);
    let parts = [
        ("in the header", 0..HEADER),
        ("in the opening", HEADER..HEADER + OPENING),
        ("in the records", HEADER + OPENING..used),
        // Twice as likely as the rest.
        ("in the records", HEADER + OPENING..used),
        ("behind the records", used..records_end),
        ("in the tables", records_end..trailer),
        ("in the trailer", trailer..copy),
        ("in the copy of the header", copy..capacity),
    ];
    let parts = parts.into_iter().filter(|(_, range)| !range.is_empty());
    parts.collect()
}

/// The parts of the metadata store's database: what it writes in place, the pages that it uses, and
/// the rest.
fn database(bytes: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    let page = 4096;
    let used = bytes.chunks(page).enumerate();
    let used = used.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let mut parts: Vec<_> = used
        .map(|(number, content)| {
            // A page that is not full has its content at both ends.
            let start = number * page;
            ("in a page", start..start + content.len())
        })
        .collect();
    for _ in 0..parts.len().div_ceil(2) {
        parts.push(("in the header", 0..DATABASE_HEADER));
    }
    parts.push(("anywhere", 0..bytes.len()));
    parts
}
