//! Goal: a partition that nobody uses has no file open, whatever made it idle; each of its logs falls
//! idle by itself; and when no file can be opened, clients are told to try again, and nothing is lost.
//! Method: time passes tick by tick on a simulated disk that knows which files are open.

use hulse_log::sim::{Keep, SimDisk};
use hulse_model::{PartitionId, Status};
use hulse_shard::{AckLevel, Command, Handled, Reply, SeekTo, StreamKey};

use crate::rim::{PARTITION, Rim, config, key, producer, spec, subscribe, whole};

/// Lets time pass in steps of a tick, and carries out what comes of it.
fn wait(rim: &mut Rim, ms: u64) {
    for _ in 0..ms / 50 {
        rim.pass(50);
        rim.settle();
    }
}

/// The files of partitions that are open, by what their names begin with.
fn open_files(rim: &Rim) -> Vec<String> {
    let files = rim.disk.open_files().into_iter();
    let name = |path: String| {
        let name = path.strip_prefix("partitions/")?.split('/').nth(1)?;
        name.split('-').next().map(str::to_owned)
    };
    files.filter_map(name).collect()
}

fn assert_closed(rim: &Rim) {
    assert_eq!(open_files(rim), Vec::<String>::new());
}

/// Has a consumer acknowledge an entry, with a receipt.
fn acknowledge(rim: &mut Rim, c: StreamKey, offset: u64) {
    let id = rim.ask(
        c,
        Command::AckCumulative {
            up_to: whole(offset),
            receipt: true,
        },
    );
    rim.settle();
    assert_eq!(rim.replies(c), [(id, Reply::Acked)]);
}

#[test]
fn an_idle_partition_has_no_file_open_and_goes_on_when_it_is_used() {
    for ack in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(ack);
        assert_closed(&rim);
        let p = rim.opened_producer(key(1, 1), "p");
        let c = rim.attached(key(2, 1), "s", 1_000);
        for round in 0..5 {
            rim.produced(p, round * 3..round * 3 + 3);
            assert_eq!(rim.receipts(p).len(), 3);
            let expected: Vec<_> = (round * 3..round * 3 + 3).collect();
            assert_eq!(rim.delivered(c), expected, "{ack:?}");
            acknowledge(&mut rim, c, round * 3 + 2);
            wait(&mut rim, 900);
            assert_eq!(open_files(&rim), ["entries", "sibling"], "not at once");
            // At `memory` the lazy sync comes first.
            wait(&mut rim, 1_300);
            assert_closed(&rim);
            rim.assert_quiet();
        }
    }
}

#[test]
fn each_log_falls_idle_by_itself() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    assert_eq!(open_files(&rim), ["sibling"]);
    for sequence in 0..10 {
        rim.produced(p, sequence..sequence + 1);
        wait(&mut rim, 500);
        let sibling: &[_] = if sequence < 2 { &["sibling"] } else { &[] };
        let expected = [&["entries"], sibling].concat();
        assert_eq!(open_files(&rim), expected, "{sequence}");
    }
    wait(&mut rim, 1_100);
    assert_closed(&rim);
    // The other way round.
    let c = rim.attached(key(2, 1), "s", 0);
    for turn in 0..10 {
        let to = [SeekTo::Latest, SeekTo::Earliest][turn % 2];
        rim.ask(c, Command::Seek(to));
        rim.settle();
        wait(&mut rim, 500);
        assert_eq!(open_files(&rim), ["sibling"]);
    }
}

#[test]
fn a_log_that_has_just_filled_a_segment_closes_too() {
    for ack in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(ack);
        let p = rim.opened_producer(key(1, 1), "p");
        let segments = |rim: &Rim| rim.shard.describe(PARTITION).unwrap().segments;
        let (before, mut sequence) = (segments(&rim), 0);
        while segments(&rim) == before {
            // Without a round between them, so that the segment is full before it is durable.
            if rim.produce(p, sequence, 1, &[7; 1_000]) == Handled::Held {
                rim.settle();
            } else {
                sequence += 1;
            }
        }
        rim.settle();
        wait(&mut rim, 2_500);
        assert_closed(&rim);
        // The footer was synced on the way.
        let disk = rim.disk.crashed(Keep::Nothing);
        let (_, report) = hulse_log::PartitionStore::open(&disk, PARTITION).unwrap();
        assert_eq!(report.entries.segments_scanned, 1, "{ack:?}");
        assert_eq!(report.entries.end.0, sequence);
    }
}

