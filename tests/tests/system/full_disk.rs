//! A file system that is full.

use std::fs;

use hulse_client::{Client, ClientError, MessageId, Status};
use hulse_tests::{Broker, Hulse, LIMIT, wait_until};
use std::time::Duration;
use tokio::runtime::Runtime;

use crate::mount::Mount;

const MIB: u64 = 1 << 20;

/// Sends messages of 64 KiB until one is refused. Gives the ids of those that are stored, and why
/// the next one is not.
async fn send_until_refused(broker: &Broker, topic: &str) -> (Vec<MessageId>, ClientError) {
    let client = Client::builder(&broker.server()).operation_timeout(Duration::from_secs(3));
    let client = client.connect().await.unwrap();
    let producer = client.producer(topic).name("filler").build().await.unwrap();
    let mut ids = Vec::new();
    loop {
        let text = format!("{:060000}", ids.len());
        match producer.send_and_wait(&text).await {
            Ok(id) => ids.push(id),
            Err(error) => return (ids, error),
        }
        assert!(ids.len() < 100_000, "the disk is never full");
    }
}

/// The lines that a new subscription gets.
fn read(broker: &Broker, topic: &str, subscription: &str) -> Vec<u8> {
    Hulse::to(
        broker,
        &format!("consume {topic} -s {subscription} --until-end"),
    )
    .done()
}

/// Asserts that these are the messages that were sent, in their order, and perhaps one more, whose
/// sender was not told.
fn assert_all_there(lines: &[u8], stored: usize) {
    let lines: Vec<_> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(
        lines.len() >= stored,
        "{} of {stored} acknowledged messages",
        lines.len()
    );
    for (number, line) in lines.iter().enumerate() {
        assert!(
            *line == format!("{number:060000}\n").as_bytes(),
            "message {number}"
        );
    }
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_all_else_alive() {
    let mount = Mount::with_bytes(192 * MIB);
    let mut broker = Broker::start_on(&mount.data(), 1);
    let runtime = Runtime::new().unwrap();
    // Something to delete later, and something that is there before.
    let ballast = vec![b'b'; 1 << 20];
    let lines: Vec<u8> = (0..40)
        .flat_map(|_| [&ballast[..], b"\n"].concat())
        .collect();
    Hulse::to(&broker, "produce ballast").input(&lines).done();
    Hulse::to(&broker, "produce small")
        .input(b"one\ntwo\n")
        .done();

    let (ids, error) = runtime.block_on(send_until_refused(&broker, "big"));
    println!("full after {} messages: {error}", ids.len());
    assert_eq!(error.status(), Some(Status::DiskFull), "{error}");
    assert!(Status::DiskFull.retryable());
    let refused = Hulse::to(&broker, "produce big --timeout 2")
        .input(&ballast)
        .run();
    refused.refused(1, &["DISK_FULL", "make room"]);

    // Reads, cursors and administration go on.
    broker.assert_alive();
    assert_eq!(read(&broker, "small", "s"), b"one\ntwo\n");
    assert_all_there(&read(&broker, "big", "s"), ids.len());
    let _ = Hulse::to(&broker, "topic list").run().expect(0);
    let _ = Hulse::to(&broker, "topic describe big").run().expect(0);
    assert_eq!(hulse_tests::get(broker.admin(), "/healthz").0, 200);

    // Room that is made is used, without a restart.
    let free = mount.free_bytes();
    Hulse::to(&broker, "topic delete ballast").done();
    wait_until("the deleted topic's room is free", LIMIT, || {
        (mount.free_bytes() >= free + 32 * MIB).then_some(())
    });
    Hulse::to(&broker, "produce big").input(b"after\n").done();
    Hulse::to(&broker, "produce small").input(b"three\n").done();
    assert_eq!(read(&broker, "small", "s"), b"three\n");

    // Nothing that was acknowledged is lost by a kill.
    broker.kill9();
    broker.restart(1);
    let lines = read(&broker, "big", "t");
    let kept = lines
        .strip_suffix(b"after\n")
        .expect("what came after there was room");
    assert_all_there(kept, ids.len());
    assert_eq!(read(&broker, "small", "t"), b"one\ntwo\nthree\n");
}

#[test]
fn a_broker_that_comes_back_on_a_full_disk_still_reads_and_deletes() {
    let mount = Mount::with_bytes(192 * MIB);
    let mut broker = Broker::start_on(&mount.data(), 1);
    let runtime = Runtime::new().unwrap();
    Hulse::to(&broker, "produce small")
        .input(b"one\ntwo\n")
        .done();
    let (ids, error) = runtime.block_on(send_until_refused(&broker, "big"));
    assert_eq!(error.status(), Some(Status::DiskFull), "{error}");
    // A segment that is being made takes all the room there is, for a moment.
    wait_until("no segment is being made any more", LIMIT, || {
        (mount.free_bytes() > 3 * MIB).then_some(())
    });
    broker.kill9();
    // Others use the disk as well, and leave room for little more than the broker's metadata.
    let filler = mount.path().join("filler");
    let bytes = mount.free_bytes() - 2 * MIB;
    fs::write(&filler, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    broker.restart(1);
    assert_eq!(read(&broker, "small", "s"), b"one\ntwo\n");
    assert_all_there(&read(&broker, "big", "s"), ids.len());
    Hulse::to(&broker, "topic delete big").done();
    fs::remove_file(&filler).unwrap();
    Hulse::to(&broker, "produce small").input(b"three\n").done();
    assert_eq!(read(&broker, "small", "s"), b"three\n");
}

#[test]
fn a_disk_that_grows_is_used_without_a_restart() {
    let mount = Mount::with_bytes(128 * MIB);
    let mut broker = Broker::start_on(&mount.data(), 1);
    let runtime = Runtime::new().unwrap();
    let (ids, error) = runtime.block_on(send_until_refused(&broker, "big"));
    assert_eq!(error.status(), Some(Status::DiskFull), "{error}");
    // A producer that waits for room gets on as soon as there is some.
    let mut waiting = Hulse::to(&broker, "produce big").input(b"after\n").start();
    assert!(waiting.runs());
    mount.resize(512 * MIB);
    let summary = waiting.finish().expect(0).summary();
    assert_eq!((summary.acked, summary.failed), (1, 0));
    broker.kill9();
    broker.restart(1);
    let lines = read(&broker, "big", "s");
    assert_all_there(lines.strip_suffix(b"after\n").unwrap(), ids.len());
}
