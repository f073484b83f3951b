//! Which partition a message goes to. Pure.

use std::sync::atomic::{AtomicUsize, Ordering};

use hulse_model::key_hash;

/// Keys go by their hash; messages without a key go in turn, a whole batch to the same partition.
///
/// The hash is MurmurHash3 x86 32 with seed 0 and without its top bit, modulo the number of
/// partitions: the choice that Pulsar's clients know as `Murmur3_32Hash`, so that both kinds of
/// producers put a key into the same partition.
#[derive(Debug)]
pub(crate) struct Router {
    turn: AtomicUsize,
}

impl Router {
    /// A router over `partitions`, at least one, that begins at `first`. There are never fewer
    /// afterwards.
    pub(crate) fn new(partitions: usize, first: usize) -> Self {
        assert!(partitions > 0, "a topic has at least one partition");
        Self {
            turn: AtomicUsize::new(first % partitions),
        }
    }

    /// Where a message with this key goes, as an index below the number of partitions.
    pub(crate) fn route(&self, key: Option<&[u8]>, partitions: usize) -> usize {
        match key {
            _ if partitions == 1 => 0,
            Some(key) => key_hash(key) as usize % partitions,
            None => self.turn.load(Ordering::Relaxed),
        }
    }

    /// The batch at `index` is on its way: messages without a key go to the next partition.
    pub(crate) fn turned(&self, index: usize, partitions: usize) {
        if partitions > 1 {
            let next = (index + 1) % partitions;
            // When another sender has moved on already, its choice stands.
            let _ = self
                .turn
                .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_and_the_rest_goes_in_turn() {
        let router = Router::new(3, 0);
        let at = router.route(Some(b"k"), 3);
        assert!((0..100).all(|_| router.route(Some(b"k"), 3) == at));
        let mut turns = Vec::new();
        for _ in 0..4 {
            assert_eq!(
                router.route(None, 3),
                router.route(None, 3),
                "sticky until the batch is sent"
            );
            turns.push(router.route(None, 3));
            router.turned(router.route(None, 3), 3);
        }
        assert_eq!(turns, [0, 1, 2, 0]);
    }

    #[test]
    fn new_partitions_get_their_turn() {
        let router = Router::new(2, 1);
        let turns = [2, 2, 4, 4, 4, 4].map(|partitions| {
            let at = router.route(None, partitions);
            router.turned(at, partitions);
            at
        });
        assert_eq!(turns, [1, 0, 1, 2, 3, 0]);
    }

    #[test]
    fn keys_spread_over_all_partitions() {
        let router = Router::new(8, 0);
        let mut counts = [0; 8];
        for n in 0..8_000_u32 {
            counts[router.route(Some(&n.to_le_bytes()), 8)] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }
}
