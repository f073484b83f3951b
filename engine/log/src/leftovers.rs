//! What a process that was killed left half made.

use std::io;

use crate::disk::Disk;
use crate::manifest::MANIFEST_NAME;
use crate::segment::LogKind;
use crate::store::{list_partitions, partition_dir};

/// Removes the files of all partitions that were being made when a process was killed, and returns
/// their paths. They hold nothing that anybody was told of, and may have taken a disk's last bytes,
/// which a start needs. No other process may use the partitions.
///
/// A file that cannot be looked at or removed is left to the partition's recovery, which says why.
///
/// # Errors
/// When the partitions cannot be listed.
pub fn remove_leftovers<D: Disk>(disk: &D) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for partition in list_partitions(disk)? {
        let dir = partition_dir(partition);
        let names = disk.list(&dir).unwrap_or_default();
        for name in names.iter().filter(|name| is_half_made(name)) {
            let path = format!("{dir}/{name}");
            if disk.remove(&path).is_ok() {
                removed.push(path);
            }
        }
    }
    Ok(removed)
}

/// Whether this is the name under which a segment or a manifest is made, before it gets its own.
fn is_half_made(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|whole| {
        whole == MANIFEST_NAME
            || LogKind::ALL
                .iter()
                .any(|kind| kind.base_of(whole).is_some())
    })
}
