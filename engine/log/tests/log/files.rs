//! Goal: an idle log has no file open and no map, one that is used has one, and a file that cannot be
//! opened again costs a refusal and nothing else. Method: a simulated disk that knows which files are
//! open and allows as many as the test says, and the real one for maps.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{
    AppendError, Checkpoint, Disk, Journal, JournalSizes, Log, OsDisk, PartitionStore, ReadError,
};
use hulse_model::{Offset, PartitionId, Term};

use crate::bed::{
    append, append_synced, create, draft, open, path, payload, read_all, read_one, topic,
};

/// The first segment of the log of entries.
const FIRST: &str = "entries-00000000000000000000.seg";

/// The names of the partition's files that are open.
fn open_names(disk: &SimDisk) -> Vec<String> {
    let files = disk.open_files();
    let name = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    files.iter().map(name).collect()
}

/// Appends entries of 100 bytes in term 1 and writes them, until the log has one segment more, the
/// last of whose entries is not synced.
fn append_into_next<D: Disk>(log: &mut Log<D>) {
    let before = log.segments();
    while log.segments() == before {
        let offset = log.end().0;
        append(log, Term(1), &draft(&payload(offset, 100), offset)).unwrap();
        log.write().unwrap();
        if log.unsynced_bytes() > 1024 * 1024 {
            log.sync().unwrap();
        }
    }
}

/// Asserts that the log has these entries of [`append_synced`] and the like.
fn assert_holds<D: Disk>(log: &mut Log<D>, entries: u64) {
    let held = read_all(log);
    assert!(held.damaged.is_empty());
    assert_eq!(held.entries.len() as u64, entries);
    for (offset, _, found) in held.entries {
        assert!(found == payload(offset, 100), "entry {offset}");
    }
}

#[test]
fn a_log_that_was_made_or_recovered_is_closed() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    assert_eq!(open_names(&disk), Vec::<String>::new());
    append_synced(&mut store.entries, 1);
    assert_eq!(open_names(&disk).len(), 1, "the sibling has none");
    append_into_next(&mut store.entries);
    store.entries.sync().unwrap();
    append_synced(&mut store.sibling, 3);
    store.close_clean().unwrap();
    assert_eq!(open_names(&disk), Vec::<String>::new());
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(open_names(&disk), Vec::<String>::new());
    assert_eq!(
        read_one(&mut store.entries, 1).unwrap().unwrap(),
        payload(1, 100)
    );
    assert_eq!(open_names(&disk), [FIRST]);
    assert!(store.entries.close_idle());
    assert_eq!(open_names(&disk), Vec::<String>::new());
}

#[test]
fn nothing_closes_that_is_staged_written_or_being_synced() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    for round in 0..3 {
        log.append(Term(1), &draft(&payload(round, 100), 1))
            .unwrap();
        assert!(!log.close_idle(), "staged");
        log.write().unwrap();
        assert!(!log.close_idle(), "written");
        let ticket = log.begin_sync().unwrap();
        assert!(!log.close_idle(), "being synced");
        assert_eq!(ticket.files().len(), 1);
        let result = ticket.run();
        assert!(!log.close_idle(), "the log has not been told");
        log.finish_sync(ticket, result);
        assert_eq!(open_names(&disk), [FIRST]);
        assert!(log.close_idle());
        assert_eq!(open_names(&disk), Vec::<String>::new());
        assert!(log.close_idle(), "once more is fine");
    }
    assert_holds(log, 3);
}

#[test]
fn nothing_closes_that_is_durable_in_the_journal_alone() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let mut journal = Journal::new(disk.clone(), 0, 7, JournalSizes::default());
    let file = journal.wanted(0).expect("it has no file yet").run();
    journal.prepared(file, 0).unwrap();
    let log = &mut store.entries;
    log.keep_for_journal();
    log.append(Term(1), &draft(&payload(0, 100), 1)).unwrap();
    log.write().unwrap();
    assert!(journal.room() > 0);
    let mut round = journal.round();
    let share = log.begin_round(&mut round).unwrap();
    let ticket = journal.begin(round, 0).unwrap();
    assert!(!log.close_idle(), "the round is in flight");
    let result = hulse_log::DiskFile::sync_data(ticket.file());
    journal.finish(ticket, &result);
    log.finish_round(share, Ok(()));
    assert_eq!(log.flushed(), Offset(1));
    assert!(!log.close_idle(), "its own file is not synced");
    let Checkpoint::Sync(ticket) = log.begin_checkpoint() else {
        panic!("there is something to sync");
    };
    assert!(!log.close_idle(), "the checkpoint is in flight");
    let result = ticket.run();
    log.finish_checkpoint(ticket, result);
    assert!(open_names(&disk).contains(&FIRST.to_owned()));
    assert!(log.close_idle());
    assert!(!open_names(&disk).contains(&FIRST.to_owned()));
    assert!(matches!(log.begin_checkpoint(), Checkpoint::None));
    assert_holds(log, 1);
}

