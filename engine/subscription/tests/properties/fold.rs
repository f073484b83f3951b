//! The state as the primary has it against the state that is made from its two logs.

use std::collections::VecDeque;

use hulse_model::{EntryHeader, Offset, Position, ProducerId, SubscriptionName, Term};
use hulse_subscription::{
    Access, AccessTable, Asked, Check, CreateSubscriptionError, PartitionState, Recovery,
    RecoveryError, SiblingRecord, SubscriptionKind,
};
use proptest::prelude::*;

use crate::producer_model::{entry, name, open};

#[derive(Debug, Clone)]
enum Step {
    Open {
        name: usize,
    },
    Publish {
        producer: usize,
        skip: u64,
        messages: u32,
    },
    NewTerm,
    Create {
        name: usize,
        from: u64,
    },
    Delete {
        name: usize,
    },
    Acknowledge {
        name: usize,
        back: u64,
        first: u32,
        last: u32,
    },
    Cumulative {
        name: usize,
        back: u64,
        last: u32,
    },
    Seek {
        name: usize,
        back: u64,
    },
    SetKind {
        name: usize,
        code: u8,
    },
    Access {
        access: Access,
    },
    Round {
        name: usize,
    },
    Snapshot {
        part_bytes: usize,
    },
    Part,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_usize;
    prop_oneof![
        2 => name.clone().prop_map(|name| Step::Open { name }),
        12 => (name.clone(), prop_oneof![9 => Just(0), 1 => 1..4_u64], 1..4_u32)
            .prop_map(|(producer, skip, messages)| Step::Publish { producer, skip, messages }),
        1 => Just(Step::NewTerm),
        2 => (name.clone(), 0..20_u64).prop_map(|(name, from)| Step::Create { name, from }),
        1 => name.clone().prop_map(|name| Step::Delete { name }),
        12 => (name.clone(), 0..20_u64, 0..4_u32, 0..4_u32).prop_map(|(name, back, first, last)| {
            Step::Acknowledge { name, back, first, last }
        }),
        2 => (name.clone(), 0..20_u64, 0..4_u32)
            .prop_map(|(name, back, last)| Step::Cumulative { name, back, last }),
        1 => (name.clone(), 0..20_u64).prop_map(|(name, back)| Step::Seek { name, back }),
        1 => (name.clone(), 0..4_u8).prop_map(|(name, code)| Step::SetKind { name, code }),
        1 => prop_oneof![Just(Access::Shared), Just(Access::Exclusive)]
            .prop_map(|access| Step::Access { access }),
        4 => name.prop_map(|name| Step::Round { name }),
        2 => prop_oneof![Just(7), Just(40), Just(1_000)]
            .prop_map(|part_bytes| Step::Snapshot { part_bytes }),
        8 => Just(Step::Part),
    ]
}

fn subscription(at: usize) -> SubscriptionName {
    ["x", "y", "z"][at].parse().unwrap()
}

/// A primary with its two logs, as a shard drives it.
#[derive(Default)]
struct Primary {
    state: PartitionState,
    entries: Vec<EntryHeader>,
    sibling: Vec<Vec<u8>>,
    /// Where whole snapshots begin in the sibling log.
    snapshots: Vec<usize>,
    parts: VecDeque<SiblingRecord>,
    first_part: usize,
    producers: [(ProducerId, u64); 3],
    term: u64,
}

impl Primary {
    fn append(&mut self, record: &SiblingRecord) {
        self.sibling.push(record.to_bytes());
    }

    fn append_and_apply(&mut self, record: Option<SiblingRecord>) {
        if let Some(record) = record {
            self.append(&record);
            self.state.apply_record(&record);
        }
    }

    fn publish(&mut self, producer: usize, skip: u64, messages: u32) {
        let (id, epoch) = self.producers[producer];
        let last = self
            .state
            .producers()
            .get(id)
            .and_then(|producer| producer.last());
        let sequence = last.map_or(0, |last| last.sequence + 1) + skip;
        if self
            .state
            .producers()
            .check(id, epoch, sequence, messages, true)
            == Check::Fresh
        {
            let header = entry(self.term, self.entries.len() as u64, id, sequence, messages);
            self.entries.push(header);
            assert!(self.state.apply_entry(&header));
        }
    }

