//! Groups over the cores of one broker, by measured load: which group is to move where, and when.
//!
//! Moving costs a pause of its group's clients, and a load that was measured is a load that was. So
//! the rules are slow on purpose: a core must have been hot for several windows in a row, the move
//! must make the hotter of the two cores clearly cooler (so that a hot spot is never carried to and
//! fro), a group that has moved rests, and an hour has a cap. One move at a time.
//!
//! Time comes as an argument, loads as parts in a thousand of one core's time.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Milliseconds of the time over which moves are capped.
const HOUR_MS: u64 = 3_600_000;

/// When a group is moved. Loads are in thousandths of one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A core below this load is not hot, however idle the others are.
    pub high: u32,
    /// A core is hot when another's load is lower by so much.
    pub margin: u32,
    /// A move must take so much off the hotter of the two cores, when both are counted after it.
    pub gain: u32,
    /// For how many windows in a row a core must have been hot.
    pub windows: u32,
    /// How long a group that has moved, or was not moved when it should have been, rests.
    pub rest_ms: u64,
    /// The most moves of an hour.
    pub hourly_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self::above(600)
    }
}

impl Rules {
    /// The usual rules, for cores that are hot above this load; what counts as a difference goes with
    /// it.
    #[must_use]
    pub const fn above(high: u32) -> Self {
        Self {
            high,
            margin: high / 3,
            gain: high / 12,
            windows: 3,
            rest_ms: 300_000,
            hourly_max: 20,
        }
    }
}

/// What one group has done in a window, in any unit of work that all groups share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupWork<G> {
    /// The group.
    pub group: G,
    /// The core that served it.
    pub core: usize,
    /// Its work.
    pub work: u64,
}

/// A group is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move<G> {
    /// The group.
    pub group: G,
    /// The core that serves it.
    pub from: usize,
    /// The core that is to serve it.
    pub to: usize,
    /// The load of the first core, in thousandths.
    pub from_load: u32,
    /// The load of the second one.
    pub to_load: u32,
    /// What of the first one's load is the group's.
    pub group_load: u32,
}

/// Decides about moves from one window to the next. One for each broker.
#[derive(Debug, Clone)]
pub struct Balancer<G> {
    rules: Rules,
    /// Each core's load, smoothed over windows.
    cores: Vec<u32>,
    /// Each group's load, smoothed alike.
    groups: BTreeMap<G, u32>,
    /// The core that was hot in the last windows, and in how many.
    hot: Option<(usize, u32)>,
    /// When each group moved last, or could not.
    moved: BTreeMap<G, u64>,
    /// When groups moved within the last hour.
    recent: VecDeque<u64>,
}

impl<G: Copy + Ord> Balancer<G> {
    /// A balancer that has seen nothing.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            cores: Vec::new(),
            groups: BTreeMap::new(),
            hot: None,
            moved: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// Takes a window's measurements: how busy each core was, in thousandths of its time, and what
    /// the groups have done. Gives the move that is due, if one is. The caller carries it out or
    /// not, and either way says so by [`Self::done`].
    pub fn observe(&mut self, now_ms: u64, busy: &[u32], work: &[GroupWork<G>]) -> Option<Move<G>> {
        self.measure(busy, work);
        while self.recent.front().is_some_and(|at| at + HOUR_MS <= now_ms) {
            self.recent.pop_front();
        }
        let rest_ms = self.rules.rest_ms;
        self.moved.retain(|_, at| *at + rest_ms > now_ms);
        let (hot, cool) = self.extremes()?;
        self.hot = match self.hot {
            Some((core, windows)) if core == hot => Some((core, windows.saturating_add(1))),
            _ => Some((hot, 1)),
        };
        let long_enough = self
            .hot
            .is_some_and(|(_, windows)| windows >= self.rules.windows);
        if !long_enough || self.recent.len() >= self.rules.hourly_max {
            return None;
        }
        self.best(hot, cool, work)
    }

    /// A move that was due was carried out, or was not: then its group rests all the same.
    pub fn done(&mut self, now_ms: u64, it: &Move<G>, made: bool) {
        self.moved.insert(it.group, now_ms);
        self.hot = None;
        if made {
            self.recent.push_back(now_ms);
            // What was measured at the old core counts for the new one from now on.
            self.cores[it.from] = self.cores[it.from].saturating_sub(it.group_load);
            self.cores[it.to] += it.group_load;
        }
    }

    /// Brings the smoothed loads up to date. A core's time is shared among its groups by their work.
    fn measure(&mut self, busy: &[u32], work: &[GroupWork<G>]) {
        if self.cores.len() != busy.len() {
            self.cores = busy.to_vec();
        }
        for (load, busy) in self.cores.iter_mut().zip(busy) {
            *load = smoothed(*load, *busy);
        }
        let mut totals = alloc::vec![0_u64; busy.len()];
        for one in work.iter().filter(|one| one.core < busy.len()) {
            totals[one.core] = totals[one.core].saturating_add(one.work);
        }
        let share = |one: &GroupWork<G>| {
            let total = totals.get(one.core).copied().unwrap_or_default();
            let busy = busy.get(one.core).copied().unwrap_or_default();
            let share = u128::from(busy) * u128::from(one.work) / u128::from(total.max(1));
            u32::try_from(share).unwrap_or(u32::MAX)
        };
        let before = core::mem::take(&mut self.groups);
        for one in work {
            let now = share(one);
            let load = before
                .get(&one.group)
                .map_or(now, |last| smoothed(*last, now));
            self.groups.insert(one.group, load);
        }
    }

    /// The hottest core and the coolest, if the first is hot.
    fn extremes(&mut self) -> Option<(usize, usize)> {
        let loads = || self.cores.iter().copied().enumerate();
        let hot = loads().max_by_key(|(core, load)| (*load, usize::MAX - core));
        let cool = loads().min_by_key(|(core, load)| (*load, *core));
        let found = hot.zip(cool).filter(|((_, hot), (_, cool))| {
            *hot >= self.rules.high && *hot >= cool.saturating_add(self.rules.margin)
        });
        if found.is_none() {
            self.hot = None;
        }
        found.map(|((hot, _), (cool, _))| (hot, cool))
    }

    /// The group of the hot core whose move leaves the two cores the most even, if that is worth it.
    fn best(&self, hot: usize, cool: usize, work: &[GroupWork<G>]) -> Option<Move<G>> {
        let (from_load, to_load) = (self.cores[hot], self.cores[cool]);
        let after = |load: u32| (from_load.saturating_sub(load)).max(to_load + load);
        let candidates = work.iter().filter(|one| one.core == hot);
        let candidates = candidates.filter(|one| !self.moved.contains_key(&one.group));
        let candidates =
            candidates.filter_map(|one| Some((one.group, *self.groups.get(&one.group)?)));
        let (group, group_load) = candidates.min_by_key(|(group, load)| (after(*load), *group))?;
        let worth = after(group_load) + self.rules.gain <= from_load;
        worth.then_some(Move {
            group,
            from: hot,
            to: cool,
            from_load,
            to_load,
            group_load,
        })
    }
}

/// Half of what was, half of what is: a single odd window moves nothing, and after a few only the new
/// load counts.
const fn smoothed(last: u32, now: u32) -> u32 {
    last.midpoint(now)
}
