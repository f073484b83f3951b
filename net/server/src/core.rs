//! One core: its shard, its connections, and the hands that carry out the shard's effects.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use hulse_log::{JournalTicket, LogKind, OsDisk, SyncTicket};
use hulse_model::limits::LOG_STAGED_BYTES_TARGET;
use hulse_model::{PartitionId, Status, TopicName};
use hulse_runtime::{BlockingPanicked, JobPool, LocalFlag, Notify, spawn, sync_data, yield_now};
use hulse_shard::{Effect, Reply, Shard, StreamKey};

use crate::connection::Connection;
use crate::messages::{Ask, Told};
use crate::replies;
use crate::sync_times::SyncTimes;
use crate::tasks::{evict, probe};
use crate::time::{Clocks, micros};

/// What happens on a core besides the shard's own work.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Cell<u64>,
    /// Connections that have not finished their handshake.
    pub(crate) greeting: Cell<u64>,
    pub(crate) connections_total: Cell<u64>,
    pub(crate) connections_refused: Cell<u64>,
    pub(crate) connections_evicted: Cell<u64>,
    pub(crate) frames_received: Cell<u64>,
    pub(crate) frames_malformed: Cell<u64>,
    pub(crate) bytes_received: Cell<u64>,
    pub(crate) bytes_sent: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

/// One core's half of the broker. Shared by the tasks of the core in an `Rc`; no borrow of its
/// cells outlives a statement that could wait.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) broker: String,
    pub(crate) region: String,
    pub(crate) clocks: Clocks,
    pub(crate) shard: RefCell<Shard<OsDisk>>,
    pub(crate) connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    /// The partitions of this core, by topic and number.
    pub(crate) names: RefCell<BTreeMap<(TopicName, i32), PartitionId>>,
    pub(crate) counters: Counters,
    pub(crate) sync_times: SyncTimes,
    pub(crate) control: flume::Sender<Ask>,
    pub(crate) helpers: JobPool,
    pub(crate) stopping: LocalFlag,
    /// Bytes of requests that were handled since the last round.
    unended_bytes: Cell<usize>,
    /// A round is to end once every connection that has something to read has been read.
    round_wanted: Notify,
    /// An emptied list of effects, kept for its memory.
    spare: RefCell<Vec<Effect<OsDisk>>>,
}

impl Core {
    pub(crate) fn new(
        index: usize,
        (broker, region): (String, String),
        clocks: Clocks,
        shard: Shard<OsDisk>,
        control: flume::Sender<Ask>,
        helpers: JobPool,
        stopping: LocalFlag,
    ) -> Self {
        Self {
            index,
            broker,
            region,
            clocks,
            shard: RefCell::new(shard),
            connections: RefCell::default(),
            names: RefCell::default(),
            counters: Counters::default(),
            sync_times: SyncTimes::default(),
            control,
            helpers,
            stopping,
            unended_bytes: Cell::new(0),
            round_wanted: Notify::new(),
            spare: RefCell::default(),
        }
    }

    /// Lets the shard do something, then carries out what follows from it.
    pub(crate) fn with_shard<R>(
        self: &Rc<Self>,
        act: impl FnOnce(&mut Shard<OsDisk>, &mut Vec<Effect<OsDisk>>) -> R,
    ) -> R {
        let mut effects = std::mem::take(&mut *self.spare.borrow_mut());
        let result = act(&mut self.shard.borrow_mut(), &mut effects);
        self.carry_out(&mut effects);
        *self.spare.borrow_mut() = effects;
        result
    }

    /// Notes that requests of so many bytes were handled. The round ends when all tasks that are
    /// ready now have run, so that connections which each say a little share one write and one sync;
    /// it ends at once when there is enough for a write of its own.
    pub(crate) fn handled(self: &Rc<Self>, bytes: usize) {
        let unended = self.unended_bytes.get() + bytes;
        self.unended_bytes.set(unended);
        if unended >= LOG_STAGED_BYTES_TARGET {
            self.end_round();
        } else {
            self.round_wanted.notify();
        }
    }

