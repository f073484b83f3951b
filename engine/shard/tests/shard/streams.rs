//! Goal: broker and client agree on which streams are open, and a refusal leaves nothing behind.
//! Method: requests that are wrong, late, or overtaken by the end of their stream.

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_model::{Offset, Position, Status};
use hulse_shard::{AckLevel, AckedMessages, Command, Handled, Reply, SeekTo};
use hulse_subscription::SubscriptionKind;

use crate::rim::{PARTITION, Rim, Told, key, producer, subscribe, subscribe_as, whole};

#[test]
fn too_many_permits_refuse_the_consumer_and_leave_the_subscription_free() {
    let mut rim = Rim::new(AckLevel::Disk);
    let c = key(1, 1);
    rim.ask_on(c, subscribe("s", CONSUMER_PERMITS_MAX + 1));
    rim.settle();
    assert_eq!(rim.status(c).1, Status::InvalidArgument);
    assert_eq!(rim.shard.stats().consumers, 0);
    rim.attached(key(2, 1), "s", CONSUMER_PERMITS_MAX);
}

#[test]
fn a_refusal_that_nobody_asked_for_ends_the_stream() {
    let mut rim = Rim::new(AckLevel::Disk);
    let c = rim.attached(key(1, 1), "s", CONSUMER_PERMITS_MAX);
    rim.say(c, Command::Permits(1));
    assert_eq!(rim.status(c), (0, Status::InvalidArgument));
    assert_eq!(rim.shard.stats().consumers, 0, "here as at the client");
    // The number may be used again at once.
    let c = rim.attached(c, "s", 1);
    let up_to = whole(0);
    rim.say(
        c,
        Command::AckCumulative {
            up_to,
            receipt: false,
        },
    );
    assert_eq!(rim.status(c), (0, Status::InvalidArgument));
    // With a correlation id the refusal answers the request, and the stream lives on.
    let c = rim.attached(c, "s", 1);
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    assert_eq!(rim.status(c), (ack, Status::InvalidArgument));
    assert_eq!(rim.shard.stats().consumers, 1);
}

#[test]
fn what_crosses_with_the_end_of_its_stream_is_dropped() {
    let mut rim = Rim::new(AckLevel::Disk);
    let c = key(1, 1);
    rim.say(c, Command::Permits(1));
    let messages = [whole(0)];
    let messages = &messages[..];
    rim.say(
        c,
        Command::AckIndividual {
            messages,
            receipt: false,
        },
    );
    assert!(rim.told(c).is_empty());
    // What asks is answered.
    let close = rim.ask(c, Command::Close);
    assert_eq!(rim.status(c), (close, Status::ProtocolViolation));
    let _ = rim.produce(c, 0, 1, b"a");
    let (_, refusal) = rim.refusal(c);
    assert_eq!(
        (refusal.status, refusal.batch),
        (Status::ProtocolViolation, Some((0, 1)))
    );
}

#[test]
fn a_stream_that_the_rim_has_ended_is_closed() {
    let mut rim = Rim::new(AckLevel::Disk);
    let c = rim.attached(key(1, 1), "s", 1);
    rim.shard.ended(c);
    rim.shard.ended(c);
    rim.attached(key(2, 1), "s", 1);
    assert_eq!(rim.shard.stats().consumers, 1);
}

#[test]
fn requests_that_do_not_fit_their_stream_are_refused() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = rim.attached(key(1, 2), "s", 1);
    let violation = |rim: &mut Rim, to, command| {
        let id = rim.ask(to, command);
        assert_eq!(rim.status(to), (id, Status::ProtocolViolation));
    };
    violation(&mut rim, p, Command::Permits(1));
    violation(&mut rim, p, Command::Seek(SeekTo::Latest));
    violation(&mut rim, p, subscribe("s", 1));
    violation(&mut rim, c, producer("q", None));
    let _ = rim.produce(c, 0, 1, b"a");
    assert_eq!(rim.status(c).1, Status::ProtocolViolation);
    for (stream, command) in [
        (0, producer("q", None)),
        (0, subscribe("t", 1)),
        (9, Command::Close),
    ] {
        let id = rim.ask_on(key(1, stream), command);
        assert_eq!(rim.status(key(1, stream)), (id, Status::ProtocolViolation));
    }
    let id = rim.ask_on(p, producer("q", None));
    assert_eq!(
        rim.status(p),
        (id, Status::ProtocolViolation),
        "its stream is open already"
    );
    rim.produced(p, 0..1);
    assert_eq!(rim.receipts(p), [0], "the streams live on");
    assert_eq!(rim.delivered(c), [0]);
}

