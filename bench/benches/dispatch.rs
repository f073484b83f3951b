//! Dispatching and acknowledging, without I/O: in order, and with a million holes between what is
//! acknowledged.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::Throughput;
use hulse_bench::{Limit, Suite, Work, resident_bytes, timed};
use hulse_model::{Offset, Position};
use hulse_subscription::{
    Claim, ConsumerId, Cursor, DispatchLimits, Dispatcher, KeySlot, Next, SiblingRecord,
    SubscriptionKind,
};

const CONSUMER: ConsumerId = ConsumerId(1);

/// Entries that are delivered and acknowledged between two records of the acknowledgements: one
/// busy round of a core.
const ROUND: u32 = 64;

fn main() {
    let mut suite = Suite::from_args(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let holes = suite.scale().pick(1_000_000, 100);
    memory(&mut suite, holes);
    rounds(&mut suite, holes);
    make_holes(&mut suite, holes);
    walk_holes(&mut suite, holes);
    crowds(&mut suite);
    suite.finish();
}

/// A cursor with `holes` entries that are not acknowledged, each followed by one that is: as when
/// one consumer of two has stopped. Its changes are recorded already.
fn holed(holes: u64) -> Cursor {
    let mut cursor = Cursor::new(Position::at(Offset(0)));
    for hole in 0..holes {
        acknowledge(&mut cursor, 2 * hole + 1);
    }
    while cursor.take_changes().is_some() {}
    cursor
}

fn acknowledge(cursor: &mut Cursor, offset: u64) {
    assert!(cursor.acknowledge_range(Offset(offset), 0, u32::MAX, 1));
}

fn dispatcher() -> Dispatcher {
    dispatcher_for(SubscriptionKind::Exclusive, 1)
}

/// A dispatcher with so many consumers, numbered from 1.
fn dispatcher_for(kind: SubscriptionKind, consumers: u64) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(kind, 0, DispatchLimits::default());
    for consumer in 1..=consumers {
        let name = format!("consumer-{consumer}");
        let claim = Claim {
            name: &name,
            ..Claim::default()
        };
        let attached = dispatcher.attach(ConsumerId(consumer), claim, &Cursor::default());
        attached.expect("the kind takes so many consumers");
    }
    dispatcher
}

/// Delivers a round of entries to whoever gets them, each of which acknowledges at once and asks for
/// one more.
fn crowds(suite: &mut Suite) {
    for kind in [SubscriptionKind::Shared, SubscriptionKind::KeyShared] {
        for consumers in [4, 1_000] {
            let work = Work {
                group: "deliver to many, acknowledge",
                name: format!("{kind:?}, {consumers} consumers"),
                throughput: Throughput::Elements(u64::from(ROUND)),
                samples: 50,
            };
            let mut crowd = Crowd::new(kind, consumers);
            let mut alone = Crowd::new(kind, 1);
            suite.compare(
                &work,
                |pieces| timed(pieces, || crowd.round()),
                Limit {
                    name: "the same with one consumer",
                    run: |pieces| timed(pieces, || alone.round()),
                },
            );
            crowd.dispatcher.check_invariants();
        }
    }
}

/// A subscription with consumers that acknowledge whatever they are given.
struct Crowd {
    dispatcher: Dispatcher,
    cursor: Cursor,
    next: u64,
}

impl Crowd {
    fn new(kind: SubscriptionKind, consumers: u64) -> Self {
        let mut dispatcher = dispatcher_for(kind, consumers);
        for consumer in 1..=consumers {
            let given = dispatcher.permits(ConsumerId(consumer), ROUND);
            given.expect("it is attached");
        }
        Self {
            dispatcher,
            cursor: Cursor::default(),
            next: 0,
        }
    }

    fn round(&mut self) {
        let end = Offset(self.next + u64::from(ROUND));
        while let Some(Next { offset, .. }) = self.dispatcher.next(&self.cursor, end) {
            // As many keys as there are slots, one after the other.
            #[expect(clippy::cast_possible_truncation, reason = "the low bits are a slot")]
            let slot = KeySlot((offset.0 * 40_503) as u16);
            let delivery = self.dispatcher.delivered(&self.cursor, offset, 1, slot);
            let consumer = delivery.expect("everybody can take it").consumer;
            acknowledge(&mut self.cursor, offset.0);
            self.dispatcher.acknowledged(&self.cursor, offset);
            let given = self.dispatcher.permits(consumer, 1);
            given.expect("it is attached");
        }
        self.next = end.0;
        black_box(self.cursor.take_changes());
    }
}

/// What a hole costs in memory and in a snapshot.
fn memory(suite: &mut Suite, holes: u64) {
    let before = resident_bytes();
    let cursor = holed(holes);
    let after = resident_bytes();
    assert_eq!(cursor.ranges() as u64, holes);
    if let (Some(before), Some(after)) = (before, after) {
        let bytes = after.saturating_sub(before) / holes;
        suite.note(format!("{holes} holes: {bytes} bytes of memory each"));
    }
}

