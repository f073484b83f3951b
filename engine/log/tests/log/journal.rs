//! Goal: what a round of the journal made durable survives a crash at any moment, whatever the
//! segments' own files have kept, and whether or not the room of the journal was used again.
//! Method: a scripted life of three partitions on one core, stopped after every operation on the
//! disk; several crashes after each stop, and after each of those a replay that is itself cut off.

use hulse_log::sim::{Fault, Keep, SimDisk, SimRng};
use hulse_log::{
    Checkpoint, Disk, JOURNALS_DIR, Journal, JournalSizes, LogKind, PartitionStore, ReplayError,
    ReplayedDisk, replay, verify,
};
use hulse_model::{Offset, PartitionId, Term};

use crate::bed::{OrStop, Stopped, announce, append, draft, payload, read_all, seeds, topic};

const PARTITIONS: usize = 3;
const SIZES: JournalSizes = JournalSizes {
    file_bytes: 48 * 1024,
    files_max: 2,
    round_bytes_max: 20 * 1024,
};

fn id(partition: usize) -> PartitionId {
    PartitionId(0x7e57 + partition as u128)
}

/// What is known of one partition's log of entries.
#[derive(Debug, Clone, Default)]
struct Known {
    made: bool,
    entries: Vec<(u64, Vec<u8>)>,
    flushed: u64,
    cutting: Option<u64>,
}

/// One core: its journal and its partitions.
struct Core {
    journal: Journal<SimDisk>,
    stores: Vec<PartitionStore<SimDisk>>,
    rounds: usize,
    direct: usize,
}

impl Core {
    fn new(disk: &SimDisk, known: &mut [Known]) -> Result<Self, Stopped> {
        let mut stores = Vec::new();
        for (partition, known) in known.iter_mut().enumerate() {
            let mut store = PartitionStore::create(disk, id(partition), &topic()).or_stop()?;
            store.entries.keep_for_journal();
            known.made = true;
            stores.push(store);
        }
        Ok(Self {
            journal: Journal::new(disk.clone(), 0, 0x5ec2e7, SIZES),
            stores,
            rounds: 0,
            direct: 0,
        })
    }

    fn prepare(&mut self) -> Result<(), Stopped> {
        match self.journal.wanted(0) {
            Some(work) => self.journal.prepared(work.run(), 0).or_stop(),
            None => Ok(()),
        }
    }

    fn append(
        &mut self,
        known: &mut [Known],
        at: usize,
        term: u64,
        entries: usize,
        bytes: usize,
    ) -> Result<(), Stopped> {
        for _ in 0..entries {
            let number = known[at].entries.len() as u64;
            let payload = payload(number + ((at as u64) << 40) + (term << 50), bytes);
            let log = &mut self.stores[at].entries;
            append(log, Term(term), &draft(&payload, number)).or_stop()?;
            known[at].entries.push((term, payload));
        }
        self.stores[at].entries.write().or_stop()
    }

    /// Makes everything durable, by a round where that can be, and meanwhile one more entry
    /// arrives at each log.
    fn commit(&mut self, known: &mut [Known]) -> Result<(), Stopped> {
        self.prepare()?;
        let room = self.journal.room();
        let mut round = self.journal.round();
        let mut shares = Vec::new();
        for (at, store) in self.stores.iter_mut().enumerate() {
            let log = &mut store.entries;
            let Some(bytes) = log.round_bytes() else {
                continue;
            };
            if round.room_with(bytes) <= room {
                let upto = log.written().0;
                shares.push((at, upto, log.begin_round(&mut round).expect("it said so")));
            }
        }
        if round.chunks() > 0 {
            let ticket = self.journal.begin(round, 0).or_stop()?;
            let result = hulse_log::DiskFile::sync_data(ticket.file());
            for (at, ..) in &shares {
                self.append(
                    known,
                    *at,
                    known[*at].entries.last().map_or(1, |e| e.0),
                    1,
                    20,
                )?;
            }
            self.journal.finish(ticket, &result);
            result.or_stop()?;
            for (at, upto, share) in shares {
                self.stores[at].entries.finish_round(share, Ok(()));
                known[at].flushed = upto;
            }
            self.rounds += 1;
        }
        for (at, store) in self.stores.iter_mut().enumerate() {
            if store.entries.round_bytes().is_some() {
                continue;
            }
            let Some(ticket) = store.entries.begin_sync() else {
                continue;
            };
            let result = ticket.run();
            let synced = result.is_ok();
            let upto = ticket.upto().0;
            store.entries.finish_sync(ticket, result);
            if !synced {
                return Err(Stopped);
            }
            known[at].flushed = upto;
            self.direct += 1;
        }
        Ok(())
    }