/// A footer is written when its segment is durable, and nobody need ever sync anything after it.
#[test]
fn a_footer_is_synced_for_its_own_sake_before_files_close() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    assert!(log.begin_footer_sync().is_none(), "there is no footer");
    append_into_next(log);
    assert!(
        !log.is_footer_unsynced(),
        "not before the entries are durable"
    );
    let ticket = log.begin_sync().unwrap();
    let result = ticket.run();
    log.finish_sync(ticket, result);
    assert!(log.begin_sync().is_none(), "every entry is durable");
    assert!(log.is_footer_unsynced());
    assert!(!log.close_idle());
    let ticket = log.begin_footer_sync().unwrap();
    assert!(!log.is_footer_unsynced() && log.syncing());
    assert!(log.begin_footer_sync().is_none(), "it is in flight");
    assert!(!log.close_idle());
    let files: Vec<_> = ticket
        .files()
        .iter()
        .map(hulse_log::DiskFile::path)
        .collect();
    assert_eq!(files, [path(FIRST)]);
    let result = ticket.run();
    log.finish_sync(ticket, result);
    assert!(log.close_idle());
    assert_eq!(open_names(&disk), Vec::<String>::new());
    let entries = log.end().0;
    let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(report.entries.segments_scanned, 1, "the footer is durable");
    assert_holds(&mut store.entries, entries);
}

#[test]
fn a_log_that_nobody_reads_has_one_file_however_many_segments_it_fills() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    for _ in 0..6 {
        append_into_next(log);
        log.sync().unwrap();
        assert_eq!(open_names(&disk).len(), 1, "{:?}", open_names(&disk));
    }
    // One that is ready is closed.
    while log
        .segment_wanted()
        .map(|work| log.segment_prepared(work.run()).unwrap())
        .is_none()
    {
        append_synced(log, 1);
    }
    assert_eq!(open_names(&disk).len(), 1);
    let entries = log.end().0;
    assert_holds(log, entries);
    assert!(open_names(&disk).len() > 1, "reading opens more");
    let active = log.end().0;
    append_synced(log, 1);
    log.close_unread();
    assert_eq!(
        open_names(&disk).len(),
        1,
        "and {active} is in one that stays"
    );
    append_into_next(log);
    log.sync().unwrap();
    assert_eq!(open_names(&disk).len(), 1, "nobody has read since");
}

/// The log as far as a refused append must not have changed it.
fn state<D: Disk>(log: &Log<D>) -> (Offset, Offset, usize, usize, usize, u64) {
    (
        log.end(),
        log.written(),
        log.staged_bytes(),
        log.unsynced_bytes(),
        log.segments(),
        log.bytes(),
    )
}

/// Has the next append refused because a file cannot be opened, and asserts that nothing changes.
#[track_caller]
fn assert_refused(disk: &SimDisk, log: &mut Log<SimDisk>, bytes: usize) {
    let (before, files) = (state(log), disk.contents());
    let payload = payload(log.end().0, bytes);
    let refused = log.append(Term(9), &draft(&payload, 1)).unwrap_err();
    let AppendError::Unopened {
        path,
        reason,
        out_of_files: true,
    } = &refused
    else {
        panic!("{refused}");
    };
    assert!(path.starts_with("partitions/"), "{path}");
    assert!(reason.contains("Too many open files"), "{reason}");
    assert_eq!(state(log), before);
    assert!(log.last_term() < Term(9));
    assert_eq!(log.poisoned(), None);
    assert!(disk.contents() == files, "a file has changed");
}

#[test]
fn an_append_that_cannot_open_its_segment_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 3);
    assert!(log.close_idle());
    for _ in 0..3 {
        disk.inject(Fault::Open);
        assert_refused(&disk, log, 100);
    }
    append_synced(log, 2);
    assert_holds(log, 5);
    let (mut store, _) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_holds(&mut store.entries, 5);
}

