//! Spreading the consumers of Failover subscriptions over the partitions of their topics.
//!
//! The rules are [`Assignment`]; here the cores' reports come in and the orders go out. While this
//! does nothing, each partition chooses for itself, and nobody waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hulse_cluster::assignment::{Assignment, Member, Preference, Report};
use hulse_model::{PartitionId, SubscriptionName, TopicName};
use tokio::time::{Instant, MissedTickBehavior};

use super::Control;
use crate::messages::{CoreSeats, Order};

/// How long nothing may have changed before partitions are moved for the sake of balance: a consumer
/// connects to its partitions one after the other, and before it has connected to all of them more
/// would be moved than must be.
const CALM: Duration = Duration::from_millis(200);
/// How long changes that do not end are waited for.
const CALM_MAX: Duration = Duration::from_secs(2);
/// How often it is looked for calm.
const LOOK: Duration = Duration::from_millis(50);
/// How soon a preference that nobody follows is given again: it may have been lost with the place
/// that it was given to. Longer than a hand-over takes.
const AGAIN: Duration = Duration::from_secs(2);

/// One subscription's consumers, and where its partitions are.
struct Spread {
    assignment: Assignment,
    places: BTreeMap<u32, (PartitionId, usize)>,
    /// When the consumers changed first, and last, since partitions were moved.
    changed: Option<(Instant, Instant)>,
}

impl Spread {
    /// Whether partitions may be moved for the sake of balance.
    fn is_calm(&self, now: Instant) -> bool {
        self.changed
            .is_none_or(|(first, last)| now >= last + CALM || now >= first + CALM_MAX)
    }
}

/// Everything that is spread.
#[derive(Default)]
struct Spreading {
    subscriptions: BTreeMap<(TopicName, SubscriptionName), Spread>,
    /// Above every generation that was given: a subscription that comes back goes on behind it.
    generation: u64,
}

/// An order, and the core that it is for.
type Given = (usize, Order);

impl Spreading {
    /// Takes a report in; gives what follows from it.
    fn hear(&mut self, seats: CoreSeats, now: Instant) -> Vec<Given> {
        let CoreSeats { core, report } = seats;
        let Ok(partition) = u32::try_from(report.number) else {
            return Vec::new();
        };
        let key = (report.topic, report.subscription);
        let generation = self.generation;
        let spread = self
            .subscriptions
            .entry(key.clone())
            .or_insert_with(|| Spread {
                assignment: Assignment::new(generation),
                places: BTreeMap::new(),
                changed: None,
            });
        if report.seats.members.is_empty() {
            // What a core reports late that does not have the partition any more says nothing.
            if spread.places.get(&partition) != Some(&(report.partition, core)) {
                return Vec::new();
            }
            spread.places.remove(&partition);
        } else {
            spread.places.insert(partition, (report.partition, core));
        }
        let members = report.seats.members.iter();
        let heard = Report {
            partition,
            members: members
                .map(|(it, priority)| (Member(*it), *priority))
                .collect(),
            active: report.seats.active.map(Member),
            generation: report.seats.generation,
        };
        let mut preferences = Vec::new();
        if spread.assignment.handle(&heard, &mut preferences) {
            let first = spread.changed.map_or(now, |(first, _)| first);
            spread.changed = Some((first, now));
        }
        let orders = orders(&key.1, spread, preferences);
        self.generation = self.generation.max(spread.assignment.generation());
        if spread.assignment.is_empty() {
            self.subscriptions.remove(&key);
        }
        orders
    }

    /// Moves one partition of each subscription that is calm and not balanced.
    fn advance(&mut self, now: Instant) -> Vec<Given> {
        let mut given = Vec::new();
        for ((_, name), spread) in &mut self.subscriptions {
            if spread.is_calm(now) {
                spread.changed = None;
                let preference = spread.assignment.advance();
                given.extend(orders(name, spread, preference));
                self.generation = self.generation.max(spread.assignment.generation());
            }
        }
        given
    }

    /// What was preferred and is not followed.
    fn again(&self) -> Vec<Given> {
        let all = self.subscriptions.iter();
        all.flat_map(|((_, name), spread)| orders(name, spread, spread.assignment.unfollowed()))
            .collect()
    }
}

fn orders(
    name: &SubscriptionName,
    spread: &Spread,
    preferences: impl IntoIterator<Item = Preference>,
) -> Vec<Given> {
    let order = |it: Preference| {
        let (partition, core) = *spread.places.get(&it.partition)?;
        let order = Order::Prefer {
            partition,
            subscription: name.clone(),
            member: it.member.0,
            generation: it.generation,
        };
        Some((core, order))
    };
    preferences.into_iter().filter_map(order).collect()
}

/// Spreads consumers until every core has ended.
pub(crate) async fn spread(control: Arc<Control>, reports: flume::Receiver<CoreSeats>) {
    let mut spreading = Spreading::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again_at = Instant::now() + AGAIN;
    loop {
        let orders = tokio::select! {
            heard = reports.recv_async() => match heard {
                Ok(seats) => spreading.hear(seats, Instant::now()),
                Err(_) => return,
            },
            now = look.tick() => {
                let mut orders = spreading.advance(now);
                if now >= again_at {
                    again_at = now + AGAIN;
                    orders.extend(spreading.again());
                }
                orders
            }
        };
        for (core, order) in orders {
            // A core that has ended has no consumers.
            let _ = control.cores[core].orders.send_async(order).await;
        }
    }
}
