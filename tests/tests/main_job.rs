//! Goal: every line of a file goes through a broker that is killed with SIGKILL in the middle of
//! producing and again in the middle of consuming, and comes out the same; the files that a kill
//! leaves are whole, and a flipped bit in them is found and named.
//!
//! Method: `hulse produce` and `hulse consume` as people run them, with valves in their pipes that
//! make sure that the kills come in the middle; the broker comes back with another number of cores
//! each time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hulse_tests::{
    Broker, Hulse, Job, LIMIT, Random, Source, cores, input, is_long, random, segment,
};
use rand::RngExt;

const MIB: u64 = 1 << 20;

#[test]
fn the_package_database_goes_through_two_kills() {
    let mut random = random("the_package_database_goes_through_two_kills");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status");
    std::fs::write(&path, input::package_database(&mut random)).unwrap();
    run(&Source::read(&path), &mut random);
}

#[test]
fn generated_lines_go_through_two_kills() {
    let mut random = random("generated_lines_go_through_two_kills");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    let bytes = if is_long() { 256 * MIB } else { 24 * MIB };
    input::write_lines(&path, &mut random, bytes).unwrap();
    run(&Source::read(&path), &mut random);
}

fn run(source: &Source, random: &mut Random) {
    let mut broker = Broker::start(cores(2));
    let mut job = Job {
        broker: &mut broker,
        topic: "lines",
        source,
        limit: LIMIT * 2,
    };
    job.produce(verify_whole);
    job.consume();
    broker.kill9();
    verify_whole(&broker);
    verify_damaged(&broker, random);
}

/// The files of a killed broker are whole: what was cut off in the middle of a write is no damage.
fn verify_whole(broker: &Broker) {
    let data = broker.data().display().to_string();
    let verified = Hulse::new(["log", "verify", &data]).run().expect(0);
    assert!(
        verified.text().contains(": nothing is damaged"),
        "{}",
        verified.text()
    );
}

/// After one bit of one entry is flipped, that entry is named, with its topic and its file.
fn verify_damaged(broker: &Broker, random: &mut Random) {
    let partitions: Vec<_> = std::fs::read_dir(broker.data().join("partitions"))
        .unwrap()
        .collect();
    let [Ok(partition)] = &partitions[..] else {
        panic!("not one partition: {partitions:?}");
    };
    let path = segment::largest(&partition.path());
    let entries = segment::entries(&path);
    let entry = &entries[random.random_range(1..entries.len() - 1)];
    segment::flip_a_bit(&path, entry);
    let data = broker.data().display().to_string();
    let verified = Hulse::new(["log", "verify", &data]).run().expect(10);
    let text = verified.text();
    let file = path.file_name().unwrap().to_string_lossy();
    let (topic, offset) = ("persistent://public/default/lines", entry.header.offset);
    for part in [
        topic,
        &format!("entry {offset}:"),
        &file,
        "1 partition is damaged",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let report: serde_json::Value = Hulse::new(["log", "verify", &data, "--json"])
        .run()
        .expect(10)
        .json();
    assert_eq!(report["healthy"], false);
    let damaged = &report["partitions"][0]["logs"][0]["damaged"];
    assert_eq!(damaged.as_array().map(Vec::len), Some(1), "{damaged}");
    assert_eq!(damaged[0]["first"], offset.0);
    assert_eq!(damaged[0]["end"], offset.0 + 1);
}
