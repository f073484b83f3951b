//! Goal: under a steady load the cores come to be even in few moves and then rest; whatever the load
//! does, moves stay few; a group that is hot by itself stays where it is.
//! Method: a broker with made-up loads, where moves cost nothing and are made at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hulse_cluster::balance::{Balancer, GroupWork, Move, Rules};
use proptest::prelude::*;

const WINDOW_MS: u64 = 10_000;

/// Groups with loads in thousandths of a core, and where they are.
#[derive(Debug, Clone)]
struct Broker {
    cores: usize,
    loads: Vec<u32>,
    places: Vec<usize>,
    now_ms: u64,
}

impl Broker {
    fn new(cores: usize, loads: Vec<u32>) -> Self {
        let places = (0..loads.len()).map(|group| group % cores).collect();
        Self {
            cores,
            loads,
            places,
            now_ms: 0,
        }
    }

    fn busy(&self) -> Vec<u32> {
        let mut busy = vec![0; self.cores];
        for (load, place) in self.loads.iter().zip(&self.places) {
            busy[*place] += load;
        }
        busy.into_iter().map(|busy: u32| busy.min(1_000)).collect()
    }

    /// Lets a window pass, and makes the move that is due.
    fn window(&mut self, balancer: &mut Balancer<usize>) -> Option<Move<usize>> {
        self.now_ms += WINDOW_MS;
        let placed = self.loads.iter().zip(&self.places).enumerate();
        let work: Vec<_> = placed
            .map(|(group, (load, core))| GroupWork {
                group,
                core: *core,
                work: u64::from(*load) * 1_000,
            })
            .collect();
        let due = balancer.observe(self.now_ms, &self.busy(), &work)?;
        assert_eq!(self.places[due.group], due.from);
        assert_ne!(due.from, due.to);
        self.places[due.group] = due.to;
        balancer.done(self.now_ms, &due, true);
        Some(due)
    }

    /// Lets windows pass, and counts the moves.
    fn windows(&mut self, balancer: &mut Balancer<usize>, windows: usize) -> usize {
        (0..windows).filter_map(|_| self.window(balancer)).count()
    }
}

/// Rules under which nothing but the loads decides.
fn free() -> Rules {
    Rules {
        rest_ms: 0,
        hourly_max: usize::MAX,
        ..Rules::default()
    }
}

fn loads() -> impl Strategy<Value = (usize, Vec<u32>)> {
    (2_usize..9).prop_flat_map(|cores| {
        // None of them more than a core can do, and altogether less than all cores can.
        let most = u32::try_from(cores * 900 / 24).unwrap();
        (Just(cores), prop::collection::vec(0..=most, 4..24))
    })
}

proptest! {
    #[test]
    fn a_steady_load_comes_to_rest((cores, loads) in loads(), seed in any::<u64>()) {
        let mut broker = Broker::new(cores, loads);
        for (at, place) in broker.places.iter_mut().enumerate() {
            *place = usize::try_from(seed.rotate_left(u32::try_from(at).unwrap() * 7) % 3).unwrap() % cores;
        }
        let mut balancer = Balancer::new(free());
        let groups = broker.loads.len();
        let moves = broker.windows(&mut balancer, 40 * groups);
        prop_assert!(moves <= 3 * groups, "{moves} moves of {groups} groups");
        prop_assert_eq!(broker.windows(&mut balancer, 200), 0, "it comes to rest");
    }

    #[test]
    fn whatever_the_load_does_moves_are_few(
        cores in 2_usize..6,
        windows in prop::collection::vec(prop::collection::vec(0_u32..900, 8), 200..800),
    ) {
        let rules = Rules::default();
        let mut broker = Broker::new(cores, vec![0; 8]);
        let mut balancer = Balancer::new(rules);
        let mut made: Vec<(u64, usize)> = Vec::new();
        for loads in windows {
            broker.loads = loads;
            if let Some(due) = broker.window(&mut balancer) {
                made.push((broker.now_ms, due.group));
            }
        }
        for (at, (now, group)) in made.iter().enumerate() {
            let hour = made[..=at].iter().filter(|(then, _)| then + 3_600_000 > *now).count();
            prop_assert!(hour <= rules.hourly_max);
            let last = made[..at].iter().rfind(|(_, other)| other == group);
            prop_assert!(last.is_none_or(|(then, _)| then + rules.rest_ms <= *now));
        }
    }

    #[test]
    fn a_group_that_is_hot_by_itself_stays(cores in 2_usize..6, giant in 600_u32..=1_000) {
        let mut broker = Broker::new(cores, vec![giant]);
        let mut balancer = Balancer::new(free());
        prop_assert_eq!(broker.windows(&mut balancer, 500), 0);
    }
}

