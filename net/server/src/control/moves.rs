//! Moving a group from one core of this broker to another: planned, in a term of its own, while its
//! clients go on.
//!
//! The old core makes everything ready while it serves, then comes to a stand and gives the open
//! partitions away; the catalog takes the new term; the new core serves. Only what is between the
//! stand and the new core's first answer is a pause. Whatever fails before the catalog is asked leaves
//! everything as it was; after that the group goes on in a further term, at the old core if need be.

use std::time::{Duration, Instant};

use hulse_log::OsDisk;
use hulse_metadata::catalog::NextTerm;
use hulse_model::{GroupId, PartitionId, Status, Term};
use hulse_shard::Taken;
use hulse_wire::json::GroupMove;

use super::{Control, Group, Refused};
use crate::messages::Order;

/// How the moves of this broker have gone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MoveCounts {
    /// Moves that were made.
    pub(crate) made: u64,
    /// Moves that were begun and came to nothing.
    pub(crate) refused: u64,
    /// The longest pause of a move, microseconds.
    pub(crate) pause_max_us: u64,
    /// All pauses together, microseconds.
    pub(crate) pause_sum_us: u64,
}

/// Where a group is served after the catalog has been asked.
struct Settled {
    core: usize,
    term: Term,
    /// Why it is not where it was to go.
    failed: Option<Refused>,
}

impl Control {
    /// Moves a group to another core.
    pub(crate) async fn move_group(
        &self,
        group: GroupId,
        to: usize,
        why: &str,
    ) -> Result<GroupMove, Refused> {
        let _turn = self.moving.lock().await;
        let known = self.known(|known| known.groups.get(&group).copied());
        let Some(Group { term, core: from }) = known else {
            let text = format!("this broker serves no group {group}");
            return Err((Status::InvalidArgument, text));
        };
        if to >= self.cores.len() {
            let text = format!(
                "there is no core {to}: they are 0 to {}",
                self.cores.len() - 1
            );
            return Err((Status::InvalidArgument, text));
        }
        let partitions = self.open_partitions(group);
        let moved = |core: usize, term: Term, pause: Duration| GroupMove {
            group: group.to_string(),
            from: u32::try_from(from).unwrap_or(u32::MAX),
            to: u32::try_from(core).unwrap_or(u32::MAX),
            address: self.cores[core].address.clone(),
            term: term.0,
            partitions: partitions.len() as u64,
            pause_us: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
        };
        if from == to {
            return Ok(moved(to, term, Duration::ZERO));
        }
        let outcome = self.carry_over(group, (from, to), term, &partitions).await;
        match outcome {
            Ok((term, pause)) => {
                let done = moved(to, term, pause);
                self.known(|known| {
                    known.moves.made += 1;
                    known.moves.pause_sum_us += done.pause_us;
                    known.moves.pause_max_us = known.moves.pause_max_us.max(done.pause_us);
                });
                let (count, pause_us) = (done.partitions, done.pause_us);
                tracing::info!(%group, from, to, partitions = count, pause_us, %term, "a group has moved to another core: {why}");
                Ok(done)
            }
            Err((status, reason)) => {
                self.known(|known| known.moves.refused += 1);
                tracing::warn!(%group, from, to, reason, "a group was not moved ({why})");
                Err((status, reason))
            }
        }
    }

    async fn carry_over(
        &self,
        group: GroupId,
        (from, to): (usize, usize),
        term: Term,
        partitions: &[PartitionId],
    ) -> Result<(Term, Duration), Refused> {
        let not_now = |reason: String| (Status::NotReady, reason);
        let address = self.cores[to].address.clone();
        let leave = |done| Order::Leave {
            partitions: partitions.to_vec(),
            address,
            done,
        };
        self.order(from, leave).await?.map_err(not_now)?;
        // From here on nobody opens or deletes a partition of the group.
        let _placing = self.placing.write().await;
        if self.open_partitions(group) != partitions {
            let partitions = partitions.to_vec();
            self.order(from, |done| Order::Stay { partitions, done })
                .await?;
            let text = "partitions of the group were made or deleted meanwhile; ask again";
            return Err(not_now(text.to_owned()));
        }
        let began = Instant::now();
        let hand_over = |done| Order::HandOver {
            partitions: partitions.to_vec(),
            done,
        };
        let taken = self.order(from, hand_over).await?.map_err(not_now)?;
        let Settled { core, term, failed } = match self.settle(group, (from, to), term).await {
            Ok(settled) => settled,
            Err(refused) => {
                self.give_up(group, from, taken, &refused).await?;
                return Err(refused);
            }
        };
        self.order(core, |done| Order::Adopt { taken, term, done })
            .await?;
        let pause = began.elapsed();
        self.known(|known| {
            known.groups.insert(group, Group { term, core });
            for id in partitions {
                if let Some(placed) = known.open.get_mut(id) {
                    placed.core = core;
                }
            }
        });
        self.tell_moved(from, core, partitions).await?;
        failed.map_or(Ok((term, pause)), Err)
    }

