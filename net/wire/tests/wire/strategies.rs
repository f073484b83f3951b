//! Generators of legal requests and replies. What they borrow is leaked: a few kilobytes in a test.

use std::fmt::Debug;
use std::str::FromStr;

use hulse_model::delayed::DUE_TIME_BYTES;
use hulse_model::limits::{
    CONSUMER_PERMITS_MAX, ENTRY_MESSAGES_MAX, POLICY_VALUE_MAX, TOPIC_PARTITIONS_MAX,
};
use hulse_model::{
    GroupId, NamespaceName, Offset, PartitionId, Permission, Policy, PolicyChange, Position,
    ProducerName, Scope, SubscriptionName, TenantName, Term, TopicName,
};
use hulse_wire::{
    ACK_RANGES_MAX, Access, Ack, AckKind, AckLevel, AckRange, Active, Admin, AdminDone, Beacons,
    CreateTopic, Deliver, ErrorReply, Hello, Last, LastMessage, LastStored, Located, Lookup,
    Moving, OpenProducer, POLICY_CHANGES_MAX, PartitionPlace, Permissions, Permits, Produce,
    ProducerOpened, RECEIPTS_MAX, REDELIVER_ENTRIES_MAX, Receipt, Receipts, Redeliver, Reply,
    Request, Seek, SeekTo, StartFrom, StatusCode, Subscribe, Subscribed, SubscriptionRef,
    SubscriptionType, Tenancy, Welcome,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn parsed<T: FromStr>(text: &str) -> T
where
    T::Err: Debug,
{
    text.parse().expect("the pattern makes legal names only")
}

fn text() -> impl Strategy<Value = &'static str> {
    "[a-zA-Z0-9 äπ🌟_.:-]{0,40}".prop_map(|text| &*text.leak())
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..300).prop_map(|bytes| &*bytes.leak())
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-z0-9_.=-]{3,20}/[a-z0-9]{1,20}/[a-zäπ+!$-]{1,60}".prop_map(|text| parsed(&text))
}

fn subscription() -> impl Strategy<Value = SubscriptionName> {
    "[ -~äπ]{1,80}".prop_map(|text| parsed(&text))
}

fn producer() -> impl Strategy<Value = ProducerName> {
    "[ -~äπ]{1,80}".prop_map(|text| parsed(&text))
}

fn partition() -> impl Strategy<Value = i32> {
    -1..i32::try_from(TOPIC_PARTITIONS_MAX).expect("small")
}

fn offset() -> impl Strategy<Value = Offset> {
    any::<u64>().prop_map(Offset)
}

fn position() -> impl Strategy<Value = Position> {
    (offset(), any::<u32>()).prop_map(|(offset, index)| Position { offset, index })
}

fn range() -> impl Strategy<Value = AckRange> {
    (offset(), any::<u32>(), any::<u32>()).prop_map(|(offset, one, other)| AckRange {
        offset,
        first_index: one.min(other),
        last_index: one.max(other),
    })
}

fn ranges(least: usize, most: usize) -> impl Strategy<Value = &'static [AckRange]> {
    // Mostly few, as in life, now and then up to the limit.
    let few = vec(range(), least..=most.min(8));
    let many = vec(range(), least..=most);
    prop_oneof![9 => few, 1 => many].prop_map(|ranges| &*ranges.leak())
}

fn ack() -> impl Strategy<Value = Ack<'static>> {
    prop_oneof![
        ranges(1, ACK_RANGES_MAX).prop_map(|ranges| Ack {
            kind: AckKind::Individual,
            ranges: ranges.into()
        }),
        ranges(1, 1).prop_map(|ranges| Ack {
            kind: AckKind::Cumulative,
            ranges: ranges.into()
        }),
    ]
}

fn produce() -> impl Strategy<Value = Produce<'static>> {
    let sequence = 0..=u64::MAX - u64::from(ENTRY_MESSAGES_MAX);
    (
        sequence,
        1..=ENTRY_MESSAGES_MAX,
        any::<bool>(),
        any::<bool>(),
        bytes(),
    )
        .prop_map(|(sequence, messages, skipped, delayed, payload)| Produce {
            sequence,
            messages,
            skipped,
            // What is too short for a time has none.
            delayed: delayed && payload.len() >= DUE_TIME_BYTES,
            payload,
        })
}