#[test]
fn a_load_that_alternates_between_two_cores_moves_nothing() {
    let mut broker = Broker::new(2, vec![400; 4]);
    let mut balancer = Balancer::new(Rules::default());
    let mut moves = 0;
    for window in 0..2_000 {
        let hot = window % 2;
        for (load, place) in broker.loads.iter_mut().zip(&broker.places) {
            *load = if *place == hot { 450 } else { 50 };
        }
        moves += usize::from(broker.window(&mut balancer).is_some());
    }
    assert_eq!(moves, 0);
}

#[test]
fn a_short_peak_moves_nothing_and_a_lasting_one_does() {
    let mut broker = Broker::new(2, vec![100, 50, 100, 50]);
    let mut balancer = Balancer::new(Rules::default());
    assert_eq!(broker.windows(&mut balancer, 20), 0);
    broker.loads = vec![500, 50, 450, 50];
    assert_eq!(broker.windows(&mut balancer, 2), 0);
    broker.loads = vec![100, 50, 100, 50];
    assert_eq!(broker.windows(&mut balancer, 20), 0);
    broker.loads = vec![500, 50, 450, 50];
    assert_eq!(broker.windows(&mut balancer, 20), 1);
    assert_eq!(broker.busy().iter().max(), Some(&550));
}

#[test]
fn many_groups_of_uneven_load_come_to_be_even() {
    // 64 groups, a few with most of the load, all of the heavy ones on half of the cores.
    for cores in [2_usize, 4, 8] {
        let total = 700 * u32::try_from(cores).unwrap();
        let weights: Vec<u32> = (1..=64).map(|rank| 10_000 / (rank + 6)).collect();
        let sum: u32 = weights.iter().sum();
        let loads: Vec<u32> = weights.iter().map(|w| w * total / sum).collect();
        let mut broker = Broker::new(cores, loads);
        for (rank, place) in broker.places.iter_mut().enumerate() {
            *place = if rank < 16 {
                rank % (cores / 2)
            } else {
                rank % cores
            };
        }
        let mut balancer = Balancer::new(Rules {
            hourly_max: 60,
            ..Rules::default()
        });
        let moves = broker.windows(&mut balancer, 2_000);
        let busy = broker.busy();
        let (most, all) = (*busy.iter().max().unwrap(), busy.iter().sum::<u32>());
        let mean = f64::from(all) / f64::from(u32::try_from(cores).unwrap());
        let ratio = f64::from(most) / mean;
        println!("{cores} cores: {moves} moves, busiest core / mean {ratio:.2}");
        assert!(ratio < 1.3, "{busy:?}");
        assert_eq!(broker.windows(&mut balancer, 1_000), 0, "it rests");
    }
}

#[test]
fn a_move_that_could_not_be_made_is_not_asked_for_again_at_once() {
    let mut balancer = Balancer::new(Rules::default());
    let work = |group, work| GroupWork {
        group,
        core: 0,
        work,
    };
    let work = [work(1, 500), work(2, 400)];
    let mut due = Vec::new();
    for window in 1..=60 {
        let now = window * WINDOW_MS;
        if let Some(one) = balancer.observe(now, &[900, 0], &work) {
            balancer.done(now, &one, false);
            due.push((window, one.group));
        }
    }
    let groups: Vec<_> = due.iter().map(|(_, group)| *group).collect();
    assert_eq!(groups, [1, 2, 1, 2], "{due:?}");
}
