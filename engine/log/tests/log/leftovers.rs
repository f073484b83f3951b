//! Goal: what a killed process left half made is removed, and nothing else.
//! Method: names of all kinds beside a partition's own.

use hulse_log::sim::{Keep, SimDisk};
use hulse_log::{Disk, PARTITIONS_DIR, remove_leftovers};

use crate::bed::{append_synced, create, dir, open, path};

#[test]
fn only_what_is_ours_and_half_made_is_removed() {
    let disk = SimDisk::new();
    assert!(
        remove_leftovers(&disk).unwrap().is_empty(),
        "a new directory"
    );
    append_synced(&mut create(&disk).entries, 5);
    let healthy = disk.contents();
    let half_made = [
        "MANIFEST.new",
        "entries-00000000000000000005.seg.new",
        "sibling-00000000000000000000.seg.new",
    ];
    let others = [
        "MANIFEST.new.new",
        "entries-00000000000000000005.seg.newer",
        "entries-5.seg.new",
        "notes.new",
        ".new",
    ];
    for name in half_made.iter().chain(&others) {
        disk.set_content(&path(name), b"half");
    }
    // No partition's directory.
    let elsewhere = format!("{PARTITIONS_DIR}/MANIFEST.new");
    disk.set_content(&elsewhere, b"half");
    let removed = remove_leftovers(&disk).unwrap();
    assert_eq!(removed, half_made.map(path));
    let left = disk.contents();
    assert!(healthy.iter().all(|(name, bytes)| left[name] == *bytes));
    assert_eq!(left.len(), healthy.len() + others.len() + 1);
    assert!(remove_leftovers(&disk).unwrap().is_empty());
}

/// Whether a removal is remembered does not matter: the next start removes it again.
#[test]
fn a_segment_that_was_being_made_is_gone_and_made_again() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 50);
    let prepare = store.entries.segment_wanted().expect("half full");
    // Zeros, and then the machine stops.
    disk.stop_after(2);
    assert!(store.entries.segment_prepared(prepare.run()).is_err());
    let disk = disk.crashed(Keep::All);
    let new = |disk: &SimDisk| {
        let names = disk.list(&dir()).unwrap();
        names.iter().filter(|name| name.ends_with(".new")).count()
    };
    assert_eq!(new(&disk), 1);
    assert_eq!(remove_leftovers(&disk).unwrap().len(), 1);
    for keep in [Keep::Nothing, Keep::All] {
        let (mut store, report) = open(&disk.crashed(keep)).unwrap();
        assert_eq!(report.entries.end.0, 50);
        append_synced(&mut store.entries, 100);
        assert_eq!(new(&disk), 0);
    }
}
