//! What a core's main future is given.

use std::sync::Arc;

use crate::flag::LocalFlag;
use crate::health::CoreHealth;
use crate::stop::StopSignal;

/// What a core's main future is given. It belongs to that core's thread.
#[derive(Debug, Clone)]
pub struct CoreContext {
    pub(super) core: usize,
    pub(super) cores: usize,
    pub(super) stopping: LocalFlag,
    pub(super) stop: StopSignal,
    pub(super) health: Arc<CoreHealth>,
}

impl CoreContext {
    /// The number of this core, from 0.
    pub fn core(&self) -> usize {
        self.core
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Raised when the process is to come to its end: the core's view of [`StopSignal`].
    pub fn stopping(&self) -> &LocalFlag {
        &self.stopping
    }

    /// The signal across all cores, to raise it from here.
    pub fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }

    /// The life signs of this core.
    pub fn health(&self) -> &Arc<CoreHealth> {
        &self.health
    }
}
