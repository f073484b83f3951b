//! How much is queued towards each connection, so that delivery stops before memory grows.

use std::collections::BTreeMap;

use hulse_model::limits::{CONNECTION_OUTPUT_BYTES_MAX, CORE_OUTPUT_BYTES_MAX};

/// Bytes queued towards the connections of one core.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    queued: BTreeMap<u64, usize>,
    total: usize,
}

impl Outlets {
    /// Whether more may be delivered to the connection.
    pub(crate) fn open(&self, connection: u64) -> bool {
        self.total < CORE_OUTPUT_BYTES_MAX
            && self.queued.get(&connection).copied().unwrap_or(0) < CONNECTION_OUTPUT_BYTES_MAX
    }

    /// Notes bytes handed to the rim for the connection.
    pub(crate) fn queue(&mut self, connection: u64, bytes: usize) {
        *self.queued.entry(connection).or_default() += bytes;
        self.total += bytes;
    }

    /// Notes bytes that have left. True when delivery, which had stopped, may go on: at half of the
    /// limit, so that it does not stop and go with every frame.
    pub(crate) fn sent(&mut self, connection: u64, bytes: usize) -> bool {
        let Some(queued) = self.queued.get_mut(&connection) else {
            return false;
        };
        let before = *queued;
        let left = before.saturating_sub(bytes);
        self.total -= before - left;
        *queued = left;
        let half = CONNECTION_OUTPUT_BYTES_MAX / 2;
        before >= half && left < half
    }

    /// Forgets a connection.
    pub(crate) fn forget(&mut self, connection: u64) {
        if let Some(queued) = self.queued.remove(&connection) {
            self.total -= queued;
        }
    }

    /// All that is queued, in bytes.
    pub(crate) fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_connection_is_closed_to_delivery_until_half_of_it_has_left() {
        let mut outlets = Outlets::default();
        assert!(outlets.open(1));
        outlets.queue(1, CONNECTION_OUTPUT_BYTES_MAX);
        assert!(!outlets.open(1));
        assert!(outlets.open(2), "another connection is not held back");
        assert!(!outlets.sent(1, 1000));
        assert!(outlets.sent(1, CONNECTION_OUTPUT_BYTES_MAX / 2));
        assert!(outlets.open(1));
        outlets.forget(1);
        assert_eq!(outlets.total(), 0);
        assert!(
            !outlets.sent(1, 5),
            "what leaves after the connection is gone counts for nothing"
        );
    }
}
