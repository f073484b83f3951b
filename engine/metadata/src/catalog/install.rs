//! Installing this broker as primary again after a start.

use std::collections::BTreeMap;

use hulse_model::{GroupId, Term};

use super::read::{Found, Step};
use super::{ATTEMPTS_MAX, Catalog, CatalogError};
use crate::records::{Attempt, GroupRecord, Incarnation, Record, key};
use crate::store::{Store, Swap};

/// A start's request to be primary again.
#[derive(Debug, Clone)]
pub struct Reinstallation<'a> {
    /// The life in which this broker is registered.
    pub incarnation: Incarnation,
    /// The highest term of each group that this broker's logs or notes know. A group whose record
    /// lies below it is not installed, as its store has gone back in time.
    pub adopted: &'a BTreeMap<GroupId, Term>,
}

/// A group that this broker serves, with the configuration that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    /// The group.
    pub group: GroupId,
    /// Its configuration.
    pub record: GroupRecord,
}

/// What came of a request to be primary again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// The groups that this broker now serves, each in a term of its own, in the order of ids.
    pub reigns: Vec<Reign>,
    /// The groups that name this broker with a term below one that it had adopted: they stay as
    /// they are until an operator adopts the store.
    pub frozen: Vec<Reign>,
}

impl<S: Store> Catalog<S> {
    /// Installs this broker in every group that names it as primary: `term` and `ver` + 1, its new
    /// incarnation, the in-sync set as it was. Called once per start, after
    /// [`Catalog::register_broker`] and only when the replica is not tainted; groups that already
    /// name the new incarnation were installed by an earlier try of the same start, and keep their
    /// term.
    ///
    /// # Errors
    /// When the store does not answer. Groups may have been installed by then; ask again before
    /// acting for any.
    pub async fn install_primaries(
        &self,
        request: &Reinstallation<'_>,
    ) -> Result<Installed, CatalogError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut installed, due) = self.sort_groups(request).await?;
            let mut refused = false;
            for chunk in due.chunks(self.store.swaps_max()) {
                let swaps = chunk.iter().map(|(swap, _)| swap.clone()).collect();
                match self.swap_all(swaps).await? {
                    Step::Applied => {
                        installed
                            .reigns
                            .extend(chunk.iter().map(|(_, reign)| reign.clone()));
                    }
                    Step::Refused => refused = true,
                }
            }
            if !refused {
                installed.reigns.sort_by_key(|reign| reign.group);
                return Ok(installed);
            }
        }
        Err(CatalogError::Contended {
            key: key::GROUPS.to_owned(),
        })
    }

    /// Reads all groups: those installed or frozen, and the changes that are due for the others.
    async fn sort_groups(
        &self,
        request: &Reinstallation<'_>,
    ) -> Result<(Installed, Vec<(Swap, Reign)>), CatalogError> {
        if self.registered().await? != Some(request.incarnation) {
            return Err(CatalogError::NotRegistered {
                broker: self.broker.clone(),
            });
        }
        let mut installed = Installed::default();
        let mut due = Vec::new();
        for (key, Found { version, record }) in self.find_all::<GroupRecord>(key::GROUPS).await? {
            if record.primary != self.broker {
                continue;
            }
            let group = group_of(&key)?;
            let adopted = request.adopted.get(&group).copied().unwrap_or_default();
            if record.term < adopted {
                installed.frozen.push(Reign { group, record });
            } else if record.primary_incarnation == request.incarnation {
                installed.reigns.push(Reign { group, record });
            } else {
                let record = self.next_reign(record, request.incarnation);
                let value = Some(record.encode());
                let swap = Swap {
                    key,
                    expected: Some(version),
                    value,
                };
                due.push((swap, Reign { group, record }));
            }
        }
        Ok((installed, due))
    }

    pub(super) fn next_reign(&self, last: GroupRecord, incarnation: Incarnation) -> GroupRecord {
        let mut next = GroupRecord {
            ver: last.ver + 1,
            term: Term(last.term.0 + 1),
            primary_incarnation: incarnation,
            attempt: self.attempt(incarnation),
            ..last
        };
        next.incarnations.insert(self.broker.clone(), incarnation);
        next
    }

    pub(super) fn attempt(&self, incarnation: Incarnation) -> Attempt {
        Attempt {
            broker: self.broker.clone(),
            incarnation,
            nonce: self.ids.nonce(),
        }
    }

    /// Every group, in the order of ids.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn groups(&self) -> Result<Vec<Reign>, CatalogError> {
        let found = self.find_all::<GroupRecord>(key::GROUPS).await?;
        found
            .into_iter()
            .map(|(key, found)| {
                Ok(Reign {
                    group: group_of(&key)?,
                    record: found.record,
                })
            })
            .collect()
    }

    /// One group; `None` when there is no such key, which never means that it is new.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn group(&self, group: GroupId) -> Result<Option<GroupRecord>, CatalogError> {
        Ok(self
            .find(&key::group(group))
            .await?
            .map(|found| found.record))
    }
}

fn group_of(key: &str) -> Result<GroupId, CatalogError> {
    key::group_of(key).map_err(|source| CatalogError::Record {
        key: key.to_owned(),
        source,
    })
}
