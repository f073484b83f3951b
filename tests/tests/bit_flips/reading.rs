//! What a broker on damaged files serves and says.

use std::collections::BTreeSet;

use hulse_client::{Client, MessageId};
use hulse_tests::{Broker, Hulse, Stored, read_json};
use tokio::runtime::Runtime;

use crate::flip::Flip;
use crate::scene::{End, PRODUCER, SUBSCRIPTION, Scene};

/// Entries that are refused: partition, first, end.
type Range = (i32, u64, u64);

/// What reading a topic gives.
enum Reading {
    /// Its messages, but for the ranges that were refused.
    Served(Vec<Stored>, Vec<Range>),
    /// The topic is refused as a whole.
    Refused,
}

/// Compares everything with what there was. True when there is no difference, and none is
/// reported.
pub(crate) fn check(broker: &mut Broker, scene: &Scene, flip: &Flip) -> bool {
    let said = broker.said();
    let hurt = flip
        .partition()
        .and_then(|id| scene.partitions.get(&id).copied());
    let reports: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("recovery: "))
        .collect();
    for report in &reports {
        println!("  {report}");
    }
    let mut quiet = reports.is_empty();
    for (topic, expected) in &scene.topics {
        match read(broker, topic, "reader") {
            Reading::Refused => {
                let reason = reason(broker, topic);
                println!("  {topic} is refused: {reason}");
                assert_eq!(hurt, Some(*topic), "another topic is refused");
                assert!(flip.is_named_in(&reason), "{topic}: {reason}");
                quiet = false;
                continue;
            }
            Reading::Served(got, refused) => {
                assert!(
                    refused.is_empty() || hurt == Some(topic),
                    "{topic}: {refused:?} are refused"
                );
                quiet &= refused.is_empty();
                let torn = report(&reports, topic, "the log was not whole at its end");
                let torn = torn && hurt == Some(topic) && scene.end == End::Killed;
                compare(topic, expected, &got, &refused, torn);
                list_matches(broker, topic, &refused);
            }
        }
        write(broker, topic);
    }
    if quiet || hurt != Some("orders") {
        check_state(
            broker,
            scene,
            hurt == Some("orders") && flip.kind == "sibling",
        );
    } else {
        check_left_over(broker, scene, &reports);
    }
    broker.assert_alive();
    quiet
}

/// Whether recovery has said this of a topic.
fn report(reports: &[&str], topic: &str, what: &str) -> bool {
    let place = format!("/{topic}");
    let of_topic = reports.iter().filter(|report| report.contains(&place));
    of_topic.clone().any(|report| report.contains(what))
}

/// Reads a topic from its beginning, past whatever is refused.
fn read(broker: &Broker, topic: &str, subscription: &str) -> Reading {
    let consume = format!("consume {topic} -s {subscription} --until-end --json --timeout 5");
    let mut got = Vec::new();
    let mut refused = Vec::new();
    loop {
        let finished = Hulse::to(broker, &consume).run();
        got.extend(read_json(&finished.stdout));
        if finished.code == Some(0) {
            break;
        }
        let Some(range) = refused_range(&finished.stderr) else {
            assert!(finished.stderr.contains("STORAGE_FAILED"), "{finished:?}");
            finished.refused(1, &[]);
            return Reading::Refused;
        };
        finished.refused(1, &["are damaged", "hulse subscription seek"]);
        refused.push(range);
        assert!(refused.len() < 100, "{topic}: it never ends: {refused:?}");
        let (partition, _, end) = range;
        let seek = format!("subscription seek {topic} {subscription} --to 0:{end}:{partition}:0");
        Hulse::to(broker, &seek).done();
    }
    Reading::Served(got, refused)
}

/// The range that a sentence names.
fn refused_range(text: &str) -> Option<Range> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.windows(8).find_map(|words| match words {
        [
            "entries",
            first,
            "to",
            end,
            "(exclusive)",
            "of",
            "partition",
            number,
        ] => Some((*number, *first, *end)),
        _ => None,
    });
    let (number, first, end) = at?;
    Some((number.parse().ok()?, first.parse().ok()?, end.parse().ok()?))
}

