//! Access against what it is for: whatever producers come, go, come back and wait, and however often
//! the process ends, the entries of an exclusive epoch are of one producer, and none is appended in an
//! epoch that is over.

use std::collections::{BTreeMap, BTreeSet};

use hulse_subscription::{
    Access, AccessEpoch, AccessError, AccessTable, Admission, Asked, PartitionState, SiblingRecord,
};
use proptest::prelude::*;

const CLIENTS: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The client opens anew, in this mode.
    Open(usize, Access),
    /// The client comes back after its connection was lost, or opens when it was never open.
    Return(usize),
    /// Its connection is lost; it does not know whether the broker has noticed.
    Lose(usize),
    /// It comes back before the broker has noticed that its old connection is gone.
    Replace(usize),
    Append(usize),
    /// The process ends, and the log loses what nobody was told of.
    Restart,
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        4 => Just(Access::Shared),
        2 => Just(Access::Exclusive),
        3 => Just(Access::Wait),
        1 => Just(Access::Fencing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), access()).prop_map(|(client, access)| Step::Open(client, access)),
        3 => client.clone().prop_map(Step::Return),
        3 => client.clone().prop_map(Step::Lose),
        2 => client.clone().prop_map(Step::Replace),
        8 => client.prop_map(Step::Append),
        1 => Just(Step::Restart),
    ]
}

/// A client, and what it believes.
#[derive(Debug, Clone, Copy, Default)]
struct Client {
    access: Access,
    /// Its present session.
    session: Option<u64>,
    /// The epoch that it was given.
    epoch: Option<u64>,
}

#[derive(Debug, Default)]
struct World {
    state: PartitionState,
    records: Vec<SiblingRecord>,
    table: AccessTable<u64>,
    clients: [Client; CLIENTS],
    /// The epoch of each session that is open.
    open: BTreeMap<u64, u64>,
    /// The sessions that wait, in order.
    waiting: Vec<u64>,
    sessions: u64,
    /// Who has appended in which epoch, in order.
    appended: Vec<(AccessEpoch, usize)>,
}

impl World {
    fn newest(&self) -> AccessEpoch {
        self.state.access()
    }

    fn ask(&mut self, client: usize, replaces: Option<u64>) {
        self.sessions += 1;
        let session = self.sessions;
        let Client { access, epoch, .. } = self.clients[client];
        let others = self.open.keys().filter(|it| Some(**it) != replaces).count();
        let asked = self
            .table
            .ask(self.newest(), session, access, epoch, replaces);
        match asked {
            Ok(Asked::Admitted(admission)) => self.admit(client, session, &admission, replaces),
            Ok(Asked::Waits) => {
                assert!(access == Access::Wait && epoch.is_none_or(|_| !self.newest().exclusive));
                assert!(
                    others > 0 || !self.waiting.is_empty(),
                    "nothing to wait for"
                );
                self.table.wait(session);
                self.waiting.push(session);
                // Whoever waits has no session open; its older one ends.
                self.end(replaces);
                self.clients[client].session = Some(session);
            }
            Err(AccessError::Fenced { stated, epoch }) => {
                assert!(stated < epoch);
                self.end(replaces);
                self.clients[client] = Client::default();
            }
            Err(AccessError::Unknown { .. }) => panic!("an epoch that was told is forgotten"),
            Err(AccessError::TooManyWait) => panic!("so few"),
            Err(_) => {
                assert!(
                    others > 0 || !self.waiting.is_empty(),
                    "nobody is in the way"
                );
                assert!(matches!(access, Access::Shared | Access::Exclusive));
            }
        }
        self.give_turns();
    }

    fn admit(
        &mut self,
        client: usize,
        session: u64,
        admission: &Admission<u64>,
        replaces: Option<u64>,
    ) {
        let before = self.newest();
        if let Some(record) = admission.record() {
            self.state.apply_record(&record);
            self.records.push(record);
            assert_eq!(self.newest().epoch, before.epoch + 1);
        }
        assert_eq!(self.newest(), admission.epoch);
        self.table.admitted(session, admission, replaces);
        for fenced in admission.fenced.iter().copied().chain(replaces) {
            self.open.remove(&fenced);
            self.waiting.retain(|it| *it != fenced);
            for other in self
                .clients
                .iter_mut()
                .filter(|it| it.session == Some(fenced))
            {
                other.session = None;
            }
        }
        self.waiting.retain(|it| *it != session);
        self.open.insert(session, admission.epoch.epoch);
        self.clients[client].session = Some(session);
        self.clients[client].epoch = Some(admission.epoch.epoch);
        self.table.check_invariants(self.newest());
    }

    /// The broker notices that a session is gone.
    fn end(&mut self, session: Option<u64>) {
        if let Some(session) = session {
            self.table.released(session);
            self.open.remove(&session);
            self.waiting.retain(|it| *it != session);
        }
    }

    fn give_turns(&mut self) {
        while let Some(next) = self.table.next_turn() {
            assert_eq!(Some(&next), self.waiting.first(), "the first that waits");
            assert!(self.open.is_empty(), "when nobody is there");
            let client = self.clients.iter().position(|it| it.session == Some(next));
            let client = client.expect("whoever waits is known");
            let asked = self
                .table
                .ask(self.newest(), next, Access::Wait, None, None);
            let Ok(Asked::Admitted(admission)) = asked else {
                panic!("its turn has come: {asked:?}");
            };
            assert!(admission.fenced.is_empty());
            self.admit(client, next, &admission, None);
        }
        assert!(
            self.waiting.is_empty() || !self.open.is_empty(),
            "somebody waits for nothing"
        );
        assert_eq!(self.table.open(), self.open.len());
        assert_eq!(self.table.waiting(), self.waiting.len());
    }

