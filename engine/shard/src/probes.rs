//! Holders of a claim that are asked whether they are still there, and the requests that wait for
//! the answer.
//!
//! Whoever wants what another stream has (an Exclusive subscription, a producer's name) is refused
//! only when that stream's connection has said something after the question. A connection that says
//! nothing for [`bound_ms`] is held for dead, much earlier than by its own time-out: then the request
//! is tried again. One question serves all claims of a connection, and nothing is looked at but the
//! connections that were asked.

use std::collections::{BTreeMap, VecDeque};

use hulse_model::PartitionId;
use hulse_model::limits::{BEACON_TIMEOUT_MS, CLAIMANTS_MAX, PROBE_MS_MIN, PROBE_PARTS};

use crate::command::StreamKey;
use crate::consume::Subscribing;
use crate::effect::Refusal;
use crate::produce::Producing;

/// The most time that one look counts, in milliseconds. A core that stood still for longer has not
/// read meanwhile what its clients may have said.
const STEP_MS_MAX: u64 = 100;

/// How long a connection with this time-out may take over its answer, in milliseconds.
pub(crate) fn bound_ms(time_out_ms: u32) -> u64 {
    u64::from(time_out_ms / PROBE_PARTS).max(PROBE_MS_MIN)
}

/// What a stream is to be.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A producer.
    Producer(Producing),
    /// A consumer.
    Consumer(Subscribing),
}

/// A request that opens a stream.
#[derive(Debug)]
pub(crate) struct Claimant {
    pub(crate) partition: PartitionId,
    pub(crate) to: StreamKey,
    pub(crate) correlation: u64,
    pub(crate) opening: Opening,
}

/// Why a stream cannot be opened just now.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// The request is refused.
    Refused(Refusal),
    /// Another stream has what was asked for. The refusal holds if it is alive.
    Held { holder: StreamKey, refusal: Refusal },
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Refusal {
    /// The refusal as an obstacle: for the sake of this stream, if of one.
    pub(crate) fn held_by(self, holder: Option<StreamKey>) -> Obstacle {
        match holder {
            Some(holder) => Obstacle::Held {
                holder,
                refusal: self,
            },
            None => Obstacle::Refused(self),
        }
    }
}

/// A request whose waiting is over.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) claimant: Claimant,
    /// The holder has answered: whoever has the claim now is not asked once more.
    pub(crate) answered: bool,
}

/// A connection that was asked.
#[derive(Debug)]
struct Probe {
    bound_ms: u64,
    /// How long it has said nothing, as far as the core was there to hear it.
    waited_ms: u64,
    /// When that was added to last.
    seen_ms: u64,
    /// Who waits, in order, and for which of its streams.
    claimants: Vec<(StreamKey, Claimant)>,
}

/// The questions of one core.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// The agreed time-outs of connections whose time-out is not the default.
    time_outs: BTreeMap<u64, u32>,
    by_connection: BTreeMap<u64, Probe>,
    /// For each stream that waits, the connection that was asked.
    waiting: BTreeMap<StreamKey, u64>,
    settled: VecDeque<Settled>,
}

impl Probes {
    /// Notes how long a connection may be silent.
    pub(crate) fn greeted(&mut self, connection: u64, time_out_ms: u32) {
        if time_out_ms != BEACON_TIMEOUT_MS {
            self.time_outs.insert(connection, time_out_ms);
        }
    }

    /// Lets a request wait until the connection of `holder` has answered or is gone. Returns whether
    /// that is to be asked now; it has been asked already otherwise. None when enough wait for this
    /// holder, and the request does not.
    pub(crate) fn wait(
        &mut self,
        now_ms: u64,
        holder: StreamKey,
        claimant: Claimant,
    ) -> Option<bool> {
        let connection = holder.connection;
        let asked = self.by_connection.contains_key(&connection);
        let time_out = self.time_outs.get(&connection);
        let bound_ms = bound_ms(time_out.copied().unwrap_or(BEACON_TIMEOUT_MS));
        let probe = self.by_connection.entry(connection).or_insert(Probe {
            bound_ms,
            waited_ms: 0,
            seen_ms: now_ms,
            claimants: Vec::new(),
        });
        let same = probe.claimants.iter().filter(|(of, _)| *of == holder);
        if same.count() >= CLAIMANTS_MAX {
            return None;
        }
        self.waiting.insert(claimant.to, connection);
        probe.claimants.push((holder, claimant));
        Some(!asked)
    }

    /// A connection has said something.
    pub(crate) fn heard(&mut self, connection: u64) {
        self.settle(connection, true);
    }

    /// A connection is gone.
    pub(crate) fn gone(&mut self, connection: u64) {
        self.time_outs.remove(&connection);
        self.settle(connection, false);
    }

    fn settle(&mut self, connection: u64, answered: bool) {
        let probe = self.by_connection.remove(&connection);
        for (_, claimant) in probe.into_iter().flat_map(|probe| probe.claimants) {
            self.waiting.remove(&claimant.to);
            self.settled.push_back(Settled { claimant, answered });
        }
    }

    /// Lets time pass. Returns the connections that are to be held for dead.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<u64> {
        let silent = |(connection, probe): (&u64, &mut Probe)| {
            let step = now_ms.saturating_sub(probe.seen_ms).min(STEP_MS_MAX);
            probe.seen_ms = now_ms;
            probe.waited_ms += step;
            (probe.waited_ms >= probe.bound_ms).then_some(*connection)
        };
        self.by_connection.iter_mut().filter_map(silent).collect()
    }

    /// The next request whose waiting is over.
    pub(crate) fn next_settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }

    /// More permits for a consumer that waits.
    pub(crate) fn add_permits(&mut self, stream: StreamKey, more: u32) {
        let probe = self.waiting.get(&stream);
        let probe = probe.and_then(|connection| self.by_connection.get_mut(connection));
        let claimants = probe.into_iter().flat_map(|probe| &mut probe.claimants);
        let settled = self.settled.iter_mut().map(|settled| &mut settled.claimant);
        let mut all = claimants.map(|(_, claimant)| claimant).chain(settled);
        if let Some(claimant) = all.find(|claimant| claimant.to == stream)
            && let Opening::Consumer(wanted) = &mut claimant.opening
        {
            wanted.permits = wanted.permits.saturating_add(more);
        }
    }

    /// A stream that waits is gone. Nobody is held for dead for its sake any more.
    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.settled.retain(|settled| settled.claimant.to != stream);
        let Some(connection) = self.waiting.remove(&stream) else {
            return;
        };
        if let Some(probe) = self.by_connection.get_mut(&connection) {
            probe.claimants.retain(|(_, it)| it.to != stream);
            if probe.claimants.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    /// Takes out the requests that concern a partition which this core has no more.
    pub(crate) fn take_partition(&mut self, partition: PartitionId) -> Vec<Claimant> {
        let mut taken = Vec::new();
        for probe in self.by_connection.values_mut() {
            let of = |(_, it): &mut (StreamKey, Claimant)| it.partition == partition;
            let gone = probe.claimants.extract_if(.., of);
            taken.extend(gone.map(|(_, claimant)| claimant));
        }
        self.by_connection
            .retain(|_, probe| !probe.claimants.is_empty());
        for claimant in &taken {
            self.waiting.remove(&claimant.to);
        }
        let settled = std::mem::take(&mut self.settled).into_iter();
        let (gone, rest): (Vec<_>, Vec<_>) =
            settled.partition(|it| it.claimant.partition == partition);
        self.settled = rest.into();
        taken.extend(gone.into_iter().map(|settled| settled.claimant));
        taken
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.settled.len()
    }
}
