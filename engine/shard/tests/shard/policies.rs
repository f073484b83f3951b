//! Goal: policies hold for a partition that is open, from the moment on that they are set, and for what
//! a start finds: quotas hold back the producers and nobody else and let them go by themselves, what has
//! expired is acknowledged and nothing younger, and retention takes what nobody wants.
//! Method: one core, each policy by itself, before and after a kill.

use std::sync::Arc;

use hulse_log::sim::SimDisk;
use hulse_model::{Effective, PartitionId, Rate, Status};
use hulse_shard::{
    AckLevel, AckedMessages, Command, Handled, HeldBack, PartitionPolicies, RateLimit, Reply,
    ShardConfig, StreamKey,
};
use hulse_subscription::SubscriptionKind;

use crate::rim::{PARTITION, Rim, key, producer, spec, subscribe, subscribe_as, whole};

const OTHER: PartitionId = PartitionId(0x07e2);

fn effective(change: impl FnOnce(&mut Effective)) -> PartitionPolicies {
    let mut policies = PartitionPolicies::default();
    change(&mut policies.effective);
    policies
}

fn backlog(bytes: u64) -> PartitionPolicies {
    effective(|it| it.backlog_bytes = Some(bytes))
}

fn ttl(ms: u64) -> PartitionPolicies {
    effective(|it| it.ttl_ms = Some(ms))
}

fn messages_per_s(messages: u64) -> PartitionPolicies {
    let rate = Rate {
        bytes_per_s: None,
        messages_per_s: Some(messages),
    };
    let limit = RateLimit::new("acme".parse().unwrap(), rate);
    PartitionPolicies {
        rates: vec![Arc::new(limit)],
        ..PartitionPolicies::default()
    }
}

fn set(rim: &mut Rim, policies: PartitionPolicies) {
    assert!(rim.act(|shard, _, fx| shard.set_policies(PARTITION, policies, fx)));
}

fn ack(rim: &mut Rim, consumer: StreamKey, up_to: u64) {
    let up_to = AckedMessages {
        last: u32::MAX,
        ..whole(up_to)
    };
    let receipt = true;
    rim.ask(consumer, Command::AckCumulative { up_to, receipt });
    rim.settle();
}

fn marks(rim: &Rim) -> Vec<(String, u64)> {
    let stats = rim.shard.describe(PARTITION).unwrap();
    let marks = stats.subscriptions.iter();
    marks
        .map(|one| (one.name.clone(), one.mark.offset.0))
        .collect()
}

