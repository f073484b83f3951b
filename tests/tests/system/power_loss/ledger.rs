//! What producers and consumers were told, and whether it is so.

use std::collections::{BTreeMap, BTreeSet};

use hulse_client::MessageId;
use hulse_tests::{Broker, Stored, assert_no_gaps, message, read_all};

use super::load::SUBSCRIPTION;
use super::{Level, TOPICS};

/// What one producer has sent and was told, over all of its lives. Its messages are numbered as
/// their sequence numbers are, so that what is stored of it is a run of numbers from 0.
#[derive(Debug)]
pub(super) struct Produced {
    pub(super) topic: &'static str,
    pub(super) name: String,
    level: Level,
    /// By number: the id that its receipt named, if there is one.
    messages: Vec<Option<MessageId>>,
    /// How many of them were there when it was looked last.
    found: usize,
}

impl Produced {
    /// Takes note of what the broker says is stored under this name.
    pub(super) fn goes_on_behind(&mut self, last: Option<u64>) {
        let stored = last.map_or(0, |last| at(last) + 1);
        let (name, found) = (&self.name, self.found);
        assert_eq!(
            stored, found,
            "{name}: so many are stored as the broker says, and so many are there"
        );
        let lost = self.messages[stored..].iter().flatten().count();
        assert!(
            lost == 0 || self.level == Level::Memory,
            "{}: {lost} acknowledged messages are lost",
            self.name
        );
        self.messages.truncate(stored);
    }

    /// The number of the next message.
    pub(super) fn next(&mut self) -> u64 {
        self.messages.push(None);
        self.messages.len() as u64 - 1
    }

    pub(super) fn acknowledged(&mut self, number: u64, id: MessageId) {
        self.messages[at(number)] = Some(id);
    }

    /// Compares with what is stored of it: (number, id), in order.
    fn check(&mut self, stored: &[(u64, MessageId)]) -> usize {
        self.found = stored.len();
        let name = &self.name;
        for (expected, (number, id)) in (0..).zip(stored) {
            assert_eq!(*number, expected, "{name}: out of its order, at {id}");
            let told = self.messages[at(expected)];
            assert!(
                told.is_none_or(|told| told == *id),
                "message {number} of {name} is {id}, its receipt said {told:?}"
            );
        }
        let behind = self.messages.get(stored.len()..).unwrap_or_default();
        let lost = behind.iter().flatten().count();
        assert!(
            lost == 0 || self.level == Level::Memory,
            "{name}: {lost} acknowledged messages are lost behind the first {}",
            stored.len()
        );
        lost
    }
}

/// What the consumers of one topic were given and told, over all of their lives.
#[derive(Debug, Default)]
pub(super) struct Consumed {
    pub(super) topic: &'static str,
    /// Everything that was acknowledged, with or without an answer.
    asked: BTreeSet<MessageId>,
    /// What a receipt came for.
    receipted: BTreeSet<MessageId>,
}

impl Consumed {
    pub(super) fn received(&self, id: MessageId) {
        let topic = self.topic;
        assert!(
            topic != "disk" || !self.receipted.contains(&id),
            "{id} of {topic} came again after its receipt"
        );
    }

    pub(super) fn asked(&mut self, id: MessageId) {
        self.asked.insert(id);
    }

    pub(super) fn receipted(&mut self, id: MessageId) {
        self.receipted.insert(id);
    }
}

/// What everybody was told.
#[derive(Default)]
pub(super) struct Ledger {
    producers: BTreeMap<String, Produced>,
    consumers: BTreeMap<&'static str, Consumed>,
    checks: usize,
}

impl Ledger {
    /// Takes a producer out, to go on with it.
    pub(super) fn producer(
        &mut self,
        topic: &'static str,
        level: Level,
        number: usize,
    ) -> Produced {
        let name = format!("{topic}-{number}");
        self.producers.remove(&name).unwrap_or(Produced {
            topic,
            name,
            level,
            messages: Vec::new(),
            found: 0,
        })
    }

    /// Puts it back.
    pub(super) fn produced(&mut self, told: Produced) {
        self.producers.insert(told.name.clone(), told);
    }

    /// Takes the consumer of a topic out, to go on with it.
    pub(super) fn consumer(&mut self, topic: &'static str) -> Consumed {
        self.consumers.remove(topic).unwrap_or(Consumed {
            topic,
            ..Consumed::default()
        })
    }

    /// Puts it back.
    pub(super) fn consumed(&mut self, told: Consumed) {
        self.consumers.insert(told.topic, told);
    }

    /// Compares everything with what the broker has.
    pub(super) fn check(&mut self, broker: &Broker) {
        self.checks += 1;
        for (topic, level) in TOPICS {
            let partition = broker.partition(topic);
            assert_eq!(partition.poisoned, None, "{topic}");
            assert!(partition.damaged.is_empty(), "{topic}: {partition:?}");
            // One that has not read anything yet.
            let stored = read_all(broker, topic, &format!("check-{}", self.checks));
            let lost = self.check_stored(topic, &stored);
            let left = self.check_subscription(broker, topic, level, &stored);
            println!(
                "{topic}: {} stored, {lost} acknowledged and lost so far, {left} left to consume",
                stored.len()
            );
        }
    }

    /// Every message is one that was sent, once, in its producer's order, under its id. Gives how
    /// many of those that were acknowledged are gone.
    fn check_stored(&mut self, topic: &str, stored: &[Stored]) -> usize {
        assert_no_gaps(topic, stored);
        let mut by_producer: BTreeMap<&str, Vec<(u64, MessageId)>> = BTreeMap::new();
        for Stored { id, value } in stored {
            let (producer, number) = message::read(value);
            by_producer.entry(producer).or_default().push((number, *id));
        }
        let of_topic = self
            .producers
            .values_mut()
            .filter(|told| told.topic == topic);
        let lost = of_topic.map(|told| {
            let stored = by_producer.remove(told.name.as_str());
            told.check(&stored.unwrap_or_default())
        });
        let lost = lost.sum();
        assert!(by_producer.is_empty(), "{topic}: nobody has sent these");
        lost
    }

    /// Consumes what is left for the subscription. Gives how much that was.
    fn check_subscription(
        &mut self,
        broker: &Broker,
        topic: &'static str,
        level: Level,
        stored: &[Stored],
    ) -> usize {
        let told = self.consumers.get_mut(topic).expect("it had a consumer");
        let left: BTreeSet<MessageId> = read_all(broker, topic, SUBSCRIPTION)
            .into_iter()
            .map(|stored| stored.id)
            .collect();
        let again: Vec<_> = left.intersection(&told.receipted).collect();
        assert!(
            again.is_empty() || level == Level::Memory,
            "{topic}: {again:?} came again after their receipts"
        );
        // What nobody has acknowledged is there; whatever has no answer may be or not.
        let missing: Vec<_> = stored
            .iter()
            .map(|stored| stored.id)
            .filter(|id| !left.contains(id) && !told.asked.contains(id))
            .collect();
        assert!(
            missing.is_empty(),
            "{topic}: {missing:?} were never acknowledged and do not come"
        );
        told.asked.extend(&left);
        told.receipted.extend(&left);
        left.len()
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number).expect("it counts a vector's elements")
}
