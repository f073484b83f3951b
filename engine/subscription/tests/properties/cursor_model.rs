//! The cursor against a plain set of messages.

use std::collections::BTreeSet;

use hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX;
use hulse_model::{Offset, Position};
use hulse_subscription::{Cursor, IndexRange, SiblingRecord};
use proptest::prelude::*;

/// How many messages each entry of the small log has.
const MESSAGES: [u32; 14] = [1, 1, 3, 4, 1, 2, 1, 1, 5, 1, 8, 1, 1, 2];

#[derive(Debug, Clone)]
enum Step {
    Cumulative {
        offset: usize,
        last: u32,
        counted: bool,
    },
    Range {
        offset: usize,
        first: u32,
        last: u32,
        counted: bool,
    },
    Entries {
        first: u64,
        end: u64,
    },
    Seek {
        offset: usize,
        index: u32,
    },
    Take,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let offset = 0..MESSAGES.len();
    prop_oneof![
        2 => (offset.clone(), 0..9_u32, any::<bool>())
            .prop_map(|(offset, last, counted)| Step::Cumulative { offset, last, counted }),
        20 => (offset.clone(), 0..9_u32, 0..9_u32, any::<bool>())
            .prop_map(|(offset, first, last, counted)| Step::Range { offset, first, last, counted }),
        4 => (0..15_u64, 0..15_u64).prop_map(|(first, end)| Step::Entries { first, end }),
        1 => (offset, 0..8_u32).prop_map(|(offset, index)| Step::Seek { offset, index }),
        4 => Just(Step::Take),
        1 => Just(Step::Reload),
    ]
}

type Acknowledged = BTreeSet<(usize, u32)>;

fn all_messages() -> impl Iterator<Item = (usize, u32)> {
    MESSAGES
        .iter()
        .enumerate()
        .flat_map(|(offset, count)| (0..*count).map(move |i| (offset, i)))
}

fn at(offset: usize) -> Offset {
    Offset(offset as u64)
}

/// What the caller says of an entry: its count, or, when it does not know it, a last index that
/// stands for the end.
fn told(offset: usize, last: u32, counted: bool) -> (u32, u32) {
    let messages = MESSAGES[offset];
    match (counted, last + 1 >= messages) {
        (true, _) => (last, messages),
        (false, true) => (u32::MAX, u32::MAX),
        (false, false) => (last, u32::MAX),
    }
}

fn acknowledge(cursor: &mut Cursor, model: &mut Acknowledged, step: &Step) {
    let before = model.len();
    let changed = match *step {
        Step::Cumulative {
            offset,
            last,
            counted,
        } => {
            model.extend(all_messages().filter(|message| *message <= (offset, last)));
            let (last, messages) = told(offset, last, counted);
            cursor.acknowledge_cumulative(at(offset), last, messages)
        }
        Step::Range {
            offset,
            first,
            last,
            counted,
        } => {
            // Without a count nothing tells that a range begins behind the entry's end.
            let counted = counted || first >= MESSAGES[offset];
            model.extend(
                (first..=last)
                    .filter(|i| *i < MESSAGES[offset])
                    .map(|i| (offset, i)),
            );
            let (last, messages) = if first <= last {
                told(offset, last, counted)
            } else {
                (last, MESSAGES[offset])
            };
            cursor.acknowledge_range(at(offset), first, last, messages)
        }
        Step::Entries { first, end } => {
            let end = end.min(MESSAGES.len() as u64);
            let inside = |offset: usize| (first..end).contains(&(offset as u64));
            model.extend(all_messages().filter(|(offset, _)| inside(*offset)));
            cursor.acknowledge_entries(Offset(first), Offset(end))
        }
        _ => return,
    };
    assert_eq!(
        changed,
        model.len() > before,
        "{step:?} says whether it changed anything"
    );
}

/// The record as a secondary or a recovery gets it.
fn through_bytes(record: &SiblingRecord) -> SiblingRecord {
    let read = SiblingRecord::decode(&record.to_bytes()).unwrap();
    assert_eq!(&read, record);
    read
}

