//! Goal: a subscription that is not durable reads as any other does, and nothing is left of it.
//! Method: few consumers, entry by entry.

use hulse_model::limits::PARTITION_READERS_MAX;
use hulse_model::{Offset, Position, Status};
use hulse_shard::{AckLevel, AckedMessages, Command, Reply, SeekTo, StartFrom, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Exclusive, Failover, KeyShared, Shared};

use crate::rim::{PARTITION, Rim, Told, key, subscribe, whole};

fn rim(entries: u64) -> Rim {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..entries);
    rim
}

fn reader(name: &str, kind: SubscriptionKind, start: StartFrom) -> Command<'static> {
    Command::Subscribe {
        subscription: name.parse().unwrap(),
        kind,
        start,
        consumer: "reader".to_owned(),
        priority: 0,
        member: None,
        permits: 100,
        durable: false,
    }
}

fn attached(rim: &mut Rim, connection: u64, kind: SubscriptionKind) -> StreamKey {
    rim.attached_by(key(connection, 1), reader("r", kind, StartFrom::Earliest))
}

/// Names and durability of all subscriptions.
fn described(rim: &Rim) -> Vec<(String, bool)> {
    let stats = rim.shard.describe(PARTITION).unwrap();
    let all = stats.subscriptions.into_iter();
    all.map(|it| (it.name, it.durable)).collect()
}

fn at(offset: u64, index: u32) -> Position {
    Position {
        offset: Offset(offset),
        index,
    }
}

