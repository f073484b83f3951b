//! Goal: whatever bit of a store's files turns over, the store either holds what it held or does
//! not open and says why. No value is another one, none is gone, and nothing panics.
//!
//! Method: random bits of what the database writes in place, of its pages, and of the file beside
//! it, in copies of a store that was closed, and of one that was not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use hulse_metadata::{EmbeddedStore, RandomIds, Store, Versioned};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What the database writes in place: its header, with both of its commit slots.
const HEADER_BYTES: usize = 320;
/// Bits that are flipped there, and elsewhere.
const HEADER_FLIPS: usize = 60;
const OTHER_FLIPS: usize = 60;

type Content = Vec<(String, Versioned)>;

/// Fills a store by many commits: some records are replaced, and some removed.
async fn fill(store: &EmbeddedStore) -> Content {
    for number in 0..200_usize {
        let key = format!("record/{:03}", number % 70);
        let before = store.get(&key).await.unwrap().map(|found| found.version);
        let value = format!("{number} ").repeat(number % 40);
        let value = (number % 9 != 0 || before.is_none()).then_some(value.as_bytes());
        store.compare_and_set(&key, before, value).await.unwrap();
    }
    store.list("").await.unwrap()
}

/// What a store on these files holds; `None` when it does not open or does not answer.
async fn read(dir: &Path) -> Result<Content, String> {
    let store = EmbeddedStore::open(dir, &RandomIds).map_err(|error| error.to_string())?;
    let found = store.list("").await.map_err(|error| error.to_string())?;
    // It takes changes too.
    let changed = store.compare_and_set("new", None, Some(b"new")).await;
    changed.map_err(|error| error.to_string())?;
    Ok(found)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless() {
    let seed = match std::env::var("HULSE_SEED") {
        Ok(text) => text.trim().parse().unwrap(),
        Err(_) => rand::random(),
    };
    println!("HULSE_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for closed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let original = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), &RandomIds).unwrap();
        let content = fill(&store).await;
        if closed {
            drop(store);
            copy(dir.path(), original.path());
        } else {
            // What is there while the store is open is what a killed process leaves.
            copy(dir.path(), original.path());
            drop(store);
        }
        assert_eq!(
            read_copy(original.path(), |_| {}).await,
            Ok(content.clone())
        );
        let mut refused = 0;
        for number in 0..HEADER_FLIPS + OTHER_FLIPS {
            let (name, at) = match number.checked_sub(HEADER_FLIPS) {
                None => (
                    "metadata.redb",
                    Some(random.random_range(0..HEADER_BYTES * 8)),
                ),
                Some(number) if number % 10 == 0 => ("metadata.epoch", None),
                Some(_) => ("metadata.redb", None),
            };
            let mut place = 0;
            let found = read_copy(original.path(), |dir| {
                let path = dir.join(name);
                let mut bytes = fs::read(&path).unwrap();
                place = at.unwrap_or_else(|| somewhere(&bytes, &mut random));
                bytes[place / 8] ^= 1 << (place % 8);
                fs::write(path, bytes).unwrap();
            })
            .await;
            match found {
                Ok(found) => assert!(
                    found == content,
                    "closed: {closed}: bit {} of byte {} of {name} changes what the store holds",
                    place % 8,
                    place / 8
                ),
                Err(reason) => {
                    assert!(reason.starts_with("the metadata store"), "{reason}");
                    refused += 1;
                }
            }
        }
        println!("closed: {closed}: {refused} flipped bits were refused");
        assert!(refused > 20, "{refused}");
    }
}

/// A bit of what is in use, mostly.
fn somewhere(bytes: &[u8], random: &mut SmallRng) -> usize {
    loop {
        let at = random.random_range(0..bytes.len());
        if bytes[at] != 0 || random.random_bool(0.02) {
            return at * 8 + random.random_range(0..8);
        }
    }
}

async fn read_copy(original: &Path, change: impl FnOnce(&Path)) -> Result<Content, String> {
    let dir = tempfile::tempdir().unwrap();
    copy(original, dir.path());
    change(dir.path());
    read(dir.path()).await
}
