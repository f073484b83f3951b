//! Goal: what lies behind an offset is known without reading, well enough for a quota.
//! Method: logs of equal and of unequal entries over several segments, compared with the sum of what
//! was appended, open and after a start.

use hulse_log::sim::SimDisk;
use hulse_model::Offset;

use crate::bed::{append_synced, create, open};

#[test]
fn bytes_behind_an_offset_are_those_of_its_entries() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    for _ in 0..100 {
        append_synced(&mut store.entries, 20);
    }
    let log = &store.entries;
    assert!(log.segments() >= 3);
    let all = log.bytes_from(Offset::ZERO);
    let entries = log.end().0;
    let mut before = all;
    for offset in 0..=entries {
        let bytes = log.bytes_from(Offset(offset));
        assert!(bytes <= before, "entry {offset}: {bytes} after {before}");
        let even = all * (entries - offset) / entries;
        let off = bytes.abs_diff(even);
        assert!(off * 50 <= all, "entry {offset}: {bytes}, evenly {even}");
        before = bytes;
    }
    assert_eq!(log.bytes_from(log.end()), 0);
    assert_eq!(log.bytes_from(Offset(u64::MAX)), 0);
    drop(store);
    // The index of sealed segments is not in memory now.
    let (store, _) = open(&disk).unwrap();
    assert_eq!(store.entries.bytes_from(Offset::ZERO), all);
    let half = store.entries.bytes_from(Offset(entries / 2));
    assert!(half.abs_diff(all / 2) * 50 <= all, "{half} of {all}");
}