/// Everything that is not refused is there, as it was, and nothing else. `torn` says that the last
/// round may be gone: it was reported so.
fn compare(topic: &str, expected: &[Stored], got: &[Stored], refused: &[Range], torn: bool) {
    let mut got = got.to_vec();
    // Of several partitions they come as they come.
    got.sort_by_key(|stored| stored.id.partition);
    let is_refused = |stored: &&Stored| {
        let id = stored.id;
        refused.iter().any(|(partition, first, end)| {
            *partition == id.partition && (*first..*end).contains(&id.offset.0)
        })
    };
    let mut expected: Vec<&Stored> = expected.iter().filter(|one| !is_refused(one)).collect();
    if torn {
        let whole = expected.clone();
        expected.retain(|one| got.iter().any(|got| got.id == one.id));
        let is_gone = |one: &&&Stored| !expected.iter().any(|kept| kept.id == one.id);
        let gone: Vec<_> = whole.iter().filter(is_gone).map(|one| one.id).collect();
        // Nothing follows the last round of a killed broker that would prove it: it goes from the
        // bad entry on, in one partition. The topic that ends in rounds of one message loses one.
        let first = gone.iter().min().copied();
        let behind = |id: &MessageId| {
            first.is_some_and(|first| id.partition == first.partition && *id >= first)
        };
        let behind = whole.iter().filter(|one| behind(&one.id)).count();
        assert_eq!(
            gone.len(),
            behind,
            "{topic}: {gone:?} are no end of a partition"
        );
        assert!(topic != "orders" || gone.len() <= 1, "{topic}: {gone:?}");
    }
    let same = got.len() == expected.len() && got.iter().eq(expected.iter().copied());
    let differs = got.iter().zip(&expected).find(|(got, one)| got != *one);
    assert!(
        same,
        "{topic}: {} messages in place of {}, the first difference: {differs:?}",
        got.len(),
        expected.len()
    );
}

/// The description of the topic names the ranges that were refused, and no other.
fn list_matches(broker: &Broker, topic: &str, refused: &[Range]) {
    let described = broker.describe(topic).expect("the topic is there");
    for partition in described.partitions {
        assert_eq!(partition.poisoned, None, "{topic}");
        let listed: Vec<_> = partition
            .damaged
            .iter()
            .map(|range| (partition.partition, range.first, range.end))
            .collect();
        let refused: Vec<_> = refused
            .iter()
            .filter(|range| range.0 == partition.partition)
            .copied()
            .collect();
        assert_eq!(listed, refused, "{topic}");
    }
}

/// Why a topic is refused.
fn reason(broker: &Broker, topic: &str) -> String {
    let described = broker.describe(topic).expect("the topic is there");
    let mut reasons = described.partitions.into_iter().filter_map(|p| p.poisoned);
    reasons.next().expect("a partition says why")
}

/// New messages are taken and delivered.
fn write(broker: &Broker, topic: &str) {
    Hulse::to(broker, &format!("produce {topic}"))
        .input(b"new\n")
        .done();
    let consume = format!("consume {topic} -s reader --until-end");
    assert_eq!(Hulse::to(broker, &consume).done(), b"new\n", "{topic}");
}

/// The producer and the subscription of `orders` go on where they were.
fn check_state(broker: &Broker, scene: &Scene, may_repeat: bool) {
    let last = Runtime::new().unwrap().block_on(last_sequence(broker));
    let left = left(broker, scene);
    if may_repeat {
        assert!(left.is_superset(&scene.left), "{left:?}");
    } else {
        assert!(left == scene.left, "{left:?}, not {:?}", scene.left);
    }
    assert_eq!(last, Some(scene.last_sequence));
}

/// What recovery could not read of the sibling log may be forgotten, when it says so; nothing that
/// was not acknowledged is passed over.
fn check_left_over(broker: &Broker, scene: &Scene, reports: &[&str]) {
    if !report(reports, "orders", "sibling log") {
        return;
    }
    let left = left(broker, scene);
    let missing: Vec<_> = scene.left.difference(&left).collect();
    assert!(missing.is_empty(), "{missing:?} are passed over");
}

fn left(broker: &Broker, scene: &Scene) -> BTreeSet<MessageId> {
    let Reading::Served(got, refused) = read(broker, "orders", SUBSCRIPTION) else {
        panic!("orders is refused");
    };
    assert!(refused.is_empty(), "{refused:?}");
    let known: BTreeSet<_> = scene.topics["orders"].iter().map(|one| one.id).collect();
    // But for the new one.
    let left: BTreeSet<_> = got.into_iter().map(|one| one.id).collect();
    left.intersection(&known).copied().collect()
}

async fn last_sequence(broker: &Broker) -> Option<u64> {
    let client = Client::builder(&broker.server()).connect().await.unwrap();
    let producer = client.producer("orders").name(PRODUCER);
    producer.build().await.unwrap().last_sequence()
}
