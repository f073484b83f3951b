//! Producers when something goes wrong: lost connections, refusals, silence.

use std::time::Duration;

use hulse_client::{Client, ClientError, Producer, SendHandle, Status};
use hulse_wire::{ErrorReply, Receipt, Reply};

use crate::broker::{Batch, Broker, Peer, within};

/// A producer named `mine` that sends every message as a batch of its own.
async fn producer(broker: &Broker, operation_ms: u64) -> (Client, Producer, Peer, u32) {
    let builder = broker
        .client()
        .operation_timeout(Duration::from_millis(operation_ms));
    let (client, mut peer) = broker.connected(builder).await;
    let building = client
        .producer("t")
        .name("mine")
        .linger(Duration::ZERO)
        .batch_messages(1)
        .build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        let opening = peer.open_producer(3, None).await;
        assert_eq!(
            (opening.name.as_deref(), opening.epoch),
            (Some("mine"), None)
        );
        opening.stream
    };
    let (producer, stream) = within(async { tokio::join!(building, answering) }).await;
    (client, producer.unwrap(), peer, stream)
}

async fn send(producer: &Producer, values: &[&str]) -> Vec<SendHandle> {
    let mut handles = Vec::new();
    for value in values {
        handles.push(within(producer.send(*value)).await.unwrap());
    }
    handles
}

async fn batches(peer: &mut Peer, count: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    for _ in 0..count {
        batches.push(peer.batch().await);
    }
    batches
}

/// The same batches, whatever stream and correlation id they came with.
fn contents(batches: &[Batch]) -> Vec<(u64, u32, bool, &[u8])> {
    batches
        .iter()
        .map(|it| (it.sequence, it.messages, it.skipped, &it.payload[..]))
        .collect()
}

#[tokio::test]
async fn after_a_lost_connection_everything_without_a_receipt_is_sent_again() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, stream) = producer(&broker, 20_000).await;
    let handles = send(&producer, &["a", "b", "c", "d"]).await;
    let first = batches(&mut peer, 4).await;
    peer.receipts(stream, &[first[0].receipt(1, 0)]).await;
    let mut handles = handles.into_iter();
    within(handles.next().unwrap()).await.unwrap();
    drop(peer);

    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let opening = peer.open_producer(3, Some(2)).await;
    assert_eq!(
        (opening.name.as_deref(), opening.epoch),
        (Some("mine"), Some(3))
    );
    let again = batches(&mut peer, 3).await;
    assert_eq!(contents(&again), contents(&first[1..]));
    // Two had been stored before the connection was lost.
    let original = |batch: &Batch, offset| Receipt {
        duplicate: true,
        ..batch.receipt(1, offset)
    };
    let receipts = [
        original(&again[0], 1),
        original(&again[1], 2),
        again[2].receipt(2, 3),
    ];
    peer.receipts(opening.stream, &receipts).await;
    let mut ids = Vec::new();
    for handle in handles {
        ids.push(within(handle).await.unwrap().to_string());
    }
    assert_eq!(ids, ["1:1:-1:0", "1:2:-1:0", "2:3:-1:0"]);
}

#[tokio::test]
async fn a_partition_that_has_moved_is_looked_up_and_followed() {
    let (broker, other) = (Broker::start().await, Broker::start().await);
    let (_client, producer, mut peer, _) = producer(&broker, 20_000).await;
    let handles = send(&producer, &["a", "b"]).await;
    let first = batches(&mut peer, 2).await;
    peer.refuse_batch(
        &first[0],
        ErrorReply::new(Status::NotPrimary, "it has moved"),
    )
    .await;
    peer.refuse_batch(
        &first[1],
        ErrorReply::new(Status::NotPrimary, "it has moved"),
    )
    .await;
    // The stream is closed here and opened there.
    assert!(matches!(
        peer.next().await.request(),
        hulse_wire::Request::Close
    ));
    peer.locate(&[&other.address]).await;
    let mut moved = other.welcome().await;
    let opening = moved.open_producer(4, None).await;
    let again = batches(&mut moved, 2).await;
    assert_eq!(contents(&again), contents(&first));
    moved
        .receipts(
            opening.stream,
            &[again[0].receipt(9, 0), again[1].receipt(9, 1)],
        )
        .await;
    for handle in handles {
        within(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_the_broker_ends_for_a_while_is_opened_again() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, stream) = producer(&broker, 20_000).await;
    let handles = send(&producer, &["a"]).await;
    let first = batches(&mut peer, 1).await;
    peer.reply(
        stream,
        0,
        &Reply::Error(ErrorReply::new(Status::NotReady, "stopping")),
    )
    .await;
    peer.locate(&[&broker.address]).await;
    let opening = peer.open_producer(3, None).await;
    let again = batches(&mut peer, 1).await;
    assert_eq!(contents(&again), contents(&first));
    peer.receipts(opening.stream, &[again[0].receipt(1, 0)])
        .await;
    for handle in handles {
        within(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_fails_alone() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, _) = producer(&broker, 20_000).await;
    let mut handles = send(&producer, &["a", "b", "c"]).await.into_iter();
    let first = batches(&mut peer, 3).await;
    peer.refuse_batch(&first[0], ErrorReply::new(Status::MessageTooLarge, "no"))
        .await;
    let error = within(handles.next().unwrap()).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::MessageTooLarge));
    // What was behind it would have left a gap: it comes again, and says so itself.
    for batch in &first[1..] {
        peer.refuse_batch(batch, ErrorReply::new(Status::SequenceGap, "a gap"))
            .await;
    }
    assert!(matches!(
        peer.next().await.request(),
        hulse_wire::Request::Close
    ));
    peer.locate(&[&broker.address]).await;
    let opening = peer.open_producer(3, None).await;
    let again = batches(&mut peer, 2).await;
    let facts: Vec<_> = again
        .iter()
        .map(|batch| (batch.sequence, batch.skipped))
        .collect();
    assert_eq!(facts, [(1, true), (2, false)]);
    peer.receipts(
        opening.stream,
        &[again[0].receipt(1, 0), again[1].receipt(1, 1)],
    )
    .await;
    for handle in handles {
        within(handle).await.unwrap();
    }

    // With nothing behind it, the next one says so and the stream stays.
    let handle = send(&producer, &["d"]).await.remove(0);
    let batch = peer.batch().await;
    peer.refuse_batch(&batch, ErrorReply::new(Status::InvalidArgument, "no"))
        .await;
    assert!(within(handle).await.is_err());
    let handle = send(&producer, &["e"]).await.remove(0);
    let batch = peer.batch().await;
    assert_eq!((batch.sequence, batch.skipped), (4, true));
    peer.receipts(opening.stream, &[batch.receipt(1, 2)]).await;
    within(handle).await.unwrap();
}