    /// The entry so far back from the end, with its number of messages.
    fn back(&self, back: u64) -> Option<(Offset, u32)> {
        let at = self
            .entries
            .len()
            .checked_sub(1 + usize::try_from(back).unwrap())?;
        Some((self.entries[at].offset, self.entries[at].messages))
    }

    fn round(&mut self, at: usize) {
        let Some(id) = self.state.subscription_id(&subscription(at)) else {
            return;
        };
        while let Some(record) = self.state.subscription_mut(id).unwrap().take_changes() {
            self.append(&record);
        }
    }

    fn part(&mut self) {
        if let Some(part) = self.parts.pop_front() {
            self.append(&part);
            if self.parts.is_empty() {
                self.snapshots.push(self.first_part);
            }
        }
    }

    fn on_subscription(&mut self, at: usize, step: &Step) {
        let Some(id) = self.state.subscription_id(&subscription(at)) else {
            return;
        };
        let back = match step {
            Step::Acknowledge { back, .. } | Step::Cumulative { back, .. } => *back,
            Step::Seek { back, .. } => *back,
            _ => 0,
        };
        let Some((offset, messages)) = self.back(back) else {
            return;
        };
        let cursor = self.state.subscription_mut(id).unwrap().cursor_mut();
        match *step {
            Step::Acknowledge { first, last, .. } => {
                cursor.acknowledge_range(offset, first, last, messages);
            }
            Step::Cumulative { last, .. } => {
                cursor.acknowledge_cumulative(offset, last, messages);
            }
            Step::Seek { .. } => {
                let record = self.state.plan_seek(id, Position::at(offset));
                assert!(record.is_some());
                self.append_and_apply(record);
            }
            _ => self.append_and_apply(self.state.plan_delete(id)),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open { name: at } => {
                let (plan, record) =
                    open(&mut self.state, &name(["a", "b", "c"][at]), None).unwrap();
                self.producers[at] = (plan.id, plan.epoch);
                record.iter().for_each(|record| self.append(record));
            }
            Step::Publish {
                producer,
                skip,
                messages,
            } => self.publish(producer, skip, messages),
            Step::NewTerm => self.term += 1,
            Step::Create { name: at, from } => {
                let from = Position::at(Offset(from.min(self.entries.len() as u64)));
                let kind = SubscriptionKind::from_code(u8::try_from(at).unwrap()).unwrap();
                let plan = self.state.plan_create(&subscription(at), kind, from);
                match self.state.subscription_id(&subscription(at)) {
                    Some(id) => assert_eq!(plan, Err(CreateSubscriptionError::Exists { id })),
                    None => self.append_and_apply(Some(plan.unwrap())),
                }
            }
            Step::Delete { name }
            | Step::Acknowledge { name, .. }
            | Step::Cumulative { name, .. }
            | Step::Seek { name, .. } => self.on_subscription(name, step),
            Step::SetKind { name, code } => {
                let kind = SubscriptionKind::from_code(code).unwrap();
                let id = self.state.subscription_id(&subscription(name));
                self.append_and_apply(id.and_then(|id| self.state.plan_set_kind(id, kind)));
                if let Some(id) = id {
                    assert_eq!(self.state.subscription(id).unwrap().kind(), kind);
                }
            }
            Step::Access { access } => {
                let asked = AccessTable::default().ask(self.state.access(), 1, access, None, None);
                let Ok(Asked::Admitted(admission)) = asked else {
                    panic!("nobody is there: {asked:?}");
                };
                self.append_and_apply(admission.record());
            }
            Step::Round { name } => self.round(name),
            Step::Snapshot { part_bytes } => {
                if self.parts.is_empty() {
                    self.first_part = self.sibling.len();
                    self.parts = self.state.snapshot(part_bytes).into();
                    self.part();
                }
            }
            Step::Part => self.part(),
        }
    }
}

