//! Placements: which brokers hold which groups, and making the groups when they are first needed.

use std::collections::BTreeSet;

use hulse_model::Term;
use hulse_model::limits::PLACEMENT_GROUPS_MIN;

use super::read::{Found, Step};
use super::{ATTEMPTS_MAX, Catalog, CatalogError, TopicError};
use crate::records::{
    BrokerRecord, GroupRecord, Incarnation, PlacementRecord, Placing, Record, key,
};
use crate::store::{Store, Swap};

/// The most groups of a placement, whatever the brokers' cores: the list must fit in a record.
const PLACEMENT_GROUPS_MAX: u32 = 4096;

/// The most regions of one topic: their names make part of a key.
const REGIONS_MAX: usize = 8;

/// The core that serves a group: its index within the placement, dealt out in turn. Every broker
/// chooses for itself, and may choose anew at every start.
///
/// # Panics
/// When there are no cores.
#[must_use]
pub fn core_of(group_index: u32, cores: usize) -> usize {
    assert!(cores > 0, "a broker has at least one core");
    // Where usize is narrower than 32 bits, nothing else of Hulse would run.
    usize::try_from(group_index).unwrap_or(usize::MAX) % cores
}

/// How many groups a placement starts with, when the largest of its brokers has so many cores:
/// enough that several share a core and single ones can move.
#[must_use]
pub fn groups_of_placement(cores_max: u32) -> u32 {
    cores_max
        .saturating_mul(4)
        .clamp(PLACEMENT_GROUPS_MIN, PLACEMENT_GROUPS_MAX)
}

/// Checks that the brokers can hold such a placement.
pub(super) fn check(placing: &Placing, brokers: &[BrokerRecord]) -> Result<(), TopicError> {
    let Placing {
        replicas,
        regions,
        min_isr,
        ..
    } = placing;
    let (replicas, min_isr) = (*replicas, *min_isr);
    let refuse = |reason| {
        Err(TopicError::Regions {
            regions: regions.clone(),
            reason,
        })
    };
    if regions.is_empty() || regions.len() > REGIONS_MAX {
        return refuse("a topic lies in 1 to 8 of them");
    }
    if regions.iter().collect::<BTreeSet<_>>().len() != regions.len() {
        return refuse("one is named twice");
    }
    for region in regions {
        if !brokers.iter().any(|broker| broker.region == *region) {
            return Err(TopicError::UnknownRegion {
                region: region.clone(),
            });
        }
    }
    let wide = usize::try_from(replicas).unwrap_or(usize::MAX);
    if wide < regions.len() {
        return Err(TopicError::Replicas {
            replicas,
            regions: regions.len(),
        });
    }
    let there = brokers
        .iter()
        .filter(|broker| regions.contains(&broker.region))
        .count();
    if wide > there {
        let regions = regions.clone();
        return Err(TopicError::NotEnoughBrokers {
            replicas,
            regions,
            brokers: there,
        });
    }
    if min_isr == 0 || min_isr > replicas {
        return Err(TopicError::MinIsr { min_isr, replicas });
    }
    Ok(())
}

/// The brokers that hold group `index`, the primary first: from each region in turn, and within a
/// region beginning with another broker for every group.
fn holders<'a>(
    index: u32,
    placing: &Placing,
    brokers: &'a [BrokerRecord],
) -> Vec<&'a BrokerRecord> {
    let wanted = usize::try_from(placing.replicas).unwrap_or(usize::MAX);
    let mut regions: Vec<Vec<&BrokerRecord>> = placing
        .regions
        .iter()
        .map(|region| {
            let mut there: Vec<_> = brokers.iter().filter(|b| b.region == *region).collect();
            let first = core_of(index, there.len().max(1));
            there.rotate_left(first);
            there.reverse();
            there
        })
        .collect();
    let mut holders = Vec::with_capacity(wanted);
    while holders.len() < wanted {
        let before = holders.len();
        for region in &mut regions {
            if holders.len() < wanted {
                holders.extend(region.pop());
            }
        }
        assert!(
            holders.len() > before,
            "the placement was checked against these brokers"
        );
    }
    holders
}

