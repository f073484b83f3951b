//! The control thread's half of the broker: the catalogue, and the questions that cores cannot
//! answer. Nothing here is on the path of a message.

mod answers;
mod describe;
mod held_back;
mod partitions;
mod policies;
mod tenancy;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hulse_metadata::{Catalog, EmbeddedStore};
use hulse_model::{GroupId, PartitionId, Status};

use crate::messages::{Ask, Order, Told};

pub(crate) use partitions::{Group, Placed, note_made, read_made, specs};
pub(crate) use policies::Rates;

/// Questions that are answered at the same time.
const TOGETHER_MAX: usize = 64;

/// A core as the control thread knows it.
#[derive(Debug, Clone)]
pub(crate) struct CoreHandle {
    pub(crate) orders: flume::Sender<Order>,
    /// Where clients dial it, as `host:port`.
    pub(crate) address: String,
}

/// What does not change while the broker runs.
#[derive(Debug, Clone)]
pub(crate) struct BrokerInfo {
    pub(crate) broker: String,
    pub(crate) region: String,
    pub(crate) listen: Vec<String>,
    pub(crate) admin: String,
    pub(crate) data: PathBuf,
    pub(crate) started: Instant,
}

/// What the control thread remembers about groups and partitions, so that it need not ask the
/// store for each look-up.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Partitions that a core has open.
    pub(crate) open: BTreeMap<PartitionId, Placed>,
    /// Partitions that could not be opened, and why.
    pub(crate) failed: BTreeMap<PartitionId, String>,
}

/// The control thread's state, shared by its tasks.
pub(crate) struct Control {
    pub(crate) catalog: Catalog<EmbeddedStore>,
    pub(crate) cores: Vec<CoreHandle>,
    pub(crate) info: BrokerInfo,
    pub(crate) rates: Rates,
    /// Held by whoever has changed policies hold for the open partitions.
    applying: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// A refusal, as it is told.
pub(crate) type Refused = (Status, String);

impl Control {
    pub(crate) fn new(
        catalog: Catalog<EmbeddedStore>,
        cores: Vec<CoreHandle>,
        info: BrokerInfo,
        rates: Rates,
        known: Known,
    ) -> Self {
        Self {
            catalog,
            cores,
            info,
            rates,
            applying: tokio::sync::Mutex::default(),
            known: Mutex::new(known),
        }
    }

    /// Looks at, or changes, what is remembered. Never held over a wait.
    pub(crate) fn known<R>(&self, act: impl FnOnce(&mut Known) -> R) -> R {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers the cores' questions until every core has ended.
    pub(crate) async fn serve(self: Arc<Self>, asks: flume::Receiver<Ask>) {
        let room = Arc::new(tokio::sync::Semaphore::new(TOGETHER_MAX));
        while let Ok(ask) = asks.recv_async().await {
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let control = self.clone();
            tokio::spawn(async move {
                let Ask {
                    core,
                    connection,
                    correlation,
                    question,
                } = ask;
                let told = match control.answer(question).await {
                    Ok(told) => told,
                    Err((status, message)) => Told::Refused { status, message },
                };
                let order = Order::Tell {
                    connection,
                    correlation,
                    told,
                };
                // A core that has ended has no clients to be told.
                let _ = control.cores[core].orders.send_async(order).await;
                drop(permit);
            });
        }
    }

    /// Gives a core an order and waits for its answer.
    pub(crate) async fn order<R>(
        &self,
        core: usize,
        order: impl FnOnce(flume::Sender<R>) -> Order,
    ) -> Result<R, Refused> {
        let (done, answer) = flume::bounded(1);
        let stopping = || (Status::NotReady, "the broker is stopping".to_owned());
        let orders = &self.cores[core].orders;
        orders
            .send_async(order(done))
            .await
            .map_err(|_| stopping())?;
        answer.recv_async().await.map_err(|_| stopping())
    }
}
