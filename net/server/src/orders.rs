//! The main task of a core: it opens its partitions, serves its port, and does what the control
//! thread orders, until it is told to stop.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hulse_log::{Disk, OsDisk, PartitionStore, partition_dir};
use hulse_model::limits::HANDSHAKE_TIMEOUT_MS;
use hulse_model::{PartitionId, Status, SubscriptionName};
use hulse_runtime::{
    BoundListener, CoreContext, JobPool, LocalFlag, Serving, Ticker, spawn, spawn_handle,
    yield_if_needed,
};
use hulse_shard::{Clock, Command, Effect, PartitionSpec, Reply, Shard, ShardConfig, StreamKey};

use crate::core::Core;
use crate::messages::{Ask, CoreCounts, OpenFailure, Order};
use crate::tasks::{accept, look_after_connections};
use crate::time::{Clocks, micros};

/// How often a core looks at what is due: silent clients, snapshots, retention.
const TICK: Duration = Duration::from_millis(50);
/// How long a core waits for its last syncs when it stops.
const STOP_PATIENCE_MS: u64 = 10_000;
/// How often the removal of a partition's directory is tried.
const REMOVE_ATTEMPTS: u32 = 8;

/// What a core is started with; it moves to the core's thread.
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) broker: String,
    pub(crate) region: String,
    pub(crate) clocks: Clocks,
    pub(crate) disk: OsDisk,
    pub(crate) listener: BoundListener,
    pub(crate) specs: Vec<PartitionSpec>,
    pub(crate) orders: flume::Receiver<Order>,
    pub(crate) control: flume::Sender<Ask>,
    pub(crate) helpers: JobPool,
    /// Told once, when every partition is open and the port is served.
    pub(crate) opened: flume::Sender<Opened>,
}

/// What opening a core's partitions has found.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) failures: Vec<OpenFailure>,
    pub(crate) found: Vec<String>,
}

/// Runs a core to its end.
pub(crate) async fn run(seat: Seat, context: CoreContext) -> Result<(), String> {
    let Seat {
        index,
        clocks,
        disk,
        listener,
        specs,
        orders,
        opened,
        ..
    } = seat;
    let stopping = LocalFlag::new();
    let core = Rc::new(Core::new(
        index,
        (seat.broker, seat.region),
        clocks,
        Shard::new(disk.clone(), ShardConfig::new(index, rand::random())),
        seat.control,
        seat.helpers,
        stopping.clone(),
    ));
    let found = open_all(&core, &disk, specs).await;
    let taken = core.clone();
    let serving = listener
        .into_local()
        .serve(move |stream| accept(&taken, stream));
    // The control thread may have given up meanwhile; then it has told this core to stop.
    let _ = opened.send(found);
    spawn(core.clone().end_wanted_rounds());
    spawn(tick(core.clone()));
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::Stop => break,
            order => obey(&core, &disk, order, &context).await,
        }
    }
    stop(&core, &serving).await;
    drop(serving.await);
    Ok(())
}

/// Opens partitions, and says what was found and what failed.
async fn open_all(core: &Rc<Core>, disk: &OsDisk, specs: Vec<PartitionSpec>) -> Opened {
    let mut opened = Opened::default();
    make_files(core, disk, &specs).await;
    for spec in specs {
        let (partition, key) = (spec.id, (spec.topic.clone(), spec.index));
        let clock = core.clocks.now();
        let place = describe_place(&spec);
        let done = core.with_shard(|shard, fx| {
            let done = shard.open_partition(spec, clock, fx);
            done.map_err(|error| error.to_string())
        });
        match done {
            Ok(recovered) => {
                core.names.borrow_mut().insert(key, partition);
                opened
                    .found
                    .extend(recovered.sentences().map(|text| format!("{place}: {text}")));
            }
            Err(reason) => {
                tracing::error!(%partition, reason, "a partition is not served");
                opened.failures.push(OpenFailure { partition, reason });
            }
        }
        yield_if_needed().await;
    }
    opened
}

/// Makes the files of new partitions on the helper threads: each takes several syncs, for which the
/// core must not stand still. Those of a partition that exists are left alone; what fails here
/// fails again, with its reason, when the partition is opened.
async fn make_files(core: &Rc<Core>, disk: &OsDisk, specs: &[PartitionSpec]) {
    let new = specs.iter().filter(|spec| spec.may_create);
    let making: Vec<_> = new
        .map(|spec| {
            let (core, disk) = (core.clone(), disk.clone());
            let (id, topic) = (spec.id, spec.topic.clone());
            spawn_handle(async move {
                let made = core.helpers.run(move || {
                    if let Err(error) = PartitionStore::create(&disk, id, &topic) {
                        tracing::debug!(partition = %id, %error, "its files were not made");
                    }
                });
                if let Err(panicked) = made.await {
                    tracing::error!(error = %panicked, "making a partition's files panicked");
                }
            })
        })
        .collect();
    for made in making {
        made.await;
    }
}

fn describe_place(spec: &PartitionSpec) -> String {
    match spec.index {
        -1 => spec.topic.to_string(),
        number => format!("{} partition {number}", spec.topic),
    }
}

/// Looks after what is due, until the core stops.
async fn tick(core: Rc<Core>) {
    let mut ticker = Ticker::new(TICK);
    while !core.stopping.is_raised() {
        ticker.tick().await;
        look_after_connections(&core, HANDSHAKE_TIMEOUT_MS);
        let clock = core.clocks.now();
        core.with_shard(|shard, fx| shard.tick(clock, fx));
    }
}

