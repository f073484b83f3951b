//! What quotas hold back, as it is told.

use hulse_metadata::records::TopicRecord;
use hulse_model::limits::HELD_BACK_TOLD_MAX;
use hulse_shard::HeldBack;
use hulse_wire::json::HeldBack as Told;

use super::{Control, Refused};
use crate::messages::Order;

impl Control {
    /// What quotas hold back on every core: each rate, and the backlogs of one topic, or of all. A
    /// rate that connections of several cores wait for is told once.
    pub(super) async fn held_back(
        &self,
        topic: Option<&TopicRecord>,
    ) -> Result<Vec<HeldBack>, Refused> {
        let mut all: Vec<HeldBack> = Vec::new();
        let mut own = topic.map(|topic| self.by_core(topic));
        for core in 0..self.cores.len() {
            let only = own
                .as_mut()
                .map(|own| own.remove(&core).unwrap_or_default());
            let held = self
                .order(core, |done| Order::HeldBack { only, done })
                .await?;
            for one in held {
                let known = all.iter_mut().find_map(|other| match (other, &one) {
                    (
                        HeldBack::Rate {
                            scope, connections, ..
                        },
                        HeldBack::Rate {
                            scope: same,
                            connections: more,
                            ..
                        },
                    ) if scope == same => Some((connections, *more)),
                    _ => None,
                });
                match known {
                    Some((connections, more)) => *connections += more,
                    None => all.push(one),
                }
            }
        }
        all.truncate(HELD_BACK_TOLD_MAX);
        Ok(all)
    }

    /// What quotas hold the producers of one topic back.
    pub(super) async fn held_back_of(&self, topic: &TopicRecord) -> Result<Vec<Told>, Refused> {
        let held = self.held_back(Some(topic)).await?;
        let concerns = |one: &&HeldBack| match one {
            HeldBack::Backlog { .. } => true,
            HeldBack::Rate { scope, .. } => scope.covers(&topic.name),
        };
        Ok(held.iter().filter(concerns).map(told).collect())
    }
}

/// As clients are told.
pub(super) fn told(one: &HeldBack) -> Told {
    match one {
        HeldBack::Backlog {
            topic,
            index,
            subscription,
            text,
        } => Told {
            reason: "backlog-quota".to_owned(),
            topic: Some(topic.to_string()),
            partition: Some(*index),
            subscription: Some(subscription.clone()),
            scope: None,
            text: text.clone(),
        },
        HeldBack::Rate {
            scope,
            rate,
            connections,
        } => Told {
            reason: "rate".to_owned(),
            topic: None,
            partition: None,
            subscription: None,
            scope: Some(scope.to_string()),
            text: format!(
                "{connections} connections wait, since as much is published as the rate of {} \
                 {scope} lets through: {rate}",
                scope.level()
            ),
        },
    }
}
