//! Goal: a producer with exclusive access is alone, and stays so over losses of its connection,
//! restarts and crashes; whoever came before it appends nothing more, and whoever waits gets its turn.
//! Method: few producers, request by request.

use hulse_log::LogKind;
use hulse_model::Status;
use hulse_shard::{AckLevel, Command, Handled, Reply, StreamKey};
use hulse_subscription::Access::{self, Exclusive, Fencing, Shared, Wait};

use crate::rim::{PARTITION, Rim, key, producer_with};

/// Asks for a producer, named by its connection.
fn ask(rim: &mut Rim, connection: u64, access: Access, stated: Option<u64>) -> StreamKey {
    let to = key(connection, 1);
    let name = format!("p{connection}");
    // It comes back with the epoch of its name, or for the first time.
    let epoch = stated.map(|_| 0);
    rim.ask_on(to, producer_with(&name, epoch, access, stated));
    rim.settle();
    to
}

/// The access epoch that a stream is told, which is open now.
fn opened(rim: &mut Rim, to: StreamKey) -> u64 {
    match rim.reply(to) {
        (_, Reply::ProducerOpened { access_epoch, .. }) => access_epoch,
        (_, other) => panic!("{to:?} is not open: {other:?}"),
    }
}

fn waits(rim: &mut Rim, to: StreamKey) {
    let (_, reply) = rim.reply(to);
    assert!(matches!(reply, Reply::ProducerWaits { .. }), "{reply:?}");
}

fn described(rim: &Rim) -> (u64, bool, usize, usize) {
    let stats = rim.shard.describe(PARTITION).unwrap();
    let access = stats.access;
    let (open, waiting) = (stats.producers, stats.producers_waiting);
    (access.epoch, access.exclusive, open, waiting)
}

#[test]
fn shared_producers_join_each_other_and_need_no_epoch_of_their_own() {
    let mut rim = Rim::new(AckLevel::Disk);
    for connection in [1, 2, 3] {
        let p = ask(&mut rim, connection, Shared, None);
        assert_eq!(opened(&mut rim, p), 0);
    }
    assert_eq!(described(&rim), (0, false, 3, 0));
    let alone = ask(&mut rim, 4, Exclusive, None);
    let (_, refusal) = rim.refusal(alone);
    assert_eq!(refusal.status, Status::ProducerBusy);
    assert_eq!(
        refusal.message,
        "producer p4 cannot be opened: 3 other producers are open"
    );
    for connection in [1, 2, 3] {
        rim.disconnect(connection);
    }
    rim.settle();
    let alone = ask(&mut rim, 4, Exclusive, None);
    assert_eq!(opened(&mut rim, alone), 1);
    assert_eq!(described(&rim), (1, true, 1, 0));
    let shared = ask(&mut rim, 1, Shared, None);
    assert_eq!(rim.status(shared).1, Status::ProducerBusy);
}

#[test]
fn a_silent_producer_is_asked_and_gives_way() {
    let mut rim = Rim::new(AckLevel::Disk);
    rim.all_answer = false;
    let alone = ask(&mut rim, 1, Exclusive, None);
    assert_eq!(opened(&mut rim, alone), 1);
    let next = ask(&mut rim, 2, Exclusive, None);
    assert_eq!(rim.probed, [1]);
    for _ in 0..4 {
        rim.pass(50);
    }
    rim.settle();
    assert_eq!(rim.evicted, [1]);
    assert_eq!(opened(&mut rim, next), 2);
    let shared = ask(&mut rim, 3, Shared, None);
    rim.answer(2);
    assert_eq!(rim.status(shared).1, Status::ProducerBusy);
}

