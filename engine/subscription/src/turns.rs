//! Whose turn it is.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::dispatcher::ConsumerId;

/// The consumers that can take something, by priority and, within one, by how many messages they
/// were given: whoever was given least comes first, and of equals whoever has waited longest. So
/// equal consumers are given as many messages, whatever their entries hold, to within one entry.
///
/// Whoever could take nothing for a while does not catch up on what went to others meanwhile: it
/// comes back as one that was given as much as the one whose turn it was last. (Start-time fair
/// queueing; Goyal, Vin and Cheng, 1996.)
///
/// Every call takes a time that grows with the logarithm of their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    queue: BTreeMap<Place, ConsumerId>,
    places: BTreeMap<ConsumerId, Place>,
    /// What each was given, beginning with what the others had been given when it came.
    given: BTreeMap<ConsumerId, u64>,
    /// What the one whose turn it was last had been given before.
    clock: u64,
    /// The number that the next one in the queue gets.
    next: u64,
}

/// Where a consumer stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: u8,
    given: u64,
    number: u64,
}

/// The consumers, the first one first, and how much more than the clock says each was given: the
/// numbers mean nothing else.
impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue.values();
        let given = self.given.iter();
        let given = given.map(|(consumer, given)| (consumer, given.saturating_sub(self.clock)));
        f.debug_list().entries(queue).finish()?;
        f.debug_map().entries(given).finish()
    }
}

impl Turns {
    /// Puts a consumer into the queue, unless it is there already.
    pub(crate) fn join(&mut self, consumer: ConsumerId, priority: u8) {
        if self.places.contains_key(&consumer) {
            return;
        }
        let given = self.given.entry(consumer).or_default();
        *given = (*given).max(self.clock);
        let place = Place {
            priority,
            given: *given,
            number: self.next,
        };
        self.next += 1;
        self.places.insert(consumer, place);
        self.queue.insert(place, consumer);
    }

    /// Takes a consumer out of the queue.
    pub(crate) fn leave(&mut self, consumer: ConsumerId) {
        if let Some(place) = self.places.remove(&consumer) {
            self.queue.remove(&place);
        }
    }

    /// Notes that the consumer whose turn it was is given so many messages: its turn is over.
    pub(crate) fn took(&mut self, consumer: ConsumerId, messages: u32) {
        if let Some(place) = self.places.get(&consumer) {
            self.clock = self.clock.max(place.given);
            let given = self.given.entry(consumer).or_default();
            *given += u64::from(messages);
        }
        self.leave(consumer);
    }

    /// Forgets a consumer that is gone.
    pub(crate) fn forget(&mut self, consumer: ConsumerId) {
        self.leave(consumer);
        self.given.remove(&consumer);
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
            assert!(place.number < self.next);
            assert_eq!(self.given.get(consumer), Some(&place.given));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Consumers that are always ready are given equal numbers of messages, to within the
        /// largest entry, whatever the entries hold.
        #[test]
        fn equals_are_given_equally(
            consumers in 1_u64..8, entries in prop::collection::vec(1..100_u32, 0..400)
        ) {
            let mut turns = Turns::default();
            let mut given = BTreeMap::new();
            for consumer in 0..consumers {
                turns.join(ConsumerId(consumer), 0);
                given.insert(consumer, 0_u64);
            }
            for messages in entries {
                let consumer = turns.first().unwrap();
                turns.took(consumer, messages);
                turns.join(consumer, 0);
                turns.check_invariants();
                *given.get_mut(&consumer.0).unwrap() += u64::from(messages);
                let (least, most) = (given.values().min().unwrap(), given.values().max().unwrap());
                prop_assert!(most - least < 100, "{given:?}");
            }
        }
    }

    #[test]
    fn who_comes_back_does_not_catch_up() {
        let mut turns = Turns::default();
        let [a, b] = [1, 2].map(ConsumerId);
        turns.join(a, 0);
        for _ in 0..1_000 {
            turns.took(a, 5);
            turns.join(a, 0);
        }
        turns.join(b, 0);
        let mut of_b = 0;
        for _ in 0..100 {
            let first = turns.first().unwrap();
            of_b += u32::from(first == b);
            turns.took(first, 5);
            turns.join(first, 0);
        }
        assert!((49..=51).contains(&of_b), "{of_b} of 100");
    }
}
