//! Goal: a broker that starts on a damaged log serves everything else: what lies before and behind
//! the damage, new messages, other topics. Who wants to read the damaged entry is told so, and
//! which entry it is.
//!
//! Method: one bit of one entry is flipped in a stopped broker's file; the command line sees the
//! rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hulse_tests::{Broker, Hulse, LIMIT, Random, cores, input, random, segment, wait_until};
use rand::RngExt;

/// What was sent to the topic `hurt`, and the entry of it that is damaged now.
struct Scene {
    broker: Broker,
    sent: Vec<u8>,
    entry: segment::StoredEntry,
    entries: u64,
}

fn scene(random: &mut Random) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    input::write_lines(&path, random, 3 << 20).unwrap();
    let mut sent = std::fs::read(&path).unwrap();
    sent.push(b'\n');
    let mut broker = Broker::start(cores(2));
    Hulse::to(&broker, "produce hurt").input(&sent).done();
    // A later entry proves that everything before it was durable. Of the very last round of writes
    // nothing does after a kill, so that rot in it cannot be told from a torn tail.
    Hulse::to(&broker, "produce hurt")
        .input(b"the end\n")
        .done();
    sent.extend_from_slice(b"the end\n");
    Hulse::to(&broker, "produce well")
        .input(b"one\ntwo\n")
        .done();
    let partition = broker.partition("hurt");
    broker.kill9();
    let path = segment::largest(&broker.partition_dir(&partition.id));
    let entries = segment::entries(&path);
    let entry = entries[random.random_range(1..entries.len() - 2)].clone();
    segment::flip_a_bit(&path, &entry);
    broker.restart(cores(1));
    Scene {
        broker,
        sent,
        entry,
        entries: partition.high_watermark,
    }
}

/// What was sent before the damaged entry, and behind it.
fn around(scene: &Scene) -> (&[u8], &[u8]) {
    let lost: Vec<u8> = scene
        .entry
        .values
        .iter()
        .flat_map(|value| [value, &b"\n"[..]].concat())
        .collect();
    let mut places = scene.sent.windows(lost.len());
    let before = places.position(|place| place == lost).expect("it was sent");
    (&scene.sent[..before], &scene.sent[before + lost.len()..])
}

#[test]
fn a_damaged_entry_is_named_to_its_readers_and_costs_nothing_else() {
    let mut random = random("a_damaged_entry_is_named_to_its_readers_and_costs_nothing_else");
    let scene = scene(&mut random);
    let broker = &scene.broker;
    let (before, behind) = around(&scene);
    let first = scene.entry.header.offset.0;
    let range = format!("entries {first} to {} (exclusive)", first + 1);

    assert!(
        broker.said().contains("damaged"),
        "recovery reports nothing: {}",
        broker.said()
    );
    let partition = broker.partition("hurt");
    let damaged: Vec<_> = partition
        .damaged
        .iter()
        .map(|range| (range.first, range.end))
        .collect();
    assert_eq!(damaged, [(first, first + 1)]);
    assert_eq!(partition.high_watermark, scene.entries);
    let described = Hulse::to(broker, "topic describe hurt").run().expect(0);
    assert!(described.text().contains(&range), "{}", described.text());

    // What comes before it comes; then the reader is told.
    let read = Hulse::to(broker, "consume hurt -s reader --until-end")
        .run()
        .expect(1);
    assert!(
        read.stdout == before,
        "{} bytes in place of {}",
        read.stdout.len(),
        before.len()
    );
    read.refused(1, &[&range, "are damaged", "hulse subscription seek"]);

    // The next consumer gets nothing twice, and the same answer.
    let read = Hulse::to(broker, "consume hurt -s reader --until-end")
        .run()
        .expect(1);
    assert_eq!(read.stdout.len(), 0);
    read.refused(1, &[&range]);

    // Past the damage everything is there.
    let next = format!(
        "subscription seek hurt reader --to {}:{}:-1:0",
        scene.entry.header.term,
        first + 1
    );
    Hulse::to(broker, &next).done();
    let read = Hulse::to(broker, "consume hurt -s reader --until-end").done();
    assert!(
        read == behind,
        "{} bytes in place of {}",
        read.len(),
        behind.len()
    );

    // New messages are taken and delivered.
    Hulse::to(broker, "produce hurt").input(b"new\n").done();
    assert_eq!(
        Hulse::to(broker, "consume hurt -s reader --until-end").done(),
        b"new\n"
    );

    // Other topics know nothing of it.
    assert_eq!(
        Hulse::to(broker, "consume well -s reader --until-end").done(),
        b"one\ntwo\n"
    );
    Hulse::to(broker, "produce well").input(b"three\n").done();
    assert_eq!(
        Hulse::to(broker, "consume well -s reader --until-end").done(),
        b"three\n"
    );
}

#[test]
fn damage_survives_restarts_and_goes_with_its_topic() {
    let mut random = random("damage_survives_restarts_and_goes_with_its_topic");
    let mut scene = scene(&mut random);
    let first = scene.entry.header.offset.0;
    for clean in [false, true] {
        if clean {
            assert_eq!(scene.broker.stop().code(), Some(0));
        } else {
            scene.broker.kill9();
        }
        scene.broker.restart(cores(2));
        let partition = scene.broker.partition("hurt");
        let damaged: Vec<_> = partition
            .damaged
            .iter()
            .map(|range| (range.first, range.end))
            .collect();
        assert_eq!(damaged, [(first, first + 1)], "clean: {clean}");
        assert_eq!(partition.high_watermark, scene.entries);
    }
    Hulse::to(&scene.broker, "topic delete hurt").done();
    scene.broker.kill9();
    let data = scene.broker.data().display().to_string();
    let _ = Hulse::new(["log", "verify", &data]).run().expect(0);
}

/// The mark that a partition gets when it falls idle proves its last write, which nothing else does.
#[test]
fn rot_of_the_last_write_of_an_idle_partition_is_damage_and_not_cut_off() {
    let mut broker = Broker::start(cores(1));
    for line in [&b"one\n"[..], b"two\n"] {
        Hulse::to(&broker, "produce idle").input(line).done();
    }
    let partition = broker.partition("idle");
    let dir = broker.partition_dir(&partition.id);
    wait_until("the idle partition is marked", LIMIT, || {
        let manifest = std::fs::read(dir.join("MANIFEST")).unwrap();
        // `entries_flushed_to` in `docs/log-format.md`.
        let flushed_to = u64::from_le_bytes(*manifest[40..].first_chunk().unwrap());
        (flushed_to == partition.high_watermark).then_some(())
    });
    broker.kill9();
    let path = segment::largest(&dir);
    let entries = segment::entries(&path);
    let last = entries.last().unwrap();
    assert_eq!(last.values, [b"two"]);
    segment::flip_a_bit(&path, last);
    let data = broker.data().display().to_string();
    let verified = Hulse::new(["log", "verify", &data]).run().expect(10);
    assert!(
        verified.text().starts_with("damaged: "),
        "{}",
        verified.text()
    );
    broker.restart(cores(1));
    assert!(broker.said().contains("is damaged"), "{}", broker.said());
    let read = Hulse::to(&broker, "consume idle -s s --until-end").run();
    read.refused(1, &["are damaged", "hulse subscription seek"]);
    // No id is given twice.
    Hulse::to(&broker, "produce idle").input(b"three\n").done();
    assert_eq!(
        broker.partition("idle").high_watermark,
        partition.high_watermark + 1
    );
}
