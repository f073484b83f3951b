//! Goal: a crash at any moment loses nothing that was durable, delivers nothing torn, and leaves
//! files that recovery brings to the same end however often it is cut off itself.
//! Method: one scripted life of a partition, stopped after every operation on the disk; every
//! stop is followed by several crashes, each of which keeps another part of what was not synced.

use hulse_log::sim::{Keep, SimDisk, SimRng};
use hulse_log::{Disk, PartitionStore, Removal, Retention};
use hulse_model::{Offset, Term};

use crate::bed::{
    OrStop, PARTITION, Stopped, announce, append, draft, open, payload, read_all, seeds, topic,
};

/// What is known of the log at the moment of the crash.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Whether the partition had been made.
    made: bool,
    /// Every entry that was appended, from offset 0 on, with its term.
    entries: Vec<(u64, Vec<u8>)>,
    /// Entries below this were durable.
    flushed: u64,
    /// Records of the sibling log below this were durable.
    sibling_flushed: u64,
    /// The log begins at or below this.
    start_most: u64,
    /// A truncation to this offset was under way.
    cutting: Option<u64>,
}

/// Lives the scripted life until the disk stops, and says what is known then.
fn live(disk: &SimDisk) -> Known {
    let mut known = Known::default();
    // The error is the end of the disk; every other one would show as a difference afterwards.
    let _ = script(disk, &mut known);
    known
}

fn script(disk: &SimDisk, known: &mut Known) -> Result<(), Stopped> {
    let mut store = PartitionStore::create(disk, PARTITION, &topic()).or_stop()?;
    known.made = true;
    rounds(&mut store, known, 1, &[(3, 200), (1, 900), (4, 50)])?;
    // Two that fill segments, so that rolling and sealing are part of it.
    rounds(&mut store, known, 1, &[(5, 2_000), (6, 2_500), (2, 700)])?;
    fall_idle(&mut store, known)?;
    cut(&mut store, known, 1, 16)?;
    rounds(
        &mut store,
        known,
        2,
        &[(4, 3_000), (3, 100), (2, 70_000), (1, 30)],
    )?;
    fall_idle(&mut store, known)?;
    rounds(&mut store, known, 2, &[(2, 4_000)])?;
    // Into the sealed first segment.
    cut(&mut store, known, 1, 9)?;
    rounds(&mut store, known, 3, &[(6, 2_600), (7, 6_000), (2, 50)])?;
    retain(&mut store, known)?;
    rounds(&mut store, known, 3, &[(2, 100)])?;
    store.close_clean().or_stop()?;
    let (mut store, _) = open(disk).or_stop()?;
    rounds(&mut store, known, 4, &[(2, 300), (1, 10)])?;
    // The process dies here, with entries that were written and not synced.
    append_some(&mut store, known, 4, 3, 400)?;
    store.entries.write().or_stop()
}

/// Syncs everything and closes the files: what comes next is written to files that are opened anew.
fn fall_idle(store: &mut PartitionStore<SimDisk>, known: &mut Known) -> Result<(), Stopped> {
    store.entries.sync().or_stop()?;
    known.flushed = store.entries.flushed().0;
    assert!(store.entries.close_idle() && store.sibling.close_idle());
    Ok(())
}

fn append_some(
    store: &mut PartitionStore<SimDisk>,
    known: &mut Known,
    term: u64,
    entries: usize,
    bytes: usize,
) -> Result<(), Stopped> {
    for number in 0..entries {
        let tag = known.entries.len() as u64 + (term << 40);
        let payload = payload(tag, bytes + number);
        // A large one may be in the file although the process died before it was told.
        known.entries.push((term, payload.clone()));
        append(&mut store.entries, Term(term), &draft(&payload, tag)).or_stop()?;
    }
    Ok(())
}

