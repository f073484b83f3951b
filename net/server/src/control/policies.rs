//! From the catalogue's policies to those of the partitions that are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hulse_metadata::catalog::Levels;
use hulse_metadata::records::TopicRecord;
use hulse_model::{Effective, Policies, Scope};
use hulse_shard::{PartitionPolicies, RateLimit};

use super::{Control, Refused};
use crate::messages::Order;

/// The rates that hold, by what they are for: all partitions, on all cores, share one.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    limits: Mutex<BTreeMap<Scope, Arc<RateLimit>>>,
}

impl Rates {
    /// The policies of a topic's partitions.
    pub(crate) fn policies_of(&self, topic: &TopicRecord, levels: &Levels) -> PartitionPolicies {
        let namespace = topic.name.in_namespace();
        let [tenant, above] = levels.of_namespace(&namespace);
        let scopes = [
            (Scope::Tenant(namespace.tenant().clone()), tenant),
            (Scope::Namespace(namespace), above),
            (Scope::Topic(topic.name.clone()), topic.policies),
        ];
        PartitionPolicies {
            effective: Effective::of(scopes.iter().map(|(_, level)| level)),
            rates: scopes
                .into_iter()
                .filter_map(|(scope, level)| self.limit_of(scope, &level))
                .collect(),
        }
    }

    /// The limit of one level: the one that there is, while its rate stays the same, so that what was
    /// used up of it stays used up.
    fn limit_of(&self, scope: Scope, level: &Policies) -> Option<Arc<RateLimit>> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = level.rate() else {
            limits.remove(&scope);
            return None;
        };
        match limits.get(&scope) {
            Some(limit) if limit.rate() == rate => Some(limit.clone()),
            _ => {
                let limit = Arc::new(RateLimit::new(scope.clone(), rate));
                limits.insert(scope, limit.clone());
                Some(limit)
            }
        }
    }

    /// Forgets what is deleted.
    pub(crate) fn forget(&self, scope: &Scope) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.remove(scope);
    }
}

impl Control {
    /// What holds for the partitions of a topic, and what all levels say by now.
    pub(super) async fn policies_of(
        &self,
        topic: &TopicRecord,
    ) -> Result<(Levels, PartitionPolicies), Refused> {
        // The rates that are remembered are never older than what is read here.
        let applying = self.applying.lock().await;
        let levels = self.levels().await?;
        let policies = self.rates.policies_of(topic, &levels);
        drop(applying);
        Ok((levels, policies))
    }

    /// Has the policies hold for every open partition of a tenant, a namespace or a topic.
    pub(crate) async fn apply_policies(&self, scope: &Scope) -> Result<(), Refused> {
        // One at a time, each with what is stored by then: the last one to apply has the last word.
        let applying = self.applying.lock().await;
        let levels = self.levels().await?;
        let topics = self.catalog.list_topics(&prefix_of(scope)).await;
        let topics = topics.map_err(|error| (error.status(), error.to_string()))?;
        let mut by_core: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for topic in topics.iter().filter(|topic| scope.covers(&topic.name)) {
            let policies = self.rates.policies_of(topic, &levels);
            for (core, partitions) in self.by_core(topic) {
                let changes = partitions.into_iter().map(|id| (id, policies.clone()));
                by_core.entry(core).or_default().extend(changes);
            }
        }
        for (core, policies) in by_core {
            self.order(core, |done| Order::SetPolicies { policies, done })
                .await?;
        }
        drop(applying);
        Ok(())
    }
}

/// The beginning of the names of the topics that a scope covers; some others may have it too.
fn prefix_of(scope: &Scope) -> String {
    match scope {
        Scope::Tenant(tenant) => format!("{tenant}/"),
        Scope::Namespace(namespace) => format!("{namespace}/"),
        Scope::Topic(topic) => {
            format!("{}/{}", topic.in_namespace(), topic.topic())
        }
    }
}