    /// Has the catalog give the group its next term, and says at which core it is to be served: at the
    /// new one, or at the old one when it was refused.
    async fn settle(
        &self,
        group: GroupId,
        (from, to): (usize, usize),
        term: Term,
    ) -> Result<Settled, Refused> {
        let again = |serving| {
            self.catalog
                .begin_next_term(group, self.info.incarnation, serving)
        };
        let lost = |reason: String| (Status::NotReady, reason);
        let stays = |term, failed| Settled {
            core: from,
            term,
            failed: Some(failed),
        };
        match again(term).await {
            Ok(NextTerm::Installed(term)) => Ok(Settled {
                core: to,
                term,
                failed: None,
            }),
            Ok(NextTerm::Unsettled { reason }) => Err(lost(reason)),
            Ok(NextTerm::Refused { found: None }) => Err(lost("its record is gone".to_owned())),
            Ok(NextTerm::Refused { found: Some(found) }) => {
                // Another change came first. What it says of this broker is served in a further
                // term, and nothing in one that somebody may have acted in.
                match again(found.term).await {
                    Ok(NextTerm::Installed(term)) => {
                        let text = "the group's record was changed meanwhile; ask again";
                        Ok(stays(term, lost(text.to_owned())))
                    }
                    _ => Err(lost(format!(
                        "its record names {} in term {}",
                        found.primary, found.term
                    ))),
                }
            }
            // The store says that nothing has been changed, so nobody else has been installed.
            Err(error) => {
                let failed = (error.status(), error.to_string());
                match again(term).await {
                    Ok(NextTerm::Installed(term)) => Ok(stays(term, failed)),
                    Ok(NextTerm::Unsettled { reason }) => Err(lost(reason)),
                    Ok(NextTerm::Refused { .. }) => Err(failed),
                    // Still nothing changed: the record names this broker with its old term, and no
                    // attempt is under way, which is when that may go on.
                    Err(_) => Ok(stays(term, failed)),
                }
            }
        }
    }

    /// The group is served by nobody here any more, until the broker starts again and is installed in
    /// a term of its own.
    async fn give_up(
        &self,
        group: GroupId,
        from: usize,
        taken: Vec<Taken<OsDisk>>,
        (_, reason): &Refused,
    ) -> Result<(), Refused> {
        tracing::error!(%group, reason, "nobody knows whose the group is; it is not served until the broker is started again");
        let ids: Vec<PartitionId> = taken.iter().map(Taken::id).collect();
        drop(taken);
        self.known(|known| {
            known.groups.remove(&group);
            for id in &ids {
                known.open.remove(id);
                let text = format!("a change of its core was not settled: {reason}");
                known.failed.insert(*id, text);
            }
        });
        self.tell_moved(from, from, &ids).await
    }

    async fn tell_moved(
        &self,
        from: usize,
        core: usize,
        partitions: &[PartitionId],
    ) -> Result<(), Refused> {
        let order = |done| Order::TellMoved {
            partitions: partitions.to_vec(),
            address: self.cores[core].address.clone(),
            done,
        };
        self.order(from, order).await
    }

    /// The open partitions of a group.
    pub(crate) fn open_partitions(&self, group: GroupId) -> Vec<PartitionId> {
        self.known(|known| {
            let open = known.open.keys().copied();
            open.filter(|id| known.group_of.get(id) == Some(&group))
                .collect()
        })
    }
}
