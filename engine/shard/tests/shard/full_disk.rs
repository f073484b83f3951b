//! Goal: a full disk refuses writes with DISK_FULL, keeps reading alive, asks for nothing over and
//! over, and is found to have room again. Method: a disk whose files may not grow.

use hulse_log::LogKind;
use hulse_log::sim::Keep;
use hulse_model::{Offset, Status};
use hulse_shard::{AckLevel, Command, Handled, Refusal, Reply, SeekTo, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, Told, key, producer, subscribe, whole};

/// Produces until the log of entries has no room, on a disk that has none either. Returns how many
/// batches were stored, and the refusal of the next.
fn fill(rim: &mut Rim, p: StreamKey) -> (u64, Refusal) {
    rim.disk.set_free_bytes(Some(0));
    for sequence in 0..1_000 {
        let handled = rim.produce(p, sequence, 1, &[1; 1000]);
        rim.settle();
        if handled == Handled::Held {
            assert_eq!(rim.resumed, [p.connection]);
            let _ = rim.produce(p, sequence, 1, &[1; 1000]);
        }
        match rim.told(p).pop() {
            Some(Told::Receipt(_)) => {}
            Some(Told::Reply(_, Reply::Refused(refusal))) => return (sequence, refusal),
            other => panic!("{other:?}"),
        }
    }
    panic!("a disk that is full takes no end of batches");
}

#[test]
fn batches_are_refused_until_there_is_room() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let (stored, refusal) = fill(&mut rim, p);
    assert!(stored > 5, "the first segment was used");
    assert_eq!(refusal.status, Status::DiskFull);
    assert_eq!(refusal.batch, Some((stored, 1)));
    assert!(!refusal.appended);
    rim.assert_quiet();
    // Everything stored is read, by a consumer that was not there before.
    let c = rim.attached(key(2, 1), "s", 1_000);
    assert_eq!(rim.delivered(c), (0..stored).collect::<Vec<_>>());

    rim.disk.set_free_bytes(None);
    let _ = rim.produce(p, stored, 1, &[1; 1000]);
    assert_eq!(
        rim.status(p).1,
        Status::DiskFull,
        "the disk is not asked each time"
    );
    assert!(rim.pending.is_empty());
    rim.pass(1_100);
    assert_eq!(rim.produce(p, stored, 1, &[1; 1000]), Handled::Held);
    rim.settle();
    assert_eq!(rim.resumed, [1]);
    rim.produced(p, stored..stored + 1);
    assert_eq!(rim.receipts(p), [stored]);
    assert_eq!(rim.delivered(c), [stored]);
}

/// Moves the cursor, one record at a time, until the sibling log has no room. Returns the request
/// that found none.
fn fill_sibling(rim: &mut Rim, c: StreamKey) -> u64 {
    rim.disk.set_free_bytes(Some(0));
    for turn in 0..10_000 {
        let to = if turn % 2 == 0 {
            SeekTo::Latest
        } else {
            SeekTo::Earliest
        };
        let id = rim.ask(c, Command::Seek(to));
        rim.settle();
        let replies = rim.replies(c);
        if replies != [(id, Reply::Done)] {
            assert!(
                matches!(&replies[..], [(it, Reply::Refused(r))] if *it == id && r.status == Status::DiskFull),
                "{replies:?}"
            );
            return id;
        }
    }
    panic!("a disk that is full takes no end of records");
}

/// A partition whose sibling log is full, with three entries and a consumer without permits.
fn full_sibling() -> (Rim, StreamKey, StreamKey) {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    rim.told(p);
    let c = rim.attached(key(2, 1), "s", 0);
    fill_sibling(&mut rim, c);
    (rim, p, c)
}

