//! The cores: one executor each, on a thread of its own.

mod config;
mod context;
mod seat;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread;

pub use config::{CoresConfig, StartError};
pub(crate) use config::{IO_MEMORY_BYTES, MEMLOCK_BYTES_MIN, RINGS};
pub use context::CoreContext;

use rustix::process::{Resource, getrlimit};

use crate::cpus::available_cpus;
use crate::health::CoreHealth;
use crate::stop::StopSignal;
use seat::{Report, Seat};

/// Why a core ended otherwise than by returning `Ok`.
#[derive(Debug, thiserror::Error)]
pub enum CoreError<E> {
    /// Its main future returned an error.
    #[error("core {core} failed: {source}")]
    Failed {
        /// The number of the core.
        core: usize,
        /// What it returned.
        source: E,
    },
    /// A task of it panicked, in a build that unwinds.
    #[error("core {core} panicked: {message}")]
    Panicked {
        /// The number of the core.
        core: usize,
        /// What the panic said.
        message: String,
    },
}

/// The running cores.
///
/// Dropping it leaves them running; [`wait`](Self::wait) for them.
#[must_use = "the cores run on when this is dropped, and their failures go unnoticed"]
pub struct Cores<E> {
    threads: Vec<Option<thread::JoinHandle<()>>>,
    reports: flume::Receiver<Report<E>>,
    health: Vec<Arc<CoreHealth>>,
    stop: StopSignal,
    running: usize,
}

impl<E: Send + 'static> Cores<E> {
    /// Starts the cores and returns when every executor has run once (a first sleep of 1 ms is
    /// slow, so it happens before the core's own work).
    ///
    /// `make` is called here, on the calling thread, with the number of each core; what it returns
    /// goes to the core's thread and makes the core's main future there. So what a core is to own
    /// (listeners, channels) moves through `make`'s result. The core ends when its main future
    /// returns. No core's main future starts unless all executors have started.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing runs then.
    pub fn start<M, G, F>(config: &CoresConfig, mut make: M) -> Result<Self, StartError>
    where
        M: FnMut(usize) -> G,
        G: FnOnce(CoreContext) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + 'static,
    {
        let cpus = available_cpus();
        config.check(cpus.len(), getrlimit(Resource::Memlock).current)?;
        let (report, reports) = flume::unbounded();
        let (go, allowed) = flume::bounded::<()>(config.cores);
        let mut cores = Self {
            threads: Vec::with_capacity(config.cores),
            reports,
            health: Vec::with_capacity(config.cores),
            stop: config.stop.clone(),
            running: 0,
        };
        let mut seats = cpus
            .iter()
            .take(config.cores)
            .enumerate()
            .map(|(core, cpu)| Seat {
                core,
                cpu: config.pin.then_some(*cpu),
                config: config.clone(),
                health: Arc::new(CoreHealth::new(core)),
                report: report.clone(),
                allowed: allowed.clone(),
            });
        let seated = seats.try_for_each(|seat| {
            let body = make(seat.core);
            cores.seat(seat, body)
        });
        if let Err(error) = seated.and_then(|()| cores.await_ready()) {
            // The cores that are ready wait for a word that now never comes, and end.
            drop(go);
            for thread in cores.threads.drain(..).flatten() {
                let _ = thread.join();
            }
            return Err(error);
        }
        for _ in 0..config.cores {
            // Every core holds a receiver until it has got its word.
            let _ = go.send(());
        }
        cores.running = config.cores;
        Ok(cores)
    }

    fn seat<G, F>(&mut self, seat: Seat<E>, body: G) -> Result<(), StartError>
    where
        G: FnOnce(CoreContext) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + 'static,
    {
        let core = seat.core;
        let health = seat.health.clone();
        let thread = thread::Builder::new()
            .name(format!("hulse-core-{core}"))
            .spawn(move || seat.run(body))
            .map_err(|source| StartError::Thread { core, source })?;
        self.threads.push(Some(thread));
        self.health.push(health);
        Ok(())
    }

    /// Waits until every core has said that its executor runs, or one that it does not.
    fn await_ready(&mut self) -> Result<(), StartError> {
        for _ in 0..self.threads.len() {
            match self.reports.recv() {
                Ok(Report::Ready) => {}
                Ok(Report::NotStarted(error)) => return Err(error),
                Ok(Report::Ended { core, result }) => {
                    let message = match result {
                        Err(CoreError::Panicked { message, .. }) => message,
                        Ok(()) | Err(CoreError::Failed { .. }) => {
                            unreachable!("a core's main future waits for the word to go")
                        }
                    };
                    return Err(StartError::Panicked { core, message });
                }
                Err(flume::RecvError::Disconnected) => {
                    unreachable!("every core reports before it ends")
                }
            }
        }
        Ok(())
    }

    /// Blocks until a core fails or all have ended. On a failure it raises the stop signal, so
    /// that the other cores come to their end; call it again to wait for them.
    ///
    /// # Errors
    ///
    /// The first failure that was not returned yet.
    pub fn wait(&mut self) -> Result<(), CoreError<E>> {
        while self.running > 0 {
            let Ok(Report::Ended { core, result }) = self.reports.recv() else {
                unreachable!("a core that was started reports its end, once");
            };
            self.running -= 1;
            let joined = self.threads[core].take().map(thread::JoinHandle::join);
            let result = match joined {
                // The executor panicked after its main future had returned.
                Some(Err(payload)) => result.and_then(|()| {
                    let message = crate::blocking::panic_message(payload.as_ref());
                    Err(CoreError::Panicked { core, message })
                }),
                Some(Ok(())) | None => result,
            };
            if let Err(error) = result {
                self.stop.stop();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl<E> Cores<E> {
    /// The life signs of the cores, by their number, for the watchdog and the metrics.
    pub fn health(&self) -> &[Arc<CoreHealth>] {
        &self.health
    }

    /// The signal that every core hears as [`CoreContext::stopping`].
    pub fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }
}

impl<E> fmt::Debug for Cores<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
