//! Goal: rot is found, named and fenced in, and nothing else is refused.
//! Method: one bit flipped at a time in files of a known content.

use std::collections::BTreeMap;

use hulse_log::sim::{Keep, SimDisk};
use hulse_log::{
    AppendError, DamageReason, FooterKind, OpenError, PartitionStore, ReadError, Retention,
    TruncateError, verify,
};
use hulse_model::{Offset, Term};

use crate::bed::{
    append, append_synced, create, dir, draft, open, path, payload, read_all, read_one,
};

const FIRST: &str = "entries-00000000000000000000.seg";
/// Where records begin in a segment.
const RECORDS: usize = 112;
/// Bytes of the record of an entry of 100 bytes: 16 + 56 + 100, rounded up to a multiple of 8.
const RECORD: usize = 176;
/// Those of them that are no padding.
const USED: usize = 172;

/// Ten entries of 100 bytes, synced in rounds of two: the files that `kill -9` leaves.
fn ten_entries() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    for _ in 0..5 {
        append_synced(&mut store.entries, 2);
    }
    disk.crashed(Keep::All)
}

#[test]
fn a_flipped_bit_in_a_durable_record_costs_that_entry_alone() {
    let healthy = ten_entries();
    for entry in 3..6_usize {
        for byte in 0..RECORD {
            let disk = healthy.fork();
            let bit = u32::try_from((byte * 5 + entry) % 8).unwrap();
            disk.flip_bit(&path(FIRST), RECORDS + entry * RECORD + byte, bit);
            let (mut store, report) = open(&disk).unwrap();
            let range = (entry as u64, entry as u64 + 1);
            if byte >= USED {
                assert!(report.entries.damaged.is_empty(), "padding carries nothing");
                assert_eq!(read_all(&mut store.entries).entries.len(), 10);
                continue;
            }
            let [damaged] = &report.entries.damaged[..] else {
                panic!("byte {byte} of entry {entry}: {:?}", report.entries.damaged)
            };
            assert_eq!((damaged.first.0, damaged.end.0), range, "byte {byte}");
            assert_eq!(damaged.segment, FIRST);
            assert_eq!(damaged.position, (RECORDS + entry * RECORD) as u64);
            // The local checksum covers the local header and the entry's own checksum.
            let reason = if byte < 20 {
                DamageReason::LocalChecksum
            } else {
                DamageReason::EntryChecksum
            };
            assert_eq!(damaged.reason, reason, "byte {byte}");
            assert_eq!(report.entries.torn_tail, None);
            assert_eq!(store.entries.damaged(), std::slice::from_ref(damaged));

            let held = read_all(&mut store.entries);
            assert_eq!(held.damaged, [range]);
            let others: Vec<u64> = (0..10).filter(|offset| *offset != range.0).collect();
            assert_eq!(
                held.entries.iter().map(|held| held.0).collect::<Vec<_>>(),
                others
            );
            for (offset, _, found) in held.entries {
                assert!(found == payload(offset, 100));
            }
            let refused = read_one(&mut store.entries, range.0);
            assert!(matches!(refused, Err(ReadError::Damaged { first, end })
                if (first.0, end.0) == range));
        }
    }
}

#[test]
fn after_damage_appending_goes_on_in_a_new_segment() {
    let disk = ten_entries();
    disk.flip_bit(&path(FIRST), RECORDS + 4 * RECORD + 80, 1);
    let rotten = disk.contents()[&path(FIRST)].clone();
    let (mut store, _) = open(&disk).unwrap();
    let refused = store.entries.append(Term(1), &draft(b"x", 1));
    assert!(
        matches!(refused, Err(AppendError::NoRoom { .. })),
        "{refused:?}"
    );
    append_synced(&mut store.entries, 5);
    assert_eq!(store.entries.segments(), 2);
    for opening in 0..3 {
        assert_eq!(
            disk.contents()[&path(FIRST)],
            rotten,
            "the evidence stays as it is"
        );
        let (mut store, report) = open(&disk).unwrap();
        let ranges: Vec<_> = report
            .entries
            .damaged
            .iter()
            .map(|range| (range.first.0, range.end.0))
            .collect();
        assert_eq!(ranges, [(4, 5)], "opening {opening}");
        let held = read_all(&mut store.entries);
        assert_eq!((held.entries.len(), held.damaged), (14, vec![(4, 5)]));
    }
}