/// Delivers a round of entries, acknowledges each, and encodes the record of it. With holes, the
/// first entry is never acknowledged, so that all of them stay.
fn rounds(suite: &mut Suite, holes: u64) {
    let work = Work {
        group: "deliver, acknowledge, record",
        name: format!("{ROUND} entries above {holes} holes"),
        throughput: Throughput::Elements(u64::from(ROUND)),
        samples: 50,
    };
    let mut above_holes = Reader::new(holed(holes), 2 * holes);
    let mut in_order = Reader::new(Cursor::new(Position::at(Offset(0))), 0);
    suite.compare(
        &work,
        |pieces| timed(pieces, || above_holes.round()),
        Limit {
            name: "the same without holes",
            run: |pieces| timed(pieces, || in_order.round()),
        },
    );
    above_holes.cursor.check_invariants();
    assert_eq!(above_holes.cursor.ranges() as u64, holes);
    assert_eq!(in_order.cursor.ranges(), 0);
    assert_eq!(in_order.cursor.mark(), Position::at(Offset(in_order.next)));
}

/// A subscription whose consumer acknowledges everything that it is given.
struct Reader {
    dispatcher: Dispatcher,
    cursor: Cursor,
    /// The entry that is delivered next.
    next: u64,
    record: Vec<u8>,
}

impl Reader {
    fn new(cursor: Cursor, next: u64) -> Self {
        let mut dispatcher = dispatcher();
        dispatcher.skip(Offset(next));
        Self {
            dispatcher,
            cursor,
            next,
            record: Vec::new(),
        }
    }

    fn round(&mut self) {
        let end = Offset(self.next + u64::from(ROUND));
        self.dispatcher
            .permits(CONSUMER, ROUND)
            .expect("the permits are used up in every round");
        while let Some(Next { offset, .. }) = self.dispatcher.next(&self.cursor, end) {
            assert_eq!(offset.0, self.next);
            let slot = KeySlot::default();
            let delivery = self.dispatcher.delivered(&self.cursor, offset, 1, slot);
            assert!(black_box(delivery).is_some());
            acknowledge(&mut self.cursor, offset.0);
            self.next += 1;
        }
        assert_eq!(self.next, end.0);
        let taken = self
            .cursor
            .take_changes()
            .expect("something was acknowledged");
        self.record.clear();
        SiblingRecord::Acknowledged {
            id: 1,
            acknowledgements: taken,
        }
        .encode(&mut self.record);
        black_box(&self.record);
    }
}

/// Acknowledges every second entry of a new cursor.
fn make_holes(suite: &mut Suite, holes: u64) {
    let work = Work {
        group: "acknowledge every second entry",
        name: format!("{holes} times"),
        throughput: Throughput::Elements(holes),
        samples: 10,
    };
    suite.compare(
        &work,
        |pieces| {
            timed(pieces, || {
                black_box(holed(holes));
            })
        },
        Limit {
            name: "as many insertions into a BTreeMap of two integers",
            run: |pieces| {
                timed(pieces, || {
                    let mut map = BTreeMap::new();
                    for hole in 0..holes {
                        map.insert(black_box(2 * hole + 1), 2 * hole + 2);
                    }
                    black_box(map);
                })
            },
        },
    );
}

/// A new consumer is delivered everything that is not acknowledged, from the mark up.
fn walk_holes(suite: &mut Suite, holes: u64) {
    let work = Work {
        group: "deliver from the mark",
        name: format!("through {holes} holes"),
        throughput: Throughput::Elements(holes),
        samples: 10,
    };
    let cursor = holed(holes);
    let fresh = Cursor::new(Position::at(Offset(0)));
    suite.compare(
        &work,
        |pieces| {
            timed(pieces, || {
                assert_eq!(deliver_all(&cursor, 2 * holes), holes)
            })
        },
        Limit {
            name: "as many entries without holes",
            run: |pieces| timed(pieces, || assert_eq!(deliver_all(&fresh, holes), holes)),
        },
    );
}

/// Delivers what is not acknowledged below `end` and returns how many entries that was.
fn deliver_all(cursor: &Cursor, end: u64) -> u64 {
    let mut dispatcher = dispatcher();
    let mut delivered = 0;
    loop {
        dispatcher
            .permits(CONSUMER, ROUND)
            .expect("the permits are used up in every round");
        let before = delivered;
        while let Some(Next { offset, .. }) = dispatcher.next(cursor, Offset(end)) {
            let delivery = dispatcher.delivered(cursor, offset, 1, KeySlot::default());
            delivered += u64::from(black_box(delivery).is_some());
        }
        if delivered == before || delivered % u64::from(ROUND) != 0 {
            return delivered;
        }
    }
}
