//! How new segments get their room.

use std::os::unix::fs::MetadataExt;

use hulse_log::sim::SimDisk;
use hulse_log::{Disk, DiskFile, Fill, Log, OsDisk, Prepare, Reserve};
use hulse_model::Term;

use crate::bed::{create, draft, payload};

const MIB: u64 = 1 << 20;

/// Appends and syncs, so many bytes a sync, until a segment of at least a mebibyte is wanted.
fn fill_wanted<D: Disk>(log: &mut Log<D>, bytes_a_sync: usize) -> Fill {
    let payload = payload(7, bytes_a_sync.min(128 * 1024));
    let appends = bytes_a_sync.div_ceil(payload.len());
    loop {
        for _ in 0..appends {
            while log.append(Term(1), &draft(&payload, 1)).is_err() {
                log.sync().unwrap();
                if let Some(prepare) = log.segment_wanted() {
                    log.segment_prepared(prepare.run()).unwrap();
                }
            }
        }
        log.sync().unwrap();
        if let Some(prepare) = log.segment_wanted() {
            if prepare.bytes() >= MIB {
                return prepare.fill();
            }
            log.segment_prepared(prepare.run()).unwrap();
        }
    }
}

#[test]
fn zeros_are_written_for_a_log_of_small_syncs() {
    let mut store = create(&SimDisk::new());
    assert_eq!(fill_wanted(&mut store.entries, 4 * 1024), Fill::Written);
}

#[test]
fn room_is_allocated_for_a_log_of_large_syncs() {
    let mut store = create(&SimDisk::new());
    let mut fill = fill_wanted(&mut store.entries, 1024 * 1024);
    // The first small segments, which one batch fills, say nothing yet.
    if fill == Fill::Written {
        fill = fill_wanted(&mut store.entries, 1024 * 1024);
    }
    assert_eq!(fill, Fill::Allocated);
}

#[test]
fn room_is_allocated_for_a_log_that_nobody_syncs() {
    let mut store = create(&SimDisk::new());
    let log = &mut store.entries;
    let payload = payload(7, 1024);
    loop {
        let _ = log.append(Term(1), &draft(&payload, 1));
        log.write().unwrap();
        if let Some(prepare) = log.segment_wanted() {
            assert_eq!(prepare.fill(), Fill::Allocated, "{} bytes", prepare.bytes());
            if prepare.bytes() >= MIB {
                break;
            }
            log.segment_prepared(prepare.run()).unwrap();
        }
    }
}

#[test]
fn a_file_of_either_kind_has_its_blocks_and_reads_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(dir.path());
    for (name, fill) in [("written", Fill::Written), ("allocated", Fill::Allocated)] {
        let file = disk.create_zeroed(name, MIB, fill, Reserve::Whole).unwrap();
        file.write_at(b"in the middle", MIB / 2).unwrap();
        file.sync_data().unwrap();
        let metadata = std::fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(metadata.len(), MIB, "{name}");
        assert!(metadata.blocks() * 512 >= MIB, "{name} is a hole");
        let mut expected = vec![0; usize::try_from(MIB).unwrap()];
        let middle = expected.len() / 2;
        expected[middle..middle + 13].copy_from_slice(b"in the middle");
        let slice = file.slice(0, expected.len()).unwrap();
        assert!(slice.as_ref() == expected, "{name}");
    }
}

#[test]
fn a_log_that_does_not_wait_for_zeros_gets_none_for_a_while() {
    let mut store = create(&SimDisk::new());
    let log = &mut store.entries;
    let payload = payload(7, 1024);
    let mut fills = Vec::new();
    let mut making = None;
    while fills.len() < 12 {
        if let Some(prepare) = log.segment_wanted() {
            fills.push(prepare.fill());
            making = Some(prepare);
        }
        if log.append(Term(1), &draft(&payload, 1)).is_err() {
            // The helper comes to it only now.
            let prepare: Prepare<_> = making.take().expect("one is in the making");
            log.segment_prepared(prepare.run()).unwrap();
        }
        log.sync().unwrap();
    }
    // Whoever wants the first has not waited for one yet.
    assert_eq!(fills[0], Fill::Written);
    assert_eq!(fills[1..9], [Fill::Allocated; 8]);
}

#[test]
fn what_has_left_the_memory_is_told_and_brought_back() {
    // Not in the directory for temporary files, which may be memory itself.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = OsDisk::new(dir.path());
    let file = disk
        .create_zeroed("cold", 2 * MIB, Fill::Written, Reserve::Whole)
        .unwrap();
    file.sync_data().unwrap();
    assert!(file.is_resident(0, 2 * MIB), "it has just been written");
    let pages = std::fs::File::open(dir.path().join("cold")).unwrap();
    rustix::fs::fadvise(&pages, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(
        !file.is_resident(0, 2 * MIB),
        "the kernel was told to forget it"
    );
    assert!(!file.is_resident(MIB, 10));
    file.warm(0, MIB, 0).unwrap();
    assert!(file.is_resident(0, MIB));
    file.warm(MIB, MIB, 0).unwrap();
    assert!(file.is_resident(0, 2 * MIB));
}

#[test]
fn a_segment_that_was_only_allocated_is_synced_twice() {
    let mut store = create(&SimDisk::new());
    let log = &mut store.entries;
    let payload = payload(7, 1024);
    let mut times = Vec::new();
    while times.len() < 200 {
        // Without a sync so far, the segments after the first are allocated.
        match log.append(Term(1), &draft(&payload, 1)) {
            Ok(_) if log.segments() == 1 => {}
            Ok(_) => {
                let ticket = log.begin_sync().unwrap();
                let newest = ticket.files()[0].path().to_owned();
                let same = ticket.files().iter().filter(|file| file.path() == newest);
                times.push(same.count());
                let result = ticket.run();
                log.finish_sync(ticket, result);
            }
            Err(_) => {
                log.write().unwrap();
                if let Some(prepare) = log.segment_wanted() {
                    log.segment_prepared(prepare.run()).unwrap();
                }
            }
        }
    }
    assert_eq!(times[0], 2, "allocated");
    assert!(
        times.contains(&1),
        "written, once there are many small syncs"
    );
}