fn replay_changes(cursor: &mut Cursor, replica: &mut Cursor) {
    assert_eq!(
        cursor.has_changes(),
        cursor != replica,
        "a change is always noted, and only then"
    );
    while let Some(acknowledgements) = cursor.take_changes() {
        for entry in acknowledgements.partial() {
            let all = |index| cursor.is_acknowledged(entry.offset(), index);
            let messages = MESSAGES[usize::try_from(entry.offset().0).unwrap()];
            assert!(
                !(0..messages).all(all),
                "a whole entry is not told of by parts"
            );
        }
        let record = through_bytes(&SiblingRecord::Acknowledged {
            id: 1,
            acknowledgements,
        });
        let SiblingRecord::Acknowledged {
            acknowledgements, ..
        } = record
        else {
            unreachable!()
        };
        replica.apply(&acknowledgements);
        replica.check_invariants();
    }
    assert_eq!(cursor, replica);
}

fn check_against(cursor: &Cursor, model: &Acknowledged) {
    cursor.check_invariants();
    let end = at(MESSAGES.len());
    let first = all_messages().find(|message| !model.contains(message));
    let mark = first.map_or(Position::at(end), |(offset, index)| Position {
        offset: at(offset),
        index,
    });
    assert_eq!(
        cursor.mark(),
        mark,
        "the mark is the first message that is not acknowledged"
    );
    let whole = |offset: usize| (0..MESSAGES[offset]).all(|i| model.contains(&(offset, i)));
    let open = (0..MESSAGES.len()).filter(|offset| !whole(*offset)).count();
    assert_eq!(cursor.backlog(end), open as u64);
    for (offset, messages) in MESSAGES.into_iter().enumerate() {
        for index in 0..messages {
            let known = cursor.is_acknowledged(at(offset), index);
            assert_eq!(
                known,
                model.contains(&(offset, index)),
                "message {index} of {offset}"
            );
        }
        let ranges = cursor.acknowledged_in(at(offset), messages);
        let listed: BTreeSet<_> = ranges.iter().flat_map(|r| r.first..=r.last).collect();
        let expected = model
            .iter()
            .filter(|(entry, _)| *entry == offset)
            .map(|(_, i)| *i);
        assert_eq!(listed, expected.collect());
        assert!(
            ranges
                .windows(2)
                .all(|pair| pair[0].last + 1 < pair[1].first),
            "{ranges:?}"
        );
        let next = (offset..MESSAGES.len()).find(|offset| !whole(*offset));
        assert_eq!(
            cursor.next_unacknowledged(at(offset)),
            at(next.unwrap_or(MESSAGES.len()))
        );
    }
    assert_eq!(cursor.ranges(), ranges_of(model, mark));
}

/// How many ranges a cursor needs for what is acknowledged above the mark.
fn ranges_of(model: &Acknowledged, mark: Position) -> usize {
    let whole = |offset: usize| (0..MESSAGES[offset]).all(|i| model.contains(&(offset, i)));
    let above = (0..MESSAGES.len()).filter(|offset| at(*offset) >= mark.offset);
    let mut ranges = 0;
    let mut in_run = false;
    for offset in above {
        let index = if at(offset) == mark.offset {
            mark.index
        } else {
            0
        };
        let partly = (index..MESSAGES[offset]).any(|i| model.contains(&(offset, i)));
        if whole(offset) {
            ranges += usize::from(!in_run);
        } else if partly {
            ranges += 1;
        }
        in_run = whole(offset);
    }
    ranges
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Goal: no acknowledgement is lost, invented or held twice, in memory, in a snapshot or in
    /// the records. Method: random steps on a cursor, a plain set, and a second cursor that sees
    /// the records alone.
    #[test]
    fn a_cursor_holds_what_a_plain_set_holds(steps in prop::collection::vec(step(), 0..60)) {
        let mut cursor = Cursor::default();
        let mut replica = Cursor::default();
        let mut model = Acknowledged::new();
        for step in steps {
            let mark = cursor.mark();
            match step {
                Step::Seek { offset, index } => {
                    let index = index % MESSAGES[offset];
                    let position = Position { offset: at(offset), index };
                    model = all_messages().filter(|message| *message < (offset, index)).collect();
                    cursor.set(position);
                    replica.set(position);
                }
                Step::Take => replay_changes(&mut cursor, &mut replica),
                Step::Reload => {
                    replay_changes(&mut cursor, &mut replica);
                    cursor = Cursor::from(&cursor.acknowledgements());
                    prop_assert_eq!(&cursor, &replica);
                }
                ref step => {
                    acknowledge(&mut cursor, &mut model, step);
                    prop_assert!(cursor.mark() >= mark, "the mark only rises");
                }
            }
            check_against(&cursor, &model);
        }
        replay_changes(&mut cursor, &mut replica);
    }
}

