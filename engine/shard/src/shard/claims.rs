//! Streams that are opened, and those that wait because another has what they want.

use hulse_log::Disk;
use hulse_model::{PartitionId, Status};

use crate::command::{Clock, StreamKey};
use crate::effect::{Effect, Refusal, Reply};
use crate::probes::{Claimant, Obstacle, Opening, Settled};
use crate::produce::Admitted;
use crate::shard::{Role, Shard, Stream};

impl<D: Disk> Shard<D> {
    /// The handshake of a connection has ended: it may be silent for so long.
    pub fn greeted(&mut self, connection: u64, time_out_ms: u32) {
        self.probes.greeted(connection, time_out_ms);
    }

    /// A connection that was asked has said something.
    pub fn heard(&mut self, clock: Clock, connection: u64, fx: &mut Vec<Effect<D>>) {
        self.probes.heard(connection);
        self.end_round(clock, fx);
    }

    /// Opens a stream. When another has what it wants, and `asks`, that one's connection is asked
    /// whether it is there, and the request waits.
    pub(super) fn claim(
        &mut self,
        clock: Clock,
        claimant: Claimant,
        asks: bool,
        fx: &mut Vec<Effect<D>>,
    ) -> Result<(), Refusal> {
        let (id, to, correlation) = (claimant.partition, claimant.to, claimant.correlation);
        if self.stopping {
            return Err(Refusal::new(Status::NotReady, "the broker is stopping"));
        }
        let Some(partition) = self.partitions.get_mut(&id) else {
            let text = "this core does not have the partition; look the topic up again";
            return Err(Refusal::new(Status::NotPrimary, text));
        };
        if partition.is_frozen() {
            let text = "the partition is moving to another core; ask again";
            return Err(Refusal::new(Status::NotReady, text));
        }
        let mut fenced = Vec::new();
        let opened = match &claimant.opening {
            Opening::Producer(wanted) => {
                let opened = partition.open_producer(clock, wanted, to, correlation);
                opened.map(|opened| match opened {
                    Admitted::Opened(opened, others) => {
                        fenced = others;
                        Role::Producer {
                            opened,
                            refused: None,
                        }
                    }
                    Admitted::Waits => Role::Waiting,
                })
            }
            Opening::Consumer(wanted) => partition
                .subscribe(clock, wanted, to, correlation)
                .map(Role::Consumer),
        };
        let role = match opened {
            Ok(Role::Waiting) => {
                let reply = partition.wait_for_turn(claimant);
                fx.push(Effect::Reply {
                    to,
                    correlation,
                    reply,
                });
                Role::Waiting
            }
            Ok(role) => {
                // The end of the round answers, and then delivers.
                self.touch(id);
                role
            }
            Err(Obstacle::Refused(refusal)) => return Err(refusal),
            Err(Obstacle::Held { holder, refusal }) => {
                // Who asks is there itself.
                if !asks || holder.connection == to.connection {
                    return Err(refusal);
                }
                match self.probes.wait(clock.monotonic_ms, holder, claimant) {
                    Some(false) => {}
                    Some(true) => fx.push(Effect::Probe {
                        connection: holder.connection,
                    }),
                    None => return Err(refusal),
                }
                Role::Claimant
            }
        };
        let partition = id;
        self.streams.insert(to, Stream { partition, role });
        for stream in fenced {
            self.fence(stream, fx);
        }
        Ok(())
    }

    /// Ends the stream of a producer that another one's access excludes.
    fn fence(&mut self, to: StreamKey, fx: &mut Vec<Effect<D>>) {
        if self.end_stream(to).is_some() {
            let text = "a producer with exclusive access has taken over";
            let reply = Reply::Refused(Refusal::new(Status::ProducerFenced, text));
            fx.push(Effect::Reply {
                to,
                correlation: 0,
                reply,
            });
        }
    }

    /// Opens the producers whose turn has come to be alone.
    pub(super) fn give_turns(&mut self, clock: Clock, id: PartitionId, fx: &mut Vec<Effect<D>>) {
        while !self.stopping
            && let Some(partition) = self.partitions.get_mut(&id)
            && !partition.is_frozen()
            && let Some(claimant) = partition.take_turn()
        {
            let to = claimant.to;
            self.streams.remove(&to);
            if let Err(refusal) = self.claim(clock, claimant, false, fx) {
                // It opens anew if it likes, and the next one has its turn.
                if let Some(partition) = self.partitions.get_mut(&id) {
                    partition.stop_waiting(to);
                }
                let reply = Reply::Refused(refusal);
                fx.push(Effect::Reply {
                    to,
                    correlation: 0,
                    reply,
                });
            }
        }
    }

    /// Tries the requests again whose waiting is over.
    pub(super) fn settle_claims(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        while let Some(Settled { claimant, answered }) = self.probes.next_settled() {
            let (to, correlation) = (claimant.to, claimant.correlation);
            self.streams.remove(&to);
            if let Err(refusal) = self.claim(clock, claimant, !answered, fx) {
                let reply = Reply::Refused(refusal);
                fx.push(Effect::Reply {
                    to,
                    correlation,
                    reply,
                });
            }
        }
    }

    /// Ends the connections that were asked and have not answered in time.
    pub(super) fn evict_silent(&mut self, clock: Clock, fx: &mut Vec<Effect<D>>) {
        for connection in self.probes.tick(clock.monotonic_ms) {
            self.disconnected(connection);
            fx.push(Effect::Evict { connection });
        }
    }

    /// Refuses the requests that wait for something of a partition which is no more here.
    pub(super) fn refuse_claimants(
        &mut self,
        id: PartitionId,
        refusal: &Refusal,
        fx: &mut Vec<Effect<D>>,
    ) {
        for claimant in self.probes.take_partition(id) {
            let (to, correlation) = (claimant.to, claimant.correlation);
            self.streams.remove(&to);
            let reply = Reply::Refused(refusal.clone());
            fx.push(Effect::Reply {
                to,
                correlation,
                reply,
            });
        }
    }
}