    fn append(&mut self, client: usize) {
        let session = self.clients[client].session;
        let Some(epoch) = session.and_then(|it| self.open.get(&it)) else {
            return;
        };
        // A shard compares the session's epoch with the newest.
        if *epoch == self.newest().epoch {
            self.appended.push((self.newest(), client));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open(client, access) => {
                self.end(self.clients[client].session);
                self.clients[client] = Client {
                    access,
                    ..Client::default()
                };
                self.give_turns();
                self.ask(client, None);
            }
            Step::Return(client) => {
                let old = self.clients[client].session.take();
                self.end(old);
                self.give_turns();
                self.ask(client, None);
            }
            Step::Lose(client) => {
                let old = self.clients[client].session.take();
                self.end(old);
                self.give_turns();
            }
            Step::Replace(client) => {
                let old = self.clients[client].session;
                let open = old.filter(|it| self.open.contains_key(it));
                if open.is_some() {
                    self.ask(client, open);
                }
            }
            Step::Append(client) => self.append(client),
            Step::Restart => {
                let mut state = PartitionState::default();
                for record in &self.records {
                    state.apply_record(record);
                }
                assert_eq!(state.access(), self.newest());
                (self.state, self.table) = (state, AccessTable::default());
                self.open.clear();
                self.waiting.clear();
                for client in &mut self.clients {
                    client.session = None;
                }
            }
        }
    }

    fn check(&self) {
        let mut newest = 0;
        let mut exclusive: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for (epoch, client) in &self.appended {
            assert!(epoch.epoch >= newest, "an append of an epoch that is over");
            newest = epoch.epoch;
            if epoch.exclusive {
                exclusive.entry(epoch.epoch).or_default().insert(*client);
            }
        }
        for (epoch, clients) in exclusive {
            assert_eq!(clients.len(), 1, "several have appended in epoch {epoch}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_exclusive_epoch_is_of_one_producer(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
            world.check();
        }
    }
}

fn table(newest: AccessEpoch, open: &[u64], waiting: &[u64]) -> AccessTable<u64> {
    let mut table = AccessTable::default();
    for who in open {
        let admission = Admission {
            epoch: newest,
            begins: false,
            fenced: Vec::new(),
        };
        table.admitted(*who, &admission, None);
    }
    waiting.iter().for_each(|who| table.wait(*who));
    table
}

#[test]
fn whoever_excludes_others_says_so() {
    let shared = AccessEpoch::default();
    let alone = AccessEpoch {
        epoch: 4,
        exclusive: true,
    };
    let ask = |newest, open: &[u64], waiting: &[u64], access| {
        table(newest, open, waiting).ask(newest, 9, access, None, None)
    };
    let text = |asked: Result<Asked<u64>, AccessError<u64>>| asked.unwrap_err().to_string();
    assert_eq!(
        text(ask(alone, &[1], &[], Access::Shared)),
        "another producer has exclusive access"
    );
    assert_eq!(
        text(ask(shared, &[1, 2], &[], Access::Exclusive)),
        "2 other producers are open"
    );
    assert_eq!(
        text(ask(shared, &[1], &[2], Access::Shared)),
        "1 producers wait for exclusive access"
    );
    assert_eq!(ask(shared, &[1], &[], Access::Wait), Ok(Asked::Waits));
    assert_eq!(ask(shared, &[], &[1], Access::Wait), Ok(Asked::Waits));
    let fencing = Admission {
        epoch: AccessEpoch {
            epoch: 5,
            exclusive: true,
        },
        begins: true,
        fenced: vec![1, 2, 3],
    };
    let asked = ask(alone, &[1], &[2, 3], Access::Fencing);
    assert_eq!(asked, Ok(Asked::Admitted(fencing)));
}

#[test]
fn an_epoch_goes_on_for_those_who_come_back_and_no_others() {
    let alone = AccessEpoch {
        epoch: 4,
        exclusive: true,
    };
    let back = |stated, open: &[u64], access| {
        table(alone, open, &[]).ask(alone, 9, access, Some(stated), None)
    };
    let same = |fenced| {
        Ok(Asked::Admitted(Admission {
            epoch: alone,
            begins: false,
            fenced,
        }))
    };
    for access in [Access::Exclusive, Access::Wait, Access::Fencing] {
        assert_eq!(back(4, &[], access), same(vec![]));
        // Its own older session, which nobody has noticed to be gone.
        assert_eq!(back(4, &[1], access), same(vec![1]));
    }
    let fenced = AccessError::Fenced {
        stated: 3,
        epoch: 4,
    };
    assert_eq!(back(3, &[], Access::Shared), Err(fenced));
    let unknown = AccessError::Unknown {
        stated: 5,
        epoch: 4,
    };
    assert_eq!(back(5, &[], Access::Exclusive), Err(unknown));
    // Once it has gone for good, those who share begin an epoch of theirs.
    let asked = table(alone, &[], &[]).ask(alone, 9, Access::Shared, None, None);
    let Ok(Asked::Admitted(shared)) = asked else {
        panic!("{asked:?}");
    };
    assert!(shared.begins);
    let epoch = AccessEpoch {
        epoch: 5,
        exclusive: false,
    };
    assert_eq!(shared.epoch, epoch);
}
