//! Connections whose request was held back.

use std::collections::{BTreeSet, VecDeque};

/// Connections that wait to offer their request again, in the order in which they were held, so
/// that none of many is passed over for ever.
#[derive(Debug, Default)]
pub(crate) struct Held {
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
}

impl Held {
    /// Notes a connection, once.
    pub(crate) fn hold(&mut self, connection: u64) {
        if self.known.insert(connection) {
            self.order.push_back(connection);
        }
    }

    /// Forgets a connection that is gone.
    pub(crate) fn forget(&mut self, connection: u64) {
        if self.known.remove(&connection) {
            self.order.retain(|held| *held != connection);
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Lets everybody go, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.known.clear();
        self.order.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_in_the_order_in_which_they_were_held() {
        let mut held = Held::default();
        for connection in [3, 1, 3, 2, 1] {
            held.hold(connection);
        }
        held.forget(1);
        assert_eq!(held.drain().collect::<Vec<_>>(), [3, 2]);
        assert!(held.is_empty());
        held.hold(3);
        assert_eq!(
            held.drain().collect::<Vec<_>>(),
            [3],
            "it may be held again"
        );
    }
}
