//! What policies hold back: connections whose rate is used up, and what is told of it.

use hulse_log::Disk;
use hulse_model::PartitionId;
use hulse_model::limits::HELD_BACK_TOLD_MAX;

use crate::command::Clock;
use crate::effect::Effect;
use crate::partition::Partition;
use crate::policies::PartitionPolicies;
use crate::shard::Shard;
use crate::stats::HeldBack;

impl<D: Disk> Shard<D> {
    /// Changes the policies of a partition. What was held back for the sake of a rate tries again.
    /// False when this core does not have it.
    pub fn set_policies(
        &mut self,
        id: PartitionId,
        policies: PartitionPolicies,
        fx: &mut Vec<Effect<D>>,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return false;
        };
        partition.spec.policies = policies;
        partition.policies_changed();
        self.resume_throttled(fx);
        true
    }

    /// What quotas hold back on this core just now, as far as it fits into one answer: every rate that
    /// somebody waits for, and the backlogs of these partitions, or of all.
    #[must_use]
    pub fn held_back(&self, only: Option<&[PartitionId]>) -> Vec<HeldBack> {
        let rates = self
            .throttle
            .waiting()
            .map(|(limit, connections)| HeldBack::Rate {
                scope: limit.scope().clone(),
                rate: limit.rate(),
                connections,
            });
        let backlog = |partition: &Partition<D>| {
            let (subscription, text) = partition.held_by()?;
            Some(HeldBack::Backlog {
                topic: partition.spec.topic.clone(),
                index: partition.spec.index,
                subscription,
                text,
            })
        };
        let mut all: Vec<HeldBack> = rates.take(HELD_BACK_TOLD_MAX).collect();
        let room = HELD_BACK_TOLD_MAX - all.len();
        match only {
            None => all.extend(self.partitions.values().filter_map(backlog).take(room)),
            Some(ids) => {
                let named = ids.iter().filter_map(|id| self.partitions.get(id));
                all.extend(named.filter_map(backlog).take(room));
            }
        }
        all
    }

    /// Whether a batch of the connection is held back because a rate of the partition is used up.
    pub(super) fn throttles(&mut self, id: PartitionId, connection: u64, clock: Clock) -> bool {
        let Some(partition) = self.partitions.get(&id) else {
            return false;
        };
        let rates = &partition.spec.policies.rates;
        !rates.is_empty() && !self.throttle.admits(connection, rates, clock.monotonic_ms)
    }

    /// Counts a batch towards the rates of its partition, unless it was refused or had been stored
    /// before. `stored` is how many entries had been stored before it.
    pub(super) fn count_rates(
        &mut self,
        id: PartitionId,
        (bytes, messages): (usize, u32),
        stored: u64,
        clock: Clock,
        fx: &mut Vec<Effect<D>>,
    ) {
        let Some(partition) = self.partitions.get(&id) else {
            return;
        };
        let rates = &partition.spec.policies.rates;
        if partition.counters.produced_entries > stored {
            let resume = |connection| fx.push(Effect::Resume { connection });
            let taken = (bytes, messages);
            self.throttle.took(rates, taken, clock.monotonic_ms, resume);
        }
    }

    /// Lets the connections go on whose turn has come with the time.
    pub(super) fn open_rates(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        let resume = |connection| fx.push(Effect::Resume { connection });
        self.throttle.open(clock.monotonic_ms, resume);
    }

    /// Lets every connection try again that waits for a rate.
    pub(super) fn resume_throttled(&mut self, fx: &mut Vec<Effect<D>>) {
        let resume = |connection| fx.push(Effect::Resume { connection });
        self.throttle.drain(resume);
    }
}