    /// Brings the segments' own files up to date and retires the rounds.
    fn checkpoint(&mut self) -> Result<(), Stopped> {
        let mark = self.journal.mark();
        for store in &mut self.stores {
            if let Checkpoint::Sync(ticket) = store.entries.begin_checkpoint() {
                let result = ticket.run();
                store.entries.finish_checkpoint(ticket, result);
            }
            if store.entries.poisoned().is_some() {
                return Err(Stopped);
            }
        }
        self.journal.retire(mark, 0);
        Ok(())
    }
}

/// The life. It ends early when the disk stops.
fn live(disk: &SimDisk) -> (Vec<Known>, Option<(usize, usize)>) {
    let mut known = vec![Known::default(); PARTITIONS];
    let counts = script(disk, &mut known).ok();
    (known, counts)
}

fn script(disk: &SimDisk, known: &mut [Known]) -> Result<(usize, usize), Stopped> {
    let mut core = Core::new(disk, known)?;
    for turn in 0..3 {
        for (at, bytes) in [(0, 300), (1, 1_200), (2, 40)] {
            core.append(known, at, 1, 2 + turn, bytes)?;
        }
        core.commit(known)?;
    }
    // Rolls into another segment, whose opening is in the journal alone.
    core.append(known, 1, 1, 4, 3_000)?;
    core.commit(known)?;
    core.append(known, 0, 1, 1, 500)?;
    core.commit(known)?;
    // The journal fills, is retired and used again.
    for turn in 0..6 {
        for (at, bytes) in [(0, 900), (1, 2_500), (2, 400)] {
            core.append(known, at, 1, 2, bytes + turn)?;
        }
        core.commit(known)?;
        if turn % 3 == 2 {
            core.checkpoint()?;
        }
    }
    // A cut below what rounds in the journal hold.
    core.append(known, 2, 1, 3, 700)?;
    core.commit(known)?;
    let cut = known[2].flushed - 2;
    known[2].cutting = Some(cut);
    let log = &mut core.stores[2].entries;
    log.truncate_to(Term(1), Offset(cut)).or_stop()?;
    known[2].cutting = None;
    known[2].entries.truncate(usize::try_from(cut).unwrap());
    known[2].flushed = cut;
    for at in 0..PARTITIONS {
        core.append(known, at, 2, 2, 600)?;
    }
    core.commit(known)?;
    core.append(known, 0, 2, 2, 600)?;
    core.append(known, 2, 2, 2, 100)?;
    core.commit(known)?;
    // The process dies with entries that were written and not synced.
    core.append(known, 1, 2, 3, 200)?;
    Ok((core.rounds, core.direct))
}

/// Checks the partitions of a disk whose journals were replayed.
fn check(disk: &SimDisk, known: &[Known]) {
    for (at, known) in known.iter().enumerate() {
        let opened = PartitionStore::open(disk, id(at));
        let Ok((mut store, report)) = opened else {
            assert!(!known.made, "partition {at} is lost");
            continue;
        };
        assert!(
            report.entries.damaged.is_empty(),
            "damage without rot: {report:?}"
        );
        let log = &mut store.entries;
        let end = log.end().0;
        let cut = known.cutting.is_some_and(|cut| cut == end);
        assert!(
            end >= known.flushed || cut,
            "entries {end} to {} of partition {at} were durable",
            known.flushed
        );
        assert!(end <= known.entries.len() as u64, "a cut entry is back");
        let held = read_all(log);
        assert!(held.damaged.is_empty());
        for (offset, term, payload) in held.entries {
            let index = usize::try_from(offset).unwrap();
            assert_eq!(
                (term, payload),
                known.entries[index],
                "entry {offset} of {at}"
            );
        }
    }
}