#[test]
fn changes_come_in_records_that_fit_into_an_entry() {
    let holes = 200_000_u64;
    let mut cursor = Cursor::default();
    for entry in 1..=holes {
        assert!(cursor.acknowledge_range(Offset(2 * entry), 0, u32::MAX, 1));
    }
    // Every other message of the largest batches.
    for offset in [2 * holes + 3, 2 * holes + 5] {
        for index in (0..65_536).step_by(2) {
            assert!(cursor.acknowledge_range(Offset(offset), index, index, 65_536));
        }
    }
    let mut replica = Cursor::default();
    let mut records = 0;
    while let Some(acknowledgements) = cursor.take_changes() {
        replica.apply(&acknowledgements);
        let record = SiblingRecord::Acknowledged {
            id: u64::MAX,
            acknowledgements,
        };
        assert!(record.to_bytes().len() <= ENTRY_PAYLOAD_BYTES_MAX);
        records += 1;
    }
    assert_eq!(replica, cursor);
    assert_eq!(replica.ranges() as u64, holes + 2);
    assert_eq!(records, 4);
    assert_eq!(cursor.take_changes(), None);
    assert!(cursor.acknowledge_cumulative(Offset(2 * holes + 10), u32::MAX, 1));
    assert_eq!(cursor.ranges(), 0, "the mark lets go of what lies below it");
}

#[test]
fn the_last_message_of_a_batch_is_its_end() {
    let mut cursor = Cursor::default();
    assert!(cursor.acknowledge_cumulative(Offset(0), 1, 3));
    assert_eq!(
        cursor.mark(),
        Position {
            offset: Offset(0),
            index: 2
        }
    );
    assert!(cursor.acknowledge_cumulative(Offset(0), 2, 3));
    assert_eq!(cursor.mark(), Position::at(Offset(1)));
    assert!(cursor.acknowledge_range(Offset(2), 0, 2, 3));
    assert!(cursor.acknowledge_range(Offset(1), 0, u32::MAX, 3));
    assert_eq!(cursor.mark(), Position::at(Offset(3)));
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut cursor = Cursor::new(Position {
        offset: Offset(5),
        index: 2,
    });
    let as_before = cursor.clone();
    assert!(
        !cursor.acknowledge_range(Offset(7), 3, u32::MAX, 3),
        "behind the last message"
    );
    assert!(
        !cursor.acknowledge_range(Offset(7), 2, 1, 3),
        "the wrong way round"
    );
    assert!(
        !cursor.acknowledge_range(Offset(7), 65_536, u32::MAX, u32::MAX),
        "no such message"
    );
    assert!(
        !cursor.acknowledge_range(Offset(4), 0, u32::MAX, 3),
        "below the mark"
    );
    assert!(
        !cursor.acknowledge_range(Offset(5), 0, 1, 9),
        "below the mark's index"
    );
    assert!(
        !cursor.acknowledge_cumulative(Offset(5), 1, 9),
        "at the mark already"
    );
    assert!(
        !cursor.acknowledge_range(Offset(u64::MAX), 0, u32::MAX, 1),
        "no entry's offset"
    );
    assert!(
        !cursor.acknowledge_cumulative(Offset(u64::MAX), 0, 1),
        "no entry's offset"
    );
    assert!(
        !cursor.acknowledge_entries(Offset(9), Offset(8)),
        "the wrong way round"
    );
    assert_eq!(cursor, as_before);
    assert_eq!(cursor.take_changes(), None);
    assert_eq!(
        cursor.acknowledged_in(Offset(5), 9),
        [IndexRange { first: 0, last: 1 }]
    );
    assert_eq!(cursor.acknowledged_in(Offset(6), 9), []);
}
