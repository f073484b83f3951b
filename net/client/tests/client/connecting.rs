//! Connections: who is dialled, what is agreed, and when the other side counts as dead.

use std::time::Duration;

use hulse_client::{Client, ClientError, Status};
use hulse_wire::{Beacons, ErrorReply, Reply, Request};
use tokio::net::TcpListener;

use crate::broker::{Broker, Peer, QUIET, welcome, within};

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Connects while the broker answers HELLO with `answer`.
async fn answered(answer: Reply<'_>) -> (Result<Client, ClientError>, Peer) {
    let broker = Broker::start().await;
    let answering = async {
        let mut peer = broker.accept().await;
        let hello = peer.hello().await;
        peer.reply(0, hello.correlation, &answer).await;
        peer
    };
    within(async { tokio::join!(broker.client().connect(), answering) }).await
}

#[tokio::test]
async fn without_a_server_the_addresses_are_named_at_once() {
    let (one, other) = (nobody().await, nobody().await);
    let servers = format!("hulse://{one},{other}");
    let error = within(Client::builder(&servers).connect())
        .await
        .unwrap_err();
    let ClientError::Unreachable { addresses, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*addresses, format!("{one},{other}"));
    assert!(error.is_unreachable() && error.is_retryable());
}

#[tokio::test]
async fn the_first_server_that_answers_is_taken_and_told_who_is_calling() {
    let broker = Broker::start().await;
    let servers = format!("{},{}", nobody().await, broker.address);
    let builder = Client::builder(&servers)
        .name("tester 1")
        .beacon_timeout(Duration::from_secs(9));
    let answering = async {
        let mut peer = broker.accept().await;
        let frame = peer.hello().await;
        let Request::Hello(hello) = frame.request() else {
            panic!("not a HELLO")
        };
        assert_eq!((hello.version_min, hello.version_max), (1, 1));
        assert_eq!((hello.client, hello.beacon_timeout_ms), ("tester 1", 9_000));
        peer.reply(0, frame.correlation, &Reply::Welcome(welcome(1, QUIET)))
            .await;
        peer
    };
    let (client, mut peer) = within(async { tokio::join!(builder.connect(), answering) }).await;
    drop(client.unwrap());
    assert!(
        peer.until_closed().await.is_empty(),
        "with the client the connection goes"
    );
}

#[tokio::test]
async fn another_version_is_named() {
    let (client, _peer) = answered(Reply::Welcome(welcome(7, QUIET))).await;
    let error = client.unwrap_err();
    assert!(
        matches!(error, ClientError::Version { version: 7, .. }),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_refused_handshake_says_what_the_broker_said() {
    let refusal = ErrorReply::new(Status::UnsupportedVersion, "this broker is older");
    let (client, _peer) = answered(Reply::Error(refusal)).await;
    let error = client.unwrap_err();
    assert_eq!(error.status(), Some(Status::UnsupportedVersion));
    assert_eq!(
        error.to_string(),
        "UNSUPPORTED_VERSION: this broker is older"
    );
}

#[tokio::test]
async fn an_answer_that_fits_no_hello_is_corrupt() {
    let (client, _peer) = answered(Reply::Done).await;
    assert!(matches!(client.unwrap_err(), ClientError::Corrupt { .. }));
}

#[tokio::test]
async fn a_server_that_says_nothing_counts_as_unreachable() {
    let broker = Broker::start().await;
    let builder = broker
        .client()
        .operation_timeout(Duration::from_millis(100));
    let (client, _peer) = within(async { tokio::join!(builder.connect(), broker.accept()) }).await;
    assert!(client.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn settings_out_of_range_are_refused_before_anything_is_dialled() {
    for timeout_ms in [0, 199, 60_001] {
        let builder = Client::builder("h:1").beacon_timeout(Duration::from_millis(timeout_ms));
        let error = within(builder.connect()).await.unwrap_err();
        assert!(
            matches!(error, ClientError::InvalidArgument { .. }),
            "{error}"
        );
    }
    let error = within(Client::builder("http://h").connect())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::InvalidAddress { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_with_nothing_to_say_sends_beacons_and_hears_them() {
    let broker = Broker::start().await;
    let beacons = Beacons {
        interval_ms: 20,
        timeout_ms: 200,
    };
    let connecting =
        async { tokio::join!(broker.client().connect(), broker.welcome_with(beacons)) };
    let (client, mut peer) = within(connecting).await;
    let client = client.unwrap();
    // Twenty beacons take twice the time-out: an answer to each keeps the connection alive.
    for _ in 0..20 {
        let ping = peer.any().await.expect("the connection lives");
        assert!(matches!(ping.request(), Request::Ping));
        peer.reply(0, ping.correlation, &Reply::Pong).await;
    }
    drop(client);
    peer.until_closed().await;
}

#[tokio::test]
async fn a_client_that_is_asked_whether_it_is_there_says_so_at_once() {
    let broker = Broker::start().await;
    // Its beacons are rare: only the answer can come in time.
    let (_client, mut peer) = broker.connected(broker.client()).await;
    for _ in 0..3 {
        peer.reply(0, 0, &Reply::Probe).await;
        let ping = peer.any().await.expect("the connection lives");
        assert!(matches!(ping.request(), Request::Ping));
    }
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_given_up() {
    let broker = Broker::start().await;
    let beacons = Beacons {
        interval_ms: 20,
        timeout_ms: 200,
    };
    let connecting =
        async { tokio::join!(broker.client().connect(), broker.welcome_with(beacons)) };
    let (client, mut peer) = within(connecting).await;
    let admin = client.unwrap().admin();
    let listing = tokio::spawn(async move { admin.list_topics().await });
    // The request and the beacons are read and not answered, until the client closes.
    let frames = peer.until_closed().await;
    assert!(matches!(frames[0].request(), Request::Admin(_)));
    // The client dials again, and asks again.
    let mut peer = broker.welcome().await;
    let asked = peer.next().await;
    let json = Reply::AdminDone(hulse_wire::AdminDone {
        json: br#"{"topics":["a"]}"#,
    });
    peer.reply(0, asked.correlation, &json).await;
    assert_eq!(within(listing).await.unwrap().unwrap().topics, ["a"]);
}

#[tokio::test]
async fn an_error_for_the_whole_connection_ends_it() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let listing = tokio::spawn(async move { admin.list_topics().await });
    peer.next().await;
    peer.reply(
        0,
        0,
        &Reply::Error(ErrorReply::new(Status::Internal, "out of order")),
    )
    .await;
    let error = within(listing).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "INTERNAL: out of order");
    assert!(peer.until_closed().await.is_empty());
}

#[tokio::test]
async fn closing_the_client_closes_everything_and_fails_who_waits() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let listing = tokio::spawn({
        let admin = admin.clone();
        async move { admin.list_topics().await }
    });
    peer.next().await;
    within(client.close()).await;
    assert!(matches!(
        within(listing).await.unwrap(),
        Err(ClientError::Closed)
    ));
    assert!(matches!(
        within(admin.list_topics()).await,
        Err(ClientError::Closed)
    ));
    assert!(peer.until_closed().await.is_empty());
}
