//! The order in which a broker starts and stops.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hulse_log::{OsDisk, announce_faults, replay};
use hulse_metadata::catalog::{Levels, Registration, Reinstallation, TopicDefaults, core_of};
use hulse_metadata::records::{AckLevel, TopicRecord};
use hulse_metadata::{Catalog, EmbeddedStore, RandomIds};
use hulse_model::{GroupId, PartitionId};
use hulse_runtime::preflight::{check_data_dir, check_machine, first_failure};
use hulse_runtime::{
    BindError, BoundListener, Cores, CoresConfig, JobPool, StopSignal, Watchdog, WatchdogConfig,
    available_cpus, install_panic_hook,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::config::{Ready, ServeConfig, ServeError};
use crate::control::{BrokerInfo, Control, CoreHandle, Group, Known, Placed, Rates};
use crate::control::{note_made, read_made, specs};
use crate::data_dir::DataDir;
use crate::lives::Lives;
use crate::messages::{Ask, Order};
use crate::orders::{Opened, Seat, run};
use crate::time::{Clocks, wall_ms};

/// What an acknowledgement means, in the words that stand in the README and in the banner.
pub const ACKNOWLEDGEMENT_MEANS: &str = "An acknowledgement means: at `disk` (the default), synced \
     on every member of the in-sync set; at `memory`, out of the process (safe from `kill -9`, not \
     from power loss) on every member of it.";

/// Orders that may wait for one core.
const ORDERS_MAX: usize = 1024;
/// Questions that may wait for the control thread.
const ASKS_MAX: usize = 4096;
/// Threads that make segments, remove them, sync in the background and read ahead: the first takes its
/// time, and the others go on meanwhile.
const HELPERS: usize = 4;
/// Jobs that may wait for them.
const JOBS_MAX: usize = 4096;
/// How long a taken port is tried.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
/// How often.
const PORT_RETRY: Duration = Duration::from_millis(5);

/// Runs a broker until SIGTERM or SIGINT, or until something fails. `on_ready` is called once, when
/// every partition has been recovered and every port is served.
///
/// # Errors
/// [`ServeError`], which is one sentence with its remedy.
pub fn serve(config: &ServeConfig, on_ready: impl FnOnce(&Ready)) -> Result<(), ServeError> {
    install_panic_hook();
    announce_faults().map_err(|source| ServeError::Control { source })?;
    check_address(config)?;
    let count = config
        .cores
        .unwrap_or_else(|| available_cpus().len().max(1));
    let cores_config = CoresConfig {
        cores: count,
        spin: config.spin,
        stop: StopSignal::new(),
        ..CoresConfig::default()
    };
    preflight(&check_machine(count, cores_config.ring_depth))?;
    let dir = DataDir::take(&config.data)?;
    preflight(&check_data_dir(dir.path()))?;
    let listeners = bind(config, count)?;
    let admin = config.admin.map(admin::bind).transpose()?;
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let control = control.map_err(|source| ServeError::Control { source })?;
    control.block_on(async {
        let admin = admin.map(tokio::net::TcpListener::from_std).transpose();
        let admin = admin.map_err(|source| ServeError::Control { source })?;
        Broker {
            config,
            dir,
            cores_config,
            listeners,
        }
        .run(admin, on_ready)
        .await
    })
}

/// What a start has taken hold of before anything runs.
struct Broker<'a> {
    config: &'a ServeConfig,
    dir: DataDir,
    cores_config: CoresConfig,
    listeners: Vec<BoundListener>,
}

/// What the catalogue says this broker serves.
struct Charge {
    catalog: Catalog<EmbeddedStore>,
    topics: Vec<TopicRecord>,
    groups: BTreeMap<GroupId, Group>,
    made: Vec<PartitionId>,
    levels: Levels,
}