/// What `log verify` sees is what a replay would leave.
fn check_seen_without_a_replay(disk: &SimDisk, known: &[Known]) {
    let seen = ReplayedDisk::new(disk.clone()).unwrap();
    for (at, known) in known.iter().enumerate().filter(|(_, known)| known.made) {
        let dir = hulse_log::partition_dir(id(at));
        let report = verify(&seen, &dir).unwrap();
        let proved = report.entries.damaged.iter().filter(|damaged| {
            // What nothing proves to have been durable is no loss.
            damaged.first < Offset(known.flushed.min(known.cutting.unwrap_or(u64::MAX)))
        });
        assert_eq!(proved.count(), 0, "partition {at}: {:?}", report.entries);
    }
}

#[test]
fn the_life_uses_rounds_and_syncs_of_its_own() {
    let (known, counts) = live(&SimDisk::new());
    let (rounds, direct) = counts.expect("the whole script ran");
    assert!(rounds >= 10, "{rounds} rounds");
    assert!(direct >= 1, "{direct} syncs of a log's own file");
    assert!(known.iter().all(|known| known.entries.len() > 15));
}

#[test]
fn a_crash_at_every_moment_keeps_what_rounds_made_durable() {
    let disk = SimDisk::new();
    let _ = live(&disk);
    let operations = disk.operations();
    println!("{operations} operations");
    for seed in seeds(1) {
        announce(seed);
        let mut rng = SimRng::new(seed);
        for stop in 0..=operations {
            let disk = SimDisk::new();
            disk.stop_after(stop);
            let (known, _) = live(&disk);
            for keep in [
                Keep::Nothing,
                Keep::All,
                Keep::Random(rng.next_u64()),
                Keep::Random(rng.next_u64()),
            ] {
                println!("stop {stop} {keep:?}");
                let crashed = disk.crashed(keep);
                check_seen_without_a_replay(&crashed, &known);
                // The replay is cut off somewhere, and its machine loses power as well.
                let cut_off = crashed.fork();
                cut_off.stop_after(rng.below(40));
                let _ = replay(&cut_off);
                let again = cut_off.crashed(Keep::Random(rng.next_u64()));
                replay(&again).unwrap();
                check(&again, &known);
                replay(&crashed).unwrap();
                check(&crashed, &known);
                let left = crashed.list(JOURNALS_DIR).unwrap_or_default();
                assert_eq!(left, Vec::<String>::new(), "no journal is left");
            }
        }
    }
}

/// A core with one round in the journal that no segment's file has.
fn one_round(disk: &SimDisk) -> (Core, Vec<Known>) {
    let mut known = vec![Known::default(); PARTITIONS];
    let Ok(mut core) = Core::new(disk, &mut known) else {
        panic!("the disk works")
    };
    for at in 0..PARTITIONS {
        assert!(core.append(&mut known, at, 1, 2, 100).is_ok());
    }
    assert!(core.commit(&mut known).is_ok());
    (core, known)
}

fn journal_file(disk: &SimDisk) -> String {
    let names = disk.list(JOURNALS_DIR).unwrap();
    format!("{JOURNALS_DIR}/{}", names[0])
}

#[test]
fn without_the_replay_the_round_would_be_lost() {
    let disk = SimDisk::new();
    let (_core, known) = one_round(&disk);
    assert_eq!(known[0].flushed, 2);
    let crashed = disk.crashed(Keep::Nothing);
    let (store, _) = PartitionStore::open(&crashed.fork(), id(0)).unwrap();
    assert_eq!(store.entries.end(), Offset(0), "the segment has nothing");
    let report = replay(&crashed).unwrap();
    assert_eq!((report.rounds, report.segments), (1, 3));
    let (store, _) = PartitionStore::open(&crashed, id(0)).unwrap();
    assert_eq!(store.entries.end(), Offset(2));
}

