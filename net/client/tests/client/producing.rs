//! Producers while all goes well: batches, order, receipts, routes, closing.

use std::time::Duration;

use hulse_client::{Client, ClientError, Message, MessageId, Offset, Producer, Term};
use hulse_wire::{Receipt, Reply, Request};
use tokio::time::timeout;

use crate::broker::{Broker, Peer, within};

/// A producer of a topic without partitions, its connection and its stream.
async fn producer(
    broker: &Broker,
    build: impl FnOnce(hulse_client::ProducerBuilder) -> hulse_client::ProducerBuilder,
    last: Option<u64>,
) -> (Client, Producer, Peer, u32) {
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = build(client.producer("t")).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        peer.open_producer(3, last).await
    };
    let (producer, opening) = within(async { tokio::join!(building, answering) }).await;
    (client, producer.unwrap(), peer, opening.stream)
}

fn id(term: u64, offset: u64, index: i32) -> MessageId {
    MessageId {
        term: Term(term),
        offset: Offset(offset),
        partition: -1,
        index,
    }
}

#[tokio::test]
async fn a_single_message_goes_out_at_once_and_gets_its_id() {
    let broker = Broker::start().await;
    // With an hour to linger, only an idle producer sends before that.
    let lazy = |builder: hulse_client::ProducerBuilder| builder.linger(Duration::from_secs(3600));
    let (_client, producer, mut peer, stream) = producer(&broker, lazy, None).await;
    assert_eq!(
        (producer.name().as_str(), producer.last_sequence()),
        ("given-name", None)
    );
    for round in 0..3 {
        let handle = within(producer.send("hello")).await.unwrap();
        assert_eq!(handle.try_id().map(|_| ()), None);
        let batch = peer.batch().await;
        assert_eq!(
            (batch.sequence, batch.messages, batch.skipped),
            (round, 1, false)
        );
        assert_eq!(batch.values(), ["hello"]);
        peer.receipts(stream, &[batch.receipt(5, round)]).await;
        assert_eq!(within(handle).await.unwrap(), id(5, round, 0));
    }
}

#[tokio::test]
async fn what_comes_while_a_batch_is_on_the_way_shares_the_next_one() {
    let broker = Broker::start().await;
    let lazy = |builder: hulse_client::ProducerBuilder| builder.linger(Duration::from_secs(3600));
    let (_client, producer, mut peer, stream) = producer(&broker, lazy, None).await;
    let mut handles = Vec::new();
    for value in ["a", "b", "c", "d"] {
        handles.push(within(producer.send(value)).await.unwrap());
    }
    let first = peer.batch().await;
    assert_eq!(first.values(), ["a"]);
    peer.receipts(stream, &[first.receipt(1, 0)]).await;
    let second = peer.batch().await;
    assert_eq!(
        (second.sequence, second.values().concat()),
        (1, "bcd".to_owned())
    );
    peer.receipts(stream, &[second.receipt(1, 1)]).await;
    let mut ids = Vec::new();
    for handle in handles {
        ids.push(within(handle).await.unwrap());
    }
    assert_eq!(ids, [id(1, 0, 0), id(1, 1, 0), id(1, 1, 1), id(1, 1, 2)]);
}

#[tokio::test]
async fn a_batch_goes_out_when_it_is_full_or_has_lingered() {
    let broker = Broker::start().await;
    let small = |builder: hulse_client::ProducerBuilder| {
        builder.batch_messages(2).linger(Duration::from_millis(30))
    };
    let (_client, producer, mut peer, stream) = producer(&broker, small, None).await;
    let mut handles = Vec::new();
    for value in ["a", "b", "c", "d"] {
        handles.push(within(producer.send(value)).await.unwrap());
    }
    // No receipt has come: the second batch went out for being full, the third for its age.
    let batches = [peer.batch().await, peer.batch().await, peer.batch().await];
    let values: Vec<_> = batches
        .iter()
        .map(|batch| batch.values().concat())
        .collect();
    assert_eq!(values, ["a", "bc", "d"]);
    // One frame may settle several batches.
    let receipts: Vec<Receipt> = (0..)
        .zip(&batches)
        .map(|(offset, batch)| batch.receipt(1, offset))
        .collect();
    peer.receipts(stream, &receipts).await;
    for handle in handles {
        within(handle).await.unwrap();
    }
}