impl Broker<'_> {
    async fn run(
        self,
        admin: Option<tokio::net::TcpListener>,
        on_ready: impl FnOnce(&Ready),
    ) -> Result<(), ServeError> {
        let clocks = Clocks::start();
        let started = Instant::now();
        let mut recovery = replay_journals(self.dir.path())?;
        let listen: Vec<SocketAddr> = self.listeners.iter().map(BoundListener::address).collect();
        let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
        let addresses = self.addresses(&listen);
        let Charge {
            catalog,
            topics,
            groups,
            made,
            levels,
        } = self.take_charge(&addresses).await?;
        let Self {
            config,
            dir,
            cores_config,
            listeners,
        } = self;
        let helpers = JobPool::start("hulse-helper", HELPERS, JOBS_MAX)
            .map_err(|source| ServeError::Control { source })?;
        let disk = OsDisk::new(dir.path());
        let rates = Rates::default();
        let (by_core, orphans) = specs(
            &topics,
            &groups,
            cores_config.cores,
            |id| made.contains(&id),
            |topic| rates.policies_of(topic, &levels),
        );
        let new: Vec<_> = by_core
            .iter()
            .flatten()
            .filter(|spec| spec.may_create)
            .collect();
        let new: Vec<PartitionId> = new.into_iter().map(|spec| spec.id).collect();
        let mut known = Known {
            groups,
            ..Known::default()
        };
        for (partition, topic) in orphans {
            let reason =
                format!("the group of partition {partition} of {topic} is not served here");
            known.failed.insert(partition, reason);
        }
        let (control, asks) = flume::bounded::<Ask>(ASKS_MAX);
        let mut handles = Vec::new();
        let mut seats = Vec::new();
        let mut opening = Vec::new();
        for (index, (listener, specs)) in listeners.into_iter().zip(by_core).enumerate() {
            known
                .open
                .extend(specs.iter().map(|spec| (spec.id, Placed { core: index })));
            let (orders, ordered) = flume::bounded(ORDERS_MAX);
            let (opened, found) = flume::bounded(1);
            handles.push(CoreHandle {
                orders,
                address: addresses[index].clone(),
            });
            opening.push(found);
            seats.push(Some(Seat {
                index,
                broker: config.broker.clone(),
                region: config.region.clone(),
                clocks,
                disk: disk.clone(),
                listener,
                specs,
                orders: ordered,
                control: control.clone(),
                helpers: helpers.clone(),
                opened,
            }));
        }
        drop(control);
        let mut cores = Cores::start(&cores_config, |core| {
            let seat = seats[core].take().expect("each core is made once");
            move |context| run(seat, context)
        })
        .map_err(|error| ServeError::Preflight {
            sentence: error.to_string(),
        })?;
        let watchdog = Watchdog::start(WatchdogConfig::default(), cores.health().to_vec())
            .map_err(|source| ServeError::Control { source })?;
        // A core that fails raises the stop signal by itself; a thread waits for the cores, since
        // that blocks.
        let stop = cores_config.stop.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let first = cores.wait();
            while cores.wait().is_err() {}
            first
        });
        for found in opening {
            // A core that ends before it has told is told of by `ended`.
            let Opened { failures, found } = found.recv_async().await.unwrap_or_default();
            recovery.extend(found);
            for failure in failures {
                recovery.push(failure.reason.clone());
                known.open.remove(&failure.partition);
                known.failed.insert(failure.partition, failure.reason);
            }
        }
        let made_now: Vec<_> = new
            .into_iter()
            .filter(|id| known.open.contains_key(id))
            .collect();
        note_made(catalog.store(), &made_now)
            .await
            .map_err(|(_, reason)| ServeError::Metadata { reason })?;
        let info = BrokerInfo {
            broker: config.broker.clone(),
            region: config.region.clone(),
            listen: addresses,
            admin: admin_address.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            data: dir.path().to_owned(),
            started,
        };
        let control = Arc::new(Control::new(catalog, handles, info, rates, known));
        if let Err((_, reason)) = control.remove_deleted().await {
            recovery.push(reason);
        }
        if let Some(admin) = admin {
            tokio::spawn(admin::serve(admin, control.clone()));
        }
        tokio::spawn(control.clone().serve(asks));
        // Whoever reads the ready line may send the signal at once.
        let signals = Signals::catch()?;
        if !stop.is_stopped() {
            on_ready(&Ready {
                listen,
                admin: admin_address,
                broker: config.broker.clone(),
                region: config.region.clone(),
                cores: cores_config.cores,
                recovery,
            });
        }
        signals.until_stopped(&stop).await;
        for core in &control.cores {
            // One that has ended needs no order.
            let _ = core.orders.send_async(Order::Stop).await;
        }
        let ended = ended.await.map_err(|error| ServeError::Core {
            core: 0,
            reason: error.to_string(),
        })?;
        drop(watchdog);
        drop(dir);
        ended.map_err(core_error)
    }

    /// What clients are told to dial, for each core.
    fn addresses(&self, listen: &[SocketAddr]) -> Vec<String> {
        let base = listen.first().map_or(0, SocketAddr::port);
        let address = |address: &SocketAddr| match &self.config.advertise {
            None => address.to_string(),
            Some((host, port)) => {
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.clone()
                };
                // The ports in front may differ from those behind, by the same step for all.
                let port = port.map_or(address.port(), |first| {
                    first.wrapping_add(address.port().wrapping_sub(base))
                });
                format!("{host}:{port}")
            }
        };
        listen.iter().map(address).collect()
    }

    /// Registers a new life, takes a new term in every group, and reads what is to be served.
    async fn take_charge(&self, addresses: &[String]) -> Result<Charge, ServeError> {
        let path = self.dir.path();
        let metadata = |reason: String| ServeError::Metadata { reason };
        let disk = |source| ServeError::Data {
            path: path.to_owned(),
            source,
        };
        let store = EmbeddedStore::open(path, &RandomIds).map_err(|e| metadata(e.to_string()))?;
        let defaults = TopicDefaults {
            replicas: 1,
            regions: vec![self.config.region.clone()],
            ack: AckLevel::Disk,
        };
        let catalog = Catalog::new(store, &self.config.broker, defaults);
        let registered = catalog
            .registered()
            .await
            .map_err(|e| metadata(e.to_string()))?;
        let lives = Lives::read(path)
            .map_err(disk)?
            .next(registered, rand::random());
        lives.write(path).map_err(disk)?;
        let intent = lives.intent.expect("a start has an intent");
        let registration = Registration {
            region: self.config.region.clone(),
            cores: u32::try_from(self.cores_config.cores).unwrap_or(u32::MAX),
            addresses: addresses.to_vec(),
            held: lives.held,
            intent,
        };
        let now = wall_ms();
        catalog
            .register_broker(&registration, now)
            .await
            .map_err(|e| metadata(e.to_string()))?;
        Lives {
            held: Some(intent),
            intent: Some(intent),
        }
        .write(path)
        .map_err(disk)?;
        catalog
            .seed(now)
            .await
            .map_err(|e| metadata(e.to_string()))?;
        let request = Reinstallation {
            incarnation: intent,
            adopted: &BTreeMap::new(),
        };
        let installed = catalog.install_primaries(&request).await;
        let installed = installed.map_err(|e| metadata(e.to_string()))?;
        let cores = self.cores_config.cores;
        let group = |reign: &hulse_metadata::catalog::Reign| {
            let core = core_of(reign.record.index, cores);
            (
                reign.group,
                Group {
                    term: reign.record.term,
                    core,
                },
            )
        };
        let groups = installed.reigns.iter().map(group).collect();
        let topics = catalog
            .list_topics("")
            .await
            .map_err(|e| metadata(e.to_string()))?;
        let made = read_made(catalog.store()).await.map_err(metadata)?;
        let levels = catalog
            .levels()
            .await
            .map_err(|e| metadata(e.to_string()))?;
        Ok(Charge {
            catalog,
            topics,
            groups,
            made,
            levels,
        })
    }
}