/// Rounds of group commit, each of so many entries of so many bytes. While one is synced, one
/// more entry arrives.
fn rounds(
    store: &mut PartitionStore<SimDisk>,
    known: &mut Known,
    term: u64,
    rounds: &[(usize, usize)],
) -> Result<(), Stopped> {
    for (entries, bytes) in rounds {
        append_some(store, known, term, *entries, *bytes)?;
        let ticket = store.entries.begin_sync().ok_or(Stopped)?;
        let result = ticket.run();
        let synced = result.is_ok();
        append_some(store, known, term, 1, 20)?;
        store.entries.write().or_stop()?;
        let upto = ticket.upto().0;
        store.entries.finish_sync(ticket, result);
        if synced {
            known.flushed = upto;
        }
        if store.entries.poisoned().is_some() {
            return Err(Stopped);
        }
        if let Some(prepare) = store.entries.segment_wanted() {
            store.entries.segment_prepared(prepare.run()).or_stop()?;
        }
        append(&mut store.sibling, Term(term), &draft(b"record", 1)).or_stop()?;
        store.sibling.sync().or_stop()?;
        known.sibling_flushed = store.sibling.flushed().0;
    }
    Ok(())
}

fn cut(
    store: &mut PartitionStore<SimDisk>,
    known: &mut Known,
    term: u64,
    offset: u64,
) -> Result<(), Stopped> {
    known.cutting = Some(offset);
    store
        .entries
        .truncate_to(Term(term), Offset(offset))
        .or_stop()?;
    known.cutting = None;
    known.entries.truncate(usize::try_from(offset).unwrap());
    known.flushed = offset;
    Ok(())
}

fn retain(store: &mut PartitionStore<SimDisk>, known: &mut Known) -> Result<(), Stopped> {
    let policy = Retention {
        max_bytes: Some(1),
        max_age_ms: None,
    };
    let floor = Offset(known.flushed);
    let removal = store
        .entries
        .retain(&policy, 0, floor)
        .expect("there are sealed segments");
    known.start_most = store.entries.start().0;
    Removal::run(removal).or_stop()
}

/// Opens what a crash left and checks it against what is known. Gives the end of the log.
fn check(disk: &SimDisk, known: &Known) -> Option<u64> {
    let (mut store, report) = match open(disk) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!known.made, "the partition is lost: {error}");
            return None;
        }
    };
    assert!(
        store.sibling.end().0 >= known.sibling_flushed,
        "records were durable"
    );
    let sibling = read_all(&mut store.sibling).entries;
    assert_eq!(sibling.len() as u64, store.sibling.end().0);
    assert!(sibling.iter().all(|(_, _, payload)| payload == b"record"));
    let log = &mut store.entries;
    assert!(
        report.entries.damaged.is_empty(),
        "damage without rot: {:?}",
        report.entries
    );
    assert!(
        report.sibling.damaged.is_empty(),
        "damage without rot: {:?}",
        report.sibling
    );
    let (start, end) = (log.start().0, log.end().0);
    assert!(start <= known.start_most, "the log begins at {start}");
    assert!(
        end <= known.entries.len() as u64,
        "entries {end} and on were never appended"
    );
    let cut = known.cutting.is_some_and(|cut| end == cut);
    assert!(
        end >= known.flushed || cut,
        "entries {end} to {} were durable",
        known.flushed
    );
    assert_eq!(log.flushed().0, end, "recovery makes durable what it keeps");
    let held = read_all(log);
    assert!(held.damaged.is_empty());
    assert_eq!(held.entries.len() as u64, end - start, "offsets are dense");
    for (offset, term, payload) in &held.entries {
        let (expected_term, expected) = &known.entries[usize::try_from(*offset).unwrap()];
        assert_eq!(term, expected_term, "the term of entry {offset}");
        assert!(
            payload == expected,
            "entry {offset} is not the one that was appended"
        );
    }
    Some(end)
}

