//! Every run of a small Failover subscription, up to a depth.
//!
//! A world is two entries, three consumers and everything that they and the producer may do, in any
//! order. Beside the dispatcher a plain account is kept of who is active and what it has.

use hulse_subscription::{
    AttachError, Blocked, Claim, Cursor, DispatchLimits, Dispatcher, HAND_OVER_MS, KeySlot, Next,
    SubscriptionKind,
};

use crate::explorer::{World as Small, at, explore, id, number, try_explore};

const ENTRIES: usize = 2;
const PERMITS_MAX: i64 = 1;
const DEPTH: usize = 24;
/// By number: their priorities and names. The first wins, then the third, then the second.
const CLAIMS: [(u8, &str); 3] = [(0, "a"), (1, "a"), (0, "b")];
const ORDER: [usize; 3] = [0, 2, 1];

#[derive(Debug, Clone, Copy)]
enum Step {
    Append,
    Attach(usize),
    Detach(usize),
    Permits(usize),
    Pause(usize, bool),
    Deliver,
    Acknowledge(usize),
    Redeliver(usize),
    Tick,
}

/// A fault, to see that the account finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Time does not pass for the dispatcher.
    NoClock,
    /// A consumer goes without its entries being given back.
    ForgetsTheDead,
}

#[derive(Debug, Clone, Copy, Default)]
struct Consumer {
    attached: bool,
    permits: i64,
    paused: bool,
    told: Option<bool>,
}

/// How a hand-over stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HandOver {
    Begun,
    /// The time is up at the next tick.
    Timed,
}

#[derive(Debug, Clone, Default)]
struct Account {
    consumers: [Consumer; 3],
    active: Option<usize>,
    hand_over: Option<HandOver>,
    /// Entries given to the active consumer.
    out: [bool; ENTRIES],
    acknowledged: [bool; ENTRIES],
}

impl Account {
    fn chosen(&self) -> Option<usize> {
        let attached = |number: &&usize| self.consumers[**number].attached;
        let best = ORDER.iter().find(attached)?;
        let priority = CLAIMS[*best].0;
        let best: Vec<usize> = ORDER
            .iter()
            .copied()
            .filter(|it| self.consumers[*it].attached && CLAIMS[*it].0 == priority)
            .collect();
        Some(best[PARTITION as usize % best.len()])
    }

    fn is_idle(&self) -> bool {
        (0..ENTRIES).all(|entry| !self.out[entry] || self.acknowledged[entry])
    }

    fn activate(&mut self, consumer: Option<usize>) {
        self.active = consumer;
        self.hand_over = None;
        self.out = [false; ENTRIES];
    }

    fn settle(&mut self) {
        let chosen = self.chosen();
        if self.active == chosen {
            self.hand_over = None;
        } else if self.active.is_none() || self.is_idle() {
            self.activate(chosen);
        } else {
            self.hand_over.get_or_insert(HandOver::Begun);
        }
    }
}

/// The number of the partition. The second in order is active, where there are two.
const PARTITION: u32 = 1;

#[derive(Clone)]
struct World {
    dispatcher: Dispatcher,
    cursor: Cursor,
    end: usize,
    now_ms: u64,
    account: Account,
    fault: Option<Fault>,
    delivered: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What the dispatcher holds beside this are times and redelivery counts.
        let Self {
            cursor,
            end,
            account,
            ..
        } = self;
        write!(f, "{cursor:?} {end} {account:?}")
    }
}

impl World {
    fn new(fault: Option<Fault>) -> Self {
        let limits = DispatchLimits::default();
        Self {
            dispatcher: Dispatcher::new(SubscriptionKind::Failover, PARTITION, limits),
            cursor: Cursor::default(),
            end: 0,
            now_ms: 0,
            account: Account::default(),
            fault,
            delivered: 0,
        }
    }

    fn attach(&mut self, consumer: usize) {
        let (priority, name) = CLAIMS[consumer];
        let claim = Claim {
            priority,
            name,
            ..Claim::default()
        };
        let result = self.dispatcher.attach(id(consumer), claim, &self.cursor);
        if self.account.consumers[consumer].attached {
            assert_eq!(result, Err(AttachError::Busy { by: id(consumer) }));
        } else {
            assert_eq!(result, Ok(()));
            self.account.consumers[consumer].attached = true;
        }
    }

    fn detach(&mut self, consumer: usize) {
        let attached = self.account.consumers[consumer].attached;
        if self.fault != Some(Fault::ForgetsTheDead) {
            assert_eq!(self.dispatcher.detach(id(consumer), &self.cursor), attached);
        }
        self.account.consumers[consumer] = Consumer::default();
        if self.account.active == Some(consumer) {
            self.account.activate(None);
        }
    }