#[test]
fn a_reader_begins_where_it_says() {
    let mut rim = rim(0);
    let p = rim.opened_producer(key(1, 2), "q");
    for entry in 0..4 {
        let _ = rim.produce(p, entry * 3, 3, b"three messages");
    }
    rim.settle();
    for (number, (start, mark, delivered)) in [
        (StartFrom::Earliest, at(0, 0), &[0, 1, 2, 3][..]),
        (StartFrom::Latest, at(4, 0), &[]),
        (StartFrom::Position(at(2, 0)), at(2, 0), &[2, 3]),
        (StartFrom::Position(at(2, 1)), at(2, 1), &[2, 3]),
        (StartFrom::Position(at(2, 3)), at(3, 0), &[3]),
        (StartFrom::Position(at(99, 7)), at(4, 0), &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let to = key(10 + number as u64, 1);
        rim.ask_on(to, reader(&format!("r{number}"), Exclusive, start));
        rim.settle();
        let told = rim.told(to);
        let found = told.iter().find_map(|told| match told {
            Told::Reply(_, Reply::Subscribed { mark, created, .. }) => Some((*mark, *created)),
            _ => None,
        });
        assert_eq!(found, Some((mark, true)), "{start:?}");
        let offsets: Vec<_> = told
            .iter()
            .filter_map(|told| match told {
                Told::Deliver(it) => Some(it.header.offset.0),
                _ => None,
            })
            .collect();
        assert_eq!(offsets, delivered, "{start:?}");
    }
}

#[test]
fn nothing_is_written_and_nothing_is_left_of_it() {
    for kind in [Exclusive, Failover, Shared, KeyShared] {
        let mut rim = rim(4);
        let before = rim.disk.contents();
        let r = attached(&mut rim, 2, kind);
        assert_eq!(rim.delivered(r), [0, 1, 2, 3]);
        let messages = &[whole(0), whole(2)][..];
        let receipt = true;
        let ack = rim.ask(r, Command::AckIndividual { messages, receipt });
        rim.settle();
        assert!(
            matches!(&rim.told(r)[..], [Told::Reply(id, Reply::Acked)] if *id == ack),
            "{kind:?}"
        );
        rim.ask(r, Command::Seek(SeekTo::Position(at(1, 0))));
        rim.settle();
        let delivered = rim.delivered(r);
        assert_eq!(
            delivered,
            [1, 2, 3],
            "{kind:?}: what comes behind the place"
        );
        assert_eq!(rim.disk.contents(), before, "{kind:?}: nothing is written");
        assert_eq!(described(&rim), [("r".to_owned(), false)]);
        rim.disconnect(2);
        assert_eq!(described(&rim), []);
        // The next one of the name begins anew.
        let r = attached(&mut rim, 3, kind);
        assert_eq!(rim.delivered(r), [0, 1, 2, 3]);
        rim.assert_quiet();
    }
}

#[test]
fn consumers_of_one_share_it_and_it_ends_with_the_last() {
    let mut rim = rim(4);
    let a = attached(&mut rim, 2, Shared);
    let b = attached(&mut rim, 3, Shared);
    assert_eq!(rim.delivered(a), [0, 1, 2, 3]);
    let acked = AckedMessages {
        last: 0,
        ..whole(1)
    };
    let messages = &[acked][..];
    let receipt = false;
    rim.say(a, Command::AckIndividual { messages, receipt });
    rim.disconnect(2);
    rim.settle();
    assert_eq!(rim.delivered(b), [0, 2, 3], "it goes on for the other");
    rim.ask_on(key(4, 1), reader("r", Exclusive, StartFrom::Earliest));
    assert_eq!(rim.status(key(4, 1)).1, Status::ConsumerBusy);
    rim.ask(b, Command::Close);
    assert_eq!(described(&rim), []);
}

#[test]
fn its_name_is_no_name_of_a_durable_one() {
    let mut rim = rim(3);
    let durable = rim.attached(key(2, 1), "r", 1);
    assert_eq!(rim.delivered(durable), [0]);
    let r = attached(&mut rim, 3, Shared);
    assert_eq!(rim.delivered(r), [0, 1, 2]);
    let both = [("r".to_owned(), true), ("r".to_owned(), false)];
    assert_eq!(described(&rim), both);
    // What is asked for by name is asked of the durable one.
    let delete = Command::DeleteSubscription {
        subscription: "r".parse().unwrap(),
    };
    rim.disconnect(2);
    let admin = key(9, 0);
    rim.ask_on(admin, delete);
    rim.settle();
    assert_eq!(rim.reply(admin).1, Reply::Done);
    assert_eq!(described(&rim), both[1..]);
    rim.produced(key(1, 1), 3..4);
    assert_eq!(rim.delivered(r), [3]);
    // And the name is free for a durable one.
    let durable = key(4, 1);
    rim.ask_on(durable, subscribe("r", 9));
    rim.settle();
    assert_eq!(rim.delivered(durable), [0, 1, 2, 3]);
}

#[test]
fn it_reads_on_when_nothing_can_be_written_and_holds_back_nothing_that_may_go() {
    let mut rim = rim(3);
    rim.disk.inject(hulse_log::sim::Fault::Sync);
    let _ = rim.produce(key(1, 1), 3, 1, b"never synced");
    rim.settle();
    rim.told.clear();
    let r = attached(&mut rim, 2, Exclusive);
    assert_eq!(rim.delivered(r), [0, 1, 2]);
    // The lowest mark is that of the durable ones alone: there is none.
    let restarted = rim.killed(AckLevel::Disk);
    assert_eq!(described(&restarted), []);
}

#[test]
fn there_are_no_more_than_so_many() {
    let mut rim = rim(0);
    for number in 0..PARTITION_READERS_MAX {
        let connection = 10 + number as u64 / 1_000;
        let to = key(connection, 1 + u32::try_from(number % 1_000).unwrap());
        let command = reader(&format!("r{number}"), Exclusive, StartFrom::Latest);
        rim.ask_on(to, command);
    }
    rim.settle();
    rim.told.clear();
    let one_more = key(5, 1);
    rim.ask_on(one_more, reader("more", Exclusive, StartFrom::Latest));
    assert_eq!(rim.status(one_more).1, Status::OverLimit);
    rim.disconnect(10);
    rim.attached_by(one_more, reader("more", Exclusive, StartFrom::Latest));
    assert_eq!(described(&rim).len(), PARTITION_READERS_MAX - 1_000 + 1);
}
