//! Goal: a loss of power costs what was not confirmed and nothing else, and the next start knows
//! what is lost. Method: rounds over several segments, of which any part is kept, and machines that
//! stop after every single step of the disk.

use hulse_log::sim::Keep;
use hulse_model::Offset;
use hulse_shard::{AckLevel, Handled, Reply, StreamKey};

use crate::rim::{PARTITION, Pending, Rim, Told, key, producer};

fn payload(sequence: u64) -> Vec<u8> {
    format!("{sequence}:{}", "x".repeat(1_000)).into_bytes()
}

/// Produces without any sync coming back, over several segments.
fn produce_unsynced(rim: &mut Rim, p: StreamKey, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        while rim.produce(p, sequence, 1, &payload(sequence)) == Handled::Held {
            rim.end_round();
            let segment = |pending: &Pending| matches!(pending, Pending::Prepare(..));
            let at = rim.pending.iter().position(segment);
            rim.finish(at.expect("held for a segment"));
        }
        rim.end_round();
    }
}

/// Sends every batch again, and reads what was stored: each is there once, in order.
fn assert_retried(rim: &mut Rim, batches: u64) {
    let p = key(50, 1);
    rim.ask_on(p, producer("p", None));
    rim.settle();
    let (_, reply) = rim.reply(p);
    assert!(matches!(reply, Reply::ProducerOpened { .. }), "{reply:?}");
    for sequence in 0..batches {
        while rim.produce(p, sequence, 1, &payload(sequence)) == Handled::Held {
            rim.settle();
        }
    }
    rim.settle();
    let receipts = rim.told(p).len() as u64;
    assert_eq!(receipts, batches);
    let c = rim.attached(key(51, 1), "all", 1_000);
    let stored = rim.told(c).into_iter().map(|told| match told {
        Told::Deliver(delivered) => delivered.payload,
        other => panic!("{other:?}"),
    });
    let expected: Vec<_> = (0..batches).map(payload).collect();
    assert_eq!(stored.collect::<Vec<_>>(), expected);
}

#[test]
fn a_round_over_several_segments_is_kept_up_to_where_it_is_torn() {
    for synced in [0, 5] {
        let mut rim = Rim::new(AckLevel::Disk);
        let p = rim.opened_producer(key(1, 1), "p");
        for sequence in 0..synced {
            let _ = rim.produce(p, sequence, 1, &payload(sequence));
            rim.settle();
        }
        produce_unsynced(&mut rim, p, synced..100);
        for seed in 0..150 {
            let disk = rim.disk.crashed(Keep::Random(seed));
            let (mut after, recovered) = Rim::recovered(disk, AckLevel::Disk);
            let recovered = recovered.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(recovered.passed_over.is_empty());
            let described = after.shard.describe(PARTITION).unwrap();
            assert_eq!(described.log_start, Offset(0), "seed {seed}");
            assert!(described.log_end >= Offset(synced), "seed {seed}");
            assert_retried(&mut after, 100);
        }
    }
}

#[test]
fn a_process_killed_at_any_step_and_power_lost_after_the_next_start_loses_no_receipt() {
    // How many steps the story has without an interruption.
    let story = |rim: &mut Rim| {
        let p = rim.opened_producer(key(1, 1), "p");
        for sequence in 0..20 {
            while rim.produce(p, sequence, 1, &payload(sequence)) == Handled::Held {
                rim.settle();
            }
            rim.settle();
        }
    };
    let mut rim = Rim::new(AckLevel::Disk);
    let before = rim.disk.operations();
    story(&mut rim);
    let steps = rim.disk.operations() - before;
    assert!(steps > 40, "a story of {steps} steps");
    for stop in 0..steps {
        let mut rim = Rim::new(AckLevel::Disk);
        rim.disk.stop_after(stop);
        let p = key(1, 1);
        rim.ask_on(p, producer("p", None));
        rim.settle();
        for sequence in 0..20 {
            let handled = rim.produce(p, sequence, 1, &payload(sequence));
            rim.settle();
            if handled == Handled::Held {
                let _ = rim.produce(p, sequence, 1, &payload(sequence));
                rim.settle();
            }
        }
        // The process is gone at that step, the machine is not. The next process goes on, and
        // then the power goes.
        let mut next = rim.killed(AckLevel::Disk);
        assert_retried(&mut next, 20);
        let mut last = Rim::restarted(next.disk.crashed(Keep::Nothing), AckLevel::Disk);
        let end = last.shard.describe(PARTITION).unwrap().log_end;
        assert_eq!(end, Offset(20), "killed at step {stop}");
        assert_retried(&mut last, 20);
    }
}
