//! What happens on a core's thread, from its first to its last instruction.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::config::IO_MEMORY_BYTES;
use super::{CoreContext, CoreError, CoresConfig, StartError};
use crate::blocking::caught;
use crate::flag::LocalFlag;
use crate::health::{BEAT, CoreHealth};
use crate::scheduler;
use crate::task::{sleep, spawn};

/// What a core's thread tells the one who started it.
pub(super) enum Report<E> {
    /// The executor runs and waits for the word to go.
    Ready,
    /// There is no executor; the thread has ended.
    NotStarted(StartError),
    /// The thread ends.
    Ended {
        core: usize,
        result: Result<(), CoreError<E>>,
    },
}

/// All that a core's thread needs besides its work.
pub(super) struct Seat<E> {
    pub(super) core: usize,
    pub(super) cpu: Option<usize>,
    pub(super) config: CoresConfig,
    pub(super) health: Arc<CoreHealth>,
    pub(super) report: flume::Sender<Report<E>>,
    /// Gives one word for each core when all are ready, or disconnects when one is not.
    pub(super) allowed: flume::Receiver<()>,
}

impl<E: Send + 'static> Seat<E> {
    /// Makes the executor and runs the core's main future on it.
    pub(super) fn run<G, F>(self, body: G)
    where
        G: FnOnce(CoreContext) -> F + 'static,
        F: Future<Output = Result<(), E>> + 'static,
    {
        let core = self.core;
        let report = self.report.clone();
        let health = self.health.clone();
        let executor = match self.executor() {
            Ok(executor) => executor,
            Err(error) => {
                // The one who started us may have given up on another core's error.
                let _ = report.send(Report::NotStarted(error));
                return;
            }
        };
        let turn = self.config.turn;
        let result = caught(|| executor.run(scheduler::run(turn, self.main(body))));
        health.finish();
        let result = match result {
            Ok(None) => return,
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(source))) => Err(CoreError::Failed { core, source }),
            Err(panicked) => Err(CoreError::Panicked {
                core,
                message: panicked.message,
            }),
        };
        let _ = report.send(Report::Ended { core, result });
    }

    fn executor(&self) -> Result<LocalExecutor, StartError> {
        let core = self.core;
        let placement = self.cpu.map_or(Placement::Unbound, Placement::Fixed);
        let mut builder = LocalExecutorBuilder::new(placement)
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(self.config.ring_depth)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(2));
        if !self.config.spin.is_zero() {
            builder = builder.spin_before_park(self.config.spin);
        }
        let made = caught(|| builder.make()).map_err(|panicked| StartError::Panicked {
            core,
            message: panicked.message,
        })?;
        made.map_err(|error| StartError::Executor {
            core,
            reason: error.to_string(),
        })
    }

    /// `None` when another core did not start, so that nothing is to run.
    async fn main<G, F>(self, body: G) -> Option<Result<(), E>>
    where
        G: FnOnce(CoreContext) -> F + 'static,
        F: Future<Output = Result<(), E>> + 'static,
    {
        // The first park of a process takes 10 ms and more.
        sleep(Duration::from_millis(1)).await;
        let _ = self.report.send(Report::Ready);
        self.allowed.recv_async().await.ok()?;

        let stopping = LocalFlag::new();
        let context = CoreContext {
            core: self.core,
            cores: self.config.cores,
            stopping: stopping.clone(),
            stop: self.config.stop.clone(),
            health: self.health.clone(),
        };
        let stop = self.config.stop;
        spawn(async move {
            stop.stopped().await;
            stopping.raise();
        });
        let health = self.health;
        spawn(async move { health.pulse(BEAT).await });
        Some(body(context).await)
    }
}
