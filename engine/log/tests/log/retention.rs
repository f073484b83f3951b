//! Goal: retention drops whole old segments and nothing that is still asked for.

use hulse_log::sim::{Keep, SimDisk};
use hulse_log::{Disk, OsDisk, ReadError, Retention};
use hulse_model::{Offset, Term};

use crate::bed::{append, append_synced, create, dir, draft, open, payload, read_all, read_one};

fn filled<D: Disk>(disk: &D) -> hulse_log::PartitionStore<D> {
    let mut store = create(disk);
    for _ in 0..100 {
        append_synced(&mut store.entries, 20);
    }
    assert!(store.entries.segments() >= 3);
    store
}

fn by_bytes(bytes: u64) -> Retention {
    Retention {
        max_bytes: Some(bytes),
        max_age_ms: None,
    }
}

#[test]
fn a_read_entry_outlives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(dir.path());
    let mut store = filled(&disk);
    let log = &mut store.entries;
    let mut cursor = log.cursor(Offset(0));
    let entry = log.read(&mut cursor, Offset(9)).unwrap().unwrap();
    let removal = log.retain(&by_bytes(1), 0, Offset(2_000)).unwrap();
    let files = removal.files().to_vec();
    removal.run().unwrap();
    assert!(entry.payload() == payload(0, 100));
    let names = disk.list(&crate::bed::dir()).unwrap();
    assert!(files.iter().all(|file| !names.contains(file)));
    let start = log.start();
    assert!(start > Offset(0));
    assert!(
        matches!(log.read(&mut cursor, Offset(9)), Err(ReadError::BelowStart { start: at })
        if at == start)
    );
}

#[test]
fn the_floor_the_age_and_the_newest_segment_hold() {
    let disk = SimDisk::new();
    let mut store = filled(&disk);
    let log = &mut store.entries;
    assert!(
        log.retain(&Retention::default(), u64::MAX, Offset(2_000))
            .is_none(),
        "no limit"
    );
    assert!(
        log.retain(&by_bytes(1), 0, Offset(20)).is_none(),
        "the floor is in the first segment"
    );
    assert!(log.retain(&by_bytes(u64::MAX), 0, Offset(2_000)).is_none());
    // Entries are as old as their offsets, in milliseconds.
    let aged = Retention {
        max_bytes: None,
        max_age_ms: Some(1_000),
    };
    assert!(log.retain(&aged, 1_000, Offset(2_000)).is_none());
    let removal = log.retain(&aged, 1_200, Offset(2_000)).unwrap();
    let start = log.start().0;
    assert!(
        start > 0 && start <= 201,
        "nothing younger than 1,000 ms goes: {start}"
    );
    assert_eq!(removal.files().len(), 1);
    removal.run().unwrap();
    let _ = log.retain(&by_bytes(1), 0, Offset(2_000)).unwrap().run();
    assert_eq!(log.segments(), 1, "the newest stays");
    assert_eq!(log.terms(), [(Term(1), log.start())]);
    let (start, end) = (log.start(), log.end());
    let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!((report.entries.start, report.entries.end), (start, end));
    assert_eq!(
        read_all(&mut store.entries).entries.len() as u64,
        end.0 - start.0
    );
    assert_eq!(store.entries.terms(), [(Term(1), start)]);
    append_synced(&mut store.entries, 1);
}

/// Until the next segment's first entry is durable, only the old one says where the log begins.
#[test]
fn a_segment_stays_until_the_next_one_is_durable() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 80);
    while log.segments() == 1 {
        append(log, Term(1), &draft(&payload(log.end().0, 100), 1)).unwrap();
        log.write().unwrap();
        if log.segments() == 1 {
            log.sync().unwrap();
        }
    }
    assert!(log.retain(&by_bytes(1), 0, log.end()).is_none());
    log.sync().unwrap();
    assert!(log.retain(&by_bytes(1), 0, log.end()).is_some());
}

#[test]
fn a_removal_that_a_crash_cuts_off_leaves_no_gap() {
    for stop in 0..8 {
        for keep in [
            Keep::Nothing,
            Keep::All,
            Keep::Random(stop),
            Keep::Random(stop + 100),
        ] {
            let disk = SimDisk::new();
            let mut store = filled(&disk);
            let removal = store
                .entries
                .retain(&by_bytes(1), 0, Offset(2_000))
                .unwrap();
            disk.stop_after(stop);
            let _ = removal.run();
            let (mut store, report) = open(&disk.crashed(keep)).unwrap();
            assert!(report.entries.damaged.is_empty());
            let start = store.entries.start().0;
            assert_eq!(
                read_all(&mut store.entries).entries.len() as u64,
                2_000 - start
            );
        }
    }
}

/// A truncation opens the log anew: what was given up before stays given up, though its files may
/// still be there.
#[test]
fn a_truncation_brings_nothing_back() {
    let disk = SimDisk::new();
    let mut store = filled(&disk);
    let log = &mut store.entries;
    let removal = log.retain(&by_bytes(1), 0, Offset(2_000)).unwrap();
    let start = log.start();
    log.truncate_to(Term(1), Offset(1_990)).unwrap();
    assert_eq!((log.start(), log.end()), (start, Offset(1_990)));
    assert_eq!(log.terms(), [(Term(1), start)]);
    removal.run().unwrap();
    assert_eq!(read_all(log).entries.len() as u64, 1_990 - start.0);
    let below = read_one(log, start.0 - 1);
    assert!(matches!(below, Err(ReadError::BelowStart { .. })));
    let (store, _) = open(&disk).unwrap();
    assert_eq!(store.entries.start(), start);
}

#[test]
fn many_cursors_read_with_few_open_files() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(root.path());
    let mut store = create(&disk);
    let log = &mut store.entries;
    // A segment for every term but one in 64 would be many; large entries make them sooner.
    let mut offset = 0;
    while log.segments() < 9 {
        append(
            log,
            Term(1 + offset / 2),
            &draft(&payload(offset, 500), offset),
        )
        .unwrap();
        log.sync().unwrap();
        offset += 1;
    }
    let open_files = || {
        let dir = std::fs::canonicalize(root.path().join(dir())).unwrap();
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        links
            .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
            .filter(|target| target.starts_with(&dir))
            .count()
    };
    let mut cursors: Vec<_> = (0..offset)
        .step_by(50)
        .map(|at| log.cursor(Offset(at)))
        .collect();
    let mut read = 0;
    while read < cursors.len() * 40 {
        for cursor in &mut cursors {
            let at = cursor.offset().0;
            if let Some(entry) = log.read(cursor, Offset(offset)).unwrap() {
                assert!(entry.payload() == payload(at, 500));
            }
            read += 1;
        }
    }
    // Four sealed and the active one.
    assert!(open_files() <= 5, "{} files are open", open_files());
    assert!(log.close_idle());
    assert_eq!(open_files(), 0);
    assert_eq!(read_one(log, 3).unwrap().unwrap(), payload(3, 500));
}
