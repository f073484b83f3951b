//! A core's part in a group's move to another core of the broker: it lets partitions go, and takes
//! them in. What is decided stands in `control/moves.rs`.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use hulse_log::OsDisk;
use hulse_model::{PartitionId, Term};
use hulse_runtime::{Ticker, spawn};
use hulse_shard::{Departure, Taken};

use crate::core::Core;
use crate::messages::Order;

/// How long partitions may take to get ready. They are served meanwhile.
const READY_PATIENCE_MS: u64 = 10_000;
/// How long they may take to come to a stand. Their clients wait meanwhile.
const STILL_PATIENCE_MS: u64 = 1_000;
/// How often the time is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Carries out an order of a move. What takes its time does so in a task of its own, so that the
/// core's other orders do not wait for it.
pub(crate) fn obey(core: &Rc<Core>, order: Order) {
    // An answer that nobody waits for any more is dropped: the broker is stopping.
    match order {
        Order::Leave {
            partitions,
            address,
            done,
        } => {
            let core = core.clone();
            spawn(async move {
                let _ = done.send(leave(&core, &partitions, &address).await);
            });
        }
        Order::HandOver { partitions, done } => {
            let core = core.clone();
            spawn(async move {
                let _ = done.send(hand_over(&core, &partitions).await);
            });
        }
        Order::Stay { partitions, done } => {
            stay(core, &partitions);
            let _ = done.send(());
        }
        Order::Adopt { taken, term, done } => {
            adopt(core, taken, term);
            let _ = done.send(());
        }
        Order::TellMoved {
            partitions,
            address,
            done,
        } => {
            core.with_shard(|shard, fx| shard.tell_moved(&partitions, &address, fx));
            let shard = core.shard.borrow();
            let gone = |id: &PartitionId| partitions.contains(id) && !shard.has(*id);
            core.names.borrow_mut().retain(|_, id| !gone(id));
            let _ = done.send(());
        }
        _ => unreachable!("the caller has sorted it out"),
    }
}

async fn leave(core: &Rc<Core>, ids: &[PartitionId], address: &str) -> Result<(), String> {
    let clock = core.clocks.now();
    core.with_shard(|shard, fx| shard.prepare_to_leave(clock, ids, address, fx));
    // Nothing stands still from the start.
    let ready = |departure: &Departure| matches!(departure, Departure::Ready | Departure::Still);
    let outcome = until(core, ids, READY_PATIENCE_MS, ready).await;
    if outcome.is_err() {
        stay(core, ids);
    }
    outcome
}

async fn hand_over(core: &Rc<Core>, ids: &[PartitionId]) -> Result<Vec<Taken<OsDisk>>, String> {
    let clock = core.clocks.now();
    core.with_shard(|shard, fx| shard.freeze(clock, ids, fx));
    let still = |departure: &Departure| *departure == Departure::Still;
    match until(core, ids, STILL_PATIENCE_MS, still).await {
        Ok(()) => Ok(core.with_shard(|shard, _| shard.take_partitions(ids))),
        Err(reason) => {
            stay(core, ids);
            Err(reason)
        }
    }
}

/// Waits until partitions have come so far. What changes that leaves a call.
async fn until(
    core: &Rc<Core>,
    ids: &[PartitionId],
    patience_ms: u64,
    enough: impl Fn(&Departure) -> bool,
) -> Result<(), String> {
    let began = core.clocks.monotonic_ms();
    let mut look = Ticker::new(LOOK);
    loop {
        let departure = core.shard.borrow().departure(ids);
        match departure {
            departure if enough(&departure) => return Ok(()),
            Departure::Impossible(reason) => return Err(reason),
            _ if core.stopping.is_raised() => return Err("the broker is stopping".to_owned()),
            _ if core.clocks.monotonic_ms() - began > patience_ms => {
                return Err(format!(
                    "its partitions did not come to a stand within {patience_ms} ms"
                ));
            }
            _ => {
                or(core.departing.notified(), async {
                    look.tick().await;
                })
                .await
            }
        }
    }
}

fn stay(core: &Rc<Core>, ids: &[PartitionId]) {
    let clock = core.clocks.now();
    core.with_shard(|shard, fx| shard.stay(clock, ids, fx));
}

fn adopt(core: &Rc<Core>, taken: Vec<Taken<OsDisk>>, term: Term) {
    let clock = core.clocks.now();
    for taken in taken {
        let name = (taken.topic().clone(), taken.index());
        core.names.borrow_mut().insert(name, taken.id());
        core.with_shard(|shard, fx| shard.adopt(clock, taken, term, fx));
    }
}