#[test]
fn batches_out_of_bounds_are_refused() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let large = vec![0; hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX + 1];
    for (sequence, messages, payload, status) in [
        (u64::MAX, 2, &b"a"[..], Status::InvalidArgument),
        (0, 0, &b"a"[..], Status::InvalidArgument),
        (
            0,
            hulse_model::limits::ENTRY_MESSAGES_MAX + 1,
            b"a",
            Status::InvalidArgument,
        ),
        (0, 1, &large[..], Status::MessageTooLarge),
    ] {
        let _ = rim.produce(p, sequence, messages, payload);
        let (_, refusal) = rim.refusal(p);
        assert_eq!(refusal.status, status);
        assert_eq!(
            (refusal.batch, refusal.appended),
            (Some((sequence, messages)), false)
        );
    }
    // The largest is taken, once its segment is there.
    let largest = &large[1..];
    assert_eq!(rim.produce(p, 0, 1, largest), Handled::Held);
    rim.settle();
    assert_eq!(rim.resumed, [1]);
    assert_eq!(rim.produce(p, 0, 1, largest), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(p), [0]);
    rim.assert_quiet();
}

#[test]
fn what_is_behind_a_refused_batch_is_not_stored_before_it() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.disk.set_free_bytes(Some(0));
    // The name has never stored anything, so nothing else would show the gap.
    assert_eq!(rim.produce(p, 0, 1, &[1; 100_000]), Handled::Held);
    rim.settle();
    let _ = rim.produce(p, 0, 1, &[1; 100_000]);
    let _ = rim.produce(p, 1, 1, b"behind it");
    let skipping = Command::Produce {
        sequence: 7,
        messages: 1,
        skipped: true,
        delayed: false,
        payload: b"also behind it",
        payload_crc: None,
    };
    rim.ask(p, skipping.clone());
    rim.settle();
    let statuses: Vec<_> = rim
        .replies(p)
        .into_iter()
        .map(|(_, reply)| match reply {
            Reply::Refused(refusal) => refusal.status,
            other => panic!("{other:?}"),
        })
        .collect();
    let gap = Status::SequenceGap;
    assert_eq!(statuses, [Status::DiskFull, gap, gap]);
    rim.disk.set_free_bytes(None);
    rim.pass(2_000);
    assert_eq!(rim.produce(p, 0, 1, &[1; 100_000]), Handled::Held);
    rim.settle();
    for (sequence, payload) in [(0, &[1; 100_000][..]), (1, b"behind it")] {
        assert_eq!(rim.produce(p, sequence, 1, payload), Handled::Done);
    }
    rim.ask(p, skipping);
    rim.settle();
    assert_eq!(rim.receipts(p), [0, 1, 2]);
}

#[test]
fn a_producer_goes_on_without_a_batch_that_was_refused_for_good() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let _ = rim.produce(p, 0, 0, b"no messages");
    assert_eq!(rim.status(p).1, Status::InvalidArgument);
    let _ = rim.produce(p, 1, 1, b"on its way already");
    assert_eq!(rim.status(p).1, Status::SequenceGap);
    for (sequence, skipped) in [(1, true), (2, false)] {
        let payload = b"on";
        rim.ask(
            p,
            Command::Produce {
                sequence,
                messages: 1,
                skipped,
                delayed: false,
                payload,
                payload_crc: None,
            },
        );
    }
    rim.settle();
    assert_eq!(rim.receipts(p), [0, 1]);
}

