//! Goal: a partition that nobody uses takes no descriptor of the process, so that ten thousand of them
//! fit where a few files may be open; and a broker that may open no more refuses for a while, and
//! loses nothing.
//!
//! Method: frames by hand on one connection, and the descriptors that the system lists for the
//! broker, whose limit is changed while it runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hulse_model::Status;
use hulse_tests::{Broker, Hulse, LIMIT, Refused, Wire, wait_until};
use hulse_wire::{Lookup, Receipt, Reply, Request};

/// Topics without partitions.
const TOPICS: u32 = 300;

fn topic(number: u32) -> String {
    format!("topic-{number}")
}

fn create(wire: &mut Wire, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let request = Request::Lookup(Lookup {
            topic: topic(number).parse().unwrap(),
            create_missing: true,
        });
        wire.ask(0, &request, |reply| {
            assert!(matches!(reply, Reply::Located(_)), "{reply:?}");
        });
    }
}

/// Waits until no segment is open.
#[track_caller]
fn assert_segments_close(broker: &Broker) {
    wait_until("no segment is open", LIMIT, || {
        (broker.open_segments() == 0).then_some(())
    });
}

/// Sends one message to each topic, again for as long as it is refused for the time being. The
/// streams are the numbers of the topics and one. Says how often it was refused.
fn send_to_all(wire: &mut Wire, sequence: u64) -> u32 {
    let mut refused = 0;
    for number in 0..TOPICS {
        let text = format!("message {sequence} of {}", topic(number));
        wait_until("the message is stored", LIMIT, || {
            match wire.produce(number + 1, sequence, &[text.as_bytes()]) {
                Ok(Receipt { duplicate, .. }) => {
                    assert!(!duplicate);
                    Some(())
                }
                Err(refusal) => {
                    assert_out_of_files(&refusal);
                    refused += 1;
                    None
                }
            }
        });
    }
    refused
}

#[track_caller]
fn assert_out_of_files(refusal: &Refused) {
    assert_eq!(refusal.status, Status::OverLimit, "{refusal:?}");
    assert!(refusal.message.contains("ulimit -n"), "{refusal:?}");
}

#[test]
fn idle_partitions_hold_no_descriptors() {
    let mut broker = Broker::start(1);
    let mut wire = Wire::open(broker.address());
    create(&mut wire, 0..10);
    assert_segments_close(&broker);
    let (_, before) = broker.descriptors();
    create(&mut wire, 10..TOPICS);
    wait_until("three hundred take no more than ten", LIMIT, || {
        (broker.descriptors().1 <= before).then_some(())
    });

    for number in 0..TOPICS {
        let opened = wire.open_producer(number + 1, &topic(number), "tests", None);
        assert_eq!(opened.unwrap().last, None);
    }
    assert_eq!(send_to_all(&mut wire, 0), 0, "the limit is far away");
    assert!(broker.open_segments() > 0, "what is used is open");
    assert_segments_close(&broker);

    // Fewer than there are partitions, and some connections beside.
    let (sockets, files) = broker.descriptors();
    broker.set_descriptors_max(sockets + files + 40);
    let refused = send_to_all(&mut wire, 1);
    println!("{refused} refusals with 40 descriptors for {TOPICS} partitions");
    assert_segments_close(&broker);

    // None at all: the connection that is there is all there is.
    broker.set_descriptors_max(0);
    let refusal = wire.produce(1, 2, &[b"message 2 of topic-0"]).unwrap_err();
    assert_out_of_files(&refusal);
    broker.assert_alive();
    broker.set_descriptors_max(sockets + files + TOPICS as usize * 2);
    assert_eq!(send_to_all(&mut wire, 2), 0);
    drop(wire);
    assert_eq!(broker.status().cores[0].poisoned, 0);

    broker.kill9();
    broker.restart(1);
    assert_segments_close(&broker);
    for number in [0, 7, TOPICS - 1] {
        let line = format!("consume {} -s s --until-end", topic(number));
        let found = String::from_utf8(Hulse::to(&broker, &line).done()).unwrap();
        let sent: Vec<_> = (0..3)
            .map(|sequence| format!("message {sequence} of {}", topic(number)))
            .collect();
        assert_eq!(found.lines().collect::<Vec<_>>(), sent);
    }
    assert_segments_close(&broker);
    broker.stop();
}
