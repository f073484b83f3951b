//! Control parts that were made to hurt, in frames that are otherwise sound: they end in an error,
//! or in a request that is legal, after a bounded amount of work, and never in a panic.

use flatbuffers::FlatBufferBuilder;
use hulse_model::{NameError, Status};
use hulse_schema as schema;
use hulse_wire::{
    Frame, FrameError, Kind, Reply, Request, Seek, SeekTo, TableFault, Violation, decode_frame,
    fuzz_frames,
};
use proptest::prelude::*;

use crate::samples;

/// What a field of four bytes is turned into: small and huge, of both signs, aligned and not.
const NASTY: [u32; 12] = [
    0,
    1,
    2,
    3,
    4,
    8,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    0xffff_ffff,
];

fn frame(kind: Kind, control: &[u8]) -> Frame<'_> {
    let (stream, correlation) = if kind.may_carry(1, 1) { (1, 1) } else { (0, 1) };
    Frame {
        payload_crc: None,
        kind,
        stream,
        correlation,
        control,
        payload: &[],
    }
}

/// Reads a control part as the kind that it may be. What can be read must be legal: then it can be
/// written and is the same after it has been read again.
fn survives(kind: Kind, control: &[u8]) {
    let frame = frame(kind, control);
    let mut out = Vec::new();
    if let Ok(request) = Request::decode(&frame) {
        request
            .encode(&mut out, frame.stream, frame.correlation)
            .expect("legal");
        let (again, _) = decode_frame(&out).expect("sound").expect("complete");
        assert_eq!(Request::decode(&again).expect("legal"), request);
    } else if let Ok(reply) = Reply::decode(&frame) {
        reply
            .encode(&mut out, frame.stream, frame.correlation)
            .expect("legal");
        let (again, _) = decode_frame(&out).expect("sound").expect("complete");
        assert_eq!(Reply::decode(&again).expect("legal"), reply);
    }
}

/// The kinds whose control part is a table, with a sound one.
fn tables() -> impl Iterator<Item = (Kind, Vec<u8>)> {
    samples::frames()
        .into_iter()
        .filter(|(kind, _)| kind.table().is_some())
        .map(|(kind, bytes)| {
            let (frame, _) = decode_frame(&bytes).expect("sound").expect("complete");
            (kind, frame.control.to_vec())
        })
}

#[test]
fn no_single_field_of_any_table_can_be_turned_into_a_weapon() {
    for (kind, sound) in tables() {
        for at in 0..sound.len() {
            let mut control = sound.clone();
            for byte in 0..=u8::MAX {
                control[at] = byte;
                survives(kind, &control);
            }
            let Some(field) = sound.get(at..at + 4) else {
                continue;
            };
            for nasty in NASTY {
                control.copy_from_slice(&sound);
                let value = u32::from_le_bytes(field.try_into().unwrap());
                for changed in [nasty, value.wrapping_add(nasty), value.wrapping_sub(nasty)] {
                    control[at..at + 4].copy_from_slice(&changed.to_le_bytes());
                    survives(kind, &control);
                }
            }
        }
    }
}

#[test]
fn a_table_that_is_cut_short_is_refused_or_legal() {
    for (kind, sound) in tables() {
        for length in 0..sound.len() {
            survives(kind, &sound[..length]);
        }
        let error = Request::decode(&frame(kind, &[])).err();
        let error = error.filter(|error| !matches!(error, FrameError::Unexpected { .. }));
        let error = error
            .or_else(|| Reply::decode(&frame(kind, &[])).err())
            .unwrap();
        let fault = TableFault::OutOfBounds;
        assert_eq!(
            error,
            FrameError::Table { kind, fault },
            "a table is not optional"
        );
        assert_eq!(error.status(), Status::MalformedFrame);
    }
}

#[test]
fn every_table_is_refused_as_every_other_or_legal() {
    for (_, control) in tables() {
        for kind in Kind::ALL {
            survives(*kind, &control);
        }
    }
}

/// A LOCATED whose list names one place `times` times: small in bytes, large to walk.
fn repeated_places(times: usize, address: &str) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let id = builder.create_string("000000000000000000000000000000ab");
    let address = builder.create_string(address);
    let args = schema::PartitionPlaceArgs {
        partition: 0,
        id: Some(id),
        address: Some(address),
    };
    let place = schema::PartitionPlace::create(&mut builder, &args);
    let places = builder.create_vector(&vec![place; times]);
    let topic = builder.create_string("orders");
    let args = schema::LocatedArgs {
        topic: Some(topic),
        places: Some(places),
    };
    let located = schema::Located::create(&mut builder, &args);
    builder.finish_minimal(located);
    builder.finished_data().to_vec()
}