#[test]
fn rot_in_a_durable_round_is_damage_and_not_a_torn_tail() {
    let disk = SimDisk::new();
    let (mut core, mut known) = one_round(&disk);
    // A second round proves the first; and a third, in which partition 0 has no share.
    for turn in 0..2 {
        for at in 1..PARTITIONS {
            assert!(core.append(&mut known, at, 1, 1, 50 + turn).is_ok());
        }
        assert!(core.commit(&mut known).is_ok());
    }
    let crashed = disk.crashed(Keep::Nothing);
    let path = journal_file(&crashed);
    let content = &crashed.contents()[&path];
    let wanted = payload(1 << 50, 100);
    let at = content.windows(100).position(|it| it == wanted).unwrap();
    crashed.flip_bit(&path, at, 3);
    let report = replay(&crashed).unwrap();
    assert_eq!(report.lost_rounds, 1);
    let (mut store, report) = PartitionStore::open(&crashed, id(0)).unwrap();
    assert_eq!(report.entries.damaged.len(), 1, "{report:?}");
    assert_eq!(read_all(&mut store.entries).damaged, [(0, 2)]);
}

#[test]
fn a_process_that_was_killed_loses_nothing_to_rot_in_the_journal() {
    let disk = SimDisk::new();
    let (mut core, mut known) = one_round(&disk);
    for at in 0..2 {
        assert!(core.append(&mut known, at, 1, 1, 50).is_ok());
    }
    assert!(core.commit(&mut known).is_ok());
    let killed = disk.fork();
    let path = journal_file(&killed);
    killed.flip_bit(&path, 4096 + 300, 0);
    assert_eq!(replay(&killed).unwrap().lost_rounds, 1);
    check(&killed, &known);
}

#[test]
fn one_rotten_copy_of_a_journals_header_costs_nothing_and_two_are_reported() {
    let disk = SimDisk::new();
    let (_core, known) = one_round(&disk);
    let crashed = disk.crashed(Keep::Nothing);
    let path = journal_file(&crashed);
    crashed.flip_bit(&path, 20, 1);
    let both = crashed.fork();
    assert_eq!(replay(&crashed).unwrap().rounds, 1);
    check(&crashed, &known);
    let last = usize::try_from(SIZES.file_bytes).unwrap() - 4096;
    both.flip_bit(&path, last + 20, 1);
    let report = replay(&both).unwrap();
    assert_eq!((report.rounds, report.lost_files), (0, vec![path]));
}

#[test]
fn a_rotten_manifest_costs_nothing_that_was_in_the_journal() {
    let disk = SimDisk::new();
    let (_core, known) = one_round(&disk);
    let crashed = disk.crashed(Keep::Nothing);
    let path = format!("{}/MANIFEST", hulse_log::partition_dir(id(0)));
    let whole = crashed.contents()[&path].clone();
    crashed.flip_bit(&path, 20, 1);
    replay(&crashed).unwrap();
    assert!(PartitionStore::open(&crashed.fork(), id(0)).is_err());
    // Somebody puts it back.
    crashed.set_content(&path, &whole);
    check(&crashed, &known);
}

#[test]
fn rotten_headers_of_a_segment_keep_nothing_out_of_it() {
    let disk = SimDisk::new();
    let (_core, known) = one_round(&disk);
    let crashed = disk.crashed(Keep::Nothing);
    let dir = hulse_log::partition_dir(id(0));
    let path = format!("{dir}/{}-{:020}.seg", LogKind::Entries.name(), 0);
    let whole = crashed.contents()[&path].clone();
    crashed.flip_bit(&path, 20, 1);
    crashed.flip_bit(&path, whole.len() - 76, 1);
    replay(&crashed).unwrap();
    assert!(PartitionStore::open(&crashed.fork(), id(0)).is_err());
    crashed.flip_bit(&path, 20, 1);
    crashed.flip_bit(&path, whole.len() - 76, 1);
    check(&crashed, &known);
}

#[test]
fn a_manifest_that_cannot_be_read_stops_the_replay_and_the_journal_stays() {
    let disk = SimDisk::new();
    let (_core, known) = one_round(&disk);
    let crashed = disk.crashed(Keep::Nothing);
    let journal = journal_file(&crashed);
    let path = format!("{}/MANIFEST", hulse_log::partition_dir(id(0)));
    crashed.fail_reads_of(Some(&path));
    let refused = replay(&crashed);
    assert!(
        matches!(&refused, Err(ReplayError::Io { path: it, .. }) if *it == path),
        "{refused:?}"
    );
    assert!(crashed.contents().contains_key(&journal));
    crashed.fail_reads_of(None);
    replay(&crashed).unwrap();
    check(&crashed, &known);
}

