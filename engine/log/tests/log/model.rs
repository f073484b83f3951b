//! Goal: the log behaves like a vector of entries, whatever the order of operations.
//! Method: random operations on both, with reopening, compared after each.

use hulse_log::sim::{Fault, Keep, SimDisk, SimRng};
use hulse_log::{AppendError, Disk, PartitionStore, Retention};
use hulse_model::{Offset, Term};

use crate::bed::{announce, append, create, draft, open, path, payload, read_all, seeds};

/// A log as a vector: the entry at index i has offset `start + i`.
struct Model {
    start: u64,
    entries: Vec<(u64, Vec<u8>)>,
    written: u64,
    flushed: u64,
    term: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    fn cut(&mut self, end: u64) {
        self.entries
            .truncate(usize::try_from(end - self.start).unwrap());
    }
}

struct Run {
    rng: SimRng,
    disk: SimDisk,
    store: PartitionStore<SimDisk>,
    model: Model,
    tag: u64,
}

impl Run {
    fn step(&mut self) {
        match self.rng.below(100) {
            0..50 => self.append(),
            50..65 => self.store.entries.write().unwrap(),
            65..80 => self.sync(),
            80..84 => self.model.term += 1,
            84..88 => self.truncate(),
            88..93 => self.retain(),
            93..95 => self.prepare(),
            95..98 => self.close_idle(),
            _ => self.reopen(),
        }
        self.model.written = self.store.entries.written().0;
        if self.store.entries.staged_bytes() == 0 {
            self.model.written = self.model.end();
        }
    }

    fn append(&mut self) {
        let bytes = match self.rng.below(20) {
            0 => 70_000,
            1..4 => 3_000,
            _ => usize::try_from(self.rng.below(400)).unwrap(),
        };
        self.tag += 1;
        let payload = payload(self.tag, bytes);
        let term = Term(self.model.term);
        let appended = append(&mut self.store.entries, term, &draft(&payload, self.tag)).unwrap();
        assert_eq!(appended.offset.0, self.model.end());
        self.model.entries.push((self.model.term, payload));
    }

    fn sync(&mut self) {
        let log = &mut self.store.entries;
        let Some(ticket) = log.begin_sync() else {
            assert_eq!(log.flushed(), log.end(), "there is nothing to sync");
            return;
        };
        assert!(
            log.begin_sync().is_none(),
            "one sync is in flight at a time"
        );
        let upto = ticket.upto();
        let result = ticket.run();
        self.append();
        self.store.entries.finish_sync(ticket, result);
        assert_eq!(self.store.entries.flushed(), upto);
        self.model.flushed = upto.0;
    }

    fn truncate(&mut self) {
        let length = self.model.entries.len() as u64;
        let cut = self.model.start + self.rng.below(length + 1);
        let last = (cut - self.model.start).checked_sub(1);
        let term = last.map_or(0, |at| self.model.entries[usize::try_from(at).unwrap()].0);
        self.store
            .entries
            .truncate_to(Term(term), Offset(cut))
            .unwrap();
        if cut < self.model.end() {
            self.model.flushed = cut;
        }
        self.model.cut(cut);
        self.model.term = self.model.term.max(term);
    }

    fn retain(&mut self) {
        let log = &mut self.store.entries;
        let policy = Retention {
            max_bytes: Some(100_000),
            max_age_ms: None,
        };
        let floor = Offset(self.model.start + self.model.entries.len() as u64 / 2);
        if let Some(removal) = log.retain(&policy, 0, floor) {
            removal.run().unwrap();
            let start = log.start().0;
            assert!(start > self.model.start && start <= floor.0);
            let gone = usize::try_from(start - self.model.start).unwrap();
            self.model.entries.drain(..gone);
            self.model.start = start;
        }
    }

    fn prepare(&mut self) {
        if let Some(prepare) = self.store.entries.segment_wanted() {
            self.store.entries.segment_prepared(prepare.run()).unwrap();
        }
    }

    /// Closes the files; half the time, the next append finds that it cannot open one.
    fn close_idle(&mut self) {
        let log = &mut self.store.entries;
        let settled = log.flushed() == log.end() && !log.is_footer_unsynced();
        assert_eq!(log.close_idle(), settled);
        if !settled {
            return;
        }
        assert!(self.disk.open_files().is_empty());
        if self.rng.once_in(2) {
            self.disk.inject(Fault::Open);
            let bytes = usize::try_from(self.rng.below(3_000)).unwrap();
            let payload = payload(self.tag, bytes);
            let term = Term(self.model.term);
            match log.append(term, &draft(&payload, self.tag)) {
                Err(AppendError::Unopened { .. }) => {}
                // Nothing was opened, so that the fault still waits for the one who tries.
                Err(AppendError::NoRoom { .. }) => {
                    self.disk.open(&path("MANIFEST")).unwrap_err();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn reopen(&mut self) {
        let clean = self.rng.once_in(2);
        if clean {
            let store = std::mem::replace(&mut self.store, create(&SimDisk::new()));
            store.close_clean().unwrap();
            self.disk = self.disk.crashed(Keep::Nothing);
        } else {
            self.model.cut(self.store.entries.written().0);
            self.disk = self.disk.crashed(Keep::All);
        }
        let (store, report) = open(&self.disk).unwrap();
        assert!(report.entries.damaged.is_empty(), "{report:?}");
        assert_eq!(report.entries.torn_tail, None);
        if clean {
            assert!(report.is_clean(), "{report:?}");
        }
        self.store = store;
        self.model.flushed = self.model.end();
    }

    fn check(&mut self) {
        let log = &mut self.store.entries;
        assert_eq!(log.start().0, self.model.start);
        assert_eq!(log.end().0, self.model.end());
        assert_eq!(log.written().0, self.model.written);
        assert_eq!(log.flushed().0, self.model.flushed);
        let written = usize::try_from(self.model.written - self.model.start).unwrap();
        let held = read_all(log);
        assert!(held.damaged.is_empty());
        let expected: Vec<_> = (self.model.start..)
            .zip(&self.model.entries[..written])
            .map(|(offset, (term, payload))| (offset, *term, payload.clone()))
            .collect();
        assert!(held.entries == expected, "the entries differ");
        let mut terms: Vec<(Term, Offset)> = Vec::new();
        for (offset, (term, _)) in (self.model.start..).zip(&self.model.entries) {
            if terms.last().is_none_or(|(last, _)| last.0 != *term) {
                terms.push((Term(*term), Offset(offset)));
            }
        }
        assert_eq!(log.terms(), terms);
        if let Some(length) = (written as u64).checked_sub(1).filter(|length| *length > 0) {
            // From anywhere, with a cursor that has never been there.
            let offset = self.model.start + self.rng.below(length);
            let found = crate::bed::read_one(log, offset).unwrap().unwrap();
            assert!(
                found == self.model.entries[usize::try_from(offset - self.model.start).unwrap()].1
            );
        }
    }
}

#[test]
fn the_log_is_a_vector() {
    for seed in seeds(60) {
        announce(seed);
        let disk = SimDisk::new();
        let store = create(&disk);
        let model = Model {
            start: 0,
            entries: Vec::new(),
            written: 0,
            flushed: 0,
            term: 1,
        };
        let mut run = Run {
            rng: SimRng::new(seed),
            disk,
            store,
            model,
            tag: seed << 32,
        };
        for _ in 0..150 {
            run.step();
            run.check();
        }
    }
}
