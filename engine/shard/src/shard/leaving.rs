//! Partitions that leave this core for another of the same broker, and those that come.
//!
//! The order of things, which the caller keeps: [`Shard::prepare_to_leave`], and when
//! [`Shard::departure`] says so [`Shard::freeze`], then [`Shard::take_partitions`]. From then on the
//! streams wait here with what they ask, until [`Shard::tell_moved`] ends them with the address at
//! which the partitions have been adopted. Before the taking, [`Shard::stay`] undoes everything.

use std::io;

use hulse_log::Disk;
use hulse_model::{PartitionId, Status, Term};

use crate::command::{Clock, Command, Handled, StreamKey};
use crate::effect::{Effect, Refusal, Reply};
use crate::leaving::{Departure, Leaving, Taken};
use crate::shard::{Role, Shard, Stream};

impl<D: Disk> Shard<D> {
    /// Has partitions get ready to leave while they are served, and tells their streams where they
    /// will be dialled, so that clients have dialled when it comes to it.
    pub fn prepare_to_leave(
        &mut self,
        clock: Clock,
        ids: &[PartitionId],
        address: &str,
        fx: &mut Vec<Effect<D>>,
    ) {
        for id in ids {
            let Some(partition) = self.partitions.get_mut(id) else {
                continue;
            };
            if partition.leaving == Leaving::No {
                partition.leaving = Leaving::Clearing;
                self.leavers.insert(*id);
            }
        }
        for (to, stream) in &self.streams {
            if ids.contains(&stream.partition) {
                fx.push(Effect::Reply {
                    to: *to,
                    correlation: 0,
                    reply: Reply::Moving(address.to_owned()),
                });
            }
        }
        self.end_round(clock, fx);
    }

    /// How far partitions are that are to leave together.
    #[must_use]
    pub fn departure(&self, ids: &[PartitionId]) -> Departure {
        let mut all = Departure::Still;
        for id in ids {
            let Some(partition) = self.partitions.get(id) else {
                return Departure::Impossible(format!("partition {id} is not on this core"));
            };
            let one = partition.departure();
            all = match (all, one) {
                (impossible @ Departure::Impossible(_), _)
                | (_, impossible @ Departure::Impossible(_)) => impossible,
                (Departure::Preparing, _) | (_, Departure::Preparing) => Departure::Preparing,
                (Departure::Frozen, _) | (_, Departure::Frozen) => Departure::Frozen,
                (Departure::Ready, _) | (_, Departure::Ready) => Departure::Ready,
                (Departure::Still, Departure::Still) => Departure::Still,
            };
        }
        all
    }

    /// Whether any partition is on its way to another core.
    #[must_use]
    pub fn has_leavers(&self) -> bool {
        !self.leavers.is_empty()
    }

    /// Takes nothing more for partitions that are ready; what they are asked waits.
    pub fn freeze(&mut self, clock: Clock, ids: &[PartitionId], fx: &mut Vec<Effect<D>>) {
        for id in ids {
            if let Some(partition) = self.partitions.get_mut(id)
                && partition.leaving == Leaving::Cleared
            {
                partition.leaving = Leaving::Frozen;
                self.touch(*id);
            }
        }
        self.end_round(clock, fx);
    }

    /// Has partitions stay that were to leave and have not been taken. They go on in their term: nothing
    /// has been numbered elsewhere.
    pub fn stay(&mut self, clock: Clock, ids: &[PartitionId], fx: &mut Vec<Effect<D>>) {
        for id in ids {
            self.leavers.remove(id);
            if let Some(partition) = self.partitions.get_mut(id) {
                // Until the helper has come back, nobody knows which home the disk says.
                if partition.leaving == Leaving::Noting {
                    partition.homeless = true;
                }
                partition.leaving = Leaving::No;
                self.touch(*id);
            }
        }
        self.resume_parked(fx);
        self.end_round(clock, fx);
    }