#[test]
fn a_list_that_names_one_table_many_times_costs_bounded_work() {
    let kind = Kind::Located;
    let too_large = Err(FrameError::Table {
        kind,
        fault: TableFault::TooLarge,
    });
    let long = "x".repeat(30_000);
    assert_eq!(
        Reply::decode(&frame(kind, &repeated_places(8_000, &long))),
        too_large
    );
    assert_eq!(
        Reply::decode(&frame(kind, &repeated_places(8_000, "a:1"))),
        too_large
    );
    let many = repeated_places(3_000, "a:1");
    assert_eq!(Reply::decode(&frame(kind, &many)), too_large);
    assert_eq!(
        Reply::decode(&frame(kind, &repeated_places(1_024, &long))),
        too_large
    );
    let few = repeated_places(1_024, "a:1");
    assert!(
        Reply::decode(&frame(kind, &few)).is_ok(),
        "what is within bounds is not refused"
    );
}

#[test]
fn lists_over_their_limits_are_refused() {
    let mut builder = FlatBufferBuilder::new();
    let range = schema::AckRange::new(1, 0, 0);
    let ranges = builder.create_vector(&vec![range; 4_000]);
    let args = schema::AckArgs {
        kind: schema::AckKind::Individual,
        ranges: Some(ranges),
    };
    let ack = schema::Ack::create(&mut builder, &args);
    builder.finish_minimal(ack);
    let kind = Kind::Ack;
    let violation = Violation::TooMany {
        field: "ranges",
        count: 4_000,
        limit: 2_048,
    };
    let error = Request::decode(&frame(kind, builder.finished_data())).unwrap_err();
    assert_eq!(error, FrameError::Field { kind, violation });
    assert_eq!(error.status(), Status::InvalidArgument);
    assert!(!error.is_fatal(), "the connection goes on");

    builder.reset();
    let receipts = builder.create_vector(&vec![schema::Receipt::default(); 1_025]);
    let args = schema::ReceiptsArgs {
        receipts: Some(receipts),
    };
    let receipts = schema::Receipts::create(&mut builder, &args);
    builder.finish_minimal(receipts);
    let kind = Kind::Receipts;
    let violation = Violation::TooMany {
        field: "receipts",
        count: 1_025,
        limit: 1_024,
    };
    let error = Reply::decode(&frame(kind, builder.finished_data())).unwrap_err();
    assert_eq!(error, FrameError::Field { kind, violation });

    builder.reset();
    let entries = builder.create_vector(&[7_u64; 2_049]);
    let args = schema::RedeliverArgs {
        entries: Some(entries),
    };
    let redeliver = schema::Redeliver::create(&mut builder, &args);
    builder.finish_minimal(redeliver);
    let kind = Kind::Redeliver;
    let violation = Violation::TooMany {
        field: "entries",
        count: 2_049,
        limit: 2_048,
    };
    let error = Request::decode(&frame(kind, builder.finished_data())).unwrap_err();
    assert_eq!(error, FrameError::Field { kind, violation });
}

fn subscribe(
    edit: impl Fn(&mut FlatBufferBuilder<'static>, &mut schema::SubscribeArgs<'static>),
) -> FrameError {
    let mut builder = FlatBufferBuilder::new();
    let mut args = schema::SubscribeArgs {
        topic: Some(builder.create_string("orders")),
        subscription: Some(builder.create_string("billing")),
        consumer: Some(builder.create_string("worker")),
        ..schema::SubscribeArgs::default()
    };
    edit(&mut builder, &mut args);
    let table = schema::Subscribe::create(&mut builder, &args);
    builder.finish_minimal(table);
    Request::decode(&frame(Kind::Subscribe, builder.finished_data())).expect_err("illegal")
}

