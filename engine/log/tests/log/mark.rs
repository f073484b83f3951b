//! Goal: a partition that was marked flushed has proved its last round, and the mark claims nothing
//! that is not so.
//! Method: marks made at once or late, on a simulated disk that forgets, fails, rots and stops.

use hulse_log::sim::{Fault, Keep, SimDisk};
use hulse_log::{Disk, PartitionStore, ReadError, verify};
use hulse_model::{Offset, Term};

use crate::bed::{append_synced, create, dir, open, path, read_all, read_one};

/// Every entry of these tests is in this segment.
const FIRST: &str = "entries-00000000000000000000.seg";
/// A byte in the payload of entry 9: behind header and opening, nine records of 176 bytes, and the
/// headers of its own.
const IN_ENTRY_9: usize = 112 + 9 * 176 + 100;

/// Ten entries of 100 bytes, synced in rounds of two.
fn ten(disk: &SimDisk) -> PartitionStore<SimDisk> {
    let mut store = create(disk);
    for _ in 0..5 {
        append_synced(&mut store.entries, 2);
    }
    store
}

#[test]
fn rot_of_the_last_round_is_damage_once_the_log_is_marked() {
    for marked in [true, false] {
        let disk = SimDisk::new();
        let store = ten(&disk);
        if marked {
            store.mark_flushed().unwrap().run().unwrap();
            assert!(
                store.mark_flushed().is_none(),
                "there is nothing new to say"
            );
        }
        let disk = disk.crashed(Keep::Nothing);
        disk.flip_bit(&path(FIRST), IN_ENTRY_9, 3);
        assert_eq!(verify(&disk, &dir()).unwrap().is_sound(), !marked);
        for opening in 0..2 {
            let (mut store, report) = open(&disk).unwrap();
            if marked {
                assert_eq!(report.entries.torn_tail, None);
                let [damaged] = &report.entries.damaged[..] else {
                    panic!("{:?}", report.entries.damaged)
                };
                assert_eq!((damaged.first, damaged.end), (Offset(9), Offset(10)));
                assert_eq!(store.entries.end(), Offset(10));
                let refused = read_one(&mut store.entries, 9);
                assert!(
                    matches!(refused, Err(ReadError::Damaged { first, end })
                        if (first, end) == (Offset(9), Offset(10))),
                    "{refused:?}"
                );
            } else {
                let torn = report.entries.torn_tail.map(|tail| tail.offset);
                assert_eq!(torn, (opening == 0).then_some(Offset(9)));
                assert!(report.entries.damaged.is_empty());
                assert_eq!(store.entries.end(), Offset(9));
            }
        }
    }
}

#[test]
fn both_logs_are_marked_and_only_what_is_durable() {
    let disk = SimDisk::new();
    let mut store = ten(&disk);
    append_synced(&mut store.sibling, 3);
    let draft = crate::bed::draft(b"not synced", 1);
    crate::bed::append(&mut store.entries, Term(1), &draft).unwrap();
    store.mark_flushed().unwrap().run().unwrap();
    let (_, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(report.entries.marked_to, Offset(10));
    assert_eq!(report.sibling.marked_to, Offset(3));
    // One of them is reason enough.
    store.entries.sync().unwrap();
    store.mark_flushed().unwrap().run().unwrap();
    let (_, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(report.entries.marked_to, Offset(11));
}

#[test]
fn a_partition_that_is_new_or_was_closed_cleanly_needs_no_mark() {
    let disk = SimDisk::new();
    assert!(create(&disk).mark_flushed().is_none());
    let (mut store, _) = open(&disk).unwrap();
    append_synced(&mut store.entries, 1);
    store.close_clean().unwrap();
    let (store, _) = open(&disk).unwrap();
    assert!(store.mark_flushed().is_none());
}

#[test]
fn a_mark_that_comes_late_does_not_undo_a_truncation() {
    let disk = SimDisk::new();
    let mut store = ten(&disk);
    append_synced(&mut store.sibling, 2);
    let mark = store.mark_flushed().unwrap();
    store.entries.truncate_to(Term(1), Offset(4)).unwrap();
    mark.run().unwrap();
    let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert!(report.entries.damaged.is_empty(), "{report:?}");
    assert_eq!(report.entries.marked_to, Offset(4));
    assert_eq!(store.entries.end(), Offset(4));
    assert_eq!(read_all(&mut store.entries).entries.len(), 4);
    // The other log was not truncated.
    assert_eq!(report.sibling.marked_to, Offset(2));
}

#[test]
fn a_mark_that_comes_late_does_not_lower_a_later_one() {
    let disk = SimDisk::new();
    let mut store = ten(&disk);
    let early = store.mark_flushed().unwrap();
    append_synced(&mut store.entries, 2);
    store.close_clean().unwrap();
    early.run().unwrap();
    let (_, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(report.entries.marked_to, Offset(12));
}

#[test]
fn a_log_that_has_failed_is_not_marked() {
    let disk = SimDisk::new();
    let mut store = ten(&disk);
    disk.inject(Fault::Sync);
    let draft = crate::bed::draft(b"lost", 1);
    crate::bed::append(&mut store.entries, Term(1), &draft).unwrap();
    store.entries.sync().unwrap_err();
    assert!(store.mark_flushed().is_none());
}

#[test]
fn a_mark_that_fails_leaves_the_files_as_they_were() {
    for fault in [Fault::Sync, Fault::SyncDir] {
        let disk = SimDisk::new();
        let mut store = ten(&disk);
        let names = disk.list(&dir()).unwrap();
        disk.inject(fault);
        store.mark_flushed().unwrap().run().unwrap_err();
        assert_eq!(disk.list(&dir()).unwrap(), names, "nothing is left behind");
        // The log is none the worse for it, and may be marked again.
        append_synced(&mut store.entries, 1);
        store.mark_flushed().unwrap().run().unwrap();
        let (_, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
        assert_eq!(report.entries.marked_to, Offset(11));
    }
}

#[test]
fn a_crash_at_any_step_of_a_mark_costs_nothing() {
    let mut marked = 0;
    let mut stopped = 0;
    for steps in 0.. {
        let disk = SimDisk::new();
        let store = ten(&disk);
        let mark = store.mark_flushed().unwrap();
        disk.stop_after(steps);
        let whole = mark.run().is_ok();
        for seed in 0..20 {
            let (mut store, report) = open(&disk.crashed(Keep::Random(seed))).unwrap();
            assert!(report.entries.damaged.is_empty(), "{steps}, {seed}");
            assert_eq!(report.entries.torn_tail, None, "{steps}, {seed}");
            assert_eq!(read_all(&mut store.entries).entries.len(), 10);
            let to = report.entries.marked_to;
            assert!(to == Offset(10) || (!whole && to == Offset(0)), "{to}");
            marked += u64::from(to == Offset(10));
        }
        if whole {
            break;
        }
        stopped += 1;
    }
    assert!(stopped >= 4, "it has that many steps");
    assert!(marked > 20, "some of those that were stopped came through");
}
