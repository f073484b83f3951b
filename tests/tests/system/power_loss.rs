//! Loss of power under load.
//!
//! Goal: what was acknowledged at `disk` is there after the power went, byte for byte, once, in its
//! order and under the id that its receipt named; of what was acknowledged at `memory` a suffix may
//! be gone, and the rest is whole; producers go on under their names without a gap and without a
//! repetition; nothing comes again of which a consumer had a receipt; topics are there or gone, as
//! their owners were told.
//!
//! Method: the broker's data is on a volume whose power is cut at random moments: in the middle of
//! whatever it does, or while it is stopped and a random choice of the pages that it has written
//! has reached the disk; also during the recovery from the cut before. The broker has to notice, to
//! acknowledge nothing more and to say why; then it is killed, and started where the power is back.

mod ledger;
mod load;
mod topics;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hulse_client::{ClientError, Status};
use hulse_tests::{Broker, Hulse, LIMIT, Random, cores, get, is_long, random, wait_until};
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::ledger::Ledger;
use self::load::Scene;
use self::topics::Topics;
use crate::volume::{Cut, Volume, write_out};

/// Topics and their levels.
const TOPICS: [(&str, Level); 2] = [("disk", Level::Disk), ("memory", Level::Memory)];
/// Producers of each topic.
const PRODUCERS: usize = 2;
/// Pages that reach the disk together.
const RUN_BYTES: u64 = 4096;

/// What an acknowledgement of a topic means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Disk,
    Memory,
}

#[test]
fn what_was_acknowledged_at_disk_survives_losses_of_power_at_random_moments() {
    let name = "what_was_acknowledged_at_disk_survives_losses_of_power_at_random_moments";
    let mut random = random(name);
    let (volumes, rounds) = if is_long() { (12, 10) } else { (2, 6) };
    for number in 0..volumes {
        println!("volume {number}");
        World::new().run(rounds, &mut random);
    }
}

/// A broker on a volume, and what its clients have been told.
struct World {
    broker: Broker,
    ledger: Ledger,
    topics: Topics,
    runtime: Runtime,
    /// Dropped last: the broker is gone by then.
    volume: Volume,
}

impl World {
    fn new() -> Self {
        let volume = Volume::with_bytes(384 << 20);
        let broker = Broker::start_on(&volume.data(), cores(2));
        for (topic, level) in TOPICS {
            let ack = match level {
                Level::Disk => "disk",
                Level::Memory => "memory",
            };
            Hulse::to(&broker, &format!("topic create {topic} --ack {ack}")).done();
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            broker,
            ledger: Ledger::default(),
            topics: Topics::default(),
            runtime,
            volume,
        }
    }

    fn run(&mut self, rounds: usize, random: &mut Random) {
        for round in 0..rounds {
            let cut = match random.random_range(0..10) {
                0..6 => Cut::Nothing,
                6..9 => Cut::Journal,
                _ => Cut::WrittenOut,
            };
            let scene = self.lose_power_under_load(round, cut, random);
            self.broker.kill9();
            self.volume.restore_power();
            self.lose_power_in_recovery(random);
            self.broker.restart(cores(1 + round % 2));
            println!(
                "round {round}: {cut:?}, {} acknowledged",
                scene.acknowledged()
            );
            let said = self.broker.said();
            for found in said.lines().filter(|line| line.starts_with("recovery: ")) {
                println!("{found}");
            }
            self.ledger.check(&self.broker);
            self.topics.check(&self.broker);
        }
        self.broker.kill9();
        let data = self.broker.data().display().to_string();
        let _ = Hulse::new(["log", "verify", &data]).run().expect(0);
    }