#[test]
fn verify_names_the_entry_and_writes_nothing() {
    let healthy = ten_entries();
    let report = verify(&healthy, &dir()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.entries.entries, 10);
    assert_eq!((report.entries.first.0, report.entries.end.0), (0, 10));
    for entry in 0..9_usize {
        for byte in 0..USED {
            let disk = healthy.fork();
            disk.flip_bit(&path(FIRST), RECORDS + entry * RECORD + byte, 3);
            let before = (disk.contents(), disk.operations());
            let report = verify(&disk, &dir()).unwrap();
            assert_eq!((disk.contents(), disk.operations()), before);
            assert!(!report.is_sound());
            let ranges: Vec<_> = report
                .entries
                .damaged
                .iter()
                .map(|range| (range.first.0, range.end.0))
                .collect();
            assert_eq!(
                ranges,
                [(entry as u64, entry as u64 + 1)],
                "byte {byte} of {entry}"
            );
            assert_eq!(report.entries.entries, 9);
        }
    }
}

/// Nothing proves that a single large round was ever synced, but whole entries follow: verify
/// names the bad one, and recovery takes it and the rest for a torn tail.
#[test]
fn verify_names_an_unproved_entry_that_others_follow() {
    let disk = SimDisk::new();
    append_synced(&mut create(&disk).entries, 10);
    disk.flip_bit(&path(FIRST), RECORDS + 6 * RECORD + 100, 0);
    let report = verify(&disk, &dir()).unwrap();
    assert!(!report.is_sound());
    let [damaged] = &report.entries.damaged[..] else {
        panic!("{:?}", report.entries.damaged)
    };
    assert_eq!((damaged.first, damaged.end), (Offset(6), Offset(7)));
    assert_eq!(report.entries.torn_tail, None);
    let (store, recovered) = open(&disk).unwrap();
    let torn = recovered.entries.torn_tail.unwrap();
    assert_eq!((torn.offset, torn.entries_after), (Offset(6), 3));
    assert_eq!(store.entries.end(), Offset(6));
}

/// What `docs/log-format.md` says cannot be told apart.
#[test]
fn rot_of_the_last_round_looks_like_a_torn_tail() {
    let disk = ten_entries();
    disk.flip_bit(&path(FIRST), RECORDS + 9 * RECORD + 50, 0);
    let found = verify(&disk, &dir()).unwrap();
    assert!(found.is_sound(), "a torn tail is no damage");
    let torn = found.entries.torn_tail.unwrap();
    assert_eq!((torn.offset, torn.entries_after), (Offset(9), 0));
    let (store, report) = open(&disk).unwrap();
    assert_eq!(report.entries.torn_tail, Some(torn));
    assert!(report.entries.damaged.is_empty());
    assert_eq!(store.entries.end(), Offset(9));
}

/// What proved an end may go with the torn tail; the manifest keeps it.
#[test]
fn evidence_outlives_the_torn_tail_that_it_stood_in() {
    let disk = ten_entries();
    // Entry 8 is torn. Only entry 9 says, in its local header, that 7 was durable.
    disk.flip_bit(&path(FIRST), RECORDS + 8 * RECORD, 0);
    let (store, report) = open(&disk).unwrap();
    assert_eq!(report.entries.flushed_to, Offset(8));
    assert_eq!(report.entries.torn_tail.unwrap().offset, Offset(8));
    drop(store);
    disk.flip_bit(&path(FIRST), RECORDS + 7 * RECORD + 60, 0);
    let (mut store, report) = open(&disk.crashed(Keep::Nothing)).unwrap();
    assert_eq!(report.entries.torn_tail, None);
    assert_eq!(read_all(&mut store.entries).damaged, [(7, 8)]);
    assert_eq!(store.entries.end(), Offset(8));
}