fn subscribe() -> impl Strategy<Value = Subscribe<'static>> {
    let kinds = [
        SubscriptionType::Exclusive,
        SubscriptionType::Failover,
        SubscriptionType::Shared,
        SubscriptionType::KeyShared,
    ];
    (
        topic(),
        partition(),
        subscription(),
        prop::sample::select(kinds.to_vec()),
        prop_oneof![
            Just(StartFrom::Earliest),
            Just(StartFrom::Latest),
            (offset(), any::<u32>())
                .prop_map(|(offset, index)| StartFrom::Position(Position { offset, index })),
        ],
        text(),
        0..=CONSUMER_PERMITS_MAX,
        any::<u8>(),
        (any::<u64>(), any::<bool>()),
    )
        .prop_map(
            |(
                topic,
                partition,
                subscription,
                kind,
                start,
                consumer,
                permits,
                priority,
                (member, durable),
            )| {
                Subscribe {
                    topic,
                    partition,
                    subscription,
                    kind,
                    start,
                    consumer,
                    permits,
                    priority,
                    member,
                    durable,
                }
            },
        )
}

fn last() -> impl Strategy<Value = Last> {
    let message = (any::<u64>(), offset(), any::<u32>());
    let message = message.prop_map(|(term, offset, index)| LastMessage {
        term: Term(term),
        offset,
        index,
    });
    (option::of(message), position(), offset()).prop_map(|(last, mark, high_watermark)| Last {
        last,
        mark,
        high_watermark,
    })
}

fn redeliver() -> impl Strategy<Value = Redeliver<'static>> {
    prop_oneof![9 => vec(offset(), 0..8), 1 => vec(offset(), 0..=REDELIVER_ENTRIES_MAX)].prop_map(
        |entries| Redeliver {
            entries: (&*entries.leak()).into(),
        },
    )
}

fn named_subscription() -> impl Strategy<Value = SubscriptionRef> {
    (topic(), partition(), subscription()).prop_map(|(topic, partition, subscription)| {
        SubscriptionRef {
            topic,
            partition,
            subscription,
        }
    })
}

fn seek_to() -> impl Strategy<Value = SeekTo> {
    prop_oneof![
        Just(SeekTo::Earliest),
        Just(SeekTo::Latest),
        position().prop_map(SeekTo::Position),
        any::<u64>().prop_map(SeekTo::Time),
    ]
}

fn create_topic() -> impl Strategy<Value = CreateTopic<'static>> {
    let regions = vec("[a-z]{1,12}".prop_map(|name| &*name.leak()), 0..6);
    let ack = prop::sample::select(vec![AckLevel::Default, AckLevel::Disk, AckLevel::Memory]);
    (
        topic(),
        0..=TOPIC_PARTITIONS_MAX,
        any::<u32>(),
        regions,
        ack,
        any::<u32>(),
    )
        .prop_map(
            |(topic, partitions, replicas, regions, ack, min_isr)| CreateTopic {
                topic,
                partitions,
                replicas,
                regions,
                ack,
                min_isr,
            },
        )
}

fn admin() -> impl Strategy<Value = Admin<'static>> {
    prop_oneof![
        create_topic().prop_map(Admin::CreateTopic),
        Just(Admin::ListTopics),
        Just(Admin::Status),
        topic().prop_map(|topic| Admin::DescribeTopic { topic }),
        topic().prop_map(|topic| Admin::DeleteTopic { topic }),
        (topic(), 0..=TOPIC_PARTITIONS_MAX)
            .prop_map(|(topic, partitions)| Admin::GrowTopic { topic, partitions }),
        topic().prop_map(|topic| Admin::ListSubscriptions { topic }),
        (topic(), subscription()).prop_map(|(topic, subscription)| Admin::DeleteSubscription {
            topic,
            subscription
        }),
        (any::<u128>(), any::<u32>()).prop_map(|(group, core)| Admin::MoveGroup {
            group: GroupId(group),
            core
        }),
        tenancy().prop_map(Admin::Tenancy),
    ]
}

fn namespace() -> impl Strategy<Value = NamespaceName> {
    "[a-z=:%@+~!$()0-9_-]{1,20}/[a-z]{1,20}".prop_map(|text| parsed(&text))
}

fn tenant() -> impl Strategy<Value = TenantName> {
    "[a-z=:%@+~!$()0-9_-]{1,20}".prop_map(|text| parsed(&text))
}