/// What reading has opened closes when nobody reads any more, though entries still come.
#[test]
fn what_reading_has_opened_closes_while_entries_come() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let mut sequence = 0;
    while rim.shard.describe(PARTITION).unwrap().segments < 5 {
        match rim.produce(p, sequence, 1, &[7; 3_000]) {
            Handled::Held => {}
            Handled::Done => sequence += 1,
        }
        rim.settle();
    }
    let c = rim.attached(key(2, 1), "s", 10_000);
    rim.drain();
    rim.settle();
    assert_eq!(rim.delivered(c).len() as u64, sequence);
    assert!(open_files(&rim).len() > 2, "{:?}", open_files(&rim));
    rim.disconnect(2);
    for more in 0..5 {
        rim.produced(p, sequence + more..sequence + more + 1);
        wait(&mut rim, 500);
    }
    assert_eq!(open_files(&rim), ["entries"]);
}

fn ids() -> impl Iterator<Item = PartitionId> {
    (1..=40).map(PartitionId)
}

/// Many share rounds of the journal, and are idle when the checkpoint has made their own files
/// durable.
#[test]
fn partitions_of_the_journal_close_behind_the_checkpoint() {
    let mut rim = Rim::empty(SimDisk::new(), config());
    for id in ids() {
        rim.open(spec(id, 1, AckLevel::Disk)).unwrap();
    }
    assert_closed(&rim);
    for round in 0..3 {
        for (stream, id) in (1..).zip(ids()) {
            let correlation = rim.correlation();
            let stream = key(1 + round, stream);
            let command = producer(&format!("p{round}"), None);
            rim.act(|shard, clock, fx| {
                shard.handle_on(clock, id, stream, correlation, command, fx);
            });
        }
        rim.settle();
        assert_eq!(open_files(&rim).len(), 40);
        wait(&mut rim, 3_000);
        // The first time there is no journal yet.
        assert!(
            round == 0 || open_files(&rim).len() > 20,
            "the journal alone has them"
        );
        wait(&mut rim, 5_000);
        assert_closed(&rim);
    }
    assert!(rim.shard.stats().journal_rounds > 0);
    // A start holds none of them either.
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    rim.settle();
    let mut rim = Rim::empty(rim.disk.crashed(Keep::Nothing), config());
    rim.disk.set_open_files_max(Some(4));
    for id in ids() {
        rim.open(spec(id, 2, AckLevel::Disk)).unwrap();
    }
    assert_closed(&rim);
}

/// A partition with three entries and a consumer that has had them, closed, and no file to be had.
fn without_files() -> (Rim, StreamKey, StreamKey) {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = rim.attached(key(2, 1), "s", 3);
    rim.produced(p, 0..3);
    assert_eq!(rim.receipts(p).len(), 3);
    assert_eq!(rim.delivered(c), [0, 1, 2]);
    wait(&mut rim, 2_000);
    assert_closed(&rim);
    rim.disk.set_open_files_max(Some(0));
    (rim, p, c)
}

