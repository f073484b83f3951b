//! A broker that sends what no broker may: the client answers with a typed error and closes the
//! connection, never with a panic or a wait without end.

use std::time::Duration;

use hulse_client::ClientError;
use hulse_wire::{MAGIC, Receipts, Reply};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Builder;

use crate::broker::{Broker, QUIET, entry, welcome, within};

#[tokio::test]
async fn a_delivered_entry_with_a_wrong_checksum_costs_the_connection_and_comes_again() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let building = client.consumer("t", "s").build();
    let answering = async {
        peer.locate(&[&broker.address]).await;
        peer.subscribe(0, 1).await.0
    };
    let (consumer, stream) = within(async { tokio::join!(building, answering) }).await;
    let consumer = consumer.unwrap();
    let sound = entry(1, 0, &["a"]);
    let mut damaged = sound.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    peer.deliver(stream, &damaged).await;
    let error = within(consumer.receive()).await.unwrap_err();
    let ClientError::Corrupt { address, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*address, broker.address);
    peer.until_closed().await;

    let mut peer = broker.welcome().await;
    peer.locate(&[&broker.address]).await;
    let (stream, _) = peer.subscribe(0, 1).await;
    peer.deliver(stream, &sound).await;
    assert_eq!(within(consumer.receive()).await.unwrap().value(), b"a");
}

#[tokio::test]
async fn a_frame_with_a_flipped_bit_costs_the_connection() {
    let mut sound = Vec::new();
    let answer = Reply::AdminDone(hulse_wire::AdminDone {
        json: br#"{"topics":[]}"#,
    });
    answer.encode(&mut sound, 0, 1).unwrap();
    // Bits of the length, the kind, the stream, the correlation id, both checksums, the payload.
    for byte in [0, 4, 9, 17, 25, 29, 35] {
        let mut damaged = sound.clone();
        damaged[byte] ^= 0x20;
        let broker = Broker::start().await;
        let builder = broker
            .client()
            .operation_timeout(Duration::from_millis(300));
        let (client, mut peer) = broker.connected(builder).await;
        let admin = client.admin();
        let listing = tokio::spawn(async move { admin.list_topics().await });
        peer.next().await;
        peer.raw(&damaged).await;
        assert!(peer.until_closed().await.is_empty(), "byte {byte}");
        // The connection is opened again; nobody answers there.
        drop(broker);
        assert!(within(listing).await.unwrap().is_err(), "byte {byte}");
    }
}

#[tokio::test]
async fn frames_that_fit_no_stream_and_no_request_are_passed_over() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    peer.reply(
        77,
        0,
        &Reply::Receipts(Receipts {
            receipts: (&[][..]).into(),
        }),
    )
    .await;
    peer.reply(0, 1234, &Reply::Done).await;
    peer.deliver(78, b"not even an entry").await;
    let admin = client.admin();
    let listing = tokio::spawn(async move { admin.list_topics().await });
    let asked = peer.next().await;
    let json = Reply::AdminDone(hulse_wire::AdminDone { json: b"{}" });
    peer.reply(0, asked.correlation, &json).await;
    within(listing).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_of_the_wrong_kind_is_corrupt() {
    let broker = Broker::start().await;
    let builder = broker
        .client()
        .operation_timeout(Duration::from_millis(300));
    let (client, mut peer) = broker.connected(builder).await;
    let admin = client.admin();
    let listing = tokio::spawn(async move { admin.list_topics().await });
    let asked = peer.next().await;
    peer.reply(0, asked.correlation, &Reply::Done).await;
    let error = within(listing).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Corrupt { .. }), "{error}");
}

/// Bytes that begin as something sound and go on as they like.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let sound = prop_oneof![
        Just(Vec::new()),
        Just(MAGIC.to_vec()),
        Just({
            let mut bytes = Vec::new();
            Reply::Welcome(welcome(1, QUIET))
                .encode(&mut bytes, 0, 0)
                .unwrap();
            bytes
        }),
    ];
    (
        sound,
        prop::collection::vec(any::<u8>(), 0..200),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(mut sound, rest, cut)| {
            if cut.index(4) == 0 {
                sound.truncate(cut.index(sound.len() + 1));
            }
            sound.extend(rest);
            sound
        })
}

#[test]
fn whatever_bytes_come_the_client_neither_panics_nor_hangs() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config {
        cases: 64,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&bytes(), |bytes| {
        runtime.block_on(async {
            let broker = Broker::start().await;
            let builder = broker.client().operation_timeout(Duration::from_millis(50));
            let answering = async {
                let mut peer = broker.accept().await;
                peer.hello().await;
                peer.raw(&bytes).await;
            };
            let (client, ()) = within(async { tokio::join!(builder.connect(), answering) }).await;
            // Garbage behind a sound WELCOME shows at the first request.
            if let Ok(client) = client {
                drop(broker);
                assert!(within(client.admin().list_topics()).await.is_err());
            }
        });
        Ok(())
    });
    outcome.unwrap();
}