#[test]
fn fields_that_break_a_rule_refuse_the_request_and_not_the_connection() {
    let name = |field, source| Violation::Name { field, source };
    let range = |field, value| Violation::OutOfRange { field, value };
    let cases: Vec<(FrameError, Violation, Status)> = vec![
        (
            subscribe(|_, args| args.topic = None),
            Violation::Missing { field: "topic" },
            Status::InvalidArgument,
        ),
        (
            subscribe(|builder, args| args.topic = Some(builder.create_string("a b"))),
            name("topic", NameError::Character(' ')),
            Status::InvalidName,
        ),
        (
            subscribe(|builder, args| args.subscription = Some(builder.create_string(""))),
            name("subscription", NameError::Empty),
            Status::InvalidName,
        ),
        (
            subscribe(|builder, args| args.consumer = Some(builder.create_string("two\nlines"))),
            name("consumer", NameError::Character('\n')),
            Status::InvalidName,
        ),
        (
            subscribe(|builder, args| {
                args.consumer = Some(builder.create_string(&"x".repeat(256)));
            }),
            Violation::TooLong {
                field: "consumer",
                bytes: 256,
                limit: 255,
            },
            Status::InvalidArgument,
        ),
        (
            subscribe(|_, args| args.partition = -2),
            range("partition", -2),
            Status::InvalidArgument,
        ),
        (
            subscribe(|_, args| args.partition = 1_024),
            range("partition", 1_024),
            Status::InvalidArgument,
        ),
        (
            subscribe(|_, args| args.kind = schema::SubscriptionType(4)),
            range("kind", 4),
            Status::InvalidArgument,
        ),
        (
            subscribe(|_, args| args.start = schema::StartFrom(3)),
            range("start", 3),
            Status::InvalidArgument,
        ),
        (
            subscribe(|_, args| args.permits = 1_000_001),
            range("permits", 1_000_001),
            Status::InvalidArgument,
        ),
    ];
    for (error, violation, status) in cases {
        assert_eq!(
            error,
            FrameError::Field {
                kind: Kind::Subscribe,
                violation
            }
        );
        assert_eq!(error.status(), status, "{error}");
        assert!(!error.is_fatal(), "{error}");
    }
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    let mut builder = FlatBufferBuilder::new();
    let ranges = [
        schema::AckRange::new(1, 0, 0),
        schema::AckRange::new(1, 4, 3),
    ];
    let ranges = Some(builder.create_vector(&ranges));
    let args = schema::AckArgs {
        kind: schema::AckKind::Individual,
        ranges,
    };
    let ack = schema::Ack::create(&mut builder, &args);
    builder.finish_minimal(ack);
    let kind = Kind::Ack;
    let violation = Violation::OutOfRange {
        field: "first_index",
        value: 4,
    };
    assert_eq!(
        Request::decode(&frame(kind, builder.finished_data())),
        Err(FrameError::Field { kind, violation })
    );
}

#[test]
fn a_seek_must_say_whose_place_it_moves() {
    let mut builder = FlatBufferBuilder::new();
    let args = schema::SeekArgs {
        to: schema::SeekTo::Latest,
        ..schema::SeekArgs::default()
    };
    let seek = schema::Seek::create(&mut builder, &args);
    builder.finish_minimal(seek);
    let kind = Kind::Seek;
    let mut frame = frame(kind, builder.finished_data());
    let own = Seek {
        to: SeekTo::Latest,
        subscription: None,
    };
    assert_eq!(Request::decode(&frame), Ok(Request::Seek(own)));
    frame.stream = 0;
    let violation = Violation::Missing { field: "topic" };
    assert_eq!(
        Request::decode(&frame),
        Err(FrameError::Field { kind, violation })
    );
}

fn create_topic(partitions: u32, region: &str, ack: u8) -> Result<(), FrameError> {
    let mut builder = FlatBufferBuilder::new();
    let topic = Some(builder.create_string("orders"));
    let region = builder.create_string(region);
    let args = schema::AdminArgs {
        verb: schema::AdminVerb::CreateTopic,
        topic,
        partitions,
        regions: Some(builder.create_vector(&[region])),
        ack: schema::AckLevel(ack),
        ..schema::AdminArgs::default()
    };
    let admin = schema::Admin::create(&mut builder, &args);
    builder.finish_minimal(admin);
    Request::decode(&frame(Kind::Admin, builder.finished_data())).map(drop)
}

#[test]
fn a_topic_cannot_be_created_out_of_bounds() {
    let kind = Kind::Admin;
    let refused = |violation| Err(FrameError::Field { kind, violation });
    let range = |field, value| refused(Violation::OutOfRange { field, value });
    assert_eq!(create_topic(1_024, "north", 2), Ok(()));
    assert_eq!(create_topic(1_025, "north", 2), range("partitions", 1_025));
    assert_eq!(create_topic(1, "north", 3), range("ack", 3));
    assert_eq!(
        create_topic(1, "", 2),
        refused(Violation::Missing { field: "regions" })
    );
    let name = Violation::Name {
        field: "regions",
        source: NameError::Character('\t'),
    };
    assert_eq!(create_topic(1, "\t", 2), refused(name));
}