#[test]
fn a_takeover_fences_the_stream_before_it_and_its_close_frees_nothing() {
    let mut rim = Rim::new(AckLevel::Disk);
    let old = rim.opened_producer(key(1, 1), "p");
    let new = rim.opened_producer(key(2, 1), "p");
    let _ = rim.produce(old, 0, 1, b"a");
    assert_eq!(rim.status(old).1, Status::ProducerFenced);
    let close = rim.ask(old, Command::Close);
    assert_eq!(rim.reply(old), (close, Reply::Closed));
    let again = key(3, 1);
    rim.ask_on(again, producer("p", Some(1)));
    assert_eq!(
        rim.status(again).1,
        Status::ProducerBusy,
        "the newer opening is open still"
    );
    rim.ask_on(again, producer("p", Some(0)));
    assert_eq!(rim.status(again).1, Status::ProducerFenced);
    rim.produced(new, 0..1);
    assert_eq!(rim.receipts(new), [0]);
    rim.disconnect(2);
    rim.ask_on(again, producer("p", Some(1)));
    rim.settle();
    assert!(matches!(
        rim.reply(again).1,
        Reply::ProducerOpened { epoch: 1, .. }
    ));
}

#[test]
fn a_second_consumer_is_refused_and_takes_over_when_the_first_goes() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    let first = rim.attached(key(2, 1), "s", 2);
    assert_eq!(rim.delivered(first), [0, 1]);
    let second = key(3, 1);
    rim.ask_on(second, subscribe("s", 9));
    assert_eq!(rim.status(second).1, Status::ConsumerBusy);
    let up_to = whole(0);
    rim.say(
        first,
        Command::AckCumulative {
            up_to,
            receipt: false,
        },
    );
    rim.disconnect(2);
    rim.ask_on(second, subscribe("s", 9));
    rim.settle();
    let counts: Vec<_> = rim
        .told(second)
        .into_iter()
        .filter_map(|told| match told {
            Told::Deliver(it) => Some((it.header.offset.0, it.redelivery_count)),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [(1, 1), (2, 0)]);
    // A subscription keeps its type.
    let kind = SubscriptionKind::Shared;
    let shared = subscribe_as(kind, "s", "another", 1);
    rim.ask_on(key(4, 1), shared);
    assert_eq!(rim.status(key(4, 1)).1, Status::ConsumerBusy);
}

#[test]
fn a_subscription_is_deleted_for_good_and_begins_anew() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..2);
    let c = rim.attached(key(2, 1), "s", 9);
    assert_eq!(rim.delivered(c), [0, 1]);
    let delete = || Command::DeleteSubscription {
        subscription: "s".parse().unwrap(),
    };
    let admin = key(3, 0);
    rim.ask_on(admin, delete());
    assert_eq!(rim.status(admin).1, Status::ConsumerBusy);
    let up_to = whole(1);
    rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.disconnect(2);
    let id = rim.ask_on(admin, delete());
    assert!(rim.told(admin).is_empty(), "it is told when it is durable");
    rim.settle();
    assert_eq!(rim.reply(admin), (id, Reply::Done));
    rim.ask_on(admin, delete());
    assert_eq!(rim.status(admin).1, Status::SubscriptionNotFound);
    let c = rim.attached(key(4, 1), "s", 9);
    assert_eq!(rim.delivered(c), [0, 1], "nothing is acknowledged");
    rim.assert_quiet();
}

