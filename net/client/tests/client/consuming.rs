//! Consumers: what is handed out, what is acknowledged, and what happens when a stream is lost.

use std::time::Duration;

use hulse_client::{
    Client, ClientError, Consumer, ConsumerBuilder, MessageId, Offset, SeekTo, Status, Term,
};
use hulse_model::Position;
use hulse_wire::{AckKind, AckRange, ErrorReply, Reply, Request};

use crate::broker::{Broker, Peer, entry, raw_entry, within};

/// A consumer of a topic without partitions, its connection and its stream.
pub(crate) async fn consumer(
    broker: &Broker,
    operation_ms: u64,
    build: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
) -> (Client, Consumer, Peer, u32) {
    let builder = broker
        .client()
        .operation_timeout(Duration::from_millis(operation_ms));
    let (client, mut peer) = broker.connected(builder).await;
    let building = build(client.consumer("t", "s")).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        peer.subscribe(2, 9).await.0
    };
    let (consumer, stream) = within(async { tokio::join!(building, answering) }).await;
    (client, consumer.unwrap(), peer, stream)
}

async fn plain(broker: &Broker) -> (Client, Consumer, Peer, u32) {
    consumer(broker, 20_000, |builder| builder).await
}

/// Receives so many messages: ids and values.
pub(crate) async fn receive(consumer: &Consumer, count: usize) -> Vec<(String, String)> {
    let mut got = Vec::new();
    for _ in 0..count {
        let message = within(consumer.receive()).await.unwrap();
        let value = String::from_utf8(message.value().to_vec()).unwrap();
        got.push((message.message_id().to_string(), value));
    }
    got
}

pub(crate) fn pair(id: &str, value: &str) -> (String, String) {
    (id.to_owned(), value.to_owned())
}

pub(crate) fn id(offset: u64, index: i32) -> MessageId {
    MessageId {
        term: Term(1),
        offset: Offset(offset),
        partition: -1,
        index,
    }
}

pub(crate) fn range(offset: u64, first_index: u32, last_index: u32) -> AckRange {
    AckRange {
        offset: Offset(offset),
        first_index,
        last_index,
    }
}

/// The acknowledgement that comes next; PERMITS are passed over.
pub(crate) async fn ack(peer: &mut Peer) -> (u64, AckKind, Vec<AckRange>) {
    loop {
        let frame = peer.next().await;
        match frame.request() {
            Request::Permits(_) => {}
            Request::Ack(ack) => return (frame.correlation, ack.kind, ack.ranges.iter().collect()),
            other => panic!("not an ACK: {other:?}"),
        }
    }
}

/// The permits that come next.
async fn permits(peer: &mut Peer) -> u32 {
    let frame = peer.next().await;
    let Request::Permits(permits) = frame.request() else {
        panic!("{:?}", frame.request())
    };
    permits.messages
}

#[tokio::test]
async fn the_messages_of_an_entry_come_one_by_one_without_what_is_acknowledged() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    let marks = consumer.marks();
    assert_eq!(
        (marks[0].partition, marks[0].mark),
        (-1, Position::at(Offset(2)))
    );
    assert_eq!(
        (marks[0].high_watermark, marks[0].created),
        (Offset(9), false)
    );
    let acked = [range(2, 0, 0), range(2, 3, AckRange::LAST)];
    let batch = entry(1, 2, &["a", "b", "c", "d", "e"]);
    peer.deliver_without(stream, &batch, &acked).await;
    peer.deliver(stream, &entry(1, 3, &[""])).await;
    let got = receive(&consumer, 3).await;
    assert_eq!(
        got,
        [
            pair("1:2:-1:1", "b"),
            pair("1:2:-1:2", "c"),
            pair("1:3:-1:0", "")
        ]
    );
}