#[test]
fn those_who_wait_get_their_turn_in_order_as_soon_as_they_can_be_alone() {
    let mut rim = Rim::new(AckLevel::Disk);
    let shared = ask(&mut rim, 1, Shared, None);
    assert_eq!(opened(&mut rim, shared), 0);
    let [a, b, c] = [2, 3, 4].map(|connection| ask(&mut rim, connection, Wait, None));
    for it in [a, b, c] {
        waits(&mut rim, it);
    }
    assert_eq!(described(&rim), (0, false, 1, 3));
    // Nobody overtakes them.
    let late = ask(&mut rim, 5, Shared, None);
    assert_eq!(rim.status(late).1, Status::ProducerBusy);
    // One that waits goes, in peace; it takes nothing else before.
    let close = rim.ask(b, Command::Close);
    assert_eq!(rim.reply(b), (close, Reply::Closed));
    let _ = rim.produce(c, 0, 1, b"too early");
    assert_eq!(rim.status(c).1, Status::ProtocolViolation);
    rim.disconnect(1);
    assert!(rim.told(a).is_empty());
    rim.settle();
    let (correlation, reply) = rim.reply(a);
    assert_eq!(correlation, 0, "it is told unasked");
    assert!(matches!(
        reply,
        Reply::ProducerOpened {
            access_epoch: 1,
            ..
        }
    ));
    assert!(rim.told(c).is_empty());
    rim.produced(a, 0..1);
    assert_eq!(rim.receipts(a), [0]);
    rim.ask(a, Command::Close);
    rim.settle();
    assert_eq!(opened(&mut rim, c), 2);
    rim.produced(c, 0..1);
    assert_eq!(rim.receipts(c), [1]);
    assert_eq!(described(&rim), (2, true, 1, 0));
}

#[test]
fn nothing_is_left_of_those_who_wait_and_go() {
    let mut rim = Rim::new(AckLevel::Disk);
    let alone = ask(&mut rim, 1, Exclusive, None);
    let waiting = ask(&mut rim, 2, Wait, None);
    waits(&mut rim, waiting);
    rim.disconnect(2);
    assert_eq!(described(&rim), (1, true, 1, 0));
    rim.ask(alone, Command::Close);
    rim.settle();
    assert_eq!(described(&rim), (1, true, 0, 0), "the epoch stays");
    let shared = ask(&mut rim, 3, Shared, None);
    assert_eq!(opened(&mut rim, shared), 2, "those who share begin one");
}

#[test]
fn one_that_fences_ends_the_others_and_those_who_wait() {
    let mut rim = Rim::new(AckLevel::Disk);
    let shared = ask(&mut rim, 1, Shared, None);
    let waiting = ask(&mut rim, 2, Wait, None);
    assert_eq!(opened(&mut rim, shared), 0);
    waits(&mut rim, waiting);
    let _ = rim.produce(shared, 0, 1, b"in time");
    let fencing = ask(&mut rim, 3, Fencing, None);
    assert_eq!(opened(&mut rim, fencing), 1);
    let told = rim.told(shared);
    let refused = told.iter().any(|told| {
        matches!(told, crate::rim::Told::Reply(0, Reply::Refused(it)) if it.status == Status::ProducerFenced)
    });
    assert!(refused, "{told:?}");
    assert_eq!(rim.status(waiting), (0, Status::ProducerFenced));
    let _ = rim.produce(shared, 1, 1, b"too late");
    assert_eq!(
        rim.status(shared).1,
        Status::ProtocolViolation,
        "it has ended"
    );
    rim.produced(fencing, 0..1);
    assert_eq!(rim.receipts(fencing), [1]);
    // It comes back, and is told so; so would one that was never told.
    rim.disconnect(1);
    let back = ask(&mut rim, 1, Shared, Some(0));
    assert_eq!(rim.status(back).1, Status::ProducerFenced);
    assert_eq!(described(&rim), (1, true, 1, 0));
}

#[test]
fn an_exclusive_producer_comes_back_unless_another_was_there() {
    let mut rim = Rim::new(AckLevel::Disk);
    let alone = ask(&mut rim, 1, Exclusive, None);
    assert_eq!(opened(&mut rim, alone), 1);
    rim.disconnect(1);
    let back = ask(&mut rim, 1, Exclusive, Some(1));
    assert_eq!(opened(&mut rim, back), 1, "in the same epoch");
    rim.produced(back, 0..1);
    assert_eq!(rim.receipts(back), [0]);
    rim.disconnect(1);
    let other = ask(&mut rim, 2, Shared, None);
    assert_eq!(opened(&mut rim, other), 2);
    rim.disconnect(2);
    let back = ask(&mut rim, 1, Exclusive, Some(1));
    assert_eq!(rim.status(back).1, Status::ProducerFenced);
    let never = ask(&mut rim, 1, Exclusive, Some(77));
    assert_eq!(rim.status(never).1, Status::InvalidArgument);
}

