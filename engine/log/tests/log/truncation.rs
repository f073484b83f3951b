//! Goal: a truncated log ends where it was told, keeps nothing of what was cut, and goes on.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{Disk, TruncateError};
use hulse_model::{Offset, Term};

use crate::bed::{append, append_synced, create, dir, draft, open, payload, read_all};

fn append_tagged(log: &mut hulse_log::Log<SimDisk>, term: u64, entries: u64, bytes: usize) {
    for _ in 0..entries {
        let tag = log.end().0 + (term << 40);
        append(log, Term(term), &draft(&payload(tag, bytes), tag)).unwrap();
    }
}

#[test]
fn every_place_can_be_cut() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_tagged(&mut store.entries, 1, 60, 500);
    store.entries.sync().unwrap();
    append_tagged(&mut store.entries, 2, 60, 500);
    store.entries.sync().unwrap();
    // Three that are written and not synced, and two that are staged.
    append_tagged(&mut store.entries, 2, 3, 500);
    store.entries.write().unwrap();
    append_tagged(&mut store.entries, 2, 2, 500);
    assert!(store.entries.segments() >= 2);
    let image = disk.contents();
    drop(store);
    for cut in 0..=123_u64 {
        let disk = SimDisk::new();
        disk.create_dir(&dir()).unwrap();
        for (name, bytes) in &image {
            disk.set_content(name, bytes);
        }
        let (mut store, _) = open(&disk).unwrap();
        let log = &mut store.entries;
        let term = Term(if cut <= 60 { 1 } else { 2 });
        log.truncate_to(term, Offset(cut)).unwrap();
        assert_eq!((log.end(), log.flushed()), (Offset(cut), Offset(cut)));
        assert_eq!(read_all(log).entries.len() as u64, cut);
        let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
        assert_eq!(store.entries.end(), Offset(cut));
        assert!(report.is_clean() || report.entries.damaged.is_empty());
        assert_eq!(report.entries.torn_tail, None);
        // The same places are filled with other entries, of another size.
        append_tagged(&mut store.entries, 3, 20, 333);
        store.entries.sync().unwrap();
        let held = read_all(&mut store.entries);
        assert_eq!(held.entries.len() as u64, cut + 20);
        for (offset, term, found) in held.entries {
            let bytes = if term == 3 { 333 } else { 500 };
            assert!(
                found == payload(offset + (term << 40), bytes),
                "entry {offset} of {term}"
            );
        }
    }
}

/// Bytes of a truncated record never come back, though the same segment and the same places are
/// used again and their records were valid.
#[test]
fn cut_records_never_validate_again() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_tagged(&mut store.entries, 1, 20, 100);
    store.entries.sync().unwrap();
    store.entries.truncate_to(Term(1), Offset(5)).unwrap();
    // One entry of the same size: were the others still there, they would follow it.
    append_tagged(&mut store.entries, 1, 1, 100);
    store.entries.sync().unwrap();
    for keep in [Keep::Nothing, Keep::All] {
        let (store, _) = open(&disk.crashed(keep)).unwrap();
        assert_eq!(store.entries.end(), Offset(6));
    }
    // Not even when somebody puts a whole segment of an earlier generation in their place.
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_tagged(&mut store.entries, 1, 150, 100);
    store.entries.sync().unwrap();
    let old = disk.contents();
    store.entries.truncate_to(Term(1), Offset(10)).unwrap();
    append_tagged(&mut store.entries, 2, 140, 100);
    store.entries.sync().unwrap();
    let new = disk.contents();
    let segment = new.keys().rfind(|name| {
        old.contains_key(*name) && name.contains("entries-") && !name.contains("00000.seg")
    });
    if let Some(name) = segment {
        assert_ne!(
            old[name][..96],
            new[name][..96],
            "the header carries the generation"
        );
        let mut mixed = new[name].clone();
        let at = mixed.len() / 2;
        mixed[at..].copy_from_slice(&old[name][at..]);
        disk.set_content(name, &mixed);
        let (mut store, _) = open(&disk).unwrap();
        for (offset, term, found) in read_all(&mut store.entries).entries {
            assert!(found == payload(offset + (term << 40), 100));
        }
    }
}

