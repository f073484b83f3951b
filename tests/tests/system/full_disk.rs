//! A file system that is full.

use std::fs;
use std::path::Path;

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

/// Whether a segment of a partition is being made, or was when the broker was killed.
fn is_making(partition: &Path) -> bool {
    let names = fs::read_dir(partition).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.any(|name| name.ends_with(".seg.new"))
}

#[test]
fn a_broker_that_is_killed_on_a_disk_that_it_fills_starts_and_loses_nothing() {
    const LINES: usize = 2_000;
    let mount = Mount::with_bytes(192 * MIB);
    let mut broker = Broker::start_on(&mount.data(), 1);
    let ballast: Vec<u8> = vec![[vec![b'b'; 1 << 20], vec![b'\n']].concat(); 40].concat();
    Hulse::to(&broker, "produce ballast").input(&ballast).done();
    Hulse::to(&broker, "topic create big").done();
    let partition = broker.partition_dir(&broker.partition("big").id);
    let lines: Vec<u8> = (0..LINES)
        .flat_map(|number| format!("{number:060000}\n").into_bytes())
        .collect();
    let (least, ()) = mount.least_free_while(|| {
        // It outlives the broker's deaths, and waits while the disk is full.
        let waiting = Hulse::to(&broker, "produce big").input(&lines);
        let mut waiting = waiting.within(LIMIT * 4).start();
        for _ in 0..2 {
            // Making one may take less time than lies between two looks at it.
            let made = wait_until(
                "a segment is made, or there is no room for it",
                LIMIT,
                || {
                    let making = is_making(&partition);
                    (making || broker.said().contains("no room on the disk")).then_some(making)
                },
            );
            println!("killed while a segment was being made: {made}");
            broker.kill9();
            broker.restart(1);
        }
        for _ in 0..3 {
            wait_until("the disk is full", LIMIT, || {
                broker.said().contains("no room on the disk").then_some(())
            });
            broker.kill9();
            broker.restart(1);
        }
        assert!(waiting.runs());
        Hulse::to(&broker, "topic delete ballast").done();
        let summary = waiting.finish().expect(0).summary();
        assert_eq!((summary.acked, summary.failed), (LINES as u64, 0));
    });
    println!("at the least {least} bytes were free");
    // Of the 12 MiB that a file system of this size keeps, the sibling logs may use half, and
    // manifests and metadata are small.
    assert!(least > 5 * MIB, "{least} bytes were free");
    broker.kill9();
    broker.restart(1);
    assert!(
        read(&broker, "big", "s") == lines,
        "every line, once and in order"
    );
}

#[test]
fn a_broker_starts_on_a_disk_that_a_crash_filled_to_its_last_byte() {
    let mount = Mount::with_bytes(64 * MIB);
    let mut broker = Broker::start_on(&mount.data(), 1);
    Hulse::to(&broker, "produce small").input(b"one\n").done();
    let partition = broker.partition_dir(&broker.partition("small").id);
    broker.kill9();
    // What was left when a segment took all there was.
    mount.fill(&partition.join("entries-00000000000000000001.seg.new"));
    broker.restart(1);
    assert!(!is_making(&partition));
    assert_eq!(read(&broker, "small", "s"), b"one\n");
    Hulse::to(&broker, "produce small").input(b"two\n").done();
    broker.kill9();
    // Others' files are no business of the broker's; it says what is missing.
    let filler = mount.path().join("filler");
    mount.fill(&filler);
    let listen = "--listen 127.0.0.1:0 --admin off --cores 1";
    let words = format!("serve --data {} {listen}", mount.data().display());
    let refused = Hulse::new(words.split(' ')).run();
    refused.refused(1, &["durable writes", "Free some room"]);
    fs::remove_file(filler).unwrap();
    broker.restart(1);
    assert_eq!(read(&broker, "small", "t"), b"one\ntwo\n");
}
