//! `hulse serve`, `topic`, `subscription` and `bench`.

use serde_json::Value;

use crate::broker::{Bed, assert_exit, run, stderr, stdout};

fn json(bed: &Bed, arguments: &[&str]) -> Value {
    let output = bed.run(&[arguments, &["--json"]].concat());
    assert_exit(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_ready_line_is_the_contract_and_sigterm_stops_cleanly() {
    let mut bed = Bed::new();
    let address = &bed.broker.address;
    let ready = &bed.broker.ready;
    assert!(
        ready.starts_with(&format!("ready listen={address} admin=off broker=")),
        "{ready}"
    );
    assert!(
        ready.ends_with(" region=local cores=1 ack=disk\n"),
        "{ready}"
    );
    assert_eq!(bed.broker.stop(), Some(0));
}

#[test]
fn what_another_broker_uses_is_named() {
    let bed = Bed::new();
    let data = bed.dir.path().join("data").to_str().unwrap().to_owned();
    let other = bed.dir.path().join("other").to_str().unwrap().to_owned();
    let serve = |data: &str, listen: &str| {
        run(&[
            "serve", "--data", data, "--listen", listen, "--admin", "off", "--cores", "1",
        ])
    };
    let output = serve(&data, "127.0.0.1:0");
    assert_exit(&output, 1);
    assert!(
        stderr(&output).contains(&format!("{data} is in use")),
        "{output:?}"
    );
    let output = serve(&other, &bed.broker.address);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains(&bed.broker.address), "{output:?}");
    assert_eq!(stdout(&output), "", "it was never ready");
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let bed = Bed::new();
    let create = [
        "topic",
        "create",
        "orders",
        "--partitions",
        "2",
        "--ack",
        "memory",
    ];
    let output = bed.run(&create);
    assert_exit(&output, 0);
    assert_eq!(
        stdout(&output),
        "created persistent://public/default/orders\n"
    );
    let output = bed.run(&create);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("TOPIC_EXISTS"), "{output:?}");
    assert_eq!(
        stdout(&bed.run(&["topic", "list"])),
        "persistent://public/default/orders\n"
    );
    let described = json(&bed, &["topic", "describe", "orders"]);
    assert_eq!(described["ack"], "memory");
    assert_eq!(described["replication_factor"], 1.0);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 2);
    let text = stdout(&bed.run(&["topic", "describe", "orders"]));
    assert!(text.contains("R         1 (replicas / regions)"), "{text}");
    assert_exit(&bed.run(&["topic", "delete", "orders"]), 0);
    let output = bed.run(&["topic", "describe", "orders"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("TOPIC_NOT_FOUND"), "{output:?}");
    assert_eq!(
        json(&bed, &["topic", "list"])["topics"],
        serde_json::json!([])
    );
}

#[test]
fn what_the_broker_refuses_is_shown() {
    let bed = Bed::new();
    for arguments in [
        &["topic", "create", "a", "--replicas", "3"][..],
        &["topic", "create", "a", "--regions", "elsewhere"],
    ] {
        let output = bed.run(arguments);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
    let output = bed.run(&["topic", "describe", "two words"]);
    assert_exit(&output, 2);
}

#[test]
fn a_subscription_is_listed_moved_and_deleted() {
    let bed = Bed::new();
    assert_exit(&bed.feed(&["produce", "t"], b"a\nb\nc\n"), 0);
    let consume = ["consume", "t", "-s", "s", "--until-end"];
    assert_eq!(stdout(&bed.run(&consume)), "a\nb\nc\n");
    let listed = json(&bed, &["subscription", "list", "t"]);
    assert_eq!(listed["subscriptions"][0]["name"], "s");
    assert_eq!(listed["subscriptions"][0]["backlog_entries"], 0);
    let text = stdout(&bed.run(&["subscription", "list", "t", "s"]));
    assert!(text.contains("exclusive") && text.contains(" T"), "{text}");
    assert_eq!(
        stdout(&bed.run(&["subscription", "list", "t", "other"])),
        "no subscriptions\n"
    );
    for (place, again) in [
        ("earliest", "a\nb\nc\n"),
        ("1h", "a\nb\nc\n"),
        ("latest", ""),
    ] {
        let output = bed.run(&["subscription", "seek", "t", "s", "--to", place]);
        assert_exit(&output, 0);
        assert_eq!(stdout(&bed.run(&consume)), again, "{place}");
    }
    assert_exit(&bed.run(&["subscription", "delete", "t", "s"]), 0);
    let output = bed.run(&["subscription", "delete", "t", "s"]);
    assert_exit(&output, 1);
    assert!(
        stderr(&output).contains("SUBSCRIPTION_NOT_FOUND"),
        "{output:?}"
    );
}

#[test]
fn an_id_is_a_place() {
    let bed = Bed::new();
    assert_exit(&bed.feed(&["produce", "t"], b"a\nb\nc\nd\n"), 0);
    let output = bed.run(&["consume", "t", "-s", "s", "--until-end", "--json"]);
    let third: Value = serde_json::from_str(stdout(&output).lines().nth(2).unwrap()).unwrap();
    let id = third["id"].as_str().unwrap();
    assert_exit(&bed.run(&["subscription", "seek", "t", "s", "--to", id]), 0);
    assert_eq!(
        stdout(&bed.run(&["consume", "t", "-s", "s", "--until-end"])),
        "c\nd\n"
    );
}

#[test]
fn benchmarks_say_what_and_how_they_measured() {
    let bed = Bed::new();
    let produce = [
        "bench",
        "produce",
        "b",
        "--messages",
        "500",
        "--warmup",
        "0",
        "--size",
        "100",
    ];
    let open = json(&bed, &[&produce[..], &["--rate", "5000"]].concat());
    assert_eq!(
        (&open["loop"], &open["messages"]),
        (&"open".into(), &500.into())
    );
    assert_eq!(open["conditions"]["ack"], "disk");
    let latency = |name: &str| open["latency"][name].as_u64().unwrap();
    assert!(latency("p50_us") > 0 && latency("p50_us") <= latency("max_us"));
    assert!(open["sent_late"]["p99_us"].is_u64(), "{open}");
    let closed = bed.run(&[&produce[..], &["--producers", "3"]].concat());
    assert_exit(&closed, 0);
    let text = stdout(&closed);
    for part in [
        "closed loop, saturating",
        "ack=disk (synced)",
        "500 messages",
        "p99.99",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let consumed = json(&bed, &["bench", "consume", "b"]);
    assert_eq!(
        (&consumed["messages"], &consumed["bytes"]),
        (&1000.into(), &100_000.into())
    );
    assert_eq!(
        json(&bed, &["subscription", "list", "b"])["subscriptions"],
        serde_json::json!([])
    );
}
