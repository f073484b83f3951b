//! Goal: after a write or a sync has failed nothing is promised any more.
//! Method: faults injected into the simulated disk.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{AppendError, DiskFile, SyncError, TruncateError};
use hulse_model::{Offset, Term};

use crate::bed::{append, append_synced, create, draft, open, payload, read_all, read_one};

#[test]
fn a_failed_sync_poisons_for_good() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 5);
    append(log, Term(1), &draft(b"lost", 1)).unwrap();
    disk.inject(Fault::Sync);
    let ticket = log.begin_sync().unwrap();
    let result = ticket.run();
    assert!(result.is_err());
    log.finish_sync(ticket, result);
    assert_eq!(log.flushed(), Offset(5), "nothing that may be lost counts");
    assert!(log.poisoned().unwrap().contains("injected"));

    let before = disk.operations();
    assert!(matches!(
        log.append(Term(1), &draft(b"x", 1)),
        Err(AppendError::Poisoned { .. })
    ));
    assert!(log.write().is_err());
    assert!(log.begin_sync().is_none(), "no sync is tried again");
    assert!(matches!(log.sync(), Err(SyncError::Poisoned { .. })));
    assert!(log.segment_wanted().is_none());
    let cut = log.truncate_to(Term(1), Offset(2));
    assert!(matches!(cut, Err(TruncateError::Poisoned { .. })));
    assert_eq!(disk.operations(), before, "the disk is left alone");
    assert_eq!(log.flushed(), Offset(5));

    // What was durable can still be read, and what may not be on the disk cannot.
    let mut cursor = log.cursor(Offset(0));
    for offset in 0..5 {
        let entry = log.read(&mut cursor, Offset(6)).unwrap().unwrap();
        assert!(entry.payload() == payload(offset, 100));
    }
    assert!(log.read(&mut cursor, Offset(6)).unwrap().is_none());
    assert!(store.close_clean().is_err());

    // The machine loses power: the failed sync has lost the entry.
    let (store, _) = open(&disk.crashed(Keep::All)).unwrap();
    assert_eq!(store.entries.end(), Offset(5));
}

/// The pages of a failed sync pass for clean, so that the process that starts next sees entries
/// that a sync alone would not bring to the disk.
#[test]
fn what_is_found_after_a_failed_sync_is_written_once_more() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 5);
    append(&mut store.entries, Term(1), &draft(b"seen", 1)).unwrap();
    disk.inject(Fault::Sync);
    assert!(store.entries.sync().is_err());
    drop(store);
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(store.entries.flushed(), Offset(6));
    assert_eq!(read_one(&mut store.entries, 5).unwrap().unwrap(), b"seen");
    let (mut store, _) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(read_one(&mut store.entries, 5).unwrap().unwrap(), b"seen");
}

#[test]
fn a_failed_write_poisons_for_good() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 5);
    append(log, Term(1), &draft(&payload(5, 3_000), 1)).unwrap();
    disk.inject(Fault::Write);
    assert!(log.write().is_err());
    assert_eq!((log.written(), log.flushed()), (Offset(5), Offset(5)));
    assert!(matches!(
        log.append(Term(1), &draft(b"x", 1)),
        Err(AppendError::Poisoned { .. })
    ));
    assert!(log.begin_sync().is_none());
    assert_eq!(read_all(log).entries.len(), 5);
    // Half of the record was written; a start finds it torn.
    let (store, report) = open(&disk.crashed(Keep::All)).unwrap();
    assert_eq!(report.entries.torn_tail.unwrap().offset, Offset(5));
    assert_eq!(store.entries.end(), Offset(5));
}

#[test]
fn a_failed_write_of_a_large_entry_refuses_it_and_poisons() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 5);
    // There is room for it: the one before has made the log ask for larger segments.
    append(log, Term(1), &draft(&payload(5, 300_000), 1)).unwrap();
    append(log, Term(1), &draft(&payload(6, 100), 1)).unwrap();
    assert_eq!(
        log.written(),
        Offset(6),
        "the large one was written at once"
    );
    log.sync().unwrap();
    append(log, Term(1), &draft(&payload(7, 100), 1)).unwrap();
    disk.inject(Fault::Write);
    let large = payload(8, 80_000);
    assert!(matches!(
        log.append(Term(1), &draft(&large, 1)),
        Err(AppendError::Poisoned { .. })
    ));
    assert_eq!((log.end(), log.written()), (Offset(8), Offset(7)));
    assert!(log.write().is_err());
    assert_eq!(log.flushed(), Offset(7));
}

#[test]
fn a_failed_write_of_a_footer_poisons_and_costs_nothing() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    while log.segments() < 2 {
        append(log, Term(1), &draft(&payload(log.end().0, 2_000), 1)).unwrap();
    }
    let ticket = log.begin_sync().unwrap();
    let mut paths: Vec<_> = ticket.files().iter().map(DiskFile::path).collect();
    paths.dedup();
    assert_eq!(paths.len(), 2, "the full segment and the active one");
    let result = ticket.run();
    disk.inject(Fault::Write);
    log.finish_sync(ticket, result);
    assert_eq!(log.flushed(), log.written(), "the entries are durable");
    assert!(log.poisoned().is_some());
    let held = read_all(log).entries.len() as u64;
    let (store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(store.entries.end().0, held);
    assert!(report.entries.damaged.is_empty());
}

#[test]
fn the_other_log_of_the_partition_goes_on() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append(&mut store.entries, Term(1), &draft(b"x", 1)).unwrap();
    disk.inject(Fault::Sync);
    assert!(store.entries.sync().is_err());
    append_synced(&mut store.sibling, 3);
    assert_eq!(store.sibling.flushed(), Offset(3));
}