#[test]
fn records_that_find_no_room_are_refused_and_not_tried_over_and_over() {
    let (mut rim, p, c) = full_sibling();
    assert!(
        rim.pending.is_empty(),
        "the shard rests until time has passed"
    );
    rim.end_round();
    assert!(rim.pending.is_empty(), "also after a round");
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to: whole(0),
            receipt: true,
        },
    );
    assert_eq!(rim.status(c), (ack, Status::DiskFull));
    for (stream, command) in [(5, producer("q", None)), (6, subscribe("t", 1))] {
        let to = key(3, stream);
        let id = rim.ask_on(to, command);
        assert_eq!(rim.status(to), (id, Status::DiskFull));
    }
    let delete = Command::DeleteSubscription {
        subscription: "s".parse().unwrap(),
    };
    rim.disconnect(2);
    rim.ask_on(key(3, 0), delete);
    assert_eq!(rim.status(key(3, 0)).1, Status::DiskFull);
    // The log of entries has room, and reading needs none.
    rim.produced(p, 3..4);
    assert_eq!(rim.receipts(p), [3]);
    let c = rim.attached(key(4, 1), "s", 10);
    assert_eq!(rim.delivered(c).last(), Some(&3));
    rim.assert_quiet();
    // One try a second, however many requests there are.
    let mut tries = 0;
    for _ in 0..40 {
        rim.pass(50);
        let before = rim.pending.len();
        let _ = rim.ask(
            c,
            Command::AckCumulative {
                up_to: whole(0),
                receipt: true,
            },
        );
        rim.end_round();
        tries += rim.pending.len() - before;
        rim.settle();
    }
    assert!(tries <= 2, "{tries} tries in two seconds");
}

#[test]
fn what_waited_is_recorded_when_there_is_room_again() {
    let (mut rim, _, c) = full_sibling();
    rim.say(
        c,
        Command::AckCumulative {
            up_to: whole(1),
            receipt: false,
        },
    );
    rim.settle();
    rim.disk.set_free_bytes(None);
    rim.pass(900);
    assert!(rim.pending.is_empty(), "not yet");
    rim.pass(200);
    assert_eq!(rim.pending.len(), 1, "time alone brings another try");
    rim.settle();
    assert!(
        rim.told(c).is_empty(),
        "what was refused is not answered once more"
    );
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to: whole(1),
            receipt: true,
        },
    );
    rim.settle();
    assert_eq!(rim.reply(c), (ack, Reply::Acked));
    let mark = |rim: &Rim| rim.shard.describe(PARTITION).unwrap().subscriptions[0].mark;
    let before = mark(&rim);
    assert!(before.offset >= Offset(2));
    rim.assert_quiet();
    let rim = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    assert_eq!(mark(&rim), before);
}

#[test]
fn an_opening_that_found_no_room_is_refused_and_leaves_no_stream() {
    let (mut rim, _, c) = full_sibling();
    rim.pass(1_100);
    // The disk is tried again, and until the answer comes the request waits.
    let made = key(3, 1);
    rim.ask_on(made, subscribe("t", 1));
    let opened = key(3, 2);
    rim.ask_on(opened, producer("q", Some(7)));
    assert!(rim.told(made).is_empty());
    rim.settle();
    assert_eq!(rim.status(made).1, Status::DiskFull);
    assert_eq!(rim.status(opened).1, Status::DiskFull);
    let stats = rim.shard.stats();
    assert_eq!(
        (stats.producers, stats.consumers),
        (1, 1),
        "only those from before"
    );
    rim.ask_on(made, subscribe("t", 1));
    assert_eq!(
        rim.status(made).1,
        Status::DiskFull,
        "it may yet be forgotten"
    );
    rim.disk.set_free_bytes(None);
    rim.pass(1_100);
    rim.settle();
    assert!(rim.told(made).is_empty() && rim.told(c).is_empty());
    rim.ask_on(made, subscribe("t", 1));
    rim.ask_on(opened, producer("q", Some(7)));
    rim.settle();
    let (_, reply) = rim.replies(made).remove(0);
    assert!(
        matches!(reply, Reply::Subscribed { created: false, .. }),
        "{reply:?}"
    );
    let (_, reply) = rim.reply(opened);
    assert!(
        matches!(reply, Reply::ProducerOpened { epoch: 7, .. }),
        "{reply:?}"
    );
    rim.assert_quiet();
}

#[test]
fn a_stop_does_not_wait_for_room() {
    let (mut rim, _, c) = full_sibling();
    rim.say(
        c,
        Command::AckCumulative {
            up_to: whole(1),
            receipt: false,
        },
    );
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    while let Some(at) = rim.pending.iter().position(|p| !is_segment(p)) {
        rim.finish(at);
    }
    assert!(rim.shard.is_quiet());
    rim.shard.close();
}

fn is_segment(pending: &Pending) -> bool {
    matches!(
        pending,
        Pending::Prepare(_, LogKind::Entries | LogKind::Sibling, _)
    )
}