/// Brings the segments up to what the journals say, and says what could not be.
fn replay_journals(path: &Path) -> Result<Vec<String>, ServeError> {
    let report = replay(&OsDisk::new(path)).map_err(|source| ServeError::Journal {
        path: path.to_owned(),
        source,
    })?;
    if report.rounds > 0 {
        let (rounds, segments, bytes) = (report.rounds, report.segments, report.bytes);
        tracing::info!(rounds, segments, bytes, "the journals were replayed");
    }
    let mut found = Vec::new();
    if report.lost_rounds > 0 {
        found.push(format!(
            "{} rounds of the journals cannot be read though they had been durable; where the \
             segments lack what they held, the partition says so",
            report.lost_rounds
        ));
    }
    for file in report.lost_files {
        found.push(format!("the journal {file} is damaged and cannot be read"));
    }
    Ok(found)
}

/// The signals that stop a broker. From the moment that they are caught they no longer end the
/// process by themselves.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Result<Self, ServeError> {
        let caught = |kind| signal(kind).map_err(|source| ServeError::Control { source });
        Ok(Self {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM, SIGINT, or a core that has failed.
    async fn until_stopped(mut self, stop: &StopSignal) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: stopping"),
            () = stop.stopped() => {}
        }
    }
}

fn core_error(error: hulse_runtime::CoreError<String>) -> ServeError {
    match error {
        hulse_runtime::CoreError::Failed { core, source } => ServeError::Core {
            core,
            reason: source,
        },
        hulse_runtime::CoreError::Panicked { core, message } => ServeError::Core {
            core,
            reason: format!("a task panicked: {message}"),
        },
    }
}

