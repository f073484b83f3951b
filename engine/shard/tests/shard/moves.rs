//! Goal: a partition changes its core and nobody but its streams notices. Method: two cores over one
//! simulated disk; in worlds drawn from seeds the move begins, waits, is given up and is made between
//! everything else, and the machine stops at any moment of it.

use hulse_log::sim::{Fault, Keep};
use hulse_model::{Status, Term};
use hulse_shard::{AckLevel, Command, Departure, Handled, Receipt, Reply, ShardConfig, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, Told, config, key, producer, spec, subscribe, whole};
use crate::world::World;

const ADDRESS: &str = "127.0.0.1:7";

impl World {
    /// The partition's move to the other core goes on by a step, begins, or is given up.
    pub(crate) fn move_on(&mut self) {
        if let Some(other) = &mut self.other
            && !other.pending.is_empty()
        {
            let at = self.rng.index(other.pending.len());
            other.finish(at);
        }
        if self.rng.once_in(12) {
            return self.stay();
        }
        match self.rim.shard.departure(&[PARTITION]) {
            Departure::Impossible(_) => self.rim.act(|shard, clock, fx| {
                shard.prepare_to_leave(clock, &[PARTITION], ADDRESS, fx);
            }),
            Departure::Preparing | Departure::Frozen => {}
            Departure::Ready => self
                .rim
                .act(|shard, clock, fx| shard.freeze(clock, &[PARTITION], fx)),
            Departure::Still => self.hand_over(),
        }
    }

    /// A move that is under way is given up.
    pub(crate) fn stay(&mut self) {
        self.rim
            .act(|shard, clock, fx| shard.stay(clock, &[PARTITION], fx));
    }

    fn hand_over(&mut self) {
        self.hear();
        // The machine may have stopped, or a client may have gone, with that.
        if self.rim.shard.departure(&[PARTITION]) != Departure::Still {
            return;
        }
        let core = usize::from(
            self.rim.shard.stats().partitions == 1 && self.story.moves.is_multiple_of(2),
        );
        let config = ShardConfig {
            core,
            ..self.config.clone()
        };
        let mut next = self.other.take().unwrap_or_else(|| self.rim.beside(config));
        (next.clock, next.correlation) = (self.rim.clock, self.rim.correlation);
        self.term += 1;
        self.story.moves += 1;
        let term = Term(self.term);
        let taken = self
            .rim
            .act(|shard, _, _| shard.take_partitions(&[PARTITION]));
        for taken in taken {
            next.act(|shard, clock, fx| shard.adopt(clock, taken, term, fx));
        }
        self.rim
            .act(|shard, _, fx| shard.tell_moved(&[PARTITION], ADDRESS, fx));
        self.hear();
        self.drop_connections();
        let before = std::mem::replace(&mut self.rim, next);
        self.other = Some(before);
    }
}

/// Two cores of one process.
struct Cores {
    from: Rim,
    to: Rim,
}

impl Cores {
    fn new(ack: AckLevel) -> Self {
        let from = Rim::new(ack);
        let to = from.beside(ShardConfig {
            core: 1,
            ..config()
        });
        Self { from, to }
    }

    /// Has the partition get ready, and says what it tells its streams.
    fn prepared(&mut self) {
        self.from.act(|shard, clock, fx| {
            shard.prepare_to_leave(clock, &[PARTITION], ADDRESS, fx);
        });
        self.from.settle();
        assert_eq!(self.from.shard.departure(&[PARTITION]), Departure::Ready);
    }

    fn frozen(&mut self) {
        self.prepared();
        self.from
            .act(|shard, clock, fx| shard.freeze(clock, &[PARTITION], fx));
    }

    /// Makes the move, in this term.
    fn moved(&mut self, term: u64) {
        self.frozen();
        self.from.settle();
        assert_eq!(self.from.shard.departure(&[PARTITION]), Departure::Still);
        let taken = self
            .from
            .act(|shard, _, _| shard.take_partitions(&[PARTITION]));
        for taken in taken {
            self.to
                .act(|shard, clock, fx| shard.adopt(clock, taken, Term(term), fx));
        }
    }
}

/// The receipts that a stream was given, as (sequence, term, offset, duplicate).
fn receipts(rim: &mut Rim, stream: StreamKey) -> Vec<(u64, u64, u64, bool)> {
    let told = rim.told(stream).into_iter();
    told.filter_map(|told| match told {
        Told::Receipt(Receipt {
            sequence,
            duplicate,
            id: Some((term, offset)),
            ..
        }) => Some((sequence, term.0, offset.0, duplicate)),
        _ => None,
    })
    .collect()
}