#[test]
fn a_journal_of_another_version_is_refused_and_stays() {
    let disk = SimDisk::new();
    let (_core, _) = one_round(&disk);
    let path = journal_file(&disk);
    let mut content = disk.contents()[&path].clone();
    content[8] = 9;
    let crc = crc32fast::hash(&content[..36]);
    content[36..40].copy_from_slice(&crc.to_le_bytes());
    disk.set_content(&path, &content);
    let refused = replay(&disk);
    assert!(
        matches!(&refused, Err(ReplayError::Version { found: 9, .. })),
        "{refused:?}"
    );
    assert_eq!(disk.contents()[&path], content);
}

#[test]
fn a_failed_sync_of_the_journal_poisons_every_log_of_the_round() {
    let disk = SimDisk::new();
    let (mut core, mut known) = one_round(&disk);
    for at in 0..PARTITIONS {
        assert!(core.append(&mut known, at, 1, 1, 50).is_ok());
    }
    let mut round = core.journal.round();
    let shares: Vec<_> = core
        .stores
        .iter_mut()
        .map(|store| store.entries.begin_round(&mut round).unwrap())
        .collect();
    let ticket = core.journal.begin(round, 0).unwrap();
    disk.inject(Fault::Sync);
    let result = hulse_log::DiskFile::sync_data(ticket.file());
    core.journal.finish(ticket, &result);
    let reason = core.journal.failed().expect("it has failed").to_owned();
    for (store, share) in core.stores.iter_mut().zip(shares) {
        store.entries.finish_round(share, Err(&reason));
        assert_eq!(store.entries.poisoned(), Some(reason.as_str()));
        assert_eq!(store.entries.flushed(), Offset(2), "nothing more counts");
    }
    assert_eq!(core.journal.room(), 0, "no other round is taken");
}

#[test]
fn a_failed_checkpoint_poisons_the_log_and_the_next_start_heals_it() {
    let disk = SimDisk::new();
    let (mut core, known) = one_round(&disk);
    let Checkpoint::Sync(ticket) = core.stores[0].entries.begin_checkpoint() else {
        panic!("there is something to sync")
    };
    disk.inject(Fault::Sync);
    let result = ticket.run();
    core.stores[0].entries.finish_checkpoint(ticket, result);
    assert!(core.stores[0].entries.poisoned().is_some());
    let again = core.stores[0].entries.begin_checkpoint();
    assert!(matches!(again, Checkpoint::Poisoned));
    // Its pages pass for clean though the disk never got them.
    let crashed = disk.crashed(Keep::All);
    replay(&crashed).unwrap();
    check(&crashed.crashed(Keep::Nothing), &known);
}

#[test]
fn a_full_journal_takes_no_round_until_one_is_retired() {
    let disk = SimDisk::new();
    let (mut core, mut known) = one_round(&disk);
    let mut rounds = 0;
    while core.journal.room() > 0 {
        assert!(core.append(&mut known, 0, 1, 1, 10).is_ok());
        let before = core.rounds;
        assert!(core.commit(&mut known).is_ok());
        rounds += core.rounds - before;
        assert!(rounds < 100, "it never fills");
    }
    let files = disk.list(JOURNALS_DIR).unwrap().len();
    assert_eq!(files, SIZES.files_max);
    assert!(core.append(&mut known, 0, 1, 1, 10).is_ok());
    assert!(core.commit(&mut known).is_ok());
    assert!(core.checkpoint().is_ok());
    assert_eq!(core.journal.unretired_bytes(), 0);
    assert_eq!(
        core.journal.room(),
        SIZES.round_bytes_max,
        "the room is used again"
    );
    let crashed = disk.crashed(Keep::Nothing);
    replay(&crashed).unwrap();
    check(&crashed, &known);
    let kept = crashed
        .contents()
        .keys()
        .any(|path| path.contains(LogKind::Entries.name()));
    assert!(kept);
}
