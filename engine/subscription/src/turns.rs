//! Whose turn it is.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::dispatcher::ConsumerId;

/// The consumers that can take something, by priority and, within one, by how long they have
/// waited. Every call takes a time that grows with the logarithm of their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// By priority and number of the turn.
    queue: BTreeMap<(u8, u64), ConsumerId>,
    places: BTreeMap<ConsumerId, (u8, u64)>,
    /// The number that the next one gets.
    next: u64,
}

/// The consumers, the first one first: the numbers of their turns mean nothing else.
impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.queue.values()).finish()
    }
}

impl Turns {
    /// Puts a consumer behind all others of its priority, unless it is there already.
    pub(crate) fn join(&mut self, consumer: ConsumerId, priority: u8) {
        if self.places.contains_key(&consumer) {
            return;
        }
        let place = (priority, self.next);
        self.next += 1;
        self.places.insert(consumer, place);
        self.queue.insert(place, consumer);
    }

    /// Takes a consumer out.
    pub(crate) fn leave(&mut self, consumer: ConsumerId) {
        if let Some(place) = self.places.remove(&consumer) {
            self.queue.remove(&place);
        }
    }

    /// The one whose turn it is.
    pub(crate) fn first(&self) -> Option<ConsumerId> {
        self.queue.first_key_value().map(|(_, consumer)| *consumer)
    }

    pub(crate) fn has(&self, consumer: ConsumerId) -> bool {
        self.places.contains_key(&consumer)
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.queue.len(), self.places.len());
        for (place, consumer) in &self.queue {
            assert_eq!(self.places.get(consumer), Some(place));
            assert!(place.1 < self.next);
        }
    }
}