/// Checks that nothing more changes when recovery runs again, and that the log goes on.
fn check_goes_on(disk: &SimDisk, end: u64) {
    let before = disk.contents();
    let (mut store, report) = open(disk).unwrap();
    assert_eq!(
        disk.contents(),
        before,
        "recovery changes nothing the second time"
    );
    assert_eq!(report.entries.torn_tail, None);
    for number in 0..4 {
        let payload = payload(number, 1_500);
        let appended = append(&mut store.entries, Term(9), &draft(&payload, 1)).unwrap();
        assert_eq!(appended.offset.0, end + number);
    }
    store.entries.sync().unwrap();
    let disk = disk.crashed(Keep::Nothing);
    let (mut store, report) = open(&disk).unwrap();
    assert!(report.entries.damaged.is_empty(), "{:?}", report.entries);
    assert_eq!(store.entries.end().0, end + 4);
    assert_eq!(
        read_all(&mut store.entries).entries.len() as u64,
        end + 4 - store.entries.start().0
    );
}

/// Cuts recovery itself off after every one of its operations.
fn check_cut_off_recovery(crashed: &SimDisk, known: &Known, rng: &mut SimRng) {
    for operations in 0.. {
        let disk = crashed.fork();
        disk.stop_after(operations);
        if open(&disk).is_ok() || disk.operations() < operations {
            // It came to its end, or to an error of its own: there is no partition yet.
            return;
        }
        for keep in [Keep::Nothing, Keep::All, Keep::Random(rng.next_u64())] {
            check(&disk.crashed(keep), known);
        }
    }
}

fn operations_of_a_life() -> u64 {
    let disk = SimDisk::new();
    let known = live(&disk);
    assert!(
        known.made && known.entries.len() > 30,
        "the whole script ran"
    );
    assert!(known.start_most > 0, "retention took part");
    disk.operations()
}

#[test]
fn a_crash_at_every_moment_keeps_what_was_durable() {
    let operations = operations_of_a_life();
    println!("{operations} operations");
    for seed in seeds(1) {
        announce(seed);
        let mut rng = SimRng::new(seed);
        for stop in 0..=operations {
            let disk = SimDisk::new();
            disk.stop_after(stop);
            let known = live(&disk);
            let mut keeps = vec![Keep::Nothing, Keep::All];
            keeps.extend((0..6).map(|_| Keep::Random(rng.next_u64())));
            for keep in keeps {
                println!("stop {stop} {keep:?}");
                let crashed = disk.crashed(keep);
                let recovered = crashed.fork();
                if let Some(end) = check(&recovered, &known) {
                    check_goes_on(&recovered, end);
                }
            }
        }
    }
}

#[test]
fn a_crash_within_recovery_changes_nothing() {
    let operations = operations_of_a_life();
    for seed in seeds(1) {
        announce(seed);
        let mut rng = SimRng::new(seed);
        for stop in 0..=operations {
            let disk = SimDisk::new();
            disk.stop_after(stop);
            let known = live(&disk);
            for keep in [
                Keep::Nothing,
                Keep::Random(rng.next_u64()),
                Keep::Random(rng.next_u64()),
            ] {
                println!("stop {stop} {keep:?}, within recovery");
                check_cut_off_recovery(&disk.crashed(keep), &known, &mut rng);
            }
        }
    }
}

#[test]
fn a_partition_that_was_not_completely_made_is_made_again() {
    let disk = SimDisk::new();
    drop(PartitionStore::create(&disk, PARTITION, &topic()).unwrap());
    let operations = disk.operations();
    for stop in 0..operations {
        let disk = SimDisk::new();
        disk.stop_after(stop);
        assert!(PartitionStore::create(&disk, PARTITION, &topic()).is_err());
        for keep in [Keep::Nothing, Keep::All, Keep::Random(stop)] {
            let disk = disk.crashed(keep);
            if open(&disk).is_err() {
                let store = PartitionStore::create(&disk, PARTITION, &topic()).unwrap();
                assert_eq!(store.entries.end(), Offset(0));
            }
            assert!(
                disk.list(&crate::bed::dir())
                    .unwrap()
                    .iter()
                    .all(|name| !name.ends_with(".new"))
            );
        }
    }
}
