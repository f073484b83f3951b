//! How many rounds a second one core makes durable when so many partitions have something to store
//! in each: by a sync of every partition's own file, and by the journal.
//!
//! The shard runs on an executor as in the broker, without sockets: every producer sends one batch,
//! all are answered, and the next round begins. The limit is one write of the same bytes into one
//! pre-written file and one sync through the same ring. The three run in turn, a few times each;
//! `docs/benchmarks.md` says how to read what comes out.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use hulse_bench::{BareFile, Conditions, filler, processor_time};
use hulse_log::{JournalSizes, OsDisk};
use hulse_model::{PartitionId, Term};
use hulse_runtime::{Cores, CoresConfig, JobPool, LocalEvent, spawn, sync_data};
use hulse_shard::{
    AckLevel, Clock, Command, Effect, Handled, PartitionSpec, Reply, Shard, ShardConfig, StreamKey,
};
use tempfile::TempDir;

#[derive(Debug, Parser)]
#[command(about = "Measure how one core makes many partitions durable")]
struct Args {
    /// How many partitions store something in each round
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8, 64, 1000])]
    partitions: Vec<u64>,
    /// Bytes that each partition stores in each round
    #[arg(long, value_delimiter = ',', default_values_t = [1024, 16384])]
    size: Vec<usize>,
    /// Seconds that each run takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often each is run
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Where the files are made
    #[arg(long, default_value = "target/tmp")]
    files: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Limit,
    OwnSyncs,
    Journal,
}

const WAYS: [Way; 3] = [Way::Limit, Way::OwnSyncs, Way::Journal];

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::OwnSyncs => "a sync each",
            Self::Journal => "journal",
        }
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    rounds_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// The part of the time in which a producer was held back, because its partition had no room or
    /// too much was not durable.
    held: f64,
    /// Processor time of the whole process, for each batch that became durable.
    cpu_us: f64,
}

fn main() {
    let args = Args::parse();
    std::fs::create_dir_all(&args.files).expect("the directory for the files can be made");
    println!("{}", Conditions::read(&args.files));
    println!(
        "partitions  bytes  way          rounds/s   p50 us   p99 us   max us  held  cpu us/batch   of the limit"
    );
    for &bytes in &args.size {
        for &partitions in &args.partitions {
            print!("{}", compare(&args, partitions, bytes));
        }
    }
}

/// Runs the three ways in turn, and says what came out.
fn compare(args: &Args, partitions: u64, bytes: usize) -> String {
    let mut runs = [(); 3].map(|()| Vec::new());
    for _ in 0..args.turns {
        for (way, runs) in WAYS.iter().zip(&mut runs) {
            let dir = tempfile::tempdir_in(&args.files).expect("a directory can be made");
            runs.push(run(*way, &dir, partitions, bytes, args.seconds));
        }
    }
    let mut text = String::new();
    let limit = median(&runs[0], |run| run.rounds_per_second);
    for (way, runs) in WAYS.iter().zip(&runs) {
        let of = |read: fn(&Run) -> f64| median(runs, read);
        let rounds = of(|run| run.rounds_per_second);
        let _ = writeln!(
            text,
            "{partitions:>10} {bytes:>6}  {:<12} {rounds:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>5.2} {:>13.2} {:>14.3}",
            way.name(),
            of(|run| run.p50_us),
            of(|run| run.p99_us),
            of(|run| run.max_us),
            of(|run| run.held),
            of(|run| run.cpu_us),
            rounds / limit,
        );
    }
    text
}

