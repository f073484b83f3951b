//! Subscriptions with several consumers: who gets the messages, and what comes too often.

use std::time::Duration;

use hulse_client::{ClientError, ConsumerBuilder, DeadLetterPolicy, Status, SubscriptionType};
use hulse_model::{Offset, Position};
use hulse_wire::{AckKind, Active, ErrorReply, Reply, Request, Subscribed};

use crate::broker::{Broker, Peer, entry, raw_entry, within};
use crate::consuming::{ack, consumer, id, pair, range, receive};

async fn active(peer: &mut Peer, stream: u32, active: bool) {
    peer.reply(stream, 0, &Reply::Active(Active { active }))
        .await;
}

fn failover(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder.subscription_type(SubscriptionType::Failover)
}

#[tokio::test]
async fn type_and_priority_are_told_when_subscribing() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let builder = client.consumer("t", "s").priority(7);
    let building = failover(builder).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        let frame = peer.next().await;
        let Request::Subscribe(subscribe) = frame.request() else {
            panic!("{:?}", frame.request())
        };
        let told = (subscribe.kind, subscribe.priority);
        let subscribed = Subscribed {
            mark: Position::at(Offset(0)),
            log_start: Offset(0),
            high_watermark: Offset(0),
            created: true,
        };
        let subscribed = Reply::Subscribed(subscribed);
        peer.reply(frame.stream, frame.correlation, &subscribed)
            .await;
        told
    };
    let (consumer, told) = within(async { tokio::join!(building, answering) }).await;
    assert_eq!(told, (SubscriptionType::Failover, 7));
    assert!(!consumer.unwrap().is_active(), "nobody has said so yet");
}

#[tokio::test]
async fn a_failover_consumer_learns_when_it_is_active_and_drops_what_another_gets() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, failover).await;
    active(&mut peer, stream, false).await;
    active(&mut peer, stream, true).await;
    assert_eq!(within(consumer.active_changed(&[])).await, [-1]);
    assert!(consumer.is_active());
    for offset in 2..5 {
        peer.deliver(stream, &entry(1, offset, &["x"])).await;
    }
    assert_eq!(receive(&consumer, 1).await, [pair("1:2:-1:0", "x")]);
    active(&mut peer, stream, false).await;
    assert!(within(consumer.active_changed(&[-1])).await.is_empty());
    // What it has handed out is another's by now, and nothing is sent of it.
    consumer.acknowledge(&id(2, 0)).unwrap();
    let refused = within(consumer.acknowledge_with_receipt(&id(2, 0))).await;
    assert!(matches!(refused, Err(ClientError::NotActive { .. })));
    // The other one has done with entries 2 and 3, and gone.
    active(&mut peer, stream, true).await;
    peer.deliver_again(stream, &entry(1, 4, &["x"]), &[], 1)
        .await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:4:-1:0", "x")]);
    consumer.acknowledge(&id(4, 0)).unwrap();
    assert_eq!(ack(&mut peer).await.2, [range(4, 0, 0)]);
    // Without a stream nothing can come.
    drop(peer);
    assert!(within(consumer.active_changed(&[-1])).await.is_empty());
}

#[tokio::test]
async fn of_other_types_every_partition_is_active_and_the_broker_does_not_say_so() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 500, |builder| builder).await;
    assert_eq!(consumer.active_partitions(), [-1]);
    active(&mut peer, stream, false).await;
    let error = within(consumer.receive()).await.unwrap_err();
    assert!(error.is_retryable(), "the connection ends: {error}");
    assert_eq!(consumer.active_partitions(), [-1]);
}

#[tokio::test]
async fn on_a_shared_subscription_messages_are_acknowledged_one_by_one() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, |builder| {
        builder.subscription_type(SubscriptionType::Shared)
    })
    .await;
    peer.deliver(stream, &entry(1, 7, &["a", "b", "c"])).await;
    peer.deliver(stream, &entry(1, 3, &["d"])).await;
    let values: Vec<_> = receive(&consumer, 4).await;
    assert_eq!(values[3], pair("1:3:-1:0", "d"), "in any order");
    let refused = consumer.acknowledge_cumulative(&id(7, 2)).unwrap_err();
    assert!(
        matches!(refused, ClientError::InvalidArgument { .. }),
        "{refused}"
    );
    let handle = consumer.acknowledge_cumulative_with_receipt(&id(7, 2));
    within(handle).await.unwrap_err();
    let ids = [id(7, 0), id(7, 1), id(3, 0)];
    let handles = consumer.acknowledge_all_with_receipt(&ids);
    // The refused ones left nothing behind.
    let (correlation, kind, ranges) = ack(&mut peer).await;
    assert_eq!(kind, AckKind::Individual);
    assert_eq!(ranges, [range(7, 0, 1), range(3, 0, 0)]);
    peer.reply(stream, correlation, &Reply::Acked).await;
    assert_eq!(handles.len(), 1);
    for handle in handles {
        within(handle).await.unwrap();
    }
}