    /// Ends the rounds that are wanted.
    pub(crate) async fn end_wanted_rounds(self: Rc<Self>) {
        loop {
            self.round_wanted.notified().await;
            if self.unended_bytes.get() > 0 {
                self.end_round();
            }
        }
    }

    /// Ends a burst of requests.
    pub(crate) fn end_round(self: &Rc<Self>) {
        self.unended_bytes.set(0);
        let clock = self.clocks.now();
        self.with_shard(|shard, fx| shard.end_round(clock, fx));
    }

    /// A connection's client is gone. What its consumers had goes to the others at once.
    pub(crate) fn disconnected(self: &Rc<Self>, connection: u64) {
        self.shard.borrow_mut().disconnected(connection);
        self.end_round();
    }

    /// A connection that was asked whether it is there has said something.
    pub(crate) fn heard(self: &Rc<Self>, connection: u64) {
        let clock = self.clocks.now();
        self.with_shard(|shard, fx| shard.heard(clock, connection, fx));
    }

    fn carry_out(self: &Rc<Self>, effects: &mut Vec<Effect<OsDisk>>) {
        let mut touched: Option<Rc<Connection>> = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Reply {
                    to,
                    correlation,
                    reply,
                } => {
                    self.send(&mut touched, to, |connection| {
                        replies::queue(&mut connection.outbox.borrow_mut(), to, correlation, &reply)
                    });
                    if let Reply::Refused(refusal) = &reply {
                        tracing::debug!(core = self.index, stream = ?to, %refusal.status, "{}", refusal.message);
                    }
                }
                Effect::Receipt { to, receipt } => self.send(&mut touched, to, |connection| {
                    connection.outbox.borrow_mut().receipt(to.stream, &receipt)
                }),
                Effect::Deliver {
                    to,
                    redelivery_count,
                    acked,
                    entry,
                } => {
                    // The shard has counted the entry's own bytes.
                    let counted = entry.bytes().len();
                    self.send(&mut touched, to, |connection| {
                        let mut outbox = connection.outbox.borrow_mut();
                        outbox.deliver(to.stream, redelivery_count, &acked, &entry) - counted
                    });
                }
                Effect::Sync {
                    partition,
                    log,
                    ticket,
                } => self.sync(partition, log, ticket),
                Effect::SyncJournal { ticket } => self.sync_journal(ticket),
                Effect::Prepare {
                    partition,
                    log,
                    work,
                } => self.help(
                    move || work.run(),
                    move |core, prepared| {
                        let clock = core.clocks.now();
                        core.with_shard(|shard, fx| {
                            shard.prepared(clock, partition, log, prepared, fx);
                        });
                    },
                ),
                Effect::PrepareJournal { work } => self.help(
                    move || work.run(),
                    |core, prepared| {
                        let clock = core.clocks.now();
                        core.with_shard(|shard, _| shard.journal_prepared(clock, prepared));
                    },
                ),
                Effect::SyncInBackground { work } => self.help(
                    move || work.run(),
                    |core, synced| {
                        let clock = core.clocks.now();
                        core.with_shard(|shard, fx| shard.synced_in_background(clock, synced, fx));
                    },
                ),
                Effect::WarmUp {
                    partition,
                    subscription,
                    work,
                } => self.help(
                    move || work.run(),
                    move |core, result| {
                        core.with_shard(|shard, fx| {
                            shard.warmed(partition, subscription, &result, fx);
                        });
                    },
                ),
                Effect::MarkFlushed { partition, work } => {
                    self.help(
                        move || work.run(),
                        move |core, result| {
                            core.with_shard(|shard, _| shard.marked_flushed(partition, result));
                        },
                    );
                }
                Effect::Remove { work, .. } => self.help(
                    move || work.run(),
                    |_, removed| {
                        if let Err(error) = removed {
                            tracing::warn!(%error, "an old segment was not removed");
                        }
                    },
                ),
                Effect::Probe { connection } => {
                    let asked = self.connections.borrow().get(&connection).cloned();
                    if let Some(asked) = asked {
                        probe(self, &asked);
                    }
                }
                Effect::Evict { connection } => {
                    let silent = self.connections.borrow().get(&connection).cloned();
                    if let Some(silent) = silent {
                        let text = "the client did not answer, and another wanted what it had";
                        evict(self, &silent, Status::PeerSilent, text);
                    }
                }
                Effect::GoOn {
                    partition,
                    subscription,
                } => {
                    let core = self.clone();
                    spawn(async move {
                        yield_now().await;
                        core.with_shard(|shard, fx| shard.go_on(partition, subscription, fx));
                    });
                }
                Effect::Resume { connection } => {
                    if let Some(connection) = self.connections.borrow().get(&connection) {
                        connection.to_read.notify();
                    }
                }
            }
        }
        self.flush(touched.as_ref());
    }

    /// Queues something for the stream's connection, if it is still there.
    fn send(
        &self,
        touched: &mut Option<Rc<Connection>>,
        to: StreamKey,
        queue: impl FnOnce(&Connection) -> usize,
    ) {
        if touched
            .as_ref()
            .is_none_or(|connection| connection.id != to.connection)
        {
            self.flush(touched.as_ref());
            *touched = self.connections.borrow().get(&to.connection).cloned();
        }
        if let Some(connection) = touched {
            let bytes = queue(connection);
            self.shard.borrow_mut().queued(to.connection, bytes);
        }
    }

    /// Has what is queued for a connection sent.
    pub(crate) fn flush(&self, connection: Option<&Rc<Connection>>) {
        if let Some(connection) = connection {
            let bytes = connection.outbox.borrow_mut().flush_receipts();
            self.shard.borrow_mut().queued(connection.id, bytes);
            connection.to_send.notify();
        }
    }

    /// Queues an answer that did not come from the shard.
    pub(crate) fn tell(&self, connection: u64, correlation: u64, told: &Told) {
        let Some(connection) = self.connections.borrow().get(&connection).cloned() else {
            return;
        };
        connection
            .asked
            .set(connection.asked.get().saturating_sub(1));
        let bytes = replies::queue_told(&mut connection.outbox.borrow_mut(), correlation, told);
        self.shard.borrow_mut().queued(connection.id, bytes);
        self.flush(Some(&connection));
        connection.to_read.notify();
    }

    /// Has a helper do what blocks, and then the core what follows from it.
    fn help<R: Send + 'static>(
        self: &Rc<Self>,
        job: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(&Rc<Self>, R) + 'static,
    ) {
        let core = self.clone();
        spawn(async move {
            match core.helpers.run(job).await {
                Ok(done) => then(&core, done),
                Err(panicked) => helper_panicked(&panicked),
            }
        });
    }

    fn sync_journal(self: &Rc<Self>, ticket: JournalTicket<OsDisk>) {
        let core = self.clone();
        spawn(async move {
            let began = Instant::now();
            let result = sync_data(ticket.file()).await;
            core.sync_times.record(micros(began.elapsed()));
            let clock = core.clocks.now();
            core.with_shard(|shard, fx| shard.journal_synced(clock, ticket, &result, fx));
        });
    }

    fn sync(self: &Rc<Self>, partition: PartitionId, log: LogKind, ticket: SyncTicket<OsDisk>) {
        let core = self.clone();
        spawn(async move {
            let began = Instant::now();
            let mut result = Ok(());
            for file in ticket.files() {
                result = sync_data(file).await;
                if result.is_err() {
                    break;
                }
            }
            core.sync_times.record(micros(began.elapsed()));
            let clock = core.clocks.now();
            core.with_shard(|shard, fx| shard.synced(clock, partition, log, ticket, result, fx));
        });
    }
}

/// A helper's job has a fault that nobody can answer for: the broker stops rather than goes on
/// with work half done.
fn helper_panicked(panicked: &BlockingPanicked) -> ! {
    tracing::error!(error = %panicked, "a helper's job panicked; the process aborts");
    std::process::abort();
}
