//! Goal: at `memory` no entry is there whose producer's name a loss of power could take, or the
//! producer would store it again under its name; and nobody but who opens a new name waits for
//! that. Method: openings whose sync comes late, and disks that forget one log and keep the other.

use hulse_log::LogKind;
use hulse_log::sim::{Fault, Keep};
use hulse_model::{Offset, Status};
use hulse_shard::{AckLevel, Command, Handled, Reply, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, Told, key, producer, subscribe, whole};

/// Opens a name and ends the round, and nothing more.
fn open(rim: &mut Rim, to: StreamKey, name: &str, epoch: Option<u64>) -> u64 {
    let id = rim.ask_on(to, producer(name, epoch));
    rim.end_round();
    id
}

/// The epoch of the opening that a stream was told of, and the sequence number of the newest
/// message under its name.
fn opened(rim: &mut Rim, to: StreamKey) -> (u64, Option<u64>) {
    match rim.reply(to) {
        (_, Reply::ProducerOpened { epoch, last, .. }) => (epoch, last.map(|last| last.0)),
        other => panic!("an opening, not {other:?}"),
    }
}

/// Checks that syncs of the sibling log are in flight, so many, and nothing else.
fn assert_syncing(rim: &Rim, syncs: usize) {
    let sync = |p: &Pending| matches!(p, Pending::Sync(_, LogKind::Sibling, _));
    let all = rim.pending.iter().all(sync);
    assert!(all && rim.pending.len() == syncs, "{}", rim.pending.len());
}

#[test]
fn a_new_name_is_answered_after_a_sync_that_begins_at_once_and_holds_up_nobody_else() {
    let mut rim = Rim::new(AckLevel::Memory);
    let q = rim.opened_producer(key(1, 1), "q");
    let c = rim.attached(key(2, 1), "s", 9);
    let p = key(3, 1);
    open(&mut rim, p, "p", None);
    assert_syncing(&rim, 1);

    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
    rim.end_round();
    assert_eq!(rim.receipts(q), [0]);
    assert_eq!(rim.delivered(c), [0]);
    let messages = &[whole(0)][..];
    let receipt = true;
    let ack = rim.ask(c, Command::AckIndividual { messages, receipt });
    let (other, known) = (key(4, 1), key(5, 1));
    rim.ask_on(other, subscribe("other", 9));
    open(&mut rim, known, "q", None);
    assert_eq!(rim.replies(c), [(ack, Reply::Acked)]);
    let told = rim.told(other);
    assert!(
        matches!(
            &told[..],
            [Told::Reply(_, Reply::Subscribed { .. }), Told::Deliver(_)]
        ),
        "{told:?}"
    );
    assert_eq!(opened(&mut rim, known), (1, Some(0)));

    assert_eq!(rim.produce(p, 0, 1, b"b"), Handled::Held);
    rim.end_round();
    assert!(rim.told(p).is_empty(), "its name is not durable");
    assert_syncing(&rim, 1);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(opened(&mut rim, p), (0, None));
    assert!(rim.resumed.contains(&3), "its batch may be tried again");
    assert_eq!(rim.produce(p, 0, 1, b"b"), Handled::Done);
    rim.end_round();
    assert_eq!(rim.receipts(p), [1]);
    assert!(rim.pending.is_empty(), "the rest is left to the clock");
}

#[test]
fn a_known_name_waits_for_no_sync_in_later_lives_either() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..2);
    for (number, killed) in [(1, true), (2, false)] {
        rim = if killed {
            rim.killed(AckLevel::Memory)
        } else {
            Rim::restarted(rim.disk.crashed(Keep::All), AckLevel::Memory)
        };
        rim.settle();
        open(&mut rim, p, "p", None);
        assert_eq!(opened(&mut rim, p), (number, Some(1)));
        assert!(rim.pending.is_empty());
    }
}

#[test]
fn power_lost_before_the_sync_leaves_neither_the_name_nor_an_entry_of_it() {
    let mut rim = Rim::new(AckLevel::Memory);
    let q = rim.opened_producer(key(1, 1), "q");
    rim.produced(q, 0..1);
    let p = key(2, 1);
    open(&mut rim, p, "p", None);
    assert_eq!(rim.produce(p, 0, 1, b"early"), Handled::Held);
    rim.end_round();
    assert!(rim.told(p).is_empty());
    for disk in [
        rim.disk.crashed(Keep::Nothing),
        rim.crashed_without(LogKind::Sibling),
    ] {
        let mut after = Rim::restarted(disk, AckLevel::Memory);
        let end = after.shard.describe(PARTITION).unwrap().log_end;
        assert!(end <= Offset(1), "an entry of nobody");
        open(&mut after, p, "p", None);
        after.settle();
        assert_eq!(opened(&mut after, p), (0, None), "the name is new");
    }
}

