//! Goal: a group's term and version only ever rise, whatever starts, dies and is created in
//! whatever order, and a term has one reign.
//! Method: random sequences of starts of two brokers at one store, most of them cut short.

use std::collections::BTreeMap;

use hulse_metadata::catalog::Reinstallation;
use hulse_metadata::records::{GroupRecord, Incarnation};
use hulse_metadata::{MemoryStore, StoreId};
use hulse_model::{GroupId, Term};
use proptest::prelude::*;

use crate::faulty_store::{Fault, FaultyStore};
use crate::scene::{NOW, catalog, partitioned, registration};

#[derive(Debug, Clone)]
enum Event {
    /// A broker starts: it registers, installs itself and creates a topic, and dies after so many
    /// operations of the store.
    Start {
        broker: usize,
        operations: u64,
        unheard: bool,
    },
    /// A broker that has started asks to be installed again, as if its answer had been lost.
    Again { broker: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let start = (0..2_usize, 0..60_u64, any::<bool>()).prop_map(|(broker, operations, unheard)| {
        Event::Start {
            broker,
            operations,
            unheard,
        }
    });
    prop_oneof![4 => start, 1 => (0..2_usize).prop_map(|broker| Event::Again { broker })]
}

/// Checks the groups against what they were, and every reign against all before it.
#[derive(Default)]
struct History {
    groups: BTreeMap<GroupId, GroupRecord>,
    reigns: BTreeMap<(GroupId, Term), (String, Incarnation)>,
}

impl History {
    fn note(&mut self, group: GroupId, record: &GroupRecord) {
        if let Some(last) = self.groups.get(&group) {
            assert!(record.ver >= last.ver, "ver fell");
            assert!(record.term >= last.term, "term fell");
            assert_eq!(
                record.ver == last.ver,
                record == last,
                "a change without a ver"
            );
            if record.primary_incarnation != last.primary_incarnation {
                assert!(record.term > last.term, "an installation without a term");
            }
        }
        let reign = (record.primary.clone(), record.primary_incarnation);
        let known = self
            .reigns
            .entry((group, record.term))
            .or_insert_with(|| reign.clone());
        assert_eq!(
            *known, reign,
            "two reigns in term {} of {group}",
            record.term
        );
        self.groups.insert(group, record.clone());
    }
}

async fn run(events: Vec<Event>) {
    const BROKERS: [&str; 2] = ["one", "two"];
    let store = MemoryStore::new(StoreId(1));
    let sound = catalog(store.clone(), "observer", 9_000_000);
    sound.seed(NOW).await.expect("the store answers");
    let mut history = History::default();
    let nothing = BTreeMap::new();
    for (number, event) in (1_u64..).zip(events) {
        let (Event::Start { broker, .. } | Event::Again { broker }) = event;
        let (operations, fault) = match event {
            Event::Start {
                operations,
                unheard: false,
                ..
            } => (operations, Fault::Dead),
            Event::Start {
                operations,
                unheard: true,
                ..
            } => (operations, Fault::Unheard),
            Event::Again { .. } => (u64::MAX, Fault::Dead),
        };
        let at = FaultyStore::new(store.clone(), operations, fault);
        let broker = catalog(at, BROKERS[broker], number * 10_000);
        let own = catalog(store.clone(), broker.broker(), number * 10_000 + 5_000);
        let held = own.registered().await.expect("the store answers");
        let incarnation = match event {
            Event::Start { .. } => {
                let registration = registration(held, number);
                let registered = broker.register_broker(&registration, NOW).await;
                registered.is_ok().then_some(registration.intent)
            }
            Event::Again { .. } => held,
        };
        if let Some(incarnation) = incarnation {
            let request = Reinstallation {
                incarnation,
                adopted: &nothing,
            };
            if let Ok(installed) = broker.install_primaries(&request).await {
                for reign in installed.reigns {
                    assert_eq!(reign.record.primary_incarnation, incarnation);
                    history.note(reign.group, &reign.record);
                }
            }
            // Its failure is one of the ways to die.
            let _ = broker
                .create_topic(&partitioned(&format!("t{number}"), 3), NOW)
                .await;
        }
        for reign in sound.groups().await.expect("the store answers") {
            history.note(reign.group, &reign.record);
        }
    }
}

proptest! {
    #[test]
    fn terms_only_rise_and_have_one_reign(events in prop::collection::vec(event(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(events));
    }
}
