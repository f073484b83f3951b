//! Goal: the words, numbers and files of the command line's contract, as scripts rely on them,
//! against whole brokers: exit statuses, exact counts, the ready line, what a stop leaves behind.
//!
//! Method: the program from outside, nothing else.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpStream};

use hulse_client::json::{BrokerStatus, SubscriptionList, TopicDescription, TopicList};
use hulse_tests::{Broker, Hulse, LIMIT, Ready, Serve, cores, get, metric, own_host, wait_until};
use rustix::process::Signal;

const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

/// `from..to`, a number a line.
fn numbers(from: u32, to: u32) -> Vec<u8> {
    (from..to)
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect()
}

#[test]
fn the_ready_line_says_where_everything_listens() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = Serve::new(&dir.path().join("data"), Ipv4Addr::LOCALHOST, cores(2));
    serve.listen.set_port(0);
    serve.admin.set_port(0);
    serve.flags = ["--broker", "b-1", "--region", "eu"]
        .map(str::to_owned)
        .to_vec();
    let mut running = Hulse::new(serve.words()).piped_output().start();
    let mut stdout = BufReader::new(running.stdout());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready = Ready::read(line.trim_end_matches('\n'));
    assert_eq!(
        (ready.broker.as_str(), ready.region.as_str()),
        ("b-1", "eu")
    );
    assert_eq!((ready.cores, ready.ack.as_str()), (cores(2), "disk"));
    for address in &ready.listen {
        assert!(address.port() > 0);
        TcpStream::connect(address).unwrap();
        // Each core answers for itself.
        let server = format!("hulse://{address}");
        let _ = Hulse::new(["topic", "list", "--server", &server])
            .run()
            .expect(0);
    }
    let admin = ready.admin.unwrap();
    assert_eq!(get(admin, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(admin, "/readyz"), (200, "ready\n".to_owned()));
    let status: BrokerStatus = serde_json::from_str(&get(admin, "/status").1).unwrap();
    assert_eq!((status.broker.as_str(), status.ready), ("b-1", true));
    assert!(metric(admin, "hulse_connections_accepted_total") > 0);
    assert_eq!(get(admin, "/nothing").0, 404);
    running.signal(Signal::TERM);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the ready line is the only one");
    let ended = running.finish().expect(0);
    let meaning = "An acknowledgement means: at `disk` (the default), synced on every member";
    assert!(ended.stderr.contains(meaning), "{}", ended.stderr);
}

#[test]
fn the_admin_port_can_be_off() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::new(&dir.path().join("data"), own_host(), 1);
    let mut words = serve.words();
    let at = words.iter().position(|word| word == "--admin").unwrap();
    "off".clone_into(&mut words[at + 1]);
    let mut running = Hulse::new(words).piped_output().start();
    let mut line = String::new();
    BufReader::new(running.stdout())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(Ready::read(line.trim_end()).admin, None);
    running.signal(Signal::TERM);
    let _ = running.finish().expect(0);
}

#[test]
fn every_failure_has_its_exit_status() {
    let broker = Broker::start(cores(1));
    let _ = Hulse::to(&broker, "describe nothing").run().expect(2);
    Hulse::to(&broker, "topic describe nothing")
        .run()
        .refused(1, &["TOPIC_NOT_FOUND", "nothing"]);
    Hulse::to(&broker, "topic delete nothing")
        .run()
        .refused(1, &["TOPIC_NOT_FOUND"]);
    Hulse::to(&broker, "topic describe a/b")
        .run()
        .refused(2, &["a/b"]);
    Hulse::to(&broker, "explain nothing nobodys")
        .run()
        .refused(1, &["TOPIC_NOT_FOUND"]);
    Hulse::to(&broker, "topic grow nothing --partitions 4")
        .run()
        .refused(1, &["TOPIC_NOT_FOUND", "nothing"]);
    Hulse::to(&broker, "cluster health")
        .run()
        .refused(2, &["not available yet"]);
    let nobody = format!("topic list --server hulse://{}", own_host());
    Hulse::new(nobody.split(' '))
        .run()
        .refused(3, &["cannot reach a server", "hulse serve"]);
    let produce = format!(
        "produce orders --timeout 0.2 --server hulse://{}",
        own_host()
    );
    let _ = Hulse::new(produce.split(' ')).input(b"x\n").run().expect(3);

    let mut waiting = Hulse::to(&broker, "consume orders -s x").start();
    wait_until("the consumer is there", LIMIT, || {
        let topic = broker.describe("orders")?;
        (topic.partitions[0].consumers == 1).then_some(())
    });
    assert!(waiting.runs());
    waiting.signal(Signal::INT);
    let _ = waiting.finish().expect(130);
}