#[test]
fn a_backlog_over_its_quota_holds_the_producers_back_until_it_shrinks() {
    for level in [AckLevel::Disk, AckLevel::Memory] {
        let mut rim = Rim::new(level);
        let p = rim.opened_producer(key(1, 1), "p");
        let quick = rim.attached(key(2, 1), "quick", 1_000);
        let slow = rim.attached(key(3, 1), "slow", 1_000);
        rim.produced(p, 0..20);
        ack(&mut rim, quick, 19);
        // As if 20 entries were just too many.
        let twenty = rim.shard.describe(PARTITION).unwrap().subscriptions[1].backlog_bytes;
        assert!(twenty >= 20 * 100);
        set(&mut rim, backlog(twenty));
        rim.told(p);
        assert_eq!(rim.produce(p, 20, 1, &[7; 100]), Handled::Done);
        rim.settle();
        let (_, refusal) = rim.refusal(p);
        assert_eq!(refusal.status, Status::BacklogQuota);
        assert!(refusal.status.retryable() && !refusal.appended);
        assert!(refusal.message.contains("subscription slow"), "{refusal:?}");
        // What was behind it on its way is refused as well, and what was stored is recognised.
        assert_eq!(rim.produce(p, 21, 1, b"x"), Handled::Done);
        assert_eq!(rim.status(p).1, Status::SequenceGap);
        assert_eq!(rim.produce(p, 19, 1, &[7; 100]), Handled::Done);
        rim.settle();
        assert_eq!(rim.receipts(p), [19], "a retry of what was stored");

        let told = rim.shard.held_back(None);
        let [HeldBack::Backlog { subscription, .. }] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(subscription, "slow");
        assert_eq!(rim.shard.held_back(Some(&[PARTITION])), told);
        assert_eq!(rim.shard.held_back(Some(&[OTHER])), []);
        let stats = rim.shard.describe(PARTITION).unwrap();
        let holds = stats
            .subscriptions
            .iter()
            .map(|one| one.holds_back.is_some());
        assert_eq!(holds.collect::<Vec<_>>(), [false, true]);
        assert!(rim.shard.stats().quota_refusals >= 1);

        // It recovers by itself.
        ack(&mut rim, slow, 0);
        rim.pass(50);
        rim.told(p);
        assert_eq!(rim.produce(p, 20, 1, &[7; 100]), Handled::Done);
        rim.settle();
        assert_eq!(rim.receipts(p), [20]);
        // Full again: the subscription that nobody reads is deleted.
        rim.produced(p, 21..22);
        assert_eq!(rim.receipts(p), [21]);
        rim.pass(50);
        assert_eq!(rim.produce(p, 22, 1, &[7; 100]), Handled::Done);
        assert_eq!(rim.status(p).1, Status::BacklogQuota);
        rim.disconnect(3);
        let subscription = "slow".parse().unwrap();
        rim.ask_on(key(4, 0), Command::DeleteSubscription { subscription });
        rim.settle();
        rim.pass(50);
        assert_eq!(rim.produce(p, 22, 1, &[7; 100]), Handled::Done);
        rim.settle();
        assert_eq!(rim.receipts(p), [22]);
        assert_eq!(rim.shard.held_back(None), []);
        rim.told(quick);
    }
}

#[test]
fn a_start_knows_the_backlog_and_a_seek_may_use_the_quota_up() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = rim.attached(key(2, 1), "s", 1_000);
    rim.produced(p, 0..20);
    let full = rim.shard.describe(PARTITION).unwrap().subscriptions[0].backlog_bytes;
    let mut rim = rim.killed(AckLevel::Disk);
    set(&mut rim, backlog(full));
    let p = rim.opened_producer(p, "p");
    assert_eq!(rim.produce(p, 20, 1, b"x"), Handled::Done);
    assert_eq!(rim.status(p).1, Status::BacklogQuota);
    let c = rim.attached(c, "s", 1_000);
    ack(&mut rim, c, 19);
    rim.pass(50);
    rim.told(p);
    assert_eq!(rim.produce(p, 20, 1, b"x"), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(p), [20]);
    rim.ask(c, Command::Seek(hulse_shard::SeekTo::Earliest));
    rim.settle();
    assert_eq!(rim.produce(p, 21, 1, b"x"), Handled::Done);
    assert_eq!(rim.status(p).1, Status::BacklogQuota);
    // A new subscription from the beginning does the same where none was there.
    set(&mut rim, PartitionPolicies::default());
    assert_eq!(rim.produce(p, 21, 1, b"x"), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(p), [21]);
}

#[test]
fn what_has_expired_is_acknowledged_for_all_and_nothing_younger() {
    let kinds = [
        SubscriptionKind::Exclusive,
        SubscriptionKind::Failover,
        SubscriptionKind::Shared,
        SubscriptionKind::KeyShared,
    ];
    for kind in kinds {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        set(&mut rim, ttl(10_000));
        rim.attached(key(2, 1), "gone", 0);
        rim.disconnect(2);
        let c = rim.attached_by(key(3, 1), subscribe_as(kind, "held", "tests", 7));
        // Ten entries, 2 s apart: the consumer has seven of them and acknowledges none.
        for sequence in 0..10 {
            rim.produced(p, sequence..sequence + 1);
            rim.pass(2_000);
            rim.settle();
        }
        // The first was stored 20 s ago, the fifth 12 s ago, the sixth 10 s ago.
        rim.drain();
        assert_eq!(rim.delivered(c), (0..7).collect::<Vec<_>>(), "{kind:?}");
        let found = marks(&rim);
        assert!(
            found.iter().all(|(_, mark)| (4..=5).contains(mark)),
            "{kind:?}: {found:?}"
        );
        // What has expired is no longer the consumer's: it is delivered what comes then.
        rim.say(c, Command::Permits(2));
        rim.settle();
        rim.drain();
        assert_eq!(rim.delivered(c), [7, 8], "{kind:?}");
        // It is as durable as any acknowledgement.
        let kept = marks(&rim);
        let rim = rim.killed(AckLevel::Disk);
        assert_eq!(marks(&rim), kept, "{kind:?}");
    }
}

