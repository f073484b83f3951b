//! A partition moves to another core: clients dial ahead, and go on at the new address at once.

use std::time::Duration;

use hulse_client::{Client, ClientError, Producer};
use hulse_model::{Offset, Status, Term};
use hulse_wire::{ErrorReply, Moving, Receipt, Reply};

use crate::broker::{Broker, Peer, entry, within};
use crate::consuming::ack;

/// The end of a stream whose partition is at `address` now.
fn moved(address: &str) -> Reply<'_> {
    Reply::Error(ErrorReply {
        address,
        ..ErrorReply::new(Status::NotPrimary, "the partition has moved")
    })
}

async fn producer(core: &Broker) -> (Client, Producer, Peer, u32) {
    let (client, mut peer) = core.connected(core.client()).await;
    let building = client
        .producer("t")
        .name("mine")
        .linger(Duration::ZERO)
        .batch_messages(1)
        .build();
    let answering = async {
        peer.locate(&[&core.address]).await;
        peer.open_producer(3, None).await.stream
    };
    let (producer, stream) = within(async { tokio::join!(building, answering) }).await;
    (client, producer.unwrap(), peer, stream)
}

#[tokio::test]
async fn a_producer_goes_where_it_is_told_and_sends_again_what_has_no_receipt() {
    let (first, second) = (Broker::start().await, Broker::start().await);
    let (_client, producer, mut peer, stream) = producer(&first).await;
    let address = &second.address;
    peer.reply(stream, 0, &Reply::Moving(Moving { address }))
        .await;
    // It dials before anything has moved, and the stream goes on.
    let mut there = second.welcome().await;
    let a = within(producer.send("a")).await.unwrap();
    let b = within(producer.send("b")).await.unwrap();
    let batch = peer.batch().await;
    peer.receipts(stream, &[batch.receipt(1, 0)]).await;
    assert_eq!(within(a).await.unwrap().to_string(), "1:0:-1:0");
    let unanswered = peer.batch().await;
    peer.reply(stream, 0, &moved(address)).await;
    // Over the connection that is there, without a look-up.
    let opening = there.open_producer(3, Some(0)).await;
    assert_eq!(opening.epoch, Some(3));
    let again = there.batch().await;
    assert_eq!(again.sequence, unanswered.sequence);
    let receipt = Receipt {
        sequence: again.sequence,
        messages: 1,
        duplicate: false,
        id: Some((Term(2), Offset(1))),
    };
    there.receipts(opening.stream, &[receipt]).await;
    assert_eq!(within(b).await.unwrap().to_string(), "2:1:-1:0");
}

#[tokio::test]
async fn a_consumer_goes_where_it_is_told_and_acknowledges_again_what_has_no_word() {
    let (core, second) = (Broker::start().await, Broker::start().await);
    let (client, mut peer) = core.connected(core.client()).await;
    let building = client.consumer("t", "s").build();
    let answering = async {
        peer.locate(&[&core.address]).await;
        peer.subscribe(0, 2).await.0
    };
    let (consumer, stream) = within(async { tokio::join!(building, answering) }).await;
    let consumer = consumer.unwrap();
    peer.deliver(stream, &entry(1, 0, &["a"])).await;
    let message = within(consumer.receive()).await.unwrap();
    let receipt = consumer.acknowledge_with_receipt(&message.message_id());
    let first = ack(&mut peer).await;
    peer.reply(stream, 0, &moved(&second.address)).await;
    let mut there = second.welcome().await;
    let (stream, _) = there.subscribe(0, 2).await;
    let again = ack(&mut there).await;
    assert_eq!((again.1, &again.2), (first.1, &first.2), "it comes again");
    there.reply(stream, again.0, &Reply::Acked).await;
    within(receipt).await.unwrap();
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_given_up_for_a_look_up() {
    let first = Broker::start().await;
    let (_client, producer, mut peer, stream) = producer(&first).await;
    let handle = within(producer.send("a")).await.unwrap();
    let _ = peer.batch().await;
    // Nobody listens at port 1 of the loopback.
    peer.reply(stream, 0, &moved("127.0.0.1:1")).await;
    peer.locate(&[&first.address]).await;
    let opening = peer.open_producer(3, None).await;
    let batch = peer.batch().await;
    peer.receipts(opening.stream, &[batch.receipt(1, 0)]).await;
    within(handle).await.unwrap();
}

#[test]
fn a_move_reads_as_the_status_that_it_is() {
    let moved = ClientError::Moved {
        address: "b:1".to_owned(),
        message: "the partition has moved".to_owned(),
    };
    assert!(moved.is_retryable());
    assert_eq!(moved.status(), Some(Status::NotPrimary));
    assert_eq!(moved.to_string(), "NOT_PRIMARY: the partition has moved");
}
