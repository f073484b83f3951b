//! Bytes that nobody wrote: an error or a harmless record, never a panic.

use hulse_model::{Offset, Position, Term};
use hulse_subscription::{
    Cursor, PartitionState, Recovery, SiblingRecord, SnapshotPart, SubscriptionKind,
};
use proptest::prelude::*;

use crate::producer_model::{entry, name, open};

/// Small numbers and extreme ones, so that lengths and counts are near what is possible.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0..4_u8, 1 => Just(0xff), 1 => Just(0x80), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..80)
}

fn record_bytes() -> impl Strategy<Value = Vec<u8>> {
    (1..8_u8, bytes()).prop_map(|(kind, rest)| {
        let mut bytes = vec![1, kind];
        bytes.extend(rest);
        bytes
    })
}

fn some_state() -> PartitionState {
    let mut state = PartitionState::default();
    for text in ["a", "b"] {
        let (plan, _) = open(&mut state, &name(text), None).unwrap();
        for batch in 0..3 {
            let offset = state.entries_applied().0;
            assert!(state.apply_entry(&entry(1, offset, plan.id, 5 * batch, 2)));
        }
    }
    let kind = SubscriptionKind::Exclusive;
    let position = Position::at(Offset(1));
    let record = state
        .plan_create(&"x".parse().unwrap(), kind, position)
        .unwrap();
    state.apply_record(&record);
    let id = state.subscription_id(&"x".parse().unwrap()).unwrap();
    let cursor = state.subscription_mut(id).unwrap().cursor_mut();
    cursor.acknowledge_range(Offset(3), 0, 1, 2);
    cursor.acknowledge_range(Offset(4), 1, 1, 3);
    state
}

fn restore(bytes: &[u8], applied: u64) -> Option<PartitionState> {
    let part = SnapshotPart {
        part: 0,
        parts: 1,
        entries_applied: Offset(applied),
        entries_term: Term(1),
        state: bytes.to_vec(),
    };
    let mut recovery = Recovery::new();
    recovery
        .apply(SiblingRecord::Snapshot(part), |_, _| true)
        .ok()?;
    recovery.finish(Offset(1)).ok()
}

fn snapshot_bytes(state: &PartitionState) -> Vec<u8> {
    let records = state.snapshot(usize::MAX);
    let [SiblingRecord::Snapshot(part)] = &records[..] else {
        panic!("one part is enough")
    };
    part.state.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_record_that_can_be_written_again_or_an_error(bytes in record_bytes()) {
        if let Ok(record) = SiblingRecord::decode(&bytes) {
            prop_assert_eq!(SiblingRecord::decode(&record.to_bytes()), Ok(record));
        }
    }

    #[test]
    fn any_snapshot_is_a_state_that_can_be_written_again_or_an_error(
        rest in bytes(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
    ) {
        let mut wild = vec![1];
        wild.extend(rest);
        let mut bent = snapshot_bytes(&some_state());
        for (at, byte) in &flips {
            let at = at.index(bent.len());
            bent[at] = *byte;
        }
        for bytes in [wild, bent] {
            if let Some(state) = restore(&bytes, 6) {
                state.subscriptions().for_each(|it| it.cursor().check_invariants());
                prop_assert_eq!(restore(&snapshot_bytes(&state), 6), Some(state));
            }
        }
    }
}

proptest! {
    /// Records that are well formed and make no sense together leave a state in order.
    #[test]
    fn records_in_any_order_leave_a_state_in_order(
        records in prop::collection::vec(record_bytes(), 0..200)
    ) {
        let mut state = some_state();
        for record in records.iter().filter_map(|bytes| SiblingRecord::decode(bytes).ok()) {
            state.apply_record(&record);
            if let SiblingRecord::Acknowledged { acknowledgements, .. } = &record {
                Cursor::from(acknowledgements).check_invariants();
            }
        }
        state.subscriptions().for_each(|subscription| subscription.cursor().check_invariants());
        let applied = state.entries_applied().0;
        prop_assert_eq!(restore(&snapshot_bytes(&state), applied), Some(state));
    }
}

#[test]
fn a_snapshot_reads_back_as_the_state() {
    let state = some_state();
    assert_eq!(restore(&snapshot_bytes(&state), 6), Some(state));
}

#[test]
fn every_record_that_is_too_short_or_too_long_is_refused() {
    let state = some_state();
    let mut records = state.snapshot(1_000);
    records.push(state.plan_delete(1).unwrap());
    records.push(
        state
            .plan_seek(
                1,
                Position {
                    offset: Offset(9),
                    index: 2,
                },
            )
            .unwrap(),
    );
    let acknowledgements = state.subscription(1).unwrap().cursor().acknowledgements();
    records.push(SiblingRecord::Acknowledged {
        id: 1,
        acknowledgements,
    });
    records.push(
        state
            .producers()
            .plan_open(&name("c"), None)
            .unwrap()
            .record
            .unwrap(),
    );
    for record in records {
        let mut bytes = record.to_bytes();
        // A snapshot part takes all the bytes that there are.
        let shortest = if matches!(record, SiblingRecord::Snapshot(_)) {
            26
        } else {
            bytes.len()
        };
        for length in 0..shortest {
            assert!(
                SiblingRecord::decode(&bytes[..length]).is_err(),
                "{record:?} cut to {length}"
            );
        }
        if shortest == bytes.len() {
            bytes.push(0);
            assert!(
                SiblingRecord::decode(&bytes).is_err(),
                "{record:?} with a byte more"
            );
        }
    }
}
