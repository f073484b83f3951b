//! A flag of one core that is raised once and never lowered.

use std::cell::Cell;
use std::rc::Rc;

use crate::event::LocalEvent;

/// A flag that is raised once and stays up; tasks of the same core wait for it. Clones are the
/// same flag.
#[derive(Debug, Clone, Default)]
pub struct LocalFlag {
    raised: Rc<Cell<bool>>,
    event: LocalEvent,
}

impl LocalFlag {
    /// A flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag and wakes all that wait for it.
    pub fn raise(&self) {
        if !self.raised.replace(true) {
            self.event.notify();
        }
    }

    /// Whether the flag is up.
    pub fn is_raised(&self) -> bool {
        self.raised.get()
    }

    /// Waits until the flag is up.
    pub async fn raised(&self) {
        while !self.is_raised() {
            self.event.listen().await;
        }
    }
}
