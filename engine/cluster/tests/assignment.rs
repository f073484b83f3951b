//! Goal: consumers are spread evenly over partitions, by as few moves as that takes, one at a time,
//! whatever comes and goes meanwhile and however late the reports are.
//!
//! Method: partitions that obey as a dispatcher does, whose reports and orders are on their way for
//! a random time; consumers that come and go in the middle of everything. Beside it a plain account
//! of how few moves there could be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hulse_cluster::assignment::{Assignment, Member, Preference, Report};
use proptest::prelude::*;

/// A partition as its dispatcher has it.
#[derive(Debug, Clone, Default)]
struct Seat {
    members: BTreeMap<Member, u8>,
    active: Option<Member>,
    preferred: Option<Preference>,
    /// Somebody else is to be active as soon as the active one has finished.
    handing_over: bool,
    orders: VecDeque<Preference>,
    reports: VecDeque<Report>,
}

impl Seat {
    fn best(&self) -> BTreeSet<Member> {
        let best = self.members.values().min();
        let best = self.members.iter().filter(|it| Some(it.1) == best);
        best.map(|(member, _)| *member).collect()
    }

    fn chosen(&self) -> Option<Member> {
        let best = self.best();
        let preferred = self.preferred.map(|it| it.member);
        let preferred = preferred.filter(|it| best.contains(it));
        preferred.or_else(|| {
            let active = self.active.filter(|it| best.contains(it));
            active.or_else(|| best.first().copied())
        })
    }

    /// Something has changed: whoever is to be active becomes so, at once if nobody is.
    fn choose(&mut self, number: u32) {
        let there = self.active.filter(|it| self.members.contains_key(it));
        self.active = there.or_else(|| self.chosen());
        self.handing_over = self.active != self.chosen();
        self.report(number);
    }

    fn report(&mut self, number: u32) {
        let members = self
            .members
            .iter()
            .map(|(member, priority)| (*member, *priority));
        self.reports.push_back(Report {
            partition: number,
            members: members.collect(),
            active: self.active,
            generation: self.preferred.map_or(0, |it| it.generation),
        });
    }
}

#[derive(Debug)]
struct World {
    assignment: Assignment,
    seats: Vec<Seat>,
    /// What was preferred last, as the assignment has said.
    last: BTreeMap<u32, Preference>,
    /// The newest report of each partition.
    heard: BTreeMap<u32, Report>,
    /// Moves that nothing made necessary but the balance.
    planned: usize,
}

impl World {
    fn new(partitions: usize) -> Self {
        Self {
            assignment: Assignment::new(7),
            seats: vec![Seat::default(); partitions],
            last: BTreeMap::new(),
            heard: BTreeMap::new(),
            planned: 0,
        }
    }

    fn come(&mut self, member: Member, priority: u8, partition: usize) {
        let seat = &mut self.seats[partition];
        seat.members.insert(member, priority);
        seat.choose(u32::try_from(partition).unwrap());
    }

    fn go(&mut self, member: Member, partition: usize) {
        let seat = &mut self.seats[partition];
        if seat.members.remove(&member).is_some() {
            seat.choose(u32::try_from(partition).unwrap());
        }
    }

    /// Lets one thing happen on a partition, if one can; `which` says what.
    fn step(&mut self, partition: usize, which: u8) -> bool {
        let number = u32::try_from(partition).unwrap();
        let seat = &mut self.seats[partition];
        match which % 3 {
            0 => {
                let Some(report) = seat.reports.pop_front() else {
                    return false;
                };
                self.hear(&report);
            }
            1 => {
                let Some(order) = seat.orders.pop_front() else {
                    return false;
                };
                let newer = seat
                    .preferred
                    .is_none_or(|it| it.generation < order.generation);
                assert!(newer, "orders come in the order of their generations");
                seat.preferred = Some(order);
                seat.choose(number);
            }
            _ => {
                if !seat.handing_over {
                    return false;
                }
                seat.active = seat.chosen();
                seat.choose(number);
            }
        }
        true
    }

    fn hear(&mut self, report: &Report) {
        let mut preferences = Vec::new();
        self.heard.insert(report.partition, report.clone());
        if report.members.is_empty() {
            self.last.remove(&report.partition);
        }
        self.assignment.handle(report, &mut preferences);
        self.assignment.check_invariants();
        for preference in preferences {
            let old = self.last.get(&preference.partition).copied();
            let stays = old.is_some_and(|it| self.may_have(it.partition, it.member));
            assert!(!stays, "nothing made {preference:?} necessary");
            self.give(preference);
        }
    }