#[tokio::test]
async fn sends_wait_while_too_much_is_on_the_way() {
    let broker = Broker::start().await;
    let narrow = |builder: hulse_client::ProducerBuilder| {
        builder.max_in_flight_messages(2).linger(Duration::ZERO)
    };
    let (_client, producer, mut peer, stream) = producer(&broker, narrow, None).await;
    let _first = within(producer.send("a")).await.unwrap();
    let _second = within(producer.send("b")).await.unwrap();
    let blocked = timeout(Duration::from_millis(50), producer.send("c")).await;
    assert!(blocked.is_err(), "there is no room for a third");
    let (one, two) = (peer.batch().await, peer.batch().await);
    peer.receipts(stream, &[one.receipt(1, 0)]).await;
    let third = within(producer.send("d")).await.unwrap();
    assert_eq!(
        third.sequence(),
        2,
        "a send that was given up took no number"
    );
    peer.receipts(stream, &[two.receipt(1, 1)]).await;
    assert_eq!(peer.batch().await.values(), ["d"]);
}

#[tokio::test]
async fn numbers_go_on_behind_the_last_stored_message() {
    let broker = Broker::start().await;
    let named = |builder: hulse_client::ProducerBuilder| builder.name("mine");
    let (_client, producer, mut peer, _) = producer(&broker, named, Some(41)).await;
    assert_eq!(
        (producer.name().as_str(), producer.last_sequence()),
        ("mine", Some(41))
    );
    let handle = within(producer.send("x")).await.unwrap();
    assert_eq!(handle.sequence(), 42);
    let batch = peer.batch().await;
    assert_eq!((batch.sequence, batch.skipped), (42, false));
}

#[tokio::test]
async fn numbers_that_the_caller_chooses_may_leave_some_out() {
    let broker = Broker::start().await;
    let ahead = |builder: hulse_client::ProducerBuilder| builder.initial_sequence(50);
    let (_client, producer, mut peer, stream) = producer(&broker, ahead, Some(41)).await;
    let _handle = within(producer.send("x")).await.unwrap();
    let batch = peer.batch().await;
    assert_eq!((batch.sequence, batch.skipped), (50, true));
    peer.receipts(stream, &[batch.receipt(1, 0)]).await;
    let _handle = within(producer.send("y")).await.unwrap();
    assert!(!peer.batch().await.skipped);
}