impl<S: Store> Catalog<S> {
    /// The placement with all its groups, which are made now if it is new.
    pub(super) async fn ready_placement(
        &self,
        placing: &Placing,
        brokers: &[BrokerRecord],
    ) -> Result<PlacementRecord, CatalogError> {
        let key = key::placement(placing);
        for _ in 0..ATTEMPTS_MAX {
            match self.find::<PlacementRecord>(&key).await? {
                Some(Found { record, .. }) if record.ready => return Ok(record),
                Some(Found { version, record }) => {
                    self.make_groups(&record, brokers).await?;
                    let ready = PlacementRecord {
                        ready: true,
                        ..record
                    };
                    if let Step::Applied = self.put(&key, Some(version), &ready).await? {
                        return Ok(ready);
                    }
                }
                None => {
                    let cores = brokers.iter().map(|broker| broker.cores).max().unwrap_or(1);
                    let groups = (0..groups_of_placement(cores)).map(|_| self.ids.group());
                    let placing = placing.clone();
                    let new = PlacementRecord {
                        placing,
                        groups: groups.collect(),
                        ready: false,
                    };
                    // Refused means that another one has begun it, which is read next.
                    self.put(&key, None, &new).await?;
                }
            }
        }
        Err(CatalogError::Contended { key })
    }

    /// Makes the groups of a placement that are not there yet. That a key is missing is enough to
    /// make it only because no partition can have joined a placement that is not ready.
    async fn make_groups(
        &self,
        placement: &PlacementRecord,
        brokers: &[BrokerRecord],
    ) -> Result<(), CatalogError> {
        assert!(
            !placement.ready,
            "the groups of a placement in use are never made again"
        );
        let own = brokers.iter().find(|broker| broker.name == self.broker);
        let Some(own) = own.map(|own| own.incarnation) else {
            return Err(CatalogError::NotRegistered {
                broker: self.broker.clone(),
            });
        };
        for _ in 0..ATTEMPTS_MAX {
            let mut missing = Vec::new();
            for (index, group) in (0..).zip(&placement.groups) {
                let key = key::group(*group);
                if self.store.get(&key).await?.is_none() {
                    let record = self.new_group(index, &placement.placing, brokers, own);
                    missing.push(Swap {
                        key,
                        expected: None,
                        value: Some(record.encode()),
                    });
                }
            }
            let mut refused = false;
            for chunk in missing.chunks(self.store.swaps_max()) {
                refused |= matches!(self.swap_all(chunk.to_vec()).await?, Step::Refused);
            }
            if !refused {
                return Ok(());
            }
        }
        Err(CatalogError::Contended {
            key: key::placement(&placement.placing),
        })
    }

    fn new_group(
        &self,
        index: u32,
        placing: &Placing,
        brokers: &[BrokerRecord],
        own: Incarnation,
    ) -> GroupRecord {
        let holders = holders(index, placing, brokers);
        let primary = holders[0];
        let names: Vec<String> = holders.iter().map(|broker| broker.name.clone()).collect();
        let incarnations = holders
            .iter()
            .map(|broker| (broker.name.clone(), broker.incarnation))
            .collect();
        GroupRecord {
            ver: 1,
            term: Term(1),
            primary: primary.name.clone(),
            primary_incarnation: primary.incarnation,
            isr: names.clone(),
            replicas: names,
            incarnations,
            min_isr: placing.min_isr,
            level: placing.ack,
            attempt: self.attempt(own),
            placement: placing.to_string(),
            index,
        }
    }

    /// Every placement, in the order of keys.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn placements(&self) -> Result<Vec<PlacementRecord>, CatalogError> {
        let found = self.find_all::<PlacementRecord>(key::PLACEMENTS).await?;
        Ok(found.into_iter().map(|(_, found)| found.record).collect())
    }
}