#[test]
fn after_a_clean_stop_rot_of_the_last_round_is_damage() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 10);
    store.close_clean().unwrap();
    disk.flip_bit(&path(FIRST), RECORDS + 9 * RECORD + 50, 0);
    for _ in 0..2 {
        let (mut store, report) = open(&disk).unwrap();
        assert_eq!(report.entries.torn_tail, None);
        assert_eq!(report.entries.damaged.len(), 1);
        assert_eq!(store.entries.end(), Offset(10));
        assert_eq!(read_all(&mut store.entries).damaged, [(9, 10)]);
        // No offset is given twice.
        let appended = append(&mut store.entries, Term(1), &draft(b"next", 1)).unwrap();
        assert_eq!(appended.offset, Offset(10));
    }
}

/// Three sealed segments and an active one.
fn sealed() -> (SimDisk, u64) {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    let mut rounds = 0;
    while store.entries.segments() < 4 {
        append_synced(&mut store.entries, 20);
        rounds += 20;
    }
    append_synced(&mut store.entries, 20);
    store.entries.sync().unwrap();
    (disk.crashed(Keep::Nothing), rounds + 20)
}

#[test]
fn sealed_segments_are_not_read_at_the_start_and_their_rot_is_found_on_reading() {
    let (disk, entries) = sealed();
    disk.flip_bit(&path(FIRST), RECORDS + 33 * RECORD + 8, 2);
    disk.flip_bit(&path(FIRST), RECORDS + 34 * RECORD + 40, 2);
    disk.flip_bit(&path(FIRST), RECORDS + 50 * RECORD + 171, 2);
    let (mut store, report) = open(&disk).unwrap();
    assert_eq!(report.entries.segments, 4);
    assert_eq!(report.entries.segments_scanned, 1);
    assert!(report.entries.damaged.is_empty());
    // From anywhere: before, at, and behind the rot.
    assert_eq!(
        read_one(&mut store.entries, 32).unwrap().unwrap(),
        payload(32, 100)
    );
    let refused = read_one(&mut store.entries, 34);
    assert!(matches!(
        refused,
        Err(ReadError::Damaged {
            first: Offset(34),
            end: Offset(35)
        })
    ));
    assert_eq!(
        read_one(&mut store.entries, 35).unwrap().unwrap(),
        payload(35, 100)
    );
    assert_eq!(
        read_one(&mut store.entries, 51).unwrap().unwrap(),
        payload(51, 100)
    );
    let held = read_all(&mut store.entries);
    assert_eq!(
        held.damaged,
        [(33, 35), (50, 51)],
        "neighbours are one range"
    );
    assert_eq!(held.entries.len() as u64, entries - 3);
    let ranges: Vec<_> = store
        .entries
        .damaged()
        .iter()
        .map(|range| (range.first.0, range.end.0))
        .collect();
    assert_eq!(ranges, [(33, 35), (50, 51)]);
    let found = verify(&disk, &dir()).unwrap();
    assert_eq!(found.entries.damaged, store.entries.damaged());
    assert_eq!(found.entries.entries, entries - 3);
    append_synced(&mut store.entries, 3);
}

