//! Exploring every run of a small world.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use hulse_model::Offset;
use hulse_subscription::{
    Claim, ConsumerId, Cursor, DispatchLimits, Dispatcher, KeySlot, SubscriptionKind,
};

/// A world that is small enough for all its runs to be tried. What it shows as [`Debug`] is all that
/// its future depends on: two worlds that show the same are one.
pub(crate) trait World: Clone + Debug {
    /// Something that may happen.
    type Step: Copy + Debug;

    /// What may happen now.
    fn steps(&self) -> Vec<Self::Step>;

    /// Lets it happen, and looks whether the world is in order.
    ///
    /// # Panics
    /// When it is not.
    fn take(&mut self, step: Self::Step);

    /// Entries delivered so far.
    fn delivered(&self) -> u64;
}

/// What was explored.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) worlds: usize,
    pub(crate) deliveries: u64,
}

/// Tries every run of at most `depth` steps, breadth first, each different world once.
///
/// # Errors
/// The shortest run into a world that is not in order.
pub(crate) fn try_explore<W: World>(first: W, depth: usize) -> Result<Explored, Vec<W::Step>> {
    let mut seen = BTreeSet::from([format!("{first:?}")]);
    let mut queue = VecDeque::from([(first, Vec::new())]);
    let mut deliveries = 0;
    while let Some((world, path)) = queue.pop_front() {
        for step in world.steps() {
            let mut next = world.clone();
            let mut path: Vec<W::Step> = path.clone();
            path.push(step);
            let taken = catch_unwind(AssertUnwindSafe(|| next.take(step)));
            if taken.is_err() {
                return Err(path);
            }
            deliveries += next.delivered() - world.delivered();
            if seen.insert(format!("{next:?}")) && path.len() < depth {
                queue.push_back((next, path));
            }
        }
    }
    Ok(Explored {
        worlds: seen.len(),
        deliveries,
    })
}

/// The same where every world must be in order.
///
/// # Panics
/// When one is not.
pub(crate) fn explore<W: World>(first: W, depth: usize) -> Explored {
    let explored = try_explore(first, depth);
    let explored = explored.unwrap_or_else(|path| panic_any(format!("the shortest run: {path:?}")));
    println!("{explored:?}");
    explored
}

/// The offset of an entry by its place in the world.
pub(crate) const fn at(entry: usize) -> Offset {
    Offset(entry as u64)
}

/// A consumer by its place in the world.
pub(crate) const fn id(consumer: usize) -> ConsumerId {
    ConsumerId(consumer as u64)
}

/// The place of a consumer in the world.
pub(crate) fn number(consumer: ConsumerId) -> usize {
    usize::try_from(consumer.0).unwrap()
}

/// One slot that each of two consumers, `a` and `b`, has when both are there, found by asking.
pub(crate) fn slots_of_each(limits: DispatchLimits) -> [KeySlot; 2] {
    [0, 1].map(|wanted| {
        let keys = (0..100_u32).map(|key| KeySlot::of(Some(&key.to_le_bytes())));
        let mut of_wanted = keys.filter(|slot| {
            let kind = SubscriptionKind::KeyShared;
            let mut dispatcher = Dispatcher::new(kind, 0, limits);
            let cursor = Cursor::default();
            for (consumer, name) in ["a", "b"].into_iter().enumerate() {
                let claim = Claim {
                    name,
                    ..Claim::default()
                };
                dispatcher.attach(id(consumer), claim, &cursor).unwrap();
                dispatcher.permits(id(consumer), 1).unwrap();
            }
            let delivery = dispatcher.delivered(&cursor, at(0), 1, *slot);
            delivery.is_some_and(|it| it.consumer == id(wanted))
        });
        of_wanted.next().expect("one of a hundred keys")
    })
}
