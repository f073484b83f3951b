//! What is stored in the end, compared with what everybody was told.

use std::collections::{BTreeMap, BTreeSet};

use hulse_client::MessageId;
use hulse_tests::{Broker, Stored, assert_no_gaps, message, read_all};

use crate::consumer::{Consumed, SUBSCRIPTION};
use crate::producer::Sent;

/// Compares what is stored in a topic with what its producers were told.
pub(crate) fn compare(topic: &str, stored: &[Stored], sent: &[&Sent]) {
    assert_no_gaps(topic, stored);
    let mut by_id = BTreeMap::new();
    let mut places: BTreeMap<(&str, u64), MessageId> = BTreeMap::new();
    let mut newest: BTreeMap<(&str, i32), u64> = BTreeMap::new();
    for Stored { id, value } in stored {
        let (producer, number) = message::read(value);
        by_id.insert(*id, (producer, number));
        if let Some(other) = places.insert((producer, number), *id) {
            panic!("message {number} of {producer} is stored twice: as {other} and as {id}");
        }
        if let Some(before) = newest.insert((producer, id.partition), number) {
            assert!(
                before < number,
                "{producer}: {number} comes after {before} in {topic}"
            );
        }
    }
    let mut unknown = 0;
    for sent in sent {
        let producer = sent.producer.as_str();
        for (number, id) in (0..).zip(&sent.messages) {
            let Some(id) = id else {
                unknown += usize::from(places.contains_key(&(producer, number)));
                continue;
            };
            match by_id.get(id) {
                None => {
                    panic!("message {number} of {producer} was acknowledged as {id} and is lost")
                }
                Some(found) => assert_eq!(*found, (producer, number), "{id} is another message"),
            }
        }
        let last = places
            .range((producer, 0)..=(producer, u64::MAX))
            .next_back();
        let last = last.map_or(0, |((_, number), _)| number + 1);
        assert!(
            last <= sent.messages.len() as u64,
            "{producer} never sent {last}"
        );
    }
    println!(
        "{topic}: {} stored, {unknown} of them without a receipt",
        stored.len()
    );
}

/// What a subscription's consumers have not acknowledged is still there for the next one, and
/// nothing else.
pub(crate) fn nothing_again(broker: &Broker, stored: &[Stored], consumed: &Consumed) {
    let topic = consumed.topic;
    let rest = read_all(broker, topic, SUBSCRIPTION);
    let rest: BTreeSet<MessageId> = rest.into_iter().map(|stored| stored.id).collect();
    let again: Vec<_> = rest.intersection(&consumed.receipted).collect();
    assert!(
        again.is_empty(),
        "{topic}: {again:?} came again after their receipts"
    );
    let missed = |id: &MessageId| !rest.contains(id) && !consumed.received.contains(id);
    let missed: Vec<_> = stored
        .iter()
        .map(|stored| stored.id)
        .filter(missed)
        .collect();
    assert!(
        missed.is_empty(),
        "{topic}: no consumer ever got {missed:?}"
    );
    let (received, receipted) = (consumed.received.len(), consumed.receipted.len());
    println!(
        "{topic}: {received} received under kills, {receipted} receipted, {} left",
        rest.len()
    );
}
