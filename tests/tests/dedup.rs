//! Goal: what a producer sends again is stored once, and its receipt names the first id, whatever
//! has happened to the broker meanwhile.
//!
//! Method: frames by hand, so that the very same batch can be sent again at any time, over
//! reconnects, `kill -9` and clean stops, at both levels; and the client library for what programs
//! see of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use hulse_client::{Client, MessageId};
use hulse_model::Status;
use hulse_tests::{Broker, Hulse, Wire, cores};
use hulse_wire::Receipt;
use tokio::runtime::Runtime;

/// The batches that are sent: the first sequence number of each, and its messages.
const BATCHES: [(u64, &[&[u8]]); 4] = [
    (0, &[b"zero"]),
    (1, &[b"one", b"", b"three"]),
    (4, &[b"four", b"five"]),
    (6, &[b"six"]),
];

/// The sequence number behind the last batch.
const NEXT: u64 = 7;

/// What happens to the broker before everything is sent again.
#[derive(Debug, Clone, Copy)]
enum Between {
    Reconnect,
    Kill,
    Stop,
}

#[test]
fn a_batch_that_is_sent_again_gets_its_first_id() {
    for level in ["disk", "memory"] {
        let mut broker = Broker::start(cores(2));
        Hulse::to(&broker, &format!("topic create orders --ack {level}")).done();
        let mut wire = Wire::open_owner(broker.address(), "orders");
        let opened = wire.open_producer(1, "orders", "shop", None).unwrap();
        assert_eq!(opened.last, None);
        let send = |wire: &mut Wire| -> Vec<Receipt> {
            BATCHES
                .iter()
                .map(|(sequence, values)| wire.produce(1, *sequence, values).unwrap())
                .collect()
        };
        let first = send(&mut wire);
        assert!(
            first
                .iter()
                .all(|receipt| !receipt.duplicate && receipt.id.is_some())
        );
        let again = send(&mut wire);
        check_again(level, &first, &again);

        let mut epoch = opened.epoch;
        for between in [
            Between::Reconnect,
            Between::Kill,
            Between::Kill,
            Between::Stop,
        ] {
            match between {
                Between::Reconnect => {}
                Between::Kill => broker.kill9(),
                Between::Stop => assert_eq!(broker.stop().code(), Some(0)),
            }
            if !matches!(between, Between::Reconnect) {
                broker.restart(cores(1));
            }
            wire = Wire::open_owner(broker.address(), "orders");
            let opened = wire.open_producer(1, "orders", "shop", None).unwrap();
            assert!(opened.epoch > epoch, "{level}, {between:?}");
            epoch = opened.epoch;
            let last = opened.last.expect("something is stored");
            let newest = first.last().unwrap();
            assert_eq!(last.sequence, NEXT - 1, "{level}, {between:?}");
            assert_eq!(
                Some((last.term, last.offset)),
                newest.id,
                "{level}, {between:?}"
            );
            let again = send(&mut wire);
            check_again(&format!("{level}, {between:?}"), &first, &again);
            assert_eq!(
                broker.partition("orders").high_watermark,
                BATCHES.len() as u64
            );
        }

        // What is new is still taken for new.
        let next = wire.produce(1, NEXT, &[b"seven"]).unwrap();
        assert!(!next.duplicate);
        let lines = Hulse::to(&broker, "consume orders -s all --until-end").done();
        assert_eq!(lines, b"zero\none\n\nthree\nfour\nfive\nsix\nseven\n");
    }
}

fn check_again(when: &str, first: &[Receipt], again: &[Receipt]) {
    for (first, again) in first.iter().zip(again) {
        assert!(again.duplicate, "{when}: {again:?} was stored once more");
        let original = Receipt {
            duplicate: true,
            ..*first
        };
        assert_eq!(*again, original, "{when}");
    }
}

