//! Messages that are wanted again, or are not acknowledged in time.

use std::time::{Duration, Instant};

use hulse_client::{ClientError, SubscriptionType};
use hulse_wire::{AckKind, Reply, Request};

use crate::broker::{Broker, Peer, entry, within};
use crate::consuming::{ack, consumer, id, pair, range, receive};

/// The entries of the REDELIVER that comes next; PERMITS are passed over.
async fn redeliver(peer: &mut Peer) -> Vec<u64> {
    loop {
        let frame = peer.next().await;
        match frame.request() {
            Request::Permits(_) => {}
            Request::Redeliver(redeliver) => {
                assert_eq!(frame.correlation, 0);
                return redeliver.entries.iter().map(|offset| offset.0).collect();
            }
            other => panic!("not a REDELIVER: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_negative_acknowledgement_goes_out_behind_those_before_it_and_brings_the_entry_again() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| {
        builder.negative_ack_delay(Duration::ZERO)
    })
    .await;
    let (second, third) = (entry(1, 2, &["a", "b"]), entry(1, 3, &["c"]));
    peer.deliver(stream, &second).await;
    peer.deliver(stream, &third).await;
    receive(&consumer, 3).await;
    consumer.acknowledge(&id(2, 0)).unwrap();
    consumer.negative_acknowledge(&id(2, 1)).unwrap();
    let (_, kind, ranges) = ack(&mut peer).await;
    assert_eq!((kind, ranges), (AckKind::Individual, vec![range(2, 0, 0)]));
    assert_eq!(redeliver(&mut peer).await, [2]);
    // The broker goes on from there, in order; what is not wanted again is not handed out again.
    peer.deliver_again(stream, &second, &[range(2, 0, 0)], 1)
        .await;
    peer.deliver_again(stream, &third, &[], 1).await;
    peer.deliver(stream, &entry(1, 4, &["d"])).await;
    let again = within(consumer.receive()).await.unwrap();
    assert_eq!(
        (again.message_id(), again.redelivery_count()),
        (id(2, 1), 1)
    );
    assert_eq!(receive(&consumer, 1).await, [pair("1:4:-1:0", "d")]);
    // It is known again from now on.
    peer.deliver_again(stream, &second, &[], 2).await;
    peer.deliver(stream, &entry(1, 5, &["e"])).await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:5:-1:0", "e")]);
}

#[tokio::test]
async fn what_is_acknowledged_within_the_delay_is_not_asked_for() {
    let broker = Broker::start().await;
    let delay = Duration::from_millis(150);
    let (_client, consumer, mut peer, stream) =
        consumer(&broker, 20_000, |builder| builder.negative_ack_delay(delay)).await;
    for offset in 2..6 {
        peer.deliver(stream, &entry(1, offset, &["x"])).await;
    }
    receive(&consumer, 4).await;
    let started = Instant::now();
    consumer.negative_acknowledge(&id(2, 0)).unwrap();
    consumer.acknowledge(&id(2, 0)).unwrap();
    consumer.negative_acknowledge(&id(3, -1)).unwrap();
    consumer.acknowledge_cumulative(&id(3, -1)).unwrap();
    consumer.negative_acknowledge(&id(4, 0)).unwrap();
    consumer.negative_acknowledge(&id(5, 0)).unwrap();
    let mut asked = Vec::new();
    ack(&mut peer).await;
    while asked.len() < 2 {
        asked.extend(redeliver(&mut peer).await);
    }
    assert!(started.elapsed() >= delay);
    assert_eq!(asked, [4, 5]);
}

#[tokio::test]
async fn what_nobody_acknowledges_in_time_is_asked_for() {
    let broker = Broker::start().await;
    let timeout = Duration::from_secs(1);
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| {
        builder
            .subscription_type(SubscriptionType::Shared)
            .ack_timeout(timeout)
    })
    .await;
    let started = Instant::now();
    for offset in 2..5 {
        peer.deliver(stream, &entry(1, offset, &["x", "y"])).await;
    }
    let received = within(consumer.receive_many(6)).await.unwrap().len();
    receive(&consumer, 6 - received).await;
    consumer.acknowledge(&id(3, -1)).unwrap();
    consumer.acknowledge(&id(4, 0)).unwrap();
    ack(&mut peer).await;
    let mut asked = Vec::new();
    while asked.len() < 2 {
        asked.extend(redeliver(&mut peer).await);
    }
    assert!(started.elapsed() >= timeout);
    assert_eq!(asked, [2, 4]);
}

#[tokio::test]
async fn over_a_new_connection_what_was_wanted_again_comes_without_being_asked_for() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| builder).await;
    for offset in 2..4 {
        peer.deliver(stream, &entry(1, offset, &["x"])).await;
    }
    receive(&consumer, 2).await;
    consumer.negative_acknowledge(&id(2, 0)).unwrap();
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, _) = peer.subscribe(2, 9).await;
    for offset in 2..5 {
        peer.deliver_again(stream, &entry(1, offset, &["x"]), &[], 1)
            .await;
    }
    let again = receive(&consumer, 2).await;
    assert_eq!(again, [pair("1:2:-1:0", "x"), pair("1:4:-1:0", "x")]);
}

#[tokio::test]
async fn what_was_handed_out_over_an_earlier_connection_is_still_waited_for() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| {
        builder.ack_timeout(Duration::from_secs(1))
    })
    .await;
    let second = entry(1, 2, &["x"]);
    peer.deliver(stream, &second).await;
    receive(&consumer, 1).await;
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, _) = peer.subscribe(2, 9).await;
    // It comes again over the new one, and is not handed out again: the application has it.
    peer.deliver_again(stream, &second, &[], 1).await;
    assert_eq!(redeliver(&mut peer).await, [2]);
    peer.deliver_again(stream, &second, &[], 2).await;
    let again = within(consumer.receive()).await.unwrap();
    assert_eq!(
        (again.message_id(), again.redelivery_count()),
        (id(2, 0), 2)
    );
}

#[tokio::test]
async fn nothing_is_asked_for_while_an_acknowledgement_before_it_waits() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| {
        builder.negative_ack_delay(Duration::ZERO)
    })
    .await;
    for offset in 2..20 {
        peer.deliver(stream, &entry(1, offset, &["x"])).await;
    }
    receive(&consumer, 18).await;
    // As many as may be on the way: the next one waits for a confirmation.
    let mut first = None;
    for offset in 2..18 {
        consumer.acknowledge(&id(offset, 0)).unwrap();
        let (correlation, _, ranges) = ack(&mut peer).await;
        assert_eq!(ranges, [range(offset, 0, 0)]);
        first.get_or_insert(correlation);
    }
    consumer.acknowledge(&id(18, 0)).unwrap();
    consumer.negative_acknowledge(&id(19, 0)).unwrap();
    peer.reply(stream, first.unwrap(), &Reply::Acked).await;
    assert_eq!(ack(&mut peer).await.2, [range(18, 0, 0)]);
    assert_eq!(redeliver(&mut peer).await, [19]);
}

#[tokio::test]
async fn delays_that_are_not_legal_are_refused() {
    let broker = Broker::start().await;
    let (client, _peer) = broker.connected(broker.client()).await;
    let consumer = || client.consumer("t", "s");
    for builder in [
        consumer().ack_timeout(Duration::from_millis(999)),
        consumer().ack_timeout(Duration::MAX),
        consumer().negative_ack_delay(Duration::MAX),
    ] {
        let error = within(builder.build()).await.unwrap_err();
        assert!(
            matches!(error, ClientError::InvalidArgument { .. }),
            "{error}"
        );
    }
}