#[test]
fn producers_and_consumers_go_on_where_they_were() {
    let mut cores = Cores::new(AckLevel::Disk);
    let made = cores.from.opened_producer(key(1, 1), "p");
    let read = cores.from.attached(key(2, 1), "s", 3);
    cores.from.produced(made, 0..5);
    assert_eq!(cores.from.delivered(read), [0, 1, 2]);
    let ack = Command::AckIndividual {
        messages: &[whole(1)],
        receipt: true,
    };
    cores.from.ask(read, ack);
    cores.from.settle();
    cores.from.told.clear();
    cores.moved(2);
    let moving = Reply::Moving(ADDRESS.to_owned());
    assert_eq!(cores.from.replies(read), [(0, moving.clone())]);
    assert_eq!(cores.from.replies(made), [(0, moving)]);
    assert!(!cores.from.shard.has(PARTITION) && cores.to.shard.has(PARTITION));
    // What is asked meanwhile waits, and has not been stored.
    assert_eq!(cores.from.produce(made, 5, 1, b"held"), Handled::Held);
    cores
        .from
        .act(|shard, _, fx| shard.tell_moved(&[PARTITION], ADDRESS, fx));
    assert_eq!(cores.from.resumed, [1]);
    for stream in [made, read] {
        let (id, refusal) = cores.from.refusal(stream);
        assert_eq!((id, refusal.status), (0, Status::NotPrimary));
        assert_eq!(refusal.moved_to.as_deref(), Some(ADDRESS));
    }
    assert_eq!(cores.from.produce(made, 5, 1, b"late"), Handled::Done);
    assert_eq!(cores.from.status(made).1, Status::ProtocolViolation);
    cores.from.assert_quiet();

    let again = key(7, 1);
    cores.to.ask_on(again, producer("p", Some(1)));
    cores.to.settle();
    let (_, opened) = cores.to.reply(again);
    let Reply::ProducerOpened { last, .. } = opened else {
        panic!("it opens the name again: {opened:?}")
    };
    assert_eq!(
        last.map(|(sequence, term, _)| (sequence, term.0)),
        Some((4, 1))
    );
    for sequence in [4, 5] {
        assert_eq!(
            cores.to.produce(again, sequence, 1, &[7; 100]),
            Handled::Done
        );
    }
    cores.to.settle();
    assert_eq!(
        receipts(&mut cores.to, again),
        [(4, 1, 4, true), (5, 2, 5, false)],
        "a retry has its first id, and what is new carries the new term"
    );
    let reader = key(8, 1);
    cores.to.ask_on(reader, subscribe("s", 10));
    cores.to.settle();
    assert_eq!(cores.to.delivered(reader), [0, 2, 3, 4, 5]);
    cores.to.assert_quiet();
}

#[test]
fn what_has_begun_is_finished_before_the_partition_is_taken() {
    let mut cores = Cores::new(AckLevel::Disk);
    let made = cores.from.opened_producer(key(1, 1), "p");
    cores.prepared();
    assert_eq!(cores.from.produce(made, 0, 1, b"served"), Handled::Done);
    cores
        .from
        .act(|shard, clock, fx| shard.freeze(clock, &[PARTITION], fx));
    assert_eq!(cores.from.produce(made, 1, 1, b"held"), Handled::Held);
    assert_eq!(cores.from.shard.departure(&[PARTITION]), Departure::Frozen);
    assert!(cores.from.receipts(made).is_empty());
    cores.from.settle();
    assert_eq!(
        cores.from.receipts(made),
        [0],
        "it is answered by the old core"
    );
    assert_eq!(cores.from.shard.departure(&[PARTITION]), Departure::Still);
}

#[test]
fn a_move_that_is_given_up_leaves_everything_as_it_was() {
    let mut cores = Cores::new(AckLevel::Disk);
    let made = cores.from.opened_producer(key(1, 1), "p");
    cores.frozen();
    assert_eq!(cores.from.produce(made, 0, 1, b"held"), Handled::Held);
    cores
        .from
        .act(|shard, clock, fx| shard.stay(clock, &[PARTITION], fx));
    assert_eq!(cores.from.resumed, [1]);
    cores.from.told.clear();
    cores.from.produced(made, 0..3);
    assert_eq!(
        receipts(&mut cores.from, made),
        [(0, 1, 0, false), (1, 1, 1, false), (2, 1, 2, false)]
    );
    cores.from.assert_quiet();
}

