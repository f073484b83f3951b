use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Reads entries as a dispatcher does that has one consumer, which takes everything and acknowledges
/// nothing.
struct Reader {
    delays: Delays,
    cursor: Cursor,
    due_ms: Vec<u64>,
    read: u64,
    /// When each was given out.
    given: Vec<Option<u64>>,
    reads: usize,
}

impl Reader {
    fn new(due_ms: Vec<u64>, entries_max: usize, blocks_max: usize) -> Self {
        Self {
            delays: Delays::new(entries_max, blocks_max),
            cursor: Cursor::default(),
            given: vec![None; due_ms.len()],
            due_ms,
            read: 0,
            reads: 0,
        }
    }

    fn at(offset: Offset) -> usize {
        usize::try_from(offset.0).unwrap()
    }

    /// Reads until nothing is named.
    fn run(&mut self, now_ms: u64) {
        self.delays.advance(now_ms);
        loop {
            let (read, given) = (Offset(self.read), self.given.clone());
            let elsewhere = |offset| given[Self::at(offset)].is_some();
            self.delays.settle(&self.cursor, read, elsewhere);
            let new = Some(self.cursor.next_unacknowledged(read));
            let new = new.filter(|new| Self::at(*new) < self.due_ms.len());
            let due = self.delays.due(&self.cursor);
            let next = due.or_else(|| self.delays.candidate(&self.cursor, new, read, elsewhere));
            let Some(offset) = next else {
                return;
            };
            self.reads += 1;
            self.delays.passed(offset);
            self.read = self.read.max(offset.0 + 1);
            let due_ms = self.due_ms[Self::at(offset)];
            if self.delays.is_due(due_ms) {
                let given = self.given[Self::at(offset)].replace(now_ms);
                assert_eq!(given, None, "entry {offset} twice");
            } else {
                self.delays.put(offset, due_ms);
            }
            self.delays.check_invariants(Offset(self.read));
        }
    }

    fn acknowledge(&mut self, offset: u64) {
        self.cursor.acknowledge_range(Offset(offset), 0, 0, 1);
        self.delays.forget(Offset(offset));
    }
}

proptest! {
    /// Against the times themselves: each entry is given out when it is due, unless it was acknowledged
    /// before, and not twice.
    #[test]
    fn what_is_due_is_found(
        due_ms in prop::collection::vec(0..40_u64, 1..200),
        acknowledged in prop::collection::vec((0..200_u64, 0..40_u64), 0..20),
        entries_max in 0..6_usize,
        blocks_max in 1..6_usize,
        step_ms in 1..5_u64,
    ) {
        let mut reader = Reader::new(due_ms.clone(), entries_max, blocks_max);
        let mut now_ms = 0;
        while now_ms < 45 {
            reader.run(now_ms);
            for (offset, _) in acknowledged.iter().filter(|(_, at)| *at == now_ms) {
                reader.acknowledge(*offset);
            }
            for (at, due_ms) in due_ms.iter().enumerate() {
                let done = reader.cursor.next_unacknowledged(Offset(at as u64)).0 != at as u64;
                match reader.given[at] {
                    Some(given) => prop_assert!(given >= *due_ms && given < due_ms + step_ms),
                    None => prop_assert!(done || *due_ms > now_ms, "entry {} waits too long", at),
                }
            }
            now_ms += step_ms;
        }
    }
}

/// Times in no order, and eighty times as many as are remembered one by one: each block is read again
/// about once for as many messages as are remembered.
#[test]
fn scattered_times_are_read_by_the_square() {
    let (entries, remembered) = (4_000, 50);
    let due_ms = (0..entries).map(|at| 100 + at * 1_583 % entries).collect();
    let mut reader = Reader::new(due_ms, remembered, 64);
    for now_ms in 0..=100 + entries {
        reader.run(now_ms);
    }
    assert!(reader.given.iter().all(Option::is_some));
    let square = 4_000 * 4_000 / remembered;
    let reads = reader.reads;
    assert!(
        reads <= square * 3 / 2,
        "{reads} reads, where {square} are expected"
    );
}

/// What all producers delay by the same time is read when it comes, when its block is due, and when it
/// is given out: to have more delayed messages does not make each of them dearer.
#[test]
fn equal_delays_are_read_three_times() {
    let entries = 4_000;
    let mut reader = Reader::new((0..entries).map(|at| 100 + at).collect(), 50, 64);
    for now_ms in 0..=100 + entries {
        reader.run(now_ms);
    }
    assert!(reader.given.iter().all(Option::is_some));
    let reads = reader.reads;
    assert!(reads <= 13_000, "{reads} reads");
}
