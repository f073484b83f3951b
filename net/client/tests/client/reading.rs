//! Goal: a reader goes on behind the last message that it gave, whatever becomes of its connections.
//! Method: a broker that loses them, and looks at where it is asked to begin.

use hulse_client::{Client, ClientError, MessageId, Reader, SeekTo, StartFrom, Term};
use hulse_model::{Offset, Position};
use hulse_wire::{Reply, Request, Subscribed};

use crate::broker::{Broker, Peer, entry, within};

fn at(offset: u64, index: u32) -> Position {
    Position {
        offset: Offset(offset),
        index,
    }
}

/// Answers a SUBSCRIBE that is not durable, and gives its stream and where it is to begin.
async fn begun(peer: &mut Peer, mark: Position) -> (u32, StartFrom) {
    let frame = peer.next().await;
    let Request::Subscribe(subscribe) = frame.request() else {
        panic!("not a SUBSCRIBE: {:?}", frame.request());
    };
    assert!(!subscribe.durable);
    let name = subscribe.subscription.as_str();
    assert!(name.starts_with("reader-"), "{name}");
    let subscribed = Reply::Subscribed(Subscribed {
        mark,
        log_start: Offset(0),
        high_watermark: Offset(9),
        created: true,
    });
    peer.reply(frame.stream, frame.correlation, &subscribed)
        .await;
    (frame.stream, subscribe.start)
}

async fn reader(broker: &Broker, start: StartFrom, mark: Position) -> (Client, Reader, Peer, u32) {
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = client.reader("t").start(start).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        let (stream, asked) = begun(&mut peer, mark).await;
        assert_eq!(asked, start);
        stream
    };
    let (reader, stream) = within(async { tokio::join!(building, answering) }).await;
    (client, reader.unwrap(), peer, stream)
}

async fn read(reader: &Reader, values: &[&str]) {
    for value in values {
        let message = within(reader.read()).await.unwrap();
        assert_eq!(message.value(), value.as_bytes());
    }
}

#[tokio::test]
async fn after_a_lost_connection_it_goes_on_behind_the_last_message_that_it_gave() {
    let broker = Broker::start().await;
    let start = StartFrom::Earliest;
    let (_client, reader, mut peer, stream) = reader(&broker, start, at(0, 0)).await;
    peer.deliver(stream, &entry(1, 4, &["a", "b", "c"])).await;
    peer.deliver(stream, &entry(1, 5, &["d"])).await;
    read(&reader, &["a", "b"]).await;
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, asked) = begun(&mut peer, at(4, 2)).await;
    assert_eq!(asked, StartFrom::Position(at(4, 2)));
    // The entry comes as a whole, without what lies before the place.
    let before = hulse_wire::AckRange {
        offset: Offset(4),
        first_index: 0,
        last_index: 1,
    };
    let whole = entry(1, 4, &["a", "b", "c"]);
    peer.deliver_without(stream, &whole, &[before]).await;
    peer.deliver(stream, &entry(1, 5, &["d"])).await;
    read(&reader, &["c", "d"]).await;
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (_, asked) = begun(&mut peer, at(6, 0)).await;
    assert_eq!(asked, StartFrom::Position(at(5, 1)));
}

#[tokio::test]
async fn one_that_began_at_the_end_misses_nothing_that_came_while_its_connection_was_lost() {
    let broker = Broker::start().await;
    let start = StartFrom::Latest;
    let (_client, _reader, peer, _) = reader(&broker, start, at(9, 0)).await;
    drop(peer);
    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (_, asked) = begun(&mut peer, at(9, 0)).await;
    assert_eq!(asked, StartFrom::Position(at(9, 0)));
}

#[tokio::test]
async fn a_place_is_one_of_a_single_partition_and_stays() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let id = MessageId {
        term: Term(1),
        offset: Offset(3),
        partition: -1,
        index: 2,
    };
    let building = client.reader("t").start_at(&id).build();
    let answering = async {
        peer.locate(&[&broker.address, &broker.address]).await;
    };
    let (reader, ()) = within(async { tokio::join!(building, answering) }).await;
    let error = reader.unwrap_err();
    assert!(
        matches!(error, ClientError::InvalidArgument { .. }),
        "{error}"
    );
    let building = client.consumer("u", "s").durable(false).build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        peer.subscribe(0, 0).await;
    };
    let (consumer, ()) = within(async { tokio::join!(building, answering) }).await;
    let moved = within(consumer.unwrap().seek(SeekTo::Earliest)).await;
    assert!(matches!(moved, Err(ClientError::InvalidArgument { .. })));
}