async fn obey(core: &Rc<Core>, disk: &OsDisk, order: Order, context: &CoreContext) {
    // An answer that nobody waits for any more is dropped.
    match order {
        Order::Open { specs, done } => {
            let _ = done.send(open_all(core, disk, specs).await.failures);
        }
        Order::Drop { partitions, done } => {
            let _ = done.send(drop_all(core, disk, &partitions).await);
        }
        Order::Describe { partitions, done } => {
            let shard = core.shard.borrow();
            let _ = done.send(
                partitions
                    .iter()
                    .filter_map(|id| shard.describe(*id))
                    .collect(),
            );
        }
        Order::DeleteSubscription {
            partitions,
            subscription,
            done,
        } => {
            delete_subscription(core, &partitions, &subscription, &done);
        }
        Order::SetPolicies { policies, done } => {
            for (id, policies) in policies {
                core.with_shard(|shard, fx| shard.set_policies(id, policies, fx));
            }
            let _ = done.send(());
        }
        Order::HeldBack { only, done } => {
            let _ = done.send(core.shard.borrow().held_back(only.as_deref()));
        }
        Order::Count { done } => {
            let _ = done.send(count(core, context));
        }
        Order::Tell {
            connection,
            correlation,
            told,
        } => core.tell(connection, correlation, &told),
        Order::Stop => unreachable!("the caller looks for it first"),
    }
}

/// Closes partitions and removes their files. Returns what could not be removed.
async fn drop_all(core: &Rc<Core>, disk: &OsDisk, partitions: &[PartitionId]) -> Vec<String> {
    let mut failures = Vec::new();
    for id in partitions.iter().copied() {
        core.with_shard(|shard, fx| shard.drop_partition(id, fx));
        core.names.borrow_mut().retain(|_, known| *known != id);
        let disk = disk.clone();
        let removed = core.helpers.run(move || remove_files(&disk, id)).await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) => failures.push(format!("partition {id}: {error}")),
            Err(panicked) => failures.push(format!("partition {id}: {panicked}")),
        }
    }
    failures
}

/// Removes the files of a partition that is closed. A helper that was making a segment for it may
/// put a file there meanwhile, or rename one, and then finds the directory gone: each of the two
/// logs makes one segment at a time, and one note of what is flushed is made at a time, so a few
/// attempts are enough.
fn remove_files(disk: &OsDisk, id: PartitionId) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match disk.remove_dir_all(&partition_dir(id)) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty
                    && attempts < REMOVE_ATTEMPTS => {}
            removed => return removed,
        }
    }
}

/// Deletes a subscription. It has no client, so its answers are looked for among the effects.
fn delete_subscription(
    core: &Rc<Core>,
    partitions: &[PartitionId],
    subscription: &SubscriptionName,
    done: &flume::Sender<Result<(), (Status, String)>>,
) {
    let clock = core.clocks.now();
    let mut refused = None;
    for id in partitions {
        let nobody = StreamKey {
            connection: 0,
            stream: 0,
        };
        let command = Command::DeleteSubscription {
            subscription: subscription.clone(),
        };
        core.with_shard(|shard, fx| {
            shard.handle_on(clock, *id, nobody, 0, command, fx);
            for effect in fx.iter() {
                if let Effect::Reply {
                    to,
                    reply: Reply::Refused(refusal),
                    ..
                } = effect
                    && *to == nobody
                {
                    refused.get_or_insert((refusal.status, refusal.message.clone()));
                }
            }
        });
    }
    core.end_round();
    let _ = done.send(refused.map_or(Ok(()), Err));
}

fn count(core: &Core, context: &CoreContext) -> CoreCounts {
    let counters = &core.counters;
    CoreCounts {
        shard: core.shard.borrow().stats(),
        connections: counters.connections.get(),
        connections_total: counters.connections_total.get(),
        connections_refused: counters.connections_refused.get(),
        connections_evicted: counters.connections_evicted.get(),
        frames_received: counters.frames_received.get(),
        frames_malformed: counters.frames_malformed.get(),
        bytes_received: counters.bytes_received.get(),
        bytes_sent: counters.bytes_sent.get(),
        lateness_us: micros(context.health().take_worst_lateness()),
        sync_us: core.sync_times.percentiles(),
    }
}

/// Takes no more work, finishes what was begun, and marks the partitions as clean.
async fn stop(core: &Rc<Core>, serving: &Serving) {
    serving.stop();
    let began = core.clocks.now();
    core.with_shard(|shard, fx| shard.stop(began, fx));
    let mut ticker = Ticker::new(Duration::from_millis(2));
    let patience = |clock: Clock| clock.monotonic_ms - began.monotonic_ms < STOP_PATIENCE_MS;
    while !core.shard.borrow().is_quiet() && patience(core.clocks.now()) {
        ticker.tick().await;
        let clock = core.clocks.now();
        core.with_shard(|shard, fx| shard.end_round(clock, fx));
    }
    core.stopping.raise();
    let connections: BTreeMap<_, _> = core.connections.borrow().clone();
    for connection in connections.values() {
        let to = StreamKey {
            connection: connection.id,
            stream: 0,
        };
        let refusal = hulse_shard::Refusal::new(Status::NotReady, "the broker is stopping");
        connection.outbox.borrow_mut().refuse(to, 0, &refusal);
        connection.end(core.clocks.monotonic_ms());
    }
    let sent = |core: &Core| core.connections.borrow().is_empty();
    while !sent(core) && patience(core.clocks.now()) {
        ticker.tick().await;
        look_after_connections(core, HANDSHAKE_TIMEOUT_MS);
    }
    core.shard.borrow_mut().close();
}