/// A consumer of a shared subscription with dead letters, which go to `t-s-DLQ`.
fn dead_letter(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder
        .subscription_type(SubscriptionType::Shared)
        .negative_ack_delay(Duration::ZERO)
        .dead_letter(DeadLetterPolicy::new(1))
}

fn keyed_entry(offset: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    hulse_model::batch::Message {
        key: Some(b"k"),
        value: b"v",
    }
    .encode(&mut payload)
    .unwrap();
    raw_entry(1, offset, 1, &payload)
}

#[tokio::test]
async fn what_came_too_often_is_published_elsewhere_and_then_acknowledged() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, dead_letter).await;
    peer.deliver_again(stream, &keyed_entry(2), &[], 2).await;
    peer.deliver_again(stream, &keyed_entry(3), &[], 1).await;
    assert_eq!(
        receive(&consumer, 1).await,
        [pair("1:3:-1:0", "v")],
        "the limit itself is not too often"
    );
    let topic = peer.locate(&[&broker.address]).await;
    assert_eq!(topic.to_string(), "persistent://public/default/t-s-DLQ");
    peer.open_producer(1, None).await;
    let batch = peer.batch().await;
    let mut published = hulse_model::batch::Messages::new(&batch.payload);
    let message = published.next().unwrap().unwrap();
    assert_eq!((message.key, message.value), (Some(&b"k"[..]), &b"v"[..]));
    assert!(published.next().is_none());
    // It is not acknowledged before it is stored: what was acknowledged meanwhile goes out alone.
    consumer.acknowledge(&id(3, 0)).unwrap();
    assert_eq!(ack(&mut peer).await.2, [range(3, 0, 0)]);
    peer.receipts(batch.stream, &[batch.receipt(1, 0)]).await;
    assert_eq!(ack(&mut peer).await.2, [range(2, 0, 0)]);
}

#[tokio::test]
async fn what_cannot_be_published_elsewhere_is_told_and_comes_again() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, dead_letter).await;
    peer.deliver_again(stream, &keyed_entry(2), &[], 2).await;
    peer.deliver(stream, &keyed_entry(3)).await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:3:-1:0", "v")]);
    let lookup = peer.next().await;
    assert!(matches!(lookup.request(), Request::Lookup(_)));
    peer.refuse(&lookup, ErrorReply::new(Status::TopicNotFound, "no"))
        .await;
    let error = within(consumer.receive()).await.unwrap_err();
    assert!(matches!(error, ClientError::DeadLetter { .. }), "{error}");
    assert_eq!(error.status(), Some(Status::TopicNotFound));
    let frame = peer.next().await;
    let Request::Redeliver(redeliver) = frame.request() else {
        panic!("{:?}", frame.request())
    };
    assert_eq!(redeliver.entries.iter().collect::<Vec<_>>(), [Offset(2)]);
    // The next try finds the topic.
    peer.deliver_again(stream, &keyed_entry(2), &[], 3).await;
    let trying = async {
        peer.locate(&[&broker.address]).await;
        peer.open_producer(1, None).await;
        let batch = peer.batch().await;
        peer.receipts(batch.stream, &[batch.receipt(1, 0)]).await;
        ack(&mut peer).await.2
    };
    let acked = tokio::select! {
        acked = within(trying) => acked,
        message = consumer.receive() => panic!("handed out: {message:?}"),
    };
    assert_eq!(acked, [range(2, 0, 0)]);
}

#[tokio::test]
async fn dead_letters_are_for_shared_subscriptions_and_another_topic() {
    let broker = Broker::start().await;
    let (client, _peer) = broker.connected(broker.client()).await;
    let shared = |topic: Option<&str>| {
        let policy = DeadLetterPolicy {
            topic: topic.map(str::to_owned),
            ..DeadLetterPolicy::new(3)
        };
        let builder = client.consumer("t", "s").dead_letter(policy);
        builder.subscription_type(SubscriptionType::Shared)
    };
    let itself = within(shared(Some("t")).build()).await.unwrap_err();
    assert!(
        matches!(itself, ClientError::InvalidArgument { .. }),
        "{itself}"
    );
    let nameless = within(shared(Some("")).build()).await.unwrap_err();
    assert!(
        matches!(nameless, ClientError::InvalidName { .. }),
        "{nameless}"
    );
    let ordered = failover(shared(None)).build();
    let ordered = within(ordered).await.unwrap_err();
    assert!(
        matches!(ordered, ClientError::InvalidArgument { .. }),
        "{ordered}"
    );
}
