//! Goal: a full disk is met when a segment is made and nowhere else, and costs nothing but the
//! segment.
//! Method: a simulated disk that runs out of space.

use hulse_log::sim::SimDisk;
use hulse_log::{AppendError, CreateError, Disk, LogKind, PartitionStore, PrepareError, Reserve};
use hulse_model::{Offset, Term};

use crate::bed::{PARTITION, append_synced, create, dir, draft, open, payload, read_all, topic};

#[test]
fn a_full_disk_leaves_the_log_with_the_room_that_it_has() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 5);
    disk.set_free_bytes(Some(1_000));
    let names = disk.list(&dir()).unwrap();
    let big = payload(1, 14_500);
    let log = &mut store.entries;
    for _ in 0..3 {
        let Err(AppendError::NoRoom { bytes }) = log.append(Term(1), &draft(&big, 1)) else {
            panic!("there is no room")
        };
        assert!(bytes > big.len());
        let prepare = log.segment_wanted().expect("each refusal asks once more");
        assert!(log.segment_wanted().is_none(), "one at a time");
        let wanted = prepare.bytes();
        match log.segment_prepared(prepare.run()) {
            Err(PrepareError::Full { bytes, .. }) => assert_eq!(bytes, wanted),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            disk.list(&dir()).unwrap(),
            names,
            "no partial file is left behind"
        );
        assert!(
            log.segment_wanted().is_none(),
            "a full disk is not asked over and over"
        );
    }
    // What fits still goes in, and everything can be read.
    append_synced(log, 5);
    assert_eq!(read_all(log).entries.len(), 10);
    assert_eq!(log.poisoned(), None);
    // Once there is space again, it goes on.
    disk.set_free_bytes(None);
    assert!(log.append(Term(1), &draft(&big, 1)).is_err());
    let prepare = log.segment_wanted().unwrap();
    log.segment_prepared(prepare.run()).unwrap();
    assert_eq!(
        log.append(Term(1), &draft(&big, 1)).unwrap().offset,
        Offset(10)
    );
}

/// The bytes of the files on a disk.
fn used(disk: &SimDisk) -> u64 {
    disk.contents().values().map(|file| file.len() as u64).sum()
}

/// The least free bytes with which a segment of `bytes` bytes is made on a disk that holds `used`.
fn least_free(bytes: u64, used: u64, reserve: Reserve) -> u64 {
    let mut free = bytes;
    while !reserve.allows(bytes, free, used + free) {
        free += 1;
    }
    free
}

/// What fits, but into the reserve, is refused; small files may use it, and the sibling log half.
#[test]
fn a_segment_leaves_the_reserve_free() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 5);
    append_synced(&mut store.sibling, 5);
    let big = payload(1, 14_500);
    let make = |store: &mut PartitionStore<SimDisk>, kind: LogKind, short: u64| {
        let log = store.log_mut(kind);
        assert!(matches!(
            log.append(Term(1), &draft(&big, 1)),
            Err(AppendError::NoRoom { .. })
        ));
        let prepare = log.segment_wanted().expect("each refusal asks once more");
        let reserve = match kind {
            LogKind::Entries => Reserve::Whole,
            LogKind::Sibling => Reserve::Half,
        };
        let free = least_free(prepare.bytes(), used(&disk), reserve) - short;
        assert!(
            free > prepare.bytes() + 1_000,
            "the segment alone would fit"
        );
        disk.set_free_bytes(Some(free));
        log.segment_prepared(prepare.run())
    };
    for kind in LogKind::ALL {
        let full = make(&mut store, kind, 1);
        assert!(matches!(full, Err(PrepareError::Full { .. })), "{full:?}");
        // A note of what is durable uses the reserve.
        append_synced(store.log_mut(kind), 1);
        store.mark_flushed().unwrap().run().unwrap();
        make(&mut store, kind, 0).unwrap();
    }
}