fn recover(
    sibling: &[Vec<u8>],
    start: usize,
    entries: &[EntryHeader],
) -> Result<(PartitionState, u64), RecoveryError> {
    let mut recovery = Recovery::new();
    for bytes in &sibling[start..] {
        let record = SiblingRecord::decode(bytes).unwrap();
        recovery.apply(record, |term, offset| {
            entries
                .iter()
                .any(|header| (header.term, header.offset) == (term, offset))
        })?;
    }
    let refused = recovery.refused_snapshots();
    let mut state = recovery.finish(Offset(start as u64))?;
    for header in entries {
        assert!(state.apply_entry(header));
    }
    Ok((state, refused))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Goal: the two logs hold the whole state. Method: a primary takes random steps and writes
    /// snapshots in parts, with other records between them; the state made from all records, and
    /// from each whole snapshot and what follows it, is the primary's.
    #[test]
    fn the_logs_give_the_state_from_any_snapshot_on(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut primary = Primary::default();
        for step in &steps {
            primary.take(step);
        }
        for at in 0..3 {
            primary.round(at);
        }
        let Primary { state, sibling, entries, snapshots, .. } = primary;
        for start in core::iter::once(0).chain(snapshots.iter().copied()) {
            let (recovered, refused) = recover(&sibling, start, &entries).unwrap();
            prop_assert_eq!(&recovered, &state, "from record {}", start);
            prop_assert_eq!(refused, 0);
        }
        // A secondary that is warm needs no snapshot.
        let mut warm = PartitionState::default();
        for bytes in &sibling {
            warm.apply_record(&SiblingRecord::decode(bytes).unwrap());
        }
        entries.iter().for_each(|header| assert!(warm.apply_entry(header)));
        prop_assert_eq!(&warm, &state);
        // And after the last snapshot's beginning is gone, what is left is no state.
        let start = snapshots.last().map_or(0, |start| start + 1);
        if start > 0 {
            let at = Offset(start as u64);
            let error = recover(&sibling, start, &entries).map(|_| ());
            prop_assert_eq!(error, Err(RecoveryError::NoSnapshot { start: at }));
        }
    }
}

/// A state with one producer that sent three batches of two, and the logs that hold it.
fn three_batches() -> Primary {
    let mut primary = Primary {
        term: 1,
        ..Primary::default()
    };
    primary.take(&Step::Open { name: 0 });
    for _ in 0..3 {
        primary.take(&Step::Publish {
            producer: 0,
            skip: 0,
            messages: 2,
        });
    }
    primary
}

#[test]
fn a_snapshot_of_entries_that_a_crash_took_away_is_refused() {
    let mut primary = three_batches();
    primary.take(&Step::Snapshot { part_bytes: 1_000 });
    let (id, epoch) = primary.producers[0];

    // The sibling log was synced, the last entry was not.
    primary.entries.truncate(2);
    let (recovered, refused) = recover(&primary.sibling, 0, &primary.entries).unwrap();
    assert_eq!(refused, 1);
    let retry = recovered.producers().check(id, epoch, 4, 2, false);
    assert_eq!(retry, Check::Fresh, "the lost batch is no duplicate");

    // Nor does the snapshot come to life again when another entry takes the place.
    primary.entries.push(entry(2, 2, ProducerId(0), 0, 1));
    let (recovered, refused) = recover(&primary.sibling, 0, &primary.entries).unwrap();
    assert_eq!(refused, 1);
    assert_eq!(
        recovered.producers().check(id, epoch, 4, 2, false),
        Check::Fresh
    );

    // While the log that holds the entry uses it.
    let whole = three_batches();
    let (recovered, refused) = recover(&primary.sibling, 0, &whole.entries).unwrap();
    assert_eq!((&recovered, refused), (&whole.state, 0));
}