#[test]
fn what_cannot_be_cut_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_tagged(&mut store.entries, 2, 10, 100);
    append_tagged(&mut store.entries, 4, 10, 100);
    let log = &mut store.entries;
    let ticket = log.begin_sync().unwrap();
    assert!(matches!(
        log.truncate_to(Term(2), Offset(3)),
        Err(TruncateError::SyncInFlight)
    ));
    let result = ticket.run();
    log.finish_sync(ticket, result);
    let before = disk.contents();
    let found = log.truncate_to(Term(4), Offset(10));
    assert!(matches!(
        found,
        Err(TruncateError::OtherTerm {
            asked: Term(4),
            found: Term(2)
        })
    ));
    assert!(matches!(
        log.truncate_to(Term(4), Offset(21)),
        Err(TruncateError::OutOfRange { .. })
    ));
    assert_eq!(disk.contents(), before);
    assert_eq!(log.end(), Offset(20));
    log.truncate_to(Term(2), Offset(10)).unwrap();
}

#[test]
fn a_cursor_and_a_segment_in_the_making_survive_a_truncation() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 70);
    let log = &mut store.entries;
    let mut cursor = log.cursor(Offset(20));
    log.read(&mut cursor, Offset(70)).unwrap().unwrap();
    let prepare = log.segment_wanted().unwrap();
    log.truncate_to(Term(1), Offset(30)).unwrap();
    let entry = log.read(&mut cursor, Offset(70)).unwrap().unwrap();
    assert_eq!(entry.header.offset, Offset(21));
    // It was made for a log that ended elsewhere, so it is given up.
    log.segment_prepared(prepare.run()).unwrap();
    let count = disk.list(&dir()).unwrap().len();
    assert_eq!(count, 3, "one segment of each log, and the manifest");
    append_synced(log, 100);
    let mut behind = log.cursor(Offset(130));
    assert!(log.read(&mut behind, Offset(200)).unwrap().is_none());
    assert_eq!(read_all(log).entries.len(), 130);
}

/// A segment that was asked for before a truncation belongs to an earlier life of the log, though
/// the log may have grown past its place again.
#[test]
fn a_start_does_not_take_a_segment_of_an_earlier_life() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 60);
    let prepare = store.entries.segment_wanted().unwrap();
    store.entries.truncate_to(Term(1), Offset(30)).unwrap();
    append_synced(&mut store.entries, 35);
    let prepared = prepare.run();
    let (store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(store.entries.end(), Offset(65));
    assert_eq!(report.entries.files_removed.len(), 1);
    drop(prepared);
}

#[test]
fn a_truncation_that_fails_half_way_is_finished_at_the_next_start() {
    let operations = {
        let (disk, mut store) = long();
        let before = disk.operations();
        store.entries.truncate_to(Term(1), Offset(7)).unwrap();
        disk.operations() - before
    };
    assert!(operations > 5);
    for stop in 0..operations {
        let (disk, mut store) = long();
        disk.stop_after(stop);
        let error = store.entries.truncate_to(Term(1), Offset(7)).unwrap_err();
        assert!(store.entries.poisoned().is_some(), "{error}");
        for keep in [Keep::Nothing, Keep::All, Keep::Random(stop)] {
            let (mut store, report) = open(&disk.crashed(keep)).unwrap();
            let end = store.entries.end().0;
            assert!(end == 7 || end == 120, "{end}");
            assert!(report.entries.damaged.is_empty(), "{report:?}");
            assert_eq!(read_all(&mut store.entries).entries.len() as u64, end);
        }
    }
    let (disk, mut store) = long();
    disk.inject(Fault::SyncDir);
    let error = store.entries.truncate_to(Term(1), Offset(7)).unwrap_err();
    assert!(matches!(error, TruncateError::Unnoted(_)), "{error}");
    assert!(store.entries.append(Term(1), &draft(b"x", 1)).is_err());
}

fn long() -> (SimDisk, hulse_log::PartitionStore<SimDisk>) {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 120);
    (disk, store)
}