fn tenancy(verb: schema::AdminVerb, scope: &str, change: (u8, i64), bits: u8) -> FrameError {
    let mut builder = FlatBufferBuilder::new();
    let scope = Some(builder.create_string(scope));
    let role = Some(builder.create_string("app"));
    let (policy, value) = change;
    let change = schema::PolicyChange::new(value, policy, true);
    let args = schema::AdminArgs {
        verb,
        scope,
        role,
        policies: Some(builder.create_vector(&[change])),
        permissions: bits,
        ..schema::AdminArgs::default()
    };
    let admin = schema::Admin::create(&mut builder, &args);
    builder.finish_minimal(admin);
    Request::decode(&frame(Kind::Admin, builder.finished_data())).expect_err("it is refused")
}

#[test]
fn policies_and_permissions_cannot_be_out_of_bounds() {
    let kind = Kind::Admin;
    let refused = |violation| FrameError::Field { kind, violation };
    let range = |field, value| refused(Violation::OutOfRange { field, value });
    let set = schema::AdminVerb::SetPolicies;
    assert_eq!(tenancy(set, "a/b", (6, 1), 0), range("policy", 6));
    assert_eq!(tenancy(set, "a/b", (0, -2), 0), range("retention_ms", -2));
    assert_eq!(tenancy(set, "a/b", (4, 0), 0), range("rate_bytes_per_s", 0));
    let name = |source| {
        refused(Violation::Name {
            field: "scope",
            source,
        })
    };
    let shape = NameError::NamespaceShape;
    assert_eq!(tenancy(set, "a/b/c", (0, 1), 0), name(shape));
    let part = tenancy(set, "persistent://a/b/c-partition-1", (0, 1), 0);
    assert_eq!(part, name(NameError::Shape));
    let grant = schema::AdminVerb::GrantPermissions;
    assert_eq!(tenancy(grant, "a/b", (0, 1), 0), range("permissions", 0));
    assert_eq!(tenancy(grant, "a/b", (0, 1), 8), range("permissions", 8));
    assert_eq!(tenancy(grant, "a", (0, 1), 1), name(shape));
    assert!(!tenancy(grant, "a", (0, 1), 1).is_fatal());
}

#[test]
fn a_range_of_versions_cannot_be_upside_down() {
    let mut builder = FlatBufferBuilder::new();
    let args = schema::HelloArgs {
        version_min: 2,
        version_max: 1,
        ..schema::HelloArgs::default()
    };
    let hello = schema::Hello::create(&mut builder, &args);
    builder.finish_minimal(hello);
    let kind = Kind::Hello;
    let violation = Violation::OutOfRange {
        field: "version_min",
        value: 2,
    };
    assert_eq!(
        Request::decode(&frame(kind, builder.finished_data())),
        Err(FrameError::Field { kind, violation })
    );
}

#[test]
fn a_text_that_is_no_utf_8_is_no_table() {
    for (kind, sound) in tables().filter(|(kind, _)| *kind == Kind::Subscribe) {
        let at = sound
            .windows(7)
            .position(|text| text == b"billing")
            .unwrap();
        let mut control = sound;
        control[at] = 0xff;
        let error = Request::decode(&frame(kind, &control)).unwrap_err();
        assert_eq!(
            error,
            FrameError::Table {
                kind,
                fault: TableFault::Text
            }
        );
        assert!(error.is_fatal());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_frames(&bytes);
    }

    #[test]
    fn random_changes_of_sound_tables_never_panic(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut frames = samples::frames();
        let (kind, frame) = frames.swap_remove(sample.index(frames.len()));
        let (read, _) = decode_frame(&frame).unwrap().unwrap();
        let mut control = read.control.to_vec();
        for (index, byte) in changes.iter().filter(|_| !read.control.is_empty()) {
            let at = index.index(control.len());
            control[at] = *byte;
        }
        survives(kind, &control);
        let number = Kind::ALL.iter().position(|other| *other == kind).unwrap();
        let mut input = vec![u8::try_from(number).unwrap(), 3, 0xff, 0xff];
        input.extend_from_slice(&control);
        fuzz_frames(&input);
    }
}
