//! Deduplication against a plain list of what was stored.

use std::collections::BTreeMap;

use hulse_model::limits::{PARTITION_PRODUCERS_MAX, PRODUCER_RECENT_IDS};
use hulse_model::{EntryHeader, Offset, PayloadFormat, ProducerId, ProducerName, Term};
use hulse_subscription::{
    Check, LastStored, OpenProducer, OpenProducerError, Original, PartitionState, SiblingRecord,
};
use proptest::prelude::*;

pub(crate) fn entry(
    term: u64,
    offset: u64,
    id: ProducerId,
    first: u64,
    messages: u32,
) -> EntryHeader {
    EntryHeader {
        crc: 0,
        format: PayloadFormat::Messages,
        term: Term(term),
        offset: Offset(offset),
        appended_ms: 0,
        producer: id,
        sequence: first,
        messages,
        payload_bytes: 0,
    }
}

pub(crate) fn name(text: &str) -> ProducerName {
    text.parse().unwrap()
}

/// Opens as a shard does, and returns the record that was appended.
pub(crate) fn open(
    state: &mut PartitionState,
    name: &ProducerName,
    epoch: Option<u64>,
) -> Result<(OpenProducer, Option<SiblingRecord>), OpenProducerError> {
    let mut plan = state.producers().plan_open(name, epoch)?;
    let record = plan.record.take();
    if let Some(record) = &record {
        state.apply_record(record);
    }
    state.producers_mut().opened(plan.id, plan.epoch);
    Ok((plan, record))
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    sequence: u64,
    messages: u32,
    term: u64,
    offset: u64,
}

#[derive(Debug, Default)]
struct Model {
    stored: Vec<Batch>,
    epoch: u64,
    open: bool,
}

impl Model {
    fn last(&self) -> Option<u64> {
        self.stored
            .last()
            .map(|batch| batch.sequence + u64::from(batch.messages) - 1)
    }