#[test]
fn a_gap_and_an_overlap_are_refused_and_store_nothing() {
    let mut broker = Broker::start(cores(1));
    for killed in [false, true] {
        if killed {
            broker.kill9();
            broker.restart(cores(2));
        }
        let mut wire = Wire::open_owner(broker.address(), "orders");
        let mut produce = |sequence, values: &[&[u8]]| {
            // A refusal may end the stream, so each batch has one of its own.
            wire.open_producer(1, "orders", "shop", None).unwrap();
            let answer = wire.produce(1, sequence, values);
            wire = Wire::open_owner(broker.address(), "orders");
            answer
                .map(|receipt| receipt.duplicate)
                .map_err(|refused| refused.status)
        };
        assert_eq!(produce(0, &[b"a", b"b"]), Ok(killed));
        assert_eq!(produce(4, &[b"e"]), Err(Status::SequenceGap));
        assert_eq!(
            produce(1, &[b"b", b"c", b"d"]),
            Err(Status::SequenceOverlap)
        );
        assert_eq!(produce(2, &[b"c"]), Ok(killed));
        assert_eq!(broker.partition("orders").high_watermark, 2);
    }
}

#[test]
fn the_newest_producer_of_a_name_takes_over_for_good() {
    let mut broker = Broker::start(cores(2));
    let mut old = Wire::open_owner(broker.address(), "orders");
    let epoch = old.open_producer(1, "orders", "shop", None).unwrap().epoch;
    old.produce(1, 0, &[b"old"]).unwrap();

    let mut new = Wire::open_owner(broker.address(), "orders");
    let opened = new.open_producer(1, "orders", "shop", None).unwrap();
    assert_eq!(opened.last.map(|last| last.sequence), Some(0));
    new.produce(1, 1, &[b"new"]).unwrap();
    // The old one is told so, be it at its next batch or before.
    let told = old.produce(1, 1, &[b"too late"]).unwrap_err();
    assert_eq!(told.status, Status::ProducerFenced, "{}", told.message);

    for killed in [false, true] {
        if killed {
            broker.kill9();
            broker.restart(cores(1));
        }
        let mut old = Wire::open_owner(broker.address(), "orders");
        let told = old
            .open_producer(1, "orders", "shop", Some(epoch))
            .unwrap_err();
        assert_eq!(
            told.status,
            Status::ProducerFenced,
            "killed: {killed}: {}",
            told.message
        );
    }
    let lines = Hulse::to(&broker, "consume orders -s all --until-end").done();
    assert_eq!(lines, b"old\nnew\n");
}

#[test]
fn a_program_that_begins_again_gets_the_ids_of_its_first_life() {
    let mut broker = Broker::start(cores(2));
    let runtime = Runtime::new().unwrap();
    let first = runtime.block_on(send(&broker, 0, None));
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
    for round in 0..2 {
        broker.kill9();
        broker.restart(cores(1 + round));
        let again = runtime.block_on(send(&broker, 0, Some(99)));
        assert_eq!(again, first);
    }
    // Without a number of its own it goes on behind what is stored.
    let more = runtime.block_on(async {
        let client = Client::builder(&broker.server()).connect().await.unwrap();
        let producer = client
            .producer("orders")
            .name("shop")
            .build()
            .await
            .unwrap();
        assert_eq!(producer.last_sequence(), Some(99));
        let handle = producer.send("more").await.unwrap();
        assert_eq!(handle.sequence(), 100);
        handle.await.unwrap()
    });
    assert!(!first.contains(&more));
    let lines = Hulse::to(&broker, "consume orders -s all --until-end").done();
    assert_eq!(lines.split(|byte| *byte == b'\n').count() - 1, 101);
}

/// Sends a hundred messages whose numbers begin at `from`. Gives their ids.
async fn send(broker: &Broker, from: u64, stored: Option<u64>) -> Vec<MessageId> {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let builder = client
        .producer("orders")
        .name("shop")
        .initial_sequence(from);
    // Each message a batch of its own: how larger ones are cut depends on the time, and the id of a
    // batch that is cut otherwise the second time is not remembered.
    let producer = builder.linger(Duration::ZERO).build().await.unwrap();
    assert_eq!(producer.last_sequence(), stored);
    let mut handles = Vec::new();
    for number in 0..100 {
        handles.push(producer.send(&format!("message {number}")).await.unwrap());
    }
    let mut ids = Vec::new();
    for handle in handles {
        ids.push(handle.await.unwrap());
    }
    producer.close().await.unwrap();
    ids
}