    /// Loads the broker until the power goes, and sees it fenced.
    fn lose_power_under_load(&mut self, round: usize, cut: Cut, random: &mut Random) -> Arc<Scene> {
        let scene = Arc::new(Scene::new(&self.broker.server()));
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        for (topic, level) in TOPICS {
            for number in 0..PRODUCERS {
                let told = self.ledger.producer(topic, level, number);
                let life = load::produce(Arc::clone(&scene), told);
                producers.push(self.runtime.spawn(life));
            }
            let told = self.ledger.consumer(topic);
            let life = load::consume(Arc::clone(&scene), told, fork(random));
            consumers.push(self.runtime.spawn(life));
        }
        let churn = topics::churn(Arc::clone(&scene), round, fork(random));
        let churn = self.runtime.spawn(churn);

        let target = random.random_range(0..6_000);
        wait_until("messages are acknowledged", LIMIT, || {
            let ended = producers.iter().any(|task| task.is_finished());
            assert!(!ended, "a producer has ended before its time");
            let ended = consumers.iter().any(|task| task.is_finished());
            assert!(!ended, "a consumer has ended before its time");
            (scene.acknowledged() >= target).then_some(())
        });
        if random.random_bool(0.6) {
            self.broker.signal(Signal::STOP);
            self.write_some_out(random);
            self.volume.cut_power(cut);
            self.broker.signal(Signal::CONT);
        } else {
            self.volume.cut_power(cut);
        }

        for task in producers {
            let (told, error) = self.join(task);
            assert!(is_storage_failure(&error), "{told:?}: {error}");
            self.ledger.produced(told);
        }
        self.assert_fenced();
        scene.stop();
        for task in consumers {
            let told = self.join(task);
            self.ledger.consumed(told);
        }
        let told = self.join(churn);
        self.topics.add(told);
        scene
    }

    /// Waits for the end of a task, which comes when it is refused or told to stop.
    fn join<T>(&self, task: JoinHandle<T>) -> T {
        let ended = async { timeout(LIMIT, task).await };
        self.runtime.block_on(ended).expect("it ends").unwrap()
    }

    /// Lets a random choice of pages reach the disk. The broker has written some of them and not
    /// synced them.
    fn write_some_out(&self, random: &mut Random) {
        let share = [0.1, 0.5, 0.9][random.random_range(0..3)];
        for path in files(self.broker.data()) {
            let bytes = path.metadata().map_or(0, |found| found.len());
            for run in 0..bytes.div_ceil(RUN_BYTES) {
                if random.random_bool(share) {
                    write_out(&path, run * RUN_BYTES..(run + 1) * RUN_BYTES);
                }
            }
        }
    }

    /// Now and then the power goes again while the broker recovers.
    fn lose_power_in_recovery(&mut self, random: &mut Random) {
        while random.random_bool(0.3) {
            let after = Duration::from_millis(random.random_range(0..250));
            let volume = &self.volume;
            self.broker
                .start_and_kill9_behind(cores(2), after, || volume.cut_power(Cut::Nothing));
            println!(
                "cut again {after:?} after the start:\n{}",
                self.broker.said()
            );
            self.volume.restore_power();
        }
    }

    /// The broker lives, and says of every topic that it takes no writes, and why.
    fn assert_fenced(&self) {
        for (topic, _) in TOPICS {
            let refused = Hulse::to(&self.broker, &format!("produce {topic} --timeout 5"))
                .input(b"refused\n")
                .run();
            refused.refused(1, &["STORAGE_FAILED"]);
            // A metadata store that was written since can say nothing of topics any more.
            let described = self.broker.describe(topic);
            for partition in described.into_iter().flat_map(|topic| topic.partitions) {
                let reason = partition.poisoned.expect("the partition is fenced");
                assert!(reason.contains("Input/output error"), "{topic}: {reason}");
            }
        }
        let (status, reason) = get(self.broker.admin(), "/readyz");
        assert_eq!(status, 503, "{reason}");
        assert_eq!(get(self.broker.admin(), "/healthz").0, 200);
    }
}

/// Whether a producer was told that the disk has failed.
fn is_storage_failure(error: &ClientError) -> bool {
    match error {
        ClientError::ProducerFailed { cause, .. } => is_storage_failure(cause),
        error => error.status() == Some(Status::StorageFailed),
    }
}

/// Every file below a directory. Those that go meanwhile are left out.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A generator of its own for a task, so that their order of running changes nothing.
fn fork(random: &mut Random) -> Random {
    Random::seed_from_u64(random.random())
}
