//! `hulse produce`.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::broker::{Bed, Broker, assert_exit, signal, stderr, stdout};

/// The last line on stderr.
fn summary(stderr: &str) -> &str {
    stderr.lines().last().unwrap_or_default()
}

#[test]
fn every_kind_of_line_comes_out_as_it_went_in() {
    let bed = Bed::new();
    let input = b"one\n\ntwo\r\n\n\nthree \xff\x00\xfe\nno line end";
    let output = bed.feed(&["produce", "lines"], input);
    assert_exit(&output, 0);
    let said = stderr(&output);
    assert!(
        summary(&said).starts_with("acked=7 failed=0 first=1:0:-1:0 last=1:"),
        "{said}"
    );
    assert_eq!(stdout(&output), "");
    let output = bed.run(&["consume", "lines", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert_eq!(output.stdout, [&input[..], b"\n"].concat());
}

#[test]
fn an_empty_input_is_no_message() {
    let bed = Bed::new();
    let output = bed.feed(&["produce", "none", "--json"], b"");
    assert_exit(&output, 0);
    assert_eq!(summary(&stderr(&output)), "acked=0 failed=0 first=- last=-");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"acked": 0, "failed": 0, "first": null, "last": null})
    );
}

#[test]
fn a_line_over_the_limit_is_named_and_those_before_it_are_stored() {
    let bed = Bed::new();
    let input = [
        &b"a\nb\n"[..],
        &vec![b'x'; 5 * 1024 * 1024 + 1],
        b"\nafter\n",
    ]
    .concat();
    let output = bed.feed(&["produce", "long"], &input);
    assert_exit(&output, 1);
    let said = stderr(&output);
    assert!(
        said.contains("line 3 is over the limit of 5242880 bytes"),
        "{said}"
    );
    assert!(
        summary(&said).starts_with("acked=2 failed=1 first=1:0:-1:0 "),
        "{said}"
    );
    let input = [&vec![b'x'; 5 * 1024 * 1024][..], b"\n"].concat();
    assert_exit(&bed.feed(&["produce", "long"], &input), 0);
    let output = bed.run(&["consume", "long", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert!(output.stdout == [b"a\nb\n", &input[..]].concat());
}

#[test]
fn a_file_is_read_and_keys_are_split_off() {
    let bed = Bed::new();
    let path = bed.dir.path().join("input");
    std::fs::write(&path, "k1;a;b\nplain\n;empty key\n").unwrap();
    let arguments = [
        "produce",
        "keyed",
        "--file",
        path.to_str().unwrap(),
        "--key-separator",
        ";",
    ];
    assert_exit(&bed.run(&arguments), 0);
    let output = bed.run(&["consume", "keyed", "-s", "s", "--until-end", "--keys"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "k1\ta;b\n\tplain\n\tempty key\n");
    let output = bed.run(&["produce", "keyed", "--file", "/no/such/file"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("/no/such/file cannot be read"));
}

#[test]
fn a_rate_is_kept_to() {
    let bed = Bed::new();
    let started = std::time::Instant::now();
    assert_exit(
        &bed.feed(&["produce", "slow", "--rate", "100"], &b"x\n".repeat(31)),
        0,
    );
    // The first goes at once, the last 300 ms later.
    assert!(started.elapsed() >= std::time::Duration::from_millis(300));
}

#[test]
fn a_broker_that_is_killed_in_the_middle_costs_nothing() {
    let mut bed = Bed::new();
    let line = |number: u32| format!("line {number}\n");
    let half: String = (0..50_000).map(line).collect();
    let rest: String = (50_000..100_000).map(line).collect();
    let mut command = bed.command(&["produce", "through", "--producer", "p"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(half.as_bytes()).unwrap();
    // Some of the first half is stored and some is not.
    bed.broker.kill();
    let address = bed.broker.address.clone();
    bed.broker = Broker::start_at(&bed.dir.path().join("data"), &address);
    stdin.write_all(rest.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert!(
        summary(&stderr(&output)).starts_with("acked=100000 failed=0 "),
        "{output:?}"
    );
    let output = bed.run(&["consume", "through", "-s", "s", "--until-end"]);
    assert_exit(&output, 0);
    assert!(output.stdout == [half.as_bytes(), rest.as_bytes()].concat());
}

#[test]
fn an_interruption_ends_with_what_is_acknowledged() {
    let bed = Bed::new();
    let mut command = bed.command(&["produce", "cut"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    // Once another process can read both, both are acknowledged or about to be.
    assert_exit(&bed.run(&["consume", "cut", "-s", "s", "--count", "2"]), 0);
    signal(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 130);
    assert!(
        summary(&stderr(&output)).starts_with("acked=2 failed=0 "),
        "{output:?}"
    );
    drop(stdin);
}

#[test]
fn a_broker_that_stays_away_is_exit_three_and_the_summary_tells() {
    let mut bed = Bed::new();
    let mut command = bed.command(&["produce", "gone", "--timeout", "1"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    assert_exit(&bed.run(&["consume", "gone", "-s", "s", "--count", "1"]), 0);
    bed.broker.kill();
    stdin.write_all(b"two\nthree\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 3);
    assert_eq!(
        summary(&stderr(&output)),
        "acked=1 failed=2 first=1:0:-1:0 last=1:0:-1:0",
        "{output:?}"
    );
}
