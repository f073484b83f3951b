//! Which consumer of a subscription is to be the active one of which partition.
//!
//! An [`Assignment`] is fed with what partitions report of their consumers, and answers with
//! preferences. The partitions obey them where they can, and choose by themselves where they have
//! none, or none that is there: so nothing stands still while nobody assigns anything.
//!
//! What must change changes with the report that says so ([`Assignment::handle`]); what is moved for
//! the sake of balance is asked for ([`Assignment::advance`]).
//!
//! # Rules
//! 1. Of the consumers that are connected to a partition, those of the best priority count.
//! 2. A partition that is met for the first time keeps the consumer that it has.
//! 3. A partition whose preferred consumer is gone is given to the one that has the fewest, at once.
//! 4. A partition is moved only from a consumer to one that has at least two fewer, from the one
//!    that has the most to the one that has the fewest: so no more are moved than must be, and in
//!    the end nobody has two more than another that is connected to the same partitions.
//! 5. The next is moved when every partition has reported that its preferred consumer is active, so
//!    one partition at a time, and never while one that was orphaned has not been taken over.
//! 6. Every preference has a generation above those of all before it; a partition passes over a
//!    preference with a lower one than it has.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A consumer of a subscription, the same on all of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub u64);

/// How a partition stands: all that it has to say, so that a later report makes an earlier one
/// superfluous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The partition's number.
    pub partition: u32,
    /// The consumers that are connected to it, each with its priority: 0 comes first.
    pub members: Vec<(Member, u8)>,
    /// The one that gets its messages.
    pub active: Option<Member>,
    /// The generation of the newest preference that it has taken; 0 for none.
    pub generation: u64,
}

/// Who is to be the active consumer of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    /// The partition's number.
    pub partition: u32,
    /// Who.
    pub member: Member,
    /// Rises from preference to preference, over all partitions. Above 0.
    pub generation: u64,
}

/// The consumers of one subscription, spread over the partitions of its topic. The module's
/// documentation has the rules.
#[derive(Debug, Clone)]
pub struct Assignment {
    partitions: BTreeMap<u32, Partition>,
    /// How many partitions each consumer is preferred on.
    loads: BTreeMap<Member, usize>,
    /// Partitions that have not reported that their preferred consumer is the active one.
    unsettled: BTreeSet<u32>,
    /// Of the newest preference.
    generation: u64,
}

#[derive(Debug, Clone, Default)]
struct Partition {
    /// The consumers of the best priority.
    best: BTreeSet<Member>,
    preferred: Option<Preference>,
}

impl Assignment {
    /// An assignment of nothing, whose generations are above `generation`.
    #[must_use]
    pub const fn new(generation: u64) -> Self {
        Self {
            partitions: BTreeMap::new(),
            loads: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            generation,
        }
    }

    /// Takes in how a partition stands. What has to change at once goes into `preferences`. Returns
    /// whether the partition has other consumers than before.
    pub fn handle(&mut self, report: &Report, preferences: &mut Vec<Preference>) -> bool {
        let number = report.partition;
        let before = self.partitions.get(&number).map(|it| it.best.clone());
        let best = report.members.iter().map(|(_, priority)| *priority).min();
        let best = report.members.iter().filter(|it| Some(it.1) == best);
        let best: BTreeSet<Member> = best.map(|(member, _)| *member).collect();
        let changed = before.unwrap_or_default() != best;
        if best.is_empty() {
            self.forget(number);
        } else {
            let is_new = !self.partitions.contains_key(&number);
            let partition = self.partitions.entry(number).or_default();
            partition.best = best;
            let gone = |it: &Preference| !partition.best.contains(&it.member);
            if partition.preferred.as_ref().is_some_and(gone) {
                self.give_up(number);
            }
            if is_new
                && let Some(active) = report.active
                && self.partitions[&number].best.contains(&active)
            {
                preferences.extend(self.prefer(number, active));
            }
            if self.partitions[&number].preferred.is_none() {
                let fewest = self.fewest(number, report.active);
                preferences.extend(self.prefer(number, fewest));
            }
            self.settle(report);
        }
        changed
    }

    /// The next partition that is moved for the sake of balance, if one is to be and every other
    /// has come to rest. Asked after the reports that belong together: while a consumer is known on
    /// some of its partitions only, more would be moved than must be.
    pub fn advance(&mut self) -> Option<Preference> {
        if !self.unsettled.is_empty() {
            return None;
        }
        let (number, to) = self.next_move()?;
        self.give_up(number);
        self.prefer(number, to)
    }