#[test]
fn a_deleted_partition_answers_everybody_who_waits() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = rim.attached(key(2, 1), "s", 9);
    let opening = key(3, 1);
    let _ = rim.produce(p, 0, 1, b"a");
    let open = rim.ask_on(opening, subscribe("t", 1));
    let subscription = "s".parse().unwrap();
    let to = SeekTo::Latest;
    let seek = rim.ask_on(key(4, 0), Command::SeekSubscription { subscription, to });
    rim.end_round();
    assert!(rim.act(|shard, _, fx| shard.drop_partition(PARTITION, fx)));
    assert_eq!(rim.status(opening), (open, Status::TopicNotFound));
    assert_eq!(rim.status(key(4, 0)), (seek, Status::TopicNotFound));
    assert_eq!(rim.status(c), (0, Status::TopicNotFound));
    let replies = rim.replies(p);
    let [(batch, Reply::Refused(first)), (0, Reply::Refused(end))] = &replies[..] else {
        panic!("{replies:?}");
    };
    assert!(*batch > 0 && first.appended, "the batch's fate is unknown");
    assert_eq!((first.batch, end.batch), (Some((0, 1)), None));
    // What comes back for it is nobody's any more.
    rim.settle();
    assert!(rim.told.is_empty());
    rim.say(c, Command::Permits(1));
    rim.ask_on(key(5, 1), subscribe("s", 1));
    assert_eq!(rim.status(key(5, 1)).1, Status::NotPrimary);
    rim.assert_quiet();
}

#[test]
fn a_stopping_shard_finishes_what_was_begun_and_begins_nothing() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..3);
    let c = rim.attached(key(2, 1), "s", 2);
    assert_eq!(rim.delivered(c), [0, 1]);
    assert!(!rim.shard.is_quiet(), "at memory something is not synced");
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    let _ = rim.produce(p, 3, 1, b"late");
    assert_eq!(rim.told(p).len(), 4, "three receipts and a refusal");
    rim.ask_on(key(3, 1), subscribe("t", 1));
    assert_eq!(rim.status(key(3, 1)).1, Status::NotReady);
    rim.say(c, Command::Permits(9));
    let up_to = whole(1);
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.settle();
    let told = rim.told(c);
    assert!(
        matches!(&told[..], [Told::Reply(id, Reply::Acked)] if *id == ack),
        "nothing more is delivered: {told:?}"
    );
    rim.assert_quiet();
    rim.shard.close();
    rim.say(c, Command::Permits(1));
    let _ = rim.produce(p, 3, 1, b"after the end");
    assert_eq!(rim.status(p).1, Status::ProtocolViolation);
    let (mut rim, recovered) = Rim::recovered(rim.disk.fork(), AckLevel::Memory);
    let recovered = recovered.unwrap();
    assert!(recovered.logs.unwrap().is_clean());
    let c = rim.attached(key(2, 1), "s", 9);
    assert_eq!(rim.delivered(c), [2]);
}

#[test]
fn a_seek_finds_a_place_that_exists() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    for entry in 0..4 {
        let _ = rim.produce(p, entry * 3, 3, b"three messages");
        rim.settle();
        rim.pass(1_000);
    }
    let c = rim.attached(key(2, 1), "s", 1_000);
    let first_ms = rim.clock.wall_ms - 4_000;
    let at = |offset, index| Position {
        offset: Offset(offset),
        index,
    };
    for (to, mark) in [
        (SeekTo::Position(at(1, 2)), at(1, 2)),
        (SeekTo::Position(at(1, 3)), at(2, 0)),
        (SeekTo::Position(at(1, u32::MAX)), at(2, 0)),
        (SeekTo::Position(at(u64::MAX, u32::MAX)), at(4, 0)),
        (SeekTo::Time(0), at(0, 0)),
        (SeekTo::Time(first_ms + 1), at(1, 0)),
        (SeekTo::Time(u64::MAX), at(4, 0)),
        (SeekTo::Latest, at(4, 0)),
        (SeekTo::Earliest, at(0, 0)),
    ] {
        rim.ask(c, Command::Seek(to));
        rim.settle();
        let described = rim.shard.describe(PARTITION).unwrap();
        assert_eq!(described.subscriptions[0].mark, mark, "{to:?}");
    }
    let up_to = AckedMessages {
        offset: Offset(3),
        first: 0,
        last: 1,
    };
    rim.ask(
        c,
        Command::AckCumulative {
            up_to,
            receipt: true,
        },
    );
    rim.settle();
    let rim = rim.killed(AckLevel::Disk);
    let described = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(described.subscriptions[0].mark, at(3, 2));
}
