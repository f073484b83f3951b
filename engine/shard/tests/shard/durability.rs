//! Goal: nobody is told of anything before it is stored at the partition's level. Method: syncs
//! are held back one by one, and the disk forgets what was not synced.

use hulse_log::LogKind;
use hulse_log::sim::Keep;
use hulse_model::Offset;
use hulse_shard::{AckLevel, Command, Handled, Reply, SeekTo};

use crate::rim::{Rim, Told, key, producer, subscribe, whole};

#[test]
fn a_receipt_waits_for_the_sync_of_its_entry() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"a");
    rim.end_round();
    assert_eq!(rim.receipts(p), [], "written is not synced");
    let lost = rim.disk.crashed(Keep::Nothing);
    rim.finish_syncs(LogKind::Entries);
    assert_eq!(rim.receipts(p), [0]);
    let kept = rim.disk.crashed(Keep::Nothing);
    for (disk, entries) in [(lost, 0), (kept, 1)] {
        let after = Rim::restarted(disk, AckLevel::Disk);
        let end = after.shard.describe(crate::rim::PARTITION).unwrap().log_end;
        assert_eq!(end, Offset(entries));
    }
}

#[test]
fn a_round_that_came_during_a_sync_waits_for_the_next() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"a");
    rim.end_round();
    let _ = rim.produce(p, 1, 1, b"b");
    rim.end_round();
    assert_eq!(rim.pending.len(), 1, "one sync at a time");
    rim.finish_syncs(LogKind::Entries);
    assert_eq!(rim.receipts(p), [0]);
    rim.finish_syncs(LogKind::Entries);
    assert_eq!(rim.receipts(p), [1]);
    rim.assert_quiet();
}

#[test]
fn at_memory_a_receipt_waits_for_the_write_and_not_for_a_sync() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"a");
    assert_eq!(rim.receipts(p), [], "staged is not written");
    rim.end_round();
    assert!(rim.pending.is_empty(), "no sync yet");
    assert_eq!(rim.receipts(p), [0]);
    let killed = rim.killed(AckLevel::Memory);
    let end = killed
        .shard
        .describe(crate::rim::PARTITION)
        .unwrap()
        .log_end;
    assert_eq!(end, Offset(1), "the end of the process alone loses nothing");
}

#[test]
fn a_duplicate_is_answered_when_its_original_is_stored() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    // So much is synced by itself and not together with the records of the sibling log.
    let much = vec![b'a'; 2 * hulse_model::limits::JOURNAL_CHUNK_BYTES_MAX];
    assert_eq!(rim.produce(p, 0, 1, &much), Handled::Held);
    rim.settle();
    assert_eq!(rim.produce(p, 0, 1, &much), Handled::Done);
    rim.end_round();
    let again = key(2, 1);
    rim.ask_on(again, producer("p", None));
    rim.end_round();
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(
        rim.replies(again),
        [],
        "the answer names an entry that is not stored"
    );
    assert_eq!(
        rim.produce(again, 0, 1, b"a"),
        Handled::Held,
        "it is not open yet"
    );
    rim.finish_syncs(LogKind::Entries);
    assert_eq!(rim.resumed.last(), Some(&2));
    let (_, reply) = rim.reply(again);
    let last = Some((0, hulse_model::Term(1), Offset(0)));
    assert!(
        matches!(&reply, Reply::ProducerOpened { epoch: 1, last: it, .. } if *it == last),
        "{reply:?}"
    );
    let _ = rim.produce(again, 1, 1, b"b");
    let _ = rim.produce(again, 0, 1, b"a");
    rim.end_round();
    assert_eq!(
        rim.receipts(again),
        [],
        "a stream's receipts keep their order"
    );
    rim.settle();
    assert_eq!(rim.receipts(again), [1, 0]);
    assert_eq!(rim.receipts(p), [0]);
}