#[test]
fn a_refused_move_goes_on_at_the_old_core_in_a_further_term() {
    let mut cores = Cores::new(AckLevel::Disk);
    let made = cores.from.opened_producer(key(1, 1), "p");
    cores.frozen();
    cores.from.settle();
    let taken = cores
        .from
        .act(|shard, _, _| shard.take_partitions(&[PARTITION]));
    for taken in taken {
        cores
            .from
            .act(|shard, clock, fx| shard.adopt(clock, taken, Term(3), fx));
    }
    cores
        .from
        .act(|shard, _, fx| shard.tell_moved(&[PARTITION], ADDRESS, fx));
    cores.from.told.clear();
    let again = key(1, 2);
    cores.from.ask_on(again, producer("p", Some(1)));
    cores.from.settle();
    cores.from.produced(again, 0..1);
    assert_eq!(receipts(&mut cores.from, again), [(0, 3, 0, false)]);
    assert_eq!(cores.from.produce(made, 0, 1, b"late"), Handled::Done);
    assert_eq!(cores.from.status(made).1, Status::ProtocolViolation);
    cores.from.assert_quiet();
}

#[test]
fn rounds_of_the_old_home_are_void_and_those_of_the_new_one_are_replayed() {
    const OTHER: hulse_model::PartitionId = hulse_model::PartitionId(9);
    let mut cores = Cores::new(AckLevel::Disk);
    cores
        .from
        .open(spec(OTHER, 1, AckLevel::Disk))
        .expect("it is made");
    let made = cores.from.opened_producer(key(1, 1), "p");
    let beside = key(3, 1);
    cores.from.act(|shard, clock, fx| {
        shard.handle_on(clock, OTHER, beside, 77, producer("q", None), fx);
    });
    cores.from.settle();
    cores.from.told.clear();
    // Two logs at once make rounds of the journal.
    for sequence in 0..20 {
        assert_eq!(
            cores.from.produce(made, sequence, 1, &[1; 60]),
            Handled::Done
        );
        assert_eq!(
            cores.from.produce(beside, sequence, 1, &[2; 60]),
            Handled::Done
        );
        cores.from.settle();
    }
    assert!(cores.from.shard.stats().journal_rounds >= 10);
    cores.moved(2);
    let again = key(7, 1);
    cores.to.ask_on(again, producer("p", Some(1)));
    cores.to.settle();
    cores.to.produced(again, 20..25);
    cores.from.settle();
    // What was not synced is gone.
    let disk = cores.to.disk.crashed(Keep::Nothing);
    let replayed = disk.fork();
    let report = hulse_log::replay(&replayed).unwrap();
    assert!(report.rounds > 0, "the old core's rounds were not retired");
    let (rim, recovered) = Rim::recovered(disk, AckLevel::Disk);
    let logs = recovered.unwrap().logs.unwrap();
    assert!(logs.entries.damaged.is_empty(), "{logs:?}");
    let found = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(found.log_end.0, 25);
    assert!(found.term.0 > 2);
}

#[test]
fn a_home_that_could_not_be_noted_keeps_the_partition_out_of_the_journal() {
    let mut cores = Cores::new(AckLevel::Disk);
    let made = cores.from.opened_producer(key(1, 1), "p");
    cores.from.act(|shard, clock, fx| {
        shard.prepare_to_leave(clock, &[PARTITION], ADDRESS, fx);
    });
    let noting = |p: &Pending| matches!(p, Pending::ChangeHome(..));
    let at = cores.from.pending.iter().position(noting).unwrap();
    cores.from.disk.inject(Fault::Sync);
    cores.from.finish(at);
    let departure = cores.from.shard.departure(&[PARTITION]);
    assert!(
        matches!(departure, Departure::Impossible(_)),
        "{departure:?}"
    );
    cores
        .from
        .act(|shard, clock, fx| shard.stay(clock, &[PARTITION], fx));
    cores.from.told.clear();
    cores.from.produced(made, 0..3);
    assert_eq!(
        cores.from.receipts(made),
        [0, 1, 2],
        "it is served all the same"
    );
    assert_eq!(cores.from.shard.stats().journal_rounds, 0);
}