#[tokio::test]
async fn repetitions_get_their_first_id_or_are_known_to_be_stored() {
    let broker = Broker::start().await;
    let again = |builder: hulse_client::ProducerBuilder| builder.initial_sequence(0);
    let (_client, producer, mut peer, stream) = producer(&broker, again, Some(41)).await;
    let handle = within(producer.send("x")).await.unwrap();
    let batch = peer.batch().await;
    assert_eq!((batch.sequence, batch.skipped), (0, false));
    let original = Receipt {
        duplicate: true,
        ..batch.receipt(1, 7)
    };
    peer.receipts(stream, &[original]).await;
    assert_eq!(within(handle).await.unwrap(), id(1, 7, 0));

    let handle = within(producer.send("y")).await.unwrap();
    let batch = peer.batch().await;
    let forgotten = Receipt {
        duplicate: true,
        id: None,
        ..batch.receipt(0, 0)
    };
    peer.receipts(stream, &[forgotten]).await;
    let error = within(handle).await.unwrap_err();
    assert!(
        matches!(error, ClientError::IdForgotten { sequence: 1 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_costs_nothing() {
    let broker = Broker::start().await;
    let (_client, producer, mut peer, _) = producer(&broker, |builder| builder, None).await;
    let large = vec![0; 5 * 1024 * 1024 + 1];
    let error = within(producer.send(&large)).await.unwrap_err();
    assert!(
        matches!(error, ClientError::MessageTooLarge { .. }),
        "{error}"
    );
    let key = vec![0; 4097];
    let error = within(producer.send(Message::keyed(&key, "x")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::MessageTooLarge { .. }),
        "{error}"
    );
    let largest = vec![1; 5 * 1024 * 1024];
    let handle = within(producer.send(&largest)).await.unwrap();
    assert_eq!(handle.sequence(), 0);
    assert_eq!(peer.batch().await.payload.len(), largest.len() + 8);
}

#[tokio::test]
async fn closing_sends_what_is_left_and_waits_for_it() {
    let broker = Broker::start().await;
    let lazy = |builder: hulse_client::ProducerBuilder| builder.linger(Duration::from_secs(3600));
    let (_client, producer, mut peer, stream) = producer(&broker, lazy, None).await;
    let handles = [
        within(producer.send("a")).await.unwrap(),
        within(producer.send("b")).await.unwrap(),
    ];
    let answering = async {
        let (one, two) = (peer.batch().await, peer.batch().await);
        peer.receipts(stream, &[one.receipt(1, 0), two.receipt(1, 1)])
            .await;
        let close = peer.next().await;
        assert!(matches!(close.request(), Request::Close));
        peer.reply(stream, close.correlation, &Reply::Closed).await;
    };
    let (closed, ()) = within(async { tokio::join!(producer.close(), answering) }).await;
    closed.unwrap();
    for handle in handles {
        within(handle).await.unwrap();
    }
    assert!(matches!(
        within(producer.send("c")).await,
        Err(ClientError::Closed)
    ));
    within(producer.close()).await.unwrap();
}

#[tokio::test]
async fn a_producer_that_is_dropped_closes_its_stream_and_fails_its_handles() {
    let broker = Broker::start().await;
    let (client, producer, mut peer, stream) = producer(&broker, |builder| builder, None).await;
    let handle = within(producer.send("a")).await.unwrap();
    peer.batch().await;
    drop(producer);
    assert!(matches!(within(handle).await, Err(ClientError::Closed)));
    let close = peer.next().await;
    assert_eq!(close.stream, stream);
    assert!(matches!(close.request(), Request::Close));
    // A late receipt concerns nobody, and the connection goes on.
    let late = Receipt {
        sequence: 0,
        messages: 1,
        id: None,
        duplicate: false,
    };
    peer.receipts(stream, &[late]).await;
    let admin = client.admin();
    let listing = tokio::spawn(async move { admin.list_topics().await });
    let asked = peer.next().await;
    let json = Reply::AdminDone(hulse_wire::AdminDone { json: b"{}" });
    peer.reply(0, asked.correlation, &json).await;
    within(listing).await.unwrap().unwrap();
    drop(client);
    assert!(peer.until_closed().await.is_empty());
}

#[tokio::test]
async fn keys_stay_with_their_partition_and_the_rest_goes_in_turn() {
    let (broker, other) = (Broker::start().await, Broker::start().await);
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = client.producer("t").linger(Duration::ZERO).build();
    let answering = async {
        peer.locate(&[&broker.address, &other.address]).await;
        let opening = peer.open_producer(0, Some(10)).await;
        assert_eq!(opening.partition, 0);
        let mut second = other.welcome().await;
        let opening = second.open_producer(0, Some(20)).await;
        assert_eq!(opening.partition, 1);
        second
    };
    let (producer, mut second) = within(async { tokio::join!(building, answering) }).await;
    let producer = producer.unwrap();
    assert_eq!(producer.last_sequences(), [(0, Some(10)), (1, Some(20))]);
    assert_eq!(producer.last_sequence(), Some(20));

    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(within(producer.send("in turn")).await.unwrap());
    }
    for (sequence, peer) in [(11, &mut peer), (21, &mut second)] {
        assert_eq!(peer.batch().await.sequence, sequence);
        assert_eq!(peer.batch().await.sequence, sequence + 1);
    }
    for _ in 0..3 {
        handles.push(
            within(producer.send(Message::keyed("k", "with a key")))
                .await
                .unwrap(),
        );
    }
    // MurmurHash3 of "k" is even or odd for ever; all three are at one of the two.
    let batches = [
        tokio::select! { batch = peer.batch() => batch, batch = second.batch() => batch },
        tokio::select! { batch = peer.batch() => batch, batch = second.batch() => batch },
        tokio::select! { batch = peer.batch() => batch, batch = second.batch() => batch },
    ];
    let sequences: Vec<_> = batches.iter().map(|batch| batch.sequence).collect();
    assert!(
        sequences == [13, 14, 15] || sequences == [23, 24, 25],
        "{sequences:?}"
    );
}