#[test]
fn a_producer_that_starts_anew_under_its_name_replaces_what_is_left_of_it() {
    let mut rim = Rim::new(AckLevel::Disk);
    let alone = ask(&mut rim, 1, Exclusive, None);
    assert_eq!(opened(&mut rim, alone), 1);
    let anew = key(2, 1);
    rim.ask_on(anew, producer_with("p1", None, Exclusive, None));
    rim.settle();
    assert_eq!(opened(&mut rim, anew), 2);
    let _ = rim.produce(alone, 0, 1, b"late");
    assert_eq!(rim.status(alone).1, Status::ProducerFenced);
    rim.disconnect(1);
    rim.produced(anew, 0..1);
    assert_eq!(rim.receipts(anew), [0]);
}

#[test]
fn the_epoch_outlives_restarts_and_crashes_at_every_level() {
    for ack in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(ack);
        let shared = ask(&mut rim, 1, Shared, None);
        assert_eq!(opened(&mut rim, shared), 0);
        let fencing = ask(&mut rim, 2, Fencing, None);
        assert_eq!(opened(&mut rim, fencing), 1);
        // What is told is safe from a loss of power.
        let crashed = rim.disk.crashed(hulse_log::sim::Keep::Nothing);
        let killed = rim.disk.fork();
        for disk in [crashed, killed] {
            let mut rim = Rim::restarted(disk, ack);
            assert_eq!(described(&rim), (1, true, 0, 0));
            let old = ask(&mut rim, 1, Shared, Some(0));
            assert_eq!(rim.status(old).1, Status::ProducerFenced);
            let back = ask(&mut rim, 2, Fencing, Some(1));
            assert_eq!(opened(&mut rim, back), 1);
            assert_eq!(rim.produce(back, 0, 1, b"on"), Handled::Done);
            rim.settle();
            assert_eq!(rim.receipts(back), [0]);
        }
    }
}

#[test]
fn an_epoch_that_a_crash_forgets_was_told_to_nobody() {
    let mut rim = Rim::new(AckLevel::Disk);
    let shared = ask(&mut rim, 1, Shared, None);
    assert_eq!(opened(&mut rim, shared), 0);
    let to = key(2, 1);
    rim.ask_on(to, producer_with("p2", None, Fencing, None));
    rim.end_round();
    assert!(rim.told(to).is_empty(), "it is not durable");
    assert_eq!(rim.produce(to, 0, 1, b"early"), Handled::Held);
    let mut rim = Rim::restarted(rim.crashed_without(LogKind::Sibling), AckLevel::Disk);
    assert_eq!(described(&rim), (0, false, 0, 0));
    let back = ask(&mut rim, 1, Shared, Some(0));
    assert_eq!(opened(&mut rim, back), 0, "nobody was there meanwhile");
}

#[test]
fn the_epoch_is_in_the_snapshot() {
    let mut rim = Rim::new(AckLevel::Disk);
    let alone = ask(&mut rim, 1, Exclusive, None);
    assert_eq!(opened(&mut rim, alone), 1);
    rim.disconnect(1);
    // Openings enough for a snapshot, and for the records before it to go.
    for _ in 0..12_000 {
        rim.ask_on(key(2, 1), producer_with("busy", None, Shared, None));
        rim.end_round();
        rim.ask(key(2, 1), Command::Close);
    }
    rim.settle();
    rim.pass(1_000);
    rim.settle();
    rim.pass(20_000);
    rim.settle();
    let mut rim = rim.killed(AckLevel::Disk);
    assert_eq!(
        described(&rim).0,
        2,
        "the exclusive one, and those who share"
    );
    let back = ask(&mut rim, 1, Exclusive, Some(1));
    assert_eq!(rim.status(back).1, Status::ProducerFenced);
}
