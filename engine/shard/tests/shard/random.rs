//! Goal: whatever happens in whatever order, nothing that was confirmed is lost or comes again,
//! everybody is answered once, and all comes to rest. Method: worlds drawn from seeds.

use hulse_shard::AckLevel;

use crate::world::{Story, Weather, World};

/// Seeds of each weather.
const SEEDS: u64 = 60;

/// Names the seed of a run that fails.
pub(crate) struct Named(pub(crate) u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with HULSE_SEED={}", self.0);
        }
    }
}

/// So many seeds, or the one that is replayed; and whether one is.
pub(crate) fn seeds(most: u64) -> (std::ops::Range<u64>, bool) {
    match std::env::var("HULSE_SEED") {
        Ok(seed) => {
            let seed = seed.parse::<u64>().expect("HULSE_SEED is a number");
            (seed..seed + 1, true)
        }
        Err(_) => (0..most, false),
    }
}

/// Runs a world for each seed, and returns how much of everything has happened in all of them;
/// nothing when one seed is replayed.
fn run(weather: Weather) -> Option<Vec<Story>> {
    let (seeds, replayed) = seeds(SEEDS);
    let run = |seed| {
        let _named = Named(seed);
        World::new(seed, weather).run()
    };
    let stories = seeds.map(run).collect();
    (!replayed).then_some(stories)
}

/// An event, and how often it is to happen in fifty worlds.
type Expected = (fn(&Story) -> u64, u64);

/// The worlds are no desert.
fn assert_eventful(stories: Option<Vec<Story>>, least: &[Expected]) {
    let Some(stories) = stories else { return };
    for (at, (count, least)) in least.iter().enumerate() {
        let times = stories.iter().map(count).sum::<u64>() * 50 / stories.len() as u64;
        assert!(
            times >= *least,
            "the event at {at} of the list: {times} times"
        );
    }
}

/// What happens in every weather.
const ALWAYS: [Expected; 7] = [
    (|story| story.receipts, 8_000),
    (|story| story.duplicates, 100),
    (|story| story.deliveries, 15_000),
    (|story| story.acked, 500),
    (|story| story.sought, 50),
    (|story| story.starts, 200),
    (|story| story.evicted, 20),
];

const DISK: Weather = Weather {
    ack: AckLevel::Disk,
    power: true,
    failing_syncs: false,
    full_disk: false,
    few_files: false,
    quotas: false,
    steps: 1_500,
};

#[test]
fn at_disk_with_losses_of_power() {
    let stories = run(DISK);
    assert_eventful(stories.clone(), &ALWAYS);
    let more: [Expected; 3] = [
        (|story| story.held, 200),
        (|story| story.rounds, 300),
        (|story| story.checkpoints, 50),
    ];
    assert_eventful(stories, &more);
}

#[test]
fn at_disk_with_full_disks() {
    let stories = run(Weather {
        full_disk: true,
        ..DISK
    });
    assert_eventful(stories.clone(), &ALWAYS);
    assert_eventful(stories, &[(|story| story.full, 20)]);
}

#[test]
fn at_disk_with_quotas_that_come_and_go() {
    let stories = run(Weather {
        quotas: true,
        ..DISK
    });
    let least: [Expected; 4] = [
        (|story| story.receipts, 2_000),
        (|story| story.acked, 500),
        (|story| story.over_quota, 50),
        (|story| story.throttled, 200),
    ];
    assert_eventful(stories, &least);
}

#[test]
fn at_disk_with_few_files() {
    let stories = run(Weather {
        few_files: true,
        ..DISK
    });
    assert_eventful(stories.clone(), &ALWAYS);
    assert_eventful(stories, &[(|story| story.unopened, 100)]);
}

#[test]
fn at_disk_with_failing_syncs_and_full_disks() {
    let stories = run(Weather {
        failing_syncs: true,
        full_disk: true,
        ..DISK
    });
    assert_eventful(stories, &[(|story| story.fenced, 100)]);
}

#[test]
fn at_memory_with_killed_processes() {
    let stories = run(Weather {
        ack: AckLevel::Memory,
        power: false,
        full_disk: true,
        ..DISK
    });
    assert_eventful(stories, &ALWAYS);
}

#[test]
fn at_memory_with_losses_of_power() {
    let stories = run(Weather {
        ack: AckLevel::Memory,
        ..DISK
    });
    assert_eventful(stories, &ALWAYS);
}
