//! A disk that fails under a running broker.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use hulse_client::{Client, ClientError};
use hulse_tests::{
    Broker, Hulse, LIMIT, Stored, cores, get, message, read_all, read_json, segment, wait_until,
};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::volume::{Cut, Volume};

/// Length of what a disk loses at once.
const BLOCK: usize = 4096;

/// Sends messages of a producer that is named as its topic is, each with its receipt.
async fn send(broker: &Broker, topic: &str, messages: u64) {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let builder = client.producer(topic).name(topic).batch_messages(10);
    let producer = builder.build().await.unwrap();
    for number in 0..messages {
        let handle = producer.send(&message::value(topic, number)).await;
        drop(handle.unwrap());
    }
    producer.close().await.unwrap();
}

/// Receives these messages, which nobody may acknowledge any more.
async fn receive(broker: &Broker, topic: &str, messages: u64) {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let consumer = client.consumer(topic, "reader").build().await.unwrap();
    for number in 0..messages {
        let received = timeout(LIMIT, consumer.receive()).await;
        let received = received.expect("a message").unwrap();
        assert!(received.value() == message::value(topic, number).as_bytes());
    }
}

#[test]
fn a_disk_that_takes_no_writes_any_more_still_gives_what_was_durable() {
    const MESSAGES: u64 = 100;
    let volume = Volume::with_bytes(256 << 20);
    let mut broker = Broker::start_on(&volume.data(), cores(2));
    let runtime = Runtime::new().unwrap();
    for (topic, ack) in [("disk", "disk"), ("memory", "memory")] {
        Hulse::to(&broker, &format!("topic create {topic} --ack {ack}")).done();
        Hulse::to(&broker, &format!("consume {topic} -s reader --until-end")).done();
        runtime.block_on(send(&broker, topic, MESSAGES));
    }
    // What is at `memory` is synced by and by; until then a cut takes it.
    wait_until("everything is synced", LIMIT, || {
        let partition = broker.partition("memory");
        (partition.flushed == partition.log_end).then_some(())
    });

    // A file system that is shut down opens and maps no file; what is mapped can be read.
    for topic in ["disk", "memory"] {
        assert!(values(&read_all(&broker, topic, "witness")) == sent(topic, MESSAGES));
    }
    volume.cut_power(Cut::Nothing);
    for topic in ["disk", "memory"] {
        let refused = Hulse::to(&broker, &format!("produce {topic} --timeout 5"))
            .input(b"refused\n")
            .run();
        refused.refused(1, &["STORAGE_FAILED", "the broker's log says more"]);
        runtime.block_on(receive(&broker, topic, MESSAGES));
        let reason = broker.partition(topic).poisoned;
        let reason = reason.expect("the partition is fenced");
        assert!(reason.contains("Input/output error"), "{reason}");
        assert!(broker.said().contains("the partition is fenced"));
    }
    let _ = Hulse::to(&broker, "topic list").run().expect(0);
    let (status, reason) = get(broker.admin(), "/readyz");
    assert_eq!(status, 503, "{reason}");
    // The metadata store finds out when it is to be written, and answers nothing from then on.
    for command in ["topic create another --timeout 5", "topic list --timeout 5"] {
        let refused = Hulse::to(&broker, command).run();
        refused.refused(1, &["STORAGE_FAILED"]);
    }
    assert_eq!(get(broker.admin(), "/healthz").0, 200);

    // It stops in its time, and leaves no mark that would say that all is synced.
    let _ = broker.stop();
    volume.restore_power();
    broker.restart(1);
    assert_eq!(get(broker.admin(), "/readyz").0, 200);
    for topic in ["disk", "memory"] {
        let stored = read_all(&broker, topic, "check");
        assert!(
            values(&stored) == sent(topic, MESSAGES),
            "{topic}: {stored:?}"
        );
        Hulse::to(&broker, &format!("produce {topic}"))
            .input(b"after\n")
            .done();
        let after = Hulse::to(&broker, &format!("consume {topic} -s check --until-end")).done();
        assert_eq!(after, b"after\n");
    }
}