    /// Moves a partition for the sake of balance, if one is to be moved.
    fn advance(&mut self) -> bool {
        let all_follow = self.all_follow();
        let Some(preference) = self.assignment.advance() else {
            return false;
        };
        self.assignment.check_invariants();
        assert!(all_follow, "one at a time");
        let old = self.last[&preference.partition];
        assert_ne!(old.member, preference.member);
        self.planned += 1;
        self.give(preference);
        true
    }

    fn give(&mut self, preference: Preference) {
        self.last.insert(preference.partition, preference);
        let seat = &mut self.seats[usize::try_from(preference.partition).unwrap()];
        seat.orders.push_back(preference);
    }

    /// Whether a consumer is one of those that a partition may be given to, by its newest report.
    fn may_have(&self, number: u32, member: Member) -> bool {
        let members = &self.heard[&number].members;
        let best = members.iter().map(|it| it.1).min();
        members
            .iter()
            .any(|it| it.0 == member && Some(it.1) == best)
    }

    /// Whether every partition has reported that it follows what was preferred last.
    fn all_follow(&self) -> bool {
        self.last.iter().all(|(number, last)| {
            let heard = &self.heard[number];
            heard.active == Some(last.member) && heard.generation >= last.generation
        })
    }

    /// Lets everything happen that can, in any order.
    fn settle(&mut self, mut random: impl FnMut() -> u8) {
        let mut steps = 0;
        let mut idle = 0;
        while idle < self.seats.len() * 3 {
            let partition = usize::from(random()) % self.seats.len();
            let done = (0..3).fold(false, |done, _| self.step(partition, random()) || done);
            let done = self.advance() || done;
            // What random leaves out for long is done in the end.
            idle = if done { 0 } else { idle + 1 };
            steps += 1;
            assert!(steps < 1_000_000, "it never ends");
        }
        for partition in 0..self.seats.len() {
            while (0..3).any(|which| self.step(partition, which)) {
                steps += 1;
                assert!(steps < 1_000_000, "it never ends");
            }
        }
        if (0..self.seats.len()).any(|it| self.is_busy(it)) || self.advance() {
            self.settle(random);
        }
    }

    fn is_busy(&self, partition: usize) -> bool {
        let seat = &self.seats[partition];
        !seat.orders.is_empty() || !seat.reports.is_empty() || seat.handing_over
    }

    /// How many partitions each consumer is the active one of.
    fn loads(&self) -> BTreeMap<Member, usize> {
        let mut loads = BTreeMap::new();
        for seat in &self.seats {
            for member in seat.best() {
                loads.entry(member).or_default();
            }
            if let Some(active) = seat.active {
                *loads.entry(active).or_default() += 1;
            }
        }
        loads
    }

    fn active(&self) -> Vec<Option<Member>> {
        self.seats.iter().map(|seat| seat.active).collect()
    }

    /// Asserts that consumers which are all connected to every partition have even shares.
    fn assert_even(&self) {
        let loads = self.loads();
        let (least, most) = (loads.values().min(), loads.values().max());
        if let (Some(least), Some(most)) = (least, most) {
            assert!(most - least <= 1, "{loads:?}");
        }
        for (number, seat) in (0..).zip(&self.seats) {
            let preferred = self.assignment.preference(number).map(|it| it.member);
            assert_eq!(seat.active, preferred, "partition {number}");
        }
    }
}

/// The fewest partitions that must change their consumer, so that those that have `before` come to
/// have even shares. Those that are gone are not in it; `orphans` were theirs.
fn fewest_moves(before: &BTreeMap<Member, usize>, orphans: usize) -> usize {
    if before.is_empty() {
        return 0;
    }
    let all = before.values().sum::<usize>() + orphans;
    let (floor, ceiling) = (all / before.len(), all.div_ceil(before.len()));
    let over: usize = before.values().map(|has| has.saturating_sub(ceiling)).sum();
    let under: usize = before.values().map(|has| floor.saturating_sub(*has)).sum();
    // Orphans are moved in any case, and fill what is missing first.
    orphans + over.max(under.saturating_sub(orphans))
}

#[derive(Debug, Clone)]
enum Change {
    Come(u8),
    Go(u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => (0..12_u8).prop_map(Change::Come),
        2 => (0..12_u8).prop_map(Change::Go),
    ];
    prop::collection::vec(change, 1..30)
}

