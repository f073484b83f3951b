//! Goal: terms and times lead to the right entries.

use hulse_log::AppendError;
use hulse_log::sim::{Keep, SimDisk};
use hulse_model::limits::SEGMENT_TERMS_MAX;
use hulse_model::{Offset, Term};

use crate::bed::{append, create, draft, open, payload, read_all};

#[test]
fn a_segment_rolls_when_its_term_table_is_full() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    let terms = SEGMENT_TERMS_MAX as u64 + 3;
    for term in 1..=terms {
        append(log, Term(term), &draft(b"x", term)).unwrap();
        append(log, Term(term), &draft(b"y", term)).unwrap();
    }
    assert_eq!(log.segments(), 2);
    let expected: Vec<_> = (1..=terms)
        .map(|term| (Term(term), Offset(2 * (term - 1))))
        .collect();
    assert_eq!(log.terms(), expected);
    log.sync().unwrap();
    log.sync().unwrap();
    let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(store.entries.terms(), expected, "{report:?}");
    assert_eq!(store.entries.last_term(), Term(terms));
    let old = store.entries.append(Term(terms - 1), &draft(b"z", 1));
    assert_eq!(
        old,
        Err(AppendError::TermWentBack {
            term: Term(terms - 1),
            last: Term(terms)
        })
    );
    assert_eq!(read_all(&mut store.entries).entries.len() as u64, 2 * terms);
}

#[test]
fn an_entry_that_cannot_be_is_refused() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    let huge = vec![0; hulse_model::limits::ENTRY_PAYLOAD_BYTES_MAX + 1];
    assert!(matches!(
        log.append(Term(1), &draft(&huge, 1)),
        Err(AppendError::Draft { .. })
    ));
    let mut none = draft(b"x", 1);
    none.messages = 0;
    assert!(matches!(
        log.append(Term(1), &none),
        Err(AppendError::Draft { .. })
    ));
    assert_eq!(log.end(), Offset(0));
    let largest = &huge[1..];
    append(log, Term(1), &draft(largest, 1)).unwrap();
    log.sync().unwrap();
    assert!(read_all(log).entries[0].2 == largest);
}

#[test]
fn the_first_entry_at_a_time_is_found_even_when_clocks_jump() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    // Rises, falls back twice, and spans several segments.
    let times: Vec<u64> = (0..600_u64)
        .map(|n| 1_000 + n * 10 - if n % 200 > 150 { 700 } else { 0 })
        .collect();
    for (offset, ms) in times.iter().enumerate() {
        append(log, Term(1), &draft(&payload(offset as u64, 120), *ms)).unwrap();
    }
    log.sync().unwrap();
    assert!(log.segments() > 2);
    for _ in 0..2 {
        for ms in (900..7_500).step_by(7) {
            let expected = times
                .iter()
                .position(|time| *time >= ms)
                .unwrap_or(times.len());
            let found = store.entries.find_time(ms).unwrap();
            assert_eq!(found, Offset(expected as u64), "{ms}");
        }
        store = open(&disk).unwrap().0;
    }
}
