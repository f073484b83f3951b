//! Goal: a consumer that reads what is not in memory is served all the same, and nobody else waits
//! for the disk meanwhile.
//! Method: the machine's memory forgets the files, and helpers take their time.

use hulse_model::limits::CONSUMER_PERMITS_MAX;
use hulse_shard::AckLevel;

use crate::rim::{Rim, key};

/// A partition with a hundred entries that are on the disk alone, since it was started again.
fn cold() -> Rim {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    for first in (0..100).step_by(20) {
        rim.produced(p, first..first + 20);
    }
    let rim = rim.killed(AckLevel::Disk);
    rim.disk.cool();
    rim
}

#[test]
fn what_is_cold_is_brought_into_memory_and_delivered() {
    let mut rim = cold();
    let c = rim.attached(key(2, 1), "s", CONSUMER_PERMITS_MAX);
    rim.settle();
    assert!(rim.delivered(c).into_iter().eq(0..100));
    assert!(rim.warmed > 0, "a helper has read it first");
}

#[test]
fn nobody_waits_for_what_another_reads() {
    let mut rim = cold();
    let p = rim.opened_producer(key(1, 1), "q");
    let live = rim.attached(key(3, 1), "live", CONSUMER_PERMITS_MAX);
    assert_eq!(rim.delivered(live).len(), 100);
    rim.disk.cool();
    rim.slow_helpers = Some(Vec::new());
    let late = rim.attached(key(2, 1), "late", CONSUMER_PERMITS_MAX);
    rim.produced(p, 0..10);
    assert!(rim.delivered(live).into_iter().eq(100..110));
    assert_eq!(rim.delivered(late), [], "its helper is not back");
    rim.hurry_helpers();
    assert!(rim.delivered(late).into_iter().eq(0..110));
}

#[test]
fn memory_that_forgets_at_once_holds_up_nobody_for_ever() {
    let mut rim = cold();
    rim.forgets = true;
    let c = rim.attached(key(2, 1), "s", CONSUMER_PERMITS_MAX);
    rim.settle();
    assert!(rim.delivered(c).into_iter().eq(0..100));
}

#[test]
fn a_consumer_that_leaves_meanwhile_leaves_its_place_to_the_next() {
    let mut rim = cold();
    rim.slow_helpers = Some(Vec::new());
    rim.attached(key(2, 1), "s", CONSUMER_PERMITS_MAX);
    rim.disconnect(2);
    let c = rim.attached(key(3, 1), "s", CONSUMER_PERMITS_MAX);
    rim.hurry_helpers();
    assert!(rim.delivered(c).into_iter().eq(0..100));
}
