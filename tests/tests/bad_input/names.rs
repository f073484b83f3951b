//! Names that are not legal, and places that there are not.

use hulse_model::Status;
use hulse_tests::{Hulse, RawFrame, Wire};
use hulse_wire::{Admin, Lookup, Request};

use crate::bed::Bed;

#[test]
fn a_name_that_is_not_legal_is_refused_and_the_connection_lives_on() {
    let mut bed = Bed::new();
    let lookup = Lookup {
        topic: "aaaaaaaa".parse().unwrap(),
        create_missing: true,
    };
    let frame = RawFrame::of(&Request::Lookup(lookup), 0, 5);
    let bad = [
        "aaaa aaa",
        "aaaa\0aaa",
        "aaa/aaaa",
        "aaaa\naaa",
        "aaaaaaa\u{7f}",
        "a\tb\tc\td\t",
    ];
    let mut wire = Wire::open(bed.broker.address());
    for name in bad {
        wire.write(&frame.clone().with("aaaaaaaa", name).bytes())
            .unwrap();
        let told = wire.refusal();
        assert_eq!(
            told.status,
            Status::InvalidName,
            "{name:?}: {}",
            told.message
        );
    }
    // What is no text at all is no table.
    let mut bytes = frame.clone();
    let at = bytes
        .control
        .windows(8)
        .position(|part| part == b"aaaaaaaa")
        .unwrap();
    bytes.control[at] = 0xff;
    wire.write(&bytes.bytes()).unwrap();
    let told = wire.refusal();
    assert_eq!(told.status, Status::MalformedFrame, "{}", told.message);
    wire.assert_closed();
    let list: hulse_wire::json::TopicList = Wire::open(bed.broker.address())
        .admin(Admin::ListTopics)
        .unwrap();
    assert_eq!(list.topics, ["persistent://public/default/calm"]);
    bed.assert_unharmed();
}

#[test]
fn topics_in_absent_namespaces_are_not_found_and_not_made() {
    let mut bed = Bed::new();
    let broker = &bed.broker;
    for topic in [
        "persistent://public/absent/orders",
        "persistent://absent/default/orders",
    ] {
        for create_missing in [false, true] {
            let lookup = Lookup {
                topic: topic.parse().unwrap(),
                create_missing,
            };
            let mut wire = Wire::open(broker.address());
            wire.send(0, &Request::Lookup(lookup));
            let told = wire.refusal();
            assert_eq!(
                told.status,
                Status::TopicNotFound,
                "{topic}: {}",
                told.message
            );
        }
        let produce = Hulse::to(broker, &format!("produce {topic}"))
            .input(b"x\n")
            .run();
        produce.refused(1, &["TOPIC_NOT_FOUND", topic]);
        Hulse::to(broker, &format!("consume {topic} -s s"))
            .run()
            .refused(1, &["TOPIC_NOT_FOUND", topic]);
    }
    // The name of a topic's partition is no topic's to take.
    let list = Hulse::to(broker, "topic list").done();
    assert_eq!(list, b"persistent://public/default/calm\n");
    bed.assert_unharmed();
}

#[test]
fn what_does_not_exist_is_named() {
    let mut bed = Bed::new();
    let broker = &bed.broker;
    let cases = [
        ("topic describe nothing", "TOPIC_NOT_FOUND"),
        ("topic delete nothing", "TOPIC_NOT_FOUND"),
        ("subscription list nothing", "TOPIC_NOT_FOUND"),
        ("subscription delete calm nobody", "SUBSCRIPTION_NOT_FOUND"),
        (
            "subscription seek calm nobody --to earliest",
            "SUBSCRIPTION_NOT_FOUND",
        ),
        ("topic create calm", "TOPIC_EXISTS"),
    ];
    for (command, status) in cases {
        Hulse::to(broker, command).run().refused(1, &[status]);
    }
    bed.assert_unharmed();
}
