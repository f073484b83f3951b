//! What is stored in a topic, message by message.

use std::collections::BTreeMap;

use hulse_client::MessageId;

use crate::broker::Broker;
use crate::command::Hulse;
use crate::patience::LIMIT;

/// A message as it was stored, in the order in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: MessageId,
    /// Its value.
    pub value: String,
}

/// Reads what a subscription gets of a topic, to its end.
///
/// # Panics
/// When the command fails.
#[must_use]
pub fn read_all(broker: &Broker, topic: &str, subscription: &str) -> Vec<Stored> {
    let command = format!("consume {topic} -s {subscription} --until-end --json");
    let output = Hulse::to(broker, &command).within(LIMIT * 2).done();
    read_json(&output)
}

/// Reads what `hulse consume --json` has written.
///
/// # Panics
/// When it is something else.
#[must_use]
pub fn read_json(output: &[u8]) -> Vec<Stored> {
    let read = |line| {
        let json: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        let text = |name: &str| json[name].as_str().expect("text").to_owned();
        Stored {
            id: text("id").parse().expect("an id"),
            value: text("payload"),
        }
    };
    output
        .split_inclusive(|byte| *byte == b'\n')
        .map(read)
        .collect()
}

/// Asserts that every offset of every partition is there from 0, and every index of every batch.
///
/// # Panics
/// When one is missing.
pub fn assert_no_gaps(topic: &str, stored: &[Stored]) {
    let mut newest: BTreeMap<i32, MessageId> = BTreeMap::new();
    for Stored { id, .. } in stored {
        let follows = match newest.insert(id.partition, *id) {
            None => id.offset.0 == 0 && id.index == 0,
            Some(last) if last.offset == id.offset => id.index == last.index + 1,
            Some(last) => id.offset == last.offset.next() && id.index == 0 && id.term >= last.term,
        };
        assert!(follows, "{topic}: {id} does not follow what came before it");
    }
}
