//! The task behind a partition's consumer: it subscribes, and subscribes again when the stream is
//! lost.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use hulse_wire::{Reply, Request, Subscribe};
use tokio::time::{Instant, sleep, sleep_until};

use crate::attempts::Attempts;
use crate::connection::StreamHandler;
use crate::consumer::partition::{PartitionConsumer, Watch};
use crate::consumer::stream::ConsumerStream;
use crate::error::ClientError;

/// Keeps a consumer that has subscribed once going, until it fails or is closed.
pub(super) async fn supervise(consumer: Arc<PartitionConsumer>) {
    loop {
        match consumer.watch() {
            Watch::Over => return,
            Watch::Lost(cause) => {
                if let Err(cause) = reopen(&consumer, cause).await {
                    consumer.fail(&cause);
                }
            }
            Watch::Until(deadline) => {
                tokio::select! {
                    () = consumer.wake.notified() => {}
                    () = until(deadline) => {}
                }
                consumer.tick(Instant::now());
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Subscribes again after `cause`, for as long as it takes; the application hears of it every time
/// that an operation's time is over.
async fn reopen(consumer: &Arc<PartitionConsumer>, cause: ClientError) -> Result<(), ClientError> {
    if matches!(cause, ClientError::Closed) {
        return Err(cause);
    }
    let mut attempts = Attempts::endless();
    let mut stale = true;
    if let ClientError::Moved { address, .. } = &cause {
        // Whoever says so has handed the partition over: there is nothing to wait for or to look up.
        consumer.follow(address);
        stale = false;
    } else if cause.is_retryable() {
        attempts.pause(cause).await?;
    }
    let mut opening = pin!(open(consumer, attempts, stale));
    loop {
        tokio::select! {
            biased;
            opened = &mut opening => return opened,
            () = sleep(consumer.client.operation_timeout) => consumer.overdue(),
        }
    }
}

/// Subscribes, in as many attempts as there are. `stale` says that the owner's address is in
/// doubt.
pub(super) async fn open(
    consumer: &Arc<PartitionConsumer>,
    mut attempts: Attempts,
    mut stale: bool,
) -> Result<(), ClientError> {
    loop {
        match open_once(consumer, &attempts, stale).await {
            Ok(()) => return Ok(()),
            Err(cause) => {
                consumer.state().last_cause = Some(cause.clone());
                attempts.pause(cause).await?;
            }
        }
        stale = true;
    }
}

async fn open_once(
    consumer: &Arc<PartitionConsumer>,
    attempts: &Attempts,
    stale: bool,
) -> Result<(), ClientError> {
    let client = &consumer.client;
    let settings = &consumer.settings;
    let deadline = attempts.answer_by(client.operation_timeout);
    let mut places = consumer.state().places.clone();
    if stale {
        let topic = &consumer.settings.topic;
        places = client
            .lookup
            .ask_again(&client.pool, topic, &places, deadline)
            .await?;
    }
    let address = places.address(consumer.partition).ok_or_else(|| {
        ClientError::invalid(format!(
            "the topic has no partition {} any more",
            consumer.partition
        ))
    })?;
    let connection = client.pool.get(address).await?;
    let topic = places.topic().clone();
    // From here on deliveries count for the new stream: they may come before the answer is seen.
    let (generation, permits) = consumer.restart(places);
    let handler = ConsumerStream {
        owner: Arc::clone(consumer),
        generation,
    };
    let handler: Arc<dyn StreamHandler> = Arc::new(handler);
    let slot = connection.open_stream(Arc::clone(&handler));
    let request = Request::Subscribe(Subscribe {
        topic,
        partition: consumer.partition,
        subscription: settings.subscription.clone(),
        kind: settings.kind,
        start: consumer.start(),
        durable: settings.durable,
        consumer: &settings.consumer,
        permits,
        priority: settings.priority,
        member: settings.member,
    });
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
    let Reply::Subscribed(subscribed) = answer.reply()? else {
        return Err(answer.unexpected());
    };
    consumer.linked(slot, handler, subscribed)
}