    /// The preferences that have not been followed yet, to be given again in case they were lost on
    /// their way: a partition that has them already passes over them.
    pub fn unfollowed(&self) -> impl Iterator<Item = Preference> {
        let unsettled = self.unsettled.iter();
        unsettled.filter_map(|number| self.preference(*number))
    }

    /// Notes that a partition follows its preference, if it does.
    fn settle(&mut self, report: &Report) {
        let preferred = self.partitions[&report.partition].preferred;
        let follows = |it: &Preference| {
            report.active == Some(it.member) && report.generation >= it.generation
        };
        if preferred.as_ref().is_some_and(follows) {
            self.unsettled.remove(&report.partition);
        } else {
            self.unsettled.insert(report.partition);
        }
    }

    /// Of the consumers that a partition may be given to the one that has the fewest; of equals the
    /// one that is active already, so that it need not change.
    fn fewest(&self, number: u32, active: Option<Member>) -> Member {
        let best = self.partitions[&number].best.iter();
        let fewest = best.min_by_key(|it| (self.load(**it), active != Some(**it), **it));
        *fewest.expect("a partition without consumers is forgotten")
    }

    /// The partition to move next, and to whom: from one of those that have the most to one that
    /// has at least two fewer. Of equals the one that was given last, so that what has lain with a
    /// consumer for long stays there.
    fn next_move(&self) -> Option<(u32, Member)> {
        // Most often there is nothing to do, and that is found soon.
        if self.loads.values().all(|load| *load < 2) {
            return None;
        }
        let moves = self.partitions.iter().filter_map(|(number, partition)| {
            let preferred = partition.preferred?;
            let best = partition.best.iter();
            let to = best.min_by_key(|it| (self.load(**it), **it))?;
            let (has, would) = (self.load(preferred.member), self.load(*to));
            (has >= would + 2).then_some((has - would, preferred.generation, *number, *to))
        });
        let (_, _, number, to) = moves.max_by_key(|it| (it.0, it.1))?;
        Some((number, to))
    }

    fn load(&self, member: Member) -> usize {
        self.loads.get(&member).copied().unwrap_or(0)
    }

    fn prefer(&mut self, number: u32, member: Member) -> Option<Preference> {
        self.generation += 1;
        let preference = Preference {
            partition: number,
            member,
            generation: self.generation,
        };
        let partition = self.partitions.get_mut(&number)?;
        partition.preferred = Some(preference);
        *self.loads.entry(member).or_default() += 1;
        self.unsettled.insert(number);
        Some(preference)
    }

    /// Takes a partition from the consumer that it was given to.
    fn give_up(&mut self, number: u32) {
        let partition = self.partitions.get_mut(&number);
        let Some(preferred) = partition.and_then(|it| it.preferred.take()) else {
            return;
        };
        if let Some(load) = self.loads.get_mut(&preferred.member) {
            *load -= 1;
            if *load == 0 {
                self.loads.remove(&preferred.member);
            }
        }
    }

    /// A partition has no consumers any more, or is closed.
    fn forget(&mut self, number: u32) {
        self.give_up(number);
        self.partitions.remove(&number);
        self.unsettled.remove(&number);
    }

    /// Whether nobody is connected to any partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether every partition follows its preference and none is to be moved.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The generation of the newest preference.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What is preferred on a partition.
    #[must_use]
    pub fn preference(&self, partition: u32) -> Option<Preference> {
        self.partitions.get(&partition)?.preferred
    }

    /// Stops the process when the assignment is not in order.
    ///
    /// # Panics
    /// When something that is never false is false.
    pub fn check_invariants(&self) {
        let mut loads: BTreeMap<Member, usize> = BTreeMap::new();
        let mut generations = BTreeSet::new();
        for (number, partition) in &self.partitions {
            let preferred = partition.preferred.expect("every partition has a consumer");
            assert_eq!(preferred.partition, *number);
            assert!(
                partition.best.contains(&preferred.member),
                "a consumer is preferred that is not there"
            );
            assert!(preferred.generation <= self.generation);
            assert!(
                generations.insert(preferred.generation),
                "a generation was given twice"
            );
            *loads.entry(preferred.member).or_default() += 1;
        }
        assert_eq!(self.loads, loads);
        let known = |number| self.partitions.contains_key(number);
        assert!(self.unsettled.iter().all(known));
    }
}