fn change() -> impl Strategy<Value = PolicyChange> {
    let policy = prop::sample::select(Policy::ALL.to_vec());
    (policy, option::of(1_000..=POLICY_VALUE_MAX))
        .prop_map(|(policy, value)| PolicyChange { policy, value })
}

fn permissions() -> impl Strategy<Value = Permissions> {
    let some = prop::sample::subsequence(Permission::ALL.to_vec(), 1..=3);
    (namespace(), "[a-zA-Z0-9 ä]{1,40}", some).prop_map(|(namespace, role, permissions)| {
        Permissions {
            namespace,
            role: parsed(&role),
            permissions,
        }
    })
}

fn tenancy() -> impl Strategy<Value = Tenancy> {
    let scope = || {
        prop_oneof![
            tenant().prop_map(Scope::Tenant),
            namespace().prop_map(Scope::Namespace),
            topic()
                .prop_filter("a whole topic", |topic| topic.split_partition().is_none())
                .prop_map(Scope::Topic),
        ]
    };
    prop_oneof![
        tenant().prop_map(Tenancy::CreateTenant),
        Just(Tenancy::ListTenants),
        tenant().prop_map(Tenancy::DeleteTenant),
        namespace().prop_map(Tenancy::CreateNamespace),
        option::of(tenant()).prop_map(Tenancy::ListNamespaces),
        namespace().prop_map(Tenancy::DeleteNamespace),
        (scope(), vec(change(), 0..=POLICY_CHANGES_MAX))
            .prop_map(|(scope, changes)| Tenancy::SetPolicies { scope, changes }),
        scope().prop_map(Tenancy::DescribePolicies),
        permissions().prop_map(Tenancy::GrantPermissions),
        permissions().prop_map(Tenancy::RevokePermissions),
        namespace().prop_map(Tenancy::ListPermissions),
    ]
}

fn hello() -> impl Strategy<Value = Hello<'static>> {
    (any::<u16>(), any::<u16>(), text(), any::<u32>()).prop_map(
        |(one, other, client, beacon_timeout_ms)| Hello {
            version_min: one.min(other),
            version_max: one.max(other),
            client,
            beacon_timeout_ms,
        },
    )
}

fn open_producer() -> impl Strategy<Value = OpenProducer> {
    (
        topic(),
        partition(),
        option::of(producer()),
        option::of(any::<u64>()),
        prop_oneof![
            Just(Access::Shared),
            Just(Access::Exclusive),
            Just(Access::Wait),
            Just(Access::Fencing)
        ],
        option::of(any::<u64>()),
    )
        .prop_map(
            |(topic, partition, name, epoch, access, access_epoch)| OpenProducer {
                topic,
                partition,
                name,
                epoch,
                access,
                access_epoch,
            },
        )
}

/// Any legal request, with a stream on which it may be sent.
pub(crate) fn request() -> impl Strategy<Value = (u32, u64, Request<'static>)> {
    let request = prop_oneof![
        hello().prop_map(Request::Hello),
        Just(Request::Ping),
        (topic(), any::<bool>()).prop_map(|(topic, create_missing)| {
            Request::Lookup(Lookup {
                topic,
                create_missing,
            })
        }),
        open_producer().prop_map(Request::OpenProducer),
        produce().prop_map(Request::Produce),
        Just(Request::Close),
        subscribe().prop_map(Request::Subscribe),
        (0..=CONSUMER_PERMITS_MAX).prop_map(|messages| Request::Permits(Permits { messages })),
        ack().prop_map(Request::Ack),
        redeliver().prop_map(Request::Redeliver),
        Just(Request::GetLast),
        (seek_to(), named_subscription()).prop_map(|(to, named)| Request::Seek(Seek {
            to,
            subscription: Some(named)
        })),
        admin().prop_map(Request::Admin),
    ];
    (1..=u32::MAX, 1..=u64::MAX, request).prop_map(|(stream, correlation, request)| {
        let stream = if request.kind().may_carry(stream, correlation) {
            stream
        } else {
            0
        };
        (stream, correlation, request)
    })
}

