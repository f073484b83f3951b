//! `hulse log`.

use std::fs;
use std::path::PathBuf;

use crate::broker::{Bed, assert_exit, run, stderr, stdout};

/// A stopped broker's data directory with a topic in it, and its first segment of entries.
fn stopped() -> (Bed, String, PathBuf) {
    let mut bed = Bed::new();
    for line in ["first\n", "second\n", "third\n"] {
        assert_exit(&bed.feed(&["produce", "t"], line.as_bytes()), 0);
    }
    assert_eq!(bed.broker.stop(), Some(0));
    let data = bed.dir.path().join("data");
    let mut partitions = fs::read_dir(data.join("partitions")).unwrap();
    let partition = partitions.next().unwrap().unwrap().path();
    let segment = partition.join("entries-00000000000000000000.seg");
    assert!(segment.is_file(), "{}", segment.display());
    (bed, data.to_str().unwrap().to_owned(), segment)
}

#[test]
fn sound_files_are_exit_zero() {
    let (_bed, data, segment) = stopped();
    let output = run(&["log", "verify", &data]);
    assert_exit(&output, 0);
    assert!(
        stdout(&output).ends_with(": nothing is damaged\n"),
        "{output:?}"
    );
    let output = run(&[
        "log",
        "inspect",
        segment.parent().unwrap().to_str().unwrap(),
    ]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("of persistent://public/default/t"), "{text}");
    assert!(
        text.contains("entries log: entries 0 to 3 (exclusive)"),
        "{text}"
    );
}

#[test]
fn a_flipped_bit_is_named_to_the_entry() {
    let (_bed, data, segment) = stopped();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes
        .windows(6)
        .position(|window| window == b"second")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = run(&["log", "verify", &data]);
    assert_exit(&output, 10);
    let text = stdout(&output);
    for part in [
        "of persistent://public/default/t",
        "entry 1: ",
        "entries-00000000000000000000.seg",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let output = run(&["log", "verify", &data, "--json"]);
    assert_exit(&output, 10);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let damaged = &report["partitions"][0]["logs"][0]["damaged"][0];
    assert_eq!((&damaged["first"], &damaged["end"]), (&1.into(), &2.into()));
    // To inspect is not to judge.
    assert_exit(&run(&["log", "inspect", &data]), 0);
}

#[test]
fn a_running_brokers_files_are_left_alone() {
    let bed = Bed::new();
    let data = bed.dir.path().join("data");
    let output = run(&["log", "verify", data.to_str().unwrap()]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("a broker uses"), "{output:?}");
    assert!(stderr(&output).contains("stop it first"), "{output:?}");
}