#[test]
fn a_batch_that_overtakes_its_producers_name_waits_for_it() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = key(1, 1);
    rim.ask_on(p, producer("p", None));
    assert_eq!(rim.produce(p, 0, 1, b"a"), Handled::Held);
    rim.end_round();
    assert_eq!(rim.produce(p, 0, 1, b"a"), Handled::Held);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(rim.resumed, [1]);
    assert!(matches!(rim.reply(p).1, Reply::ProducerOpened { .. }));
    assert_eq!(rim.produce(p, 0, 1, b"a"), Handled::Done);
    rim.end_round();
    rim.finish_syncs(LogKind::Entries);
    // A crash now keeps the entry, and with it the name by which its retry is known.
    let mut rim = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 1, b"a");
    rim.settle();
    let told = rim.told(p);
    assert!(
        matches!(&told[..], [Told::Receipt(it)] if it.duplicate && it.id.is_some()),
        "{told:?}"
    );
}

#[test]
fn an_acknowledgement_is_answered_when_the_sibling_log_is_synced() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    let c = rim.attached(key(2, 1), "s", 10);
    assert_eq!(rim.delivered(c), [0, 1, 2]);
    let ack = |offset| Command::AckCumulative {
        up_to: whole(offset),
        receipt: true,
    };
    let first = rim.ask(c, ack(0));
    rim.end_round();
    // The next gathers while the sync runs, and is neither recorded nor answered by it.
    let second = rim.ask(c, ack(1));
    rim.end_round();
    assert_eq!(rim.replies(c), []);
    let lost = rim.disk.crashed(Keep::Nothing);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(rim.replies(c), [(first, Reply::Acked)]);
    let kept = rim.disk.crashed(Keep::Nothing);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(rim.replies(c), [(second, Reply::Acked)]);
    for (disk, from) in [(lost, 0), (kept, 1), (rim.disk.crashed(Keep::Nothing), 2)] {
        let mut rim = Rim::restarted(disk, AckLevel::Disk);
        let c = rim.attached(key(2, 1), "s", 10);
        assert_eq!(rim.delivered(c), (from..3).collect::<Vec<_>>());
    }
}

#[test]
fn a_subscription_is_told_of_when_it_is_durable_and_delivered_to_after_that() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..2);
    let c = key(2, 1);
    rim.ask_on(c, subscribe("s", 10));
    rim.end_round();
    assert!(rim.told(c).is_empty());
    rim.finish_syncs(LogKind::Sibling);
    let told = rim.told(c);
    let [
        Told::Reply(
            _,
            Reply::Subscribed {
                created,
                high_watermark,
                ..
            },
        ),
        rest @ ..,
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(
        (*created, *high_watermark, rest.len()),
        (true, Offset(2), 2)
    );
}

#[test]
fn nothing_is_delivered_that_is_not_stored() {
    for ack in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(ack);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = rim.attached(key(2, 1), "s", 10);
        let _ = rim.produce(p, 0, 1, b"a");
        rim.say(c, Command::Permits(1));
        assert_eq!(rim.delivered(c), [], "staged at {ack:?}");
        rim.end_round();
        if ack == AckLevel::Disk {
            rim.say(c, Command::Permits(1));
            assert_eq!(rim.delivered(c), [], "written at {ack:?}");
            rim.finish_syncs(LogKind::Entries);
        }
        assert_eq!(rim.delivered(c), [0]);
    }
}

#[test]
fn what_is_delivered_behind_a_seeks_answer_comes_from_the_new_place() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..4);
    let c = rim.attached(key(2, 1), "s", 2);
    assert_eq!(rim.delivered(c), [0, 1]);
    let seek = rim.ask(c, Command::Seek(SeekTo::Earliest));
    rim.say(c, Command::Permits(10));
    rim.end_round();
    assert!(
        rim.told(c).is_empty(),
        "permits do not run ahead of the seek"
    );
    rim.finish_syncs(LogKind::Sibling);
    let told = rim.told(c);
    assert!(
        matches!(&told[0], Told::Reply(id, Reply::Done) if *id == seek),
        "{told:?}"
    );
    let from_there: Vec<_> = told[1..]
        .iter()
        .map(|told| match told {
            Told::Deliver(delivered) => delivered.header.offset.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(from_there, [0, 1, 2, 3]);
}
