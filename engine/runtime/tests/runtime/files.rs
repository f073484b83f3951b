//! Making files durable through the ring.

use std::fs::{File, OpenOptions};
use std::io::{Write, pipe};

use hulse_runtime::{SyncFile, spawn_handle, sync_data};

use crate::on_core::on_core;

#[test]
fn written_files_are_synced_one_by_one_and_many_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    on_core(move |_context| async move {
        let mut file = File::create(path.join("one")).expect("a file");
        file.write_all(&[7; 10_000]).expect("written");
        // A borrowed file, and again.
        sync_data(&file).await.expect("synced");
        sync_data(&file).await.expect("synced again");
        file.write_all(&[8; 10]).expect("the file is still open");

        // A descriptor for reading is enough.
        let reading = SyncFile::open(&path.join("one")).expect("opened");
        reading.sync_data().await.expect("synced");

        let syncs: Vec<_> = (0..200)
            .map(|number| {
                let mut file = File::create(path.join(format!("many-{number}"))).expect("a file");
                file.write_all(&[1; 4096]).expect("written");
                let file = SyncFile::new(file);
                spawn_handle(async move { file.sync_data().await })
            })
            .collect();
        for sync in syncs {
            sync.await.expect("synced");
        }
    });
    drop(folder);
}

#[test]
fn a_sync_that_fails_says_so_with_the_systems_number() {
    const EINVAL: i32 = 22;
    on_core(|_context| async {
        let (reader, writer) = pipe().expect("a pipe");
        for file in [SyncFile::new(reader), SyncFile::new(writer)] {
            let error = file
                .sync_data()
                .await
                .expect_err("a pipe has nothing to sync");
            assert_eq!(error.raw_os_error(), Some(EINVAL), "{error}");
        }
        let tty = OpenOptions::new()
            .read(true)
            .open("/dev/null")
            .expect("a device");
        let error = sync_data(&tty).await.expect_err("nor has this device");
        assert_eq!(error.raw_os_error(), Some(EINVAL), "{error}");
    });
}

#[test]
fn a_sync_that_is_dropped_leaves_the_file_usable() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dropped");
    on_core(move |_context| async move {
        let mut file = File::create(path).expect("a file");
        for _ in 0..50 {
            file.write_all(&[3; 4096]).expect("written");
            // Polled once, so that the request is on its way, and dropped.
            let ready = futures_lite::future::poll_once(sync_data(&file)).await;
            assert!(ready.is_none(), "a sync goes through the ring");
        }
        sync_data(&file).await.expect("synced");
        assert_eq!(file.metadata().expect("open").len(), 50 * 4096);
    });
    drop(folder);
}