#[test]
fn every_kind_of_line_is_a_message_and_comes_out_the_same() {
    let broker = Broker::start(cores(2));
    let longest = [vec![b'x'; MESSAGE_BYTES_MAX], b"\n".to_vec()].concat();
    let cases: [&[u8]; 8] = [
        b"",
        b"\n",
        b"\n\n\n",
        b"a",
        b"a\n\nb",
        b"a\r\nb\r",
        b"\xff\xfe\0\n\xc3",
        &longest,
    ];
    for (number, input) in cases.into_iter().enumerate() {
        let lines = input.split_inclusive(|byte| *byte == b'\n').count();
        let produced = Hulse::to(&broker, &format!("produce t{number}"))
            .input(input)
            .run()
            .expect(0);
        let summary = produced.summary();
        assert_eq!(
            (summary.acked, summary.failed),
            (lines as u64, 0),
            "{number}"
        );
        if lines == 0 {
            assert_eq!((summary.first.as_str(), summary.last.as_str()), ("-", "-"));
        } else {
            assert!(summary.first.ends_with(":0:-1:0"), "{summary:?}");
        }
        let mut expected = input.to_vec();
        if !input.is_empty() && !input.ends_with(b"\n") {
            expected.push(b'\n');
        }
        let consume = format!("consume t{number} -s s --until-end");
        assert!(
            Hulse::to(&broker, &consume).done() == expected,
            "case {number}"
        );
        assert_eq!(Hulse::to(&broker, &consume).done(), b"", "case {number}");
    }
}

#[test]
fn a_line_over_the_limit_is_named_and_what_came_before_it_is_stored() {
    let broker = Broker::start(cores(1));
    let input = [
        b"one\n\n".to_vec(),
        vec![b'x'; MESSAGE_BYTES_MAX + 1],
        b"\nfour\n".to_vec(),
    ]
    .concat();
    let produced = Hulse::to(&broker, "produce big")
        .input(&input)
        .run()
        .expect(1);
    let summary = produced.summary();
    assert_eq!((summary.acked, summary.failed), (2, 1));
    produced.refused(1, &["line 3 is over the limit"]);
    assert_eq!(
        Hulse::to(&broker, "consume big -s s --until-end").done(),
        b"one\n\n"
    );
}

#[test]
fn counts_are_exact_in_the_middle_of_batches_and_over_restarts() {
    let mut broker = Broker::start(cores(2));
    // One batch of 1,000 messages, and a few more.
    Hulse::to(&broker, "produce orders")
        .input(&numbers(0, 2_500))
        .done();
    let mut at = 0;
    for (round, count) in [1, 6, 700, 1, 1_000, 92].into_iter().enumerate() {
        let consume = format!("consume orders -s s --count {count}");
        let got = Hulse::to(&broker, &consume).done();
        assert!(got == numbers(at, at + count), "{count} from {at}");
        at += count;
        if round % 2 == 1 {
            broker.kill9();
            broker.restart(cores(1 + round % 3));
        }
    }
    assert!(Hulse::to(&broker, "consume orders -s s --until-end").done() == numbers(at, 2_500));
}

#[test]
fn an_interrupted_consumer_is_resumed_exactly() {
    let broker = Broker::start(cores(2));
    Hulse::to(&broker, "produce orders")
        .input(&numbers(0, 50_000))
        .done();
    let mut first = Hulse::to(&broker, "consume orders -s s")
        .piped_output()
        .start();
    let mut stdout = BufReader::new(first.stdout());
    let mut got = Vec::new();
    for _ in 0..20_000 {
        stdout.read_until(b'\n', &mut got).unwrap();
    }
    first.signal(Signal::INT);
    stdout.read_to_end(&mut got).unwrap();
    let _ = first.finish().expect(130);
    got.extend(Hulse::to(&broker, "consume orders -s s --until-end").done());
    assert!(
        got == numbers(0, 50_000),
        "a message is missing or comes twice"
    );
}