/// With the next segment the log goes on in two files: the one that is left gets its footer.
#[test]
fn an_append_that_cannot_open_the_next_segment_is_refused_and_changes_nothing() {
    // With the active segment closed and open, and none or one file to be had.
    for (closed, files_max) in [(true, 0), (true, 1), (false, 1)] {
        let disk = SimDisk::new();
        let mut store = create(&disk);
        let log = &mut store.entries;
        append_synced(log, 60);
        let work = log.segment_wanted().expect("it is more than half full");
        log.segment_prepared(work.run()).unwrap();
        let mut entries = 60;
        let record = 20_000;
        if closed {
            assert!(log.close_idle());
        } else {
            let offset = log.end().0;
            log.append(Term(1), &draft(&payload(offset, 100), 1))
                .unwrap();
            entries += 1;
        }
        disk.set_open_files_max(Some(files_max));
        assert_refused(&disk, log, record);
        assert_refused(&disk, log, record);
        disk.set_open_files_max(None);
        while log.segments() == 1 {
            append(log, Term(1), &draft(&payload(entries, 100), 1)).unwrap();
            entries += 1;
        }
        log.sync().unwrap();
        assert_holds(log, entries);
        let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
        assert_eq!(
            report.entries.segments_scanned, 1,
            "the first has its footer"
        );
        assert_holds(&mut store.entries, entries);
    }
}

#[test]
fn a_read_that_cannot_open_its_segment_says_so_and_is_repeated() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_into_next(log);
    log.sync().unwrap();
    assert!(log.close_idle());
    let end = log.end();
    let mut cursor = log.cursor(Offset(0));
    while cursor.offset() < end {
        assert!(log.close_idle());
        let at = cursor.offset();
        disk.inject(Fault::Open);
        let error = log.read(&mut cursor, end).unwrap_err();
        let ReadError::Io { path, source } = &error else {
            panic!("{error}");
        };
        assert!(hulse_log::is_out_of_files(source), "{error}");
        assert!(path.ends_with(".seg"), "{path}");
        assert_eq!(cursor.offset(), at);
        let entry = log.read(&mut cursor, end).unwrap().unwrap();
        assert!(entry.payload() == payload(at.0, 100));
    }
}

/// More logs than files that may be open, all of them used in turn.
#[test]
fn a_hundred_partitions_share_three_files() {
    let disk = SimDisk::new();
    let ids = || (1..=100).map(PartitionId);
    let mut stores: Vec<_> = ids()
        .map(|id| PartitionStore::create(&disk, id, &topic()).unwrap())
        .collect();
    // One of entries, one of the sibling, and one while the next segment is made.
    disk.set_open_files_max(Some(3));
    for _ in 0..3 {
        for store in &mut stores {
            append_synced(&mut store.entries, 30);
            append_synced(&mut store.sibling, 2);
            assert!(store.entries.close_idle() && store.sibling.close_idle());
        }
    }
    drop(stores);
    disk.set_open_files_max(Some(8));
    let mut stores: Vec<_> = ids()
        .map(|id| PartitionStore::open(&disk, id).unwrap().0)
        .collect();
    assert!(disk.open_files().is_empty());
    for store in &mut stores {
        assert_holds(&mut store.entries, 90);
        assert_holds(&mut store.sibling, 6);
        assert!(store.entries.close_idle() && store.sibling.close_idle());
    }
}

/// How many of the process's descriptors, and of its maps, are of files below `root`.
fn descriptors_and_maps(root: &std::path::Path) -> (usize, usize) {
    let root = std::fs::canonicalize(root).unwrap();
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let root_text = root.to_str().unwrap();
    (
        links.filter(|target| target.starts_with(&root)).count(),
        maps.lines().filter(|line| line.contains(root_text)).count(),
    )
}

#[test]
fn what_was_read_keeps_its_map_and_nothing_else_does() {
    let root = tempfile::tempdir().unwrap();
    let mut store = create(&OsDisk::new(root.path()));
    let log = &mut store.entries;
    assert_eq!(descriptors_and_maps(root.path()), (0, 0));
    append_into_next(log);
    log.sync().unwrap();
    let end = log.end();
    let mut entries = Vec::new();
    for offset in [0, end.0 - 1] {
        let mut cursor = log.cursor(Offset(offset));
        entries.push(log.read(&mut cursor, end).unwrap().unwrap());
    }
    assert_eq!(descriptors_and_maps(root.path()), (2, 2));
    assert!(log.close_idle());
    assert_eq!(descriptors_and_maps(root.path()), (0, 2));
    for entry in entries {
        assert!(entry.payload() == payload(entry.header.offset.0, 100));
    }
    assert_eq!(descriptors_and_maps(root.path()), (0, 0));
    append_synced(log, 1);
    assert_eq!(descriptors_and_maps(root.path()), (1, 0));
    assert_holds(log, end.0 + 1);
}