fn located() -> impl Strategy<Value = Located<'static>> {
    let place = (partition(), any::<u128>(), "[a-z0-9.]{1,60}:[0-9]{1,5}").prop_map(
        |(partition, id, address)| PartitionPlace {
            partition,
            id: PartitionId(id),
            address: &*address.leak(),
        },
    );
    (topic(), vec(place, 0..40)).prop_map(|(topic, places)| Located { topic, places })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let id = option::of((any::<u64>(), any::<u64>()));
    (any::<u64>(), any::<u32>(), id, any::<bool>()).prop_map(
        |(sequence, messages, id, duplicate)| Receipt {
            sequence,
            messages,
            id: id.map(|(term, offset)| (Term(term), Offset(offset))),
            duplicate,
        },
    )
}

fn receipts() -> impl Strategy<Value = Receipts<'static>> {
    prop_oneof![9 => vec(receipt(), 0..8), 1 => vec(receipt(), 0..=RECEIPTS_MAX)].prop_map(
        |receipts| Receipts {
            receipts: (&*receipts.leak()).into(),
        },
    )
}

fn error() -> impl Strategy<Value = ErrorReply<'static>> {
    // The numbers reach beyond those that this program knows.
    let numbers = (1..=u16::MAX, any::<u64>(), any::<u32>(), any::<u32>());
    let texts = (text(), text());
    (numbers, texts, any::<bool>(), offset(), offset()).prop_map(
        |(
            (status, sequence, messages, retry_after_ms),
            (message, address),
            appended,
            first,
            end,
        )| {
            ErrorReply {
                status: StatusCode(status),
                message,
                sequence,
                messages,
                retry_after_ms,
                appended,
                first_offset: first,
                end_offset: end,
                address,
            }
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome<'static>> {
    (1..=u16::MAX, text(), text(), any::<[u32; 5]>()).prop_map(
        |(version, broker, region, numbers)| Welcome {
            version,
            broker,
            region,
            beacons: Beacons {
                interval_ms: numbers[0],
                timeout_ms: numbers[1],
            },
            message_bytes_max: numbers[2],
            frame_bytes_max: numbers[3],
            inflight_max: numbers[4],
        },
    )
}

fn subscribed() -> impl Strategy<Value = Subscribed> {
    (position(), offset(), offset(), any::<bool>()).prop_map(
        |(mark, log_start, high_watermark, created)| Subscribed {
            mark,
            log_start,
            high_watermark,
            created,
        },
    )
}

fn producer_opened() -> impl Strategy<Value = ProducerOpened> {
    let last = option::of((any::<u64>(), any::<u64>(), offset()));
    let access = (any::<u64>(), any::<bool>());
    (producer(), any::<u64>(), last, access).prop_map(
        |(name, epoch, last, (access_epoch, waits))| ProducerOpened {
            name,
            epoch,
            last: last.map(|(sequence, term, offset)| LastStored {
                sequence,
                term: Term(term),
                offset,
            }),
            access_epoch,
            waits,
        },
    )
}

/// Any legal reply, with a stream on which it may be sent.
pub(crate) fn reply() -> impl Strategy<Value = (u32, u64, Reply<'static>)> {
    let deliver = (any::<u32>(), ranges(0, ACK_RANGES_MAX), bytes()).prop_map(
        |(redelivery_count, acked, entry)| Deliver {
            redelivery_count,
            acked: acked.into(),
            entry,
        },
    );
    let reply = prop_oneof![
        welcome().prop_map(Reply::Welcome),
        error().prop_map(Reply::Error),
        Just(Reply::Pong),
        Just(Reply::Probe),
        Just(Reply::Done),
        located().prop_map(Reply::Located),
        producer_opened().prop_map(Reply::ProducerOpened),
        receipts().prop_map(Reply::Receipts),
        Just(Reply::Closed),
        subscribed().prop_map(Reply::Subscribed),
        deliver.prop_map(Reply::Deliver),
        Just(Reply::Acked),
        any::<bool>().prop_map(|active| Reply::Active(Active { active })),
        "[!-~]{1,255}".prop_map(|address: String| {
            let address = address.leak();
            Reply::Moving(Moving { address })
        }),
        last().prop_map(Reply::Last),
        bytes().prop_map(|json| Reply::AdminDone(AdminDone { json })),
    ];
    (1..=u32::MAX, any::<u64>(), reply).prop_map(|(stream, correlation, reply)| {
        let stream = if reply.kind().may_carry(stream, correlation) {
            stream
        } else {
            0
        };
        (stream, correlation, reply)
    })
}