#[test]
fn a_topic_is_created_described_listed_and_deleted_with_its_files() {
    let mut broker = Broker::start(cores(2));
    let create = "topic create parts --partitions 3 --ack memory --json";
    let created: TopicDescription = Hulse::to(&broker, create).run().expect(0).json();
    assert_eq!(
        (created.partitions.len(), created.ack.as_str()),
        (3, "memory")
    );
    Hulse::to(&broker, create)
        .run()
        .refused(1, &["TOPIC_EXISTS"]);
    Hulse::to(&broker, "produce parts")
        .input(&numbers(0, 5_000))
        .done();
    Hulse::to(&broker, "produce other").input(b"kept\n").done();
    let described: TopicDescription = Hulse::to(&broker, "topic describe parts --json")
        .run()
        .expect(0)
        .json();
    assert_eq!(described.name, "persistent://public/default/parts");
    assert!((described.replication_factor - 1.0).abs() < f64::EPSILON);
    let mut got = Hulse::to(&broker, "consume parts -s s --until-end").done();
    got.sort_unstable();
    let mut sent = numbers(0, 5_000);
    sent.sort_unstable();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    let list: SubscriptionList = Hulse::to(&broker, "subscription list parts --json")
        .run()
        .expect(0)
        .json();
    assert_eq!(list.subscriptions.len(), 3);
    assert!(
        list.subscriptions
            .iter()
            .all(|one| one.backlog_entries == 0)
    );
    let listed: TopicList = Hulse::to(&broker, "topic list --json")
        .run()
        .expect(0)
        .json();
    let names = [
        "persistent://public/default/other",
        "persistent://public/default/parts",
    ];
    assert_eq!(listed.topics, names);

    let files: Vec<_> = described
        .partitions
        .iter()
        .map(|partition| broker.partition_dir(&partition.id))
        .collect();
    assert!(files.iter().all(|dir| dir.is_dir()));
    Hulse::to(&broker, "topic delete parts").done();
    wait_until("the files are gone", LIMIT, || {
        files.iter().all(|dir| !dir.exists()).then_some(())
    });
    Hulse::to(&broker, "topic describe parts")
        .run()
        .refused(1, &["TOPIC_NOT_FOUND"]);
    // The name is free: what comes to it is another topic, also after a crash.
    Hulse::to(&broker, "produce parts").input(b"new\n").done();
    broker.kill9();
    broker.restart(cores(1));
    assert_eq!(
        Hulse::to(&broker, "consume parts -s s --until-end").done(),
        b"new\n"
    );
    assert_eq!(
        Hulse::to(&broker, "consume other -s s --until-end").done(),
        b"kept\n"
    );
}

#[test]
fn an_empty_topic_is_at_its_end() {
    let broker = Broker::start(cores(2));
    Hulse::to(&broker, "topic create empty --partitions 2").done();
    for topic in ["empty", "unknown"] {
        let consumed = Hulse::to(&broker, &format!("consume {topic} -s s --until-end")).done();
        assert_eq!(consumed, b"");
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_recover() {
    let mut broker = Broker::start(cores(2));
    Hulse::to(&broker, "topic create parts --partitions 4").done();
    let mut written = 0;
    for round in 0..3 {
        Hulse::to(&broker, "produce parts")
            .input(&numbers(0, 3_000))
            .done();
        Hulse::to(&broker, "produce plain")
            .input(&numbers(0, 3_000))
            .done();
        written += 3_000;
        let consumed = Hulse::to(&broker, "consume plain -s s --count 1000").done();
        assert!(consumed == numbers(0, 1_000) || round > 0);
        // A client that is there does not hinder the stop.
        let waiting = Hulse::to(&broker, "consume parts -s waiting --from latest").start();
        assert_eq!(broker.stop().code(), Some(0), "{}", broker.said());
        drop(waiting);
        let data = broker.data().display().to_string();
        let verified = Hulse::new(["log", "verify", &data]).run().expect(0);
        assert!(!verified.text().contains("note:"), "{}", verified.text());
        broker.restart(cores(1 + round % 2));
        assert!(!broker.said().contains("recovery:"), "{}", broker.said());
    }
    let all = Hulse::to(&broker, "consume parts -s all --until-end").done();
    assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), written);
}