#[test]
fn consumers_that_were_full_go_on_when_what_they_hold_expires() {
    let mut rim = Rim::new(AckLevel::Memory);
    let p = rim.opened_producer(key(1, 1), "p");
    set(&mut rim, ttl(5_000));
    let wanted = subscribe_as(SubscriptionKind::Shared, "s", "tests", 100);
    let c = rim.attached_by(key(2, 1), wanted);
    rim.produced(p, 0..10);
    rim.drain();
    assert_eq!(rim.delivered(c).len(), 10);
    let unacknowledged = |rim: &Rim| {
        let stats = rim.shard.describe(PARTITION).unwrap();
        stats.subscriptions[0].consumers[0].unacknowledged
    };
    assert_eq!(unacknowledged(&rim), Some(10));
    rim.pass(7_000);
    rim.settle();
    assert_eq!(unacknowledged(&rim), Some(0));
    assert_eq!(rim.shard.stats().expired_entries, 10);
    // A late acknowledgement does no harm, and what was returned does not come again.
    let messages = &[whole(3)];
    let receipt = true;
    rim.ask(c, Command::AckIndividual { messages, receipt });
    rim.say(c, Command::Redeliver { entries: &[] });
    rim.settle();
    rim.drain();
    assert_eq!(rim.delivered(c), []);
    rim.produced(p, 10..11);
    rim.drain();
    assert_eq!(rim.delivered(c), [10]);
}

#[test]
fn retention_takes_what_nobody_wants_as_soon_as_the_policy_says_so() {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    let c = rim.attached(key(2, 1), "s", 1_000_000);
    let start = |rim: &Rim| rim.shard.describe(PARTITION).unwrap().log_start.0;
    for sequence in (0..2_000).step_by(20) {
        rim.produced(p, sequence..sequence + 20);
        rim.drain();
    }
    ack(&mut rim, c, 999);
    let settle_for = |rim: &mut Rim, ms: u64| {
        for _ in 0..ms / 1_000 {
            rim.pass(1_000);
            rim.settle();
        }
    };
    settle_for(&mut rim, 30_000);
    assert_eq!(start(&rim), 0, "the default keeps it for days");
    set(&mut rim, effective(|it| it.retention_bytes = Some(0)));
    settle_for(&mut rim, 30_000);
    let first = start(&rim);
    assert!(
        first > 0 && first <= 1_000,
        "{first}: nothing unacknowledged"
    );
    ack(&mut rim, c, 1_999);
    set(
        &mut rim,
        effective(|it| (it.retention_ms, it.retention_bytes) = (None, None)),
    );
    settle_for(&mut rim, 30_000);
    assert_eq!(start(&rim), first, "kept for ever");
    set(&mut rim, effective(|it| it.retention_ms = Some(5_000)));
    settle_for(&mut rim, 30_000);
    assert!(start(&rim) > 1_000, "{} by age", start(&rim));
}