#[test]
fn rot_in_the_active_segment_is_found_on_reading() {
    let disk = SimDisk::new();
    let mut store = create(&disk);
    append_synced(&mut store.entries, 10);
    let _ = append(&mut store.entries, Term(1), &draft(b"staged", 1)).unwrap();
    disk.flip_bit(&path(FIRST), RECORDS + 4 * RECORD + 3, 2);
    assert_eq!(
        read_one(&mut store.entries, 7).unwrap_or(None),
        Some(payload(7, 100))
    );
    assert_eq!(read_all(&mut store.entries).damaged, [(4, 5)]);
    store.entries.sync().unwrap();
    let held = read_all(&mut store.entries);
    assert_eq!((held.entries.len(), held.damaged), (10, vec![(4, 5)]));
    // A segment with damage never gets a footer, which would vouch for it.
    append_synced(&mut store.entries, 200);
    let footers: Vec<_> = verify(&disk, &dir()).unwrap().entries.segments;
    assert_eq!(footers[0].footer, FooterKind::Absent);
    let (mut store, report) = open(&disk).unwrap();
    assert_eq!(report.entries.damaged.len(), 1);
    assert_eq!(read_all(&mut store.entries).entries.len(), 210);
}

#[test]
fn one_copy_of_a_header_is_enough() {
    let (healthy, entries) = sealed();
    let bytes = healthy.contents()[&path(FIRST)].len();
    for at in (0..96).chain(bytes - 96..bytes) {
        let disk = healthy.fork();
        disk.flip_bit(&path(FIRST), at, 4);
        let (mut store, report) = open(&disk).unwrap();
        assert!(report.entries.damaged.is_empty());
        assert_eq!(read_all(&mut store.entries).entries.len() as u64, entries);
        let found = verify(&disk, &dir()).unwrap();
        let [damaged] = &found.entries.damaged[..] else {
            panic!("{:?}", found.entries.damaged)
        };
        assert_eq!(
            (damaged.reason, &*damaged.segment),
            (DamageReason::Header, FIRST)
        );
        assert_eq!(damaged.first, damaged.end, "no entry is lost");
    }
}

/// Where the log goes on must not be forgotten with the opening.
#[test]
fn a_rotten_opening_is_made_anew() {
    let healthy = ten_entries();
    for at in 96..RECORDS {
        let disk = healthy.fork();
        disk.flip_bit(&path(FIRST), at, 1);
        let found = verify(&disk, &dir()).unwrap();
        let [damaged] = &found.entries.damaged[..] else {
            panic!("{:?}", found.entries.damaged)
        };
        assert_eq!(
            (damaged.reason, damaged.position),
            (DamageReason::Header, 96)
        );
        let (mut store, report) = open(&disk).unwrap();
        assert!(report.entries.damaged.is_empty());
        assert_eq!(disk.contents(), healthy.contents());
        append_synced(&mut store.entries, 1);
        let (mut store, _) = open(&disk).unwrap();
        assert_eq!(read_all(&mut store.entries).entries.len(), 11);
    }
}

#[test]
fn a_segment_without_any_header_costs_its_own_entries() {
    let (disk, entries) = sealed();
    let found = verify(&disk, &dir()).unwrap();
    let second = found.entries.segments[1].clone();
    let bytes = usize::try_from(second.bytes).unwrap();
    disk.flip_bit(&path(&second.file), 20, 0);
    disk.flip_bit(&path(&second.file), bytes - 20, 0);
    let lost = (second.first.0, second.end.0);
    for _ in 0..2 {
        let (mut store, report) = open(&disk).unwrap();
        let [damaged] = &report.entries.damaged[..] else {
            panic!("{report:?}")
        };
        assert_eq!((damaged.first.0, damaged.end.0), lost);
        assert_eq!(
            (damaged.reason, &*damaged.segment),
            (DamageReason::Header, &*second.file)
        );
        let held = read_all(&mut store.entries);
        assert_eq!(held.damaged, [lost]);
        assert_eq!(held.entries.len() as u64, entries - (lost.1 - lost.0));
    }
    let found = verify(&disk, &dir()).unwrap();
    assert_eq!(found.entries.damaged.len(), 1);
}

