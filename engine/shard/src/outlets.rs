//! How much is queued towards each connection, so that delivery stops before memory grows.

use std::collections::BTreeMap;

/// Bytes that may be queued before delivery stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutletLimits {
    /// Towards one connection.
    pub(crate) connection_bytes: usize,
    /// Towards all connections of the core.
    pub(crate) core_bytes: usize,
}

/// Bytes queued towards the connections of one core.
///
/// Delivery that has met a limit stays stopped until a good part of what is queued has left, so
/// that it does not stop and go with every frame. Whoever lets it go on is told for whom: what
/// stopped is started again by [`Outlets::sent`] and [`Outlets::forget`], and by nothing else.
#[derive(Debug)]
pub(crate) struct Outlets {
    limits: OutletLimits,
    outlets: BTreeMap<u64, Outlet>,
    total: usize,
    /// Delivery to every connection has stopped.
    stopped: bool,
}

#[derive(Debug, Default)]
struct Outlet {
    bytes: usize,
    /// Delivery to this connection has stopped.
    stopped: bool,
}

/// To whom delivery is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Reopened {
    /// To nobody.
    None,
    /// To the connection at hand.
    Connection,
    /// To every connection of the core.
    Core,
}

impl Outlets {
    pub(crate) const fn new(limits: OutletLimits) -> Self {
        Self {
            limits,
            outlets: BTreeMap::new(),
            total: 0,
            stopped: false,
        }
    }

    /// Whether more may be delivered to the connection. When not, delivery to it counts as stopped.
    pub(crate) fn open(&mut self, connection: u64) -> bool {
        self.stopped |= self.total >= self.limits.core_bytes;
        if let Some(outlet) = self.outlets.get_mut(&connection) {
            outlet.stopped |= outlet.bytes >= self.limits.connection_bytes;
            if outlet.stopped {
                return false;
            }
        }
        !self.stopped
    }

    /// Notes bytes handed to the rim for the connection.
    pub(crate) fn queue(&mut self, connection: u64, bytes: usize) {
        if bytes > 0 {
            self.outlets.entry(connection).or_default().bytes += bytes;
            self.total += bytes;
        }
    }

    /// Notes bytes that have left.
    pub(crate) fn sent(&mut self, connection: u64, bytes: usize) -> Reopened {
        let Some(outlet) = self.outlets.get_mut(&connection) else {
            return Reopened::None;
        };
        let left = outlet.bytes.saturating_sub(bytes);
        self.total -= outlet.bytes - left;
        outlet.bytes = left;
        let reopened = outlet.stopped && left <= self.limits.connection_bytes / 2;
        outlet.stopped &= !reopened;
        if left == 0 && !outlet.stopped {
            self.outlets.remove(&connection);
        }
        if self.reopen() {
            Reopened::Core
        } else if reopened {
            Reopened::Connection
        } else {
            Reopened::None
        }
    }

    /// Forgets a connection. True when that lets delivery to the others go on.
    #[must_use]
    pub(crate) fn forget(&mut self, connection: u64) -> bool {
        if let Some(outlet) = self.outlets.remove(&connection) {
            self.total -= outlet.bytes;
        }
        self.reopen()
    }

    /// All that is queued, in bytes.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    fn reopen(&mut self) -> bool {
        let reopened = self.stopped && self.total <= self.limits.core_bytes / 4 * 3;
        self.stopped &= !reopened;
        reopened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlets() -> Outlets {
        Outlets::new(OutletLimits {
            connection_bytes: 1000,
            core_bytes: 4000,
        })
    }

    #[test]
    fn a_full_connection_is_closed_to_delivery_until_half_of_it_has_left() {
        let mut outlets = outlets();
        assert!(outlets.open(1));
        outlets.queue(1, 1000);
        assert!(!outlets.open(1));
        assert!(outlets.open(2), "another connection is not held back");
        assert_eq!(outlets.sent(1, 499), Reopened::None);
        assert!(!outlets.open(1), "it stays closed until half has left");
        assert_eq!(outlets.sent(1, 1), Reopened::Connection);
        assert!(outlets.open(1));
        assert_eq!(outlets.sent(1, 500), Reopened::None);
        assert_eq!((outlets.total(), outlets.outlets.len()), (0, 0));
        assert_eq!(
            outlets.sent(1, 5),
            Reopened::None,
            "what leaves late counts for nothing"
        );
    }

    #[test]
    fn a_connection_that_nobody_wanted_to_deliver_to_is_not_reopened() {
        let mut outlets = outlets();
        outlets.queue(1, 1000);
        assert_eq!(outlets.sent(1, 1000), Reopened::None);
    }

    #[test]
    fn a_full_core_is_closed_to_every_delivery_and_all_are_told_when_it_opens() {
        let mut outlets = outlets();
        for connection in 1..=5 {
            outlets.queue(connection, 800);
        }
        assert!(
            !outlets.open(6),
            "nothing is queued for it, and yet the core is full"
        );
        assert_eq!(outlets.sent(1, 800), Reopened::None);
        assert!(!outlets.open(6), "it stays closed until a quarter has left");
        assert_eq!(
            outlets.sent(2, 200),
            Reopened::Core,
            "all are told, not just this one"
        );
        assert!(outlets.open(6));
        outlets.queue(6, 1000);
        assert!(!outlets.open(7));
        assert!(
            outlets.forget(6),
            "one that goes lets the others go on as well"
        );
        assert!(!outlets.forget(6));
        assert!(outlets.open(7));
    }
}