fn median(runs: &[Run], read: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(read).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One run, on an executor of its own.
fn run(way: Way, dir: &TempDir, partitions: u64, bytes: usize, seconds: f64) -> Run {
    let (done, result) = mpsc::channel();
    let path = dir.path().to_owned();
    let helpers = JobPool::start("helper", 2, 64).expect("threads can be started");
    let mut cores = Cores::<String>::start(&CoresConfig::default(), |_| {
        let (done, path, helpers) = (done.clone(), path.clone(), helpers.clone());
        move |_| async move {
            let wanted = Duration::from_secs_f64(seconds);
            let run = match way {
                Way::Limit => limit(&path, partitions, bytes, wanted).await,
                Way::OwnSyncs | Way::Journal => {
                    let core = Core::start(way, &path, partitions, helpers);
                    core.run(bytes, wanted).await
                }
            };
            done.send(run).map_err(|error| error.to_string())
        }
    })
    .expect("an executor can be started");
    cores.wait().expect("the core comes to its end");
    result.recv().expect("the core has told")
}

/// One write of everything and one sync, again and again, through a file of 64 MiB.
async fn limit(path: &Path, partitions: u64, bytes: usize, wanted: Duration) -> Run {
    let record = bytes + 16 + hulse_model::entry::ENTRY_HEADER_BYTES;
    let round = filler(record * usize::try_from(partitions).expect("a round fits into memory"));
    let mut bare = BareFile::create(path, 64 << 20).expect("a file can be made");
    let mut meter = Meter::start(partitions);
    while meter.began.elapsed() < wanted {
        let began = Instant::now();
        bare.write(&round).expect("the file can be written");
        sync_data(&bare).await.expect("the file can be synced");
        meter.times.push(began.elapsed());
    }
    meter.end()
}

/// Takes the times of rounds.
struct Meter {
    partitions: u64,
    began: Instant,
    cpu: Duration,
    times: Vec<Duration>,
    held: Duration,
}

impl Meter {
    fn start(partitions: u64) -> Self {
        Self {
            partitions,
            began: Instant::now(),
            cpu: processor_time(),
            times: Vec::new(),
            held: Duration::ZERO,
        }
    }

    fn end(mut self) -> Run {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu = processor_time().saturating_sub(self.cpu).as_secs_f64();
        self.times.sort_unstable();
        let rounds = self.times.len();
        let at = |share: usize| {
            let time = self.times[(rounds * share / 1000).min(rounds - 1)];
            time.as_secs_f64() * 1e6
        };
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (rounds, batches) = (rounds as f64, rounds as f64 * self.partitions as f64);
        Run {
            rounds_per_second: rounds / seconds,
            p50_us: at(500),
            p99_us: at(990),
            max_us: at(1000),
            held: self.held.as_secs_f64() / seconds,
            cpu_us: cpu * 1e6 / batches,
        }
    }
}

/// A shard with its effects carried out as the broker does it.
struct Core {
    shard: RefCell<Shard<OsDisk>>,
    helpers: JobPool,
    began: Instant,
    partitions: u64,
    state: RefCell<Waiting>,
    answered: LocalEvent,
}

/// Whose answer is out.
#[derive(Default)]
struct Waiting {
    answers: u64,
    /// Producers whose batch was held back and may be sent again.
    resumed: Vec<u64>,
}

impl Waiting {
    /// Whether the connection may send again, which is told once.
    fn is_resumed(&mut self, connection: u64) -> bool {
        let at = self.resumed.iter().position(|it| *it == connection);
        at.map(|at| self.resumed.swap_remove(at)).is_some()
    }
}

impl Core {
    fn start(way: Way, path: &Path, partitions: u64, helpers: JobPool) -> Rc<Self> {
        let mut config = ShardConfig::new(0, 0x5ec2_e700);
        if way == Way::OwnSyncs {
            config.journal = JournalSizes {
                files_max: 0,
                ..JournalSizes::default()
            };
        }
        Rc::new(Self {
            shard: RefCell::new(Shard::new(OsDisk::new(path), config)),
            helpers,
            began: Instant::now(),
            partitions,
            state: RefCell::default(),
            answered: LocalEvent::new(),
        })
    }

    fn clock(&self) -> Clock {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Clock {
            monotonic_ms: ms,
            wall_ms: 1_700_000_000_000 + ms,
        }
    }

    async fn run(self: Rc<Self>, bytes: usize, wanted: Duration) -> Run {
        for number in 0..self.partitions {
            let spec = PartitionSpec {
                id: PartitionId(u128::from(number) + 1),
                topic: "bench".parse().expect("it is a topic's name"),
                index: -1,
                term: Term(1),
                ack: AckLevel::Disk,
                may_create: true,
                policies: hulse_shard::PartitionPolicies::default(),
            };
            self.act(|shard, clock, fx| shard.open_partition(spec, clock, fx))
                .expect("a partition can be opened");
            let opening = Command::OpenProducer {
                name: "bench".parse().expect("it is a producer's name"),
                epoch: None,
            };
            let id = PartitionId(u128::from(number) + 1);
            self.act(|shard, clock, fx| {
                shard.handle_on(clock, id, stream(number), 1, opening, fx);
                shard.end_round(clock, fx);
            });
        }
        self.await_answers().await;
        let payload = filler(bytes);
        let mut sequence = 0;
        let mut round = async || {
            let mut held = Duration::ZERO;
            for number in 0..self.partitions {
                held += self.send(number, sequence, &payload).await;
            }
            sequence += 1;
            self.act(|shard, clock, fx| shard.end_round(clock, fx));
            self.await_answers().await;
            held
        };
        // Segments grow and the journal gets its files before anything counts.
        let warm = Instant::now();
        while warm.elapsed() < wanted / 3 {
            round().await;
        }
        let mut meter = Meter::start(self.partitions);
        let mut ticked = Instant::now();
        while meter.began.elapsed() < wanted {
            let began = Instant::now();
            meter.held += round().await;
            meter.times.push(began.elapsed());
            if ticked.elapsed() > Duration::from_millis(100) {
                ticked = Instant::now();
                self.act(|shard, clock, fx| shard.tick(clock, fx));
            }
        }
        meter.end()
    }

    /// Sends one batch, again for as long as it is held back. Gives how long that was.
    async fn send(self: &Rc<Self>, number: u64, sequence: u64, payload: &[u8]) -> Duration {
        let mut held = Duration::ZERO;
        loop {
            let batch = Command::Produce {
                sequence,
                messages: 1,
                skipped: false,
                delayed: false,
                payload,
                payload_crc: None,
            };
            let handled =
                self.act(|shard, clock, fx| shard.handle(clock, stream(number), 1, batch, fx));
            if handled == Handled::Done {
                return held;
            }
            let began = Instant::now();
            self.act(|shard, clock, fx| shard.end_round(clock, fx));
            loop {
                let happened = self.answered.listen();
                if self.state.borrow_mut().is_resumed(number + 1) {
                    break;
                }
                happened.await;
            }
            held += began.elapsed();
        }
    }

    /// Waits until every producer has its answer.
    async fn await_answers(&self) {
        loop {
            let happened = self.answered.listen();
            if self.state.borrow().answers >= self.partitions {
                self.state.borrow_mut().answers = 0;
                return;
            }
            happened.await;
        }
    }

    fn act<R>(
        self: &Rc<Self>,
        act: impl FnOnce(&mut Shard<OsDisk>, Clock, &mut Vec<Effect<OsDisk>>) -> R,
    ) -> R {
        let mut effects = Vec::new();
        let result = act(&mut self.shard.borrow_mut(), self.clock(), &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
        result
    }

    fn carry_out(self: &Rc<Self>, effect: Effect<OsDisk>) {
        let core = self.clone();
        match effect {
            Effect::Reply { reply, .. } => {
                assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
                self.answer();
            }
            Effect::Receipt { .. } => self.answer(),
            Effect::Resume { connection } => {
                self.state.borrow_mut().resumed.push(connection);
                self.answered.notify();
            }
            Effect::Sync {
                partition,
                log,
                ticket,
            } => spawn(async move {
                let mut result = Ok(());
                for file in ticket.files() {
                    result = result.and(sync_data(file).await);
                }
                core.act(|shard, clock, fx| {
                    shard.synced(clock, partition, log, ticket, result, fx);
                });
            }),
            Effect::SyncJournal { ticket } => spawn(async move {
                let result = sync_data(ticket.file()).await;
                core.act(|shard, clock, fx| shard.journal_synced(clock, ticket, &result, fx));
            }),
            Effect::PrepareJournal { work } => spawn(async move {
                let made = core.helpers.run(move || work.run()).await;
                let made = made.expect("the helper lives");
                core.act(|shard, clock, _| shard.journal_prepared(clock, made));
            }),
            Effect::SyncInBackground { work } => spawn(async move {
                let done = core.helpers.run(move || work.run()).await;
                let done = done.expect("the helper lives");
                core.act(|shard, clock, fx| shard.synced_in_background(clock, done, fx));
            }),
            Effect::Prepare {
                partition,
                log,
                work,
            } => spawn(async move {
                let made = core.helpers.run(move || work.run()).await;
                let made = made.expect("the helper lives");
                core.act(|shard, clock, fx| shard.prepared(clock, partition, log, made, fx));
            }),
            Effect::MarkFlushed { .. }
            | Effect::GoOn { .. }
            | Effect::Remove { .. }
            | Effect::WarmUp { .. }
            | Effect::Deliver { .. } => {}
        };
    }

    fn answer(&self) {
        self.state.borrow_mut().answers += 1;
        self.answered.notify();
    }
}

const fn stream(number: u64) -> StreamKey {
    StreamKey {
        connection: number + 1,
        stream: 1,
    }
}