#[test]
fn power_lost_after_the_sync_leaves_the_name_and_no_entry_is_repeated() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    for sequence in 0..3 {
        assert_eq!(rim.produce(p, sequence, 1, b"kept"), Handled::Done);
    }
    rim.end_round();
    assert_eq!(rim.receipts(p), [0, 1, 2], "no sync is waited for");
    let mut after = Rim::restarted(rim.crashed_without(LogKind::Sibling), AckLevel::Memory);
    open(&mut after, p, "p", None);
    assert_eq!(opened(&mut after, p), (1, Some(2)));
    after.produced(p, 0..4);
    assert_eq!(after.receipts(p), [0, 1, 2, 3]);
    let end = after.shard.describe(PARTITION).unwrap().log_end;
    assert_eq!(end, Offset(4), "three were recognised");
    let mut none = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Memory);
    open(&mut none, p, "p", None);
    assert_eq!(opened(&mut none, p), (1, None), "its entries are lost");
}

#[test]
fn whoever_opens_a_name_again_before_it_is_durable_waits_for_it_too() {
    // Taken over, and opened once more with its epoch when its first stream is gone.
    for (epoch, leaves) in [(None, false), (Some(0), true), (None, true)] {
        let mut rim = Rim::new(AckLevel::Memory);
        rim.settle();
        let (first, second) = (key(1, 1), key(2, 1));
        open(&mut rim, first, "p", None);
        if leaves {
            rim.disconnect(1);
        }
        open(&mut rim, second, "p", epoch);
        assert_eq!(rim.produce(second, 0, 1, b"a"), Handled::Held);
        rim.end_round();
        assert!(rim.told.is_empty(), "{:?}", rim.told);
        assert_syncing(&rim, 1);
        rim.finish_syncs(LogKind::Sibling);
        let told = rim.told.iter().map(|(to, _)| *to).collect::<Vec<_>>();
        let expected: &[_] = if leaves { &[second] } else { &[first, second] };
        assert_eq!(told, expected, "one sync is enough for the name");
        let epoch = epoch.unwrap_or(1);
        assert_eq!(opened(&mut rim, second), (epoch, None));
        assert!(rim.pending.is_empty());
    }
}

#[test]
fn a_name_that_comes_while_a_sync_is_in_flight_waits_for_the_next() {
    let mut rim = Rim::new(AckLevel::Memory);
    rim.settle();
    let (a, b, c) = (key(1, 1), key(2, 1), key(3, 1));
    open(&mut rim, a, "a", None);
    open(&mut rim, b, "b", None);
    open(&mut rim, c, "c", None);
    assert_syncing(&rim, 1);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(opened(&mut rim, a), (0, None));
    assert!(rim.told.is_empty(), "{:?}", rim.told);
    assert_syncing(&rim, 1);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(opened(&mut rim, b), (0, None));
    assert_eq!(opened(&mut rim, c), (0, None));
    rim.assert_quiet();
}

#[test]
fn a_name_that_comes_while_a_helper_syncs_is_synced_when_that_has_ended() {
    let mut rim = Rim::new(AckLevel::Memory);
    rim.settle();
    rim.attached(key(1, 1), "s", 9);
    rim.pass(2_000);
    assert!(matches!(&rim.pending[..], [Pending::Background(_)]));
    let p = key(2, 1);
    open(&mut rim, p, "p", None);
    rim.finish(0);
    assert!(rim.told(p).is_empty());
    assert_syncing(&rim, 1);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(opened(&mut rim, p), (0, None));
}

#[test]
fn when_the_sync_fails_the_opening_is_refused_and_the_partition_fenced() {
    let mut rim = Rim::new(AckLevel::Memory);
    let q = rim.opened_producer(key(1, 1), "q");
    let p = key(2, 1);
    let id = open(&mut rim, p, "p", None);
    rim.disk.inject(Fault::Sync);
    rim.finish_syncs(LogKind::Sibling);
    assert_eq!(rim.status(p), (id, Status::StorageFailed));
    assert_eq!(rim.produce(q, 0, 1, b"a"), Handled::Done);
    assert_eq!(rim.status(q).1, Status::StorageFailed);
    assert_eq!(rim.shard.stats().fenced_partitions, 1);
    assert_eq!(rim.shard.stats().producers, 1, "it was never open");
}

#[test]
fn whoever_leaves_before_the_answer_is_told_nothing_and_stops_nothing() {
    let mut rim = Rim::new(AckLevel::Memory);
    rim.settle();
    let p = key(1, 1);
    open(&mut rim, p, "p", None);
    rim.ask(p, Command::Close);
    assert!(matches!(rim.reply(p), (_, Reply::Closed)));
    rim.settle();
    assert!(rim.told.is_empty(), "{:?}", rim.told);
    rim.assert_quiet();
}

#[test]
fn a_stopping_broker_still_answers() {
    let mut rim = Rim::new(AckLevel::Memory);
    rim.settle();
    let p = key(1, 1);
    rim.ask_on(p, producer("p", None));
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    assert!(!rim.shard.is_quiet());
    rim.settle();
    assert_eq!(opened(&mut rim, p), (0, None));
    rim.assert_quiet();
}