#[tokio::test]
async fn a_producer_gives_up_when_it_cannot_know_or_is_replaced() {
    let unknown = ErrorReply {
        appended: true,
        ..ErrorReply::new(Status::StorageFailed, "oh")
    };
    let fenced = ErrorReply::new(Status::ProducerFenced, "newer");
    let gap = ErrorReply::new(Status::SequenceGap, "lost");
    for error in [unknown, fenced, gap] {
        let broker = Broker::start().await;
        let (_client, producer, mut peer, _) = producer(&broker, 20_000).await;
        let handles = send(&producer, &["a", "b"]).await;
        let first = batches(&mut peer, 2).await;
        peer.refuse_batch(&first[0], error).await;
        for handle in handles {
            let failure = within(handle).await.unwrap_err();
            assert!(
                matches!(failure, ClientError::ProducerFailed { .. }),
                "{failure}"
            );
            assert_eq!(failure.status(), error.status.known());
            assert!(!failure.is_retryable());
        }
        let failure = within(producer.send("c")).await.unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("the producer `mine` gave up: "),
            "{failure}"
        );
        assert!(
            within(producer.close()).await.is_ok(),
            "nothing is left to wait for"
        );
    }
}

#[tokio::test]
async fn receipts_that_never_come_fail_after_the_operation_time_out() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, _) = producer(&broker, 300).await;
    let handle = send(&producer, &["a"]).await.remove(0);
    peer.batch().await;
    let ClientError::ProducerFailed { cause, .. } = within(handle).await.unwrap_err() else {
        panic!("the producer has to give up")
    };
    assert!(matches!(*cause, ClientError::Timeout { .. }), "{cause}");
}

#[tokio::test]
async fn without_a_broker_a_message_fails_with_the_last_cause() {
    let broker = Broker::start().await;
    let (_client, producer, peer, _) = producer(&broker, 300).await;
    drop((peer, broker));
    // The producer may notice the loss before or after it takes the message.
    let handle = send(&producer, &["a"]).await.remove(0);
    let error = within(handle).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test]
async fn an_idle_producer_outlasts_any_absence() {
    let broker = Broker::start().await;
    let (_client, producer, peer, _) = producer(&broker, 150).await;
    drop(peer);
    // Attempts that nobody answers, for longer than an operation may take.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(broker.accept().await);
    }
    drop(silent);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let opening = peer.open_producer(3, None).await;
    let handle = send(&producer, &["a"]).await.remove(0);
    let batch = peer.batch().await;
    peer.receipts(opening.stream, &[batch.receipt(1, 0)]).await;
    within(handle).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_at_opening_is_told_by_build() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let answering = async {
        peer.locate(&[&broker.address]).await;
        let open = peer.next().await;
        peer.refuse(&open, ErrorReply::new(Status::OverLimit, "full"))
            .await;
        // The owner is looked up anew before the next attempt.
        peer.locate(&[&broker.address]).await;
        let open = peer.next().await;
        peer.refuse(&open, ErrorReply::new(Status::ProducerFenced, "newer"))
            .await;
    };
    let building = client.producer("t").build();
    let (built, ()) = within(async { tokio::join!(building, answering) }).await;
    assert_eq!(built.unwrap_err().status(), Some(Status::ProducerFenced));
}

#[tokio::test]
async fn a_receipt_for_nothing_costs_the_connection_and_no_message() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, stream) = producer(&broker, 20_000).await;
    let handle = send(&producer, &["a"]).await.remove(0);
    let first = peer.batch().await;
    let invented = Receipt {
        sequence: 77,
        ..first.receipt(1, 0)
    };
    peer.receipts(stream, &[invented]).await;
    peer.until_closed().await;
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let opening = peer.open_producer(3, None).await;
    let again = peer.batch().await;
    assert_eq!(contents(std::slice::from_ref(&again)), contents(&[first]));
    peer.receipts(opening.stream, &[again.receipt(1, 0)]).await;
    within(handle).await.unwrap();
}