#[test]
fn a_batch_whose_segment_cannot_be_opened_is_refused_and_stored_when_it_comes_again() {
    let (mut rim, p, c) = without_files();
    for _ in 0..3 {
        assert_eq!(rim.produce(p, 3, 1, b"refused"), Handled::Done);
        rim.settle();
        let (_, refusal) = rim.refusal(p);
        assert_eq!(refusal.status, Status::OverLimit);
        assert!(refusal.status.retryable());
        assert_eq!(refusal.batch, Some((3, 1)));
        assert!(!refusal.appended);
        for word in ["Too many open files", "ulimit -n", "LimitNOFILE"] {
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
        wait(&mut rim, 500);
    }
    let described = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(described.log_end.0, 3);
    assert_eq!(rim.shard.stats().fenced_partitions, 0);
    rim.disk.set_open_files_max(None);
    rim.produced(p, 3..4);
    assert_eq!(rim.receipts(p), [3]);
    rim.say(c, Command::Permits(10));
    rim.settle();
    assert_eq!(rim.delivered(c), [3]);
    rim.assert_quiet();
}

#[test]
fn what_needs_a_record_is_refused_and_recorded_when_a_file_can_be_opened() {
    let (mut rim, p, c) = without_files();
    let ack = rim.ask(
        c,
        Command::AckCumulative {
            up_to: whole(1),
            receipt: true,
        },
    );
    rim.settle();
    assert_eq!(rim.status(c), (ack, Status::OverLimit));
    let made = key(3, 1);
    for (to, command) in [(made, subscribe("t", 1)), (key(3, 2), producer("q", None))] {
        let id = rim.ask_on(to, command);
        rim.settle();
        let (found, refusal) = rim.refusal(to);
        assert_eq!((found, refusal.status), (id, Status::OverLimit));
        assert!(refusal.message.contains("ulimit -n"), "{}", refusal.message);
    }
    wait(&mut rim, 3_000);
    assert!(rim.told(c).is_empty() && rim.told(made).is_empty());
    rim.disk.set_open_files_max(None);
    wait(&mut rim, 1_100);
    let mark = |rim: &Rim| rim.shard.describe(PARTITION).unwrap().subscriptions[0].mark;
    assert_eq!(mark(&rim).offset.0, 2, "time alone brings another try");
    acknowledge(&mut rim, c, 2);
    rim.ask_on(made, subscribe("t", 1));
    rim.settle();
    assert!(matches!(
        rim.replies(made)[..],
        [(_, Reply::Subscribed { .. })]
    ));
    rim.produced(p, 3..4);
    wait(&mut rim, 2_500);
    assert_closed(&rim);
    rim.assert_quiet();
    let rim = Rim::restarted(rim.disk.crashed(Keep::Nothing), AckLevel::Disk);
    assert_eq!(mark(&rim).offset.0, 3);
}

#[test]
fn a_consumer_whose_entry_cannot_be_opened_is_told_to_come_again() {
    let (mut rim, _, c) = without_files();
    rim.disconnect(c.connection);
    rim.disk.set_open_files_max(None);
    let c = rim.attached(key(3, 1), "s", 0);
    rim.disk.set_open_files_max(Some(0));
    rim.say(c, Command::Permits(10));
    let (id, refusal) = rim.refusal(c);
    assert_eq!((id, refusal.status), (0, Status::OverLimit));
    assert!(refusal.message.contains("ulimit -n"), "{}", refusal.message);
    assert!(!refusal.message.contains("seek"), "{}", refusal.message);
    rim.settle();
    rim.disk.set_open_files_max(None);
    let c = rim.attached(key(3, 2), "s", 10);
    assert_eq!(rim.delivered(c), [0, 1, 2]);
}

#[test]
fn files_of_many_partitions_open_and_close_in_turn() {
    let mut rim = Rim::empty(SimDisk::new(), config());
    for id in ids() {
        rim.open(spec(id, 1, AckLevel::Disk)).unwrap();
    }
    // As many as the partitions have files, and a few for segments in the making.
    rim.disk.set_open_files_max(Some(8));
    for round in 0..3 {
        for (stream, id) in (1..).zip(ids()) {
            let correlation = rim.correlation();
            let to = key(1 + round, stream);
            let command = producer(&format!("p{round}"), None);
            rim.act(|shard, clock, fx| shard.handle_on(clock, id, to, correlation, command, fx));
            rim.settle();
            assert!(matches!(
                rim.replies(to)[..],
                [(_, Reply::ProducerOpened { .. })]
            ));
            assert_eq!(rim.produce(to, 0, 1, b"entry"), Handled::Done);
            rim.settle();
            assert_eq!(rim.receipts(to), [round]);
            wait(&mut rim, 1_100);
            assert!(open_files(&rim).is_empty(), "{id}: {:?}", open_files(&rim));
        }
    }
}

/// Files that are idle for less than a second serve those who have none.
#[test]
fn files_close_at_once_when_there_are_too_few() {
    let mut rim = Rim::empty(SimDisk::new(), config());
    for id in ids() {
        rim.open(spec(id, 1, AckLevel::Disk)).unwrap();
    }
    let most = 20;
    rim.disk.set_open_files_max(Some(most));
    let mut refused = 0;
    for (stream, id) in (1..).zip(ids()) {
        for attempt in 0.. {
            let correlation = rim.correlation();
            let to = key(1 + attempt, stream);
            let command = producer("p", None);
            rim.act(|shard, clock, fx| shard.handle_on(clock, id, to, correlation, command, fx));
            rim.settle();
            match &rim.replies(to)[..] {
                [(_, Reply::ProducerOpened { .. })] => break,
                [(_, Reply::Refused(refusal))] if refusal.status == Status::OverLimit => {}
                other => panic!("{other:?}"),
            }
            refused += 1;
            // The partition tries again after a second; the files of the others close before.
            wait(&mut rim, 150);
            assert!(open_files(&rim).is_empty(), "{:?}", open_files(&rim));
            wait(&mut rim, 1_000);
        }
    }
    assert!(
        (1..=4).contains(&refused),
        "{refused} refusals for 40 partitions and {most} files"
    );
}
