//! `hulse consume`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::{Bed, assert_exit, signal, stderr, stdout};

fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

/// A broker with a topic `t` of so many messages.
fn bed_with(messages: u32) -> Bed {
    let bed = Bed::new();
    assert_exit(
        &bed.feed(&["produce", "t"], numbers(0..messages).as_bytes()),
        0,
    );
    bed
}

#[test]
fn what_has_been_written_never_comes_again() {
    let bed = bed_with(10_000);
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert!(stdout(&output) == numbers(0..10_000));
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_count_is_exact_and_ends_within_a_batch() {
    let bed = bed_with(5_000);
    let mut next = 0;
    for count in [1, 7, 500, 1, 4_000] {
        let output = bed.run(&["consume", "t", "-s", "s", "--count", &count.to_string()]);
        assert_exit(&output, 0);
        assert!(
            stdout(&output) == numbers(next..next + count),
            "{count} from {next}"
        );
        next += count;
    }
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert!(stdout(&output) == numbers(next..5_000));
}

#[test]
fn an_empty_topic_is_at_its_end() {
    let bed = Bed::new();
    assert_exit(
        &bed.run(&["topic", "create", "empty", "--partitions", "3"]),
        0,
    );
    let output = bed.run(&["consume", "empty", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
}

#[test]
fn every_partition_is_read_to_its_end() {
    let bed = Bed::new();
    assert_exit(&bed.run(&["topic", "create", "p", "--partitions", "4"]), 0);
    let keyed: String = (0..2_000)
        .map(|number| format!("{}:{number}\n", number % 97))
        .collect();
    assert_exit(
        &bed.feed(&["produce", "p", "--key-separator", ":"], keyed.as_bytes()),
        0,
    );
    let output = bed.run(&["consume", "p", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    let mut seen: Vec<u32> = stdout(&output)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    seen.sort_unstable();
    assert!(seen == (0..2_000).collect::<Vec<_>>());
    let output = bed.run(&["consume", "p", "-s", "s", "--until-end"]);
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_new_subscription_may_begin_at_the_end() {
    let bed = bed_with(10);
    let output = bed.run(&["consume", "t", "-s", "s", "--from", "latest", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
    assert_exit(&bed.feed(&["produce", "t"], b"new\n"), 0);
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_eq!(stdout(&output), "new\n");
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let bed = bed_with(100);
    for _ in 0..2 {
        let arguments = ["consume", "t", "-s", "s", "--until-end", "--ack", "none"];
        let output = bed.run(&arguments);
        assert_exit(&output, 0);
        assert!(stdout(&output) == numbers(0..100));
    }
}

#[test]
fn progress_is_committed_by_itself_and_at_the_end() {
    let bed = bed_with(100);
    let auto = [
        "consume",
        "t",
        "-s",
        "s",
        "--ack",
        "auto",
        "--commit-interval",
        "60000",
    ];
    let output = bed.run(&[&auto[..], &["--count", "40"]].concat());
    assert_exit(&output, 0);
    let output = bed.run(&[&auto[..], &["--until-end"]].concat());
    assert_exit(&output, 0);
    assert!(stdout(&output) == numbers(40..100));
}

#[test]
fn json_has_ids_keys_and_bytes_that_are_no_text() {
    let bed = Bed::new();
    let input = b"k=text\n\xff\n";
    assert_exit(
        &bed.feed(&["produce", "j", "--key-separator", "="], input),
        0,
    );
    let output = bed.run(&["consume", "j", "-s", "s", "--until-end", "--json"]);
    assert_exit(&output, 0);
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], "1:0:-1:0");
    assert_eq!(
        (&lines[0]["key"], &lines[0]["payload"]),
        (&"k".into(), &"text".into())
    );
    assert_eq!(lines[1]["payload_hex"], "ff");
}

#[test]
fn an_interruption_acknowledges_what_has_been_written() {
    let bed = bed_with(100);
    let mut child = bed
        .command(&["consume", "t", "-s", "s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut written = String::new();
    for _ in 0..100 {
        lines.read_line(&mut written).unwrap();
    }
    assert!(written == numbers(0..100));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_exit(&bed.feed(&["produce", "t"], b"later\n"), 0);
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_eq!(stdout(&output), "later\n");
}

#[test]
fn an_interruption_ends_a_consumer_whose_reader_has_stopped_reading() {
    // More than a pipe and the consumer's own room hold together.
    let bed = Bed::new();
    let line = [&vec![b'x'; 100_000][..], b"\n"].concat();
    assert_exit(&bed.feed(&["produce", "t"], &line.repeat(50)), 0);
    let mut child = bed
        .command(&["consume", "t", "-s", "s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut first).unwrap();
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(pipe);
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert!(
        output.stdout == line.repeat(50),
        "nothing of what was cut off was acknowledged"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let bed = bed_with(200_000);
    let mut command = bed.command(&["consume", "t", "-s", "s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "0\n");
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_consumer_outlives_its_broker() {
    let mut bed = bed_with(1_000);
    let mut child = bed
        .command(&["consume", "t", "-s", "s", "--count", "1001"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut written = String::new();
    for _ in 0..1_000 {
        lines.read_line(&mut written).unwrap();
    }
    bed.broker.kill();
    let address = bed.broker.address.clone();
    bed.broker = crate::broker::Broker::start_at(&bed.dir.path().join("data"), &address);
    assert_exit(&bed.feed(&["produce", "t"], b"last\n"), 0);
    lines.read_to_string(&mut written).unwrap();
    assert!(written == numbers(0..1_000) + "last\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn progress_is_committed_every_interval() {
    let bed = bed_with(100);
    let arguments = [
        "consume",
        "t",
        "-s",
        "s",
        "--ack",
        "auto",
        "--commit-interval",
        "50",
    ];
    let mut child = bed
        .command(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let listed = bed.run(&["subscription", "list", "t", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let one = &listed["subscriptions"][0];
        if one["name"] == "s" && one["backlog_entries"] == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{listed}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "");
}

#[test]
fn the_end_is_found_where_others_have_acknowledged_out_of_order() {
    let bed = Bed::new();
    for line in ["a\n", "b\nc\n", "d\n"] {
        assert_exit(&bed.feed(&["produce", "t"], line.as_bytes()), 0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = hulse_client::Client::builder(&bed.broker.address)
            .connect()
            .await
            .unwrap();
        let consumer = client.consumer("t", "s").build().await.unwrap();
        for _ in 0..4 {
            let message = consumer.receive().await.unwrap();
            if [b"c", b"d"].contains(&message.value().first_chunk().unwrap()) {
                consumer.acknowledge(&message.message_id()).unwrap();
            }
        }
        consumer.close().await.unwrap();
    });
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "a\nb\n");
}