    fn check(&self, epoch: u64, sequence: u64, messages: u32, skipped: bool) -> Check {
        if epoch != self.epoch {
            return Check::Fenced;
        }
        let end = sequence + u64::from(messages);
        let Some(last) = self.last() else {
            return Check::Fresh;
        };
        if sequence > last {
            return match sequence == last + 1 || skipped {
                true => Check::Fresh,
                false => Check::Gap { expected: last + 1 },
            };
        }
        if end - 1 > last {
            return Check::Overlap { last };
        }
        let remembered = &self.stored[self.stored.len().saturating_sub(PRODUCER_RECENT_IDS)..];
        if sequence < remembered[0].sequence {
            return Check::Duplicate { original: None };
        }
        let same = |batch: &&Batch| (batch.sequence, batch.messages) == (sequence, messages);
        if let Some(batch) = remembered.iter().find(same) {
            let (term, offset) = (Term(batch.term), Offset(batch.offset));
            return Check::Duplicate {
                original: Some(Original {
                    term,
                    offset,
                    messages,
                }),
            };
        }
        let stored = |number: u64| {
            let holds =
                |b: &Batch| (b.sequence..b.sequence + u64::from(b.messages)).contains(&number);
            remembered.iter().any(holds)
        };
        match (sequence..end).all(stored) {
            true => Check::Duplicate { original: None },
            false => Check::Overlap { last },
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open {
        name: usize,
        epoch: Option<u64>,
    },
    Close {
        name: usize,
        epochs_ago: u64,
    },
    /// `from`: how far the first sequence number lies from the next one.
    Publish {
        name: usize,
        from: i64,
        messages: u32,
        skipped: bool,
        epochs_ago: u64,
    },
    /// So many batches in a row as they should come.
    Stream {
        name: usize,
        batches: usize,
        messages: u32,
    },
    NewTerm,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_usize;
    let epochs_ago = prop_oneof![9 => Just(0_u64), 1 => Just(1_u64)];
    prop_oneof![
        2 => (name.clone(), prop::option::of(0..4_u64))
            .prop_map(|(name, epoch)| Step::Open { name, epoch }),
        1 => (name.clone(), epochs_ago.clone())
            .prop_map(|(name, epochs_ago)| Step::Close { name, epochs_ago }),
        20 => (name.clone(), -12..3_i64, 1..5_u32, any::<bool>(), epochs_ago).prop_map(
            |(name, from, messages, skipped, epochs_ago)| {
                Step::Publish { name, from, messages, skipped, epochs_ago }
            }
        ),
        5 => (name.clone(), 0..5_usize, 1..3_u32)
            .prop_map(|(name, batches, messages)| Step::Stream { name, batches, messages }),
        1 => (name, 990..1_010_usize, 1..3_u32)
            .prop_map(|(name, batches, messages)| Step::Stream { name, batches, messages }),
        1 => Just(Step::NewTerm),
    ]
}

#[derive(Default)]
struct World {
    state: PartitionState,
    models: [Model; 3],
    ids: [ProducerId; 3],
    sibling: Vec<SiblingRecord>,
    entries: Vec<EntryHeader>,
    terms: u64,
}

impl World {
    fn open(&mut self, at: usize, epoch: Option<u64>) {
        let known = self.ids[at] != ProducerId(0);
        let model = &mut self.models[at];
        let asked = epoch.unwrap_or(if known { model.epoch + 1 } else { 0 });
        let result = open(&mut self.state, &name(["a", "b", "c"][at]), epoch);
        if known && asked < model.epoch {
            let fenced = OpenProducerError::Fenced {
                asked,
                epoch: model.epoch,
            };
            assert_eq!(result, Err(fenced));
        } else if known && asked == model.epoch && model.open {
            assert_eq!(result, Err(OpenProducerError::Busy { epoch: asked }));
        } else {
            let (plan, record) = result.unwrap();
            assert_eq!(plan.epoch, asked);
            assert_eq!(plan.last.map(|last| last.sequence), model.last());
            assert_eq!(
                record.is_some(),
                !known || asked > model.epoch,
                "told when it is news"
            );
            assert!(!known || plan.id == self.ids[at], "a name keeps its id");
            self.ids[at] = plan.id;
            (model.epoch, model.open) = (asked, true);
            self.sibling.extend(record);
        }
    }

    fn publish(&mut self, at: usize, epoch: u64, sequence: u64, messages: u32, skipped: bool) {
        let id = self.ids[at];
        let check = self
            .state
            .producers()
            .check(id, epoch, sequence, messages, skipped);
        let expected = match id {
            ProducerId(0) => Check::Fenced,
            _ => self.models[at].check(epoch, sequence, messages, skipped),
        };
        assert_eq!(
            check, expected,
            "{sequence}+{messages} of {:?}",
            self.models[at]
        );
        if check == Check::Fresh {
            let offset = self.entries.len() as u64;
            let header = entry(self.terms, offset, id, sequence, messages);
            assert!(self.state.apply_entry(&header));
            self.entries.push(header);
            let batch = Batch {
                sequence,
                messages,
                term: self.terms,
                offset,
            };
            self.models[at].stored.push(batch);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open { name, epoch } => self.open(name, epoch),
            Step::Close { name, epochs_ago } => {
                if let Some(epoch) = self.models[name].epoch.checked_sub(epochs_ago) {
                    self.state.producers_mut().closed(self.ids[name], epoch);
                    self.models[name].open &= epochs_ago > 0;
                }
            }
            Step::Publish {
                name,
                from,
                messages,
                skipped,
                epochs_ago,
            } => {
                let next = self.models[name].last().map_or(20, |last| last + 1);
                let epoch = self.models[name].epoch.wrapping_sub(epochs_ago);
                self.publish(
                    name,
                    epoch,
                    next.saturating_add_signed(from),
                    messages,
                    skipped,
                );
            }
            Step::Stream {
                name,
                batches,
                messages,
            } => {
                for _ in 0..batches {
                    let next = self.models[name].last().map_or(20, |last| last + 1);
                    self.publish(name, self.models[name].epoch, next, messages, false);
                }
            }
            Step::NewTerm => self.terms += 1,
        }
    }
}

proptest! {
    /// Goal: a batch is stored at most once, a retry gets its original id as long as it is
    /// remembered, and nothing that was not stored is called a duplicate. Method: random openings
    /// and publishes, near and far from the next number, against a list of everything stored; and
    /// the logs folded anew give the same table.
    #[test]
    fn duplicates_are_what_the_list_of_everything_stored_says(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut world = World::default();
        for at in 0..2 {
            world.open(at, None);
        }
        for step in &steps {
            world.take(step);
        }
        // The sibling log is read before the entries.
        let mut again = PartitionState::default();
        for record in &world.sibling {
            again.apply_record(record);
        }
        for header in &world.entries {
            prop_assert!(again.apply_entry(header));
        }
        prop_assert_eq!(&again, &world.state);
    }
}

#[test]
fn the_producer_that_was_silent_for_longest_is_forgotten() {
    let mut state = PartitionState::default();
    let mut records = Vec::new();
    let mut entries = Vec::new();
    for number in 0..PARTITION_PRODUCERS_MAX as u64 {
        let (plan, record) = open(&mut state, &name(&format!("p{number}")), None).unwrap();
        records.extend(record);
        let header = entry(1, number, plan.id, 7, 1);
        state.apply_entry(&header);
        entries.push(header);
    }
    let full = state.producers().plan_open(&name("one more"), None);
    assert_eq!(
        full,
        Err(OpenProducerError::TooMany),
        "who is open is not forgotten"
    );

    // The first sends again, so that of the two that are closed the second is silent for longer.
    let again = entry(1, entries.len() as u64, ProducerId(1), 8, 1);
    state.apply_entry(&again);
    entries.push(again);
    for id in [1, 2] {
        state.producers_mut().closed(ProducerId(id), 0);
    }
    let (plan, record) = open(&mut state, &name("one more"), None).unwrap();
    records.extend(record);
    assert_eq!(plan.id, ProducerId(PARTITION_PRODUCERS_MAX as u64 + 1));
    assert_eq!(state.producers().id_of(&name("p0")), Some(ProducerId(1)));
    assert_eq!(state.producers().id_of(&name("p1")), None);
    assert_eq!(state.producers().len(), PARTITION_PRODUCERS_MAX);
    assert_eq!(
        state.producers().check(ProducerId(2), 0, 9, 1, false),
        Check::Fenced
    );

    // One that never sent goes before one that did; and the forgotten name begins anew.
    state.producers_mut().closed(plan.id, 0);
    let (second, record) = open(&mut state, &name("p1"), None).unwrap();
    records.extend(record);
    assert_eq!(state.producers().id_of(&name("one more")), None);
    assert_eq!(second.last, None);
    assert!(second.id > plan.id, "an id is never used twice");

    let mut replayed = PartitionState::default();
    records
        .iter()
        .for_each(|record| replayed.apply_record(record));
    entries
        .iter()
        .for_each(|header| assert!(replayed.apply_entry(header)));
    assert_eq!(replayed, state);
}

#[test]
fn numbers_end_where_they_end() {
    let mut state = PartitionState::default();
    let (plan, _) = open(&mut state, &name("a"), None).unwrap();
    let check = |state: &PartitionState, sequence, messages| {
        state
            .producers()
            .check(plan.id, plan.epoch, sequence, messages, true)
    };
    assert_eq!(check(&state, 0, 0), Check::Invalid);
    assert_eq!(check(&state, u64::MAX, 1), Check::Invalid);
    assert_eq!(check(&state, u64::MAX - 1, 1), Check::Fresh);
    assert!(state.apply_entry(&entry(1, 0, plan.id, u64::MAX - 1, 1)));
    let original = Original {
        term: Term(1),
        offset: Offset(0),
        messages: 1,
    };
    let duplicate = Check::Duplicate {
        original: Some(original),
    };
    assert_eq!(check(&state, u64::MAX - 1, 1), duplicate);
    assert_eq!(check(&state, u64::MAX, 1), Check::Invalid);
}

#[test]
fn a_repeated_number_in_the_log_is_left_out_and_told() {
    let mut state = PartitionState::default();
    let (plan, _) = open(&mut state, &name("a"), None).unwrap();
    assert!(state.apply_entry(&entry(1, 0, plan.id, 5, 2)));
    assert!(!state.apply_entry(&entry(1, 1, plan.id, 6, 2)));
    let last = LastStored {
        sequence: 6,
        term: Term(1),
        offset: Offset(0),
    };
    assert_eq!(state.producers().get(plan.id).unwrap().last(), Some(last));
    assert_eq!(state.entries_applied(), Offset(2));
}

#[test]
fn only_the_newest_opening_of_a_name_can_publish() {
    let mut state = PartitionState::default();
    let (first, _) = open(&mut state, &name("a"), Some(3)).unwrap();
    assert_eq!(
        state.producers().check(first.id, 3, 0, 1, false),
        Check::Fresh
    );
    let (second, _) = open(&mut state, &name("a"), Some(4)).unwrap();
    assert_eq!(second.id, first.id);
    assert_eq!(
        state.producers().check(first.id, 3, 0, 1, false),
        Check::Fenced
    );
    // The end of the first session says nothing about the second.
    state.producers_mut().closed(first.id, 3);
    assert!(state.producers().get(first.id).unwrap().is_open());
    let open_ids: BTreeMap<_, _> = state.producers().iter().collect();
    assert_eq!(open_ids.len(), 1);
}
