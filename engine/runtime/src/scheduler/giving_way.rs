//! Leaving the processor for a moment to the threads that carry out syncs.
//!
//! The kernel syncs a file on a worker thread, which it wakes on the processor of the core that
//! asked. The worker needs it three times for some microseconds: to send the data to the disk, to
//! have the disk flush, and to report. A core that works on keeps it waiting for each until its own
//! slice of milliseconds is used up, and then every group commit takes that long. On a machine with
//! a processor to spare nobody is there to give way to, and this costs less than a microsecond.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// How often a core gives way while a sync is under way.
const EVERY: Duration = Duration::from_micros(50);

thread_local! {
    /// Syncs that this core has begun.
    static BEGUN: Cell<u64> = const { Cell::new(0) };
    /// Those of them that have not ended.
    static UNDER_WAY: Cell<u64> = const { Cell::new(0) };
}

/// A sync, from when it is asked for to its end.
#[derive(Debug)]
pub(crate) struct SyncUnderWay(());

impl SyncUnderWay {
    /// It is asked for now.
    pub(crate) fn begin() -> Self {
        BEGUN.set(BEGUN.get() + 1);
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        Self(())
    }
}

impl Drop for SyncUnderWay {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

/// When the core gives way next.
#[derive(Debug)]
pub(super) struct GivingWay {
    due: Cell<Instant>,
    /// How many syncs had begun when the turn did.
    begun_before: Cell<u64>,
}

impl GivingWay {
    pub(super) fn new() -> Self {
        Self {
            due: Cell::new(Instant::now()),
            begun_before: Cell::new(0),
        }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&self, now: Instant) {
        self.begun_before.set(BEGUN.get());
        self.give_way(now);
    }

    /// Gives way if it is time to.
    pub(super) fn give_way(&self, now: Instant) {
        if UNDER_WAY.get() > 0 && now >= self.due.get() {
            thread::yield_now();
            self.due.set(now + EVERY);
        }
    }

    /// Whether a sync was asked for in this turn: the executor hands it to the kernel only when the
    /// turn has ended, so it ends.
    pub(super) fn has_sync_begun(&self) -> bool {
        let begun = BEGUN.get() > self.begun_before.get();
        if begun {
            // The worker is woken then.
            self.due.set(Instant::now());
        }
        begun
    }
}
