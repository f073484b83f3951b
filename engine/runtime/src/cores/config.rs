//! How the cores are set up, and why that may fail.

use std::io;
use std::time::Duration;

use crate::stop::StopSignal;

/// Buffer memory that each executor registers with its ring, in bytes: the least that it takes.
/// Only direct I/O would use it, and there is none.
pub(crate) const IO_MEMORY_BYTES: usize = 64 * 1024;

/// How often the executor registers that memory: once for each of its rings.
pub(crate) const RINGS: usize = 3;

/// The memlock limit below which the executor refuses to start, in bytes.
pub(crate) const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

const TURN_MIN: Duration = Duration::from_micros(100);
const TURN_MAX: Duration = Duration::from_millis(1);
const RING_DEPTH_MIN: usize = 16;
const RING_DEPTH_MAX: usize = 4096;

/// How the cores are set up.
#[derive(Debug, Clone)]
pub struct CoresConfig {
    /// How many cores, at most one for each processor that the process may use.
    pub cores: usize,
    /// Whether core i stays on the i-th of those processors.
    pub pin: bool,
    /// How long an idle core looks for work before it sleeps: 0, or 50 to 100 us where the
    /// processor has nothing else to do (it is busy all that time). Needs `pin`.
    pub spin: Duration,
    /// How many requests the core's rings take at a time, 16 to 4096.
    pub ring_depth: usize,
    /// After how long a busy core looks at completions and timers, 100 us to 1 ms.
    pub turn: Duration,
    /// Tells every core to come to its end.
    pub stop: StopSignal,
}

impl Default for CoresConfig {
    /// One pinned core, no spinning, 512 requests, 500 us.
    fn default() -> Self {
        Self {
            cores: 1,
            pin: true,
            spin: Duration::ZERO,
            ring_depth: 512,
            turn: Duration::from_micros(500),
            stop: StopSignal::new(),
        }
    }
}

impl CoresConfig {
    /// Whether the executors could run so on `available` processors, with `memlock` bytes of memory
    /// that may be locked (`None` without a limit).
    pub(crate) fn check(&self, available: usize, memlock: Option<u64>) -> Result<(), StartError> {
        let asked = self.cores;
        if asked == 0 {
            return Err(StartError::NoCores);
        }
        if asked > available {
            return Err(StartError::TooManyCores { asked, available });
        }
        if !self.spin.is_zero() && !self.pin {
            return Err(StartError::SpinNeedsPin);
        }
        if !(TURN_MIN..=TURN_MAX).contains(&self.turn) {
            return Err(StartError::Turn { asked: self.turn });
        }
        if !(RING_DEPTH_MIN..=RING_DEPTH_MAX).contains(&self.ring_depth) {
            return Err(StartError::RingDepth {
                asked: self.ring_depth,
            });
        }
        if let Some(limit) = memlock.filter(|limit| *limit < MEMLOCK_BYTES_MIN) {
            let needed = MEMLOCK_BYTES_MIN;
            return Err(StartError::MemoryLock { limit, needed });
        }
        Ok(())
    }
}

/// Why the cores did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No core was asked for.
    #[error("a broker needs at least one core")]
    NoCores,
    /// More cores than processors.
    #[error("{asked} cores were asked for, and this process may use {available} processors")]
    TooManyCores {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        available: usize,
    },
    /// Spinning without pinning.
    #[error("spinning needs cores that are pinned to their processors")]
    SpinNeedsPin,
    /// The turn is out of its range.
    #[error("a core's turn must be 100 us to 1 ms, not {} us", asked.as_micros())]
    Turn {
        /// What was asked for.
        asked: Duration,
    },
    /// The ring depth is out of its range.
    #[error("the ring depth must be {RING_DEPTH_MIN} to {RING_DEPTH_MAX}, not {asked}")]
    RingDepth {
        /// What was asked for.
        asked: usize,
    },
    /// The system gave no thread.
    #[error("no thread for core {core}: {source}")]
    Thread {
        /// The number of the core.
        core: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The limit on locked memory is too low. The executor would say so by its thread's end.
    #[error(
        "this process may lock {limit} bytes of memory and needs {needed}; raise the limit: \
         `ulimit -l {}`, LimitMEMLOCK= in a systemd unit, or `--ulimit memlock=-1` for a container",
        needed / 1024
    )]
    MemoryLock {
        /// The limit, in bytes.
        limit: u64,
        /// What is needed at the least, in bytes.
        needed: u64,
    },
    /// The executor could not be made.
    #[error("the executor of core {core} could not be made: {reason}")]
    Executor {
        /// The number of the core.
        core: usize,
        /// What it said.
        reason: String,
    },
    /// The executor panicked while it started, in a build that unwinds. It does so where io_uring
    /// is not permitted: [`check_machine`](crate::preflight::check_machine) tells beforehand.
    #[error("the executor of core {core} panicked while it started: {message}")]
    Panicked {
        /// The number of the core.
        core: usize,
        /// What the panic said.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut CoresConfig)) -> String {
        let mut config = CoresConfig::default();
        change(&mut config);
        config.check(2, None).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_run_is_refused_in_plain_words() {
        CoresConfig::default()
            .check(1, Some(MEMLOCK_BYTES_MIN))
            .expect("the default runs on one processor");
        assert_eq!(refusal(|c| c.cores = 0), "a broker needs at least one core");
        assert_eq!(
            refusal(|c| c.cores = 3),
            "3 cores were asked for, and this process may use 2 processors"
        );
        let unpinned = refusal(|c| {
            c.pin = false;
            c.spin = Duration::from_micros(50);
        });
        assert_eq!(
            unpinned,
            "spinning needs cores that are pinned to their processors"
        );
        assert_eq!(
            refusal(|c| c.turn = Duration::from_millis(100)),
            "a core's turn must be 100 us to 1 ms, not 100000 us"
        );
        assert_eq!(
            refusal(|c| c.ring_depth = 8),
            "the ring depth must be 16 to 4096, not 8"
        );
    }
}