#[tokio::test]
async fn a_received_message_tells_where_it_comes_from() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    let mut payload = Vec::new();
    for key in [None, Some(&b"k"[..])] {
        hulse_model::batch::Message { key, value: b"v" }
            .encode(&mut payload)
            .unwrap();
    }
    peer.deliver(stream, &raw_entry(4, 5, 2, &payload)).await;
    let messages = within(consumer.receive_many(10)).await.unwrap();
    let last = messages.last().unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].key(), last.key()), (None, Some(&b"k"[..])));
    assert_eq!(
        (last.sequence(), last.partition(), last.redelivery_count()),
        (501, -1, 0)
    );
    assert_eq!(
        (last.appended_ms(), &last.value_bytes()[..]),
        (1_800_000_000_000, &b"v"[..])
    );
}

#[tokio::test]
async fn permits_come_back_when_half_of_the_window_is_free() {
    let broker = Broker::start().await;
    let builder = broker.client();
    let (client, mut peer) = broker.connected(builder).await;
    let building = client.consumer("t", "s").receive_queue(10).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        peer.subscribe(0, 0).await
    };
    let (consumer, (stream, first)) = within(async { tokio::join!(building, answering) }).await;
    let consumer = consumer.unwrap();
    assert_eq!(first, 10);
    for offset in 0..10 {
        peer.deliver(stream, &entry(1, offset, &["x"])).await;
    }
    receive(&consumer, 5).await;
    assert_eq!(permits(&mut peer).await, 5);
    receive(&consumer, 5).await;
    assert_eq!(permits(&mut peer).await, 5);
}

#[tokio::test]
async fn acknowledgements_gather_and_their_receipt_comes_when_they_are_durable() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &entry(1, 2, &["a", "b", "c"])).await;
    for message in within(consumer.receive_many(3)).await.unwrap() {
        consumer.acknowledge(&message.message_id()).unwrap();
    }
    let receipt = consumer.acknowledge_with_receipt(&id(7, -1));
    let (correlation, kind, ranges) = ack(&mut peer).await;
    assert_eq!(kind, AckKind::Individual);
    assert_eq!(ranges, [range(2, 0, 2), range(7, 0, AckRange::LAST)]);
    let receipt = tokio::spawn(receipt);
    tokio::task::yield_now().await;
    assert!(!receipt.is_finished(), "nothing is durable yet");
    peer.reply(stream, correlation, &Reply::Acked).await;
    within(receipt).await.unwrap().unwrap();

    let receipt = consumer.acknowledge_cumulative_with_receipt(&id(8, 1));
    let (correlation, kind, ranges) = ack(&mut peer).await;
    assert_eq!((kind, ranges), (AckKind::Cumulative, vec![range(8, 0, 1)]));
    let refusal = Reply::Error(ErrorReply::new(Status::OffsetOutOfRange, "no"));
    peer.reply(stream, correlation, &refusal).await;
    let error = within(receipt).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::OffsetOutOfRange));

    let elsewhere = MessageId {
        partition: 3,
        ..id(0, 0)
    };
    assert!(matches!(
        consumer.acknowledge(&elsewhere),
        Err(ClientError::InvalidArgument { .. })
    ));
    let handle = consumer.acknowledge_with_receipt(&elsewhere);
    assert!(matches!(
        within(handle).await,
        Err(ClientError::InvalidArgument { .. })
    ));
}

#[tokio::test]
async fn after_a_lost_connection_nothing_is_handed_out_twice_and_acknowledgements_come_again() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &entry(1, 2, &["a", "b", "c"])).await;
    peer.deliver(stream, &entry(1, 3, &["d"])).await;
    let got = receive(&consumer, 2).await;
    assert_eq!(got, [pair("1:2:-1:0", "a"), pair("1:2:-1:1", "b")]);
    let receipt = consumer.acknowledge_with_receipt(&id(2, 0));
    ack(&mut peer).await;
    drop(peer);

    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, _) = peer.subscribe(2, 9).await;
    let (correlation, _, ranges) = ack(&mut peer).await;
    assert_eq!(ranges, [range(2, 0, 0)]);
    // The broker had not heard of it, and sends everything again.
    peer.deliver(stream, &entry(1, 2, &["a", "b", "c"])).await;
    peer.deliver(stream, &entry(1, 3, &["d"])).await;
    peer.reply(stream, correlation, &Reply::Acked).await;
    within(receipt).await.unwrap();
    let got = receive(&consumer, 2).await;
    assert_eq!(got, [pair("1:2:-1:2", "c"), pair("1:3:-1:0", "d")]);
    // A new primary may have stored others under offsets that an earlier one had used.
    peer.deliver(stream, &entry(2, 3, &["D"])).await;
    assert_eq!(receive(&consumer, 1).await, [pair("2:3:-1:0", "D")]);
}

