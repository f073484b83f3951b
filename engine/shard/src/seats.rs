//! The consumers of Failover subscriptions, as they are told to whoever spreads them over
//! partitions, and that one's word on who is to be active.

use std::collections::BTreeSet;

use hulse_log::Disk;
use hulse_model::{PartitionId, SubscriptionName, TopicName};
use hulse_subscription::Seats;

use crate::effect::Effect;
use crate::partition::Partition;
use crate::shard::Shard;

/// How a subscription's consumers stand on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatReport {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number, from 0.
    pub number: i32,
    /// The partition.
    pub partition: PartitionId,
    /// The subscription.
    pub subscription: SubscriptionName,
    /// Who is there; nobody when the partition is closed.
    pub seats: Seats,
}

/// What is still to be reported.
#[derive(Debug, Default)]
pub(crate) struct SeatChanges {
    /// Subscriptions, by their numbers, whose seats have changed.
    changed: BTreeSet<u64>,
}

impl SeatChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

impl<D: Disk> Partition<D> {
    /// Notes whose seats have changed. A topic without partitions has nobody to spread.
    pub(crate) fn note_seats(&mut self, only: Option<u64>) {
        let spread = self.spec.index >= 0;
        for (id, served) in self.consumers.all(only) {
            if served.dispatcher.take_changed_seats() && spread {
                self.seat_changes.changed.insert(id);
            }
        }
    }

    /// The next report, if there is one.
    pub(crate) fn next_seats(&mut self) -> Option<SeatReport> {
        while let Some(id) = self.seat_changes.changed.pop_first() {
            if let Some(subscription) = self.state.subscription(id) {
                let name = subscription.name().clone();
                let served = self.consumers.served(id);
                let seats = served.and_then(|it| it.dispatcher.seats());
                return Some(self.report(name, seats.unwrap_or_default()));
            }
        }
        None
    }

    /// The reports that nobody is there any more.
    fn closing_seats(&mut self) -> Vec<SeatReport> {
        let mut used: BTreeSet<u64> = std::mem::take(&mut self.seat_changes.changed);
        for (id, served) in self.consumers.all(None) {
            if served.is_used() && served.dispatcher.seats().is_some() && self.spec.index >= 0 {
                used.insert(id);
            }
        }
        let name = |id| Some(self.state.subscription(id)?.name().clone());
        let names: Vec<_> = used.into_iter().filter_map(name).collect();
        let report = |name| self.report(name, Seats::default());
        names.into_iter().map(report).collect()
    }

    fn report(&self, subscription: SubscriptionName, seats: Seats) -> SeatReport {
        SeatReport {
            topic: self.spec.topic.clone(),
            number: self.spec.index,
            partition: self.spec.id,
            subscription,
            seats,
        }
    }
}

impl<D: Disk> Shard<D> {
    /// The next report of a subscription whose consumers have changed, if there is one. A report
    /// tells all that there is, so what has changed several times since is reported once.
    pub fn next_seat_report(&mut self) -> Option<SeatReport> {
        if let Some(closed) = self.ready_seats.pop_front() {
            return Some(closed);
        }
        while let Some(id) = self.changed_seats.first().copied() {
            let partition = self.partitions.get_mut(&id);
            if let Some(report) = partition.and_then(Partition::next_seats) {
                return Some(report);
            }
            self.changed_seats.remove(&id);
        }
        None
    }

    /// Takes a report back that found no room: it is the next one.
    pub fn put_back_seat_report(&mut self, report: SeatReport) {
        self.ready_seats.push_front(report);
    }

    /// Notes that a partition has something to report.
    pub(crate) fn note_changed_seats(&mut self, id: PartitionId) {
        let partition = self.partitions.get(&id);
        if partition.is_some_and(|it| !it.seat_changes.is_empty()) {
            self.changed_seats.insert(id);
        }
    }

    /// Remembers to report that a partition which is closed has no consumers any more.
    pub(crate) fn close_seats(&mut self, partition: &mut Partition<D>) {
        self.changed_seats.remove(&partition.spec.id);
        self.ready_seats.extend(partition.closing_seats());
    }

    /// Whoever spreads the consumers of a subscription says which is to be the active one.
    pub fn prefer(
        &mut self,
        id: PartitionId,
        subscription: &SubscriptionName,
        member: u64,
        generation: u64,
        fx: &mut Vec<Effect<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let Some(number) = partition.state.subscription_id(subscription) else {
            return;
        };
        if let Some(state) = partition.state.subscription(number)
            && let Some(served) = partition.consumers.served(number)
        {
            let cursor = state.cursor();
            served.dispatcher.prefer(member, generation, cursor);
        }
        self.dispatch(id, Some(number), fx);
    }
}
