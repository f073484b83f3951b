//! Goal: damage costs the entries that are damaged and nothing else, and is named. Method: bits
//! are flipped in the files of a partition that is stopped, or is being read.

use hulse_log::partition_dir;
use hulse_model::{Offset, Position, Status};
use hulse_shard::{AckLevel, Command, Reply, SeekTo, StreamKey};

use crate::rim::{PARTITION, Rim, key, subscribe};

/// Flips a bit in the payload of the entry whose payload is `wanted`.
fn damage(rim: &Rim, wanted: &[u8]) {
    for (path, bytes) in rim.disk.contents() {
        let log = format!("{}/entries-", partition_dir(PARTITION));
        let at = bytes
            .windows(wanted.len())
            .position(|bytes| bytes == wanted);
        if let Some(at) = at.filter(|_| path.starts_with(&log)) {
            rim.disk.flip_bit(&path, at + 3, 5);
            return;
        }
    }
    panic!("no file holds it");
}

/// A partition with ten entries, each of a round of its own: what a later round proves to have been
/// durable is no torn tail.
fn ten(rim: &mut Rim) -> StreamKey {
    let p = rim.opened_producer(key(1, 1), "p");
    for sequence in 0..10 {
        let payload = format!("payload number {sequence}");
        let _ = rim.produce(p, sequence, 1, payload.as_bytes());
        rim.settle();
    }
    p
}

#[test]
fn a_consumer_that_meets_damage_is_told_the_range_and_goes_on_behind_it() {
    for restart in [false, true] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = ten(&mut rim);
        damage(&rim, b"payload number 4");
        damage(&rim, b"payload number 5");
        if restart {
            rim = Rim::restarted(rim.disk.fork(), AckLevel::Disk);
        }
        let c = rim.attached(key(2, 1), "s", 100);
        let (id, refusal) = rim.told(c).pop().map(last_refusal).unwrap();
        assert_eq!((id, refusal.status), (0, Status::DataCorrupted));
        assert_eq!(
            refusal.damaged,
            Some((Offset(4), Offset(6))),
            "{}",
            refusal.message
        );
        assert_eq!(rim.shard.stats().consumers, 0, "the stream has ended");
        // The same consumer comes again: it is told again, and nothing is delivered twice wrongly.
        let c = rim.attached(key(2, 2), "s", 100);
        let told = rim.told(c);
        assert_eq!(
            told.len(),
            5,
            "the four before the damage, and the end: {told:?}"
        );
        let subscription = "s".parse().unwrap();
        let to = SeekTo::Position(Position::at(Offset(6)));
        rim.ask_on(key(2, 0), Command::SeekSubscription { subscription, to });
        rim.settle();
        assert_eq!(rim.reply(key(2, 0)).1, Reply::Done);
        let c = rim.attached(key(2, 3), "s", 100);
        assert_eq!(rim.delivered(c), [6, 7, 8, 9]);
        // And the log takes more.
        let p = if restart {
            rim.opened_producer(key(1, 1), "p")
        } else {
            p
        };
        rim.produced(p, 10..12);
        assert_eq!(rim.delivered(c), [10, 11]);
        rim.assert_quiet();
    }
}

fn last_refusal(told: crate::rim::Told) -> (u64, hulse_shard::Refusal) {
    match told {
        crate::rim::Told::Reply(id, Reply::Refused(refusal)) => (id, refusal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_consumer_without_permits_seeks_past_the_damage_itself() {
    let mut rim = Rim::new(AckLevel::Disk);
    ten(&mut rim);
    damage(&rim, b"payload number 0");
    let c = rim.attached(key(2, 1), "s", 0);
    rim.ask(c, Command::Seek(SeekTo::Position(Position::at(Offset(1)))));
    rim.say(c, Command::Permits(100));
    rim.settle();
    assert_eq!(rim.delivered(c), (1..10).collect::<Vec<_>>());
}

#[test]
fn damage_ends_one_consumer_and_not_the_others() {
    let mut rim = Rim::new(AckLevel::Disk);
    ten(&mut rim);
    damage(&rim, b"payload number 4");
    let behind = rim.attached(key(2, 1), "behind", 0);
    let before = rim.attached(key(3, 1), "before", 3);
    rim.ask(
        behind,
        Command::Seek(SeekTo::Position(Position::at(Offset(5)))),
    );
    rim.settle();
    let meets = rim.attached(key(4, 1), "meets", 100);
    rim.say(behind, Command::Permits(100));
    assert_eq!(rim.delivered(meets), [0, 1, 2, 3]);
    assert_eq!(rim.delivered(before), [0, 1, 2]);
    assert_eq!(rim.delivered(behind), [5, 6, 7, 8, 9]);
    assert_eq!(rim.shard.stats().consumers, 2);
}

#[test]
fn damage_is_described_and_a_restart_says_what_was_passed_over() {
    let mut rim = Rim::new(AckLevel::Disk);
    ten(&mut rim);
    damage(&rim, b"payload number 7");
    let (rim, recovered) = Rim::recovered(rim.disk.fork(), AckLevel::Disk);
    let sentences: Vec<_> = recovered.unwrap().sentences().collect();
    let about = |text: &str| sentences.iter().any(|sentence| sentence.contains(text));
    assert!(about("entries 7 to 8, without the last"), "{sentences:?}");
    let described = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(described.damaged, [(Offset(7), Offset(8))]);
}

#[test]
fn a_damaged_record_costs_no_more_than_what_it_said() {
    let mut rim = Rim::new(AckLevel::Disk);
    ten(&mut rim);
    let name = "a-name-of-its-own";
    rim.attached(key(2, 1), name, 0);
    rim.attached(key(2, 2), "another", 0);
    for (path, bytes) in rim.disk.contents() {
        let at = bytes
            .windows(name.len())
            .position(|bytes| bytes == name.as_bytes());
        if let Some(at) = at {
            rim.disk.flip_bit(&path, at, 0);
        }
    }
    let (mut rim, recovered) = Rim::recovered(rim.disk.fork(), AckLevel::Disk);
    let recovered = recovered.unwrap();
    let warned = "acknowledgements or names may be forgotten";
    assert!(
        recovered
            .passed_over
            .iter()
            .any(|text| text.contains(warned)),
        "{recovered:?}"
    );
    let names: Vec<_> = rim.shard.describe(PARTITION).unwrap().subscriptions;
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].name, "another");
    rim.ask_on(key(2, 1), subscribe(name, 1));
    rim.settle();
    let (_, reply) = rim.replies(key(2, 1)).remove(0);
    assert!(
        matches!(reply, Reply::Subscribed { created: true, .. }),
        "{reply:?}"
    );
}
