//! Goal: what was answered as applied is there after `kill -9`.
//! Method: this test runs itself as a child process that changes the store and prints each version
//! when it has been told that it is applied; the parent reads a number of lines, kills it in the
//! middle of its work, and opens the store. It stands alone in its process, as a process that starts
//! another one shares its locks with it for a moment.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use hulse_metadata::{CasOutcome, EmbeddedStore, RandomIds, Store, Version};

/// Names the directory in which the child works; absent in the parent.
const CHILD_DIR: &str = "HULSE_METADATA_KILLED_DIR";
const TEST: &str = "what_was_applied_survives_kill_9";
const ROUNDS: usize = 3;
const LINES: usize = 120;
const KEYS: u64 = 7;

#[tokio::test]
async fn what_was_applied_survives_kill_9() {
    match env::var_os(CHILD_DIR) {
        Some(dir) => change_until_killed(Path::new(&dir)).await,
        None => kill_and_look().await,
    }
}

/// The child: round and round over a few keys, putting the change's number, and deleting every
/// fifth time.
async fn change_until_killed(dir: &Path) {
    let store = EmbeddedStore::open(dir, &RandomIds).expect("the store opens");
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        let key = format!("key/{}", number % KEYS);
        let current = store.get(&key).await.expect("the store answers");
        let expected = current.map(|current| current.version);
        let text = number.to_string();
        let value = (number % 5 != 0 || expected.is_none()).then_some(text.as_bytes());
        let outcome = store.compare_and_set(&key, expected, value).await;
        let CasOutcome::Applied { version } = outcome.expect("the store answers") else {
            panic!("nobody else changes the store");
        };
        let value = value.map_or("-", |_| text.as_str());
        writeln!(out, "applied {version} {key} {value}").expect("the parent reads");
        out.flush().expect("the parent reads");
    }
}

async fn kill_and_look() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = Version(0);
    for round in 0..ROUNDS {
        let before = contents(dir.path()).await;
        let applied = run_and_kill(dir.path(), LINES + round);
        assert!(
            applied.len() >= LINES,
            "the child was killed in the middle of its work"
        );
        let mut expected = before;
        for (version, key, value) in applied {
            assert!(version > last, "version {version} after {last}");
            last = version;
            match value {
                Some(value) => expected.insert(key, (version, value)),
                None => expected.remove(&key),
            };
        }
        let found = contents(dir.path()).await;
        // The child may have been killed between a commit and its line: one change more.
        let mut unprinted = Vec::new();
        for key in (0..KEYS).map(|key| format!("key/{key}")) {
            let (is, should) = (found.get(&key), expected.remove(&key));
            if is != should.as_ref() {
                let next = Version(last.0 + 1);
                assert!(
                    is.is_none_or(|(version, _)| *version == next),
                    "{key}: {is:?}, {should:?}"
                );
                unprinted.push(key);
            }
        }
        assert!(
            unprinted.len() <= 1,
            "applied changes are missing: {unprinted:?}"
        );
        last = Version(last.0 + unprinted.len() as u64);
        assert!(expected.is_empty(), "keys that should exist: {expected:?}");
    }
}

type Applied = (Version, String, Option<String>);

/// Runs the child, reads `lines` changes, kills it, and reads what it had printed by then.
fn run_and_kill(dir: &Path, lines: usize) -> Vec<Applied> {
    let this = env::current_exe().expect("the path of this test");
    let mut child = Command::new(this)
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("it is piped");
    let mut applied = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.expect("text");
        let Some(rest) = line.strip_prefix("applied ") else {
            continue;
        };
        // The last line may be cut off by the kill.
        applied.extend(parse(rest));
        if applied.len() == lines {
            child.kill().expect("the child is there");
        }
    }
    let status = child.wait().expect("the child is there");
    assert!(
        status.code().is_none(),
        "the child ended by itself: {status}"
    );
    applied
}

fn parse(line: &str) -> Option<Applied> {
    let mut words = line.split(' ');
    let version = Version(words.next()?.parse().ok()?);
    let (key, value) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some((version, key, (value != "-").then_some(value)))
}

async fn contents(dir: &Path) -> BTreeMap<String, (Version, String)> {
    let store = EmbeddedStore::open(dir, &RandomIds).expect("the store opens after the kill");
    let listed = store.list("").await.expect("the store answers");
    let read = |(key, found): (String, hulse_metadata::Versioned)| {
        (
            key,
            (found.version, String::from_utf8(found.value).expect("text")),
        )
    };
    listed.into_iter().map(read).collect()
}