#[test]
fn a_snapshot_that_was_cut_short_counts_for_nothing() {
    let mut primary = three_batches();
    primary.take(&Step::Create { name: 0, from: 0 });
    primary.take(&Step::Snapshot { part_bytes: 7 });
    primary.take(&Step::Part);
    assert!(primary.parts.len() > 1, "it has more parts");
    // The process dies here; the next one writes its own snapshot after the two parts.
    primary.parts.clear();
    primary.take(&Step::Acknowledge {
        name: 0,
        back: 2,
        first: 0,
        last: 1,
    });
    primary.take(&Step::Round { name: 0 });
    let (recovered, _) = recover(&primary.sibling, 0, &primary.entries).unwrap();
    assert_eq!(recovered, primary.state);
    primary.take(&Step::Snapshot { part_bytes: 9 });
    while !primary.parts.is_empty() {
        primary.take(&Step::Part);
    }
    let start = primary.snapshots[0];
    // From a part of the first one on.
    for start in [start - 2, start] {
        let (recovered, _) = recover(&primary.sibling, start, &primary.entries).unwrap();
        assert_eq!(recovered, primary.state);
    }
}

#[test]
fn damaged_records_are_made_up_for_by_a_later_snapshot_alone() {
    let mut primary = three_batches();
    primary.take(&Step::Create { name: 0, from: 0 });
    let created = primary.sibling.len() - 1;
    primary.take(&Step::Snapshot { part_bytes: 40 });
    let inside = primary.sibling.len();
    primary.take(&Step::Cumulative {
        name: 0,
        back: 2,
        last: 0,
    });
    primary.take(&Step::Round { name: 0 });
    assert_eq!(primary.sibling.len(), inside + 1);
    while !primary.parts.is_empty() {
        primary.take(&Step::Part);
    }
    assert!(
        inside + 2 < primary.sibling.len(),
        "the snapshot has several parts"
    );
    let recover_without = |missing: usize| {
        let mut recovery = Recovery::new();
        for (at, bytes) in primary.sibling.iter().enumerate() {
            if at == missing {
                recovery.records_missing();
            } else {
                recovery
                    .apply(SiblingRecord::decode(bytes).unwrap(), |_, _| true)
                    .unwrap();
            }
        }
        (
            recovery.lacks_records(),
            recovery.finish(Offset(0)).unwrap(),
        )
    };
    assert_eq!(recover_without(created), (false, primary.state.clone()));
    for (missing, what) in [
        (inside, "a record between the parts"),
        (inside + 1, "a part"),
    ] {
        let (lacks, state) = recover_without(missing);
        assert!(lacks, "{what} is missing, and no snapshot begins behind it");
        assert_eq!(state.subscriptions().len(), 1);
    }
}

#[test]
fn a_producer_whose_record_was_damaged_leaves_its_id_to_nobody() {
    let primary = three_batches();
    let (id, _) = primary.producers[0];
    let mut state = PartitionState::default();
    primary
        .entries
        .iter()
        .for_each(|header| assert!(state.apply_entry(header)));
    let (plan, _) = open(&mut state, &name("another"), None).unwrap();
    assert!(plan.id > id);
}

#[test]
fn an_entry_that_was_applied_is_not_applied_again() {
    let primary = three_batches();
    let mut again = primary.state.clone();
    for header in &primary.entries {
        assert!(again.apply_entry(header));
    }
    assert_eq!(again, primary.state);
    assert_eq!(again.entries_applied(), Offset(3));
    assert_eq!(primary.entries[2].term, Term(1));
}

#[test]
fn retention_is_bounded_by_the_subscription_that_is_furthest_behind() {
    let mut primary = three_batches();
    assert_eq!(primary.state.lowest_mark(), None);
    primary.take(&Step::Create { name: 0, from: 3 });
    primary.take(&Step::Create { name: 1, from: 1 });
    assert_eq!(primary.state.lowest_mark(), Some(Offset(1)));
    primary.take(&Step::Cumulative {
        name: 1,
        back: 1,
        last: 1,
    });
    assert_eq!(primary.state.lowest_mark(), Some(Offset(2)));
    primary.take(&Step::Delete { name: 1 });
    assert_eq!(primary.state.lowest_mark(), Some(Offset(3)));
}