    fn deliver(&mut self) {
        let Some(Next { consumer, offset }) = self.dispatcher.next(&self.cursor, at(self.end))
        else {
            return;
        };
        let delivery = self
            .dispatcher
            .delivered(&self.cursor, offset, 1, KeySlot(0));
        let delivery = delivery.expect("what is named is given");
        assert_eq!((Some(delivery.consumer), delivery.messages), (consumer, 1));
        let consumer = delivery.consumer;
        let entry = usize::try_from(offset.0).unwrap();
        let account = &mut self.account;
        assert!(
            !account.acknowledged[entry],
            "what is acknowledged is not given"
        );
        assert!(
            !(entry..ENTRIES).any(|later| account.out[later]),
            "entries go out in order"
        );
        account.out[entry] = true;
        account.consumers[number(consumer)].permits -= 1;
        self.delivered += 1;
    }

    fn tick(&mut self) {
        self.now_ms += HAND_OVER_MS;
        if self.fault != Some(Fault::NoClock) {
            self.dispatcher.tick(&self.cursor, self.now_ms);
        }
        match self.account.hand_over {
            Some(HandOver::Begun) => self.account.hand_over = Some(HandOver::Timed),
            Some(HandOver::Timed) => {
                let chosen = self.account.chosen();
                self.account.activate(chosen);
            }
            None => {}
        }
    }

    fn check(&mut self) {
        self.account.settle();
        let account = &mut self.account;
        for (consumer, active) in self.dispatcher.announce(&self.cursor, |_| true) {
            account.consumers[number(consumer)].told = Some(active);
        }
        let named = self.dispatcher.next(&self.cursor, at(self.end));
        self.dispatcher.check_invariants();
        for (number, consumer) in account.consumers.iter().enumerate() {
            let truth = consumer.attached.then_some(account.active == Some(number));
            assert_eq!(consumer.told, truth, "consumer {number} knows what is true");
            let state = self.dispatcher.state(id(number));
            assert_eq!(state.map(|it| it.active), truth);
            assert_eq!(state.map_or(0, |it| it.permits), consumer.permits);
        }
        let mut entries = 0..self.end;
        let available = entries.find(|it| !account.out[*it] && !account.acknowledged[*it]);
        let ready = account.active.filter(|it| {
            let consumer = &account.consumers[*it];
            consumer.permits > 0 && !consumer.paused && account.hand_over.is_none()
        });
        let expected = ready.zip(available).map(|(consumer, entry)| Next {
            consumer: Some(id(consumer)),
            offset: at(entry),
        });
        assert_eq!(
            named, expected,
            "what can be given is named, for the active one"
        );
        let blocked = self.dispatcher.blocked(&self.cursor, at(self.end));
        let handing_over = matches!(blocked, Some(Blocked::HandingOver { .. }));
        assert_eq!(handing_over, account.hand_over.is_some());
        assert_eq!(blocked.is_none(), expected.is_some(), "{blocked:?}");
    }
}

impl Small for World {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Deliver, Step::Tick];
        if self.end < ENTRIES {
            steps.push(Step::Append);
        }
        for (number, consumer) in self.account.consumers.iter().enumerate() {
            steps.push(Step::Attach(number));
            if !consumer.attached {
                continue;
            }
            steps.extend([Step::Detach(number), Step::Redeliver(number)]);
            steps.push(Step::Pause(number, !consumer.paused));
            if consumer.permits < PERMITS_MAX {
                steps.push(Step::Permits(number));
            }
        }
        steps.extend((0..self.end).map(Step::Acknowledge));
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append => self.end += 1,
            Step::Attach(consumer) => self.attach(consumer),
            Step::Detach(consumer) => self.detach(consumer),
            Step::Permits(consumer) => {
                self.dispatcher.permits(id(consumer), 1).unwrap();
                self.account.consumers[consumer].permits += 1;
            }
            Step::Pause(consumer, paused) => {
                self.dispatcher.pause(id(consumer), paused);
                self.account.consumers[consumer].paused = paused;
            }
            Step::Deliver => self.deliver(),
            Step::Acknowledge(entry) => {
                self.cursor.acknowledge_range(at(entry), 0, 0, 1);
                self.account.acknowledged[entry] = true;
                self.dispatcher.acknowledged(&self.cursor, at(entry));
            }
            Step::Redeliver(consumer) => {
                self.dispatcher.redeliver(id(consumer), &self.cursor, &[]);
                if self.account.active == Some(consumer) {
                    self.account.out = [false; ENTRIES];
                }
            }
            Step::Tick => self.tick(),
        }
        self.cursor.take_changes();
        self.check();
    }

    fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// Goal: one consumer is active and knows it, the right one; it is given what is not acknowledged,
/// in order; when it goes or is replaced, its successor is given what it left.
#[test]
fn every_small_world_is_in_order() {
    let explored = explore(World::new(None), DEPTH);
    assert!(explored.worlds > 4_000, "the worlds were explored");
    assert!(explored.deliveries > 100, "something was delivered");
}

/// The account finds a dispatcher that misses what it must hear.
#[test]
fn a_missed_event_is_found() {
    for fault in [Fault::NoClock, Fault::ForgetsTheDead] {
        let path = try_explore(World::new(Some(fault)), DEPTH);
        let path = path.expect_err("the fault is found");
        println!("{fault:?}: {path:?}");
    }
}