#[tokio::test]
async fn a_consumer_that_wants_to_gets_everything_again() {
    let broker = Broker::start().await;
    let again = |builder: ConsumerBuilder| builder.skip_seen(false);
    let (_client, consumer, mut peer, stream) = consumer(&broker, 20_000, again).await;
    peer.deliver(stream, &entry(1, 2, &["a"])).await;
    receive(&consumer, 1).await;
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, _) = peer.subscribe(2, 9).await;
    peer.deliver(stream, &entry(1, 2, &["a"])).await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:2:-1:0", "a")]);
}

#[tokio::test]
async fn a_subscription_that_is_taken_is_tried_again() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = client.consumer("t", "s").build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        for _ in 0..3 {
            let frame = peer.next().await;
            assert!(matches!(frame.request(), Request::Subscribe(_)));
            peer.refuse(&frame, ErrorReply::new(Status::ConsumerBusy, "taken"))
                .await;
            peer.locate(&[&broker.address]).await;
        }
        peer.subscribe(0, 0).await
    };
    let (consumer, _) = within(async { tokio::join!(building, answering) }).await;
    drop(consumer.unwrap());
}

#[tokio::test]
async fn a_subscription_that_stays_taken_is_told_after_the_operation_time_out() {
    let broker = Broker::start().await;
    let builder = broker
        .client()
        .operation_timeout(Duration::from_millis(200));
    let (client, mut peer) = broker.connected(builder).await;
    let building = async move {
        let built = client.consumer("t", "s").build().await;
        drop(client);
        built
    };
    let answering = async {
        while let Some(frame) = peer.any().await {
            match frame.request() {
                Request::Subscribe(_) => {
                    peer.refuse(&frame, ErrorReply::new(Status::ConsumerBusy, "taken"))
                        .await;
                }
                Request::Lookup(lookup) => {
                    let place = hulse_wire::PartitionPlace {
                        partition: -1,
                        id: hulse_model::PartitionId(1),
                        address: &broker.address,
                    };
                    let located = hulse_wire::Located {
                        topic: lookup.topic,
                        places: vec![place],
                    };
                    peer.reply(0, frame.correlation, &Reply::Located(located))
                        .await;
                }
                _ => {}
            }
        }
    };
    let (built, ()) = within(async { tokio::join!(building, answering) }).await;
    assert_eq!(built.unwrap_err().status(), Some(Status::ConsumerBusy));
}

#[tokio::test]
async fn damaged_entries_are_named_and_a_seek_leads_past_them() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &entry(1, 2, &["a"])).await;
    let damage = ErrorReply {
        first_offset: Offset(3),
        end_offset: Offset(6),
        ..ErrorReply::new(Status::DataCorrupted, "unreadable")
    };
    peer.reply(stream, 0, &Reply::Error(damage)).await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:2:-1:0", "a")]);
    for _ in 0..2 {
        let error = within(consumer.receive()).await.unwrap_err();
        let ClientError::DataCorrupted {
            partition,
            first,
            end,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((*partition, *first, *end), (-1, Offset(3), Offset(6)));
    }
    // The subscription is there again and asks for nothing; acknowledgements still work.
    peer.locate(&[&broker.address]).await;
    let (stream, first) = peer.subscribe(2, 9).await;
    assert_eq!(first, 0);
    let receipt = consumer.acknowledge_with_receipt(&id(2, 0));
    let (correlation, _, _) = ack(&mut peer).await;
    peer.reply(stream, correlation, &Reply::Acked).await;
    within(receipt).await.unwrap();

    let answering = async {
        let seek = peer.next().await;
        let Request::Seek(asked) = seek.request() else {
            panic!("{:?}", seek.request())
        };
        assert_eq!(
            asked.to,
            hulse_wire::SeekTo::Position(Position::at(Offset(6)))
        );
        assert_eq!((seek.stream, asked.subscription), (stream, None));
        peer.reply(stream, seek.correlation, &Reply::Done).await;
        assert!(permits(&mut peer).await > 0);
        peer.deliver(stream, &entry(1, 6, &["b"])).await;
    };
    let seeking = consumer.seek(SeekTo::Position(id(6, -1)));
    let (sought, ()) = within(async { tokio::join!(seeking, answering) }).await;
    sought.unwrap();
    assert_eq!(receive(&consumer, 1).await, [pair("1:6:-1:0", "b")]);
}