    /// Takes partitions away that are [`Departure::Still`]. Their streams stay, and wait.
    ///
    /// # Panics
    /// When they are not still.
    pub fn take_partitions(&mut self, ids: &[PartitionId]) -> Vec<Taken<D>> {
        assert_eq!(
            self.departure(ids),
            Departure::Still,
            "only what stands still is taken"
        );
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            let streams = self.streams.iter();
            let streams = streams.filter(|(_, stream)| stream.partition == *id);
            let roles: Vec<_> = streams.map(|(key, stream)| (*key, stream.role)).collect();
            let mut partition = self.partitions.remove(id).expect("it is still");
            self.leavers.remove(id);
            self.parked.insert(*id);
            self.unsynced_bytes -= partition.unsynced_counted;
            for (key, role) in roles {
                match role {
                    Role::Producer { opened, .. } => partition.close_producer(opened, key),
                    Role::Waiting => partition.stop_waiting(key),
                    Role::Consumer(seat) => partition.detach(seat),
                    // It is refused when it is told where the partition is.
                    Role::Claimant => {}
                }
            }
            self.close_seats(&mut partition);
            let ended = std::mem::take(&mut partition.ended);
            for stream in ended {
                self.streams.remove(&stream);
            }
            // They have a stream of this partition, so they are held for its sake as well.
            let held: Vec<u64> = partition.held.drain().collect();
            for connection in held {
                self.parked_held.hold(connection);
            }
            self.departed.add(&partition.let_go());
            taken.push(Taken(Box::new(partition)));
        }
        taken
    }

    /// Serves a partition that was taken from another core, or from this one, in a term of its own.
    ///
    /// # Panics
    /// When the term is not above every one that the partition has seen, or the core has it already.
    pub fn adopt(&mut self, clock: Clock, taken: Taken<D>, term: Term, fx: &mut Vec<Effect<D>>) {
        let Taken(mut partition) = taken;
        let id = partition.spec.id;
        let store = &partition.store;
        let seen = store.entries.last_term().max(store.sibling.last_term());
        assert!(
            term >= partition.spec.term && term >= seen,
            "a term never goes back"
        );
        partition.spec.term = term;
        let before = self.partitions.insert(id, *partition);
        assert!(before.is_none(), "a partition is on one core");
        self.count_unsynced(id);
        self.touch(id);
        self.end_round(clock, fx);
    }

    /// Ends the streams of partitions that have been taken, and says where they are now. What the
    /// streams were asked meanwhile has certainly not been stored.
    pub fn tell_moved(&mut self, ids: &[PartitionId], address: &str, fx: &mut Vec<Effect<D>>) {
        let refusal = Refusal {
            moved_to: Some(address.to_owned()),
            ..Refusal::new(
                Status::NotPrimary,
                format!("the partition has moved to {address}"),
            )
        };
        let parked: Vec<PartitionId> = ids
            .iter()
            .copied()
            .filter(|id| self.parked.remove(id))
            .collect();
        for id in &parked {
            self.refuse_claimants(*id, &refusal, fx);
        }
        self.streams.retain(|to, stream| {
            let moved = parked.contains(&stream.partition);
            if moved {
                fx.push(Effect::Reply {
                    to: *to,
                    correlation: 0,
                    reply: Reply::Refused(refusal.clone()),
                });
            }
            !moved
        });
        self.resume_parked(fx);
    }

    /// The note that a partition has another home was made, or could not be.
    pub fn home_changed(
        &mut self,
        clock: Clock,
        id: PartitionId,
        result: io::Result<()>,
        fx: &mut Vec<Effect<D>>,
    ) {
        // One whose topic was deleted meanwhile has no manifest any more.
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                partition.homeless = false;
                if partition.leaving == Leaving::Noting {
                    partition.leaving = Leaving::Cleared;
                }
            }
            Err(error) => {
                // A round could carry the wrong generation now, and not be replayed.
                tracing::warn!(partition = %id, %error, "the change of its core was not noted; its logs are synced one by one");
                partition.homeless = true;
            }
        }
        self.touch(id);
        self.end_round(clock, fx);
    }

    /// Gets on with the partitions that let go of the journal.
    pub(super) fn clear_leavers(&mut self, fx: &mut Vec<Effect<D>>) {
        for id in &self.leavers {
            let Some(partition) = self.partitions.get_mut(id) else {
                continue;
            };
            // One at a time: a partition that was told to stay while it was noted comes back here
            // only when that note has been made.
            if partition.leaving != Leaving::Clearing || partition.homeless {
                continue;
            }
            if let Some(work) = partition.store.change_home() {
                partition.leaving = Leaving::Noting;
                fx.push(Effect::ChangeHome {
                    partition: *id,
                    work,
                });
            } else if partition.leans_on_journal() {
                self.commits.clear(*id);
            }
        }
        self.leavers.retain(|id| self.partitions.contains_key(id));
    }

    /// What becomes of a request of a stream whose partition takes nothing at the moment; `None` when
    /// it takes requests.
    pub(super) fn wait_for_move(
        &mut self,
        stream: Stream,
        to: StreamKey,
        command: &Command<'_>,
    ) -> Option<Handled> {
        let id = stream.partition;
        let parked = self.parked.contains(&id);
        let frozen = self.partitions.get(&id).is_some_and(|at| at.is_frozen());
        if !parked && !frozen {
            return None;
        }
        match command {
            // A stream that is closed has nothing to wait for.
            Command::Close => None,
            // The stream is about to end, and its successor begins with permits of its own and is
            // delivered everything again that is not acknowledged. While the partition is here they
            // count, as it may yet stay.
            Command::Permits(_) | Command::Redeliver { .. } => parked.then_some(Handled::Done),
            _ => {
                self.parked_held.hold(to.connection);
                Some(Handled::Held)
            }
        }
    }

    fn resume_parked(&mut self, fx: &mut Vec<Effect<D>>) {
        let resume = |connection| Effect::Resume { connection };
        fx.extend(self.parked_held.drain().map(resume));
    }
}
