//! What the partitions of one producer share.

use std::sync::{Arc, OnceLock};

use crate::error::ClientError;
use crate::producer::budget::Budget;

/// The budget of a producer, and whether it has failed.
#[derive(Debug)]
pub(crate) struct ProducerShared {
    pub(crate) budget: Budget,
    failed: OnceLock<ClientError>,
}

impl ProducerShared {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            failed: OnceLock::new(),
        }
    }

    /// Refuses every message from now on, with the first cause that was given.
    pub(crate) fn fail(&self, error: ClientError) {
        // The first cause is the one that counts.
        let _ = self.failed.set(error);
        self.budget.close();
    }

    /// Why messages are refused, if they are.
    pub(crate) fn failed(&self) -> Option<ClientError> {
        self.failed.get().cloned()
    }

    /// The error of a producer that had to give up.
    pub(crate) fn gave_up(name: &str, cause: ClientError) -> ClientError {
        match cause {
            ClientError::Closed => ClientError::Closed,
            cause => ClientError::ProducerFailed {
                name: name.to_owned(),
                cause: Arc::new(cause),
            },
        }
    }
}
