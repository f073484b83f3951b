//! Goal: a subscription without consumers has the type that the next one says, for good; what is
//! acknowledged stays so, whatever the order in which it was.
//! Method: few consumers and entries, over restarts.

use hulse_model::Status;
use hulse_shard::{AckLevel, Command, StreamKey};
use hulse_subscription::SubscriptionKind::{self, Exclusive, Failover, KeyShared, Shared};

use crate::rim::{PARTITION, Rim, key, subscribe_as, whole};

fn rim(entries: u64) -> Rim {
    let mut rim = Rim::new(AckLevel::Disk);
    let p = rim.opened_producer(key(1, 1), "p");
    rim.produced(p, 0..entries);
    rim
}

fn attached(rim: &mut Rim, connection: u64, kind: SubscriptionKind) -> StreamKey {
    rim.attached_by(key(connection, 1), subscribe_as(kind, "s", "c", 100))
}

fn acknowledge(rim: &mut Rim, stream: StreamKey, offsets: &[u64]) {
    let messages: Vec<_> = offsets.iter().map(|offset| whole(*offset)).collect();
    let acked = Command::AckIndividual {
        messages: &messages,
        receipt: true,
    };
    rim.ask(stream, acked);
    rim.settle();
}

fn kind(rim: &Rim) -> &'static str {
    rim.shard.describe(PARTITION).unwrap().subscriptions[0].kind
}

#[test]
fn each_type_follows_on_each_and_skips_what_single_acknowledgements_left_out() {
    for from in [Exclusive, Failover, Shared, KeyShared] {
        for to in [Exclusive, Failover, Shared, KeyShared] {
            let mut rim = rim(8);
            let first = attached(&mut rim, 2, from);
            assert_eq!(rim.delivered(first).len(), 8);
            acknowledge(&mut rim, first, &[0, 2, 3, 6]);
            rim.disconnect(2);
            let second = attached(&mut rim, 3, to);
            assert_eq!(rim.delivered(second), [1, 4, 5, 7], "{from:?} to {to:?}");
            // What it acknowledges itself is kept with the rest.
            acknowledge(&mut rim, second, &[4]);
            let mut rim = rim.killed(AckLevel::Disk);
            let again = attached(&mut rim, 4, to);
            assert_eq!(rim.delivered(again), [1, 5, 7], "{from:?} to {to:?}");
        }
    }
}

#[test]
fn the_type_is_kept_over_a_crash() {
    let mut rim = rim(2);
    let first = attached(&mut rim, 2, Shared);
    rim.disconnect(first.connection);
    attached(&mut rim, 3, Failover);
    assert_eq!(kind(&rim), "failover");
    let crashed = rim.disk.crashed(hulse_log::sim::Keep::Nothing);
    let mut rim = Rim::restarted(crashed, AckLevel::Disk);
    assert_eq!(kind(&rim), "failover");
    // Nobody is there, so it may change once more.
    let next = attached(&mut rim, 4, Exclusive);
    assert_eq!(kind(&rim), "exclusive");
    // Everything up to one is acknowledged as the new type allows it.
    let up_to = whole(1);
    let receipt = true;
    rim.ask(next, Command::AckCumulative { up_to, receipt });
    rim.settle();
    let stats = rim.shard.describe(PARTITION).unwrap();
    assert_eq!(stats.subscriptions[0].backlog_entries, 0);
}

#[test]
fn it_does_not_change_under_a_consumer_nor_when_nothing_can_be_written() {
    let mut rim = rim(2);
    let first = attached(&mut rim, 2, Shared);
    let other = key(3, 1);
    rim.ask_on(other, subscribe_as(Exclusive, "s", "c", 1));
    assert_eq!(rim.status(other).1, Status::ConsumerBusy);
    assert_eq!(kind(&rim), "shared");
    rim.disconnect(first.connection);
    // It is told when it is durable, and until then nothing is delivered.
    let id = rim.ask_on(other, subscribe_as(Exclusive, "s", "c", 1));
    rim.end_round();
    assert!(rim.told(other).is_empty());
    let before = rim.crashed_without(hulse_log::LogKind::Sibling);
    rim.settle();
    assert_eq!(rim.replies(other)[0].0, id);
    let rim = Rim::restarted(before, AckLevel::Disk);
    assert_eq!(kind(&rim), "shared", "nobody was told");
}