#[test]
fn a_rate_holds_the_offender_back_and_nobody_else() {
    let mut rim = Rim::empty(SimDisk::new(), crate::rim::config());
    rim.open(spec(PARTITION, 1, AckLevel::Disk)).unwrap();
    rim.open(spec(OTHER, 1, AckLevel::Disk)).unwrap();
    let p = rim.opened_producer(key(1, 1), "p");
    let q = key(2, 1);
    let id = rim.correlation();
    rim.act(|shard, clock, fx| shard.handle_on(clock, OTHER, q, id, producer("q", None), fx));
    rim.settle();
    rim.told(q);
    set(&mut rim, messages_per_s(10));
    assert_eq!(rim.produce(p, 0, 5, &[7; 100]), Handled::Done);
    assert_eq!(rim.produce(p, 5, 1, &[7; 100]), Handled::Held);
    for sequence in 0..100 {
        assert_eq!(rim.produce(q, sequence, 1, b"x"), Handled::Done);
    }
    rim.settle();
    assert_eq!(rim.receipts(q).len(), 100);
    let told = rim.shard.held_back(None);
    let [HeldBack::Rate { connections: 1, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(rim.shard.stats().throttled_connections, 1);
    assert_eq!(rim.resumed, []);
    // Half a second was used up, and a fifth may be at once.
    rim.pass(250);
    assert_eq!(rim.resumed, []);
    rim.pass(100);
    assert_eq!(rim.resumed, [1]);
    assert_eq!(rim.produce(p, 5, 1, &[7; 100]), Handled::Done);
    rim.settle();
    assert_eq!(rim.receipts(p), [0, 1]);
    // What was stored before costs nothing.
    rim.pass(1_000);
    for _ in 0..50 {
        assert_eq!(rim.produce(p, 5, 1, &[7; 100]), Handled::Done);
    }
    assert_eq!(rim.produce(p, 6, 30, &[7; 100]), Handled::Done);
    rim.settle();
    assert_eq!(rim.produce(p, 36, 1, &[7; 100]), Handled::Held);
    // Without the policy it goes on at once; a stop lets everybody go as well.
    rim.resumed.clear();
    set(&mut rim, PartitionPolicies::default());
    assert_eq!(rim.resumed, [1]);
    set(&mut rim, messages_per_s(1));
    assert_eq!(rim.produce(p, 36, 30, &[7; 100]), Handled::Done);
    assert_eq!(rim.produce(p, 66, 1, &[7; 100]), Handled::Held);
    rim.resumed.clear();
    rim.act(|shard, clock, fx| shard.stop(clock, fx));
    assert_eq!(rim.resumed, [1]);
    rim.settle();
    rim.told(p);
    assert_eq!(rim.produce(p, 66, 1, &[7; 100]), Handled::Done);
    assert_eq!(rim.status(p).1, Status::NotReady);
}

#[test]
fn two_cores_share_one_rate() {
    let policies = messages_per_s(100);
    let mut rims = [0, 1].map(|core| {
        let config = ShardConfig {
            core,
            ..crate::rim::config()
        };
        let mut rim = Rim::empty(SimDisk::new(), config);
        rim.open(spec(PARTITION, 1, AckLevel::Memory)).unwrap();
        let p = rim.opened_producer(key(1, 1), "p");
        set(&mut rim, policies.clone());
        (rim, p, 0_u64)
    });
    for _ in 0..100 {
        for (rim, p, sequence) in &mut rims {
            rim.pass(50);
            while *sequence < 100_000 && rim.produce(*p, *sequence, 1, b"x") == Handled::Done {
                *sequence += 1;
            }
            rim.settle();
        }
    }
    let sent: u64 = rims.iter().map(|(_, _, sequence)| sequence).sum();
    // 5 s at 100 a second, and one burst.
    assert!((480..=540).contains(&sent), "{sent} messages");
    let shares = rims.each_ref().map(|(_, _, sequence)| *sequence);
    assert!(shares.iter().all(|share| *share >= 200), "{shares:?}");
    for (rim, p, _) in &mut rims {
        assert!(!rim.receipts(*p).is_empty());
        let consumer = rim.attached_by(key(9, 1), subscribe("s", 5));
        rim.drain();
        assert_eq!(rim.delivered(consumer).len(), 5, "consumers are not held");
        let replies = rim.replies(*p);
        assert!(
            !replies
                .iter()
                .any(|(_, it)| matches!(it, Reply::Refused(_)))
        );
    }
}