#[tokio::test]
async fn a_seek_drops_what_waits_and_makes_everything_new() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &entry(1, 2, &["a"])).await;
    peer.deliver(stream, &entry(1, 3, &["b"])).await;
    receive(&consumer, 1).await;
    consumer.acknowledge(&id(2, 0)).unwrap();
    let answering = async {
        // What was acknowledged before is durable before the move is asked for.
        let (correlation, _, _) = ack(&mut peer).await;
        peer.reply(stream, correlation, &Reply::Acked).await;
        let seek = peer.next().await;
        assert!(matches!(seek.request(), Request::Seek(_)));
        peer.deliver(stream, &entry(1, 4, &["too late"])).await;
        peer.reply(stream, seek.correlation, &Reply::Done).await;
        peer.deliver(stream, &entry(1, 2, &["a"])).await;
    };
    let (sought, ()) =
        within(async { tokio::join!(consumer.seek(SeekTo::Earliest), answering) }).await;
    sought.unwrap();
    assert_eq!(receive(&consumer, 1).await, [pair("1:2:-1:0", "a")]);
}

#[tokio::test]
async fn a_seek_whose_answer_is_lost_is_asked_for_again() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, _) = plain(&broker).await;
    let answering = async {
        peer.next().await;
        drop(peer);
        let mut peer = broker.welcome().await;
        peer.locate(&[&broker.address]).await;
        let (stream, _) = peer.subscribe(2, 9).await;
        let seek = peer.next().await;
        assert!(matches!(seek.request(), Request::Seek(_)));
        peer.reply(stream, seek.correlation, &Reply::Done).await;
        peer.deliver(stream, &entry(1, 8, &["there"])).await;
        peer
    };
    let (sought, _peer) =
        within(async { tokio::join!(consumer.seek(SeekTo::Latest), answering) }).await;
    sought.unwrap();
    assert_eq!(receive(&consumer, 1).await, [pair("1:8:-1:0", "there")]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_told_and_passed() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &raw_entry(1, 2, 3, b"no messages at all"))
        .await;
    peer.deliver(stream, &entry(1, 3, &["fine"])).await;
    let error = within(consumer.receive()).await.unwrap_err();
    let ClientError::Undecodable { id: named, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*named, id(2, -1));
    let many = within(consumer.receive_many(5)).await.unwrap();
    assert_eq!(many.len(), 1);
    assert_eq!(many[0].value(), b"fine");
}

#[tokio::test]
async fn an_error_behind_messages_waits_for_its_turn() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    peer.deliver(stream, &entry(1, 2, &["fine"])).await;
    peer.deliver(stream, &raw_entry(1, 3, 1, b"nonsense")).await;
    peer.deliver(stream, &entry(1, 4, &["last"])).await;
    let first = within(consumer.receive()).await.unwrap();
    assert_eq!(first.value(), b"fine");
    assert!(matches!(
        within(consumer.receive()).await,
        Err(ClientError::Undecodable { .. })
    ));
    assert_eq!(receive(&consumer, 1).await, [pair("1:4:-1:0", "last")]);
}

