use super::*;

fn disk() -> (SimDisk, SimFile) {
    let disk = SimDisk::new();
    disk.create_dir("a/b").unwrap();
    let file = disk
        .create_zeroed(
            "a/b/file",
            3 * PAGE_BYTES as u64,
            Fill::Written,
            Reserve::Whole,
        )
        .unwrap();
    file.sync_data().unwrap();
    (disk, file)
}

fn content(disk: &SimDisk, keep: Keep) -> Option<Vec<u8>> {
    disk.crashed(keep).contents().remove("a/b/file")
}

#[test]
fn a_name_survives_once_its_directory_is_synced() {
    let (disk, _) = disk();
    assert_eq!(content(&disk, Keep::Nothing), None);
    assert_eq!(content(&disk, Keep::All).unwrap(), vec![0; 3 * PAGE_BYTES]);
    disk.sync_dir("a").unwrap();
    assert_eq!(content(&disk, Keep::Nothing), None, "another directory");
    disk.sync_dir("a/b").unwrap();
    assert_eq!(
        content(&disk, Keep::Nothing).unwrap(),
        vec![0; 3 * PAGE_BYTES]
    );
    disk.rename("a/b/file", "a/b/other").unwrap();
    assert!(content(&disk, Keep::Nothing).is_some());
    assert!(content(&disk, Keep::All).is_none());
    disk.sync_dir("a/b").unwrap();
    disk.remove("a/b/other").unwrap();
    assert_eq!(disk.crashed(Keep::Nothing).list("a/b").unwrap(), ["other"]);
    assert!(disk.crashed(Keep::All).list("a/b").unwrap().is_empty());
}

#[test]
fn pages_survive_one_by_one_until_they_are_synced() {
    let (disk, file) = disk();
    disk.sync_dir("a/b").unwrap();
    file.write_at(&[1; 3 * PAGE_BYTES], 0).unwrap();
    assert_eq!(
        content(&disk, Keep::Nothing).unwrap(),
        vec![0; 3 * PAGE_BYTES]
    );
    assert_eq!(content(&disk, Keep::All).unwrap(), vec![1; 3 * PAGE_BYTES]);
    let mut outcomes = std::collections::BTreeSet::new();
    let mut torn = false;
    for seed in 0..200 {
        let left = content(&disk, Keep::Random(seed)).unwrap();
        let pages = left.chunks(PAGE_BYTES);
        outcomes.insert(pages.map(|page| page[0]).collect::<Vec<_>>());
        torn |= left
            .chunks(PAGE_BYTES)
            .any(|page| page.iter().any(|byte| *byte != page[0]));
        assert_eq!(
            content(&disk, Keep::Random(seed)).unwrap(),
            left,
            "a seed replays"
        );
    }
    assert_eq!(outcomes.len(), 8, "every subset of three pages");
    assert!(torn, "a page can be torn");
    file.sync_data().unwrap();
    assert_eq!(
        content(&disk, Keep::Nothing).unwrap(),
        vec![1; 3 * PAGE_BYTES]
    );
}

#[test]
fn a_failed_sync_makes_pages_clean_and_not_durable() {
    let (disk, file) = disk();
    disk.sync_dir("a/b").unwrap();
    file.write_at(&[1; 10], 0).unwrap();
    disk.inject(Fault::Sync);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(
        file.slice(0, 10).unwrap().as_ref(),
        [1; 10],
        "it can still be read"
    );
    assert_eq!(content(&disk, Keep::All).unwrap(), vec![0; 3 * PAGE_BYTES]);
}

#[test]
fn the_machine_stops_after_so_many_operations() {
    let (disk, file) = disk();
    disk.stop_after(1);
    file.write_at(&[1; 10], 0).unwrap();
    assert!(file.sync_data().is_err());
    assert!(disk.sync_dir("a/b").is_err());
    assert!(disk.remove("a/b/file").is_err());
    file.slice(0, 10).unwrap();
}

#[test]
fn space_runs_out_and_comes_back() {
    let disk = SimDisk::new();
    disk.create_dir("d").unwrap();
    disk.set_free_bytes(Some(10_000));
    disk.create_zeroed("d/one", 8_000, Fill::Written, Reserve::Whole)
        .unwrap();
    let error = disk
        .create_zeroed("d/two", 8_000, Fill::Written, Reserve::Whole)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.list("d").unwrap(), ["one"]);
    disk.remove("d/one").unwrap();
    disk.create_zeroed("d/two", 8_000, Fill::Written, Reserve::Whole)
        .unwrap();
}

#[test]
fn a_file_never_grows_and_an_open_one_outlives_its_name() {
    let (disk, file) = disk();
    assert!(file.write_at(&[1; 10], 3 * PAGE_BYTES as u64 - 5).is_err());
    assert!(file.slice(3 * PAGE_BYTES as u64 - 5, 10).is_err());
    assert!(file.slice(u64::MAX, 10).is_err());
    disk.remove("a/b/file").unwrap();
    assert!(disk.open("a/b/file").is_err());
    file.write_at(&[3; 4], 0).unwrap();
    assert_eq!(file.slice(0, 4).unwrap().as_ref(), [3; 4]);
    assert_eq!(file.len().unwrap(), 3 * PAGE_BYTES as u64);
    assert!(
        disk.create_zeroed("nowhere/file", 1, Fill::Written, Reserve::Whole)
            .is_err()
    );
}