#[test]
fn a_partition_that_finds_no_space_leaves_nothing() {
    let disk = SimDisk::new();
    for free in [0, 20_000, 32_800] {
        disk.set_free_bytes(Some(free));
        let error = PartitionStore::create(&disk, PARTITION, &topic()).unwrap_err();
        assert!(matches!(error, CreateError::Io { .. }), "{error}");
        assert!(
            disk.contents().is_empty(),
            "{free}: {:?}",
            disk.contents().keys()
        );
    }
    disk.set_free_bytes(None);
    create(&disk);
    let again = PartitionStore::create(&disk, PARTITION, &topic());
    assert!(matches!(again, Err(CreateError::Exists { .. })));
}

/// An entry that the still empty first segment is too small for: the larger one takes its place.
#[test]
fn an_entry_larger_than_the_empty_segment() {
    for (free, fits) in [(None, true), (Some(10_000), false)] {
        let disk = SimDisk::new();
        let mut store = create(&disk);
        let log = &mut store.entries;
        let big = payload(1, 5 * 1024 * 1024);
        assert!(matches!(
            log.append(Term(1), &draft(&big, 1)),
            Err(AppendError::NoRoom { .. })
        ));
        let prepare = log.segment_wanted().unwrap();
        assert_eq!(
            prepare.bytes(),
            8 * 1024 * 1024,
            "the smallest power of two that holds it"
        );
        // A smaller one that comes meanwhile must not go into the segment that is replaced.
        let small = log.append(Term(1), &draft(b"small", 1));
        assert!(
            matches!(small, Err(AppendError::NoRoom { .. })),
            "{small:?}"
        );
        disk.set_free_bytes(free);
        assert_eq!(log.segment_prepared(prepare.run()).is_ok(), fits);
        assert_eq!(
            log.append(Term(1), &draft(b"small", 1)).unwrap().offset,
            Offset(0)
        );
        assert_eq!(log.append(Term(1), &draft(&big, 1)).is_ok(), fits);
        log.sync().unwrap();
        assert_eq!(log.segments(), 1);
        let (mut store, _) = open(&disk.crashed(hulse_log::sim::Keep::Nothing)).unwrap();
        let held = read_all(&mut store.entries);
        assert_eq!(held.entries.len(), if fits { 2 } else { 1 });
        assert!(!fits || held.entries[1].2 == big);
    }
}

/// A spare that is ready and too small gives way to a larger one.
#[test]
fn an_entry_larger_than_the_spare_segment() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    append_synced(log, 50);
    let prepare = log.segment_wanted().expect("more than half is full");
    log.segment_prepared(prepare.run()).unwrap();
    append_synced(log, 1);
    let big = payload(1, 300_000);
    assert!(log.append(Term(1), &draft(&big, 1)).is_err());
    let prepare = log.segment_wanted().unwrap();
    log.segment_prepared(prepare.run()).unwrap();
    assert_eq!(
        log.append(Term(1), &draft(&big, 1)).unwrap().offset,
        Offset(51)
    );
    append_synced(log, 1);
    let names = disk.list(&dir()).unwrap();
    let entries = names
        .iter()
        .filter(|name| name.starts_with("entries-"))
        .count();
    assert_eq!(entries, 2, "the small spare is gone: {names:?}");
    let (mut store, report) = open(&disk).unwrap();
    assert!(report.entries.files_removed.is_empty());
    assert_eq!(read_all(&mut store.entries).entries.len(), 53);
}

#[test]
fn too_much_that_is_not_synced_holds_appends_back() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let log = &mut store.entries;
    let big = payload(1, 4 * 1024 * 1024);
    let refused = loop {
        match crate::bed::append(log, Term(1), &draft(&big, 1)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let AppendError::Held { unsynced_bytes } = refused else {
        panic!("{refused}")
    };
    assert_eq!(unsynced_bytes, log.unsynced_bytes());
    assert!(unsynced_bytes <= hulse_model::limits::LOG_UNSYNCED_BYTES_MAX);
    log.sync().unwrap();
    assert_eq!(log.unsynced_bytes(), 0);
    crate::bed::append(log, Term(1), &draft(&big, 1)).unwrap();
}