proptest! {
    /// Each comes or goes when all is settled: as few partitions change their consumer as can be.
    #[test]
    fn what_comes_or_goes_moves_no_more_than_it_must(
        partitions in 1..24_usize, changes in changes(), bytes in prop::collection::vec(any::<u8>(), 64)
    ) {
        let mut world = World::new(partitions);
        let mut random = bytes.iter().copied().cycle().enumerate().map(turned);
        for change in changes {
            let (before, mut loads) = (world.active(), world.loads());
            let mut orphans = 0;
            match change {
                Change::Come(member) => {
                    let member = Member(member.into());
                    if loads.contains_key(&member) {
                        continue;
                    }
                    // The first one is given all of them, which is no move.
                    if !loads.is_empty() {
                        loads.insert(member, 0);
                    }
                    (0..partitions).for_each(|it| world.come(member, 0, it));
                }
                Change::Go(member) => {
                    let member = Member(member.into());
                    orphans = loads.remove(&member).unwrap_or(0);
                    (0..partitions).for_each(|it| world.go(member, it));
                }
            }
            // What belongs together is heard before anything is moved for it.
            for partition in 0..partitions {
                while world.step(partition, 0) {}
            }
            let fewest = fewest_moves(&loads, orphans);
            let planned = world.planned;
            world.settle(|| random.next().unwrap());
            world.assert_even();
            let pairs = before.iter().zip(world.active());
            let moved = pairs.filter(|(old, new)| old.is_some() && new.is_some() && **old != *new);
            prop_assert_eq!(moved.count(), fewest);
            prop_assert!(world.planned - planned <= fewest);
        }
    }

    /// All at once, with priorities, reports and orders long on their way: it ends, one planned
    /// move at a time, and everybody has an even share.
    #[test]
    fn whatever_happens_at_once_it_ends_evenly(
        partitions in 1..16_usize,
        events in prop::collection::vec((0..8_u8, 0..3_u8, any::<u8>(), 0..8_u8), 0..300),
        bytes in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut world = World::new(partitions);
        let mut priorities = BTreeMap::new();
        let mut random = bytes.iter().copied().cycle().enumerate().map(turned);
        for (member, priority, at, what) in events {
            let (member, partition) = (Member(member.into()), usize::from(at) % partitions);
            match what {
                // Connections of one consumer come and go one by one.
                0 => {
                    let priority = *priorities.entry(member).or_insert(priority);
                    world.come(member, priority, partition);
                }
                1 => world.go(member, partition),
                2 => {
                    world.advance();
                }
                which => {
                    world.step(partition, which);
                }
            }
            for seat in &world.seats {
                prop_assert_eq!(seat.active.is_none(), seat.members.is_empty(), "none stands still");
            }
        }
        // In the end everyone that is there is connected to everything, or gone.
        let members: BTreeSet<Member> = world.seats.iter().flat_map(|it| it.members.keys()).copied().collect();
        for member in members {
            let stays = random.next().unwrap() % 3 > 0;
            for partition in 0..partitions {
                if stays {
                    world.come(member, priorities[&member], partition);
                } else {
                    world.go(member, partition);
                }
            }
        }
        world.settle(|| random.next().unwrap());
        world.assert_even();
    }
}

/// Bytes that do not repeat when their source does.
fn turned((at, byte): (usize, u8)) -> u8 {
    let turned = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    byte ^ u8::try_from(turned).unwrap()
}

fn heard(partition: u32, members: &[u64], active: u64, generation: u64) -> Report {
    Report {
        partition,
        members: members.iter().map(|it| (Member(*it), 0)).collect(),
        active: Some(Member(active)),
        generation,
    }
}

#[test]
fn a_move_waits_until_the_one_before_has_been_taken_over() {
    let mut assignment = Assignment::new(0);
    let mut given = Vec::new();
    for partition in 0..4 {
        assignment.handle(&heard(partition, &[1], 1, 0), &mut given);
    }
    assert_eq!(given.len(), 4, "each keeps its consumer");
    for partition in 0..4 {
        assignment.handle(&heard(partition, &[1], 1, 4), &mut given);
    }
    given.clear();
    // Another one comes, and connects to one partition after the other.
    for partition in 0..4 {
        assignment.handle(&heard(partition, &[1, 2], 1, 4), &mut given);
    }
    assert_eq!(given, []);
    let first = assignment.advance().unwrap();
    assert_eq!((first.member, first.generation), (Member(2), 5));
    assert!(!assignment.is_settled());
    assert_eq!(assignment.advance(), None);
    // What was reported before the order came says nothing of it.
    assignment.handle(&heard(first.partition, &[1, 2], 1, 4), &mut given);
    assert_eq!(assignment.advance(), None);
    assignment.handle(&heard(first.partition, &[1, 2], 2, 5), &mut given);
    let second = assignment.advance().unwrap();
    assert_ne!(second.partition, first.partition);
    // Its consumer dies before it has taken over: the partitions go back at once, both of them.
    for partition in [second.partition, first.partition] {
        assignment.handle(&heard(partition, &[1], 1, 5), &mut given);
    }
    assert!(given.iter().all(|it| it.member == Member(1)), "{given:?}");
    assert_eq!(given.len(), 2);
}