/// The log still begins where it did: nobody is led past the entries that are lost.
#[test]
fn the_first_segment_without_any_header_is_damage_too() {
    let (disk, entries) = sealed();
    let first = verify(&disk, &dir()).unwrap().entries.segments[0].clone();
    let bytes = usize::try_from(first.bytes).unwrap();
    disk.flip_bit(&path(FIRST), 20, 0);
    disk.flip_bit(&path(FIRST), bytes - 20, 0);
    let lost = (0, first.end.0);
    for _ in 0..2 {
        let (mut store, report) = open(&disk).unwrap();
        let [damaged] = &report.entries.damaged[..] else {
            panic!("{report:?}")
        };
        assert_eq!((damaged.first.0, damaged.end.0), lost);
        assert_eq!(store.entries.start(), Offset(0));
        let held = read_all(&mut store.entries);
        assert_eq!(held.damaged, [lost]);
        assert_eq!(held.entries.len() as u64, entries - lost.1);
        // The term of the last entry that would stay is not known.
        for cut in [0, 5, lost.1] {
            let refused = store.entries.truncate_to(Term(1), Offset(cut));
            assert!(
                matches!(refused, Err(TruncateError::Damaged { .. })),
                "{cut}: {refused:?}"
            );
        }
    }
    // Retention takes the file with what follows it.
    let (mut store, _) = open(&disk).unwrap();
    let policy = Retention {
        max_bytes: Some(1),
        max_age_ms: None,
    };
    let removal = store.entries.retain(&policy, 0, Offset(entries)).unwrap();
    assert_eq!(removal.files()[0], FIRST);
    removal.run().unwrap();
    let start = store.entries.start();
    let (store, report) = open(&disk).unwrap();
    assert_eq!(store.entries.start(), start);
    assert!(report.entries.damaged.is_empty());
    assert!(!disk.contents().contains_key(&path(FIRST)));
}

#[test]
fn a_truncation_takes_the_unreadable_segments_above_it() {
    let (disk, _) = sealed();
    let segments = verify(&disk, &dir()).unwrap().entries.segments;
    let third = &segments[2];
    let bytes = usize::try_from(third.bytes).unwrap();
    disk.flip_bit(&path(&third.file), 20, 0);
    disk.flip_bit(&path(&third.file), bytes - 20, 0);
    let (mut store, _) = open(&disk).unwrap();
    let cut = segments[1].first.0 + 7;
    store.entries.truncate_to(Term(1), Offset(cut)).unwrap();
    append_synced(&mut store.entries, 3);
    let (mut store, report) = open(&disk).unwrap();
    assert!(report.entries.damaged.is_empty(), "{report:?}");
    assert_eq!(read_all(&mut store.entries).entries.len() as u64, cut + 3);
}

#[test]
fn without_its_newest_header_a_log_is_refused_and_left_alone() {
    let (disk, _) = sealed();
    let last = verify(&disk, &dir())
        .unwrap()
        .entries
        .segments
        .last()
        .unwrap()
        .clone();
    let bytes = usize::try_from(last.bytes).unwrap();
    disk.flip_bit(&path(&last.file), 50, 0);
    disk.flip_bit(&path(&last.file), bytes - 50, 0);
    let before = disk.contents();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Segment { .. }), "{error}");
    assert!(error.to_string().contains(&last.file), "{error}");
    assert_eq!(disk.contents(), before);
    let found = verify(&disk, &dir()).unwrap();
    assert!(!found.is_sound());
    assert!(found.entries.refused.unwrap().contains(&last.file));
}