/// What was sent to a topic.
fn sent(topic: &str, messages: u64) -> Vec<String> {
    let numbers = 0..messages;
    numbers
        .map(|number| message::value(topic, number))
        .collect()
}

fn values(stored: &[Stored]) -> Vec<String> {
    stored.iter().map(|one| one.value.clone()).collect()
}

/// Cuts a file off behind its first `bytes` bytes.
fn cut_off(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

#[test]
fn a_page_that_cannot_be_read_ends_the_broker_with_a_word_and_is_refused_by_the_next() {
    const MESSAGES: u64 = 2_000;
    let mut broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    for topic in ["hurt", "well"] {
        Hulse::to(&broker, &format!("consume {topic} -s reader --until-end")).done();
        runtime.block_on(send(&broker, topic, MESSAGES));
    }
    // A later entry proves that everything before it was durable.
    Hulse::to(&broker, "produce hurt")
        .input(b"the end\n")
        .done();
    let mut hurt = read_all(&broker, "hurt", "witness");
    let dir = broker.partition_dir(&broker.partition("hurt").id);
    let path = segment::largest(&dir);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let whole = fs::read(&path).unwrap();
    let entries = segment::entries(&path);
    let lost = &entries[entries.len() / 2];
    cut_off(&path, lost.position as u64);

    // Nobody can read on, and the broker says so.
    let reading = async {
        let client = Client::builder(&broker.server()).connect().await?;
        let consumer = client.consumer("hurt", "reader").build().await?;
        // It comes back as often as it is let.
        timeout(Duration::from_secs(3), async {
            while consumer.receive().await.is_ok() {}
        })
        .await
        .ok();
        Ok::<_, ClientError>(())
    };
    runtime.block_on(reading).unwrap();
    let ended = broker.wait();
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()), "{ended}");
    let said = broker.said();
    let words: Vec<_> = said.lines().filter(|l| l.starts_with("hulse: ")).collect();
    assert_eq!(words.len(), 1, "{said}");
    assert!(words[0].contains("cannot be read (SIGBUS)"), "{said}");

    // The end of a log that was cut off is nowhere: its partition is not served, all others are.
    broker.restart(cores(1));
    let reason = broker.partition("hurt").poisoned.expect("it is not served");
    assert!(reason.contains(&name), "{reason}");
    let consume = "consume hurt -s reader --until-end --timeout 5";
    Hulse::to(&broker, consume)
        .run()
        .refused(1, &["STORAGE_FAILED", &name]);
    assert!(values(&read_all(&broker, "well", "reader")) == sent("well", MESSAGES));
    broker.kill9();

    // A copy of what can be read, with zeros for the block that cannot, has one damaged range.
    let mut copy = whole;
    let block = lost.position / BLOCK * BLOCK..(lost.position / BLOCK + 1) * BLOCK;
    copy[block].fill(0);
    fs::write(&path, copy).unwrap();
    broker.restart(cores(1));
    let partition = broker.partition("hurt");
    let [range] = partition.damaged[..] else {
        panic!("{:?}", partition.damaged)
    };
    assert!(
        (range.first..range.end).contains(&lost.header.offset.0),
        "{range:?}"
    );
    let finished = Hulse::to(&broker, "consume hurt -s reader --until-end --json").run();
    let mut got = read_json(&finished.stdout);
    finished.refused(1, &["are damaged", "hulse subscription seek"]);
    let seek = format!("subscription seek hurt reader --to 0:{}:-1:0", range.end);
    Hulse::to(&broker, &seek).done();
    got.extend(read_all(&broker, "hurt", "reader"));
    let refused = |one: &Stored| (range.first..range.end).contains(&one.id.offset.0);
    hurt.retain(|one| !refused(one));
    assert!(got == hurt, "{} of {}", got.len(), hurt.len());
    Hulse::to(&broker, "produce hurt").input(b"new\n").done();
    let new = Hulse::to(&broker, "consume hurt -s reader --until-end").done();
    assert_eq!(new, b"new\n");
}
