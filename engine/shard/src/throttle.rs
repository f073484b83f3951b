//! Connections that are not read while a rate is used up, and whose turn it is when it is not.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::rate::RateLimit;

/// The queues of one core, one for each rate that somebody waits for.
#[derive(Debug)]
pub(crate) struct Throttle {
    core: usize,
    queues: Vec<Queue>,
}

/// The connections that wait for one rate, in the order in which they came. They go one by one, a
/// batch each, so that none of many waits for ever behind one that has always something to send.
#[derive(Debug)]
struct Queue {
    limit: Arc<RateLimit>,
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
    /// The connection that was let go last, which has not published since.
    turn: Option<u64>,
}

impl Queue {
    fn new(limit: Arc<RateLimit>) -> Self {
        limit.core_waits();
        Self {
            limit,
            order: VecDeque::new(),
            known: BTreeSet::new(),
            turn: None,
        }
    }

    fn hold(&mut self, connection: u64) {
        if self.turn == Some(connection) {
            self.turn = None;
        }
        if self.known.insert(connection) {
            self.order.push_back(connection);
        }
    }

    /// Lets the first one go.
    fn next(&mut self) -> Option<u64> {
        self.turn = self.order.pop_front();
        if let Some(connection) = self.turn {
            self.known.remove(&connection);
        }
        self.turn
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.limit.core_waits_no_more();
    }
}

impl Throttle {
    /// The queues of core number `core`, in which nobody waits.
    pub(crate) const fn new(core: usize) -> Self {
        Self {
            core,
            queues: Vec::new(),
        }
    }

    /// Whether a connection may publish now under all of these rates. If not, it is held back, and
    /// [`Self::open`] or [`Self::took`] names it when its turn has come.
    pub(crate) fn admits(
        &mut self,
        connection: u64,
        limits: &[Arc<RateLimit>],
        now_ms: u64,
    ) -> bool {
        for limit in limits {
            let at = self.queue_at(limit);
            let waits = at.is_some_and(|at| {
                let queue = &self.queues[at];
                queue.turn != Some(connection) && !queue.order.is_empty()
            });
            if !waits && limit.is_open(self.core, at.is_some(), now_ms) {
                continue;
            }
            let queue = match at {
                Some(at) => &mut self.queues[at],
                None => {
                    self.queues.push(Queue::new(limit.clone()));
                    self.queues.last_mut().expect("it has just been added")
                }
            };
            queue.hold(connection);
            return false;
        }
        true
    }

    /// A batch was stored. Names the connections whose turn it is now.
    pub(crate) fn took(
        &mut self,
        limits: &[Arc<RateLimit>],
        (bytes, messages): (usize, u32),
        now_ms: u64,
        mut resume: impl FnMut(u64),
    ) {
        for limit in limits {
            limit.take(self.core, now_ms, bytes, messages);
            if let Some(at) = self.queue_at(limit)
                && limit.is_open(self.core, true, now_ms)
                && let Some(next) = self.queues[at].next()
            {
                resume(next);
            }
        }
    }

    /// Lets time pass: names the connections whose turn it is now.
    pub(crate) fn open(&mut self, now_ms: u64, mut resume: impl FnMut(u64)) {
        for queue in &mut self.queues {
            if queue.limit.is_open(self.core, true, now_ms)
                && let Some(next) = queue.next()
            {
                resume(next);
            }
        }
        self.queues
            .retain(|queue| !queue.order.is_empty() || queue.turn.is_some());
    }

    /// Lets everybody go: what holds has changed.
    pub(crate) fn drain(&mut self, mut resume: impl FnMut(u64)) {
        for mut queue in std::mem::take(&mut self.queues) {
            queue.order.drain(..).for_each(&mut resume);
        }
    }

    /// Forgets a connection that is gone. Whoever comes behind it is named by [`Self::open`].
    pub(crate) fn forget(&mut self, connection: u64) {
        for queue in &mut self.queues {
            if queue.known.remove(&connection) {
                queue.order.retain(|held| *held != connection);
            }
            if queue.turn == Some(connection) {
                queue.turn = None;
            }
        }
    }

    /// The rates that somebody waits for, with how many connections.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&RateLimit, usize)> {
        let queues = self.queues.iter().filter(|queue| !queue.order.is_empty());
        queues.map(|queue| (&*queue.limit, queue.order.len()))
    }

    fn queue_at(&self, limit: &Arc<RateLimit>) -> Option<usize> {
        self.queues
            .iter()
            .position(|queue| Arc::ptr_eq(&queue.limit, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hulse_model::Rate;
    use std::collections::BTreeMap;

    fn limit(messages: u64) -> Arc<RateLimit> {
        let rate = Rate {
            bytes_per_s: None,
            messages_per_s: Some(messages),
        };
        Arc::new(RateLimit::new("acme".parse().unwrap(), rate))
    }

    #[test]
    fn many_connections_share_a_rate_evenly_and_all_of_it() {
        let limits = [limit(100)];
        let mut throttle = Throttle::new(0);
        let mut sent = BTreeMap::new();
        // The first has always something to send, the others one batch at a time.
        let mut ready: VecDeque<u64> = (1..=10).collect();
        for now in (0..20_000).step_by(50) {
            throttle.open(now, |connection| ready.push_back(connection));
            while let Some(connection) = ready.pop_front() {
                while throttle.admits(connection, &limits, now) {
                    *sent.entry(connection).or_insert(0) += 1;
                    throttle.took(&limits, (10, 1), now, |next| ready.push_back(next));
                }
            }
        }
        let all: u64 = sent.values().sum();
        assert!((1_900..=2_120).contains(&all), "{all} of 2000");
        assert!(
            sent.values().all(|one| (150..=260).contains(one)),
            "{sent:?}"
        );
    }

    #[test]
    fn a_connection_that_goes_leaves_its_turn_to_the_next() {
        let limits = [limit(10)];
        let mut throttle = Throttle::new(0);
        assert!(throttle.admits(1, &limits, 0));
        throttle.took(&limits, (10, 3), 0, |_| panic!("nobody waits"));
        assert!(!throttle.admits(1, &limits, 0));
        assert!(!throttle.admits(2, &limits, 0));
        assert_eq!(throttle.waiting().map(|(_, held)| held).sum::<usize>(), 2);
        let mut named = Vec::new();
        throttle.open(100, |connection| named.push(connection));
        assert_eq!(named, [1]);
        assert!(!throttle.admits(3, &limits, 100), "it came last");
        throttle.forget(1);
        throttle.open(150, |connection| named.push(connection));
        assert_eq!(named, [1, 2]);
        assert!(throttle.admits(2, &limits, 150));
        throttle.drain(|connection| named.push(connection));
        assert_eq!(named, [1, 2, 3]);
        assert_eq!(throttle.waiting().count(), 0);
    }

    #[test]
    fn every_level_holds_by_itself() {
        let (wide, narrow) = (limit(1_000), limit(10));
        let both = [wide.clone(), narrow.clone()];
        let mut throttle = Throttle::new(0);
        assert!(throttle.admits(1, &both, 0));
        throttle.took(&both, (10, 10), 0, |_| {});
        assert!(!throttle.admits(1, &both, 0), "the narrow one is used up");
        let other = [wide];
        assert!(throttle.admits(2, &other, 0), "the wide one is not");
    }
}