#[test]
fn a_newest_segment_that_was_cut_off_is_refused_and_left_alone() {
    let healthy = ten_entries();
    let content = healthy.contents()[&path(FIRST)].clone();
    for bytes in [content.len() - 1, RECORDS + 5 * RECORD, RECORDS, 96] {
        let disk = healthy.fork();
        disk.set_content(&path(FIRST), &content[..bytes]);
        let before = disk.contents();
        // No crash shortens a file. What was in the rest would pass for a write that was cut off.
        let error = open(&disk).unwrap_err().to_string();
        assert!(error.contains(FIRST), "{bytes}: {error}");
        assert!(
            error.contains("a part of it is missing"),
            "{bytes}: {error}"
        );
        assert_eq!(disk.contents(), before);
        let found = verify(&disk, &dir()).unwrap();
        assert!(found.entries.refused.unwrap().contains(FIRST));
    }
}

#[test]
fn a_rotten_footer_costs_a_scan_and_is_named() {
    let (healthy, entries) = sealed();
    let bytes = healthy.contents()[&path(FIRST)].len();
    // The trailer stands before the copy of the header.
    for at in bytes - 96 - 64..bytes - 96 {
        let disk = healthy.fork();
        disk.flip_bit(&path(FIRST), at, 1);
        let found = verify(&disk, &dir()).unwrap();
        let [damaged] = &found.entries.damaged[..] else {
            panic!("{:?}", found.entries.damaged)
        };
        assert_eq!(
            (damaged.reason, &*damaged.segment),
            (DamageReason::Index, FIRST)
        );
        let (mut store, report) = open(&disk).unwrap();
        assert_eq!(report.entries.segments_scanned, 2);
        assert!(report.entries.damaged.is_empty());
        assert_eq!(read_all(&mut store.entries).entries.len() as u64, entries);
        assert_eq!(
            disk.contents(),
            healthy.contents(),
            "the footer was made anew"
        );
    }
}

#[test]
fn another_version_is_refused_with_both_named() {
    let disk = ten_entries();
    let manifest = path("MANIFEST");
    let mut bytes = disk.contents()[&manifest].clone();
    bytes[8] = 7;
    disk.set_content(&manifest, &bytes);
    let error = open(&disk).unwrap_err().to_string();
    assert!(
        error.contains("version 7") && error.contains("version 1"),
        "{error}"
    );
    assert!(error.contains("MANIFEST"), "{error}");
    assert!(!verify(&disk, &dir()).unwrap().is_sound());
}

#[test]
fn a_rotten_manifest_is_refused_and_another_partitions_too() {
    let healthy = ten_entries();
    let manifest = path("MANIFEST");
    let bytes = healthy.contents()[&manifest].len();
    for at in 0..bytes {
        let disk = healthy.fork();
        disk.flip_bit(&manifest, at, 6);
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(error, OpenError::Manifest { .. }),
            "byte {at}: {error}"
        );
    }
    let disk = healthy.fork();
    let other = SimDisk::new();
    let topic = crate::bed::topic();
    drop(PartitionStore::create(&other, hulse_model::PartitionId(5), &topic).unwrap());
    let files: BTreeMap<_, _> = other.contents();
    let theirs = files
        .iter()
        .find(|(name, _)| name.ends_with("MANIFEST"))
        .unwrap()
        .1;
    disk.set_content(&manifest, theirs);
    assert!(matches!(open(&disk), Err(OpenError::OtherPartition { .. })));
}

#[test]
fn a_file_that_was_cut_short_is_damage_below_what_is_proved() {
    let (disk, _) = sealed();
    let second = verify(&disk, &dir()).unwrap().entries.segments[1].clone();
    let name = path(&second.file);
    let mut bytes = disk.contents()[&name].clone();
    bytes.truncate(RECORDS + 10 * RECORD + 30);
    disk.set_content(&name, &bytes);
    let (mut store, report) = open(&disk).unwrap();
    let [damaged] = &report.entries.damaged[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (damaged.first.0, damaged.end.0),
        (second.first.0 + 10, second.end.0)
    );
    assert_eq!(
        read_all(&mut store.entries).damaged,
        [(damaged.first.0, damaged.end.0)]
    );
    append_synced(&mut store.entries, 1);
}