fn preflight(checks: &[hulse_runtime::preflight::Check]) -> Result<(), ServeError> {
    match first_failure(checks) {
        Some(check) => Err(ServeError::Preflight {
            sentence: check.sentence(),
        }),
        None => Ok(()),
    }
}

/// Refuses an address that anybody could reach, or that nobody could dial.
fn check_address(config: &ServeConfig) -> Result<(), ServeError> {
    let listen = config.listen;
    if !listen.ip().is_loopback() && !config.allow_unauthenticated {
        return Err(ServeError::Unauthenticated { listen });
    }
    let wildcard = match listen.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if wildcard && config.advertise.is_none() {
        return Err(ServeError::AdvertiseNeeded { listen });
    }
    Ok(())
}

/// Takes a port for every core.
fn bind(config: &ServeConfig, cores: usize) -> Result<Vec<BoundListener>, ServeError> {
    let first = config.listen;
    let mut listeners = Vec::with_capacity(cores);
    for core in 0..cores {
        let port = match first.port() {
            0 => 0,
            base => u16::try_from(core)
                .ok()
                .and_then(|core| base.checked_add(core))
                .ok_or(ServeError::PortRange { core })?,
        };
        let address = SocketAddr::new(first.ip(), port);
        let bound = bind_one(address);
        listeners.push(bound.map_err(|e| ServeError::Bind {
            address,
            source: e.source,
        })?);
    }
    Ok(listeners)
}

/// Takes a port. The kernel frees the ports of a process that was killed with requests in its rings
/// a moment after that process is gone, so one that is taken is tried for that moment.
fn bind_one(address: SocketAddr) -> Result<BoundListener, BindError> {
    let began = Instant::now();
    loop {
        match BoundListener::bind(address) {
            Err(error)
                if error.source.kind() == std::io::ErrorKind::AddrInUse
                    && began.elapsed() < PORT_PATIENCE =>
            {
                std::thread::sleep(PORT_RETRY);
            }
            bound => return bound,
        }
    }
}