#[tokio::test]
async fn without_a_broker_receive_tells_the_cause_and_goes_on_afterwards() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = consumer(&broker, 200, |builder| builder).await;
    peer.deliver(stream, &entry(1, 2, &["a"])).await;
    receive(&consumer, 1).await;
    let receipt = consumer.acknowledge_with_receipt(&id(2, 0));
    drop(peer);
    // Attempts that nobody answers, for longer than an operation may take.
    let error = within(consumer.receive()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let error = within(receipt).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    loop {
        // Connections that were given up meanwhile end at once.
        let mut peer = broker.accept().await;
        let Some(hello) = peer.try_hello().await else {
            continue;
        };
        let welcome = crate::broker::welcome(1, crate::broker::QUIET);
        peer.reply(0, hello.correlation, &Reply::Welcome(welcome))
            .await;
        if !peer.try_locate(&broker.address).await {
            continue;
        }
        let (stream, _) = peer.subscribe(2, 9).await;
        let (_, _, ranges) = ack(&mut peer).await;
        assert_eq!(ranges, [range(2, 0, 0)]);
        peer.deliver(stream, &entry(1, 3, &["b"])).await;
        // Another cause may have been told before.
        let next = loop {
            if let Ok(message) = within(consumer.receive()).await {
                break message;
            }
        };
        assert_eq!(next.value(), b"b");
        return;
    }
}

#[tokio::test]
async fn what_is_refused_for_good_ends_the_consumer() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    let gone = ErrorReply::new(Status::TopicNotFound, "the topic was deleted");
    peer.reply(stream, 0, &Reply::Error(gone)).await;
    for _ in 0..2 {
        let error = within(consumer.receive()).await.unwrap_err();
        assert_eq!(error.status(), Some(Status::TopicNotFound));
    }
    assert_eq!(
        consumer.acknowledge(&id(2, 0)).unwrap_err().status(),
        Some(Status::TopicNotFound)
    );
}

#[tokio::test]
async fn closing_waits_for_acknowledgements_and_dropping_closes_too() {
    let broker = Broker::start().await;
    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    consumer.acknowledge(&id(2, 0)).unwrap();
    let answering = async {
        let (correlation, _, _) = ack(&mut peer).await;
        peer.reply(stream, correlation, &Reply::Acked).await;
        let close = peer.next().await;
        assert!(matches!(close.request(), Request::Close));
        peer.reply(stream, close.correlation, &Reply::Closed).await;
    };
    let (closed, ()) = within(async { tokio::join!(consumer.close(), answering) }).await;
    closed.unwrap();
    assert!(matches!(
        within(consumer.receive()).await,
        Err(ClientError::Closed)
    ));

    let (_client, consumer, mut peer, stream) = plain(&broker).await;
    drop(consumer);
    let close = peer.next().await;
    assert_eq!(close.stream, stream);
    assert!(matches!(close.request(), Request::Close));
}

#[tokio::test]
async fn several_partitions_feed_one_consumer() {
    let (broker, other) = (Broker::start().await, Broker::start().await);
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = client.consumer("t", "s").build();
    let answering = async {
        peer.locate(&[&broker.address, &other.address]).await;
        let mut second = other.welcome().await;
        (
            peer.subscribe(0, 5).await.0,
            second.subscribe(0, 6).await.0,
            second,
        )
    };
    let (consumer, (one, two, mut second)) =
        within(async { tokio::join!(building, answering) }).await;
    let consumer = consumer.unwrap();
    let watermarks: Vec<_> = consumer
        .marks()
        .iter()
        .map(|it| (it.partition, it.high_watermark.0))
        .collect();
    assert_eq!(watermarks, [(0, 5), (1, 6)]);
    peer.deliver(one, &entry(1, 0, &["p0"])).await;
    second.deliver(two, &entry(1, 0, &["p1"])).await;
    let mut got = receive(&consumer, 2).await;
    got.sort();
    assert_eq!(got, [pair("1:0:0:0", "p0"), pair("1:0:1:0", "p1")]);
    // Trouble on one partition does not stop the other.
    let gone = ErrorReply::new(Status::StorageFailed, "the disk is broken");
    peer.reply(one, 0, &Reply::Error(gone)).await;
    let error = within(consumer.receive()).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::StorageFailed));
    second.deliver(two, &entry(1, 1, &["more"])).await;
    assert_eq!(receive(&consumer, 1).await, [pair("1:1:1:0", "more")]);
}
