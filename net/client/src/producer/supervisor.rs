//! The task behind a partition's producer: it opens the stream, opens it again when it is lost,
//! and keeps the times.

use std::future::pending;
use std::sync::Arc;

use hulse_model::Status;
use hulse_wire::{Access, OpenProducer, Reply, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::attempts::Attempts;
use crate::error::ClientError;
use crate::producer::partition::{PartitionProducer, Watch};
use crate::producer::stream::ProducerStream;

/// Keeps a producer that has been opened once going, until it fails or is closed.
pub(super) async fn supervise(producer: Arc<PartitionProducer>) {
    loop {
        let cause = match producer.watch() {
            Watch::Over => return,
            Watch::Doomed(cause) => {
                producer.fail(cause);
                return;
            }
            Watch::Lost(cause) => cause,
            Watch::Until(deadline) => {
                tokio::select! {
                    () = producer.wake.notified() => {}
                    () = until(deadline) => {}
                }
                if let Err(cause) = producer.tick(Instant::now()) {
                    producer.fail(cause);
                }
                continue;
            }
        };
        let reopened = tokio::select! {
            biased;
            opened = reopen(&producer, cause) => opened,
            cause = expired(&producer) => Err(cause),
        };
        if let Err(cause) = reopened {
            producer.fail(cause);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits until the oldest message without a receipt has waited too long, and gives the cause.
async fn expired(producer: &PartitionProducer) -> ClientError {
    let after = producer.client.operation_timeout;
    loop {
        match producer.expires() {
            Some(at) if at <= Instant::now() => break,
            Some(at) => sleep_until(at).await,
            // A message that comes now does not expire before this is over.
            None => sleep(after).await,
        }
    }
    producer
        .state()
        .last_cause
        .clone()
        .unwrap_or(ClientError::Timeout { after })
}

/// Opens the stream again after `cause`, for as long as it takes.
async fn reopen(producer: &Arc<PartitionProducer>, cause: ClientError) -> Result<(), ClientError> {
    let mut attempts = Attempts::endless();
    if let ClientError::Moved { address, .. } = &cause {
        // Whoever says so has handed the partition over: there is nothing to wait for or to look up.
        producer.follow(address);
        return open(producer, attempts, false).await;
    }
    if cause.is_retryable() {
        attempts.pause(cause).await?;
    } else if matches!(cause, ClientError::Closed) {
        return Err(cause);
    }
    open(producer, attempts, true).await
}

/// Opens the stream, in as many attempts as there are. `stale` says that the owner's address is
/// in doubt.
pub(super) async fn open(
    producer: &Arc<PartitionProducer>,
    mut attempts: Attempts,
    mut stale: bool,
) -> Result<(), ClientError> {
    loop {
        let mut waited = false;
        match open_once(producer, &attempts, stale, &mut waited).await {
            Ok(()) => return Ok(()),
            Err(cause) => {
                producer.state().last_cause = Some(cause.clone());
                if producer.settings.access == Access::Exclusive
                    && producer.state().access_epoch.is_none()
                    && cause.status() == Some(Status::ProducerBusy)
                {
                    // Who wants to wait until the others are gone says so.
                    return Err(cause);
                }
                if waited {
                    attempts = Attempts::new(producer.client.operation_timeout);
                }
                attempts.pause(cause).await?;
            }
        }
        stale = true;
    }
}

async fn open_once(
    producer: &Arc<PartitionProducer>,
    attempts: &Attempts,
    stale: bool,
    waited: &mut bool,
) -> Result<(), ClientError> {
    let client = &producer.client;
    let deadline = attempts.answer_by(client.operation_timeout);
    let mut places = producer.state().places.clone();
    if stale {
        let topic = &producer.settings.topic;
        places = client
            .lookup
            .ask_again(&client.pool, topic, &places, deadline)
            .await?;
    }
    let address = places.address(producer.partition).ok_or_else(|| {
        ClientError::invalid(format!(
            "the topic has no partition {} any more",
            producer.partition
        ))
    })?;
    let connection = client.pool.get(address).await?;
    let (waiting, turn) = match producer.settings.access {
        Access::Wait => {
            let (waiting, turn) = oneshot::channel();
            (Some(waiting), Some(turn))
        }
        _ => (None, None),
    };
    let (generation, request) = {
        let mut state = producer.state();
        state.generation += 1;
        state.lost = None;
        // In place before the request goes: the turn may come right behind the answer.
        state.turn = waiting;
        let request = Request::OpenProducer(OpenProducer {
            topic: places.topic().clone(),
            partition: producer.partition,
            name: state.name.clone(),
            epoch: state.epoch,
            access: producer.settings.access,
            access_epoch: state.access_epoch,
        });
        state.places = places;
        (state.generation, request)
    };
    let handler = ProducerStream {
        owner: Arc::clone(producer),
        generation,
    };
    let slot = connection.open_stream(Arc::new(handler));
    let answer = match slot.request(&request, deadline).await {
        Ok(answer) => answer,
        Err(cause) => {
            if cause.is_refusal() {
                // What was never opened needs no closing.
                slot.ended_by_broker();
            }
            return Err(cause);
        }
    };
    let Reply::ProducerOpened(mut opened) = answer.reply()? else {
        return Err(answer.unexpected());
    };
    if opened.waits {
        *waited = true;
        let turn = turn.ok_or_else(|| answer.unexpected())?;
        opened = match turn.await {
            Ok(Ok(opened)) => opened,
            Ok(Err(cause)) => {
                if matches!(cause, ClientError::Broker { .. }) {
                    slot.ended_by_broker();
                }
                return Err(cause);
            }
            Err(_) => return Err(ClientError::Closed),
        };
    } else {
        producer.state().turn = None;
    }
    producer.linked(slot, generation, opened)
}
